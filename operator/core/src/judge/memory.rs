//! What a judge remembers from one look to the next.

use std::sync::Arc;
use std::time::Duration;

use crate::Revision;
use crate::history::Print;

use super::evidence::Coverage;
use super::span::{Frame, Span};

/// The spans whose units are wider than a second, as they were last read: of ten looks, a second apart, nine see the same units as the
/// one before them. Only time is saved: what is remembered is what reading and judging anew would come to, so an empty memory is as
/// good as any, and nothing of it needs to be kept over a restart. At most three spans of 420 units, 69 KiB, and none while no release
/// is judged; with the default rule one of 180 units, 10 KiB.
#[derive(Clone, Debug, Default)]
pub struct Memory(Option<Box<Places>>);

type Places = [Option<Remembered>; 3];

/// It is no part of what is known.
impl PartialEq for Memory {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Memory {}

#[derive(Clone, Debug)]
struct Remembered {
    terms: Terms,
    revisions: [Option<Revision>; 2],
    /// Of the case. Only of interest where there is a span.
    beside_stable: bool,
    span: Option<Arc<Span>>,
}

/// What a span, and whether anything in it is sure, follow from, together with whose units they are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Terms {
    pub(super) frame: Frame,
    /// The unit that the frame counts from.
    pub(super) first: u32,
    /// What the units of either release are known by, up to the frame's end.
    pub(super) units: [Print; 2],
    /// Revisions that made room: one of the same name may have come since.
    pub(super) evicted: u64,
    pub(super) long: Duration,
    pub(super) threshold: f64,
    pub(super) coverage: Coverage,
}

impl Memory {
    /// What was read on the same terms, else what is read now. There are three places.
    pub(super) fn recall(
        &mut self,
        place: usize,
        terms: Terms,
        revisions: [Option<&Revision>; 2],
        beside_stable: impl Fn() -> bool,
        read: impl FnOnce() -> Option<Span>,
    ) -> Option<Arc<Span>> {
        let known = self.0.as_ref().and_then(|places| places[place].as_ref());
        let known =
            known.filter(|known| known.terms == terms && known.revisions.each_ref().map(Option::as_ref) == revisions);
        let known = known.filter(|known| known.span.is_none() || known.beside_stable == beside_stable());
        if let Some(known) = known {
            return known.span.clone();
        }
        let span = read().map(Arc::new);
        self.0.get_or_insert_default()[place] = Some(Remembered {
            terms,
            revisions: revisions.map(Option::<&Revision>::cloned),
            beside_stable: span.is_some() && beside_stable(),
            span: span.clone(),
        });
        span
    }
}

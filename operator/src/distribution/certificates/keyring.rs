//! The authorities that workers trust at one time, so that one can follow another and no worker is locked out.
//!
//! ```text
//!               announce           turn            forget
//! signs          old  │    old      │    new         │  new
//! workers trust  old  │  old + new  │  new + old     │  new
//! ```
//!
//! An [`OVERLAP`] lies between two steps. In the first one every worker learns of the new authority while the old one still
//! signs, so a worker that has not heard of it yet gets in; in the second one a replica that has not turned yet is trusted still.

use std::time::Duration;

use jiff::Timestamp;

use super::{Authority, BACKDATED, Error, ServerCertificate};

/// How long workers trust both authorities before the new one signs, and as long after. Workers read what they trust at each
/// connection; whoever gives it to them in a file has a day to do so.
pub(crate) const OVERLAP: Duration = Duration::from_hours(24);
/// So long before its end an authority is followed by a new one.
pub(crate) const RENEW_BEFORE: Duration = Duration::from_hours(24 * 90);

/// The authority that signs, and those that are trusted beside it.
#[derive(Debug)]
pub(crate) struct Keyring {
    pub(super) current: Authority,
    /// Announced, and not signing yet.
    pub(super) next: Option<Authority>,
    /// As PEM: it signs no more.
    pub(super) previous: Option<String>,
    /// When the last step was made.
    pub(super) stepped: Option<Timestamp>,
}

/// What is to be done so that one authority follows another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Make the next authority, and let workers trust it.
    Announce,
    /// Let it sign.
    Turn,
    /// Let workers trust the previous one no longer.
    Forget,
}

impl Keyring {
    pub(crate) const fn new(current: Authority) -> Self {
        Self {
            current,
            next: None,
            previous: None,
            stepped: None,
        }
    }

    /// Whether both are served by the same authority.
    pub(crate) fn signs_like(&self, other: &Self) -> bool {
        self.current.certificate() == other.current.certificate()
    }

    /// When the authority that signs ends.
    pub(crate) const fn expires(&self) -> Timestamp {
        self.current.expires()
    }

    /// What workers trust, as PEM; the authority that signs first.
    pub(crate) fn bundle(&self) -> String {
        let others = self.next.as_ref().map(Authority::certificate);
        [Some(self.current.certificate()), others, self.previous.as_deref()]
            .into_iter()
            .flatten()
            .collect()
    }

    /// Certifies a new key for a server that is reached under `names`.
    pub(crate) fn certify(&self, names: Vec<String>, now: Timestamp) -> Result<ServerCertificate, Error> {
        self.current.certify(names, now)
    }

    /// What is due. `asked`: an authority that was made before this time is to be followed by a new one, as soon as that time
    /// has come.
    pub(crate) fn due(&self, asked: Option<Timestamp>, now: Timestamp) -> Option<Step> {
        let rested = self.stepped.is_none_or(|at| now >= at + OVERLAP);
        let old = now >= self.current.expires() - RENEW_BEFORE;
        let unwanted = asked.is_some_and(|before| before <= now && self.current.begins() + BACKDATED < before);
        match (&self.next, &self.previous) {
            (Some(_), _) => rested.then_some(Step::Turn),
            (None, Some(_)) => rested.then_some(Step::Forget),
            (None, None) => (old || unwanted).then_some(Step::Announce),
        }
    }

    /// The keyring after `step`.
    pub(crate) fn after(self, step: Step, now: Timestamp) -> Result<Self, Error> {
        let Self {
            current,
            next,
            previous,
            ..
        } = self;
        let (current, next, previous) = match (step, next) {
            (Step::Announce, None) => (current, Some(Authority::generate(now)?), previous),
            (Step::Turn, Some(next)) => (next, None, Some(current.certificate().to_owned())),
            (Step::Forget, next) => (current, next, None),
            (_, next) => (current, next, previous),
        };
        Ok(Self {
            current,
            next,
            previous,
            stepped: Some(now),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(time: &str) -> Timestamp {
        time.parse().unwrap()
    }

    /// Made long ago, with so much left.
    fn aged(left: Duration) -> (Keyring, Timestamp) {
        let keyring = Keyring::new(Authority::generate(at("2026-11-22T04:00:00Z")).unwrap());
        let now = keyring.expires() - left;
        (keyring, now)
    }

    #[test]
    fn an_authority_is_followed_by_a_new_one_ninety_days_before_its_end() {
        let (young, now) = aged(RENEW_BEFORE + Duration::from_secs(1));
        assert_eq!(young.due(None, now), None);
        let (old, now) = aged(RENEW_BEFORE);
        assert_eq!(old.due(None, now), Some(Step::Announce));
    }

    #[test]
    fn workers_trust_both_for_a_day_before_the_new_one_signs_and_for_a_day_after() {
        let (keyring, now) = aged(RENEW_BEFORE);
        let old = keyring.bundle();
        let announced = keyring.after(Step::Announce, now).unwrap();
        assert!(announced.bundle().starts_with(&old), "the old one signs still");
        let both = announced.bundle();
        let almost = now + OVERLAP - Duration::from_secs(1);
        assert_eq!(announced.due(None, almost), None);
        assert_eq!(announced.due(None, now + OVERLAP), Some(Step::Turn));

        let turn = now + OVERLAP;
        let turned = announced.after(Step::Turn, turn).unwrap();
        let new = turned.current.certificate().to_owned();
        assert_eq!(both, format!("{old}{new}"), "workers knew it before it signed");
        assert_eq!(turned.bundle(), format!("{new}{old}"));
        assert_eq!(turned.due(None, turn + OVERLAP - Duration::from_secs(1)), None);
        assert_eq!(turned.due(None, turn + OVERLAP), Some(Step::Forget));

        let settled = turned.after(Step::Forget, turn + OVERLAP).unwrap();
        assert_eq!(settled.bundle(), new);
        assert_eq!(settled.due(None, turn + OVERLAP), None);
    }

    #[test]
    fn an_authority_is_followed_sooner_where_somebody_asks_and_once_only() {
        let made = at("2026-11-22T04:00:00Z");
        let keyring = || Keyring::new(Authority::generate(made).unwrap());
        let later = made + Duration::from_hours(1);
        assert_eq!(keyring().due(Some(later), later), Some(Step::Announce));
        assert_eq!(
            keyring().due(Some(made), later),
            None,
            "it was made no earlier than that"
        );
        assert_eq!(keyring().due(Some(later), made), None, "the time has not come");
        let mut now = later;
        let mut ring = keyring();
        for step in [Step::Announce, Step::Turn, Step::Forget] {
            assert_eq!(ring.due(Some(later), now), Some(step));
            ring = ring.after(step, now).unwrap();
            now += OVERLAP;
        }
        assert_eq!(ring.due(Some(later), now), None);
    }

    #[test]
    fn what_is_shown_of_a_keyring_has_no_key_in_it() {
        let (keyring, now) = aged(RENEW_BEFORE);
        let announced = keyring.after(Step::Announce, now).unwrap();
        let shown = format!("{announced:?}");
        for authority in [&announced.current, announced.next.as_ref().unwrap()] {
            let key = authority.key_pem();
            let secret = key.lines().nth(1).unwrap();
            assert!(!shown.contains(secret) && !shown.contains("PRIVATE"), "{shown}");
        }
    }
}

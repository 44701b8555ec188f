//! How much of a request came.

use shoalwatch_protocols::http1::connection::{Connection, Segment, Side};

use crate::loader::RequestEvent;

/// How much of a request came. One that was never answered and broke off is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Came {
    Whole,
    InPart,
}

impl Came {
    /// As the kernel's record tells it; an answer makes a request of anything.
    pub(super) fn of(event: &RequestEvent<'_>) -> Self {
        match event.status {
            0 if !is_whole(event) => Self::InPart,
            _ => Self::Whole,
        }
    }
}

/// What was read behind it may be other requests.
fn is_whole(event: &RequestEvent<'_>) -> bool {
    let (mut connection, mut whole) = (Connection::new(), None);
    let came = Segment {
        side: Side::Request,
        time_ns: event.start_ns,
        total_len: event.answer_bytes.into(),
        captured: event.head,
    };
    let fed = connection.feed(came, &mut |_answered| {});
    connection.close(event.end_ns, &mut |exchange| {
        whole.get_or_insert(exchange.whole);
    });
    fed.is_ok() && whole == Some(true)
}

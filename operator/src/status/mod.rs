//! Writes status, and never too much of it.
//!
//! Server-side apply on the status subresource, one field manager, force: the operator is the only author. What changed in
//! kind goes out at once; what changed in number goes out at most every 30 s for each object. All writes together keep to a
//! budget. The rules are [`outbox`]'s; here are the requests.

mod outbox;
mod writer;

pub use outbox::{Budget, Document, Key, Kind, Urgency};
pub use writer::{Statuses, Writer, channel};

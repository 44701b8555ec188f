//! From the event loop's thread to the senders: messages one way, their empty buffers the other way.

use std::{
    mem,
    sync::mpsc::{Receiver, SyncSender, sync_channel},
};

use bytes::Bytes;
use tokio::sync::mpsc;

/// An `ExportTraceServiceRequest` as it is sent.
#[derive(Debug)]
pub(super) struct SpanMessage {
    pub(super) spans: u64,
    bytes: Lent,
}

impl SpanMessage {
    /// Copies of this share the bytes; the last one to go gives the buffer back.
    pub(super) fn into_bytes(self) -> Bytes {
        Bytes::from_owner(self.bytes)
    }
}

/// Bytes in a buffer that the event loop wants back.
#[derive(Debug)]
struct Lent {
    bytes: Vec<u8>,
    back: SyncSender<Vec<u8>>,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        // With nobody there to take it, it is only memory.
        let _nobody = self.back.try_send(mem::take(&mut self.bytes));
    }
}

/// Where the event loop puts its spans.
#[derive(Debug)]
pub(crate) struct SpanOutlet {
    messages: mpsc::Sender<SpanMessage>,
    buffers: Receiver<Vec<u8>>,
    back: SyncSender<Vec<u8>>,
}

impl SpanOutlet {
    /// With the other end. As many buffers are kept as messages can exist at once: those queued, those under way, and the one that
    /// is being written.
    pub(super) fn new(queued: usize, under_way: usize) -> (Self, mpsc::Receiver<SpanMessage>) {
        let (messages, receiver) = mpsc::channel(queued);
        let (back, buffers) = sync_channel(queued + under_way + 1);
        let outlet = Self {
            messages,
            buffers,
            back,
        };
        (outlet, receiver)
    }

    /// Sends what `write` appends to an empty buffer, until it tells of no spans or nobody has room for more. Never waits.
    pub(crate) fn fill(&self, mut write: impl FnMut(&mut Vec<u8>) -> usize) {
        while let Ok(slot) = self.messages.try_reserve() {
            let mut bytes = self.buffers.try_recv().unwrap_or_default();
            bytes.clear();
            let spans = write(&mut bytes) as u64;
            // Where there is nothing to send, the buffer goes back with the end of this scope.
            let bytes = Lent {
                bytes,
                back: self.back.clone(),
            };
            if spans == 0 {
                return;
            }
            slot.send(SpanMessage { spans, bytes });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A message of one span for each of the texts.
    fn fill(outlet: &SpanOutlet, texts: &[&'static str]) {
        let mut texts = texts.iter();
        outlet.fill(|buffer| {
            texts.next().map_or(0, |text| {
                buffer.extend_from_slice(text.as_bytes());
                1
            })
        });
    }

    #[test]
    fn a_buffer_is_used_again_when_the_last_copy_of_its_bytes_is_gone() {
        let (outlet, mut messages) = SpanOutlet::new(1, 1);
        fill(&outlet, &["a long first message"]);
        let bytes = messages.try_recv().unwrap().into_bytes();
        let (place, copy) = (bytes.as_ptr(), bytes.clone());
        drop(bytes);
        fill(&outlet, &["second"]);
        let second = messages.try_recv().unwrap().into_bytes();
        assert_ne!(second.as_ptr(), place, "{copy:?} is still needed");
        drop((copy, second));
        // One of the two buffers is the first one.
        fill(&outlet, &["third"]);
        let third = messages.try_recv().unwrap().into_bytes();
        fill(&outlet, &["fourth"]);
        let fourth = messages.try_recv().unwrap().into_bytes();
        assert_eq!((third.as_ref(), fourth.as_ref()), (&b"third"[..], &b"fourth"[..]));
        assert!([third.as_ptr(), fourth.as_ptr()].contains(&place));
    }

    #[test]
    fn nothing_is_written_that_has_no_room() {
        let (outlet, mut messages) = SpanOutlet::new(2, 1);
        let mut written = 0;
        outlet.fill(|_| {
            written += 1;
            1
        });
        assert_eq!(written, 2);
        messages.try_recv().unwrap();
        fill(&outlet, &["a", "b"]);
        assert_eq!(messages.len(), 2);
    }

    #[test]
    fn buffers_beyond_the_maximum_are_not_kept() {
        let (outlet, messages) = SpanOutlet::new(1, 0);
        for _ in 0..10 {
            drop(Lent {
                bytes: vec![0; 8],
                back: outlet.back.clone(),
            });
        }
        assert_eq!(outlet.buffers.try_iter().count(), 2);
        assert!(messages.is_empty());
    }
}

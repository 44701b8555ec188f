//! A request's record as it lies in the kernel's memory, read as the programs read it.

use shoalwatch_ebpf_common::head::{self, Headers, Parent};
use shoalwatch_ebpf_common::http1::{self, Begin};
use shoalwatch_ebpf_common::shape::{self, Target};
use shoalwatch_ebpf_common::{APPEND_BYTES, HEAD_BYTES};

/// The head, and what follows it in memory.
pub(crate) struct Record {
    bytes: Vec<u8>,
    len: usize,
}

impl Record {
    pub(crate) fn of(request: &[u8]) -> Self {
        Self::cut(request, request.len(), b"\0")
    }

    /// The first `cut` bytes of a request, as far as a record holds them; the rest of the memory holds something else.
    pub(crate) fn cut(request: &[u8], cut: usize, memory: &[u8]) -> Self {
        let len = cut.min(HEAD_BYTES);
        let stale = memory.iter().copied().cycle().skip(len);
        let bytes = request.iter().copied().take(len).chain(stale);
        Self {
            bytes: bytes.take(HEAD_BYTES + APPEND_BYTES).collect(),
            len,
        }
    }

    /// What user space gets.
    pub(crate) fn head(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// The target, where the request line is one.
    pub(crate) fn target(&self) -> Option<Target> {
        let Begin::Request(method) = http1::begin(self.word(0), self.len.min(http1::METHOD_BYTES)) else {
            return None;
        };
        let target = shape::target(
            method.target_at(),
            self.len,
            || 0,
            |at| self.bytes[within_head(at)],
            |at| self.word(at),
        )?;
        let is_line = self.word(target.end + 1) << 8 == http1::VERSION_WORD << 8;
        is_line.then_some(target)
    }

    /// The header lines, where there is a target.
    pub(crate) fn headers(&self) -> Option<Headers> {
        let target = self.target()?;
        Some(head::headers(target.end, self.len, || 0, |at| self.word(at)))
    }

    /// The caller's trace; `Err` where user space has to look.
    pub(crate) fn parent(&self, headers: &Headers) -> Result<Option<Parent>, ()> {
        if headers.flags & head::ASK != 0 {
            return Err(());
        }
        match headers.parent_at {
            0 => Ok(None),
            at => head::parent(at, self.len, |at| self.word(at)),
        }
    }

    fn word(&self, at: usize) -> u64 {
        let bytes = &self.bytes[within_head(at)..];
        bytes.first_chunk().map_or(0, |word| u64::from_le_bytes(*word))
    }
}

const fn within_head(at: usize) -> usize {
    at & (HEAD_BYTES - 1)
}

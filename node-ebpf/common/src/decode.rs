//! From the bytes of a ring to typed events. Total: any bytes give an event or an error.

use core::mem::offset_of;

use crate::{HEAD_BYTES, ProcessKind, ProcessRecord, RequestRecord};

/// A finished request, borrowed from the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestEvent<'a> {
    /// When the read that began the head returned, on `CLOCK_MONOTONIC`, in nanoseconds.
    pub start_ns: u64,
    /// When the write that carried the status line returned, on `CLOCK_MONOTONIC`, in nanoseconds. At least `start_ns`.
    pub end_ns: u64,
    /// The process that answered, in the initial pid namespace.
    pub tgid: u32,
    /// The thread that answered, in the initial pid namespace.
    pub tid: u32,
    /// The connection's file descriptor in that process.
    pub fd: u32,
    /// The service that the worker gave the process.
    pub service: u32,
    /// The flags that the worker gave the process.
    pub flags: u32,
    /// What the write that carried the status line returned, in bytes.
    pub answer_bytes: u32,
    /// What the reads that filled `head` returned, in bytes; the head is cut where this exceeds its length.
    pub read_bytes: u32,
    /// The answer's status code, 200 to 999.
    pub status: u16,
    /// The request's first bytes, at most [`HEAD_BYTES`].
    pub head: &'a [u8],
}

/// A record of a ring that is not what its ring promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Fewer bytes than the record has at least.
    #[error("record of {len} bytes is shorter than {least}: object and worker disagree, run `make ebpf`")]
    TooShort {
        /// Bytes found.
        len: usize,
        /// Bytes that the record has at least.
        least: usize,
    },
    /// More head than there are bytes, or than a head may have.
    #[error("head of {head_len} bytes does not fit the {available} that came")]
    HeadLength {
        /// What the record says.
        head_len: usize,
        /// Bytes behind the record's fixed part.
        available: usize,
    },
    /// A status that no final answer has.
    #[error("status {0} is not a final answer's")]
    Status(u16),
    /// A kind of process event that this worker does not know.
    #[error("unknown kind {0} of process event: object and worker disagree, run `make ebpf`")]
    Kind(u32),
}

impl DecodeError {
    /// A bounded name for metric labels.
    #[must_use]
    pub const fn category(&self) -> &'static str {
        match self {
            Self::TooShort { .. } => "too_short",
            Self::HeadLength { .. } => "head_length",
            Self::Status(_) => "status",
            Self::Kind(_) => "kind",
        }
    }
}

impl<'a> RequestEvent<'a> {
    /// Reads one record of the ring `EVENTS`.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let (fixed, rest) = split::<{ RequestRecord::HEADER_BYTES }>(bytes)?;
        let head_len = usize::from(u16_at(fixed, offset_of!(RequestRecord, head_len)));
        let head = rest.get(..head_len).filter(|head| head.len() <= HEAD_BYTES);
        let status = u16_at(fixed, offset_of!(RequestRecord, status));
        if !(200..=999).contains(&status) {
            return Err(DecodeError::Status(status));
        }
        let start_ns = u64_at(fixed, offset_of!(RequestRecord, start_ns));
        Ok(Self {
            start_ns,
            end_ns: u64_at(fixed, offset_of!(RequestRecord, end_ns)).max(start_ns),
            tgid: u32_at(fixed, offset_of!(RequestRecord, tgid)),
            tid: u32_at(fixed, offset_of!(RequestRecord, tid)),
            fd: u32_at(fixed, offset_of!(RequestRecord, fd)),
            service: u32_at(fixed, offset_of!(RequestRecord, service)),
            flags: u32_at(fixed, offset_of!(RequestRecord, flags)),
            answer_bytes: u32_at(fixed, offset_of!(RequestRecord, answer_bytes)),
            read_bytes: u32_at(fixed, offset_of!(RequestRecord, read_bytes)),
            status,
            head: head.ok_or(DecodeError::HeadLength {
                head_len,
                available: rest.len(),
            })?,
        })
    }
}

/// What happened to a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessEvent {
    /// What happened.
    pub kind: ProcessKind,
    /// When, on `CLOCK_MONOTONIC`, in nanoseconds.
    pub time_ns: u64,
    /// The process that runs a new program, or the child of a fork.
    pub tgid: u32,
    /// The forking process for a fork, else 0.
    pub parent: u32,
}

impl ProcessEvent {
    /// Reads one record of the ring `PROCESSES`.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let (fixed, _) = split::<{ size_of::<ProcessRecord>() }>(bytes)?;
        let kind = match u32_at(fixed, offset_of!(ProcessRecord, kind)) {
            1 => ProcessKind::Exec,
            2 => ProcessKind::Fork,
            other => return Err(DecodeError::Kind(other)),
        };
        Ok(Self {
            kind,
            time_ns: u64_at(fixed, offset_of!(ProcessRecord, time_ns)),
            tgid: u32_at(fixed, offset_of!(ProcessRecord, tgid)),
            parent: u32_at(fixed, offset_of!(ProcessRecord, parent)),
        })
    }
}

fn split<const N: usize>(bytes: &[u8]) -> Result<(&[u8; N], &[u8]), DecodeError> {
    bytes.split_first_chunk::<N>().ok_or(DecodeError::TooShort {
        len: bytes.len(),
        least: N,
    })
}

/// The `W` bytes at `at`, zero where the offset is outside: offsets are constants of the record, so it never is.
fn bytes_at<const N: usize, const W: usize>(fixed: &[u8; N], at: usize) -> [u8; W] {
    fixed.get(at..).and_then(<[u8]>::first_chunk).copied().unwrap_or([0; W])
}

fn u16_at<const N: usize>(fixed: &[u8; N], at: usize) -> u16 {
    u16::from_ne_bytes(bytes_at(fixed, at))
}

fn u32_at<const N: usize>(fixed: &[u8; N], at: usize) -> u32 {
    u32::from_ne_bytes(bytes_at(fixed, at))
}

fn u64_at<const N: usize>(fixed: &[u8; N], at: usize) -> u64 {
    u64::from_ne_bytes(bytes_at(fixed, at))
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    fn record(status: u16, head_len: u16, head: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend(7_u64.to_ne_bytes());
        bytes.extend(9_u64.to_ne_bytes());
        for field in 1..=7_u32 {
            bytes.extend(field.to_ne_bytes());
        }
        bytes.extend(status.to_ne_bytes());
        bytes.extend(head_len.to_ne_bytes());
        bytes.extend(head);
        bytes
    }

    #[test]
    fn every_field_of_a_request_comes_from_its_own_place() {
        let bytes = record(204, 3, b"GET ");
        let event = RequestEvent::decode(&bytes).unwrap();
        let expected = RequestEvent {
            start_ns: 7,
            end_ns: 9,
            tgid: 1,
            tid: 2,
            fd: 3,
            service: 4,
            flags: 5,
            answer_bytes: 6,
            read_bytes: 7,
            status: 204,
            head: b"GET",
        };
        assert_eq!(event, expected);
    }

    #[test]
    fn a_record_that_breaks_its_promise_is_refused_by_name() {
        let category = |bytes: &[u8]| RequestEvent::decode(bytes).unwrap_err().category();
        assert_eq!(category(&record(200, 0, b"")[..47]), "too_short");
        assert_eq!(category(&record(200, 5, b"GET ")), "head_length");
        assert_eq!(category(&record(200, 513, &[b'x'; 600])), "head_length");
        assert_eq!(category(&record(199, 0, b"")), "status");
        assert_eq!(category(&record(1000, 0, b"")), "status");
    }

    #[test]
    fn a_process_event_knows_its_kind_and_refuses_others() {
        let record = |kind: u32| {
            let mut bytes = Vec::from(5_u64.to_ne_bytes());
            bytes.extend([kind, 11, 12, 0].into_iter().flat_map(u32::to_ne_bytes));
            bytes
        };
        let fork = ProcessEvent {
            kind: ProcessKind::Fork,
            time_ns: 5,
            tgid: 11,
            parent: 12,
        };
        assert_eq!(ProcessEvent::decode(&record(2)), Ok(fork));
        assert_eq!(ProcessEvent::decode(&record(3)), Err(DecodeError::Kind(3)));
    }

    proptest! {
        #[test]
        fn any_bytes_decode_or_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..700)) {
            if let Ok(event) = RequestEvent::decode(&bytes) {
                prop_assert!(event.head.len() <= HEAD_BYTES && event.end_ns >= event.start_ns);
            }
            if let Ok(event) = ProcessEvent::decode(&bytes) {
                prop_assert!(bytes.len() >= size_of::<ProcessRecord>() && event.kind as u32 > 0);
            }
        }
    }
}

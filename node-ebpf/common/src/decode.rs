//! From the bytes of a ring to typed events. Total: any bytes give an event or an error.

use core::{mem::offset_of, num::NonZeroU64};

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use crate::{HEAD_BYTES, ProcessKind, ProcessRecord, RequestRecord, Role, sampling::Decision};

mod raw;

pub use raw::{RawEvent, RawNews, RawRequest};

/// Who asked the service for what it asks others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Its trace.
    pub trace_id: [u8; 16],
    /// It sampled its span.
    pub sampled: bool,
}

/// A finished request, borrowed from the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestEvent<'a> {
    /// When the call that began the head returned, on `CLOCK_MONOTONIC`, in nanoseconds.
    pub start_ns: u64,
    /// When the call that carried the status line returned, or the connection ended; on `CLOCK_MONOTONIC`, in nanoseconds. At
    /// least `start_ns`.
    pub end_ns: u64,
    /// The 56 bits that the kernel decided by.
    pub randomness: u64,
    /// The threshold that the kernel decided by; [`NEVER`](crate::sampling::NEVER) where the caller decided.
    pub threshold: u64,
    /// What a server's ids are made from, or those of the server's request that a client's belongs to; absent: nothing is known of that.
    pub seed: Option<NonZeroU64>,
    /// The caller of the server's request that a client's belongs to.
    pub caller: Option<Caller>,
    /// A client's peer.
    pub peer: Option<SocketAddr>,
    /// The process that answered (or asked, for a client), in the initial pid namespace.
    pub tgid: u32,
    /// The thread that did, in the initial pid namespace.
    pub tid: u32,
    /// The connection's file descriptor in that process.
    pub fd: u32,
    /// The service that the worker gave the process.
    pub service: u32,
    /// The flags that the worker gave the process.
    pub flags: u32,
    /// What the call that carried the status line returned, in bytes; for a request without an answer the bytes of the request that
    /// came, its body included.
    pub answer_bytes: u32,
    /// What the calls that filled `head` returned, in bytes; the head is cut where this exceeds its length.
    pub read_bytes: u32,
    /// The number of the route that the request was counted under; absent: it was not counted.
    pub counted: Option<u32>,
    /// The answer's status code, 101 or 200 to 999; 0: it never came.
    pub status: u16,
    /// Which end the process is.
    pub role: Role,
    /// What the kernel decided: [`Decision::Undecided`] or [`Decision::Keep`]. Of what it drops no event is sent.
    pub decision: Decision,
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
    /// More bytes of a transfer than there are, or than a record holds.
    #[error("{captured} bytes of a transfer do not fit the {available} that came")]
    Captured {
        /// What the record says.
        captured: usize,
        /// Bytes behind the record's fixed part.
        available: usize,
    },
    /// A status that no final answer has.
    #[error("status {0} is not a final answer's")]
    Status(u16),
    /// A role, a decision, or a kind of news of a connection that this worker does not know.
    #[error("unknown mark {0}: object and worker disagree, run `make ebpf`")]
    Mark(u8),
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
            Self::Captured { .. } => "captured",
            Self::Status(_) => "status",
            Self::Mark(_) => "mark",
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
        if !matches!(status, 0 | 101 | 200..=999) {
            return Err(DecodeError::Status(status));
        }
        let start_ns = u64_at(fixed, offset_of!(RequestRecord, start_ns));
        let seed = NonZeroU64::new(u64_at(fixed, offset_of!(RequestRecord, seed)));
        Ok(Self {
            start_ns,
            end_ns: u64_at(fixed, offset_of!(RequestRecord, end_ns)).max(start_ns),
            randomness: u64_at(fixed, offset_of!(RequestRecord, randomness)),
            threshold: u64_at(fixed, offset_of!(RequestRecord, threshold)),
            seed,
            caller: seed.and_then(|_| caller(fixed)),
            peer: peer(fixed),
            tgid: u32_at(fixed, offset_of!(RequestRecord, tgid)),
            tid: u32_at(fixed, offset_of!(RequestRecord, tid)),
            fd: u32_at(fixed, offset_of!(RequestRecord, fd)),
            service: u32_at(fixed, offset_of!(RequestRecord, service)),
            flags: u32_at(fixed, offset_of!(RequestRecord, flags)),
            answer_bytes: u32_at(fixed, offset_of!(RequestRecord, answer_bytes)),
            read_bytes: u32_at(fixed, offset_of!(RequestRecord, read_bytes)),
            counted: (u8_at(fixed, offset_of!(RequestRecord, counted)) == 1)
                .then_some(u32_at(fixed, offset_of!(RequestRecord, route))),
            status,
            role: role(u8_at(fixed, offset_of!(RequestRecord, role)))?,
            decision: decision(u8_at(fixed, offset_of!(RequestRecord, decision)))?,
            head: head.ok_or(DecodeError::HeadLength {
                head_len,
                available: rest.len(),
            })?,
        })
    }
}

const fn role(mark: u8) -> Result<Role, DecodeError> {
    match mark {
        0 => Ok(Role::Server),
        1 => Ok(Role::Client),
        other => Err(DecodeError::Mark(other)),
    }
}

const fn decision(mark: u8) -> Result<Decision, DecodeError> {
    match mark {
        0 => Ok(Decision::Undecided),
        1 => Ok(Decision::Keep),
        other => Err(DecodeError::Mark(other)),
    }
}

fn caller<const N: usize>(fixed: &[u8; N]) -> Option<Caller> {
    let at = offset_of!(RequestRecord, caller);
    let [high, low] = [at, at + 8].map(|at| u64_at(fixed, at));
    (high | low != 0).then(|| Caller {
        trace_id: (u128::from(high) << 64 | u128::from(low)).to_be_bytes(),
        sampled: u8_at(fixed, offset_of!(RequestRecord, caller_sampled)) == 1,
    })
}

/// None where no peer was written down, as for a server.
fn peer<const N: usize>(fixed: &[u8; N]) -> Option<SocketAddr> {
    let port = u16_at(fixed, offset_of!(RequestRecord, peer_port));
    let address = Ipv6Addr::from(bytes_at::<N, 16>(fixed, offset_of!(RequestRecord, peer_address)));
    let address = address.to_ipv4_mapped().map_or(IpAddr::V6(address), IpAddr::V4);
    (port > 0).then_some(SocketAddr::new(address, port))
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

fn u8_at<const N: usize>(fixed: &[u8; N], at: usize) -> u8 {
    u8::from_ne_bytes(bytes_at(fixed, at))
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

    fn record(status: u16, head_len: u16, marks: [u8; 4], head: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend(
            [7_u64, 9, 11, 13, 15, 0x1100, 0x22]
                .into_iter()
                .flat_map(u64::to_ne_bytes),
        );
        bytes.extend(Ipv6Addr::from([0, 0, 0, 0, 0, 0xffff, 0x0a00, 0x0001]).octets());
        bytes.extend(8080_u16.to_ne_bytes());
        bytes.extend([1, 0, 0, 0, 0, 0]);
        bytes.extend((1..=8_u32).flat_map(u32::to_ne_bytes));
        bytes.extend([status, head_len].into_iter().flat_map(u16::to_ne_bytes));
        bytes.extend(marks);
        bytes.extend(head);
        bytes
    }

    #[test]
    fn every_field_of_a_request_comes_from_its_own_place() {
        let bytes = record(204, 3, [1, 1, 1, 2], b"GET ");
        let event = RequestEvent::decode(&bytes).unwrap();
        let expected = RequestEvent {
            start_ns: 7,
            end_ns: 9,
            randomness: 11,
            threshold: 13,
            seed: NonZeroU64::new(15),
            caller: Some(Caller {
                trace_id: [0, 0, 0, 0, 0, 0, 0x11, 0, 0, 0, 0, 0, 0, 0, 0, 0x22],
                sampled: true,
            }),
            peer: Some(SocketAddr::from(([10, 0, 0, 1], 8080))),
            tgid: 1,
            tid: 2,
            fd: 3,
            service: 4,
            flags: 5,
            answer_bytes: 6,
            read_bytes: 7,
            counted: Some(8),
            status: 204,
            role: Role::Client,
            decision: Decision::Keep,
            head: b"GET",
        };
        assert_eq!(event, expected);
    }

    #[test]
    fn a_record_that_breaks_its_promise_is_refused_by_name() {
        let none = [0; 4];
        let category = |bytes: &[u8]| RequestEvent::decode(bytes).unwrap_err().category();
        assert_eq!(category(&record(200, 0, none, b"")[..119]), "too_short");
        assert_eq!(category(&record(200, 5, none, b"GET ")), "head_length");
        assert_eq!(category(&record(200, 513, none, &[b'x'; 600])), "head_length");
        for status in [1, 100, 102, 199, 1000] {
            assert_eq!(category(&record(status, 0, none, b"")), "status");
        }
        assert_eq!(category(&record(200, 0, [2, 0, 0, 0], b"")), "mark");
        assert_eq!(category(&record(200, 0, [0, 2, 0, 0], b"")), "mark");
    }

    #[test]
    fn an_upgrade_is_a_final_answer() {
        let bytes = record(101, 0, [0; 4], b"");
        assert_eq!(RequestEvent::decode(&bytes).map(|event| event.status), Ok(101));
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

//! The records of connections that the kernel does not pair by itself.

use core::mem::offset_of;

use std::net::SocketAddr;

use super::{DecodeError, peer, role, split, u8_at, u16_at, u32_at, u64_at};
use crate::{HEAD_BYTES, RAW_BYTES, RawKind, RawRecord, RequestRecord, Role, UnderWay};

/// Bytes of a record before the transferred ones.
const HEADER: usize = RawRecord::<RAW_BYTES>::HEADER_BYTES;

/// A piece of news of such a connection, borrowed from the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawEvent<'a> {
    /// When the system call returned, or the connection ended; on `CLOCK_MONOTONIC`, in nanoseconds.
    pub time_ns: u64,
    /// The address of the connection's `struct sock`. The kernel uses addresses again.
    pub sock: u64,
    /// When the connection was opened in this ring, on `CLOCK_MONOTONIC`, in nanoseconds; 0 for an orphan.
    pub opened_ns: u64,
    /// How many bytes of the connection this stands for; those beyond what came with it were not kept.
    pub total_len: u32,
    /// The process, in the initial pid namespace.
    pub tgid: u32,
    /// The thread, in the initial pid namespace.
    pub tid: u32,
    /// The connection's file descriptor in that process; 0 where it is not known.
    pub fd: u32,
    /// The service that the worker gave the process.
    pub service: u32,
    /// The flags that the worker gave the process.
    pub flags: u32,
    /// Which end the process is.
    pub role: Role,
    /// What happened.
    pub news: RawNews<'a>,
}

/// What happened to a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RawNews<'a> {
    /// It is told from here on.
    Open {
        /// Where the request stands.
        under_way: UnderWay,
        /// The request that was under way.
        request: RawRequest<'a>,
    },
    /// A transfer, or a part of one.
    Segment {
        /// It was of the answer side.
        answer: bool,
        /// Its first bytes, at most [`RAW_BYTES`].
        bytes: &'a [u8],
    },
    /// It ended.
    Close {
        /// The peer reset it.
        reset: bool,
    },
    /// A connection that was not told of ended, while the answer to a request was awaited.
    Ended {
        /// The peer reset it.
        reset: bool,
        /// Where the request stands.
        under_way: UnderWay,
        /// That request.
        request: RawRequest<'a>,
    },
    /// As a [`Segment`](Self::Segment), of a connection of which nothing is known.
    Orphan {
        /// The kernel paired and counted it.
        counted: bool,
        /// It was of the answer side.
        answer: bool,
        /// Its first bytes, at most [`RAW_BYTES`].
        bytes: &'a [u8],
    },
    /// What a client wrote, which may be the first request of an HTTP/2 connection.
    Http2 {
        /// A part of it, at most [`RAW_BYTES`].
        bytes: &'a [u8],
    },
}

/// The request that was under way when a connection was told of first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawRequest<'a> {
    /// When the call that began it returned, on `CLOCK_MONOTONIC`, in nanoseconds.
    pub start_ns: u64,
    /// What was transferred on the request side since, in bytes.
    pub read_bytes: u32,
    /// A client's peer.
    pub peer: Option<SocketAddr>,
    /// The first of these bytes, at most [`HEAD_BYTES`].
    pub head: &'a [u8],
}

impl<'a> RawEvent<'a> {
    /// Reads one record of the ring `RAW`.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let (fixed, rest) = split::<{ HEADER }>(bytes)?;
        let captured = usize::from(u16_at(fixed, offset_of!(RawRecord, captured)));
        let transferred =
            rest.get(..captured)
                .filter(|bytes| bytes.len() <= RAW_BYTES)
                .ok_or(DecodeError::Captured {
                    captured,
                    available: rest.len(),
                })?;
        Ok(Self {
            time_ns: u64_at(fixed, offset_of!(RawRecord, time_ns)),
            sock: u64_at(fixed, offset_of!(RawRecord, sock)),
            opened_ns: u64_at(fixed, offset_of!(RawRecord, opened_ns)),
            total_len: u32_at(fixed, offset_of!(RawRecord, total_len)),
            tgid: u32_at(fixed, offset_of!(RawRecord, tgid)),
            tid: u32_at(fixed, offset_of!(RawRecord, tid)),
            fd: u32_at(fixed, offset_of!(RawRecord, fd)),
            service: u32_at(fixed, offset_of!(RawRecord, service)),
            flags: u32_at(fixed, offset_of!(RawRecord, flags)),
            role: role(u8_at(fixed, offset_of!(RawRecord, role)))?,
            news: news(fixed, transferred)?,
        })
    }
}

impl RawNews<'_> {
    /// The kind of record that told it.
    #[must_use]
    pub const fn kind(&self) -> RawKind {
        match self {
            Self::Open { .. } => RawKind::Open,
            Self::Segment { .. } => RawKind::Segment,
            Self::Close { .. } => RawKind::Close,
            Self::Ended { .. } => RawKind::Ended,
            Self::Orphan { .. } => RawKind::Orphan,
            Self::Http2 { .. } => RawKind::Http2,
        }
    }
}

fn news<'a>(fixed: &[u8; HEADER], bytes: &'a [u8]) -> Result<RawNews<'a>, DecodeError> {
    let mark = || flag(u8_at(fixed, offset_of!(RawRecord, mark)));
    Ok(match kind(u8_at(fixed, offset_of!(RawRecord, kind)))? {
        RawKind::Open => RawNews::Open {
            under_way: under_way(u8_at(fixed, offset_of!(RawRecord, under_way)))?,
            request: request(bytes)?,
        },
        RawKind::Segment => RawNews::Segment { answer: mark()?, bytes },
        RawKind::Close => RawNews::Close { reset: mark()? },
        RawKind::Ended => RawNews::Ended {
            reset: mark()?,
            under_way: under_way(u8_at(fixed, offset_of!(RawRecord, under_way)))?,
            request: request(bytes)?,
        },
        RawKind::Orphan => RawNews::Orphan {
            counted: under_way(u8_at(fixed, offset_of!(RawRecord, under_way)))? == UnderWay::Counted,
            answer: mark()?,
            bytes,
        },
        RawKind::Http2 => RawNews::Http2 { bytes },
    })
}

/// The beginning of a [`RequestRecord`] whose end, status and decision are not written yet.
fn request(bytes: &[u8]) -> Result<RawRequest<'_>, DecodeError> {
    let (fixed, rest) = split::<{ RequestRecord::HEADER_BYTES }>(bytes)?;
    let head_len = usize::from(u16_at(fixed, offset_of!(RequestRecord, head_len)));
    let head = rest.get(..head_len).filter(|head| head.len() <= HEAD_BYTES);
    Ok(RawRequest {
        start_ns: u64_at(fixed, offset_of!(RequestRecord, start_ns)),
        read_bytes: u32_at(fixed, offset_of!(RequestRecord, read_bytes)),
        peer: peer(fixed),
        head: head.ok_or(DecodeError::HeadLength {
            head_len,
            available: rest.len(),
        })?,
    })
}

const fn kind(mark: u8) -> Result<RawKind, DecodeError> {
    match mark {
        1 => Ok(RawKind::Open),
        2 => Ok(RawKind::Segment),
        3 => Ok(RawKind::Close),
        4 => Ok(RawKind::Ended),
        5 => Ok(RawKind::Orphan),
        6 => Ok(RawKind::Http2),
        other => Err(DecodeError::Mark(other)),
    }
}

const fn under_way(mark: u8) -> Result<UnderWay, DecodeError> {
    match mark {
        0 => Ok(UnderWay::Waiting),
        1 => Ok(UnderWay::Counted),
        2 => Ok(UnderWay::Answered),
        other => Err(DecodeError::Mark(other)),
    }
}

const fn flag(mark: u8) -> Result<bool, DecodeError> {
    match mark {
        0 => Ok(false),
        1 => Ok(true),
        other => Err(DecodeError::Mark(other)),
    }
}

#[cfg(test)]
mod tests {
    use std::{net::Ipv6Addr, vec::Vec};

    use proptest::prelude::*;

    use super::*;

    /// `marks`: kind, mark, under way, role.
    fn record(captured: u16, marks: [u8; 4], bytes: &[u8]) -> Vec<u8> {
        let mut record = Vec::new();
        record.extend([3_u64, 5, 7].into_iter().flat_map(u64::to_ne_bytes));
        record.extend((11..=16_u32).flat_map(u32::to_ne_bytes));
        record.extend(captured.to_ne_bytes());
        record.extend(marks);
        record.extend([0; 2]);
        record.extend(bytes);
        record
    }

    fn under_way(head_len: u16, head: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend([21_u64, 22, 23, 24, 25, 26, 27].into_iter().flat_map(u64::to_ne_bytes));
        bytes.extend(Ipv6Addr::from([0, 0, 0, 0, 0, 0xffff, 0x0a00, 0x0001]).octets());
        bytes.extend([8080_u16, 0, 0, 0].into_iter().flat_map(u16::to_ne_bytes));
        bytes.extend((31..=38_u32).flat_map(u32::to_ne_bytes));
        // What the record says of the end is of an earlier request, or nothing at all.
        bytes.extend([1_u16, head_len].into_iter().flat_map(u16::to_ne_bytes));
        bytes.extend([9; 4]);
        bytes.extend(head);
        bytes
    }

    fn news(captured: u16, marks: [u8; 4], bytes: &[u8]) -> RawNews<'_> {
        let record = Vec::leak(record(captured, marks, bytes));
        RawEvent::decode(record).unwrap().news
    }

    fn request(head: &[u8]) -> RawRequest<'_> {
        RawRequest {
            start_ns: 21,
            read_bytes: 37,
            peer: Some(SocketAddr::from(([10, 0, 0, 1], 8080))),
            head,
        }
    }

    #[test]
    fn every_field_of_a_record_comes_from_its_own_place() {
        let bytes = record(2, [2, 1, 0, 1], b"abc");
        let expected = RawEvent {
            time_ns: 3,
            sock: 5,
            opened_ns: 7,
            total_len: 11,
            tgid: 12,
            tid: 13,
            fd: 14,
            service: 15,
            flags: 16,
            role: Role::Client,
            news: RawNews::Segment {
                answer: true,
                bytes: b"ab",
            },
        };
        assert_eq!(RawEvent::decode(&bytes), Ok(expected));
    }

    #[test]
    fn every_kind_tells_what_it_has() {
        let bytes = under_way(3, b"GET / ");
        for (number, under_way) in [UnderWay::Waiting, UnderWay::Counted, UnderWay::Answered]
            .into_iter()
            .enumerate()
        {
            let open = RawNews::Open {
                under_way,
                request: request(b"GET"),
            };
            assert_eq!(news(126, [1, 9, u8::try_from(number).unwrap(), 0], &bytes), open);
        }
        for (mark, set) in [(0, false), (1, true)] {
            let ended = RawNews::Ended {
                reset: set,
                under_way: UnderWay::Counted,
                request: request(b"GET"),
            };
            assert_eq!(news(126, [4, mark, 1, 0], &bytes), ended);
            let segment = RawNews::Segment {
                answer: set,
                bytes: b"x",
            };
            let orphan = RawNews::Orphan {
                counted: set,
                answer: set,
                bytes: b"x",
            };
            assert_eq!(news(1, [2, mark, 9, 0], b"x"), segment);
            assert_eq!(news(1, [5, mark, mark, 0], b"x"), orphan);
            assert_eq!(news(1, [6, mark, 0, 0], b"x"), RawNews::Http2 { bytes: b"x" });
            assert_eq!(news(0, [3, mark, 9, 0], b""), RawNews::Close { reset: set });
        }
    }

    #[test]
    fn the_kind_is_that_of_the_record() {
        let bytes = under_way(0, b"");
        for kind in [
            RawKind::Open,
            RawKind::Segment,
            RawKind::Close,
            RawKind::Ended,
            RawKind::Orphan,
            RawKind::Http2,
        ] {
            assert_eq!(news(120, [kind as u8, 0, 0, 0], &bytes).kind(), kind);
        }
    }

    #[test]
    fn a_record_that_breaks_its_promise_is_refused_by_name() {
        let category = |bytes: &[u8]| RawEvent::decode(bytes).unwrap_err().category();
        assert_eq!(category(&record(0, [2, 0, 0, 0], b"")[..55]), "too_short");
        assert_eq!(category(&record(4, [2, 0, 0, 0], b"abc")), "captured");
        assert_eq!(category(&record(1025, [2, 0, 0, 0], &[b'x'; 1100])), "captured");
        for marks in [
            [0, 0, 0, 0],
            [7, 0, 0, 0],
            [2, 2, 0, 0],
            [3, 2, 0, 0],
            [5, 2, 0, 0],
            [2, 0, 0, 2],
        ] {
            assert_eq!(category(&record(0, marks, b"")), "mark", "{marks:?}");
        }
        let bytes = under_way(3, b"GE");
        assert_eq!(category(&record(122, [1, 0, 0, 0], &bytes)), "head_length");
        assert_eq!(category(&record(122, [1, 0, 3, 0], &bytes)), "mark");
        assert_eq!(category(&record(119, [4, 0, 0, 0], &bytes)), "too_short");
        let long = under_way(513, &[b'x'; 600]);
        assert_eq!(category(&record(720, [4, 0, 0, 0], &long)), "head_length");
    }

    proptest! {
        #[test]
        fn any_bytes_decode_or_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..1200)) {
            if let Ok(event) = RawEvent::decode(&bytes) {
                within_bounds(&event)?;
            }
        }

        #[test]
        fn any_record_with_known_marks_decodes_within_its_bounds(
            captured in 0_u16..1100,
            marks in (1_u8..=5, 0_u8..2, 0_u8..3, 0_u8..2),
            head_len in 0_u16..600,
            head in prop::collection::vec(any::<u8>(), 0..1100),
        ) {
            let bytes = under_way(head_len, &head);
            let marks = [marks.0, marks.1, marks.2, marks.3];
            match RawEvent::decode(&record(captured, marks, &bytes)) {
                Ok(event) => within_bounds(&event)?,
                Err(error) => prop_assert!(!matches!(error, DecodeError::Mark(_)), "{error}"),
            }
        }
    }

    fn within_bounds(event: &RawEvent<'_>) -> Result<(), TestCaseError> {
        match event.news {
            RawNews::Open { request, .. } | RawNews::Ended { request, .. } => {
                prop_assert!(request.head.len() <= HEAD_BYTES);
            }
            RawNews::Segment { bytes, .. } | RawNews::Orphan { bytes, .. } | RawNews::Http2 { bytes } => {
                prop_assert!(bytes.len() <= RAW_BYTES);
            }
            RawNews::Close { .. } => {}
        }
        Ok(())
    }
}

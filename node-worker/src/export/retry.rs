//! When to try again, by OTLP's rules (specification, "OTLP/gRPC Response").

use std::time::Duration;

use prost::Message;
use tonic::{Code, Status};

/// The first pause.
const FIRST: Duration = Duration::from_millis(100);
/// The longest pause.
const LONGEST: Duration = Duration::from_secs(5);

/// Pauses that double from 100 ms to 5 s, each shortened at random by up to a half, so that many workers whose receiver comes back do
/// not come all at once.
#[derive(Debug)]
pub(crate) struct Backoff {
    next: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { next: FIRST }
    }
}

impl Backoff {
    pub(crate) fn pause(&mut self) -> Duration {
        let pause = self.next;
        self.next = (pause * 2).min(LONGEST);
        pause.mul_f64(rand::random_range(0.5..=1.0))
    }

    pub(crate) fn reset(&mut self) {
        self.next = FIRST;
    }
}

/// What a refusal says about trying again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Advice {
    /// Of no use.
    Never,
    /// After a pause of the sender's choice.
    Later,
    /// After this time at least.
    After(Duration),
}

/// Overload means "later" only where the receiver says when.
pub(super) fn advice(status: &Status) -> Advice {
    match (status.code(), retry_delay(status.details())) {
        (Code::Unavailable | Code::ResourceExhausted, Some(delay)) => Advice::After(delay),
        (
            Code::Cancelled
            | Code::DeadlineExceeded
            | Code::Aborted
            | Code::OutOfRange
            | Code::Unavailable
            | Code::DataLoss,
            _,
        ) => Advice::Later,
        _ => Advice::Never,
    }
}

/// `google.rpc.Status`, as far as it is read.
#[derive(Clone, PartialEq, Message)]
struct RpcStatus {
    #[prost(message, repeated, tag = "3")]
    details: Vec<Detail>,
}

/// `google.protobuf.Any`
#[derive(Clone, PartialEq, Message)]
struct Detail {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

/// `google.rpc.RetryInfo`
#[derive(Clone, PartialEq, Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    retry_delay: Option<RetryDelay>,
}

/// `google.protobuf.Duration`
#[derive(Clone, PartialEq, Message)]
struct RetryDelay {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

fn retry_delay(details: &[u8]) -> Option<Duration> {
    let details = RpcStatus::decode(details).ok()?.details;
    let detail = details
        .into_iter()
        .find(|detail| detail.type_url.ends_with("/google.rpc.RetryInfo"))?;
    let delay = RetryInfo::decode(detail.value.as_slice()).ok()?.retry_delay?;
    let (seconds, nanos) = (u64::try_from(delay.seconds).ok()?, u32::try_from(delay.nanos).ok()?);
    Some(Duration::from_secs(seconds).saturating_add(Duration::from_nanos(nanos.into())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_retry_info(code: Code) -> Status {
        let info = RetryInfo {
            retry_delay: Some(RetryDelay {
                seconds: 2,
                nanos: 500_000_000,
            }),
        };
        let detail = Detail {
            type_url: "type.googleapis.com/google.rpc.RetryInfo".into(),
            value: info.encode_to_vec(),
        };
        let details = RpcStatus { details: vec![detail] }.encode_to_vec();
        Status::with_details(code, "busy", details.into())
    }

    #[test]
    fn codes_are_retried_as_the_specification_says() {
        for code in [
            Code::Unavailable,
            Code::DeadlineExceeded,
            Code::Aborted,
            Code::DataLoss,
            Code::Cancelled,
        ] {
            assert_eq!(advice(&Status::new(code, "")), Advice::Later, "{code}");
        }
        for code in [
            Code::InvalidArgument,
            Code::Unauthenticated,
            Code::PermissionDenied,
            Code::Unimplemented,
        ] {
            assert_eq!(advice(&Status::new(code, "")), Advice::Never, "{code}");
        }
    }

    #[test]
    fn overload_is_retried_only_when_the_receiver_says_when() {
        assert_eq!(advice(&Status::new(Code::ResourceExhausted, "")), Advice::Never);
        let said = Advice::After(Duration::from_millis(2500));
        assert_eq!(advice(&with_retry_info(Code::ResourceExhausted)), said);
        assert_eq!(advice(&with_retry_info(Code::Unavailable)), said);
    }

    #[test]
    fn details_that_are_no_status_are_ignored() {
        let status = Status::with_details(Code::Unavailable, "", vec![0xff, 0x00, 0x07].into());
        assert_eq!(advice(&status), Advice::Later);
    }

    #[test]
    fn pauses_grow_to_five_seconds_and_begin_again_after_a_success() {
        let mut backoff = Backoff::default();
        let first = backoff.pause();
        assert!((FIRST / 2..=FIRST).contains(&first), "{first:?}");
        let last = (0..20).map(|_| backoff.pause()).last().unwrap();
        assert!((LONGEST / 2..=LONGEST).contains(&last), "{last:?}");
        backoff.reset();
        assert!(backoff.pause() <= FIRST);
    }
}

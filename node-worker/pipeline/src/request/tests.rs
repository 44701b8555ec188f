use super::*;
use shoalwatch_protocols::trace_context::Threshold;

pub(crate) fn status(code: u16) -> Status {
    Status::new(code).unwrap_or(Status(100))
}

/// A plain `GET /` answered with 200 after one millisecond, without a caller.
pub(crate) fn request() -> Request<'static> {
    Request {
        service: ServiceId(1),
        start_ns: 1_000_000,
        end_ns: 2_000_000,
        method: Method::Get,
        target: Target::Route(RouteId(1)),
        template: "/",
        status: status(200),
        trace: Trace {
            trace_id: [7; 16],
            parent_id: None,
            parent_sampled: None,
            within: false,
            ot: OtState::default(),
        },
    }
}

#[test]
fn a_request_without_a_caller_begins_a_trace_and_drops_tracestate() {
    let ot = OtState {
        th: Some(Threshold::ALWAYS),
        rv: Some(Randomness::from_low_bits(9)),
    };
    let mut ids = IdSource::new([1, 2, 3, 4]);
    let trace = Trace::join(None, ot, &mut ids);
    assert_eq!(
        (trace.parent_id, trace.parent_sampled, trace.ot),
        (None, None, OtState::default())
    );
    assert_ne!(Trace::join(None, ot, &mut ids).trace_id, trace.trace_id);
}

#[test]
fn explicit_randomness_beats_the_trace_id() {
    let parent = TraceParent {
        trace_id: [0xff; 16],
        parent_id: [1; 8],
        sampled: true,
    };
    let mut ids = IdSource::new([1, 2, 3, 4]);
    let plain = Trace::join(Some(parent), OtState::default(), &mut ids);
    assert_eq!(plain.randomness().get(), (1 << 56) - 1);
    let rv = Some(Randomness::from_low_bits(9));
    let explicit = Trace::join(Some(parent), OtState { rv, th: None }, &mut ids);
    assert_eq!(Some(explicit.randomness()), rv);
    assert_eq!(explicit.trace_id, plain.trace_id);
}

#[test]
fn the_kernel_records_codes_and_zero_for_what_was_aborted() {
    for recorded in 0..=u16::MAX {
        let expected = matches!(recorded, 0 | 100..=999);
        let status = Status::recorded(recorded);
        assert_eq!(status.is_some(), expected, "{recorded}");
        let Some(status) = status else { continue };
        assert_eq!(status.is_aborted(), recorded == 0);
        assert_eq!(status.code(), (recorded > 0).then_some(recorded));
        let failures = [Role::Server, Role::Client].map(|role| status.is_failure(role));
        let expected = [matches!(recorded, 0 | 500..=599), recorded == 0 || recorded >= 400];
        assert_eq!(failures, expected, "{recorded}");
    }
    assert_eq!(Status::new(0), None, "no answer has the code 0");
}

#[test]
fn a_status_is_displayed_as_its_code_or_as_aborted() {
    assert_eq!(
        [status(503), Status::ABORTED].map(|status| status.to_string()),
        ["503", "aborted"]
    );
}

#[test]
fn a_clock_that_goes_backwards_gives_no_negative_duration() {
    assert_eq!(Request { end_ns: 0, ..request() }.duration_ns(), 0);
}

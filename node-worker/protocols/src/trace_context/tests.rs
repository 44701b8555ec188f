use super::*;
use proptest::prelude::*;

const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

fn lines<'a>(texts: &[&'a str]) -> TraceStateLines<'a> {
    let mut lines = TraceStateLines::default();
    for text in texts {
        lines.push(text.as_bytes());
    }
    lines
}

fn ot(texts: &[&str]) -> (Option<u64>, Option<u64>) {
    let state = lines(texts).ot();
    (state.th.map(Threshold::get), state.rv.map(Randomness::get))
}

#[test]
fn a_traceparent_gives_its_ids_and_flag() {
    let parent = TraceParent::parse(GOOD.as_bytes()).unwrap();
    assert_eq!(parent.trace_id[..4], [0x0a, 0xf7, 0x65, 0x19]);
    assert_eq!(parent.parent_id, [0xb7, 0xad, 0x6b, 0x71, 0x69, 0x20, 0x33, 0x31]);
    assert!(parent.sampled);
    assert_eq!(parent.randomness().get(), 0x48_eb21_1c80_319c);
    let others = ["00", "02", "fe"]
        .map(|flags| TraceParent::parse(GOOD.replace("-01", &format!("-{flags}")).as_bytes()).unwrap());
    assert_eq!(others.map(|parent| parent.sampled), [false; 3]);
}

#[test]
fn a_later_version_may_be_longer_after_a_dash_and_version_00_may_not() {
    let at_version =
        |version: &str, tail: &str| TraceParent::parse((GOOD.replacen("00", version, 1) + tail).as_bytes());
    assert!(at_version("01", "").is_ok() && at_version("cc", "-what-the-future-will-be-like").is_ok());
    assert_eq!(at_version("cc", ".what"), Err(BadTraceParent::Shape));
    assert_eq!(at_version("00", "-"), Err(BadTraceParent::Shape));
    assert_eq!(at_version("ff", ""), Err(BadTraceParent::Version));
}

#[test]
fn a_bad_traceparent_says_what_is_bad() {
    for (value, expected) in [
        (String::new(), BadTraceParent::Shape),
        (GOOD[..54].to_owned(), BadTraceParent::Shape),
        (GOOD.replace('-', "_"), BadTraceParent::Shape),
        (GOOD.to_uppercase(), BadTraceParent::Digit),
        (GOOD.replace("-01", "-0g"), BadTraceParent::Digit),
        (
            GOOD.replace("0af7651916cd43dd8448eb211c80319c", &"0".repeat(32)),
            BadTraceParent::ZeroId,
        ),
        (
            GOOD.replace("b7ad6b7169203331", &"0".repeat(16)),
            BadTraceParent::ZeroId,
        ),
    ] {
        assert_eq!(TraceParent::parse(value.as_bytes()), Err(expected), "{value}");
    }
}

#[test]
fn thresholds_are_written_as_opentelemetry_writes_them() {
    // From OTEP 235 and the OpenTelemetry probability sampling specification.
    for (text, probability) in [
        ("0", 1.0),
        ("8", 0.5),
        ("c", 0.25),
        ("fd70a4", 0.01),
        ("ffffffffffffff", 2f64.powi(-56)),
    ] {
        let threshold = Threshold::parse(text.as_bytes()).unwrap();
        assert_eq!(threshold.to_string(), text);
        let count = threshold.adjusted_count() * probability;
        assert!((count - 1.0).abs() < 1e-4, "{text}: {count}");
    }
    for bad in ["", "C", "g", "000000000000000"] {
        assert_eq!(Threshold::parse(bad.as_bytes()), None, "{bad}");
    }
    assert_eq!(Threshold::new(1 << RANDOMNESS_BITS), None);
}

#[test]
fn randomness_at_the_threshold_is_kept_and_below_it_is_not() {
    let half = Threshold::parse(b"8").unwrap();
    assert!(half.keeps(Randomness::from_low_bits(1 << 55)) && !half.keeps(Randomness::from_low_bits((1 << 55) - 1)));
}

#[test]
fn randomness_has_exactly_14_digits() {
    assert_eq!(Randomness::parse(b"0000000000000a").map(Randomness::get), Some(10));
    for bad in ["", "a", "0000000000000A", "000000000000000"] {
        assert_eq!(Randomness::parse(bad.as_bytes()), None, "{bad}");
    }
}

#[test]
fn the_ot_member_is_found_wherever_it_stands() {
    let expected = (Some(0xc0_0000_0000_0000), Some(0xfe_dcba_9876_5432));
    assert_eq!(ot(&["ot=th:c;rv:fedcba98765432"]), expected);
    assert_eq!(ot(&["a=1, \tot = th:c ; rv:fedcba98765432 ,b=2"]), expected);
    assert_eq!(ot(&["a=1", "b=2,ot=rv:fedcba98765432;x:y;th:c"]), expected);
    assert_eq!(ot(&["notot=th:c,ott=th:8", "xot=th:8"]), (None, None));
}

#[test]
fn the_member_written_last_wins_and_within_it_the_last_valid_key() {
    assert_eq!(ot(&["ot=th:c,ot=th:8", "ot=th:4"]).0, Some(0xc0_0000_0000_0000));
    assert_eq!(ot(&["ot=th:c;th:8;th:zz"]).0, Some(0x80_0000_0000_0000));
}

#[test]
fn an_ot_member_longer_than_allowed_is_not_read() {
    let member = |length: usize| format!("ot=th:c;x:{}", "a".repeat(length - "th:c;x:".len()));
    assert_eq!(ot(&[&member(MAX_OT_VALUE)]).0, Some(0xc0_0000_0000_0000));
    assert_eq!(ot(&[&member(MAX_OT_VALUE + 1)]).0, None);
}

#[test]
fn a_fifth_line_is_ignored() {
    assert_eq!(ot(&["a=1", "b=1", "c=1", "d=1", "ot=th:c"]), (None, None));
}

const ALWAYS: OtState = OtState {
    th: Some(Threshold::ALWAYS),
    rv: None,
};

/// What is written behind something else, which stays.
fn written(values: &[&str], state: OtState) -> String {
    let mut out = b"old".to_vec();
    lines(values).write_with(state, &mut out);
    let text = String::from_utf8(out).unwrap();
    text.strip_prefix("old").unwrap().to_owned()
}

#[test]
fn the_ot_member_is_written_in_front_and_the_others_stay() {
    let state = OtState {
        th: Threshold::parse(b"8"),
        rv: Randomness::parse(b"fedcba98765432"),
    };
    let both = written(&["a=1,ot=p:8;th:c;q:7", " b = 2 "], state);
    assert_eq!(both, "ot=th:8;rv:fedcba98765432;p:8;q:7,a=1,b=2");
    let neither = written(&["a=1,\u{7f}=2,c,ot=\u{7f}:2"], OtState::default());
    assert_eq!(neither, "a=1");
    assert_eq!(written(&[], ALWAYS), "ot=th:0");
    assert_eq!(written(&[], OtState { th: None, ..state }), "ot=rv:fedcba98765432");
}

#[test]
fn a_written_tracestate_keeps_within_w3cs_bounds() {
    let many: String = (0..40).fold(String::new(), |list, member| list + "k" + &member.to_string() + "=v,");
    assert_eq!(written(&[&many], ALWAYS).split(',').count(), 32);
    let long = format!("a={},b={}", "x".repeat(300), "y".repeat(300));
    assert_eq!(written(&[&long], OtState::default()).len(), 302);
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let _either = TraceParent::parse(&bytes);
        let mut lines = TraceStateLines::default();
        lines.push(&bytes);
        let mut out = Vec::new();
        lines.write_with(lines.ot(), &mut out);
        prop_assert!(out.len() <= MAX_TRACESTATE && out.is_ascii());
    }

    #[test]
    fn what_is_written_is_read_back(th in prop::option::of(0u64..1 << 56), zeros in 0u32..14, rv in prop::option::of(any::<u64>()), rest in "[a-z=:;, 0-9]{0,40}") {
        let th = th.and_then(|value| Threshold::new(value >> (4 * zeros) << (4 * zeros)));
        let state = OtState { th, rv: rv.map(Randomness::from_low_bits) };
        // Without a value of our own, one of the caller's would be found among the rest.
        prop_assume!(state != OtState::default());
        let out = written(&[&rest], state);
        prop_assert_eq!(lines(&[&out]).ot(), state);
    }

    #[test]
    fn a_traceparent_is_read_back_from_its_parts(trace in 1u128.., parent in 1u64.., flags: u8) {
        let text = format!("00-{trace:032x}-{parent:016x}-{flags:02x}");
        let expected = TraceParent { trace_id: trace.to_be_bytes(), parent_id: parent.to_be_bytes(), sampled: flags % 2 == 1 };
        prop_assert_eq!(TraceParent::parse(text.as_bytes()), Ok(expected));
    }
}

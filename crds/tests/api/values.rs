//! Texts that users write, and what they mean.

use std::fmt::Debug;
use std::time::Duration;

use proptest::prelude::*;
use shoalwatch_crds::values::{
    BurnRate, DurationString, Notation, Objective, Percent, Ratio, RatioString, StatusMatcher, TimeSpan,
};

fn all_refused<T: Notation + Debug>(texts: &[&str]) {
    for text in texts {
        let error = text.parse::<T>().expect_err(text);
        assert!(error.to_string().contains(T::HINT), "{error}");
    }
}

#[test]
fn a_ratio_is_exact() {
    let parts = |text: &str| text.parse::<Ratio>().map(Ratio::parts);
    assert_eq!(parts("0"), Ok(0));
    assert_eq!(parts("1"), Ok(1_000_000_000));
    assert_eq!(parts("1.0"), Ok(1_000_000_000));
    assert_eq!(parts("0.01"), Ok(10_000_000));
    assert_eq!(parts("0.000000001"), Ok(1));
}

#[test]
fn what_is_not_a_ratio_is_refused() {
    all_refused::<Ratio>(&[
        "",
        "2",
        "1.000000001",
        "-0.1",
        "+0.1",
        ".5",
        "0.",
        "00.5",
        "1e-3",
        "0,5",
        "1%",
        " 0",
        "0.0000000001",
        "٠",
    ]);
}

#[test]
fn a_percentage_is_a_share_of_a_hundred() {
    let ratio = |text: &str| text.parse::<Percent>().map(|percent| percent.ratio().parts());
    assert_eq!(ratio("100"), Ok(1_000_000_000));
    assert_eq!(ratio("2.5"), Ok(25_000_000));
    assert_eq!(ratio("0.0000001"), Ok(1));
    all_refused::<Percent>(&[
        "0",
        "0.0",
        "100.1",
        "101",
        "2%",
        "05",
        "0.00000001",
        "99999999999999999999",
    ]);
}

#[test]
fn an_objective_always_leaves_an_error_budget() {
    let budget = |text: &str| {
        text.parse::<Objective>()
            .map(|objective| objective.error_budget().parts())
    };
    assert_eq!(budget("99.9"), Ok(1_000_000));
    assert_eq!(budget("99.9999999"), Ok(1));
    assert_eq!(budget("0.0000001"), Ok(999_999_999));
    all_refused::<Objective>(&["100", "100.0", "0", "0.000", "120", ""]);
}

#[test]
fn a_burn_rate_is_a_positive_factor() {
    let rate = "14.4".parse::<BurnRate>().map(BurnRate::as_f64);
    assert_eq!(rate, Ok(14.4));
    assert_eq!(
        "999999.999999".parse::<BurnRate>().unwrap().to_string(),
        "999999.999999"
    );
    all_refused::<BurnRate>(&[
        "0",
        "0.0",
        "-1",
        "1000000",
        "14.4x",
        "1.0000001",
        "18446744073709551616",
    ]);
}

#[test]
fn a_time_span_adds_its_parts() {
    let span = |text: &str| text.parse::<TimeSpan>().map(TimeSpan::as_duration);
    assert_eq!(span("30s"), Ok(Duration::from_secs(30)));
    assert_eq!(span("1h30m"), Ok(Duration::from_mins(90)));
    assert_eq!(span("28d"), Ok(Duration::from_hours(28 * 24)));
    assert_eq!(span("800ms"), Ok(Duration::from_millis(800)));
    assert_eq!(span("1d2h3m4s5ms"), Ok(Duration::from_millis(93_784_005)));
    assert_eq!(span("0s"), Ok(Duration::ZERO));
    assert_eq!(span("90m"), span("1h30m"));
}

#[test]
fn what_is_not_a_time_span_is_refused() {
    all_refused::<TimeSpan>(&[
        "",
        "5",
        "h",
        "-5m",
        "1.5h",
        "5 m",
        "30m1h",
        "5m5m",
        "1w",
        "5M",
        "5µs",
        "12345d",
        "9999999999ms",
        "1h-2m",
        "5m ",
    ]);
}

#[test]
fn the_longest_time_span_does_not_overflow() {
    let longest = "9999d99999h999999m99999999s999999999ms".parse::<TimeSpan>().unwrap();
    assert_eq!(longest.to_string(), "16029d1h12m18s999ms");
}

#[test]
fn a_status_is_one_code_or_a_class_or_aborted() {
    assert_eq!("503".parse(), Ok(StatusMatcher::Code(503)));
    assert_eq!("5xx".parse(), Ok(StatusMatcher::Class(5)));
    assert_eq!("Aborted".parse(), Ok(StatusMatcher::Aborted));
    all_refused::<StatusMatcher>(&[
        "", "5", "50", "5XX", "6xx", "0xx", "099", "600", "5x3", "5000", "aborted", "ABORTED", "Aborted5", "1Aborted",
    ]);
}

#[test]
fn a_class_matches_its_hundred_and_no_other() {
    let class = StatusMatcher::Class(5);
    assert_eq!(
        [499, 500, 599, 600].map(|status| class.matches(status)),
        [false, true, true, false]
    );
    let code = StatusMatcher::Code(503);
    assert_eq!([502, 503, 504].map(|status| code.matches(status)), [false, true, false]);
    assert!((0..=u16::MAX).all(|status| !StatusMatcher::Aborted.matches(status)));
}

#[test]
fn a_malformed_text_is_kept_so_that_one_bad_object_cannot_stall_a_watch() {
    let written: RatioString = serde_json::from_str("\"lots\"").unwrap();
    assert_eq!(written.as_str(), "lots");
    let error = written.parse().unwrap_err().to_string();
    assert!(error.starts_with("\"lots\" does not fit: write a decimal"), "{error}");
    assert_eq!(serde_json::to_string(&written).unwrap(), "\"lots\"");
}

#[test]
fn an_error_repeats_only_the_beginning_of_a_long_text() {
    let error = DurationString::new("9".repeat(100_000)).parse().unwrap_err();
    assert!(error.to_string().len() < 300);
}

proptest! {
    #[test]
    fn every_ratio_is_printed_as_it_is_read(parts in 0..=Ratio::DENOMINATOR) {
        let ratio = Ratio::from_parts(parts).unwrap();
        prop_assert_eq!(ratio.to_string().parse::<Ratio>(), Ok(ratio));
        prop_assert_eq!(ratio.complement().complement(), ratio);
    }

    #[test]
    fn every_percentage_is_printed_as_it_is_read(whole in 0_u32..100, fraction in 1_u32..10_000_000) {
        let percent = format!("{whole}.{fraction:07}").parse::<Percent>().unwrap();
        prop_assert_eq!(percent.to_string().parse::<Percent>(), Ok(percent));
        let objective = percent.to_string().parse::<Objective>().unwrap();
        prop_assert_eq!(objective.ratio(), percent.ratio());
    }

    #[test]
    fn every_time_span_is_printed_as_it_is_read(millis in 0_u64..=9999 * 86_400_000) {
        let span = TimeSpan::from_millis(millis);
        prop_assert_eq!(span.to_string().parse::<TimeSpan>(), Ok(span));
    }

    #[test]
    fn a_ratio_is_the_number_that_is_written(parts in 0..Ratio::DENOMINATOR) {
        let text = format!("0.{parts:09}");
        let ratio = text.parse::<Ratio>().unwrap();
        let written: f64 = text.parse().unwrap();
        prop_assert_eq!(ratio.as_f64().to_bits(), written.to_bits());
    }

    #[test]
    fn every_status_is_printed_as_it_is_read(text in "[1-5]([0-9]{2}|xx)|Aborted") {
        prop_assert_eq!(text.parse::<StatusMatcher>().unwrap().to_string(), text);
    }

    #[test]
    fn no_text_makes_a_parser_panic(text in "\\PC{0,60}") {
        // Only that they return: what they accept is compared with the schema's rules elsewhere.
        let accepted = [
            text.parse::<Ratio>().is_ok(),
            text.parse::<Percent>().is_ok(),
            text.parse::<Objective>().is_ok(),
            text.parse::<BurnRate>().is_ok(),
            text.parse::<TimeSpan>().is_ok(),
            text.parse::<StatusMatcher>().is_ok(),
        ];
        prop_assert!(text.is_ascii() || accepted == [false; 6]);
    }
}

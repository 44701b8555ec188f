//! Budgets of calendar periods: when they begin, what they count, and what is left of them.

use std::time::Duration;

use jiff::Timestamp;
use proptest::prelude::*;
use shoalwatch_core::burn::{TierSpec, budget_remaining, budget_remaining_of_period, default_tiers};
use shoalwatch_core::calendar::{Calendar, Unit, Zone};
use shoalwatch_core::history::History;
use shoalwatch_core::judge::{Memory, Phase, PhaseReason, Verdict, gather, judge};
use shoalwatch_core::release::Ledger;
use shoalwatch_core::reports::{Difference, Placement};
use shoalwatch_core::spec::{RollbackRule, SloSpec, Window};
use shoalwatch_core::{Counts, Millis};

const UNITS: [Unit; 5] = [Unit::Day, Unit::Week, Unit::Month, Unit::Quarter, Unit::Year];
/// With whole, half and quarter hours, with clocks that skip an hour, half an hour and midnight, and on both sides of the date line.
const ZONES: [&str; 9] = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Asia/Kolkata",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
    "Asia/Beirut",
    "Pacific/Apia",
    "Pacific/Kiritimati",
];
const HOUR: u64 = 3_600;

fn calendar(unit: Unit, zone: &str) -> Calendar {
    let zone = Zone::named(zone).expect("a time zone");
    Calendar { unit, zone }
}

fn at(text: &str) -> Millis {
    Millis(text.parse::<Timestamp>().expect("a time").as_millisecond())
}

fn period(unit: Unit, zone: &str, now: &str) -> (String, u64) {
    let period = calendar(unit, zone).period(at(now));
    let begin = Timestamp::from_millisecond(period.begin.0).expect("a time");
    (begin.to_string(), period.end.since(period.begin).as_secs() / HOUR)
}

fn is(begin: &str, hours: u64) -> (String, u64) {
    (begin.to_owned(), hours)
}

#[test]
fn a_period_begins_at_midnight_of_its_time_zone() {
    let now = "2026-11-22T14:00:00Z";
    assert_eq!(period(Unit::Day, "Europe/Berlin", now), is("2026-11-21T23:00:00Z", 24));
    assert_eq!(
        period(Unit::Week, "Europe/Berlin", now),
        is("2026-11-15T23:00:00Z", 7 * 24)
    );
    assert_eq!(
        period(Unit::Month, "Europe/Berlin", now),
        is("2026-10-31T23:00:00Z", 30 * 24)
    );
    assert_eq!(
        period(Unit::Month, "Asia/Kolkata", now),
        is("2026-10-31T18:30:00Z", 30 * 24)
    );
    assert_eq!(
        period(Unit::Month, "UTC", "2026-10-31T23:59:59.999Z"),
        is("2026-10-01T00:00:00Z", 31 * 24)
    );
    assert_eq!(period(Unit::Year, "UTC", now), is("2026-01-01T00:00:00Z", 365 * 24));
}

#[test]
fn a_period_is_as_long_as_the_clocks_make_it() {
    // The clocks go forward on 29 March 2026 and back on 25 October.
    let day = |now| period(Unit::Day, "Europe/Berlin", now).1;
    assert_eq!([day("2026-03-29T12:00:00Z"), day("2026-10-25T12:00:00Z")], [23, 25]);
    let month = |now| period(Unit::Month, "Europe/Berlin", now).1;
    assert_eq!(
        [month("2026-03-15T00:00:00Z"), month("2026-10-15T00:00:00Z")],
        [31 * 24 - 1, 31 * 24 + 1]
    );
    let quarter = |now| period(Unit::Quarter, "Europe/Berlin", now);
    assert_eq!(quarter("2026-11-22T00:00:00Z"), is("2026-09-30T22:00:00Z", 92 * 24 + 1));
    // There it is 01:00 when the day begins.
    assert_eq!(
        period(Unit::Day, "Asia/Beirut", "2026-03-29T12:00:00Z"),
        is("2026-03-28T22:00:00Z", 23)
    );
}

#[test]
fn a_leap_year_has_its_day() {
    assert_eq!(period(Unit::Year, "UTC", "2028-07-01T00:00:00Z").1, 366 * 24);
    assert_eq!(
        period(Unit::Month, "UTC", "2028-02-29T23:00:00Z"),
        is("2028-02-01T00:00:00Z", 29 * 24)
    );
    assert_eq!(period(Unit::Quarter, "UTC", "2028-02-29T23:00:00Z").1, 91 * 24);
    assert_eq!(period(Unit::Month, "UTC", "2100-02-28T23:00:00Z").1, 28 * 24);
}

#[test]
fn a_time_zone_is_one_of_the_database() {
    assert_eq!(Zone::named("europe/berlin").unwrap().name(), "Europe/Berlin");
    assert!(
        ["", "Mars/Olympus", "+01:00", "../etc/passwd"]
            .iter()
            .all(|name| Zone::named(name).is_none())
    );
}

fn any_calendar() -> impl Strategy<Value = Calendar> {
    (
        prop::sample::select(UNITS.to_vec()),
        prop::sample::select(ZONES.to_vec()),
    )
        .prop_map(|(unit, zone)| calendar(unit, zone))
}

/// From 1971 to 2100.
fn any_time() -> impl Strategy<Value = Millis> {
    (31_536_000_000..4_102_444_800_000_i64).prop_map(Millis)
}

proptest! {
    #[test]
    fn periods_follow_each_other_without_gap_or_overlap(calendar in any_calendar(), at in any_time()) {
        let period = calendar.period(at);
        prop_assert!(period.begin <= at && at < period.end, "{at:?} in {period:?}");
        prop_assert_eq!(calendar.period(period.begin), period);
        prop_assert_eq!(calendar.period(Millis(period.end.0 - 1)), period);
        let next = calendar.period(period.end);
        prop_assert_eq!(next.begin, period.end);
        prop_assert!(next.first > period.first);
        prop_assert_eq!(calendar.zone.day(period.begin), period.first);
    }

    #[test]
    fn a_period_is_about_as_long_as_its_name_says(calendar in any_calendar(), at in any_time()) {
        let period = calendar.period(at);
        let days = period.end.since(period.begin).as_secs_f64() / 86_400.0;
        let nominal = calendar.unit.nominal().as_secs_f64() / 86_400.0;
        // Samoa left out a day.
        let (short, long) = match calendar.unit {
            Unit::Day => (0.9, 1.1),
            Unit::Week | Unit::Year => (1.1, 1.1),
            Unit::Month | Unit::Quarter => (3.1, 2.1),
        };
        prop_assert!(days >= nominal - short && days <= nominal + long, "{days} days of {nominal}");
    }

    #[test]
    fn a_period_counts_its_own_requests_and_no_others(
        calendar in any_calendar(),
        offsets in prop::collection::vec((0..360 * 86_400_000_i64, 0..9_u64, 0..9_u64), 1..60),
        saved in any::<prop::sample::Index>(),
    ) {
        let now = at("2026-11-22T14:00:00Z");
        let window = Window::Calendar(calendar.clone());
        let mut history = History::default();
        history.keep_for(&window, now);
        let begin = calendar.period(now).begin;
        let mut own = Counts::default();
        for (place, (ago, good, bad)) in offsets.iter().enumerate() {
            if place == saved.index(offsets.len()) {
                history = History::decode(&history.encode()).unwrap();
            }
            let when = Millis(now.0 - ago);
            record(&mut history, Counts::new(*good, *bad), when, now);
            if when >= begin {
                own += Counts::new(*good, *bad);
            }
        }
        prop_assert_eq!(history.over(&window, now), own);
        let oldest = offsets.iter().map(|(ago, ..)| now.0 - ago).min().map(Millis);
        prop_assert_eq!(history.known_since(&window), oldest);
    }

    #[test]
    fn what_is_left_is_never_more_than_all_nor_less_than_of_the_requests_so_far(
        good in 0..1_000_000_u64, bad in 0..1_000_000_u64, passed in 0.0..=1.0_f64,
    ) {
        let objective = "99.9".parse().unwrap();
        let counts = Counts::new(good, bad);
        let (left, so_far) = (budget_remaining_of_period(counts, objective, passed), budget_remaining(counts, objective));
        prop_assert_eq!(left.is_none(), so_far.is_none());
        if let Some((left, so_far)) = left.zip(so_far) {
            prop_assert!(left <= 1.0 && left >= so_far - 1e-9, "{left} of {so_far}");
            // Even if all is bad, no more than this time can have cost.
            prop_assert!(left >= 1.0 - 1_000.0 * passed - 1e-6, "{left} after {passed}");
        }
        prop_assert_eq!(budget_remaining_of_period(counts, objective, 1.0), so_far);
    }
}

fn record(history: &mut History, counts: Counts, when: Millis, now: Millis) {
    let difference = Difference {
        sli: "shop/checkout".into(),
        revision: "v1".into(),
        worker: "node-1".into(),
        counts,
        bad_pods: 0,
        placement: Placement::At(when),
    };
    history.record(&difference, now);
}

fn spec(window: impl Into<Window>) -> SloSpec {
    let objective = "99.9".parse().expect("an objective");
    SloSpec::new("shop/checkout", objective, window, None, RollbackRule::default()).expect("a valid SLO")
}

fn look(spec: &SloSpec, history: &mut History, now: Millis) -> Verdict {
    history.keep_for(spec.window(), now);
    judge(
        spec,
        &gather(spec, history, &Ledger::default(), None, &mut Memory::default(), now),
        now,
    )
}

/// So many good and bad requests a minute, from then to then.
fn serve(history: &mut History, from: &str, to: &str, counts: Counts) {
    let (mut now, end) = (at(from), at(to));
    while now < end {
        record(history, counts, now, now);
        now = now.plus(Duration::from_mins(1));
    }
}

#[test]
fn a_budget_burnt_at_rate_one_is_spent_as_the_month_ends_and_whole_again_as_the_next_begins() {
    let spec = spec(Window::Calendar(calendar(Unit::Month, "Europe/Berlin")));
    let mut history = History::default();
    history.keep_for(spec.window(), at("2026-10-31T23:00:00Z"));
    serve(
        &mut history,
        "2026-10-31T23:00:00Z",
        "2026-11-30T23:00:00Z",
        Counts::new(999, 1),
    );
    let left = |history: &mut History, now| look(&spec, history, at(now)).budget_remaining.unwrap();
    let half = left(&mut history, "2026-11-15T23:00:00Z");
    assert!((half - 0.5).abs() < 1e-3, "{half}");
    let last = left(&mut history, "2026-11-30T22:59:59Z");
    assert!(last.abs() < 1e-3, "{last}");
    // Midnight in Berlin; in UTC it is November for another hour.
    record(
        &mut history,
        Counts::new(9, 1),
        at("2026-11-30T23:00:00Z"),
        at("2026-11-30T23:00:01Z"),
    );
    let first = left(&mut history, "2026-11-30T23:00:01Z");
    assert!(first > 0.999 && first <= 1.0, "{first}");
}

#[test]
fn an_outage_spends_the_share_of_the_month_that_the_alerts_count_by() {
    let spec = spec(Window::Calendar(calendar(Unit::Month, "UTC")));
    let mut history = History::default();
    history.keep_for(spec.window(), at("2026-11-01T00:00:00Z"));
    serve(
        &mut history,
        "2026-11-01T00:00:00Z",
        "2026-11-01T23:00:00Z",
        Counts::new(1_000, 0),
    );
    serve(
        &mut history,
        "2026-11-01T23:00:00Z",
        "2026-11-02T00:00:00Z",
        Counts::new(0, 1_000),
    );
    let verdict = look(&spec, &mut history, at("2026-11-02T00:00:00Z"));
    // An hour of a month of 720 with a budget of 0.72 hours.
    let left = verdict.budget_remaining.unwrap();
    assert!((left - (1.0 - 1.0 / 0.72)).abs() < 1e-3, "{left}");
    assert_eq!(
        (verdict.phase, verdict.reason),
        (Phase::Breached, PhaseReason::PageAlert)
    );
    // A day later nothing fires, and the month has no budget left.
    serve(
        &mut history,
        "2026-11-02T00:00:00Z",
        "2026-11-12T00:00:00Z",
        Counts::new(1_000, 0),
    );
    let verdict = look(&spec, &mut history, at("2026-11-12T00:00:00Z"));
    assert_eq!(
        (verdict.phase, verdict.reason),
        (Phase::Breached, PhaseReason::BudgetSpent)
    );
    assert!(verdict.message.contains("the month in UTC"), "{}", verdict.message);
}

#[test]
fn history_is_complete_from_the_first_whole_period_on() {
    let spec = spec(Window::Calendar(calendar(Unit::Day, "UTC")));
    let mut history = History::default();
    history.keep_for(spec.window(), at("2026-11-01T00:00:00Z"));
    serve(
        &mut history,
        "2026-11-01T12:00:00Z",
        "2026-11-01T12:10:00Z",
        Counts::new(1_000, 0),
    );
    let mut reason = |now| look(&spec, &mut history, at(now)).conditions[1].reason;
    assert_eq!(reason("2026-11-01T23:59:59Z"), "Growing");
    assert_eq!(reason("2026-11-02T00:00:00Z"), "Complete");
}

#[test]
fn a_window_that_becomes_a_calendars_keeps_what_was_counted_by_the_hour() {
    let mut history = History::default();
    serve(
        &mut history,
        "2026-10-30T00:00:00Z",
        "2026-11-03T00:00:00Z",
        Counts::new(9, 1),
    );
    let window = Window::Calendar(calendar(Unit::Month, "Europe/Berlin"));
    let now = at("2026-11-03T00:00:00Z");
    assert!(history.over(&window, now).is_empty());
    history.keep_for(&window, now);
    let minutes = 49 * 60;
    assert_eq!(history.over(&window, now), Counts::new(9 * minutes, minutes));
    // Back and forth: nothing of a calendar is left behind.
    let before = history.encode().len();
    history.keep_for(&Window::Rolling(Duration::from_hours(720)), now);
    assert!(history.encode().len() < before);
    // The hours reach back 92 days, so a year is not known from its begin.
    let later = now.plus(Duration::from_hours(200 * 24));
    record(&mut history, Counts::new(1, 0), later, later);
    let year = Window::Calendar(calendar(Unit::Year, "UTC"));
    history.keep_for(&year, later);
    assert!(history.known_since(&year).unwrap() > later.minus(Duration::from_hours(93 * 24)));
}

#[test]
fn alerts_burn_by_round_lengths() {
    let burns = |unit| {
        let spec = spec(Window::Calendar(calendar(unit, "UTC")));
        let burns: Vec<_> = spec.alerts().tiers.iter().map(|tier| tier.burn).collect();
        (burns, spec.alerts().dropped.len())
    };
    let of = |days: u64| {
        default_tiers()
            .iter()
            .map(|tier: &TierSpec| tier.burn(Duration::from_hours(24 * days)))
            .collect()
    };
    assert_eq!(burns(Unit::Month), (of(30), 0));
    assert_eq!(burns(Unit::Quarter), (of(90), 0));
    assert_eq!(burns(Unit::Year), (of(365), 0));
    // A day has no three days.
    assert_eq!(burns(Unit::Day).1, 1);
}

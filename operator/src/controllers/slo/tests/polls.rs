use std::time::Duration;

use serde_json::{Value, json};
use shoalwatch_core::polled::EVERY;
use shoalwatch_crds::conditions;
use shoalwatch_crds::slo::Phase;

use super::shop::{Shop, name};
use crate::history::{Record, Saved};
use crate::http_client::HttpError;
use crate::polling::{MOST, PollError, Polled, Read};

fn mails(more: Value) -> Value {
    let mut spec = json!({
        "targetRef": null,
        "rollback": {"mode": "Off"},
        "indicator": {"prometheus": {"url": "http://prometheus:9090", "good": "good", "total": "total"}},
    });
    if let (Some(spec), Value::Object(more)) = (spec.as_object_mut(), more) {
        spec.extend(more);
    }
    spec
}

/// An SLO that is polled, and nothing else.
fn post_office() -> Shop {
    let mut shop = Shop::empty();
    shop.sync();
    shop.write_slo("mails", 1, mails(json!({})));
    shop.pass(5);
    shop
}

impl Shop {
    /// The time of the next poll, and what came of it; what the metric counts.
    fn poll(&mut self, found: Result<(u64, u64), PollError>) -> &'static str {
        self.now = self.now.plus(EVERY);
        self.poll_again(found)
    }

    fn poll_again(&mut self, found: Result<(u64, u64), PollError>) -> &'static str {
        let job = self.slos.jobs().remove(0);
        let polled = Polled {
            sli: job.sli,
            source: job.source,
            age: Duration::ZERO,
            found: found.map(|(good, total)| Read { good, total }),
        };
        let (of, outcome) = self.slos.polled(polled, self.now).unwrap();
        assert_eq!(of, name("mails"));
        self.judge();
        outcome
    }

    fn phase(&mut self) -> Option<Phase> {
        self.plan();
        self.slos.known[&name("mails")].status.phase
    }

    fn counted(&self) -> (u64, u64) {
        let known = &self.slos.known[&name("mails")];
        let counts = known.history.window(Duration::from_hours(24), self.now);
        (counts.good, counts.bad)
    }
}

#[test]
fn what_a_prometheus_counts_is_judged_like_what_nodes_count() {
    let mut shop = post_office();
    assert_eq!(shop.phase(), Some(Phase::NoData));
    assert_eq!(shop.slos.slis(), [], "no node hears of it");
    for poll in 0..40 {
        shop.poll(Ok((1_000_000 + poll * 100, 2_000_000 + poll * 100)));
    }
    assert_eq!(shop.counted(), (3_900, 0), "what was before is not known");
    assert_eq!(shop.phase(), Some(Phase::Healthy));
    for poll in 0..40 {
        shop.poll(Ok((1_003_900 + poll * 90, 2_003_900 + poll * 100)));
    }
    assert_eq!(shop.counted(), (3_900 + 3_510, 390));
    assert_eq!(shop.phase(), Some(Phase::Breached));
    let status = &shop.slos.known[&name("mails")].status;
    assert_eq!(status.indicator.as_deref(), Some("prometheus"));
    assert_eq!((&status.coverage, &status.rollback), (&None, &None));
    assert_eq!((status.revisions.len(), status.timeline.len()), (0, 0));
    let kinds: Vec<&str> = status.conditions.iter().map(|each| each.type_.as_str()).collect();
    assert_eq!(kinds, ["Accepted", "Evaluated", "BudgetHistory"]);
    assert!(status.alerts.iter().any(|alert| alert.name == "fast-page"));
    assert_eq!(shop.patches.len(), 0);
}

#[test]
fn a_server_that_the_operator_may_not_ask_is_told_with_the_flag_that_allows_it() {
    let mut shop = post_office();
    let source = HttpError::NotAllowed {
        origin: "https://prometheus:9090".to_owned(),
    };
    shop.poll(Err(PollError::Http { query: "good", source }));
    let (status, reason, message) = shop.condition("mails", "Evaluated");
    assert_eq!((status.as_str(), reason.as_str()), ("False", "DestinationRefused"));
    assert!(
        message.contains("https://prometheus:9090") && message.contains("--allowed-destinations"),
        "{message}"
    );
}

#[test]
fn a_failure_is_told_once_it_lasts_and_ends_with_the_next_good_poll() {
    let mut shop = post_office();
    assert_eq!(shop.poll(Err(PollError::timed_out())), "PrometheusTimeout");
    let (status, reason, message) = shop.condition("mails", "Evaluated");
    assert_eq!((status.as_str(), reason.as_str()), ("False", "PrometheusTimeout"));
    assert!(message.contains("did not answer within 5 s"), "{message}");
    for poll in 0..30 {
        shop.poll(Ok((poll * 100, poll * 100)));
    }
    assert_eq!(shop.phase(), Some(Phase::Healthy));
    for told in ["True", "True", "False"] {
        shop.poll(Err(PollError::timed_out()));
        assert_eq!(shop.condition("mails", "Evaluated").0, told);
    }
    assert_eq!(shop.phase(), Some(Phase::Inconclusive));
    shop.pass(300);
    assert_eq!(shop.phase(), Some(Phase::NoData));
    shop.poll(Ok((3_000, 3_000)));
    shop.poll(Ok((3_100, 3_100)));
    assert_eq!(shop.condition("mails", "Evaluated").0, "True");
    assert_eq!(shop.phase(), Some(Phase::Healthy));
}

#[test]
fn more_good_requests_than_requests_are_clamped_and_said() {
    let mut shop = post_office();
    for poll in 0..3 {
        shop.poll(Ok((200 + poll * 100, 100 + poll * 100)));
    }
    assert_eq!(shop.counted(), (200, 0));
    let (status, _, message) = shop.condition("mails", "Evaluated");
    assert_eq!(status, "True");
    assert!(message.contains("good is above total"), "{message}");
}

#[test]
fn other_queries_count_from_their_own_beginning() {
    let mut shop = post_office();
    let before = shop.slos.jobs().remove(0);
    shop.poll(Ok((100, 100)));
    shop.poll(Ok((200, 200)));
    let other = json!({"indicator": {"prometheus": {"url": "http://prometheus:9090", "good": "g", "total": "t"}}});
    shop.write_slo("mails", 2, mails(other));
    let late = Polled {
        sli: before.sli,
        source: before.source,
        age: Duration::ZERO,
        found: Ok(Read { good: 300, total: 300 }),
    };
    assert_eq!(shop.slos.polled(late, shop.now).unwrap().1, "outdated");
    assert_eq!(shop.poll(Ok((9_000, 10_000))), "first");
    assert_eq!(shop.counted(), (100, 0));
}

#[test]
fn an_operator_that_was_killed_goes_on_above_the_poll_it_saved() {
    let mut shop = post_office();
    shop.poll(Ok((100, 100)));
    shop.poll(Ok((190, 200)));
    shop.slos.mark_unsaved();
    shop.restart();
    assert_eq!(shop.counted(), (90, 10));
    assert_eq!(shop.poll_again(Ok((190, 200))), "late");
    shop.poll(Ok((190, 200)));
    shop.poll(Ok((290, 300)));
    assert_eq!(shop.counted(), (190, 10));
}

/// What a replica saved that made these polls, the first one 15 s after the shop opened.
fn saved_after(polls: &[(u64, u64)]) -> (Shop, Saved) {
    let mut shop = post_office();
    for poll in polls {
        shop.poll(Ok(*poll));
    }
    let known = &shop.slos.known[&name("mails")];
    let slos = [(known.uid.clone(), (known.record.clone(), known.history.clone()))].into();
    let saved = Saved {
        slos,
        ..Saved::default()
    };
    (shop, saved)
}

#[test]
fn a_replica_that_copies_another_ones_history_goes_on_where_that_one_stood() {
    let (_, own) = saved_after(&[(100, 100), (200, 200)]);
    let (mut shop, copied) = saved_after(&[(100, 100), (200, 200), (290, 300)]);
    shop.saved = own.joined(copied, shop.now);
    shop.slos = super::super::observe::Slos::default();
    shop.observe(false);
    assert_eq!(shop.counted(), (190, 10));
    shop.poll(Ok((390, 400)));
    assert_eq!(shop.counted(), (290, 10));
}

#[test]
fn a_follower_keeps_its_own_meter_whatever_it_learns() {
    let mut shop = post_office();
    shop.poll(Ok((100, 100)));
    let own = shop.slos.known[&name("mails")].record.meter.clone();
    assert!(own.is_some());
    let record = Record {
        age: (7, 1),
        ..Record::default()
    };
    assert!(shop.slos.learn("uid-of-mails", record, &shop.world).is_none());
    assert_eq!(shop.slos.known[&name("mails")].record.meter, own);
}

#[test]
fn of_too_many_slos_the_newest_say_that_they_are_not_polled() {
    let mut shop = Shop::empty();
    shop.sync();
    for number in 0..=MOST {
        shop.write_slo(&format!("slo-{number:04}"), 1, mails(json!({})));
    }
    assert_eq!(shop.slos.jobs().len(), MOST);
    shop.judge();
    let newest = format!("slo-{MOST:04}");
    assert_eq!(shop.condition(&newest, "Evaluated").1, "TooManyPolled");
    assert_eq!(shop.condition("slo-0000", "Evaluated").1, "NoRequests");
}

#[test]
fn what_makes_no_sense_with_a_prometheus_is_refused_with_what_to_write() {
    let mut shop = post_office();
    let short = json!([{"name": "a", "severity": "Page", "budgetPercent": "2", "long": "1h", "short": "30s"}]);
    let far = json!({"prometheus": {"url": "http://[::", "good": "a", "total": "b"}});
    let empty = json!({"prometheus": {"url": "http://a", "good": "", "total": "b"}});
    let cases = [
        (
            json!({"targetRef": {"name": "a"}}),
            "spec: write targetRef, or indicator.prometheus",
        ),
        (
            json!({"rollback": {"mode": "DryRun"}}),
            "spec.rollback: with indicator.prometheus nothing can be undone",
        ),
        (
            json!({"rules": {"configMap": {}}}),
            "spec.rules: rules are written over what node workers export",
        ),
        (
            json!({"alerts": short}),
            "spec.alerts[a].short: indicator.prometheus is polled every 15s",
        ),
        (
            json!({"indicator": far}),
            "spec.indicator.prometheus.url: \"http://[::\" is no address",
        ),
        (
            json!({"indicator": empty}),
            "spec.indicator.prometheus.good: write a query",
        ),
    ];
    for (generation, (spec, words)) in (2..).zip(cases) {
        shop.write_slo("mails", generation, mails(spec));
        let (status, _, message) = shop.condition("mails", "Accepted");
        assert_eq!(status, "False");
        assert!(message.starts_with(words), "{message}");
    }
    assert_eq!(shop.slos.jobs().len(), 1, "the last good one stays in force");
    let status = &shop.slos.known[&name("mails")].status;
    assert!(conditions::get(&status.conditions, "RulesRendered").is_none());
}

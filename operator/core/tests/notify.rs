//! What receivers are told: each thing once, nothing twice, nothing when nothing changed.

use std::collections::BTreeMap;

use proptest::prelude::*;
use shoalwatch_core::Millis;
use shoalwatch_core::notify::{News, Told, Wants};
use shoalwatch_core::rollback::{MAX_TIMELINE, Step, TimelineRow};

const ALL: Wants = Wants {
    alerts: true,
    rollbacks: true,
};

fn row(at: i64, step: Step) -> TimelineRow {
    TimelineRow {
        at: Millis(at),
        step,
        message: format!("{step:?} at {at}"),
        act: None,
    }
}

fn firing(tiers: &[&str]) -> BTreeMap<String, Millis> {
    tiers.iter().map(|tier| ((*tier).to_owned(), Millis(7_900))).collect()
}

/// Everything that is news, told at once.
fn tell_all(told: &mut Told, firing: &BTreeMap<String, Millis>, timeline: &[TimelineRow]) -> Vec<String> {
    let mut ids = Vec::new();
    while let Some(news) = told.next(ALL, firing, timeline) {
        told.tell(&news);
        ids.push(news.id("u"));
    }
    ids
}

#[test]
fn an_alert_is_told_when_it_fires_and_when_it_ceases_to() {
    let mut told = Told::default();
    assert_eq!(tell_all(&mut told, &firing(&["fast"]), &[]), ["u.7.fast.firing"]);
    assert_eq!(tell_all(&mut told, &firing(&["fast"]), &[]), [""; 0]);
    assert_eq!(tell_all(&mut told, &firing(&[]), &[]), ["u.7.fast.resolved"]);
    assert_eq!(tell_all(&mut told, &firing(&[]), &[]), [""; 0]);
}

#[test]
fn a_new_leader_that_knows_the_second_only_tells_nothing_again() {
    let mut told = Told::default();
    tell_all(&mut told, &firing(&["fast"]), &[]);
    let rounded = BTreeMap::from([("fast".to_owned(), Millis(7_000))]);
    assert_eq!(told.next(ALL, &rounded, &[]), None);
    let news = |since| News::Firing {
        tier: "fast".to_owned(),
        since: Millis(since),
    };
    assert_eq!(news(7_900).id("u"), news(7_000).id("u"));
}

#[test]
fn of_the_timeline_only_acts_are_told_each_once_in_order() {
    let mut told = Told::beginning(&[row(1, Step::Patched)]);
    let mut timeline = vec![row(1, Step::Patched)];
    assert_eq!(tell_all(&mut told, &firing(&[]), &timeline), [""; 0], "that is past");
    timeline.extend([row(5, Step::ProbationStarted), row(4, Step::FirstBadAnswer)]);
    assert_eq!(tell_all(&mut told, &firing(&[]), &timeline), [""; 0]);
    timeline.extend([row(6, Step::Patched), row(9, Step::Reapplied), row(9, Step::Contested)]);
    assert_eq!(
        tell_all(&mut told, &firing(&[]), &timeline),
        ["u.6.Patched", "u.9.Contested"]
    );
    assert_eq!(tell_all(&mut told, &firing(&[]), &timeline), [""; 0]);
}

#[test]
fn a_step_of_an_act_goes_by_the_act_whenever_it_was_noticed() {
    let noticed = |at| {
        let row = TimelineRow {
            act: Some(Millis(3)),
            ..row(at, Step::Verified)
        };
        News::Rollback(row).id("u")
    };
    assert_eq!(
        (noticed(5), noticed(9)),
        ("u.3.Verified".to_owned(), "u.3.Verified".to_owned())
    );
}

#[test]
fn a_row_that_made_room_was_before_all_that_are_left() {
    let mut told = Told::beginning(&[row(3, Step::Verified)]);
    let timeline = [row(2, Step::FirstBadAnswer), row(8, Step::Patched)];
    assert_eq!(tell_all(&mut told, &firing(&[]), &timeline), ["u.8.Patched"]);
}

#[test]
fn what_was_not_wanted_is_not_told_when_it_is_wanted_later() {
    let nothing = Wants {
        alerts: false,
        rollbacks: false,
    };
    let mut told = Told::default();
    tell_all(&mut told, &firing(&["fast"]), &[]);
    let timeline = [row(6, Step::Patched)];
    assert_eq!(told.next(nothing, &firing(&[]), &timeline), None);
    told.pass_over(nothing, &timeline);
    assert_eq!(tell_all(&mut told, &firing(&[]), &timeline), [""; 0]);
}

#[test]
fn what_was_told_survives_being_saved() {
    let mut told = Told::beginning(&[row(3, Step::Verified)]);
    tell_all(&mut told, &firing(&["fast"]), &[]);
    let json = serde_json::to_string(&told).unwrap();
    assert_eq!(json, r#"{"alerts":{"fast":7900},"row":[3,"Verified"]}"#);
    assert_eq!(serde_json::from_str::<Told>(&json).unwrap(), told);
}

/// What happens to an SLO and its receiver.
#[derive(Clone, Debug)]
enum Happening {
    Fires(u8),
    Ceases(u8),
    Row(Step),
    /// The receiver is there, for so many.
    Delivers(usize),
}

fn happening() -> impl Strategy<Value = Happening> {
    let step = prop_oneof![
        Just(Step::ProbationStarted),
        Just(Step::Patched),
        Just(Step::Verified),
        Just(Step::Failed),
        Just(Step::Contested),
        Just(Step::Superseded),
    ];
    prop_oneof![
        (0_u8..3).prop_map(Happening::Fires),
        (0_u8..3).prop_map(Happening::Ceases),
        step.prop_map(Happening::Row),
        (0_usize..4).prop_map(Happening::Delivers),
    ]
}

/// All that was told, in order; in the end the receiver is there for everything.
fn live(happenings: &[Happening]) -> (Vec<News>, Vec<TimelineRow>, BTreeMap<String, Millis>) {
    let (mut told, mut fires, mut rows, mut heard) = (Told::default(), BTreeMap::new(), Vec::new(), Vec::new());
    let last = [Happening::Delivers(usize::MAX)];
    for (now, happening) in (0_i64..).zip(happenings.iter().chain(&last)) {
        let now = Millis(now * 1_000);
        match happening {
            Happening::Fires(tier) => {
                fires.entry(tier.to_string()).or_insert(now);
            }
            Happening::Ceases(tier) => {
                fires.remove(&tier.to_string());
            }
            Happening::Row(step) => rows.push(row(now.0, *step)),
            Happening::Delivers(most) => {
                for _ in 0..*most {
                    let Some(news) = told.next(ALL, &fires, &rows) else {
                        break;
                    };
                    told.tell(&news);
                    heard.push(news);
                }
            }
        }
    }
    (heard, rows, fires)
}

proptest! {
    #[test]
    fn every_act_is_told_once_and_every_alert_by_turns(happenings in prop::collection::vec(happening(), 0..MAX_TIMELINE)) {
        let (heard, rows, fires) = live(&happenings);
        let mut ids: Vec<String> = heard.iter().map(|news| news.id("u")).collect();
        ids.sort_unstable();
        let all = ids.len();
        ids.dedup();
        prop_assert_eq!(ids.len(), all, "an id is of one thing only: {:?}", heard);

        let acts: Vec<&TimelineRow> = heard.iter().filter_map(|news| match news {
            News::Rollback(row) => Some(row),
            _ => None,
        }).collect();
        let passed_over = [Step::ProbationStarted, Step::Superseded];
        let wanted: Vec<&TimelineRow> = rows.iter().filter(|row| !passed_over.contains(&row.step)).collect();
        prop_assert_eq!(acts, wanted);

        let mut believed = BTreeMap::new();
        for news in &heard {
            match news {
                News::Firing { tier, since } => prop_assert_eq!(believed.insert(tier.clone(), *since), None),
                News::Resolved { tier, since } => prop_assert_eq!(believed.remove(tier), Some(*since)),
                News::Rollback(_) => {}
            }
        }
        prop_assert!(believed.keys().eq(fires.keys()), "the receiver believes what is");
    }
}

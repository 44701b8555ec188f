//! What a judge remembers changes nothing.

use std::time::Duration;

use proptest::prelude::*;
use shoalwatch_core::Counts;
use shoalwatch_core::Millis;
use shoalwatch_core::history::{History, MAX_REVISIONS};
use shoalwatch_core::judge::{Memory, gather, new_release};

use crate::given::*;
use crate::pair::difference;

#[derive(Clone, Debug)]
enum Event {
    /// So many seconds go by, and in each both answer: {good, bad} of the stable and of the new release.
    Serve(u64, [(u64, u64); 2]),
    /// Nobody answers.
    Rest(u64),
    /// Answers of so many seconds ago arrive.
    Late(&'static str, u64, Counts),
    ClockSetBack(u64),
    /// Ready pods of the stable release, and reporting ones of the new.
    Pods(u32, u32),
    Objective(&'static str),
    /// Other revisions take the room of both.
    Forgotten,
}

fn any_event() -> impl Strategy<Value = Event> {
    let answers = || (0_u64..30, prop_oneof![3 => Just(0_u64), 1 => 1_u64..9]);
    let serve = |seconds| (seconds, [answers(), answers()]).prop_map(|(seconds, both)| Event::Serve(seconds, both));
    let late = (
        prop_oneof![Just("v1-rs"), Just("v2-rs")],
        prop_oneof![4 => 0_u64..90, 1 => 0_u64..900],
        0_u64..9,
        0_u64..9,
        0_u64..2,
    );
    prop_oneof![
        20 => serve(1..4_u64),
        3 => serve(20..90_u64),
        2 => prop_oneof![3 => 0_u64..30, 1 => 0_u64..6_000].prop_map(Event::Rest),
        4 => late.prop_map(|(whose, ago, good, bad, incomplete)| Event::Late(whose, ago, Counts { good, bad, incomplete })),
        1 => prop_oneof![0_u64..20, 0_u64..900].prop_map(Event::ClockSetBack),
        1 => (0_u32..3, 0_u32..3).prop_map(|(stable, new)| Event::Pods(stable, new)),
        1 => prop_oneof![Just("99"), Just("99.9")].prop_map(Event::Objective),
        1 => Just(Event::Forgotten),
    ]
}

/// An SLO and its judge, from [`NOW`] on.
struct World {
    objective: &'static str,
    history: History,
    pods: (u32, u32),
    clock: Millis,
    memory: Memory,
}

impl World {
    fn record(&mut self, revision: &str, counts: Counts, at: Millis) {
        if !counts.is_empty() {
            self.history.record(&difference(revision, counts, 2, at), self.clock);
        }
    }

    /// Looks with the memory and without it.
    fn look(&mut self) -> Result<(), TestCaseError> {
        let mut target = target((2, self.pods.1));
        target.revisions[0].ready_pods = self.pods.0;
        let spec = spec(self.objective);
        let look = |memory: &mut Memory| {
            let evidence = gather(&spec, &self.history, &ledger(NOW), Some(&target), memory, self.clock);
            (new_release(&spec, &evidence), evidence)
        };
        let anew = look(&mut Memory::default());
        prop_assert_eq!(look(&mut self.memory), anew);
        Ok(())
    }

    fn befall(&mut self, event: &Event) -> Result<(), TestCaseError> {
        match *event {
            Event::Serve(seconds, both) => {
                for _ in 0..seconds {
                    self.clock = self.clock.plus(Duration::from_secs(1));
                    for (revision, (good, bad)) in ["v1-rs", "v2-rs"].into_iter().zip(both) {
                        self.record(revision, Counts::new(good, bad), self.clock);
                    }
                    self.look()?;
                }
            }
            Event::Rest(seconds) => self.clock = self.clock.plus(Duration::from_secs(seconds)),
            Event::Late(revision, ago, counts) => {
                self.record(revision, counts, self.clock.minus(Duration::from_secs(ago)));
            }
            Event::ClockSetBack(seconds) => self.clock = self.clock.minus(Duration::from_secs(seconds)),
            Event::Pods(stable, new) => self.pods = (stable, new),
            Event::Objective(objective) => self.objective = objective,
            Event::Forgotten => {
                for place in 0..MAX_REVISIONS {
                    self.record(&format!("v3-{place}"), Counts::new(1, 0), self.clock);
                }
            }
        }
        self.look()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// However late answers come, whatever is forgotten, wherever the clock is set, and whatever else is seen.
    #[test]
    fn a_judge_who_remembers_judges_as_one_who_does_not(events in prop::collection::vec(any_event(), 1..60)) {
        let mut world = World {
            objective: "99.9",
            history: History::default(),
            pods: (2, 2),
            clock: NOW,
            memory: Memory::default(),
        };
        for event in events {
            world.befall(&event)?;
        }
    }
}

/// A minute, of which each stretch takes ten seconds.
fn serve(history: &mut History, revision: &str, stretches: [(u64, u64); 6]) {
    for second in 0..60_u64 {
        let (good, bad) = stretches[usize::try_from(second / 10).expect("six")];
        let at = NOW.plus(Duration::from_secs(second));
        history.record(&difference(revision, Counts::new(good, bad), 2, at), at);
    }
}

const GOOD: (u64, u64) = (50, 0);
const BAD: (u64, u64) = (0, 50);
const EARLY: [(u64, u64); 6] = [BAD, BAD, BAD, BAD, GOOD, GOOD];
const LATE: [(u64, u64); 6] = [GOOD, GOOD, BAD, BAD, BAD, BAD];

#[test]
fn of_another_revision_with_the_same_sums_nothing_is_remembered() {
    let (mut history, mut memory) = (History::default(), Memory::default());
    serve(&mut history, "v1-rs", EARLY);
    serve(&mut history, "v1-other", LATE);
    serve(&mut history, "v2-rs", LATE);
    let now = NOW.plus(Duration::from_mins(1));
    let decide = |revision: &str, history: &History, memory: &mut Memory| {
        let mut target = target((2, 2));
        target.revisions[0].revision = revision.into();
        let evidence = gather(&spec("99.9"), history, &ledger(NOW), Some(&target), memory, now);
        (new_release(&spec("99.9"), &evidence), evidence)
    };
    for revision in ["v1-rs", "v1-other"] {
        let anew = decide(revision, &history, &mut Memory::default());
        assert_eq!(decide(revision, &history, &mut memory), anew);
    }
    // Nor of one that made room, and came back under its name.
    let mut answer = |revision: &str, at| history.record(&difference(revision, Counts::new(1, 0), 0, at), at);
    answer("v1-other", now.plus(Duration::from_secs(1)));
    for place in 1..MAX_REVISIONS {
        answer(&format!("v3-{place}"), now);
    }
    serve(&mut history, "v2-rs", EARLY);
    let anew = decide("v1-other", &history, &mut Memory::default());
    assert_eq!(decide("v1-other", &history, &mut memory), anew);
}

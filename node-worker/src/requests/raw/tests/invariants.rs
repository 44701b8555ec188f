//! Any conversation in any pieces: every request that came whole is told once, or counted as lost.

use std::fmt::Write;

use proptest::{prelude::*, sample::Index};

use super::*;

/// How a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    Close,
    /// The peer resets it; what was answered just before is told behind that.
    Reset,
    /// As [`Close`](Self::Close), and something before was not told.
    Muted,
    /// Nothing more is heard of it.
    Silent,
}

/// One connection as it is made up.
#[derive(Debug, Clone)]
struct Script {
    under_way: UnderWay,
    /// The kernel followed it until the peer reset it.
    fast: bool,
    /// Of each answer.
    statuses: Vec<u16>,
    /// How many bytes were read before it was told of.
    before: Index,
    /// Of each transfer: whether it is an answer, and how many bytes it has.
    transfers: Vec<(bool, usize)>,
    ending: Ending,
    /// How many bytes of answers are told behind a reset.
    late: usize,
}

#[derive(Debug, Clone)]
enum Step {
    Open(UnderWay, String),
    FastReset(String),
    Segment(bool, String),
    Orphan(String),
    Close(bool),
    MutedClose,
}

/// What happens, and what must be said of it.
#[derive(Debug, Default)]
struct Plan {
    steps: Vec<Step>,
    told: Vec<(String, u16)>,
    untold: u64,
    /// Lost where there is no room for it: what waits when it is told of first.
    refused: u64,
}

/// Both sides' bytes, how many of them were sent, and where each request and each status line ends.
struct Streams {
    requests: String,
    answers: String,
    sent: [usize; 2],
    head_ends: Vec<usize>,
    request_ends: Vec<usize>,
    status_ends: Vec<usize>,
    /// Where each answer begins.
    answer_begins: Vec<usize>,
}

impl Streams {
    /// Where `answered` is set, the answer to the first request was written before.
    fn of(connection: usize, statuses: &[u16], answered: bool) -> Self {
        let mut streams = Self {
            requests: String::new(),
            answers: String::new(),
            sent: [0; 2],
            head_ends: Vec::new(),
            request_ends: Vec::new(),
            status_ends: Vec::new(),
            answer_begins: Vec::new(),
        };
        for (number, status) in statuses.iter().enumerate() {
            let body = if number % 3 == 1 { "POST " } else { "" };
            let method = if body.is_empty() { "GET" } else { "POST" };
            let head = format!(
                "{method} /{connection}/{number} HTTP/1.1\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            );
            streams.requests.push_str(&head);
            streams.request_ends.push(streams.requests.len());
            streams.head_ends.push(streams.requests.len() - body.len());
            streams.answer_begins.push(streams.answers.len());
            if number == 0 && answered {
                streams.status_ends.push(0);
                continue;
            }
            let interim = if status % 2 == 0 {
                ""
            } else {
                "HTTP/1.1 103 Hints\r\n\r\n"
            };
            write!(streams.answers, "{interim}HTTP/1.1 {status} X\r\n").unwrap();
            streams.status_ends.push(streams.answers.len());
            streams
                .answers
                .push_str("Content-Length: 19\r\n\r\nHTTP/1.1 500 No\r\n\r\n");
        }
        streams
    }

    fn whole(&self) -> usize {
        let sent = self.sent[0];
        self.request_ends.iter().take_while(|end| **end <= sent).count()
    }

    /// The next bytes of one side; no answer begins before its request is whole.
    fn send(&mut self, answer: bool, bytes: usize) -> Option<String> {
        let (stream, limit) = if answer {
            let limit = self.answer_begins.get(self.whole()).copied();
            (&self.answers, limit.unwrap_or(self.answers.len()))
        } else {
            (&self.requests, self.requests.len())
        };
        let from = self.sent[usize::from(answer)];
        let to = (from + bytes).min(limit);
        self.sent[usize::from(answer)] = to.max(from);
        (from < to).then(|| stream[from..to].to_owned())
    }
}

fn plan(connection: usize, script: &Script) -> Plan {
    let under_way = if script.fast {
        UnderWay::Waiting
    } else {
        script.under_way
    };
    let mut streams = Streams::of(connection, &script.statuses, under_way == UnderWay::Answered);
    let mut plan = Plan::default();
    let first = if script.fast || under_way != UnderWay::Waiting {
        streams.request_ends[0]
    } else {
        1
    };
    let most = if script.fast { first } else { streams.requests.len() };
    let head = streams
        .send(false, first + script.before.index(most - first + 1))
        .unwrap();
    let skipped = usize::from(under_way != UnderWay::Waiting);
    let heads = streams.head_ends.iter().filter(|end| **end <= head.len()).count();
    plan.refused = (heads - skipped).max(1 - skipped) as u64;
    if script.fast {
        plan.steps.push(Step::FastReset(head));
    } else {
        plan.steps.push(Step::Open(under_way, head));
        for (answer, bytes) in &script.transfers {
            let sent = streams.send(*answer, *bytes);
            plan.steps.extend(sent.map(|bytes| Step::Segment(*answer, bytes)));
        }
    }
    let ending = if script.fast { Ending::Reset } else { script.ending };
    match ending {
        Ending::Close => plan.steps.push(Step::Close(false)),
        Ending::Muted => plan.steps.push(Step::MutedClose),
        Ending::Silent => {}
        Ending::Reset => {
            if !script.fast {
                plan.steps.push(Step::Close(true));
            }
            plan.steps.extend(streams.send(true, script.late).map(Step::Orphan));
        }
    }
    for number in skipped..script.statuses.len() {
        let path = format!("/{connection}/{number}");
        let is_told = matches!(ending, Ending::Close | Ending::Reset);
        if number < streams.whole() && streams.sent[1] >= streams.status_ends[number] {
            plan.told.push((path, script.statuses[number]));
        } else if is_told && number < streams.whole() {
            plan.told.push((path, 0));
        } else if !is_told && streams.sent[0] >= streams.head_ends[number] {
            // Its body may have come as well.
            plan.untold += 1;
        }
    }
    plan
}

fn script() -> impl Strategy<Value = Script> {
    let under_way = prop::sample::select(vec![UnderWay::Waiting, UnderWay::Counted, UnderWay::Answered]);
    let ending = prop::sample::select(vec![Ending::Close, Ending::Reset, Ending::Muted, Ending::Silent]);
    let transfer = (any::<bool>(), prop_oneof![1_usize..8, 1_usize..120]);
    (
        (under_way, prop::bool::weighted(0.2), ending),
        prop::collection::vec(prop_oneof![4 => 200_u16..600, 1 => Just(204)], 1..6),
        any::<Index>(),
        prop::collection::vec(transfer, 0..30),
        0_usize..200,
    )
        .prop_map(
            |((under_way, fast, ending), statuses, before, transfers, late)| Script {
                under_way,
                fast,
                // These have no body.
                statuses: statuses
                    .into_iter()
                    .map(|status| if matches!(status, 204 | 304) { 200 } else { status })
                    .collect(),
                before,
                transfers,
                ending,
                late,
            },
        )
}

impl Ring {
    fn step(&mut self, step: &Step) {
        match step {
            Step::Open(under_way, head) => self.open(*under_way, head),
            Step::FastReset(head) => self.fast_reset(head),
            Step::Segment(answer, text) => self.segment(*answer, text),
            Step::Orphan(text) => self.orphan(text),
            Step::Close(reset) => self.close(*reset),
            Step::MutedClose => self.take(1, RawNews::Close { reset: false }),
        }
        self.look_after(1);
    }

    fn lost(&self, loss: Loss) -> u64 {
        self.lost
            .iter()
            .filter(|(of, _)| *of == loss)
            .map(|(_, requests)| requests)
            .sum()
    }
}

/// Does the steps of all connections in some order. Returns which connections found room.
fn run(ring: &mut Ring, plans: &[Plan], order: &[Index]) -> Vec<bool> {
    let mut next = vec![0; plans.len()];
    let mut accepted = vec![false; plans.len()];
    let mut order = order.iter().cycle();
    loop {
        let open: Vec<usize> = (0..plans.len())
            .filter(|of| next[*of] < plans[*of].steps.len())
            .collect();
        let (Some(dice), false) = (order.next(), open.is_empty()) else {
            return accepted;
        };
        let of = open[dice.index(open.len())];
        ring.on(of as u64 + 1);
        if next[of] == 0 {
            accepted[of] = ring.table.len() < ring.table.max();
        }
        ring.step(&plans[of].steps[next[of]]);
        next[of] += 1;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn every_whole_request_is_told_once_or_counted_as_lost(
        scripts in prop::collection::vec(script(), 1..6),
        order in prop::collection::vec(any::<Index>(), 1..200),
        max in 1_usize..8,
    ) {
        let plans: Vec<Plan> = scripts.iter().enumerate().map(|(of, script)| plan(of, script)).collect();
        let mut ring = Ring::with_max(max);
        let accepted = run(&mut ring, &plans, &order);
        ring.look_after(RESET_NS);
        ring.look_after(SILENCE_NS);
        for (of, plan) in plans.iter().enumerate() {
            let prefix = format!("/{of}/");
            let is_request = |told: &&Told| told.path.starts_with(&prefix) && (told.status > 0 || told.came == Came::Whole);
            let told: Vec<(&str, u16)> =
                ring.told.iter().filter(is_request).map(|told| (told.path.as_str(), told.status)).collect();
            let expected = plan.told.iter().filter(|_| accepted[of]).map(|told| (told.0.as_str(), told.1));
            prop_assert_eq!(told, expected.collect::<Vec<_>>());
        }
        let of = |refused: bool| plans.iter().zip(&accepted).filter(move |(_, accepted)| **accepted != refused);
        prop_assert_eq!(ring.lost(Loss::RawUntold), of(false).map(|(plan, _)| plan.untold).sum::<u64>());
        prop_assert_eq!(ring.lost(Loss::RawTableFull), of(true).map(|(plan, _)| plan.refused).sum::<u64>());
        let known = [Loss::RawUntold, Loss::RawTableFull, Loss::RawUnknownConnection].map(|loss| ring.lost(loss));
        prop_assert_eq!(known.iter().sum::<u64>(), ring.lost.iter().map(|(_, requests)| requests).sum::<u64>());
        prop_assert_eq!(ring.table.len(), 0);
    }
}

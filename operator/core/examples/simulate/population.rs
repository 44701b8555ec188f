//! Ten thousand releases that are good, whatever happens around them, and ten thousand that are bad; some of these are hard to find.

use std::time::Duration;

use crate::draw::{Draw, whole};
use crate::life::{Life, PROBATION, Sight, Trouble, best};

/// What good releases go through; each takes its turn.
pub(crate) const CHANCES: [&str; 15] = [
    "nothing",
    "bursts of their own (up to 2 s, up to all answers)",
    "a client that repeats itself (10 to 2,000 bad answers in a second)",
    "a client that repeats itself (nine seconds, a bad answer each, at 1 to 10 req/s)",
    "a cold start (30 s, up to all answers, warm-up 30 s)",
    "a flapping dependency of both",
    "an outage of both",
    "a slow leak of both",
    "a worker lost, and the pod in sight bad (at 1.6 times the threshold; the other one good)",
    "every other request lost, and the rest bad (at 1.6 times the threshold; the lost ones good)",
    "one pod that fails as it starts (1.1 s, all of its twelve answers, objective 99.99)",
    "a failure of its own (5 s, all answers, after the first minute, objective 99.9)",
    "an outage of both, twice as hard on the new one",
    "an outage of both (90 s, 15 % of the answers, objective 99), while the stable one serves 1 req/s",
    "bursts, a client, a cold start, a flapping dependency, an outage and a leak",
];

/// {objective, ratios of bad answers beyond its threshold}.
pub(crate) const BAD: [(&str, &[f64]); 3] = [
    ("99", &[1.0, 0.2, 0.1]),
    ("99.9", &[1.0, 0.2, 0.05, 0.03]),
    ("99.99", &[1.0, 0.2, 0.05, 0.01, 0.004]),
];

/// Bad releases, each of which one part of the decision alone finds: {name, objective, requests a second, what fails}.
pub(crate) const HARD: [(&str, &str, f64, Trouble); 5] = [
    (
        "all answers, for 12 s of every ten minutes (objective 99)",
        "99",
        100.0,
        Trouble::Gusts {
            length: 12.0,
            ratio: 1.0,
        },
    ),
    (
        "30 % of the answers, for a minute of every ten (objective 99)",
        "99",
        1_000.0,
        Trouble::Gusts {
            length: 60.0,
            ratio: 0.3,
        },
    ),
    (
        "3 % of the answers (objective 99.9, 10 req/s)",
        "99.9",
        10.0,
        Trouble::Bad { from: 0.0, ratio: 0.03 },
    ),
    (
        "3 % of the answers, after a good quarter of an hour (objective 99.9, 15 req/s)",
        "99.9",
        15.0,
        Trouble::Bad {
            from: 900.0,
            ratio: 0.03,
        },
    ),
    (
        "10 % of the answers (objective 99)",
        "99",
        100.0,
        Trouble::Bad { from: 0.0, ratio: 0.1 },
    ),
];

/// One row of the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Of [`CHANCES`].
    Good(usize),
    /// Of [`HARD`].
    Bad(usize),
}

/// Requests a second.
pub(crate) const TRAFFIC: [f64; 5] = [1.0, 10.0, 100.0, 1_000.0, 10_000.0];

/// A ratio that even the best test tells only in more than a sixth of the probation is not counted on to be caught.
const ROOM: f64 = 6.0;

/// One kind of bad release.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cell {
    pub(crate) objective: &'static str,
    pub(crate) ratio: f64,
    pub(crate) rate: f64,
    /// By [`best`].
    pub(crate) best: f64,
}

impl Cell {
    /// All, objective by objective.
    pub(crate) fn all() -> Vec<Self> {
        let rows = BAD
            .iter()
            .flat_map(|(objective, ratios)| ratios.iter().map(move |ratio| (*objective, *ratio)));
        let cells = rows.flat_map(|(objective, ratio)| TRAFFIC.map(|rate| (objective, ratio, rate)));
        cells
            .map(|(objective, ratio, rate)| {
                let threshold = healthy_base(objective).threshold();
                Self {
                    objective,
                    ratio,
                    rate,
                    best: best(ratio, threshold, rate),
                }
            })
            .collect()
    }

    /// Whether a bad release of this kind has to be caught.
    pub(crate) fn is_detectable(&self) -> bool {
        self.best * ROOM <= f64::from(PROBATION)
    }

    /// The `place`th of its kind: bad from its first request and alone; so, but beside the stable release; or from some minute on.
    pub(crate) fn release(&self, place: u64, draw: &mut Draw) -> (Life, f64) {
        let from = if place % 3 == 2 {
            draw.between(60.0, 600.0).floor()
        } else {
            0.0
        };
        let beside = if place.is_multiple_of(3) { 0 } else { PROBATION };
        let trouble = Trouble::Bad {
            from,
            ratio: self.ratio,
        };
        let life = Life {
            rate: self.rate,
            stable: (self.rate, beside),
            background: 0.1 * budget(self.objective),
            troubles: vec![trouble],
            ..healthy_base(self.objective)
        };
        (life, from)
    }
}

impl Kind {
    /// In words.
    pub(crate) fn releases(self) -> String {
        match self {
            Self::Good(chance) => format!("good ones with {}", CHANCES[chance]),
            Self::Bad(place) => format!("bad ones with {}", HARD[place].0),
        }
    }

    pub(crate) fn release(self, draw: &mut Draw) -> Life {
        match self {
            Self::Good(chance) => healthy(chance, draw),
            Self::Bad(place) => {
                let (_, objective, rate, trouble) = HARD[place];
                Life {
                    rate,
                    stable: (rate, PROBATION),
                    background: 0.1 * budget(objective),
                    troubles: vec![trouble],
                    ..healthy_base(objective)
                }
            }
        }
    }
}

/// A good release that goes through one of [`CHANCES`].
fn healthy(chance: usize, draw: &mut Draw) -> Life {
    let objective = BAD[usize::try_from(draw.below(3)).unwrap_or(0)].0;
    let rate = draw.magnitude(1.0, 10_000.0);
    let mut life = Life {
        rate,
        stable: ((rate * draw.magnitude(0.1, 10.0)).max(1.0), beside(draw)),
        background: draw.between(0.0, budget(objective)),
        ..healthy_base(objective)
    };
    // Not the third: nine bad answers in a row are one client's as long as there are no others.
    let together = [1, 2, 4, 5, 6, 7];
    let alone = [chance];
    let chances = if chance == CHANCES.len() - 1 {
        &together[..]
    } else {
        &alone
    };
    for chance in chances {
        befall(&mut life, *chance, draw);
    }
    life
}

fn healthy_base(objective: &'static str) -> Life {
    Life {
        objective,
        warmup: Duration::ZERO,
        rate: 1.0,
        stable: (0.0, 0),
        background: 0.0,
        troubles: Vec::new(),
        sight: Sight::All,
    }
}

/// 1 − objective.
fn budget(objective: &str) -> f64 {
    1.0 - objective.parse::<f64>().unwrap_or(100.0) / 100.0
}

/// Half of the releases replace the stable one within minutes, half serve beside it.
fn beside(draw: &mut Draw) -> u32 {
    if draw.unit() < 0.5 {
        return PROBATION;
    }
    u32::try_from(whole(draw.between(5.0, 300.0))).unwrap_or(PROBATION)
}

/// What both suffer is suffered while both serve: by nature, nobody can tell afterwards.
fn befall(life: &mut Life, chance: usize, draw: &mut Draw) {
    let second = |draw: &mut Draw| u32::try_from(draw.below(PROBATION.into())).unwrap_or(0);
    match chance {
        1 => bursts(life, draw),
        2 => {
            let from = second(draw);
            let answers = whole(draw.magnitude(10.0, 2_000.0));
            life.troubles.push(Trouble::Storm {
                from,
                to: from + 1,
                answers,
            });
        }
        3 => {
            let from = second(draw);
            (life.background, life.rate) = (0.0, draw.magnitude(1.0, 10.0));
            life.troubles.push(Trouble::Storm {
                from,
                to: from + 9,
                answers: 1,
            });
        }
        4 => {
            life.warmup = Duration::from_secs(30);
            let (to, ratio) = (draw.between(5.0, 30.0), draw.unit());
            life.troubles.push(Trouble::Cold { to, ratio });
        }
        5..=7 => share(life, chance, draw),
        8 | 9 => {
            life.sight = if chance == 8 {
                Sight::HalfOfPods
            } else {
                Sight::HalfOfRequests
            };
            let (from, ratio) = (0.0, 1.6 * life.threshold());
            life.troubles.push(Trouble::Bad { from, ratio });
        }
        10 => {
            (life.objective, life.background, life.stable.1) = ("99.99", 0.0, 0);
            life.troubles.push(Trouble::Start { answers: 4 });
        }
        11 => {
            (life.objective, life.background) = ("99.9", 0.5 * budget("99.9"));
            let (from, ratio) = (draw.between(60.0, f64::from(PROBATION)), 1.0);
            let to = from + 5.0;
            life.troubles.push(Trouble::Blip { from, to, ratio });
        }
        12 => uneven(life, draw),
        13 => {
            (life.objective, life.background) = ("99", 0.0);
            (life.rate, life.stable) = (draw.magnitude(100.0, 10_000.0), (1.0, PROBATION));
            let (from, ratio) = (draw.between(60.0, 1_500.0), 0.15);
            let to = from + 90.0;
            life.troubles.push(Trouble::Outage { from, to, ratio });
        }
        _ => {}
    }
}

fn share(life: &mut Life, chance: usize, draw: &mut Draw) {
    let end = f64::from(PROBATION);
    life.stable.1 = PROBATION;
    let from = draw.between(0.0, end * 0.8);
    let to = (from + draw.magnitude(5.0, 600.0)).min(end);
    let (ratio, period) = (draw.magnitude(0.02, 1.0), draw.magnitude(1.0, 30.0));
    life.troubles.push(match chance {
        5 => Trouble::Flapping {
            from,
            to,
            ratio,
            period,
        },
        6 => Trouble::Outage { from, to, ratio },
        _ => Trouble::Leak { from, to, ratio },
    });
}

/// With enough traffic of the stable release to see that it fails too.
fn uneven(life: &mut Life, draw: &mut Draw) {
    life.rate = draw.magnitude(100.0, 10_000.0);
    life.stable = (life.rate, PROBATION);
    let from = draw.between(60.0, 1_200.0);
    life.troubles.push(Trouble::Uneven {
        from,
        to: from + draw.magnitude(20.0, 300.0),
        ratio: draw.between(0.4, 1.0),
    });
}

/// Up to three, of up to two seconds; together no more than the threshold allows in ten minutes, else the release would be bad.
fn bursts(life: &mut Life, draw: &mut Draw) {
    let allowed = life.threshold() * 600.0;
    let count = if allowed < 2.0 { 1 } else { 1 + draw.below(3) };
    for _ in 0..count {
        let from = draw.between(0.0, f64::from(PROBATION));
        let length = draw.between(0.1, allowed.min(2.0));
        life.troubles.push(Trouble::Blip {
            from,
            to: from + length,
            ratio: draw.unit().sqrt(),
        });
    }
}

//! Bounds that hold however often one looks: bets against the hypothesis that a release is good.
//!
//! Time is cut into units (a second, or ten). What a unit showed is one observation, whatever the number of its requests.
//!
//! # One ratio
//!
//! Let `xₜ` in [0, 1] be the bad share of unit `t`. The hypothesis is that a unit's *expected* share, given all before it, is at most
//! the threshold: `E[xₜ | past] ≤ θ`. Nothing is assumed of the requests within a unit: a dependency that blinks, a client that
//! repeats itself five hundred times, a pod that dies with its connections make one bad unit and not five hundred bad answers. A
//! bound that takes answers for independent is wrong by that factor, and cries wolf.
//!
//! Bet on it, starting with a capital of 1 and the stake `λ ≤ 1/θ`:
//!
//! ```text
//! W_T = Π (1 + λ (xₜ − θ))        each factor is ≥ 0 and has expectation ≤ 1 given the past
//! ```
//!
//! So `W` is a non-negative supermartingale, and `P(there is a T with W_T ≥ 1/ε) ≤ ε` (Ville 1939): the error `ε` holds over all
//! looks together and no further correction is needed. This is the betting bound of Waudby-Smith and Ramdas, "Estimating means of
//! bounded random variables by betting", JRSS B 86 (2024), section 4.
//!
//! A stake is best for one ratio: with `λ = (p − θ) / (θ (1 − θ))` the factor is `p/θ` for a bad unit and `(1−p)/(1−θ)` for a good
//! one, the likelihood ratio of `p` to `θ`, so at one request a unit `W` is Wald's sequential test. The ratio of a bad release being
//! unknown, the capital is divided evenly among `p = θ^(7/8), θ^(3/4), θ^(1/2), θ^(1/4), θ^(1/32)`, from less than twice the
//! threshold to almost all; the mean of supermartingales is one. That costs at most ln 5 nats against knowing the best of them.
//!
//! No unit may multiply the capital by more than 64 ([`UNIT_MOST`]); a smaller factor keeps the expectation ≤ 1. So whatever the
//! threshold, it takes three bad units at least to reach 1/ε = 1e4, which means a failure that lasts.
//!
//! # Two ratios
//!
//! In unit `t` the new release answered `n` requests and its elder `n′`; of all, `m` were bad, `a` of these by the new one. The
//! hypothesis is that the new one is not worse *in that unit*: its requests are bad with a probability `pₜ ≤ pₜ′`. Both may
//! change from unit to unit in any way, as they do while a dependency that both share comes and goes, and so may the shares of
//! traffic, as they do while a release is rolled out. (A comparison of sums over the whole span would be fooled by both at once.)
//! Given `n, n′, m`, and with `pₜ = pₜ′`, `a` is hypergeometric; its mean is `m π`, `π = n/(n + n′)`. For `r > 1` the function `rᵃ`
//! is convex, so its expectation is at most that under the binomial distribution of the same mean (Hoeffding 1963, theorem 4):
//!
//! ```text
//! E[ rᵃ / (1 − π + π r)ᵐ ] ≤ 1,       and less for pₜ < pₜ′
//! ```
//!
//! The product over units is again a supermartingale. Units without a bad answer weigh nothing, so a good past does not hide a
//! failure. It grows where the odds of the new release are well above those of its elder, so half of the capital goes to `r` = 4 and
//! half to 32; the same most of 64 a unit.

use std::f64::consts::E;

/// The most that one unit multiplies a capital by.
pub const UNIT_MOST: f64 = 64.0;
/// ln 64.
const LN_UNIT_MOST: f64 = 4.158_883_083_359_672;
/// A product is taken to its logarithm before it leaves what a float holds.
const PRODUCT: (f64, f64) = (1e-200, 1e200);
/// More than what rounding adds up to over the units of a day.
const ROUNDING: f64 = 1e-6;
/// The alternatives that are bet on, as exponents of the threshold.
const ALTERNATIVES: [f64; 5] = [0.875, 0.75, 0.5, 0.25, 0.031_25];
/// {r, ln r}.
const ODDS: [(f64, f64); 2] = [(4.0, 1.386_294_361_119_890_6), (32.0, 3.465_735_902_799_726_5)];

/// Bets against "the bad share of a unit is at most the threshold, on average".
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bets {
    threshold: f64,
    stakes: [f64; ALTERNATIVES.len()],
    /// The factor of a unit without a bad answer.
    calm: [f64; ALTERNATIVES.len()],
    /// Its logarithm.
    ln_calm: [f64; ALTERNATIVES.len()],
}

/// What is left of units at a glance: enough to say what they cannot prove.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Glance {
    units: u32,
    failing: u32,
    shares: f64,
}

impl Glance {
    /// At so many units, of which so many are `failing`; their bad shares sum to `shares`, or less.
    #[must_use]
    pub fn of(units: u32, failing: u32, shares: f64) -> Self {
        Self { units, failing, shares }
    }

    /// Takes in the bad share of a unit.
    pub fn add(&mut self, share: f64) {
        self.units = self.units.wrapping_add(1);
        self.failing = self.failing.wrapping_add((share > 0.0).into());
        self.shares += share;
    }
}

impl Bets {
    /// `threshold` between 0 and 1; at either end nothing can be won.
    #[must_use]
    pub fn against(threshold: f64) -> Self {
        let fair = threshold > 0.0 && threshold < 1.0;
        // Of what is no ratio, all of it is not enough.
        let threshold = if fair { threshold } else { 1.0 };
        let stakes = ALTERNATIVES.map(|exponent| {
            let edge = threshold.powf(exponent) - threshold;
            if fair {
                edge / (threshold * (1.0 - threshold))
            } else {
                0.0
            }
        });
        let calm = stakes.map(|stake| 1.0 - stake * threshold);
        Self {
            threshold,
            stakes,
            calm,
            ln_calm: calm.map(f64::ln),
        }
    }

    /// Whether [`Bets::evidence`] is more than `need`, which is above 0; most often by a glance.
    #[must_use]
    pub fn exceed(&self, need: f64, shares: impl Iterator<Item = f64> + Clone) -> bool {
        let mut glance = Glance::default();
        shares.clone().for_each(|share| glance.add(share));
        self.at_most(&glance) > need && self.won(shares) > need
    }

    /// What [`Bets::evidence`] of these units cannot exceed; never below 0.
    ///
    /// Of `n` units `k` have a bad answer, their shares sum to `s`. The logarithm is concave, and so is the lesser of it and a
    /// constant, so a bet's capital is at most `k min(ln(1 + λ (s/k − θ)), ln 64) + (n − k) ln(1 − λθ)` (Jensen), and the mean of the
    /// capitals at most the greatest.
    #[must_use]
    pub fn at_most(&self, glance: &Glance) -> f64 {
        let shares = glance.shares;
        let (units, failing) = (f64::from(glance.units), f64::from(glance.failing));
        if failing <= 0.0 || shares - units * self.threshold <= -ROUNDING {
            return 0.0;
        }
        // Cheaper than logarithms, and often enough.
        if failing <= 2.0 {
            return failing * LN_UNIT_MOST + ROUNDING;
        }
        let surplus = shares / failing - self.threshold;
        let bets = self.stakes.iter().zip(&self.ln_calm);
        let most = bets.map(|(stake, ln_calm)| {
            let calm = if units > failing {
                (units - failing) * ln_calm
            } else {
                0.0
            };
            failing * (stake * surplus).ln_1p().min(LN_UNIT_MOST) + calm
        });
        most.fold(0.0, f64::max) + ROUNDING
    }

    /// What [`Bets::evidence`] of any of these units, however they are chosen, cannot exceed.
    ///
    /// A stake is `λ ≤ 1/θ`, so a unit multiplies a capital by no more than `x/θ` where that is above 1, and `ln y ≤ y/e`; nor by more
    /// than 64. Without a bad answer none multiplies it by more than 1.
    #[must_use]
    pub fn of_any_at_most(&self, glance: &Glance) -> f64 {
        let by_shares = glance.shares / self.threshold / E;
        by_shares.min(f64::from(glance.failing) * LN_UNIT_MOST) + ROUNDING
    }

    /// How strongly the bad shares of units speak for more than the threshold, in nats; never below 0.
    #[must_use]
    pub fn evidence(&self, shares: impl Iterator<Item = f64> + Clone) -> f64 {
        // ln(1 + y) ≤ y: without a surplus no bet is won. Most looks at most releases end here.
        let surplus: f64 = shares.clone().map(|share| share - self.threshold).sum();
        if surplus <= 0.0 {
            return 0.0;
        }
        self.won(shares).max(0.0)
    }

    /// The logarithm of the capital in the end.
    fn won(&self, shares: impl Iterator<Item = f64>) -> f64 {
        let mut capital = Capital::default();
        for share in shares {
            capital.multiply(if share > 0.0 {
                let surplus = share - self.threshold;
                self.stakes.map(|stake| (1.0 + stake * surplus).min(UNIT_MOST))
            } else {
                self.calm
            });
        }
        ln_mean_exp(&capital.ln())
    }
}

/// Products whose logarithms are taken rarely: once in about a hundred factors.
struct Capital {
    ln: [f64; ALTERNATIVES.len()],
    rest: [f64; ALTERNATIVES.len()],
}

impl Default for Capital {
    fn default() -> Self {
        Self {
            ln: [0.0; ALTERNATIVES.len()],
            rest: [1.0; ALTERNATIVES.len()],
        }
    }
}

impl Capital {
    fn multiply(&mut self, factors: [f64; ALTERNATIVES.len()]) {
        let out = |rest: f64| rest < PRODUCT.0 || rest > PRODUCT.1;
        let mut any_out = false;
        for (rest, factor) in self.rest.iter_mut().zip(factors) {
            *rest *= factor;
            any_out |= out(*rest);
        }
        if any_out {
            self.settle(out);
        }
    }

    #[cold]
    fn settle(&mut self, out: impl Fn(f64) -> bool) {
        for (ln, rest) in self.ln.iter_mut().zip(&mut self.rest) {
            if out(*rest) {
                *ln += rest.ln();
                *rest = 1.0;
            }
        }
    }

    fn ln(&self) -> [f64; ALTERNATIVES.len()] {
        let mut sum = self.ln;
        for (sum, rest) in sum.iter_mut().zip(self.rest) {
            *sum += rest.ln();
        }
        sum
    }
}

/// What one unit showed of two releases.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pair {
    /// {bad, total} of the one that may be worse.
    pub new: (f64, f64),
    /// {bad, total} of the one it is compared with.
    pub stable: (f64, f64),
}

/// How strongly units speak for the new release being worse, in nats; never below 0. Units in which one of the two served nothing
/// say nothing.
#[must_use]
pub fn evidence_worse(pairs: impl Iterator<Item = Pair>) -> f64 {
    let mut capital = [0.0; ODDS.len()];
    for Pair { new, stable } in pairs {
        let bad = new.0 + stable.0;
        if new.1 <= 0.0 || stable.1 <= 0.0 || bad <= 0.0 {
            continue;
        }
        let share = new.1 / (new.1 + stable.1);
        for (sum, (odds, ln_odds)) in capital.iter_mut().zip(ODDS) {
            *sum += (new.0 * ln_odds - bad * (share * (odds - 1.0)).ln_1p()).min(LN_UNIT_MOST);
        }
    }
    ln_mean_exp(&capital).max(0.0)
}

/// ln of the mean of e^x, without overflow.
fn ln_mean_exp<const N: usize>(logs: &[f64; N]) -> f64 {
    let most = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let (sum, count) = logs
        .iter()
        .fold((0.0, 0.0), |(sum, count), log| (sum + (log - most).exp(), count + 1.0));
    most + (sum / count).ln()
}

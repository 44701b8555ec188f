//! Bounds on a ratio that hold for any sample size.
//!
//! **One sample.** Of `n` requests `k` were bad, `p̂ = k/n`. If the true ratio is at most `p < p̂`, Chernoff's bound says
//!
//! ```text
//! P(p̂ or worse) ≤ exp(−n · KL(p̂ ‖ p)),   KL(a ‖ b) = a ln(a/b) + (1−a) ln((1−a)/(1−b))
//! ```
//!
//! (Chernoff 1952; Hoeffding 1963, theorem 1; it needs no normal approximation and no minimum `n`.) Setting the right side to
//! ε and solving for `p` gives the lower bound used here: the smallest `p` with `n · KL(p̂ ‖ p) ≤ ln(1/ε)`. A revision whose
//! true ratio is at or below the threshold has its bound above it with probability at most ε = 1e-4 *per look*.
//!
//! More bad requests raise the bound, more good ones lower it: with `g = n − k`,
//! `n·KL = k ln k + g ln g − n ln n − k ln p − g ln(1−p)`, its derivative by `k` is `ln(p̂/p) > 0` and by `g` is
//! `ln((1−p̂)/(1−p)) < 0`.
//!
//! **Two samples.** Under "the same true ratio `p`", `X₁ = n₁·KL(p̂₁‖p)` and `X₂ = n₂·KL(p̂₂‖p)`, each on its own side, exceed
//! `x` with probability at most `e^(−x)`, so their sum exceeds `x` with at most `(1 + x) e^(−x)` (two exponentials). The
//! statistic used takes `p` at the pooled ratio, which minimises the sum, so the bound holds for it as well.

/// ln(1/ε) for ε = 1e-4, the one-sided error of one look at a release.
pub const LOOK_EVIDENCE: f64 = 9.210_340_371_976_184;

/// The x with (1 + x) e^(−x) = 1e-3: evidence that one ratio is worse than another.
pub const WORSE_EVIDENCE: f64 = 9.233_413_476_451_586;

/// KL(a ‖ b) between two coins, for `a` in [0, 1]; infinite where `b` rules `a` out.
#[must_use]
pub fn divergence(a: f64, b: f64) -> f64 {
    let term = |x: f64, y: f64| if x <= 0.0 { 0.0 } else { x * (x / y).ln() };
    term(a, b) + term(1.0 - a, 1.0 - b)
}

/// How strongly `bad` of `total` speaks for a ratio above `ratio`: `n · KL(p̂ ‖ ratio)` where p̂ is above it, else 0.
#[must_use]
pub fn evidence_above(bad: f64, total: f64, ratio: f64) -> f64 {
    if total <= 0.0 || bad <= ratio * total {
        return 0.0;
    }
    total * divergence((bad / total).min(1.0), ratio)
}

/// The smallest ratio that `bad` of `total` leaves possible with `evidence`; 0 without requests.
#[must_use]
pub fn lower_bound(bad: f64, total: f64, evidence: f64) -> f64 {
    if total <= 0.0 || bad <= 0.0 {
        return 0.0;
    }
    let (mut low, mut high) = (0.0, (bad / total).min(1.0));
    // 60 halvings reach the spacing of f64 near 1.
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if evidence_above(bad, total, middle) > evidence {
            low = middle;
        } else {
            high = middle;
        }
    }
    high
}

/// How strongly two samples (bad, total) speak for the first being worse; 0 where it is not.
#[must_use]
pub fn evidence_worse(first: (f64, f64), second: (f64, f64)) -> f64 {
    let ((bad1, total1), (bad2, total2)) = (first, second);
    if total1 <= 0.0 || total2 <= 0.0 || bad1 * total2 <= bad2 * total1 {
        return 0.0;
    }
    let pooled = (bad1 + bad2) / (total1 + total2);
    total1 * divergence(bad1 / total1, pooled) + total2 * divergence(bad2 / total2, pooled)
}

//! A bound on a ratio that is looked at once.
//!
//! Of `n` requests `k` were bad, `p̂ = k/n`. If each was bad independently with probability at most `p < p̂`, Chernoff's bound says
//!
//! ```text
//! P(p̂ or worse) ≤ exp(−n · KL(p̂ ‖ p)),   KL(a ‖ b) = a ln(a/b) + (1−a) ln((1−a)/(1−b))
//! ```
//!
//! (Chernoff 1952; Hoeffding 1963, theorem 1; it needs no normal approximation and no minimum `n`.)
//!
//! More bad requests raise the evidence, more good ones lower it: with `g = n − k`,
//! `n·KL = k ln k + g ln g − n ln n − k ln p − g ln(1−p)`, its derivative by `k` is `ln(p̂/p) > 0` and by `g` is
//! `ln((1−p̂)/(1−p)) < 0`.

/// ln(1/ε) for ε = 1e-4, the one-sided error of one look.
pub const LOOK_EVIDENCE: f64 = 9.210_340_371_976_184;

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

//! Chance, from a seed: the same on every machine.

/// `SplitMix64` (Steele, Lea, Flood 2014): small, quick, and each seed a stream of its own.
pub(crate) struct Draw(u64);

impl Draw {
    /// A stream for one release of one simulation.
    pub(crate) fn new(seed: u64, release: u64) -> Self {
        let mut draw = Self(seed ^ release.wrapping_mul(0xd134_2543_de82_ef95));
        draw.next();
        draw
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// Evenly between 0 and 1, both excluded.
    pub(crate) fn unit(&mut self) -> f64 {
        (float(self.next() >> 11) + 0.5) / 9_007_199_254_740_992.0
    }

    pub(crate) fn between(&mut self, from: f64, to: f64) -> f64 {
        from + (to - from) * self.unit()
    }

    /// Evenly among 0 to `below − 1`.
    pub(crate) fn below(&mut self, below: u64) -> u64 {
        whole(self.unit() * float(below)).min(below - 1)
    }

    /// Evenly by order of magnitude.
    pub(crate) fn magnitude(&mut self, from: f64, to: f64) -> f64 {
        self.between(from.ln(), to.ln()).exp()
    }

    /// How many of `mean` on average.
    pub(crate) fn poisson(&mut self, mean: f64) -> u64 {
        if mean > 50.0 {
            return whole(mean + mean.sqrt() * self.normal());
        }
        let end = (-mean).exp();
        let (mut product, mut count) = (self.unit(), 0);
        while product > end {
            product *= self.unit();
            count += 1;
        }
        count
    }

    /// How many of `count`, each with probability `ratio`.
    pub(crate) fn binomial(&mut self, count: u64, ratio: f64) -> u64 {
        if ratio > 0.5 {
            return count - self.binomial(count, 1.0 - ratio);
        }
        let mean = float(count) * ratio;
        if mean <= 0.0 {
            return 0;
        }
        if mean > 50.0 {
            return whole(mean + (mean * (1.0 - ratio)).sqrt() * self.normal()).min(count);
        }
        // The gaps between hits are geometric.
        let ln_miss = (-ratio).ln_1p();
        let (mut place, mut hits) = (0, 0);
        loop {
            place += whole(self.unit().ln() / ln_miss) + 1;
            if place > count {
                return hits;
            }
            hits += 1;
        }
    }

    fn normal(&mut self) -> f64 {
        (-2.0 * self.unit().ln()).sqrt() * (std::f64::consts::TAU * self.unit()).cos()
    }
}

/// The whole part of what is not negative.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "saturates at both ends, as it should"
)]
pub(crate) fn whole(number: f64) -> u64 {
    number as u64
}

#[expect(clippy::cast_precision_loss, reason = "exact to 2^53")]
pub(crate) fn float(number: u64) -> f64 {
    number as f64
}

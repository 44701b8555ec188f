/// A token is worth so many units, so that a rate in tokens per second is as many units per nanosecond.
const TOKEN: u64 = 1_000_000_000;

/// How many traces may be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// Traces per second in the long run.
    pub per_second: u32,
    /// Traces at once after a quiet time. Zero: as many as in a second.
    pub burst: u32,
}

impl Limit {
    const fn capacity(self) -> u64 {
        let burst = if self.burst == 0 { self.per_second } else { self.burst };
        burst as u64 * TOKEN
    }
}

/// A token bucket in whole numbers: in any span of time `t` it lets through at most `per_second × t + burst`.
#[derive(Debug, Clone)]
pub struct Limiter {
    limit: Limit,
    level: u64,
    filled_ns: u64,
}

impl Limiter {
    /// A full bucket.
    #[must_use]
    pub const fn new(limit: Limit, now_ns: u64) -> Self {
        Self {
            limit,
            level: limit.capacity(),
            filled_ns: now_ns,
        }
    }

    /// Takes a token if there is one. A clock that goes backwards gives nothing.
    pub fn try_take(&mut self, now_ns: u64) -> bool {
        self.fill(now_ns);
        let allowed = self.level >= TOKEN;
        if allowed {
            self.level -= TOKEN;
        }
        allowed
    }

    /// Changes the limit from now on. Tokens that are there stay, as far as the new burst holds them.
    pub fn update(&mut self, limit: Limit, now_ns: u64) {
        self.fill(now_ns);
        self.limit = limit;
    }

    /// Whole tokens in the bucket when it was last used.
    #[must_use]
    pub const fn tokens(&self) -> u64 {
        self.level / TOKEN
    }

    fn fill(&mut self, now_ns: u64) {
        let elapsed = now_ns.saturating_sub(self.filled_ns);
        let gained = elapsed.saturating_mul(u64::from(self.limit.per_second));
        self.level = self.level.saturating_add(gained).min(self.limit.capacity());
        self.filled_ns = self.filled_ns.max(now_ns);
    }
}

#[cfg(test)]
mod tests;

//! A policy, folded for one route and one method: a table of thresholds by status and duration.
//!
//! Kernel and user space decide by this same function. The thresholds are OpenTelemetry's (OTEP 235): a trace with 56 bits of
//! randomness is kept where they are not below the threshold.

/// Durations that a row tells apart at most; a policy with more is decided in user space.
pub const BOUNDS: usize = 3;
/// Groups of statuses that a row tells apart at most.
pub const COLUMNS: usize = 16;
/// Statuses that have a column: those below 600. 0 is an answer that never came.
pub const STATUSES: usize = 600;
/// A threshold above all randomness: nothing is kept, whatever the caller wanted.
pub const NEVER: u64 = u64::MAX;
/// The randomness of a trace: 56 bits.
pub const RANDOMNESS: u64 = (1 << 56) - 1;

/// An incoming sampled flag beats the thresholds.
pub const HONOUR_PARENT: u32 = 1;
/// The table cannot hold the policy: user space decides.
pub const UNDECIDED: u32 = 2;

/// The table for one route and one method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Row {
    /// [`HONOUR_PARENT`] and [`UNDECIDED`].
    pub flags: u32,
    /// Always 0: there is no implicit padding.
    pub reserved: u32,
    /// The shortest durations of the second and later lines, in nanoseconds, ascending; `u64::MAX` where there are fewer.
    pub bounds_ns: [u64; BOUNDS],
    /// The column of each status.
    pub column: [u8; STATUSES],
    /// Thresholds by column and line.
    pub thresholds: [[u64; BOUNDS + 1]; COLUMNS],
}

impl Row {
    /// Keeps nothing.
    pub const NEVER: Self = Self {
        flags: 0,
        reserved: 0,
        bounds_ns: [u64::MAX; BOUNDS],
        column: [0; STATUSES],
        thresholds: [[NEVER; BOUNDS + 1]; COLUMNS],
    };

    /// Leaves everything to user space.
    pub const UNDECIDED: Self = Self {
        flags: UNDECIDED,
        ..Self::NEVER
    };

    /// The threshold of an answer, before the caller is asked.
    #[inline(always)]
    #[must_use]
    pub fn threshold(&self, status: u16, duration_ns: u64) -> u64 {
        let column = self.column[status_index(status)] as usize % COLUMNS;
        let line = usize::from(duration_ns >= self.bounds_ns[0])
            + usize::from(duration_ns >= self.bounds_ns[1])
            + usize::from(duration_ns >= self.bounds_ns[2]);
        self.thresholds[column][line % (BOUNDS + 1)]
    }
}

/// The place of a status in [`Row::column`]; those without a column of their own, which no rule can name, share that of a code that
/// no answer has.
#[inline(always)]
#[must_use]
pub const fn status_index(status: u16) -> usize {
    let index = status as usize;
    if index < STATUSES { index } else { 1 }
}

/// What comes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Decision {
    /// User space decides.
    Undecided = 0,
    /// It becomes a span.
    Keep = 1,
    /// Its randomness is below the threshold.
    Probability = 2,
    /// Its probability is 0.
    Never = 3,
    /// Its caller did not sample its span.
    Parent = 4,
    /// It would become a span, and its policy's limit per second is used up: see [`limit`](crate::limit).
    RateLimited = 5,
}

/// Decides by a row's threshold and flags; `parent`: the caller's flag, where there is a caller.
#[inline(always)]
#[must_use]
pub const fn decide(threshold: u64, flags: u32, parent: Option<bool>, randomness: u64) -> Decision {
    if flags & UNDECIDED != 0 {
        return Decision::Undecided;
    }
    if threshold == NEVER {
        return Decision::Never;
    }
    match parent {
        Some(true) if flags & HONOUR_PARENT != 0 => Decision::Keep,
        Some(false) if flags & HONOUR_PARENT != 0 => Decision::Parent,
        _ if randomness >= threshold => Decision::Keep,
        _ => Decision::Probability,
    }
}

const _: () = {
    assert!(size_of::<Row>() == 8 + 8 * BOUNDS + STATUSES + 8 * (BOUNDS + 1) * COLUMNS);
    assert!(STATUSES.is_multiple_of(8));
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_and_duration_has_its_own_cell() {
        let mut row = Row::NEVER;
        row.bounds_ns = [10, 20, u64::MAX];
        row.column[status_index(503)] = 3;
        row.thresholds[3] = [7, 8, 9, NEVER];
        for (duration, expected) in [(0, 7), (9, 7), (10, 8), (19, 8), (20, 9), (u64::MAX - 1, 9)] {
            assert_eq!(row.threshold(503, duration), expected);
            assert_eq!(row.threshold(500, duration), NEVER);
        }
        assert_eq!((status_index(0), status_index(600), status_index(999)), (0, 1, 1));
        assert_ne!(status_index(100), status_index(0));
    }

    #[test]
    fn the_caller_beats_the_threshold_and_never_beats_the_caller() {
        assert_eq!(decide(5, HONOUR_PARENT, Some(true), 0), Decision::Keep);
        assert_eq!(decide(5, HONOUR_PARENT, Some(false), 9), Decision::Parent);
        assert_eq!(decide(NEVER, HONOUR_PARENT, Some(true), 9), Decision::Never);
        assert_eq!(decide(5, 0, Some(true), 4), Decision::Probability);
        assert_eq!(decide(5, 0, Some(false), 5), Decision::Keep);
        assert_eq!(decide(NEVER, UNDECIDED, None, 0), Decision::Undecided);
    }
}

//! A history as bytes: LEB128 numbers, bucket indices as steps. About 5 bytes a bucket.

use std::collections::VecDeque;

use super::days::Days;
use super::level::{Bucket, Level};
use super::revision::{MAX_WITNESSES, Witnesses};
use super::{History, Kept, MAX_REVISIONS, Series, Totals};
use crate::calendar::{Day, Zone};
use crate::{Counts, Millis, Revision, WorkerId};

const FORMAT: u8 = 1;
/// The same, with days behind it.
const WITH_DAYS: u8 = 2;
/// Most days read back.
const MAX_DAYS: u64 = 1_000;
/// Longest name read back.
const MAX_NAME: u64 = 512;

/// Why bytes are no history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// Written by another version.
    #[error("history has format {0}, this program reads 1 and 2: start with an empty history")]
    Format(u8),
    /// Cut short or damaged.
    #[error("history is damaged: start with an empty history")]
    Damaged,
}

impl CodecError {
    /// A bounded word for metrics.
    #[must_use]
    pub fn category(&self) -> &'static str {
        match self {
            Self::Format(_) => "format",
            Self::Damaged => "damaged",
        }
    }
}

impl History {
    /// As bytes, for storage.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let format = if self.days.is_some() { WITH_DAYS } else { FORMAT };
        let mut out = Writer(vec![format]);
        out.time(self.since);
        out.number(self.evicted);
        out.series(&self.aggregate);
        out.count(self.revisions.len());
        for (revision, kept) in &self.revisions {
            out.text(revision.as_str());
            out.series(&kept.series);
            out.totals(&kept.totals);
            out.witnesses(&kept.witnesses);
        }
        if let Some(days) = &self.days {
            out.days(days);
        }
        out.0
    }

    /// Reads what [`History::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        let (format, rest) = bytes.split_first().ok_or(CodecError::Damaged)?;
        if ![FORMAT, WITH_DAYS].contains(format) {
            return Err(CodecError::Format(*format));
        }
        let mut input = Reader(rest);
        let mut history = input.history()?;
        if *format == WITH_DAYS {
            history.days = input.days()?;
        }
        if input.0.is_empty() {
            Ok(history)
        } else {
            Err(CodecError::Damaged)
        }
    }
}

struct Writer(Vec<u8>);

impl Writer {
    fn number(&mut self, mut number: u64) {
        loop {
            let byte = number.to_le_bytes()[0] & 0x7f;
            number >>= 7;
            if number == 0 {
                self.0.push(byte);
                return;
            }
            self.0.push(byte | 0x80);
        }
    }

    fn count(&mut self, count: usize) {
        self.number(u64::try_from(count).unwrap_or(u64::MAX));
    }

    fn text(&mut self, text: &str) {
        self.count(text.len());
        self.0.extend_from_slice(text.as_bytes());
    }

    /// Zero for none; times before the epoch do not come up and read back as the epoch.
    fn time(&mut self, at: Option<Millis>) {
        self.number(at.map_or(0, |at| u64::try_from(at.0).unwrap_or(0).saturating_add(1)));
    }

    fn series(&mut self, series: &Series) {
        for level in &series.levels {
            self.count(level.buckets.len());
            let mut before = 0;
            for bucket in &level.buckets {
                self.number((bucket.index - before).into());
                before = bucket.index;
                for count in [bucket.good, bucket.bad, bucket.incomplete] {
                    self.number(count.into());
                }
            }
        }
    }

    fn days(&mut self, days: &Days) {
        self.text(days.zone.name());
        self.time(days.since);
        self.count(days.counted.len());
        for (day, counts) in &days.counted {
            self.number(day.0.into());
            for count in [counts.good, counts.bad, counts.incomplete] {
                self.number(count);
            }
        }
    }

    fn totals(&mut self, totals: &Totals) {
        for count in [totals.counts.good, totals.counts.bad, totals.counts.incomplete] {
            self.number(count);
        }
        for at in [totals.first_at, totals.last_at, totals.first_bad_at, totals.last_bad_at] {
            self.time(at);
        }
    }

    fn witnesses(&mut self, witnesses: &Witnesses) {
        self.count(witnesses.0.len());
        for (worker, pods) in &witnesses.0 {
            self.text(worker.as_str());
            self.number((*pods).into());
        }
    }
}

struct Reader<'a>(&'a [u8]);

type Read<T> = Result<T, CodecError>;

impl Reader<'_> {
    fn number(&mut self) -> Read<u64> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first().ok_or(CodecError::Damaged)?;
            self.0 = rest;
            let bits = u64::from(byte & 0x7f);
            if (bits << shift) >> shift != bits {
                return Err(CodecError::Damaged);
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(CodecError::Damaged)
    }

    fn number_to(&mut self, max: u64) -> Read<u64> {
        self.number().and_then(|number| {
            if number <= max {
                Ok(number)
            } else {
                Err(CodecError::Damaged)
            }
        })
    }

    fn small(&mut self) -> Read<u32> {
        u32::try_from(self.number()?).or(Err(CodecError::Damaged))
    }

    fn text(&mut self) -> Read<String> {
        let length = usize::try_from(self.number_to(MAX_NAME)?).or(Err(CodecError::Damaged))?;
        let (text, rest) = self.0.split_at_checked(length).ok_or(CodecError::Damaged)?;
        self.0 = rest;
        String::from_utf8(text.to_vec()).or(Err(CodecError::Damaged))
    }

    fn time(&mut self) -> Read<Option<Millis>> {
        let Some(millis) = self.number()?.checked_sub(1) else {
            return Ok(None);
        };
        i64::try_from(millis)
            .map(|millis| Some(Millis(millis)))
            .or(Err(CodecError::Damaged))
    }

    fn counts(&mut self) -> Read<Counts> {
        Ok(Counts {
            good: self.number()?,
            bad: self.number()?,
            incomplete: self.number()?,
        })
    }

    fn history(&mut self) -> Read<History> {
        let mut history = History {
            since: self.time()?,
            evicted: self.number()?,
            ..History::default()
        };
        self.series(&mut history.aggregate)?;
        for _ in 0..self.number_to(most(MAX_REVISIONS))? {
            let revision = Revision::new(self.text()?);
            let mut series = Series::of_revision();
            self.series(&mut series)?;
            let (mut totals, witnesses) = (self.totals()?, self.witnesses()?);
            totals.bad_pods = witnesses.pods();
            history.revisions.insert(
                revision,
                Kept {
                    series,
                    totals,
                    witnesses,
                },
            );
        }
        Ok(history)
    }

    fn series(&mut self, series: &mut Series) -> Read<()> {
        series.levels.iter_mut().try_for_each(|level| self.level(level))
    }

    fn level(&mut self, level: &mut Level) -> Read<()> {
        let count = self.number_to(level.capacity.into())?;
        let mut index = 0_u32;
        for position in 0..count {
            let step = self.small()?;
            // Order is what the windows rely on.
            if step == 0 && position > 0 {
                return Err(CodecError::Damaged);
            }
            index = index.checked_add(step).ok_or(CodecError::Damaged)?;
            let (good, bad, incomplete) = (self.small()?, self.small()?, self.small()?);
            level.buckets.push_back(Bucket {
                index,
                good,
                bad,
                incomplete,
            });
        }
        level.resum(0);
        Ok(())
    }

    /// Nothing where the time zone is not known any more: the days are made anew from the hours.
    fn days(&mut self) -> Read<Option<Days>> {
        let (zone, since) = (self.text()?, self.time()?);
        let mut counted: VecDeque<(Day, Counts)> = VecDeque::new();
        for _ in 0..self.number_to(MAX_DAYS)? {
            let day = Day(self.small()?);
            if counted.back().is_some_and(|(before, _)| *before >= day) {
                return Err(CodecError::Damaged);
            }
            counted.push_back((day, self.counts()?));
        }
        Ok(Zone::named(&zone).map(|zone| Days { zone, since, counted }))
    }

    fn totals(&mut self) -> Read<Totals> {
        let counts = self.counts()?;
        let (first_at, last_at) = (self.time()?, self.time()?);
        let (first_bad_at, last_bad_at) = (self.time()?, self.time()?);
        Ok(Totals {
            counts,
            first_at,
            last_at,
            first_bad_at,
            last_bad_at,
            bad_pods: 0,
        })
    }

    fn witnesses(&mut self) -> Read<Witnesses> {
        let mut witnesses = Vec::new();
        for _ in 0..self.number_to(most(MAX_WITNESSES))? {
            witnesses.push((WorkerId::new(self.text()?), self.small()?));
        }
        Ok(Witnesses(witnesses))
    }
}

fn most(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

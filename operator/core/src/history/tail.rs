//! What of a history is new since it was stored whole: of one that goes on for weeks that is little, however often it is stored.

use std::collections::BTreeMap;

use super::level::Level;
use super::{CodecError, History, Kept, Series};
use crate::Millis;

impl History {
    /// What [`with_tail`](Self::with_tail) needs to make this history of an earlier state of it, if nothing was recorded since that
    /// happened before `since`: buckets from there on, and everything that is no bucket.
    #[must_use]
    pub fn tail(&self, since: Millis) -> Vec<u8> {
        let revisions = self.revisions.iter().map(|(revision, kept)| {
            let kept = Kept {
                series: kept.series.since(since),
                totals: kept.totals,
                witnesses: kept.witnesses.clone(),
            };
            (revision.clone(), kept)
        });
        let tail = Self {
            aggregate: self.aggregate.since(since),
            revisions: revisions.collect(),
            days: self.days.clone(),
            since: self.since,
            evicted: self.evicted,
        };
        let mut bytes = since.0.to_be_bytes().to_vec();
        bytes.extend(tail.encode());
        bytes
    }

    /// This earlier state, brought up to what [`tail`](Self::tail) was made of.
    pub fn with_tail(mut self, bytes: &[u8]) -> Result<Self, CodecError> {
        let (since, rest) = bytes.split_first_chunk().ok_or(CodecError::Damaged)?;
        let since = Millis(i64::from_be_bytes(*since));
        let tail = Self::decode(rest)?;
        let mut revisions = BTreeMap::new();
        for (revision, mut kept) in tail.revisions {
            if let Some(before) = self.revisions.remove(&revision) {
                kept.series = before.series.followed_by(kept.series, since);
            }
            revisions.insert(revision, kept);
        }
        Ok(Self {
            aggregate: self.aggregate.followed_by(tail.aggregate, since),
            revisions,
            ..tail
        })
    }
}

impl Series {
    fn since(&self, at: Millis) -> Self {
        Self {
            levels: self.levels.iter().map(|level| level.since(at)).collect(),
        }
    }

    fn followed_by(mut self, newer: Self, since: Millis) -> Self {
        let levels = self.levels.iter_mut().zip(newer.levels);
        levels.for_each(|(level, newer): (&mut Level, Level)| level.follow(newer, since));
        self
    }
}

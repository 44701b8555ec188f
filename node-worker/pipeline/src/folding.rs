//! Sampling policies, folded into the tables that the kernel decides by.
//!
//! A rule's route and method are known before a request ends: for one route and one method a policy is a function of the status
//! and the duration alone, and takes few values. [`row`] writes these down; the kernel looks its threshold up instead of going
//! through rules. What a table cannot hold is [`Row::UNDECIDED`]: the kernel hands such requests on, and [`Policy::decide`] says
//! what comes of them, as it would have of the others.
//!
//! Folding is canonical: policies that decide alike about a route and a method have one row there, so that few rows are enough for
//! many routes.

mod fold;

use crate::request::Method;
use crate::sampler::{Limit, Policy};
use fold::RuleSet;
use shoalwatch_ebpf_common::sampling::Row;
use shoalwatch_ebpf_common::{MAX_ROWS, RouteRows, http1, limit::MAX_LIMITS};

/// The place of [`Row::NEVER`] in every table: what no policy covers.
pub const NEVER: u16 = 0;
/// The place of [`Row::UNDECIDED`] in every table.
pub const UNDECIDED: u16 = 1;

const _: () = assert!(MAX_ROWS <= 1 << u16::BITS && Method::ALL.len() == http1::Method::NUMBERS);

/// What a policy says about one route and one method. [`Row::UNDECIDED`] for a policy under dry run, and for one that tells apart
/// more statuses or durations than a row can.
#[must_use]
pub fn row(policy: &Policy, template: &str, method: Method) -> Row {
    fold::row(
        policy,
        RuleSet::of_route(policy, template).and(RuleSet::of_method(policy, method)),
    )
}

/// What a policy says about one route, for each method by its number: places in the table, which gets the rows that it has not yet.
pub fn route_rows(table: &mut RowTable, policy: Option<&Policy>, template: &str) -> RouteRows {
    let mut rows = RouteRows::default();
    let Some(policy) = policy else {
        return rows;
    };
    let route = RuleSet::of_route(policy, template);
    // Most policies name no method: all have the same rules then, and are folded once.
    let mut folded: Vec<(RuleSet, u16)> = Vec::new();
    for method in Method::ALL {
        let rules = route.and(RuleSet::of_method(policy, method));
        let known = folded.iter().find(|(known, _)| *known == rules);
        let place = known.map_or_else(|| table.place(fold::row(policy, rules)), |(_, place)| *place);
        folded.push((rules, place));
        rows.rows[method as usize] = place;
    }
    rows
}

/// The rows of all policies together, each once: at most [`MAX_ROWS`]; and their limits.
#[derive(Debug, Clone)]
pub struct RowTable {
    rows: Vec<Row>,
    limits: Vec<(u32, Limit)>,
    overflowed: u64,
}

impl Default for RowTable {
    fn default() -> Self {
        Self::new()
    }
}

impl RowTable {
    /// With the rows [`NEVER`] and [`UNDECIDED`].
    #[must_use]
    pub fn new() -> Self {
        Self {
            rows: vec![Row::NEVER, Row::UNDECIDED],
            limits: Vec::new(),
            overflowed: 0,
        }
    }

    /// The place of a row. [`UNDECIDED`] for a new one where the table is full: user space decides then.
    pub fn place(&mut self, row: Row) -> u16 {
        let known = self.rows.iter().position(|known| *known == row);
        let place = known.unwrap_or(self.rows.len());
        if place >= MAX_ROWS as usize {
            self.overflowed += 1;
            return UNDECIDED;
        }
        if known.is_none() {
            self.rows.push(row);
        }
        u16::try_from(place).unwrap_or(UNDECIDED)
    }

    /// Puts a policy's limit in force at its place, from 1 to [`MAX_LIMITS`] − 1; elsewhere it is left to user space.
    pub fn limit(&mut self, place: u32, limit: Limit) {
        if (1..MAX_LIMITS).contains(&place) {
            self.limits.push((place, limit));
        }
    }

    /// All limits with their places.
    #[must_use]
    pub fn limits(&self) -> &[(u32, Limit)] {
        &self.limits
    }

    /// All rows by their places.
    #[must_use]
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// How often a new row found the table full.
    #[must_use]
    pub const fn overflowed(&self) -> u64 {
        self.overflowed
    }
}

#[cfg(test)]
mod tests;

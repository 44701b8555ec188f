use crate::request::{Method, Status};
use crate::sampler::{MAX_RULES, Parent, Policy, Rule};
use shoalwatch_ebpf_common::sampling::{self, BOUNDS, COLUMNS, HONOUR_PARENT, Row, STATUSES, status_index};
use shoalwatch_protocols::trace_context::Threshold;
use std::array;

/// The first code that no rule can name; those above have what it has.
const UNNAMED: u16 = 600;

const _: () = assert!(MAX_RULES <= u32::BITS as usize && COLUMNS <= 1 << u8::BITS);

/// Rules of one policy, by their indices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RuleSet(u32);

impl RuleSet {
    pub(super) fn of_route(policy: &Policy, template: &str) -> Self {
        Self::of(policy, |rule| rule.is_for_route(template))
    }

    pub(super) fn of_method(policy: &Policy, method: Method) -> Self {
        Self::of(policy, |rule| rule.is_for_method(method))
    }

    fn of_status(policy: &Policy, status: Status) -> Self {
        Self::of(policy, |rule| rule.is_for_status(status))
    }

    pub(super) const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    fn of(policy: &Policy, has: impl Fn(&Rule) -> bool) -> Self {
        let bits = policy.rules().iter().enumerate();
        Self(bits.fold(0, |set, (index, rule)| set | u32::from(has(rule)) << index))
    }

    fn rules(self, policy: &Policy) -> impl Iterator<Item = &Rule> {
        let all = policy.rules().iter().enumerate();
        all.filter_map(move |(index, rule)| (self.0 >> index & 1 == 1).then_some(rule))
    }

    /// What the first rule with a duration says, or the policy where none does.
    fn threshold(self, policy: &Policy, duration_ns: u64) -> u64 {
        let rule = self
            .rules(policy)
            .find(|rule| duration_ns >= rule.duration_at_least_ns());
        rule.map_or(policy.threshold(), Rule::threshold)
            .map_or(sampling::NEVER, Threshold::get)
    }

    /// The shortest durations from which on anything may change, ascending from 0.
    fn starts(self, policy: &Policy) -> Vec<u64> {
        let mut starts: Vec<u64> = self.rules(policy).map(Rule::duration_at_least_ns).collect();
        starts.push(0);
        starts.sort_unstable();
        starts.dedup();
        starts
    }
}

/// What those rules of a policy say that are for a route and a method.
pub(super) fn row(policy: &Policy, rules: RuleSet) -> Row {
    if policy.is_dry_run() {
        return Row::UNDECIDED;
    }
    Grid::new(policy, rules).row(policy.parent()).unwrap_or(Row::UNDECIDED)
}

/// Thresholds by status and duration, as many as there are.
struct Grid {
    /// The shortest durations of the lines.
    starts: Vec<u64>,
    /// By kind of status: the threshold of each line.
    kinds: Vec<Vec<u64>>,
    /// The kind of each recorded status.
    statuses: Vec<(u16, usize)>,
}

impl Grid {
    fn new(policy: &Policy, rules: RuleSet) -> Self {
        let starts = rules.starts(policy);
        let mut sets = Vec::new();
        let recorded = (0..=UNNAMED).filter_map(|code| Some((code, Status::recorded(code)?)));
        let statuses = recorded.map(|(code, status)| {
            let set = rules.and(RuleSet::of_status(policy, status));
            (code, index_of(&mut sets, set))
        });
        let statuses = statuses.collect();
        let line = |set: &RuleSet| starts.iter().map(|start| set.threshold(policy, *start)).collect();
        let kinds = sets.iter().map(line).collect();
        Self {
            starts,
            kinds,
            statuses,
        }
    }

    /// The lines that differ from those before them.
    fn lines(&self) -> Vec<usize> {
        let differs = |line: usize| line == 0 || self.kinds.iter().any(|kind| kind[line] != kind[line - 1]);
        (0..self.starts.len()).filter(|line| differs(*line)).collect()
    }

    /// Absent where a row is too small.
    fn row(&self, parent: Parent) -> Option<Row> {
        let lines = self.lines();
        if lines.len() > BOUNDS + 1 {
            return None;
        }
        // Lines that are not used say what the last one does: a duration of `u64::MAX` reaches them.
        let last = *lines.last()?;
        let columns = self
            .kinds
            .iter()
            .map(|kind| array::from_fn(|index| kind[lines.get(index).copied().unwrap_or(last)]));
        let mut row = self.with_columns(&columns.collect::<Vec<_>>())?;
        for (bound, line) in row.bounds_ns.iter_mut().zip(lines.iter().skip(1)) {
            *bound = self.starts[*line];
        }
        // Nobody's flag beats the probability 0, so a row without anything else is one row.
        let keeps = row
            .thresholds
            .as_flattened()
            .iter()
            .any(|cell| *cell != sampling::NEVER);
        if keeps && parent == Parent::Honour {
            row.flags = HONOUR_PARENT;
        }
        Some(row)
    }

    /// Gives every status the column of its kind; kinds with the same thresholds share one. Absent where there are too many, or
    /// where statuses that the kernel does not tell apart would need two.
    fn with_columns(&self, kinds: &[[u64; BOUNDS + 1]]) -> Option<Row> {
        let mut row = Row::NEVER;
        let (mut columns, mut taken) = (Vec::new(), [false; STATUSES]);
        for (status, kind) in &self.statuses {
            let column = u8::try_from(index_of(&mut columns, kinds[*kind])).ok()?;
            let place = status_index(*status);
            if taken[place] && row.column[place] != column {
                return None;
            }
            (row.column[place], taken[place]) = (column, true);
            *row.thresholds.get_mut(usize::from(column))? = kinds[*kind];
        }
        Some(row)
    }
}

/// Where an item stands in a list, at its end if it was not there.
fn index_of<T: PartialEq>(list: &mut Vec<T>, item: T) -> usize {
    let known = list.iter().position(|known| *known == item);
    known.unwrap_or_else(|| {
        list.push(item);
        list.len() - 1
    })
}

//! Conditions as `metav1` wants them: one of each type, and `lastTransitionTime` moves only when the status does.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use crate::text;

/// Longest message of a condition, in characters; the rest is cut, for the API server refuses more.
pub const MESSAGE_MAX: usize = 1024;

/// Status of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConditionStatus {
    /// It holds.
    True,
    /// It does not hold.
    False,
    /// Nobody can say.
    Unknown,
}

impl ConditionStatus {
    /// The form in the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

impl From<bool> for ConditionStatus {
    fn from(holds: bool) -> Self {
        if holds { Self::True } else { Self::False }
    }
}

/// What is found about one condition, without its history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Type of the condition: see [`crate::names`].
    pub kind: &'static str,
    /// Whether it holds.
    pub status: ConditionStatus,
    /// Why, as one CamelCase word from a bounded set.
    pub reason: &'static str,
    /// Why, in full, and what to do. Cut at [`MESSAGE_MAX`].
    pub message: String,
}

/// Sets one condition as it was found at `now` for `generation`; `lastTransitionTime` moves only when the status changes.
/// Says whether anything but the generation changed.
pub fn set(conditions: &mut Vec<Condition>, finding: &Finding, generation: Option<i64>, now: &Time) -> bool {
    let mut fresh = Condition {
        type_: finding.kind.to_owned(),
        status: finding.status.as_str().to_owned(),
        reason: finding.reason.to_owned(),
        message: text::cut(&finding.message, MESSAGE_MAX),
        observed_generation: generation,
        last_transition_time: now.clone(),
    };
    let Some(known) = conditions.iter_mut().find(|known| known.type_ == finding.kind) else {
        conditions.push(fresh);
        return true;
    };
    if known.status == fresh.status {
        fresh.last_transition_time = known.last_transition_time.clone();
    }
    let changed = (&known.status, &known.reason, &known.message) != (&fresh.status, &fresh.reason, &fresh.message);
    *known = fresh;
    changed
}

/// The condition of this type.
#[must_use]
pub fn get<'a>(conditions: &'a [Condition], kind: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.type_ == kind)
}

/// Whether the condition of this type is known to hold.
#[must_use]
pub fn holds(conditions: &[Condition], kind: &str) -> bool {
    get(conditions, kind).is_some_and(|condition| condition.status == ConditionStatus::True.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(text: &str) -> Time {
        Time(text.parse().unwrap())
    }

    fn finding(holds: bool, message: &str) -> Finding {
        Finding {
            kind: "Accepted",
            status: holds.into(),
            reason: "Valid",
            message: message.to_owned(),
        }
    }

    #[test]
    fn the_transition_time_moves_only_when_the_status_does() {
        let (first, second, third) = (
            time("2026-01-01T00:00:00Z"),
            time("2026-01-01T00:01:00Z"),
            time("2026-01-01T00:02:00Z"),
        );
        let mut conditions = Vec::new();
        assert!(set(&mut conditions, &finding(true, "good"), Some(1), &first));
        assert!(set(&mut conditions, &finding(true, "still good"), Some(2), &second));
        assert_eq!(conditions[0].last_transition_time, first);
        assert_eq!(conditions[0].observed_generation, Some(2));
        assert!(set(&mut conditions, &finding(false, "bad"), Some(3), &third));
        assert_eq!(conditions[0].last_transition_time, third);
        assert_eq!(conditions.len(), 1);
    }

    #[test]
    fn the_same_finding_again_is_no_change() {
        let mut conditions = Vec::new();
        set(
            &mut conditions,
            &finding(true, "good"),
            Some(1),
            &time("2026-01-01T00:00:00Z"),
        );
        let before = conditions.clone();
        assert!(!set(
            &mut conditions,
            &finding(true, "good"),
            Some(1),
            &time("2026-01-01T00:01:00Z")
        ));
        assert_eq!(conditions, before);
    }

    #[test]
    fn other_conditions_stay_as_they_are() {
        let mut conditions = Vec::new();
        let now = time("2026-01-01T00:00:00Z");
        set(&mut conditions, &finding(true, "good"), Some(1), &now);
        let programmed = Finding {
            kind: "Programmed",
            status: ConditionStatus::Unknown,
            ..finding(false, "no answer yet")
        };
        set(&mut conditions, &programmed, Some(1), &now);
        assert!(holds(&conditions, "Accepted"));
        assert!(!holds(&conditions, "Programmed"));
        assert_eq!(get(&conditions, "Programmed").unwrap().status, "Unknown");
        assert!(get(&conditions, "Evaluated").is_none());
    }

    #[test]
    fn a_long_message_is_cut_where_the_schema_would_refuse_it() {
        let mut conditions = Vec::new();
        let message = "é".repeat(MESSAGE_MAX + 1);
        set(
            &mut conditions,
            &finding(true, &message),
            None,
            &time("2026-01-01T00:00:00Z"),
        );
        assert_eq!(conditions[0].message.chars().count(), MESSAGE_MAX);
        assert!(conditions[0].message.ends_with('…'));
    }
}

//! Numbers and names as people read them.

use shoalwatch_core::ReleaseId;
use shoalwatch_core::release::TargetSnapshot;

/// A number with two significant digits: `14`, `0.034`, `-1.2`, `1200`.
pub(super) fn two_digits(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return "0".to_owned();
    }
    // From the printed form, so that 9.96 has the magnitude of the 10 it is rounded to.
    let scientific = format!("{value:.1e}");
    let exponent: i32 = scientific
        .split_once('e')
        .and_then(|(_, exponent)| exponent.parse().ok())
        .unwrap_or(0);
    let decimals = usize::try_from(1 - exponent).unwrap_or(0);
    let rounded: f64 = scientific.parse().unwrap_or(value);
    let text = format!("{rounded:.decimals$}");
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

/// A ratio in per cent with two significant digits: `21%`.
pub(super) fn percent(ratio: f64) -> String {
    format!("{}%", two_digits(ratio * 100.0))
}

/// A text in which releases are called by the pod template hash that `kubectl get replicasets` shows, as far as their sets are
/// still there.
pub(super) fn spoken(text: &str, target: Option<&TargetSnapshot>) -> String {
    let mut text = text.to_owned();
    for each in target.iter().flat_map(|target| &target.revisions) {
        if text.contains(each.release.as_str()) {
            text = text.replace(each.release.as_str(), &revision(&each.release, target));
        }
    }
    text
}

/// The newest revision of a release, or the release itself where its sets are gone.
pub(super) fn revision(release: &ReleaseId, target: Option<&TargetSnapshot>) -> String {
    let newest = target.and_then(|target| {
        target
            .revisions_of(release)
            .first()
            .map(|each| each.revision.to_string())
    });
    newest.unwrap_or_else(|| release.to_string())
}

/// At most so many characters.
pub(super) fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(most.saturating_sub(1)).collect();
    short.push('…');
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_two_significant_digits() {
        let cases = [
            (14.4, "14"),
            (0.0337, "0.034"),
            (-1.25, "-1.2"),
            (1_234.0, "1200"),
            (0.999, "1"),
            (99.6, "100"),
            (9.96, "10"),
            (0.93, "0.93"),
            (1.0, "1"),
            (0.0, "0"),
            (f64::NAN, "0"),
        ];
        for (value, text) in cases {
            assert_eq!(two_digits(value), text, "{value}");
        }
        assert_eq!(percent(0.2143), "21%");
        assert_eq!(percent(0.000_03), "0.003%");
    }
}

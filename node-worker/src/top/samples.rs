//! A page of Prometheus' text format, read back.

use std::collections::BTreeMap;

/// Labels by name.
pub(super) type Labels = BTreeMap<String, String>;

/// The samples of one page, in its order.
#[derive(Debug, Default)]
pub(super) struct Samples {
    by_name: BTreeMap<String, Vec<(Labels, f64)>>,
}

impl Samples {
    /// Lines that are no samples are passed over.
    pub(super) fn parse(page: &str) -> Self {
        let mut samples = Self::default();
        for line in page.lines().filter(|line| !line.starts_with('#')) {
            if let Some((name, labels, value)) = sample(line) {
                samples
                    .by_name
                    .entry(name.to_owned())
                    .or_default()
                    .push((labels, value));
            }
        }
        samples
    }

    /// All samples of a metric.
    pub(super) fn of<'a>(&'a self, name: &str) -> impl Iterator<Item = (&'a Labels, f64)> + use<'a> {
        let samples = self.by_name.get(name).into_iter().flatten();
        samples.map(|(labels, value)| (labels, *value))
    }

    /// A metric's sum; absent where it has no sample.
    pub(super) fn sum(&self, name: &str) -> Option<f64> {
        self.of(name).map(|(_, value)| value).reduce(|sum, value| sum + value)
    }
}

fn sample(line: &str) -> Option<(&str, Labels, f64)> {
    let end = line.find(['{', ' '])?;
    let (name, rest) = line.split_at(end);
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(rest) => labels(rest)?,
        None => (Labels::new(), rest),
    };
    Some((name, labels, rest.trim().parse().ok()?))
}

/// Up to the closing brace, and what is behind it.
fn labels(mut rest: &str) -> Option<(Labels, &str)> {
    let mut labels = Labels::new();
    loop {
        if let Some(behind) = rest.strip_prefix('}') {
            return Some((labels, behind));
        }
        let (name, quoted) = rest.split_once("=\"")?;
        let (value, behind) = unquote(quoted)?;
        labels.insert(name.to_owned(), value);
        rest = behind.strip_prefix(',').unwrap_or(behind);
    }
}

/// Up to the closing quote, and what is behind it.
fn unquote(quoted: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    loop {
        match characters.next()? {
            (at, '"') => return Some((value, &quoted[at + 1..])),
            (_, '\\') => value.push(match characters.next()?.1 {
                'n' => '\n',
                other => other,
            }),
            (_, other) => value.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_come_back_as_they_were() {
        let samples = Samples::parse("# TYPE m counter\nm{a=\"x\\\"} 9\\n\\\\\",b=\"\"} 7\nn 0.5\nn{} 1e3\n");
        let (labels, value) = samples.of("m").next().unwrap();
        assert_eq!(
            (labels["a"].as_str(), labels["b"].as_str(), value),
            ("x\"} 9\n\\", "", 7.0)
        );
        assert_eq!(samples.sum("n"), Some(1000.5));
        assert_eq!(samples.sum("other"), None);
    }

    #[test]
    fn half_a_page_is_no_panic() {
        let page = "m{a=\"x\\\"y\",b=\"é\"} 7\n";
        for end in (0..page.len()).filter(|end| page.is_char_boundary(*end)) {
            assert!(
                Samples::parse(&page[..end])
                    .sum("m")
                    .is_none_or(|value| value.abs() < 8.0)
            );
        }
    }
}

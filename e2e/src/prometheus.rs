//! Reading the Prometheus text format, as far as Shoalwatch and the Collector write it.

use std::collections::BTreeMap;

/// One line: a name, its labels, a value.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The metric's name with its suffix.
    pub name: String,
    /// The labels.
    pub labels: BTreeMap<String, String>,
    /// The value.
    pub value: f64,
}

impl Sample {
    /// A label's value, or nothing.
    #[must_use]
    pub fn label(&self, name: &str) -> &str {
        self.labels.get(name).map_or("", String::as_str)
    }
}

/// All samples of an exposition; comments and lines that are none are passed over.
#[must_use]
pub fn parse(text: &str) -> Vec<Sample> {
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(sample)
        .collect()
}

/// The sum of the samples with this name.
#[must_use]
pub fn sum(samples: &[Sample], name: &str) -> f64 {
    samples
        .iter()
        .filter(|sample| sample.name == name)
        .map(|sample| sample.value)
        .sum()
}

fn sample(line: &str) -> Option<Sample> {
    let (series, rest) = match line.find('{') {
        Some(open) => {
            let close = line.rfind('}')?;
            (&line[..open], (&line[open + 1..close], &line[close + 1..]))
        }
        None => line.split_once(' ').map(|(name, value)| (name, ("", value)))?,
    };
    let value = rest.1.split_whitespace().next()?.parse().ok()?;
    Some(Sample {
        name: series.to_owned(),
        labels: labels(rest.0),
        value,
    })
}

fn labels(mut text: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    while let Some((name, rest)) = text.split_once("=\"") {
        let (value, end) = quoted(rest);
        found.insert(name.trim_start_matches(',').to_owned(), value);
        text = &rest[end..];
    }
    found
}

/// The text up to the closing quote, unescaped, and where the rest begins.
fn quoted(text: &str) -> (String, usize) {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return (value, at + 1),
            '\\' => value.extend(
                characters
                    .next()
                    .map(|(_, escaped)| if escaped == 'n' { '\n' } else { escaped }),
            ),
            other => value.push(other),
        }
    }
    (value, text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_and_values_are_read() {
        let text = "# TYPE x counter\nx_total{a=\"1\",b=\"say \\\"hi\\\", {ok}\"} 3.5\nup 1\n";
        let samples = parse(text);
        assert_eq!(samples.len(), 2);
        assert_eq!(samples[0].label("b"), "say \"hi\", {ok}");
        assert!((sum(&samples, "x_total") - 3.5).abs() < f64::EPSILON);
        assert!((sum(&samples, "up") - 1.0).abs() < f64::EPSILON);
    }
}

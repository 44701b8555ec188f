//! Prometheus' text format, version 0.0.4.

use std::fmt::{self, Write as _};

/// A page under construction.
#[derive(Debug, Default)]
pub(super) struct Page {
    text: String,
    headed: &'static str,
}

/// A sample's value.
pub(super) trait Value: fmt::Display + Copy {}

impl Value for u64 {}
impl Value for i32 {}
impl Value for f64 {}

impl Page {
    /// Begins a metric; its samples follow. Repeating the same head does nothing.
    pub(super) fn head(&mut self, name: &'static str, kind: &str, help: &str) {
        if self.headed != name {
            self.headed = name;
            self.write(format_args!("# HELP {name} {help}.\n# TYPE {name} {kind}\n"));
        }
    }

    pub(super) fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Value) {
        self.text.push_str(name);
        for (index, (label, content)) in labels.iter().enumerate() {
            self.text.push(if index == 0 { '{' } else { ',' });
            self.text.push_str(label);
            self.text.push_str("=\"");
            content.chars().for_each(|character| self.push_escaped(character));
            self.text.push('"');
        }
        let end = if labels.is_empty() { "" } else { "}" };
        self.write(format_args!("{end} {value}\n"));
    }

    fn push_escaped(&mut self, character: char) {
        match character {
            '\\' => self.text.push_str("\\\\"),
            '"' => self.text.push_str("\\\""),
            '\n' => self.text.push_str("\\n"),
            other => self.text.push(other),
        }
    }

    fn write(&mut self, arguments: fmt::Arguments<'_>) {
        // Writing to a String cannot fail.
        let _infallible = self.text.write_fmt(arguments);
    }

    pub(super) fn finish(self) -> String {
        self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_end_a_label_is_escaped() {
        let mut page = Page::default();
        page.sample("m", &[("a", "x\"} 9\n\\"), ("b", "")], 7_u64);
        page.sample("n", &[], 0.5);
        assert_eq!(page.finish(), "m{a=\"x\\\"} 9\\n\\\\\",b=\"\"} 7\nn 0.5\n");
    }

    #[test]
    fn a_metric_has_one_head() {
        let mut page = Page::default();
        for value in [1_u64, 2] {
            page.head("m", "counter", "Help");
            page.sample("m", &[], value);
        }
        assert_eq!(page.finish(), "# HELP m Help.\n# TYPE m counter\nm 1\nm 2\n");
    }
}

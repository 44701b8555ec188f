//! Texts within texts: what a user wrote must stay what it is, whatever language it stands in.

use std::fmt::Write;

/// A string literal of `PromQL`, in double quotes.
pub(super) fn literal(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => {
                quoted.push('\\');
                quoted.push(character);
            }
            _ if character.is_control() => {
                // Writing to a String cannot fail.
                let _written = write!(quoted, "\\u{:04x}", u32::from(character));
            }
            _ => quoted.push(character),
        }
    }
    quoted.push('"');
    quoted
}

/// A regular expression (RE2) that matches exactly this text, within an alternation. `PromQL` anchors the whole.
pub(super) fn exactly(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len());
    for character in text.chars() {
        if r"\.+*?()|[]{}^$".contains(character) {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    pattern
}

/// A text in an annotation or a label, where Prometheus would take `{{` for the begin of a template.
pub(super) fn plain(text: &str) -> String {
    text.replace("{{", "{{ `{{` }}")
}

/// A number as it is meant, without the last digits that arithmetic in binary leaves: `0.0144`.
pub(super) fn number(value: f64) -> String {
    let rounded = format!("{value:.11e}").parse::<f64>().unwrap_or(value);
    rounded.to_string()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_are_written_as_they_are_meant() {
        assert_eq!(number(14.4 * 0.001), "0.0144");
        assert_eq!(number(1.0 - 0.999), "0.001");
        assert_eq!(number(13.44), "13.44");
        assert_eq!(number(1e-7), "0.0000001");
    }

    #[test]
    fn nothing_ends_a_literal_early() {
        assert_eq!(literal("/a\"} or vector(1) #"), r#""/a\"} or vector(1) #""#);
        assert_eq!(literal("/\\"), r#""/\\""#);
        assert_eq!(literal("/a\nb\u{7f}"), r#""/a\u000ab\u007f""#);
        assert_eq!(exactly("/v1.0/{id}|x"), r"/v1\.0/\{id\}\|x");
        assert_eq!(plain("a {{ .Value }}"), "a {{ `{{` }} .Value }}");
    }

    /// Reads a literal as `PromQL` does.
    fn read(literal: &str) -> Option<String> {
        let inner = literal.strip_prefix('"')?.strip_suffix('"')?;
        let mut text = String::new();
        let mut rest = inner.chars();
        while let Some(character) = rest.next() {
            match character {
                '"' | '\n' => return None,
                '\\' => match rest.next()? {
                    'u' => {
                        let digits: String = rest.by_ref().take(4).collect();
                        text.push(char::from_u32(u32::from_str_radix(&digits, 16).ok()?)?);
                    }
                    escaped @ ('"' | '\\') => text.push(escaped),
                    _ => return None,
                },
                _ => text.push(character),
            }
        }
        Some(text)
    }

    proptest! {
        #[test]
        fn a_literal_reads_back_as_what_it_says(text in any::<String>()) {
            prop_assert_eq!(read(&literal(&text)), Some(text));
        }
    }
}

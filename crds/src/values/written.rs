use std::borrow::Cow;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Longest text that the API server takes, in bytes. Longer than any notation needs: a text that is a little too long gets
/// the hint, and the cost of the rule stays bounded.
const MAX_LENGTH: u32 = 40;

/// A value that is written as a short string.
pub trait Notation: FromStr<Err = ValueError> + fmt::Display {
    /// CEL rule over `self`, the text; true exactly for what [`FromStr`] accepts.
    const RULE: &'static str;
    /// What to write, for people: the message of the CEL rule and of [`ValueError`].
    const HINT: &'static str;
}

/// A text that does not fit its notation.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} does not fit: {hint}")]
pub struct ValueError {
    given: String,
    hint: &'static str,
}

impl ValueError {
    /// Longest part of a bad text that the error repeats, in characters.
    const SHOWN: usize = 64;

    /// The error for `given`, which is not in the notation of `T`.
    pub(crate) fn of<T: Notation>(given: &str) -> Self {
        Self {
            given: given.chars().take(Self::SHOWN).collect(),
            hint: T::HINT,
        }
    }

    /// A bounded name for metrics and condition reasons.
    #[must_use]
    pub fn category(&self) -> &'static str {
        "invalid_value"
    }
}

/// What a user wrote where a `T` belongs. Compared as text: `1h` and `60m` differ until they are parsed.
pub struct Written<T> {
    text: String,
    value: PhantomData<fn() -> T>,
}

impl<T> Written<T> {
    /// Takes a text as it is, well-formed or not.
    pub fn new(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            value: PhantomData,
        }
    }

    /// The text as written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl<T: Notation> Written<T> {
    /// The value, or what to write instead.
    pub fn parse(&self) -> Result<T, ValueError> {
        self.text.parse()
    }
}

impl<T: Notation> From<T> for Written<T> {
    fn from(value: T) -> Self {
        Self::new(value.to_string())
    }
}

impl<T> Clone for Written<T> {
    fn clone(&self) -> Self {
        Self::new(self.text.clone())
    }
}

impl<T> PartialEq for Written<T> {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl<T> Eq for Written<T> {}

impl<T> Hash for Written<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

impl<T> fmt::Debug for Written<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, f)
    }
}

impl<T> fmt::Display for Written<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl<T> Serialize for Written<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de, T> Deserialize<'de> for Written<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::new)
    }
}

impl<T: Notation> JsonSchema for Written<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Written".into()
    }

    // No `pattern`: the API server skips CEL when a pattern fails, and answers with a bare regular expression.
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "maxLength": MAX_LENGTH,
            "x-kubernetes-validations": [{"rule": T::RULE, "message": T::HINT}],
        })
    }
}

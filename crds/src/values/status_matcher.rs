use std::fmt;
use std::str::FromStr;

use super::{Notation, ValueError};

/// Which ends of requests are meant: one HTTP status code, a class of a hundred, or no answer at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StatusMatcher {
    /// One code from 100 to 599: `"503"`.
    Code(u16),
    /// All codes with this first digit, 1 to 5: `"5xx"`.
    Class(u8),
    /// The connection was closed, or the process ended, after a whole request and without an answer: `Aborted`. No code and no class
    /// means it.
    Aborted,
}

impl StatusMatcher {
    /// Whether an answer with `status` is meant.
    #[must_use]
    pub fn matches(self, status: u16) -> bool {
        match self {
            Self::Code(code) => code == status,
            Self::Class(class) => status / 100 == u16::from(class),
            Self::Aborted => false,
        }
    }
}

impl Notation for StatusMatcher {
    const RULE: &'static str = "self.matches('^([1-5]([0-9][0-9]|xx)|Aborted)$')";
    const HINT: &'static str = "write a status code such as \"503\" or a class such as \"5xx\", in quotes, or Aborted";
}

impl FromStr for StatusMatcher {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        match text.as_bytes() {
            b"Aborted" => Ok(Self::Aborted),
            [class @ b'1'..=b'5', b'x', b'x'] => Ok(Self::Class(class - b'0')),
            [hundreds @ b'1'..=b'5', tens @ b'0'..=b'9', ones @ b'0'..=b'9'] => {
                let digit = |byte: &u8| u16::from(byte - b'0');
                Ok(Self::Code(digit(hundreds) * 100 + digit(tens) * 10 + digit(ones)))
            }
            _ => Err(ValueError::of::<Self>(text)),
        }
    }
}

impl fmt::Display for StatusMatcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "{code}"),
            Self::Class(class) => write!(f, "{class}xx"),
            Self::Aborted => f.write_str("Aborted"),
        }
    }
}

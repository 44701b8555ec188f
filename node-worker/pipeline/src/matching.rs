//! Sets that a request is compared with, compiled so that one comparison is a few instructions.

use crate::request::{Method, Status};

const FIRST: u16 = 100;
const LAST: u16 = 599;
const WORDS: usize = 8;
/// The bit behind the last code's.
const ABORTED: usize = (LAST - FIRST) as usize + 1;

/// A set of status codes from 100 to 599, and of aborted requests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StatusSet {
    words: [u64; WORDS],
}

/// A code or a class that is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadStatus {
    /// Not from 100 to 599.
    #[error("status code {0} is not from 100 to 599")]
    Code(u32),
    /// Not from 1 to 5.
    #[error("status class {0} is not from 1 to 5, as in 5 for 5xx")]
    Class(u32),
}

impl StatusSet {
    /// Nothing.
    pub const EMPTY: Self = Self { words: [0; WORDS] };

    /// Adds one code.
    pub fn add_code(&mut self, code: u32) -> Result<(), BadStatus> {
        let valid = u16::try_from(code).ok().filter(|code| (FIRST..=LAST).contains(code));
        self.insert(valid.ok_or(BadStatus::Code(code))?);
        Ok(())
    }

    /// Adds all codes of a class: 5 for 500 to 599.
    pub fn add_class(&mut self, class: u32) -> Result<(), BadStatus> {
        let valid = u16::try_from(class).ok().filter(|class| matches!(class, 1..=5));
        let first = valid.ok_or(BadStatus::Class(class))? * 100;
        (first..first + 100).for_each(|code| self.insert(code));
        Ok(())
    }

    /// Adds requests without an answer. No code and no class has them.
    pub const fn add_aborted(&mut self) {
        self.set(ABORTED);
    }

    fn insert(&mut self, code: u16) {
        self.set(usize::from(code - FIRST));
    }

    const fn set(&mut self, bit: usize) {
        self.words[bit / 64] |= 1 << (bit % 64);
    }

    /// Whether the set has the status. Codes from 600, which HTTP does not define, are in no set.
    #[must_use]
    pub fn contains(&self, status: Status) -> bool {
        let bit = match status.code() {
            None => ABORTED,
            Some(code @ FIRST..=LAST) => usize::from(code - FIRST),
            Some(_) => return false,
        };
        self.words[bit / 64] >> (bit % 64) & 1 == 1
    }
}

/// A set of methods.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MethodSet(u16);

impl MethodSet {
    /// Adds one method.
    pub const fn add(&mut self, method: Method) {
        self.0 |= 1 << method as u16;
    }

    /// Whether the set has the method.
    #[must_use]
    pub const fn contains(self, method: Method) -> bool {
        self.0 >> (method as u16) & 1 == 1
    }
}

impl FromIterator<Method> for MethodSet {
    fn from_iter<I: IntoIterator<Item = Method>>(methods: I) -> Self {
        methods.into_iter().fold(Self::default(), |mut set, method| {
            set.add(method);
            set
        })
    }
}

/// How a rule names a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RoutePattern {
    /// The whole template.
    Exact(Box<str>),
    /// The template begins with these characters.
    Prefix(Box<str>),
}

impl RoutePattern {
    /// Whether a template is meant.
    #[must_use]
    pub fn matches(&self, template: &str) -> bool {
        match self {
            Self::Exact(whole) => **whole == *template,
            Self::Prefix(beginning) => template.starts_with(&**beginning),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::tests::status;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_status_set_has_what_was_added_and_nothing_else(
            codes in prop::collection::vec(100u32..=599, 0..6),
            classes in prop::collection::vec(1u32..=5, 0..3),
            aborted: bool,
        ) {
            let mut set = StatusSet::EMPTY;
            if aborted {
                set.add_aborted();
            }
            for code in &codes {
                set.add_code(*code)?;
            }
            for class in &classes {
                set.add_class(*class)?;
            }
            for code in 100u16..=999 {
                let expected = codes.contains(&code.into()) || (code < 600 && classes.contains(&(u32::from(code) / 100)));
                prop_assert_eq!(set.contains(status(code)), expected, "{}", code);
            }
            prop_assert_eq!(set.contains(Status::ABORTED), aborted);
        }

        #[test]
        fn a_method_set_has_what_was_added_and_nothing_else(chosen in prop::sample::subsequence(&Method::ALL[..], 0..=11)) {
            let set: MethodSet = chosen.iter().copied().collect();
            for method in Method::ALL {
                prop_assert_eq!(set.contains(method), chosen.contains(&method));
            }
        }
    }

    #[test]
    fn a_code_or_class_out_of_range_is_refused() {
        let mut set = StatusSet::EMPTY;
        for code in [0, 99, 600, u32::MAX] {
            assert_eq!(set.add_code(code), Err(BadStatus::Code(code)));
        }
        for class in [0, 6, u32::MAX] {
            assert_eq!(set.add_class(class), Err(BadStatus::Class(class)));
        }
        assert_eq!(set, StatusSet::EMPTY);
    }

    #[test]
    fn a_prefix_compares_characters_and_an_exact_route_the_whole() {
        let prefix = RoutePattern::Prefix("/health".into());
        assert!(prefix.matches("/health") && prefix.matches("/healthz/ready") && !prefix.matches("/heal"));
        let exact = RoutePattern::Exact("/health".into());
        assert!(exact.matches("/health") && !exact.matches("/healthz"));
    }
}

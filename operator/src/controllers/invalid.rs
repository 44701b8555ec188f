//! Why a spec makes no sense: what the schema could not refuse.

use shoalwatch_crds::values::{Notation, Written};

/// The field and what to write instead.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub(crate) enum Invalid {
    /// A value does not fit its notation.
    #[error("{path}: {problem}")]
    Value {
        /// The field.
        path: String,
        /// What to write.
        problem: String,
    },
    /// A name is used twice.
    #[error("{path}: the name {name:?} is used twice: give each its own")]
    Duplicate {
        /// The list.
        path: &'static str,
        /// The name.
        name: String,
    },
    /// A list is too long.
    #[error("{path}: {length} entries are too many: write at most {most}")]
    TooMany {
        /// The list.
        path: &'static str,
        /// Its length.
        length: usize,
        /// What is allowed.
        most: usize,
    },
    /// A union has no member, or two.
    #[error("{path}: {wanted}")]
    Union {
        /// The union.
        path: String,
        /// What to write.
        wanted: &'static str,
    },
    /// The judge refuses it.
    #[error(transparent)]
    Slo(#[from] shoalwatch_core::spec::SpecError),
    /// The object does not have the form of its kind.
    #[error("the object cannot be read: {problem}; apply it again as `kubectl explain` says")]
    Unreadable {
        /// What the parser said.
        problem: String,
    },
}

impl Invalid {
    /// The reason of `Accepted=False`; a bounded word.
    #[must_use]
    pub(crate) fn category(&self) -> &'static str {
        match self {
            Self::Value { .. } => "InvalidValue",
            Self::Duplicate { .. } => "DuplicateName",
            Self::TooMany { .. } => "TooManyEntries",
            Self::Union { .. } => "InvalidUnion",
            Self::Slo(error) => error.category(),
            Self::Unreadable { .. } => "Unreadable",
        }
    }
}

/// Reads a value as written, or says where it stands and what to write.
pub(super) fn read<T: Notation>(path: impl Into<String>, written: &Written<T>) -> Result<T, Invalid> {
    written.parse().map_err(|error| Invalid::Value {
        path: path.into(),
        problem: error.to_string(),
    })
}

/// Refuses names that are used twice.
pub(super) fn unique<'a>(path: &'static str, names: impl IntoIterator<Item = &'a str>) -> Result<(), Invalid> {
    let mut seen = std::collections::BTreeSet::new();
    match names.into_iter().find(|name| !seen.insert(*name)) {
        None => Ok(()),
        Some(name) => Err(Invalid::Duplicate {
            path,
            name: name.to_owned(),
        }),
    }
}

/// Refuses a list that is too long.
pub(super) fn at_most(path: &'static str, length: usize, most: usize) -> Result<(), Invalid> {
    if length <= most {
        return Ok(());
    }
    Err(Invalid::TooMany { path, length, most })
}

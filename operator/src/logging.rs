//! Logs on stderr: structured, one event a line.

use std::io::stderr;

use tracing_subscriber::{EnvFilter, fmt, prelude::*};

/// How a line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// One JSON object a line, for machines.
    Json,
    /// For eyes.
    Text,
}

/// Why nothing can be logged.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The filter does not parse.
    #[error("log filter {filter:?}: write a level such as info, or directives such as info,kube=debug")]
    Filter {
        /// As given.
        filter: String,
        /// What the parser says.
        #[source]
        source: tracing_subscriber::filter::ParseError,
    },
    /// Somebody else logs already.
    #[error("logging was set up twice")]
    Twice(#[source] tracing_subscriber::util::TryInitError),
}

/// Sends the process' events to stderr.
pub fn init(format: Format, filter: &str) -> Result<(), Error> {
    let parsed = EnvFilter::try_new(filter).map_err(|source| Error::Filter {
        filter: filter.to_owned(),
        source,
    })?;
    let registry = tracing_subscriber::registry().with(parsed);
    match format {
        Format::Json => registry
            .with(fmt::layer().json().flatten_event(true).with_writer(stderr))
            .try_init(),
        Format::Text => registry.with(fmt::layer().with_writer(stderr)).try_init(),
    }
    .map_err(Error::Twice)
}

/// An error and all its causes in one line, the way a person reads them. JSON logs would show the first only. A cause
/// that only repeats the one before, as those of other crates do, is left out.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !line.ends_with(&text) {
            line.push_str(": ");
            line.push_str(&text);
        }
        cause = error.source();
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_names_every_cause_once() {
        let error = init(Format::Json, "shoalwatch=loud").unwrap_err();
        let line = chain(&error);
        assert!(
            line.starts_with("log filter \"shoalwatch=loud\": write a level"),
            "{line}"
        );
        assert_eq!(line.matches("error parsing level filter").count(), 1, "{line}");
    }
}

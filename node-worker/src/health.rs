//! Whether the worker does what it is there for.

/// What `/ready` is answered from, apart from the configuration.
#[derive(Debug, Clone, Default)]
pub(crate) struct Health {
    /// What this node cannot do, each a sentence that says what would mend it.
    pub(crate) degraded: Vec<String>,
    /// No probes at all: nothing is seen.
    pub(crate) blind: bool,
}

impl Health {
    /// A bounded label for metrics.
    pub(crate) const fn probes(&self) -> &'static str {
        match (self.blind, self.degraded.is_empty()) {
            (true, _) => "none",
            (false, false) => "degraded",
            (false, true) => "loaded",
        }
    }
}

/// The whole chain of causes in one sentence.
pub(crate) fn sentence(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

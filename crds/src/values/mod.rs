//! Values that users write as strings: ratios, percentages, burn rates, durations and status codes.
//!
//! A field of an API type holds a [`Written`] value: the text as the user wrote it. It never fails to deserialise, so
//! one bad object cannot stall a watch; [`Written::parse`] turns it into the exact value, or into an error that says
//! what to write. The same notation becomes a CEL rule with the same message in the generated schema.

mod decimal;
mod status_matcher;
mod time_span;
mod written;

pub use decimal::{BurnRate, Objective, Percent, Ratio};
pub use status_matcher::StatusMatcher;
pub use time_span::TimeSpan;
pub use written::{Notation, ValueError, Written};

/// A [`Ratio`] as written: `"0.01"`.
pub type RatioString = Written<Ratio>;
/// A [`Percent`] as written: `"2"`.
pub type PercentString = Written<Percent>;
/// An [`Objective`] as written: `"99.9"`.
pub type ObjectiveString = Written<Objective>;
/// A [`BurnRate`] as written: `"14.4"`.
pub type BurnRateString = Written<BurnRate>;
/// A [`TimeSpan`] as written: `1h30m`.
pub type DurationString = Written<TimeSpan>;
/// A [`StatusMatcher`] as written: `"503"`, `"5xx"` or `Aborted`.
pub type StatusString = Written<StatusMatcher>;

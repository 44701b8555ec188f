//! What a Prometheus answers to an instant query, as one count.
//!
//! Source of the format: Prometheus, "HTTP API", sections "Format overview", "Instant queries" and "Expression query result
//! formats".

use serde::Deserialize;
use serde::de::IgnoredAny;

/// Beyond it a float no longer holds every whole number, and a count would stand still.
const MOST: f64 = 9_007_199_254_740_992.0;
/// Characters of what a Prometheus says that are repeated to a person.
const SAID: usize = 200;

/// Why an answer is no count.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum AnswerError {
    /// Prometheus understood the request and says no: a query that cannot be parsed, took too long, or loads too much.
    #[error("Prometheus refuses the query ({kind}: {message}): correct it")]
    Refused {
        /// Its `errorType`.
        kind: String,
        /// Its `error`.
        message: String,
    },
    /// An answer with a bad status that no Prometheus gives.
    #[error("HTTP status {0}: correct spec.indicator.prometheus.url")]
    Status(u16),
    /// The body is not what the HTTP API answers.
    #[error("no answer of Prometheus' HTTP API: correct spec.indicator.prometheus.url")]
    Format,
    /// No series.
    #[error("no series: correct the selector, or append `or vector(0)` to a query whose series may not be there yet")]
    NoSeries,
    /// More than one.
    #[error("{0} series: sum() them into one")]
    ManySeries(usize),
    /// A string, a range, a histogram.
    #[error("a {0}: write a query for one number")]
    Type(String),
    /// NaN, infinite, negative, or beyond 2^53.
    #[error("{0} is no count: write a query for a counter, which is 0 or more, and below 2^53")]
    NotACount(String),
}

impl AnswerError {
    /// A bounded word, for the reason of a condition and for metrics.
    #[must_use]
    pub fn category(&self) -> &'static str {
        match self {
            Self::Refused { .. } => "QueryRefused",
            Self::Status(_) | Self::Format => "NoPrometheus",
            Self::NoSeries => "NoSeries",
            Self::ManySeries(_) => "ManySeries",
            Self::Type(_) | Self::NotACount(_) => "NotACount",
        }
    }
}

/// Reads the answer to an instant query: the one number in it, without its fraction.
pub fn read(status: u16, body: &[u8]) -> Result<u64, AnswerError> {
    let answer: Answer = serde_json::from_slice(body).map_err(|_no_answer| {
        if (200..300).contains(&status) {
            AnswerError::Format
        } else {
            AnswerError::Status(status)
        }
    })?;
    let data = match answer {
        Answer::Success { data } => data,
        Answer::Error { kind, message } => {
            return Err(AnswerError::Refused {
                kind: said(&kind),
                message: said(&message),
            });
        }
    };
    match data {
        Data::Vector(mut series) => match (series.pop(), series.len()) {
            (None, _) => Err(AnswerError::NoSeries),
            (Some(only), 0) => only.value.map_or_else(
                || Err(AnswerError::Type("histogram".to_owned())),
                |point| count(&point.1),
            ),
            (Some(_), others) => Err(AnswerError::ManySeries(others + 1)),
        },
        Data::Scalar(point) => count(&point.1),
        Data::String(_) => Err(AnswerError::Type("string".to_owned())),
        Data::Matrix(_) => Err(AnswerError::Type("range".to_owned())),
    }
}

#[derive(Deserialize)]
#[serde(tag = "status", rename_all = "lowercase")]
enum Answer {
    Success {
        data: Data,
    },
    Error {
        #[serde(rename = "errorType", default)]
        kind: String,
        #[serde(rename = "error", default)]
        message: String,
    },
}

#[derive(Deserialize)]
#[serde(tag = "resultType", content = "result", rename_all = "lowercase")]
enum Data {
    Vector(Vec<Series>),
    Scalar(Point),
    String(IgnoredAny),
    Matrix(IgnoredAny),
}

/// A series of a vector; a native histogram has no value.
#[derive(Deserialize)]
struct Series {
    value: Option<Point>,
}

/// When, in seconds, and what.
#[derive(Deserialize)]
struct Point(IgnoredAny, String);

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "from 0 to 2^53, and a part of a request is none"
)]
fn count(text: &str) -> Result<u64, AnswerError> {
    match text.parse::<f64>() {
        Ok(value) if (0.0..MOST).contains(&value) => Ok(value as u64),
        _ => Err(AnswerError::NotACount(said(text))),
    }
}

/// What a server says is not repeated at any length, and on one line.
fn said(text: &str) -> String {
    text.chars()
        .take(SAID)
        .map(|each| if each.is_control() { ' ' } else { each })
        .collect()
}

use super::{MAX_OUTSTANDING, MAX_SECTION};
use crate::http1::NotHttp;

/// A connection whose requests and answers can no longer be paired with certainty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the connection is no longer followed: {unanswered} of its requests stay unpaired, and all that come")]
pub struct GaveUp {
    /// Why.
    #[source]
    pub reason: Reason,
    /// Requests with a whole head that were waiting for their answers.
    pub unanswered: usize,
}

impl GaveUp {
    /// A bounded label for metrics.
    #[must_use]
    pub const fn category(&self) -> &'static str {
        self.reason.category()
    }
}

/// What made the end of a message, or the owner of an answer, uncertain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// Where a request line should be there is none.
    #[error("no HTTP/1.x request line where a request should begin")]
    RequestLine(#[source] NotHttp),
    /// Where a status line should be there is none.
    #[error("no HTTP/1.x status line where an answer should begin")]
    StatusLine,
    /// An answer came and no request was waiting.
    #[error("an answer without a request: a transfer was missed, or the server speaks unasked")]
    Unrequested,
    /// An answer came before its request showed a method, which says whether the answer has a body.
    #[error("an answer before its request's method")]
    BeforeMethod,
    /// More than [`MAX_OUTSTANDING`] requests were sent ahead.
    #[error("more than {MAX_OUTSTANDING} requests wait for their answers")]
    TooManyOutstanding,
    /// A head, a chunk's line or the trailers have more than [`MAX_SECTION`] bytes.
    #[error("a head, chunk line or trailer section is longer than {MAX_SECTION} bytes")]
    TooLong,
    /// A `Content-Length` that is no number below 2^64, or two that differ.
    #[error("Content-Length is no number, or is given twice and differs")]
    ContentLength,
    /// A `Transfer-Encoding` that leaves the end of the message open.
    #[error("Transfer-Encoding does not end in a single chunked")]
    TransferEncoding,
    /// Lengths that servers are known to read differently: both headers, chunks in HTTP/1.0, a folded or spaced header, or a
    /// body of CONNECT (RFC 9112 section 6.3, "request smuggling").
    #[error("the length of the body is ambiguous: servers read such a head differently")]
    Ambiguous,
    /// A chunk does not begin with its size, or does not end where it should.
    #[error("a chunk has no size or no end")]
    Chunk,
    /// Bytes that were not kept may hide the end of a message.
    #[error("the end of a message may lie in bytes that were not kept: keep more of each transfer")]
    Gap,
    /// The end of an answer was not seen, and the next transfer did not begin the next answer.
    #[error("after an answer whose end was not seen the next one did not begin with a transfer")]
    LostAnswer,
    /// Bytes came behind a request that was to end HTTP on its connection, and they were taken for HTTP, or could not be.
    #[error("bytes behind a CONNECT or Upgrade before it was decided whether they are HTTP")]
    Tunnel,
}

impl Reason {
    /// All reasons, one of each category.
    pub const ALL: [Self; 13] = [
        Self::RequestLine(NotHttp::Method),
        Self::StatusLine,
        Self::Unrequested,
        Self::BeforeMethod,
        Self::TooManyOutstanding,
        Self::TooLong,
        Self::ContentLength,
        Self::TransferEncoding,
        Self::Ambiguous,
        Self::Chunk,
        Self::Gap,
        Self::LostAnswer,
        Self::Tunnel,
    ];

    /// A bounded label for metrics.
    #[must_use]
    pub const fn category(self) -> &'static str {
        match self {
            Self::RequestLine(_) => "request_line",
            Self::StatusLine => "status_line",
            Self::Unrequested => "unrequested",
            Self::BeforeMethod => "before_method",
            Self::TooManyOutstanding => "too_many_outstanding",
            Self::TooLong => "too_long",
            Self::ContentLength => "content_length",
            Self::TransferEncoding => "transfer_encoding",
            Self::Ambiguous => "ambiguous",
            Self::Chunk => "chunk",
            Self::Gap => "gap",
            Self::LostAnswer => "lost_answer",
            Self::Tunnel => "tunnel",
        }
    }
}

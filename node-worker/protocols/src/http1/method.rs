use super::NotHttp;

/// Longer than any registered method (17 bytes); a longer token is no method.
const MAX_METHOD: usize = 32;

/// The request methods that OpenTelemetry's HTTP conventions call known: those of RFC 9110, PATCH (RFC 5789) and QUERY. All
/// others are one value, so that a client cannot invent series.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
#[expect(missing_docs, reason = "the names are HTTP's own")]
pub enum Method {
    Connect,
    Delete,
    Get,
    Head,
    Options,
    Patch,
    Post,
    Put,
    Query,
    Trace,
    /// Any other token, `_OTHER` in telemetry.
    Other,
}

impl Method {
    /// All values, `Other` last.
    pub const ALL: [Self; 11] = [
        Self::Connect,
        Self::Delete,
        Self::Get,
        Self::Head,
        Self::Options,
        Self::Patch,
        Self::Post,
        Self::Put,
        Self::Query,
        Self::Trace,
        Self::Other,
    ];

    /// The value of `http.request.method`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "CONNECT",
            Self::Delete => "DELETE",
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Options => "OPTIONS",
            Self::Patch => "PATCH",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Query => "QUERY",
            Self::Trace => "TRACE",
            Self::Other => "_OTHER",
        }
    }

    /// Methods are case-sensitive (RFC 9110 section 9.1): `get` is `Other`.
    #[must_use]
    pub fn from_name(name: &str) -> Self {
        match name {
            "CONNECT" => Self::Connect,
            "DELETE" => Self::Delete,
            "GET" => Self::Get,
            "HEAD" => Self::Head,
            "OPTIONS" => Self::Options,
            "PATCH" => Self::Patch,
            "POST" => Self::Post,
            "PUT" => Self::Put,
            "QUERY" => Self::Query,
            "TRACE" => Self::Trace,
            _ => Self::Other,
        }
    }
}

/// Splits the method and its space from the front of a request line.
pub(super) fn split(line: &[u8]) -> Result<(&str, &[u8]), NotHttp> {
    let length = line
        .iter()
        .take(MAX_METHOD + 1)
        .take_while(|byte| is_token(**byte))
        .count();
    if length > MAX_METHOD {
        return Err(NotHttp::Method);
    }
    match (length, line.get(length)) {
        (_, None) => Err(NotHttp::Incomplete),
        (1.., Some(b' ')) => {
            let name = str::from_utf8(&line[..length]).map_err(|_not_a_token| NotHttp::Method)?;
            Ok((name, &line[length + 1..]))
        }
        _ => Err(NotHttp::Method),
    }
}

/// `tchar` of RFC 9110 section 5.6.2.
pub(super) const fn is_token(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z')
        || matches!(byte, b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+')
        || matches!(byte, b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~')
}

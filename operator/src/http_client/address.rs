//! Where a server is.

use std::fmt;
use std::net::Ipv6Addr;
use std::sync::Arc;

use http::Uri;
use http::uri::{PathAndQuery, Scheme};

use super::HttpError;

/// Longest address, as in the schema.
const LONGEST: usize = 2_048;

/// Where a server is. Shown as scheme, host and port only: path and query may be secret.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Address(Uri);

/// It is no address. What was written is not repeated: it may be secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "is no address: write one such as https://hooks.example/slo, http or https, a name or an IP address, no user, no fragment, \
     up to {LONGEST} characters"
)]
pub(crate) struct NoAddress;

impl Address {
    /// Reads one, as the schema takes it.
    pub(crate) fn read(text: &str) -> Result<Self, NoAddress> {
        if text.len() > LONGEST || text.contains('#') {
            return Err(NoAddress);
        }
        let read = Self(text.parse().map_err(|_what_it_was| NoAddress)?);
        if read.has_scheme() && read.has_host() && read.path_and_query().starts_with('/') {
            Ok(read)
        } else {
            Err(NoAddress)
        }
    }

    /// The one that `uri` was made of.
    pub(super) fn of(uri: Uri) -> Self {
        Self(uri)
    }

    fn has_scheme(&self) -> bool {
        self.is_tls() || self.0.scheme() == Some(&Scheme::HTTP)
    }

    fn has_host(&self) -> bool {
        let written = self.0.host().unwrap_or_default();
        let named = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
        let good = if self.host().len() == written.len() {
            !written.is_empty() && written.bytes().all(named)
        } else {
            self.host().parse::<Ipv6Addr>().is_ok()
        };
        // A port that is none would be taken for the default.
        let rest = self.authority().strip_prefix(written);
        good && (rest == Some("") || rest.is_some_and(|port| port.starts_with(':') && self.0.port_u16().is_some()))
    }

    /// Another place on the same server.
    pub(crate) fn at(&self, path_and_query: &str) -> Result<Self, HttpError> {
        let mut parts = self.0.clone().into_parts();
        let place = path_and_query.parse::<PathAndQuery>();
        parts.path_and_query = Some(place.map_err(|error| self.unwritable(error.into()))?);
        let uri = Uri::from_parts(parts).map_err(|error| self.unwritable(error.into()))?;
        Ok(Self(uri))
    }

    pub(super) fn unwritable(&self, error: http::Error) -> HttpError {
        HttpError::Unwritable {
            origin: self.to_string(),
            source: Arc::new(error),
        }
    }

    pub(super) fn uri(&self) -> &Uri {
        &self.0
    }

    pub(super) fn is_tls(&self) -> bool {
        self.0.scheme() == Some(&Scheme::HTTPS)
    }

    /// An IPv6 address without its brackets.
    pub(super) fn host(&self) -> &str {
        let host = self.0.host().unwrap_or_default();
        let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        inner.unwrap_or(host)
    }

    pub(super) fn port(&self) -> u16 {
        self.0.port_u16().unwrap_or(if self.is_tls() { 443 } else { 80 })
    }

    /// Host and port, as they are written.
    pub(crate) fn authority(&self) -> &str {
        self.0.authority().map_or("", |authority| authority.as_str())
    }

    /// What is asked for, of which nothing is shown.
    pub(crate) fn path_and_query(&self) -> &str {
        self.0.path_and_query().map_or("/", |path| path.as_str())
    }
}

impl fmt::Display for Address {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "{}://{}",
            self.0.scheme_str().unwrap_or_default(),
            self.authority()
        )
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_shows_neither_path_nor_query() {
        let address = Address::read("https://hooks.example:8443/services/T0/secret?key=secret").unwrap();
        assert_eq!(address.to_string(), "https://hooks.example:8443");
        assert_eq!(format!("{address:?}"), "https://hooks.example:8443");
        assert_eq!(address.path_and_query(), "/services/T0/secret?key=secret");
        assert_eq!((address.host(), address.port()), ("hooks.example", 8443));
    }

    #[test]
    fn ports_and_paths_have_defaults() {
        let address = |text| Address::read(text).unwrap();
        assert_eq!(address("https://a.example").port(), 443);
        assert_eq!(address("http://a.example/?x").port(), 80);
        assert_eq!(address("https://a.example").path_and_query(), "/");
    }

    #[test]
    fn an_ipv6_address_stands_in_brackets() {
        let address = Address::read("http://[fd00::7]:9090/prom").unwrap();
        assert_eq!((address.host(), address.port()), ("fd00::7", 9090));
        assert_eq!(address.to_string(), "http://[fd00::7]:9090");
    }

    #[test]
    fn another_place_is_on_the_same_server() {
        let address = Address::read("https://a.example:8443/prom").unwrap();
        let other = address.at("/prom/api?query=1").unwrap();
        assert_eq!(other.path_and_query(), "/prom/api?query=1");
        assert_eq!(other.to_string(), address.to_string());
        assert_eq!(address.at("/a b").unwrap_err().category(), "unwritable");
    }

    #[test]
    fn what_is_no_address_is_refused_and_not_repeated() {
        for text in [
            "",
            "secret",
            "/secret",
            "ftp://a.example/secret",
            "https://",
            "https:///secret",
            "https://a.example?secret",
            "https://user:secret@a.example/",
            "https://[::1/secret",
            "https://[secret]/",
            "https://[::1]secret/",
            "https://a.example:99999/secret",
            "https://a.example:/secret",
            "https://a.example/#secret",
            "https://a.example/\nsecret",
            &format!("https://a.example/{}", "s".repeat(LONGEST)),
        ] {
            let refused = Address::read(text).unwrap_err().to_string();
            assert!(!refused.contains("secret"), "{text}: {refused}");
        }
    }
}

//! Where a webhook is.

use std::fmt;
use std::net::IpAddr;

use http::Uri;
use http::uri::Scheme;

/// Longest address, as in the schema.
const LONGEST: usize = 2_048;

/// Where a webhook is. Shown as scheme, host and port only: path and query may be secret.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Address {
    uri: Uri,
    tls: bool,
}

/// It is no address. What was written is not repeated: it may be secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "is no address: write one such as https://hooks.example/slo, http or https, a name or IPv4 address, no user, no fragment, \
     up to {LONGEST} characters"
)]
pub(crate) struct NoAddress;

impl Address {
    /// Reads one, as the schema takes it.
    pub(crate) fn read(text: &str) -> Result<Self, NoAddress> {
        if text.len() > LONGEST || text.contains('#') {
            return Err(NoAddress);
        }
        let uri: Uri = text.parse().map_err(|_what_it_was| NoAddress)?;
        let tls = match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTPS => true,
            Some(scheme) if *scheme == Scheme::HTTP => false,
            _ => return Err(NoAddress),
        };
        let authority = uri.authority().ok_or(NoAddress)?.as_str();
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-:".contains(&byte);
        let named = uri.host().is_some_and(|host| !host.is_empty()) && authority.bytes().all(plain);
        let read = Self { uri, tls };
        if named && read.path_and_query().starts_with('/') {
            Ok(read)
        } else {
            Err(NoAddress)
        }
    }

    pub(super) fn is_tls(&self) -> bool {
        self.tls
    }

    pub(super) fn host(&self) -> &str {
        self.uri.host().unwrap_or_default()
    }

    pub(super) fn port(&self) -> u16 {
        self.uri.port_u16().unwrap_or(if self.tls { 443 } else { 80 })
    }

    /// As the header `Host` says it.
    pub(super) fn authority(&self) -> &str {
        self.uri.authority().map_or("", |authority| authority.as_str())
    }

    /// What is asked for, of which nothing is shown.
    pub(super) fn path_and_query(&self) -> &str {
        self.uri.path_and_query().map_or("/", |path| path.as_str())
    }
}

impl fmt::Display for Address {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        write!(out, "{scheme}://{}", self.authority())
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

/// Whether somebody else than the operator's own host and its cloud answers there.
pub(super) fn is_elsewhere(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            !(v4.is_loopback() || v4.is_link_local() || v4.is_unspecified() || v4.is_multicast() || v4.is_broadcast())
        }
        IpAddr::V6(v6) => !(v6.is_loopback() || v6.is_unicast_link_local() || v6.is_unspecified() || v6.is_multicast()),
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
            "https://[::1]/secret",
            "https://a.example/#secret",
            "https://a.example/\nsecret",
            &format!("https://a.example/{}", "s".repeat(LONGEST)),
        ] {
            let refused = Address::read(text).unwrap_err().to_string();
            assert!(!refused.contains("secret"), "{text}: {refused}");
        }
    }

    #[test]
    fn the_operators_own_host_and_the_clouds_metadata_are_not_elsewhere() {
        let is = |text: &str| is_elsewhere(text.parse().unwrap());
        for own in [
            "127.0.0.1",
            "127.8.8.8",
            "::1",
            "::ffff:127.0.0.1",
            "169.254.169.254",
            "fe80::1",
            "0.0.0.0",
            "::",
            "224.0.0.1",
            "255.255.255.255",
            "ff02::1",
        ] {
            assert!(!is(own), "{own}");
        }
        for other in ["10.96.0.10", "192.0.2.1", "2001:db8::1", "fd00::1"] {
            assert!(is(other), "{other}");
        }
    }
}

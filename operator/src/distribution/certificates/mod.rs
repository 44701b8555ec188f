//! The operator's own certification authority: it certifies the distribution server and nothing else.
//!
//! The authority is kept in a Secret ([`store`]); it is valid for [`VALID`], and another one follows it before it ends
//! ([`keyring`]). The server's certificate is made at each start and at each turn, lives in memory, and ends with the
//! authority, so that nothing expires in between.

pub(crate) mod keyring;
pub(crate) mod store;

use std::{net::IpAddr, time::Duration};

use jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PublicKeyData,
};
use time::OffsetDateTime;
use x509_parser::{certificate::X509Certificate, pem::parse_x509_pem};

/// How long a new authority is valid: ten years.
pub(crate) const VALID: Duration = Duration::from_hours(24 * 3_652);
/// A certificate begins so long before it is made, for nodes whose clocks are behind.
const BACKDATED: Duration = Duration::from_hours(1);

/// Why the authority cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Key or certificate could not be made.
    #[error("the CA cannot make a certificate")]
    Make(#[source] rcgen::Error),
    /// The Secret lacks a key.
    #[error("has no data under {0:?}")]
    Missing(&'static str),
    /// What is stored is no certificate.
    #[error("ca.crt is no PEM certificate ({0})")]
    Certificate(String),
    /// What is stored is no private key.
    #[error("ca.key is no PEM private key")]
    Key(#[source] rcgen::Error),
    /// Key and certificate do not belong together.
    #[error("ca.key does not belong to ca.crt")]
    Mismatch,
    /// The certificate may not sign others.
    #[error("ca.crt is not a CA's certificate")]
    NoAuthority,
    /// The Secret says no time that could be read.
    #[error("{name}: {text:?} is no time such as 2026-11-22T04:00:00Z")]
    Time {
        /// Where it stands.
        name: &'static str,
        /// As found.
        text: String,
    },
    /// The certificate's time is over.
    #[error("ca.crt expired at {0}")]
    Expired(Timestamp),
    /// The certificate's time has not begun.
    #[error("ca.crt is not valid before {0}: is this machine's clock right?")]
    Early(Timestamp),
}

impl Error {
    /// A bounded name for metrics and logs.
    #[must_use]
    pub(crate) const fn category(&self) -> &'static str {
        match self {
            Self::Make(_) => "Make",
            Self::Missing(_)
            | Self::Certificate(_)
            | Self::Key(_)
            | Self::Mismatch
            | Self::NoAuthority
            | Self::Time { .. } => "Corrupt",
            Self::Expired(_) | Self::Early(_) => "Expired",
        }
    }
}

/// The authority: certificate, key and when both end.
pub(crate) struct Authority {
    certificate: String,
    key: KeyPair,
    begins: Timestamp,
    expires: Timestamp,
}

impl std::fmt::Debug for Authority {
    /// Never the key.
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Authority")
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}

/// What the server shows and signs with, as PEM.
pub(crate) struct ServerCertificate {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

impl Authority {
    /// Makes a new authority, valid from an hour ago.
    pub(crate) fn generate(now: Timestamp) -> Result<Self, Error> {
        let (begins, expires) = (now - BACKDATED, now + VALID);
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(DnType::CommonName, "shoalwatch-operator CA");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.not_before = date(begins);
        params.not_after = date(expires);
        let key = KeyPair::generate().map_err(Error::Make)?;
        let certificate = params.self_signed(&key).map_err(Error::Make)?.pem();
        Ok(Self {
            certificate,
            key,
            begins,
            expires,
        })
    }

    /// Reads what was stored, and refuses what could not serve.
    pub(crate) fn read(certificate: &str, key: &str, now: Timestamp) -> Result<Self, Error> {
        let unreadable = |error: &dyn std::fmt::Display| Error::Certificate(error.to_string());
        let (_, pem) = parse_x509_pem(certificate.as_bytes()).map_err(|error| unreadable(&error))?;
        let parsed = pem.parse_x509().map_err(|error| unreadable(&error))?;
        let key = KeyPair::from_pem(key).map_err(Error::Key)?;
        let (begins, expires) = check(&parsed, &key, now)?;
        Ok(Self {
            certificate: certificate.to_owned(),
            key,
            begins,
            expires,
        })
    }

    /// What workers trust, as PEM.
    pub(crate) fn certificate(&self) -> &str {
        &self.certificate
    }

    /// An hour before it was made.
    const fn begins(&self) -> Timestamp {
        self.begins
    }

    pub(crate) const fn expires(&self) -> Timestamp {
        self.expires
    }

    fn key_pem(&self) -> String {
        self.key.serialize_pem()
    }

    /// Certifies a new key for a server that is reached under `names`.
    pub(crate) fn certify(&self, names: Vec<String>, now: Timestamp) -> Result<ServerCertificate, Error> {
        let mut params = CertificateParams::new(names).map_err(Error::Make)?;
        params
            .distinguished_name
            .push(DnType::CommonName, "shoalwatch-operator");
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.not_before = date(now - BACKDATED);
        params.not_after = date(self.expires);
        let key = KeyPair::generate().map_err(Error::Make)?;
        let issuer = Issuer::from_ca_cert_pem(&self.certificate, &self.key).map_err(Error::Make)?;
        let certificate = params.signed_by(&key, &issuer).map_err(Error::Make)?;
        Ok(ServerCertificate {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        })
    }
}

/// Whether the pair can certify now; returns when it begins and ends.
fn check(certificate: &X509Certificate<'_>, key: &KeyPair, now: Timestamp) -> Result<(Timestamp, Timestamp), Error> {
    if !certificate.is_ca() {
        return Err(Error::NoAuthority);
    }
    if certificate.public_key().raw != key.subject_public_key_info() {
        return Err(Error::Mismatch);
    }
    let time = |asn1: x509_parser::time::ASN1Time| Timestamp::from_second(asn1.timestamp()).unwrap_or(Timestamp::MAX);
    let (begins, ends) = (
        time(certificate.validity().not_before),
        time(certificate.validity().not_after),
    );
    if now >= ends {
        return Err(Error::Expired(ends));
    }
    if now < begins {
        return Err(Error::Early(begins));
    }
    Ok((begins, ends))
}

fn date(at: Timestamp) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(at.as_second()).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

/// The names under which workers reach this replica: the headless Service, each pod behind it, and the pod's address.
pub(crate) fn server_names(namespace: &str, pod_ip: Option<IpAddr>) -> Vec<String> {
    let service = "shoalwatch-operator";
    let mut names = vec![
        service.to_owned(),
        format!("{service}.{namespace}.svc"),
        format!("{service}.{namespace}.svc.cluster.local"),
        format!("*.{service}.{namespace}.svc"),
        format!("*.{service}.{namespace}.svc.cluster.local"),
    ];
    names.extend(pod_ip.map(|address| address.to_string()));
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(time: &str) -> Timestamp {
        time.parse().unwrap()
    }

    fn made() -> (Authority, String) {
        let authority = Authority::generate(at("2026-11-22T04:00:00Z")).unwrap();
        let key = authority.key_pem();
        (authority, key)
    }

    #[test]
    fn what_was_stored_is_read_back_with_its_end() {
        let (authority, key) = made();
        let read = Authority::read(authority.certificate(), &key, at("2030-01-01T00:00:00Z")).unwrap();
        assert_eq!(read.expires(), at("2036-11-21T04:00:00Z"));
        assert!(
            read.certify(server_names("shoalwatch", None), at("2030-01-01T00:00:00Z"))
                .is_ok()
        );
    }

    #[test]
    fn an_expired_authority_says_when_it_ended() {
        let (authority, key) = made();
        let error = Authority::read(authority.certificate(), &key, at("2036-11-21T04:00:00Z")).unwrap_err();
        assert_eq!(error.to_string(), "ca.crt expired at 2036-11-21T04:00:00Z");
    }

    #[test]
    fn an_authority_from_the_future_asks_for_the_clock() {
        let (authority, key) = made();
        let error = Authority::read(authority.certificate(), &key, at("2026-11-22T02:59:59Z")).unwrap_err();
        assert!(matches!(error, Error::Early(_)), "{error}");
    }

    #[test]
    fn a_key_of_another_authority_is_refused() {
        let ((authority, _), (_, foreign)) = (made(), made());
        let error = Authority::read(authority.certificate(), &foreign, at("2030-01-01T00:00:00Z")).unwrap_err();
        assert!(matches!(error, Error::Mismatch), "{error}");
    }

    #[test]
    fn a_servers_certificate_is_no_authority() {
        let (authority, _) = made();
        let server = authority
            .certify(server_names("x", None), at("2030-01-01T00:00:00Z"))
            .unwrap();
        let error = Authority::read(&server.certificate, &server.key, at("2030-01-01T00:00:00Z")).unwrap_err();
        assert!(matches!(error, Error::NoAuthority), "{error}");
    }

    #[test]
    fn garbage_is_refused_with_the_name_of_the_key() {
        let (authority, key) = made();
        let now = at("2030-01-01T00:00:00Z");
        let error = Authority::read("garbage", &key, now).unwrap_err();
        assert!(matches!(error, Error::Certificate(_)), "{error}");
        let error = Authority::read(authority.certificate(), "garbage", now).unwrap_err();
        assert!(matches!(error, Error::Key(_)), "{error}");
    }

    #[test]
    fn a_servers_certificate_names_the_service_its_pods_and_the_address() {
        let (authority, _) = made();
        let names = server_names("shoalwatch", Some([10, 0, 0, 7].into()));
        let server = authority.certify(names, at("2030-01-01T00:00:00Z")).unwrap();
        let (_, pem) = parse_x509_pem(server.certificate.as_bytes()).unwrap();
        let parsed = pem.parse_x509().unwrap();
        let shown = format!("{:?}", parsed.subject_alternative_name().unwrap().unwrap().value);
        for name in [
            "DNSName(\"shoalwatch-operator.shoalwatch.svc\")",
            "DNSName(\"*.shoalwatch-operator.shoalwatch.svc\")",
            "10.0.0.7",
        ] {
            assert!(
                shown.contains(name) || shown.contains("[10, 0, 0, 7]"),
                "{name} in {shown}"
            );
        }
    }
}

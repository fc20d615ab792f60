//! Who a client says it is: the names in its certificate, and the list of those that are let in.
//!
//! The rules are those of RFC 5425, section 5: a name is looked for in the subjectAltName extension,
//! in the common name only where there is no such extension; a `*` is one whole label, the leftmost.
//! Whether the certificate is genuine is decided elsewhere and before.

use std::fmt::{self, Write as _};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, SignatureScheme,
};
use sha2::{Digest as _, Sha256};
use x509_cert::Certificate;
use x509_cert::der::asn1::{Ia5StringRef, PrintableStringRef, TeletexStringRef, Utf8StringRef};
use x509_cert::der::oid::db::rfc4519::COMMON_NAME;
use x509_cert::der::{Any, Decode as _};
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

/// Names of a certificate that are kept; a certificate for more hosts than this is odd.
const MAX_NAMES: usize = 256;

/// Names that are shown in a message.
const SHOWN_NAMES: usize = 8;

/// One entry of the list of clients that may connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PermittedPeer {
    /// A host name in lower case without a dot at its end; the leftmost label may be `*`.
    Dns(String),
    /// An address in the certificate, not the one that the connection comes from.
    Ip(IpAddr),
    /// The SHA-256 hash of the whole certificate.
    Fingerprint([u8; 32]),
}

/// The names of one certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerNames {
    /// In lower case without a dot at the end.
    dns: Vec<Box<str>>,
    ips: Vec<IpAddr>,
    /// Only of a certificate without subjectAltName.
    common_name: Option<Box<str>>,
    fingerprint: [u8; 32],
}

impl PeerNames {
    /// Reads a certificate (DER). What cannot be read as a name is none, so that it permits nothing.
    pub fn of(certificate: &[u8]) -> Self {
        let mut names = Self {
            dns: Vec::new(),
            ips: Vec::new(),
            common_name: None,
            fingerprint: Sha256::digest(certificate).into(),
        };
        let Ok(certificate) = Certificate::from_der(certificate) else {
            return names;
        };
        match certificate.tbs_certificate.get::<SubjectAltName>() {
            Ok(Some((_, alternatives))) => {
                for name in alternatives.0.iter().take(MAX_NAMES) {
                    match name {
                        GeneralName::DnsName(name) => names.dns.push(canonical(name.as_str())),
                        GeneralName::IpAddress(bytes) => {
                            let bytes = bytes.as_bytes();
                            let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
                            let v6 = <[u8; 16]>::try_from(bytes).map(IpAddr::from);
                            names.ips.extend(v4.or(v6).map(|ip| ip.to_canonical()));
                        }
                        _ => {}
                    }
                }
            }
            Ok(None) => {
                let subject = &certificate.tbs_certificate.subject;
                // The last one is the most specific.
                names.common_name = subject
                    .0
                    .iter()
                    .flat_map(|relative| relative.0.iter())
                    .filter(|attribute| attribute.oid == COMMON_NAME)
                    .filter_map(|attribute| text(&attribute.value))
                    .next_back()
                    .map(|name| canonical(&name));
            }
            // There is one, and nobody can tell what it says.
            Err(_) => {}
        }
        names
    }

    /// Whether one of the names is on the list.
    pub fn is_permitted(&self, list: &[PermittedPeer]) -> bool {
        list.iter().any(|permitted| match permitted {
            PermittedPeer::Dns(pattern) => self
                .dns
                .iter()
                .chain(&self.common_name)
                .any(|name| same_host(pattern, name)),
            PermittedPeer::Ip(ip) => {
                let ip = ip.to_canonical();
                let by_common_name = self
                    .common_name
                    .as_deref()
                    .and_then(|name| name.parse().ok());
                self.ips.contains(&ip) || by_common_name == Some(ip)
            }
            PermittedPeer::Fingerprint(hash) => self.fingerprint == *hash,
        })
    }

    /// The SHA-256 hash of the certificate.
    pub fn fingerprint(&self) -> &[u8; 32] {
        &self.fingerprint
    }
}

/// For people: `web01.example.com, 192.0.2.1 (SHA256:AB:CD:…)`. What a stranger wrote into a
/// certificate cannot break a line of the log.
impl fmt::Display for PeerNames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.dns.len() + self.ips.len() + usize::from(self.common_name.is_some());
        let names = self.dns.iter().chain(&self.common_name);
        let names = names.map(|name| name.escape_debug().to_string());
        let all = names.chain(self.ips.iter().map(ToString::to_string));
        for (position, name) in all.take(SHOWN_NAMES).enumerate() {
            if position > 0 {
                f.write_str(", ")?;
            }
            f.write_str(&name)?;
        }
        match count {
            0 => f.write_str("no name")?,
            _ if count > SHOWN_NAMES => write!(f, " and {} more", count - SHOWN_NAMES)?,
            _ => {}
        }
        f.write_str(" (SHA256")?;
        for byte in self.fingerprint {
            write!(f, ":{byte:02X}")?;
        }
        f.write_char(')')
    }
}

/// When a certificate (DER) expires.
pub(crate) fn expires(certificate: &[u8]) -> Option<SystemTime> {
    let certificate = Certificate::from_der(certificate).ok()?;
    Some(
        certificate
            .tbs_certificate
            .validity
            .not_after
            .to_system_time(),
    )
}

fn canonical(name: &str) -> Box<str> {
    // 253 characters are the longest name there is; a certificate may hold anything.
    let name: String = name.chars().take(253).collect();
    name.strip_suffix('.')
        .unwrap_or(&name)
        .to_ascii_lowercase()
        .into()
}

fn text(value: &Any) -> Option<String> {
    let text = Utf8StringRef::try_from(value).map(|text| text.as_str().to_owned());
    let text = text.or_else(|_| PrintableStringRef::try_from(value).map(|text| text.to_string()));
    let text = text.or_else(|_| Ia5StringRef::try_from(value).map(|text| text.to_string()));
    text.or_else(|_| TeletexStringRef::try_from(value).map(|text| text.to_string()))
        .ok()
}

/// Whether two names mean a common host. In either a `*` stands for one whole label on the left.
fn same_host(pattern: &str, name: &str) -> bool {
    let (Some((first, rest)), Some((name_first, name_rest))) =
        (pattern.split_once('.'), name.split_once('.'))
    else {
        return pattern == name && !name.is_empty() && name != "*";
    };
    rest == name_rest
        && !name_first.is_empty()
        && (first == "*" || name_first == "*" || first == name_first)
}

/// A certificate is genuine and its owner is not wanted.
#[derive(Clone, Debug)]
pub(crate) struct NotPermitted(pub(crate) PeerNames);

impl fmt::Display for NotPermitted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the certificate of {} is not permitted", self.0)
    }
}

impl std::error::Error for NotPermitted {}

/// Lets in the clients on a list whose certificates another verifier found genuine.
#[derive(Debug)]
pub(crate) struct OnTheList {
    pub(crate) genuine: Arc<dyn ClientCertVerifier>,
    pub(crate) permitted: Arc<[PermittedPeer]>,
}

impl ClientCertVerifier for OnTheList {
    fn offer_client_auth(&self) -> bool {
        self.genuine.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.genuine.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.genuine.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self
            .genuine
            .verify_client_cert(end_entity, intermediates, now)?;
        let names = PeerNames::of(end_entity);
        if names.is_permitted(&self.permitted) {
            return Ok(verified);
        }
        let refused = OtherError(Arc::new(NotPermitted(names)));
        Err(Error::InvalidCertificate(CertificateError::Other(refused)))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.genuine.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.genuine.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.genuine.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    use super::*;

    fn names(alternatives: &[&str], common_name: &str) -> PeerNames {
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(DnType::CommonName, common_name);
        params.subject_alt_names = alternatives
            .iter()
            .map(|name| match name.parse() {
                Ok(ip) => SanType::IpAddress(ip),
                Err(_) => SanType::DnsName((*name).try_into().unwrap()),
            })
            .collect();
        let key = KeyPair::generate().unwrap();
        PeerNames::of(params.self_signed(&key).unwrap().der())
    }

    fn permitted(names: &PeerNames, entry: &str) -> bool {
        let entry = match entry.parse() {
            Ok(ip) => PermittedPeer::Ip(ip),
            Err(_) => PermittedPeer::Dns(entry.into()),
        };
        names.is_permitted(&[entry])
    }

    #[test]
    fn a_wildcard_is_one_whole_label() {
        let host = names(
            &["web01.Example.com", "192.0.2.1", "2001:db8::1"],
            "other.example.com",
        );
        for entry in [
            "web01.example.com",
            "*.example.com",
            "192.0.2.1",
            "2001:db8::1",
        ] {
            assert!(permitted(&host, entry), "{entry}");
        }
        for entry in [
            "web02.example.com",
            "example.com",
            "*.com",
            "*.web01.example.com",
            "*",
            "192.0.2.2",
            // The common name does not count beside a subjectAltName.
            "other.example.com",
        ] {
            assert!(!permitted(&host, entry), "{entry}");
        }
        let deep = names(&["a.b.example.com"], "");
        assert!(!permitted(&deep, "*.example.com"));
        let wild = names(&["*.example.com"], "");
        assert!(permitted(&wild, "a.example.com") && permitted(&wild, "*.example.com"));
        assert!(!permitted(&wild, "example.com") && !permitted(&wild, "a.b.example.com"));
    }

    #[test]
    fn the_common_name_counts_where_it_is_all_there_is() {
        let host = names(&[], "Web01.example.com");
        assert!(permitted(&host, "web01.example.com") && permitted(&host, "*.example.com"));
        let by_address = names(&[], "192.0.2.1");
        assert!(permitted(&by_address, "192.0.2.1"));
        assert!(!permitted(&names(&["192.0.2.9"], "192.0.2.1"), "192.0.2.1"));
    }

    #[test]
    fn a_fingerprint_is_that_of_the_whole_certificate_and_garbage_has_no_name() {
        let host = names(&["web01.example.com"], "");
        let hash = *host.fingerprint();
        assert!(host.is_permitted(&[PermittedPeer::Fingerprint(hash)]));
        assert!(!host.is_permitted(&[PermittedPeer::Fingerprint([0; 32])]));
        assert!(!host.is_permitted(&[]));
        let garbage = PeerNames::of(b"no certificate");
        assert!(
            garbage.to_string().starts_with("no name (SHA256:"),
            "{garbage}"
        );
        assert!(!permitted(&garbage, "*.example.com"));
    }

    #[test]
    fn a_message_shows_the_names_and_stays_on_its_line() {
        let host = names(&["web01.example.com", "192.0.2.1"], "");
        let shown = host.to_string();
        assert!(
            shown.starts_with("web01.example.com, 192.0.2.1 (SHA256:"),
            "{shown}"
        );
        let evil = names(&[], "a\nb\u{1b}[31m");
        let shown = evil.to_string();
        assert!(
            !shown.contains('\n') && !shown.contains('\u{1b}'),
            "{shown}"
        );
        let many: Vec<String> = (0..20)
            .map(|number| format!("h{number}.example.com"))
            .collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert!(names(&many, "").to_string().contains(" and 12 more "));
    }
}

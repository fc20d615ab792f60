//! Which certificates the settings name, and for whom.

use std::path::Path;
use std::sync::Arc;

use mutt_config::Settings;
use mutt_http::{PermittedPeer, TlsOptions};

/// HTTPS on the ingest port, where it has a certificate.
pub fn of_https(settings: &Settings) -> Option<TlsOptions> {
    let files = settings
        .tls_cert_file
        .as_ref()
        .zip(settings.tls_key_file.as_ref());
    files.map(|(certificate, key)| for_everybody(certificate, key))
}

/// The listeners of senders over TLS, where they have a certificate.
pub fn of_senders(settings: &Settings) -> Option<TlsOptions> {
    let (certificate, key) = settings.sender_certificate()?;
    let permitted = settings.syslog_tls_permitted_peers.iter();
    let permitted: Arc<[_]> = permitted
        .map(|peer| match peer {
            mutt_config::PermittedPeer::Dns(name) => PermittedPeer::Dns(name.clone()),
            mutt_config::PermittedPeer::Ip(ip) => PermittedPeer::Ip(*ip),
            mutt_config::PermittedPeer::Fingerprint(hash) => PermittedPeer::Fingerprint(*hash),
        })
        .collect();
    Some(TlsOptions {
        client_ca: settings.syslog_tls_client_ca.clone(),
        permitted: (!permitted.is_empty()).then_some(permitted),
        ..for_everybody(certificate, key)
    })
}

fn for_everybody(certificate: &Path, key: &Path) -> TlsOptions {
    TlsOptions {
        certificate: certificate.into(),
        key: key.into(),
        client_ca: None,
        permitted: None,
    }
}

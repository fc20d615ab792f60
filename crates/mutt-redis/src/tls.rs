//! The client's side of TLS: trust is read anew for each connection, so that a replaced authority
//! needs no restart. The server's name is always verified.

use std::path::Path;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

/// A configuration that trusts the authorities in this PEM file, or the system's without one.
///
/// # Errors
/// In words, with the file's name.
pub(crate) fn client_config(authorities: Option<&Path>) -> Result<Arc<ClientConfig>, String> {
    let mut roots = RootCertStore::empty();
    if let Some(path) = authorities {
        read_authorities(path, &mut roots)?;
    } else {
        let found = rustls_native_certs::load_native_certs();
        roots.add_parsable_certificates(found.certs);
        if roots.is_empty() {
            return Err(
                "TLS: this system trusts no authority (no CA certificates installed); \
                        name the CA file that signed the server's certificate"
                    .to_owned(),
            );
        }
    }
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("TLS: {error}"))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

fn read_authorities(path: &Path, roots: &mut RootCertStore) -> Result<(), String> {
    let shown = path.display();
    let certificates = CertificateDer::pem_file_iter(path)
        .map_err(|error| format!("CA file {shown} cannot be read: {error}"))?;
    for certificate in certificates {
        let certificate =
            certificate.map_err(|error| format!("CA file {shown} is not valid PEM: {error}"))?;
        roots
            .add(certificate)
            .map_err(|error| format!("CA file {shown} has a certificate of no use: {error}"))?;
    }
    if roots.is_empty() {
        return Err(format!("CA file {shown} contains no certificate (PEM)"));
    }
    Ok(())
}

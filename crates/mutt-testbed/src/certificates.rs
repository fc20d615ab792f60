//! A certificate authority of one test, and a server's certificate from it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Result;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

/// PEM files of a new authority and of a server `localhost` / 127.0.0.1.
#[derive(Debug, Clone)]
pub struct Certificates {
    ca: PathBuf,
    certificate: PathBuf,
    key: PathBuf,
}

impl Certificates {
    /// Writes `ca.pem`, `server.pem` and `server.key` (mode 0600) into `dir`.
    ///
    /// # Errors
    /// The files cannot be written.
    pub fn write(dir: &Path) -> Result<Self> {
        let mut authority = CertificateParams::new(Vec::new())?;
        authority
            .distinguished_name
            .push(DnType::CommonName, "MUTT test authority");
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let authority_key = KeyPair::generate()?;
        let authority_certificate = authority.self_signed(&authority_key)?;
        let issuer = Issuer::new(authority, authority_key);

        let mut server =
            CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()])?;
        server
            .distinguished_name
            .push(DnType::CommonName, "localhost");
        server.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            // Redis is a client of its replicas and Sentinels.
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        let server_key = KeyPair::generate()?;
        let server_certificate = server.signed_by(&server_key, &issuer)?;

        let files = Self {
            ca: dir.join("ca.pem"),
            certificate: dir.join("server.pem"),
            key: dir.join("server.key"),
        };
        fs::write(&files.ca, authority_certificate.pem())?;
        fs::write(&files.certificate, server_certificate.pem())?;
        fs::write(&files.key, server_key.serialize_pem())?;
        fs::set_permissions(&files.key, fs::Permissions::from_mode(0o600))?;
        Ok(files)
    }

    /// Copies the files into another server's directory.
    pub(crate) fn copy(&self, dir: &Path) -> Result<Self> {
        let copy = |file: &Path| -> Result<PathBuf> {
            let copy = dir.join(file.file_name().unwrap_or_default());
            // Keeps the mode of the key.
            fs::copy(file, &copy)?;
            Ok(copy)
        };
        Ok(Self {
            ca: copy(&self.ca)?,
            certificate: copy(&self.certificate)?,
            key: copy(&self.key)?,
        })
    }

    /// The authority's certificate: what a client has to trust.
    pub fn ca_file(&self) -> &Path {
        &self.ca
    }

    /// The server's certificate.
    pub fn certificate_file(&self) -> &Path {
        &self.certificate
    }

    /// The server's private key.
    pub fn key_file(&self) -> &Path {
        &self.key
    }
}

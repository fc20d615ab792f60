//! A certificate authority of one test, and certificates from it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Result;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};

/// An authority that signs whatever a test wants.
#[derive(Debug)]
pub struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate with its key, both PEM.
#[derive(Debug, Clone)]
pub struct Issued {
    /// The certificate.
    pub certificate: String,
    /// Its private key, PKCS #8.
    pub key: String,
    /// The certificate as it is hashed for a fingerprint.
    pub der: Vec<u8>,
}

impl Authority {
    /// A new one of this name.
    ///
    /// # Errors
    /// There is no key to be had.
    pub fn new(name: &str) -> Result<Self> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate()?;
        let pem = params.self_signed(&key)?.pem();
        let issuer = Issuer::new(params, key);
        Ok(Self { pem, issuer })
    }

    /// Its own certificate, PEM: what the other side has to trust.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// A certificate for servers and clients with this common name and these host names and
    /// addresses as alternatives; without any it has no subjectAltName.
    ///
    /// # Errors
    /// A name is none.
    pub fn issue(&self, common_name: &str, alternatives: &[&str]) -> Result<Issued> {
        self.sign(&Self::params(common_name, alternatives)?)
    }

    /// As [`issue`](Self::issue), and expired for years.
    ///
    /// # Errors
    /// A name is none.
    pub fn issue_expired(&self, common_name: &str, alternatives: &[&str]) -> Result<Issued> {
        let mut params = Self::params(common_name, alternatives)?;
        params.not_before = date_time_ymd(2015, 1, 1);
        params.not_after = date_time_ymd(2016, 1, 1);
        self.sign(&params)
    }

    fn params(common_name: &str, alternatives: &[&str]) -> Result<CertificateParams> {
        let alternatives: Vec<_> = alternatives.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(alternatives)?;
        params
            .distinguished_name
            .push(DnType::CommonName, common_name);
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        Ok(params)
    }

    fn sign(&self, params: &CertificateParams) -> Result<Issued> {
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(Issued {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
            der: certificate.der().to_vec(),
        })
    }
}

impl Issued {
    /// Writes `<name>.pem` and `<name>.key` (mode 0600) into `dir`; returns where they are.
    ///
    /// # Errors
    /// They cannot be written.
    pub fn write(&self, dir: &Path, name: &str) -> Result<(PathBuf, PathBuf)> {
        let certificate = dir.join(format!("{name}.pem"));
        let key = dir.join(format!("{name}.key"));
        fs::write(&certificate, &self.certificate)?;
        fs::write(&key, &self.key)?;
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600))?;
        Ok((certificate, key))
    }
}

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
        let authority = Authority::new("MUTT test authority")?;
        // For clients too: Redis is one of its replicas and Sentinels.
        let server = authority.issue("localhost", &["localhost", "127.0.0.1"])?;
        let (certificate, key) = server.write(dir, "server")?;
        let ca = dir.join("ca.pem");
        fs::write(&ca, authority.pem())?;
        Ok(Self {
            ca,
            certificate,
            key,
        })
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

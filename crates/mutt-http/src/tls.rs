//! TLS whose files may be replaced while it is in use.
//!
//! Connections that are open keep what they began with; new ones get the new certificate. Files
//! that cannot be used change nothing and are reported once. One provider (aws-lc-rs) everywhere.

use std::fmt::{self, Display};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest as _, Sha256};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::error::HttpError;
use crate::peers::{OnTheList, PermittedPeer, expires};

/// The protocols that an HTTPS server offers.
pub const ALPN_HTTP1: &[&[u8]] = &[b"http/1.1"];

/// Where the certificate is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsOptions {
    /// The certificate and those that lead to its root, as PEM.
    pub certificate: PathBuf,
    /// Its private key, as PEM.
    pub key: PathBuf,
    /// Certificates, as PEM, one of which must have signed a client's: clients without are refused.
    pub client_ca: Option<PathBuf>,
    /// The clients that may connect, by the names in their certificates; not set: everyone whose
    /// certificate is genuine. Without `client_ca` it has no effect.
    pub permitted: Option<Arc<[PermittedPeer]>>,
}

/// What is in use.
struct Current {
    config: Arc<ServerConfig>,
    expires: Option<SystemTime>,
}

/// A server's side of TLS.
pub struct Tls {
    options: TlsOptions,
    alpn: Vec<Vec<u8>>,
    current: ArcSwap<Current>,
    /// A hash of the contents that were looked at last, good or bad.
    seen: Mutex<[u8; 32]>,
}

impl Tls {
    /// Reads the options. `alpn` is what is offered to clients that negotiate a protocol
    /// ([`ALPN_HTTP1`]); empty for everything but HTTP.
    ///
    /// # Errors
    /// `TlsFile`, `TlsContent`: which file, and what is wrong with it.
    pub fn load(options: TlsOptions, alpn: &[&[u8]]) -> Result<Self, HttpError> {
        let contents = Contents::read(&options)?;
        let alpn: Vec<_> = alpn.iter().map(|protocol| protocol.to_vec()).collect();
        let current = contents.current(&options, &alpn)?;
        Ok(Self {
            options,
            alpn,
            current: ArcSwap::from_pointee(current),
            seen: Mutex::new(contents.hash()),
        })
    }

    /// What new connections get.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.current.load().config.clone())
    }

    /// When the certificate expires that new connections get, where it can be read.
    pub fn expires(&self) -> Option<SystemTime> {
        self.current.load().expires
    }

    /// Reads the files again; returns whether their contents changed and are in use now.
    ///
    /// # Errors
    /// As [`Tls::load`]; what was in use stays so. Contents that were refused once are not looked at
    /// again before they change.
    pub fn reload(&self) -> Result<bool, HttpError> {
        let contents = Contents::read(&self.options)?;
        let hash = contents.hash();
        let mut seen = self.seen.lock();
        if *seen == hash {
            return Ok(false);
        }
        *seen = hash;
        self.current
            .store(Arc::new(contents.current(&self.options, &self.alpn)?));
        Ok(true)
    }

    /// Looks at the files at every interval until `shutdown`, and takes what is new and good.
    pub async fn watch(self: Arc<Self>, every: Duration, shutdown: CancellationToken) {
        let mut unreadable = false;
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(every) => {}
            }
            // Certificates may lie on a network file system that hangs.
            let this = self.clone();
            let Ok(result) = tokio::task::spawn_blocking(move || this.reload()).await else {
                continue;
            };
            let certificate = self.options.certificate.display();
            match &result {
                Ok(true) => tracing::info!(%certificate, "the TLS certificate was replaced"),
                Ok(false) => {}
                Err(error @ HttpError::TlsFile { .. }) if unreadable => {
                    tracing::debug!(%error, "still");
                }
                Err(error) => {
                    tracing::error!(%error, "the TLS certificate in use stays as it is");
                }
            }
            unreadable = matches!(result, Err(HttpError::TlsFile { .. }));
        }
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

struct Contents {
    certificate: Vec<u8>,
    key: Vec<u8>,
    client_ca: Option<Vec<u8>>,
}

impl Contents {
    fn read(options: &TlsOptions) -> Result<Self, HttpError> {
        Ok(Self {
            certificate: read(&options.certificate)?,
            key: read(&options.key)?,
            client_ca: options.client_ca.as_deref().map(read).transpose()?,
        })
    }

    fn hash(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        for part in [
            Some(&self.certificate),
            Some(&self.key),
            self.client_ca.as_ref(),
        ] {
            let part = part.map_or(&[][..], Vec::as_slice);
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        hash.finalize().into()
    }

    fn current(&self, options: &TlsOptions, alpn: &[Vec<u8>]) -> Result<Current, HttpError> {
        let chain = certificates(&options.certificate, &self.certificate)?;
        Ok(Current {
            expires: chain.first().and_then(|leaf| expires(leaf)),
            config: Arc::new(self.config(options, alpn, chain)?),
        })
    }

    fn config(
        &self,
        options: &TlsOptions,
        alpn: &[Vec<u8>],
        chain: Vec<CertificateDer<'static>>,
    ) -> Result<ServerConfig, HttpError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let key = PrivateKeyDer::from_pem_slice(&self.key)
            .map_err(|error| unusable(&options.key, format!("no private key in it: {error}")))?;
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| unusable(&options.certificate, error))?;
        let builder = match (&options.client_ca, &self.client_ca) {
            (Some(path), Some(pem)) => {
                let genuine = verifier(path, pem, provider)?;
                builder.with_client_cert_verifier(match &options.permitted {
                    Some(permitted) => Arc::new(OnTheList {
                        genuine,
                        permitted: permitted.clone(),
                    }),
                    None => genuine,
                })
            }
            _ => builder.with_no_client_auth(),
        };
        let mut config = builder
            .with_single_cert(chain, key)
            .map_err(|error| match error {
                rustls::Error::InconsistentKeys(_) => {
                    unusable(&options.key, "it does not belong to the certificate")
                }
                error => unusable(&options.certificate, error),
            })?;
        config.alpn_protocols = alpn.to_vec();
        if options.client_ca.is_none() {
            // Senders that connect anew for every batch need no full handshake.
            config.ticketer =
                aws_lc_rs::Ticketer::new().map_err(|error| unusable(&options.key, error))?;
        } else {
            // Whoever resumes a session shows no certificate, which may be expired meanwhile.
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
        }
        Ok(config)
    }
}

fn read(path: impl AsRef<Path>) -> Result<Vec<u8>, HttpError> {
    let path = path.as_ref();
    fs::read(path).map_err(|error| HttpError::TlsFile {
        path: path.to_owned(),
        error,
    })
}

fn unusable(path: &Path, problem: impl Display) -> HttpError {
    HttpError::TlsContent {
        path: path.to_owned(),
        problem: problem.to_string(),
    }
}

fn certificates(path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, HttpError> {
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|error| unusable(path, format!("no PEM certificate: {error}")))?;
    if certificates.is_empty() {
        return Err(unusable(path, "there is no PEM certificate in it"));
    }
    Ok(certificates)
}

fn verifier(
    path: &Path,
    pem: &[u8],
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn rustls::server::danger::ClientCertVerifier>, HttpError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path, pem)? {
        roots
            .add(certificate)
            .map_err(|error| unusable(path, error))?;
    }
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .map_err(|error| unusable(path, error))
}

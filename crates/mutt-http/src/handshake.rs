//! The server's side of a TLS handshake, and why one failed, in words that help.
//!
//! A refused client gets its alert before the connection is closed. How long a handshake may take
//! and how many there may be is up to the caller, who may drop one at any time.

use std::io;
use std::time::Duration;

use rustls::{AlertDescription, CertificateError, Error, InvalidMessage, PeerIncompatible};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;

use crate::peers::{NotPermitted, PeerNames};
use crate::tls::Tls;

/// What is read and thrown away after an alert at most, so that closing does not reset the connection
/// before the client has seen why: bytes and time.
const LINGER: (u64, Duration) = (64 << 10, Duration::from_millis(500));

/// Why a handshake failed: the `reason` label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HandshakeFailure {
    /// What came is no TLS.
    NotTls,
    /// The client took too long.
    Timeout,
    /// It was dropped for others, because too many were unfinished.
    Crowded,
    /// The client went away.
    Disconnected,
    /// No version or cipher in common.
    Incompatible,
    /// The client does not accept the server's certificate, or gave up for another reason.
    ClientRefused,
    /// The client shows no certificate where it must.
    NoCertificate,
    /// No known authority signed the client's certificate.
    UnknownAuthority,
    /// The client's certificate is expired, for another purpose, or broken.
    BadCertificate,
    /// The client's certificate is genuine and not on the list.
    NotPermitted,
    /// The client does not keep to the protocol.
    Protocol,
}

impl HandshakeFailure {
    /// Every reason.
    pub const ALL: [Self; 11] = [
        Self::NotTls,
        Self::Timeout,
        Self::Crowded,
        Self::Disconnected,
        Self::Incompatible,
        Self::ClientRefused,
        Self::NoCertificate,
        Self::UnknownAuthority,
        Self::BadCertificate,
        Self::NotPermitted,
        Self::Protocol,
    ];

    /// The value of the `reason` label.
    pub fn name(self) -> &'static str {
        match self {
            Self::NotTls => "not_tls",
            Self::Timeout => "timeout",
            Self::Crowded => "crowded",
            Self::Disconnected => "disconnected",
            Self::Incompatible => "incompatible",
            Self::ClientRefused => "client_refused",
            Self::NoCertificate => "no_certificate",
            Self::UnknownAuthority => "unknown_authority",
            Self::BadCertificate => "bad_certificate",
            Self::NotPermitted => "not_permitted",
            Self::Protocol => "protocol",
        }
    }
}

/// A handshake that failed.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct HandshakeError {
    /// Why, for counting.
    pub reason: HandshakeFailure,
    /// Why, and what to do about it.
    message: String,
}

impl HandshakeError {
    /// The handshake was not done after `limit`.
    pub fn timeout(limit: Duration) -> Self {
        Self {
            reason: HandshakeFailure::Timeout,
            message: format!(
                "the client did not finish the TLS handshake within {} s",
                limit.as_secs_f32()
            ),
        }
    }

    /// Others needed the place of this one.
    pub fn crowded() -> Self {
        Self {
            reason: HandshakeFailure::Crowded,
            message: "too many TLS handshakes were unfinished, most of them this client's".into(),
        }
    }

    fn new(error: &io::Error) -> Self {
        let tls = error
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<Error>());
        let (reason, message) = match tls {
            Some(error) => of_tls(error),
            None => (
                HandshakeFailure::Disconnected,
                format!("the client went away in the middle of the TLS handshake: {error}"),
            ),
        };
        Self { reason, message }
    }
}

fn of_tls(error: &Error) -> (HandshakeFailure, String) {
    use HandshakeFailure as Reason;
    match error {
        Error::InvalidMessage(
            InvalidMessage::InvalidContentType
            | InvalidMessage::UnknownProtocolVersion
            | InvalidMessage::MessageTooLarge
            | InvalidMessage::InvalidEmptyPayload,
        ) => (
            Reason::NotTls,
            "what the client sent is no TLS, probably plain text; switch TLS on at the client, or \
             let it send to the port for plain connections"
                .into(),
        ),
        Error::NoCertificatesPresented => (
            Reason::NoCertificate,
            "the client shows no certificate and must have one; configure a certificate and its \
             key at the client"
                .into(),
        ),
        Error::InvalidCertificate(error) => of_certificate(error),
        Error::AlertReceived(alert) => (Reason::ClientRefused, of_alert(*alert)),
        Error::PeerIncompatible(PeerIncompatible::NoCertificateRequestSignatureSchemesInCommon) => {
            (
                Reason::Incompatible,
                "the client cannot prove its certificate with any signature that is accepted here"
                    .into(),
            )
        }
        Error::PeerIncompatible(what) => (
            Reason::Incompatible,
            format!(
                "the client and MUTT have no version or cipher in common ({what:?}); TLS 1.2 with \
                 ECDHE and AES-GCM or ChaCha20, or TLS 1.3, is needed"
            ),
        ),
        error => (
            Reason::Protocol,
            format!("the client does not keep to the TLS protocol: {error}"),
        ),
    }
}

fn of_certificate(error: &CertificateError) -> (HandshakeFailure, String) {
    use HandshakeFailure as Reason;
    match error {
        CertificateError::UnknownIssuer => (
            Reason::UnknownAuthority,
            "none of the known authorities (client CA) signed the client's certificate; if an \
             intermediate authority did, the client must send its certificate too"
                .into(),
        ),
        // Authorities are looked for by name.
        CertificateError::BadSignature => (
            Reason::UnknownAuthority,
            "an authority of the same name as a known one (client CA), but with another key, signed \
             the client's certificate; was the authority renewed?"
                .into(),
        ),
        CertificateError::Other(other) => match other.0.downcast_ref::<NotPermitted>() {
            Some(NotPermitted(names)) => (
                Reason::NotPermitted,
                format!(
                    "the client is not on the list of permitted peers; its certificate has {names}"
                ),
            ),
            None => (
                Reason::BadCertificate,
                format!("the client's certificate cannot be used: {error}"),
            ),
        },
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => (
            Reason::BadCertificate,
            "the client's certificate is not made for clients (extended key usage clientAuth)"
                .into(),
        ),
        error => (
            Reason::BadCertificate,
            format!("the client's certificate cannot be used: {error}"),
        ),
    }
}

fn of_alert(alert: AlertDescription) -> String {
    match alert {
        AlertDescription::UnknownCA
        | AlertDescription::BadCertificate
        | AlertDescription::CertificateUnknown
        | AlertDescription::CertificateExpired
        | AlertDescription::UnsupportedCertificate => format!(
            "the client does not accept MUTT's certificate ({alert:?}); it must trust the authority \
             that signed it, and reach MUTT by a name that is in it"
        ),
        alert => format!("the client gave up the TLS handshake ({alert:?})"),
    }
}

impl Tls {
    /// Does the server's part of a handshake with the certificate in use now; returns the stream and
    /// the names in the client's certificate, where one was asked for. May be dropped at any time.
    ///
    /// # Errors
    /// Why there is no TLS with this client; it has been told as far as it listened.
    pub async fn accept<S>(
        &self,
        stream: S,
    ) -> Result<(TlsStream<S>, Option<PeerNames>), HandshakeError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        match self.acceptor().accept(stream).into_fallible().await {
            Ok(stream) => {
                let certificates = stream.get_ref().1.peer_certificates();
                let names = certificates
                    .and_then(<[_]>::first)
                    .map(|certificate| PeerNames::of(certificate));
                Ok((stream, names))
            }
            Err((error, mut stream)) => {
                let error = HandshakeError::new(&error);
                if error.reason != HandshakeFailure::Disconnected {
                    let linger = async {
                        stream.shutdown().await?;
                        let mut rest = stream.take(LINGER.0);
                        tokio::io::copy(&mut rest, &mut tokio::io::sink()).await
                    };
                    // Whether it listens is its own affair.
                    let _ = timeout(LINGER.1, linger).await;
                }
                Err(error)
            }
        }
    }
}

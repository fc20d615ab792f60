//! HTTPS with files that are replaced while it is in use.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use mutt_http::{
    ALPN_HTTP1, HandshakeError, HandshakeFailure, Limits, PermittedPeer, Tls, TlsOptions,
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;

use crate::support::{GET, Running, answer, hello, rest, soon, until};

struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn issue(&self, name: &str) -> (rcgen::Certificate, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        (params.signed_by(&key, &self.0).unwrap(), key)
    }

    /// Writes a new pair; its certificate.
    fn write(&self, dir: &Path) -> CertificateDer<'static> {
        let (certificate, key) = self.issue("localhost");
        fs::write(dir.join("server.crt"), certificate.pem()).unwrap();
        fs::write(dir.join("server.key"), key.serialize_pem()).unwrap();
        certificate.der().clone()
    }

    fn client(&self, own: Option<(rcgen::Certificate, KeyPair)>) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match own {
            Some((certificate, key)) => {
                let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
                builder
                    .with_client_auth_cert(vec![certificate.der().clone()], key)
                    .unwrap()
            }
            None => builder.with_no_client_auth(),
        };
        // A resumed session would show the old certificate.
        config.resumption = rustls::client::Resumption::disabled();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config
    }
}

fn files(dir: &Path) -> TlsOptions {
    TlsOptions {
        certificate: dir.join("server.crt"),
        key: dir.join("server.key"),
        client_ca: None,
        permitted: None,
    }
}

async fn connect(running: &Running, config: ClientConfig) -> std::io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from("localhost").unwrap();
    soon(TlsConnector::from(Arc::new(config)).connect(name, running.connect().await)).await
}

fn shown(stream: &TlsStream<TcpStream>) -> CertificateDer<'static> {
    stream.get_ref().1.peer_certificates().unwrap()[0]
        .clone()
        .into_owned()
}

async fn ask(stream: &mut TlsStream<TcpStream>) -> String {
    stream.write_all(GET.as_bytes()).await.unwrap();
    answer(stream).await
}

#[tokio::test]
async fn new_connections_get_the_new_certificate_and_old_ones_go_on() {
    let (dir, authority) = (TempDir::new().unwrap(), Authority::new());
    let first = authority.write(dir.path());
    let tls = Arc::new(Tls::load(files(dir.path()), ALPN_HTTP1).unwrap());
    let running = Running::router(hello(), Limits::default(), Some(tls.clone()));
    let mut old = connect(&running, authority.client(None)).await.unwrap();
    assert_eq!(shown(&old), first);
    assert!(ask(&mut old).await.ends_with("hello"));
    assert!(!tls.reload().unwrap(), "nothing changed");

    let second = authority.write(dir.path());
    assert!(tls.reload().unwrap());
    let mut new = connect(&running, authority.client(None)).await.unwrap();
    assert_eq!(shown(&new), second);
    assert!(ask(&mut new).await.ends_with("hello"));
    assert!(ask(&mut old).await.ends_with("hello"));
}

#[tokio::test]
async fn files_that_cannot_be_used_change_nothing() {
    let (dir, authority) = (TempDir::new().unwrap(), Authority::new());
    let first = authority.write(dir.path());
    let tls = Arc::new(Tls::load(files(dir.path()), ALPN_HTTP1).unwrap());
    let running = Running::router(hello(), Limits::default(), Some(tls.clone()));

    let (certificate, _) = authority.issue("localhost");
    fs::write(dir.path().join("server.crt"), certificate.pem()).unwrap();
    let error = tls.reload().unwrap_err().to_string();
    assert!(
        error.contains("server.key") && error.contains("does not belong"),
        "{error}"
    );
    assert!(
        !tls.reload().unwrap(),
        "the same contents are not reported twice"
    );
    fs::write(dir.path().join("server.crt"), "no certificate").unwrap();
    assert!(tls.reload().unwrap_err().to_string().contains("server.crt"));
    fs::remove_file(dir.path().join("server.key")).unwrap();
    assert!(
        tls.reload()
            .unwrap_err()
            .to_string()
            .contains("cannot be read")
    );
    let stream = connect(&running, authority.client(None)).await.unwrap();
    assert_eq!(shown(&stream), first);

    let second = authority.write(dir.path());
    assert!(tls.reload().unwrap());
    let stream = connect(&running, authority.client(None)).await.unwrap();
    assert_eq!(shown(&stream), second);
}

#[tokio::test]
async fn the_watch_notices_by_itself() {
    let (dir, authority) = (TempDir::new().unwrap(), Authority::new());
    authority.write(dir.path());
    let tls = Arc::new(Tls::load(files(dir.path()), ALPN_HTTP1).unwrap());
    let running = Running::router(hello(), Limits::default(), Some(tls.clone()));
    let shutdown = CancellationToken::new();
    let watch = tokio::spawn(tls.watch(Duration::from_millis(5), shutdown.clone()));
    let second = authority.write(dir.path());
    soon(async {
        while shown(&connect(&running, authority.client(None)).await.unwrap()) != second {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    shutdown.cancel();
    soon(watch).await.unwrap();
}

#[tokio::test]
async fn clients_without_a_certificate_are_refused_where_one_is_asked_for() {
    let (dir, authority) = (TempDir::new().unwrap(), Authority::new());
    authority.write(dir.path());
    fs::write(dir.path().join("ca.crt"), authority.0.pem()).unwrap();
    let files = TlsOptions {
        client_ca: Some(dir.path().join("ca.crt")),
        ..files(dir.path())
    };
    let tls = Arc::new(Tls::load(files, ALPN_HTTP1).unwrap());
    let running = Running::router(hello(), Limits::default(), Some(tls));

    let own = authority.issue("sender");
    let mut known = connect(&running, authority.client(Some(own)))
        .await
        .unwrap();
    assert!(ask(&mut known).await.ends_with("hello"));
    let stranger = Authority::new().issue("sender");
    for own in [None, Some(stranger)] {
        // With TLS 1.3 the client hears of it when it reads.
        if let Ok(mut stream) = connect(&running, authority.client(own)).await {
            let _ = stream.write_all(GET.as_bytes()).await;
            assert_eq!(rest(&mut stream).await, "");
        }
    }
    until(|| running.metrics.connections() == 1).await;
}

#[tokio::test]
async fn a_handshake_that_does_not_come_is_cut_off() {
    let (dir, authority) = (TempDir::new().unwrap(), Authority::new());
    authority.write(dir.path());
    let tls = Arc::new(Tls::load(files(dir.path()), ALPN_HTTP1).unwrap());
    let limits = Limits {
        handshake: Duration::from_millis(50),
        ..Limits::default()
    };
    let running = Running::router(hello(), limits, Some(tls));
    let mut silent = running.connect().await;
    assert_eq!(rest(&mut silent).await, "");
    let mut plain = running.connect().await;
    plain.write_all(GET.as_bytes()).await.unwrap();
    assert!(!rest(&mut plain).await.contains("hello"));
}

/// Why a client does not get in, as it stands in the log.
async fn refused(tls: &Tls, client: impl AsyncFnOnce(DuplexStream)) -> HandshakeError {
    let (near, far) = tokio::io::duplex(64 << 10);
    let (result, ()) = soon(async { tokio::join!(tls.accept(near), client(far)) }).await;
    result.map(drop).expect_err("it is refused")
}

#[tokio::test]
async fn a_refusal_says_why_and_what_to_do() {
    let (dir, authority) = (TempDir::new().unwrap(), Authority::new());
    authority.write(dir.path());
    fs::write(dir.path().join("ca.crt"), authority.0.pem()).unwrap();
    let options = TlsOptions {
        client_ca: Some(dir.path().join("ca.crt")),
        permitted: Some([PermittedPeer::Dns("*.example.com".into())].into()),
        ..files(dir.path())
    };
    let tls = Tls::load(options, &[]).unwrap();
    let error = refused(&tls, async |mut stream: DuplexStream| {
        stream.write_all(b"<13>in plain text\n").await.unwrap();
        let _ = stream.read_to_end(&mut Vec::new()).await;
    })
    .await;
    assert_eq!(error.reason, HandshakeFailure::NotTls);
    assert!(error.to_string().contains("plain text"), "{error}");

    let connect = |own| {
        let connector = TlsConnector::from(Arc::new(authority.client(own)));
        async move |stream: DuplexStream| {
            let name = ServerName::try_from("localhost").unwrap();
            if let Ok(mut stream) = connector.connect(name, stream).await {
                let _ = stream.read_to_end(&mut Vec::new()).await;
            }
        }
    };
    let error = refused(&tls, connect(None)).await;
    assert_eq!(error.reason, HandshakeFailure::NoCertificate);
    let own = authority.issue("web01.example.org");
    let error = refused(&tls, connect(Some(own))).await;
    assert_eq!(error.reason, HandshakeFailure::NotPermitted);
    let text = error.to_string();
    assert!(text.contains("web01.example.org (SHA256:"), "{text}");
}

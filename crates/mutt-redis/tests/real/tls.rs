//! TLS with a private authority.

use std::fs;
use std::sync::Arc;

use mutt_redis::{Redis, RedisOptions};
use mutt_testbed::{Certificates, Redis as Server};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::world::{LONG, connect, failure, incr, options, until};

fn with_ca(server: &Server, ca: impl Into<std::path::PathBuf>) -> RedisOptions {
    RedisOptions {
        tls: true,
        tls_ca_cert: Some(ca.into()),
        ..options(server)
    }
}

#[tokio::test]
async fn a_private_authority_is_trusted() {
    let server = Server::builder().tls().password("s3cret").start();
    for host in ["127.0.0.1", "localhost"] {
        let redis = connect(RedisOptions {
            host: host.to_owned(),
            ..with_ca(&server, server.ca_file().unwrap())
        })
        .await;
        redis.call::<u64>(&incr("n")).await.unwrap();
    }
}

#[tokio::test]
async fn another_authority_is_refused_until_its_file_is_replaced() {
    let server = Server::builder().tls().start();
    let directory = tempfile::tempdir().unwrap();
    let other = Certificates::write(directory.path()).unwrap();
    let redis = Redis::open(with_ca(&server, other.ca_file())).unwrap();
    let why = failure(&redis).await;
    assert!(
        why.contains("TLS") && why.contains("signed by the trusted CA"),
        "{why}"
    );
    fs::copy(server.ca_file().unwrap(), other.ca_file()).unwrap();
    redis.ready(LONG).await.unwrap();
    redis.call::<u64>(&incr("n")).await.unwrap();
    // The system's authorities did not sign it either.
    let mut options = with_ca(&server, other.ca_file());
    options.tls_ca_cert = None;
    if let Ok(redis) = Redis::open(options) {
        let why = failure(&redis).await;
        assert!(why.contains("TLS"), "{why}");
    }
}

#[tokio::test]
async fn a_ca_file_that_turns_bad_is_named() {
    let server = Server::builder().tls().start();
    let directory = tempfile::tempdir().unwrap();
    let ca = directory.path().join("ca.pem");
    fs::copy(server.ca_file().unwrap(), &ca).unwrap();
    let redis = connect(with_ca(&server, &ca)).await;
    fs::write(&ca, "no certificate").unwrap();
    server.kill();
    server.restart();
    until("the file is named", async || {
        let error = redis.call::<u64>(&incr("n")).await.unwrap_err();
        error.to_string().contains("ca.pem contains no certificate")
    })
    .await;
    fs::copy(server.ca_file().unwrap(), &ca).unwrap();
    redis.ready(LONG).await.unwrap();
}

#[tokio::test]
async fn the_servers_name_is_verified() {
    let key = rcgen::KeyPair::generate().unwrap();
    let names = vec!["redis.example".to_owned()];
    let certificate = rcgen::CertificateParams::new(names)
        .unwrap()
        .self_signed(&key)
        .unwrap();
    let directory = tempfile::tempdir().unwrap();
    let ca = directory.path().join("ca.pem");
    fs::write(&ca, certificate.pem()).unwrap();
    let chain = vec![CertificateDer::from_pem_slice(certificate.pem().as_bytes()).unwrap()];
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let acceptor = TlsAcceptor::from(Arc::new(config));
        while let Ok((stream, _)) = listener.accept().await {
            let _ = acceptor.accept(stream).await;
        }
    });
    let redis = Redis::open(RedisOptions {
        tls: true,
        tls_ca_cert: Some(ca),
        ..RedisOptions::new("localhost", port)
    })
    .unwrap();
    let why = failure(&redis).await;
    assert!(
        why.contains("TLS") && why.contains("redis.example"),
        "{why}"
    );
}

#[tokio::test]
async fn tls_on_one_side_alone_is_told() {
    let plain = Server::start();
    let secure = Server::builder().tls().start();
    let redis = Redis::open(with_ca(&plain, secure.ca_file().unwrap())).unwrap();
    let why = failure(&redis).await;
    assert!(why.contains("does this port speak TLS?"), "{why}");

    let mut plain_client = options(&secure);
    plain_client.passwords = crate::world::passwords(&["s3cret"]).1;
    let redis = Redis::open(plain_client).unwrap();
    let why = failure(&redis).await;
    assert!(why.contains("does this port expect TLS?"), "{why}");
}

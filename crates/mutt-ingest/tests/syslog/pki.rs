//! Certificates of a test, and openssl as a client that was not written for us.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::sync::Arc;

use mutt_http::{PermittedPeer, Tls, TlsOptions};
use mutt_testbed::{Authority, Issued};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt as _;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::support::PATIENCE;

/// An authority, the files of a server, and those of clients.
pub struct Pki {
    pub authority: Authority,
    dir: TempDir,
}

impl Pki {
    /// `ca.pem`, and `server.pem` and `server.key` for localhost and 127.0.0.1.
    pub fn new() -> Self {
        let (authority, dir) = (Authority::new("Test CA").unwrap(), TempDir::new().unwrap());
        std::fs::write(dir.path().join("ca.pem"), authority.pem()).unwrap();
        let pki = Self { authority, dir };
        pki.new_server_certificate();
        pki
    }

    pub fn new_server_certificate(&self) -> Issued {
        let names = ["localhost", "127.0.0.1"];
        let server = self.authority.issue("localhost", &names).unwrap();
        server.write(self.dir.path(), "server").unwrap();
        server
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn ca(&self) -> PathBuf {
        self.file("ca.pem")
    }

    /// Writes `<name>.pem` and `<name>.key`, signed by the authority of this test.
    pub fn client(&self, name: &str, alternatives: &[&str]) -> Issued {
        let issued = self.authority.issue(name, alternatives).unwrap();
        issued.write(self.dir.path(), name).unwrap();
        issued
    }

    /// The server's side for everybody.
    pub fn open(&self) -> Arc<Tls> {
        self.load(None, None)
    }

    /// The server's side for clients whose certificates the authority signed, and who are on the list
    /// where there is one.
    pub fn mutual(&self, permitted: Option<&[PermittedPeer]>) -> Arc<Tls> {
        self.load(Some(self.ca()), permitted)
    }

    fn load(&self, client_ca: Option<PathBuf>, permitted: Option<&[PermittedPeer]>) -> Arc<Tls> {
        let options = TlsOptions {
            certificate: self.file("server.pem"),
            key: self.file("server.key"),
            client_ca,
            permitted: permitted.map(Into::into),
        };
        Arc::new(Tls::load(options, &[]).unwrap())
    }

    /// `openssl s_client` that trusts the authority of this test, with these options.
    pub fn openssl(&self, addr: SocketAddr, options: &[&str]) -> Child {
        Command::new("openssl")
            .current_dir(self.dir.path())
            .args(["s_client", "-connect", &addr.to_string()])
            .args(["-CAfile", "ca.pem", "-verify_return_error"])
            .args(["-verify_hostname", "localhost"])
            .args(options)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap()
    }

    /// Sends a text by openssl and waits for its end.
    pub async fn send(&self, addr: SocketAddr, options: &[&str], text: &str) -> Output {
        let quiet = [&["-quiet", "-no_ign_eof"], options].concat();
        let mut client = self.openssl(addr, &quiet);
        let mut input = client.stdin.take().unwrap();
        // Whoever is refused does not read it.
        let _ = input.write_all(text.as_bytes()).await;
        drop(input);
        client.wait_with_output().await.unwrap()
    }

    /// Tries to send by openssl where it is refused; what openssl says. With TLS 1.3 a client hears of
    /// it only after it began to send, so that this one waits for it.
    pub async fn refused(&self, addr: SocketAddr, options: &[&str]) -> String {
        let quiet = [&["-quiet", "-no_ign_eof"], options].concat();
        let mut client = self.openssl(addr, &quiet);
        let mut input = client.stdin.take().unwrap();
        let _ = input.write_all(b"<13>let me in\n").await;
        let output = timeout(PATIENCE, client.wait_with_output()).await;
        drop(input);
        let output = output.expect("the connection is closed").unwrap();
        String::from_utf8_lossy(&output.stderr).into_owned()
    }
}

/// Whether this machine has openssl; says so where it does not.
pub fn openssl_is_there() -> bool {
    let there = std::process::Command::new("openssl")
        .arg("version")
        .output()
        .is_ok();
    if !there {
        eprintln!("skipped: there is no `openssl`");
    }
    there
}

/// The arguments of a client's certificate.
pub fn own(name: &str) -> [String; 4] {
    [
        "-cert".into(),
        format!("{name}.pem"),
        "-key".into(),
        format!("{name}.key"),
    ]
}

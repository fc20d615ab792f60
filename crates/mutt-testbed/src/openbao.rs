//! An OpenBao server of its own: the open-source Vault, with its API.
//!
//! A real server with files, not its development mode: it starts sealed, has one unseal key, and
//! keeps its data over a restart. Administration goes over a Unix socket, so it works whatever the
//! TCP side is set to. `cargo muttdev setup` installs the program.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::certificates::Certificates;
use crate::process::{Lifetime, Process, wait_until};
use crate::workspace::{Directory, Port};

/// How long one answer may take.
const ANSWER_LIMIT: Duration = Duration::from_mins(1);

/// Settings of an [`OpenBao`] to start.
#[must_use]
#[derive(Debug, Clone)]
pub struct OpenBaoBuilder {
    tls: bool,
    port: Option<u16>,
}

impl OpenBaoBuilder {
    /// HTTPS alone, with a certificate of a new authority; see [`OpenBao::ca_file`].
    pub fn tls(mut self) -> Self {
        self.tls = true;
        self
    }

    /// This port instead of a free one.
    pub fn port(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }

    /// Starts the server, initializes and unseals it.
    ///
    /// # Panics
    /// It is not installed or does not start; with the end of its log.
    pub fn start(self) -> OpenBao {
        self.try_start().unwrap_or_else(|error| panic!("{error:#}"))
    }

    /// Starts the server, initializes and unseals it.
    ///
    /// # Errors
    /// It is not installed or does not start; with the end of its log.
    pub fn try_start(self) -> Result<OpenBao> {
        let mut attempt = 0;
        loop {
            attempt += 1;
            let mut server = self.prepare()?;
            match server.launch() {
                Ok(()) => {
                    server.initialize()?;
                    return Ok(server);
                }
                Err(_) if self.port.is_none() && attempt < 5 && server.process.port_was_taken() => {
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn prepare(&self) -> Result<OpenBao> {
        let directory = Directory::new("openbao")?;
        let port = self
            .port
            .map_or_else(Port::free, |port| Ok(Port::fixed(port)))?;
        let cluster = Port::free()?;
        let dir = directory.path();
        fs::create_dir(dir.join("data"))?;
        let certificates = self.tls.then(|| Certificates::write(dir)).transpose()?;
        let scheme = if self.tls { "https" } else { "http" };
        let tls = certificates.as_ref().map_or_else(
            || json!({"tls_disable": true}),
            |files| {
                json!({
                    "tls_cert_file": files.certificate_file(),
                    "tls_key_file": files.key_file(),
                })
            },
        );
        let mut tcp = json!({
            "address": format!("127.0.0.1:{}", port.number()),
            "cluster_address": format!("127.0.0.1:{}", cluster.number()),
        });
        if let (Some(tcp), Value::Object(tls)) = (tcp.as_object_mut(), tls) {
            tcp.extend(tls);
        }
        let settings = json!({
            "storage": {"raft": {
                "path": dir.join("data"),
                "node_id": "testbed",
                "performance_multiplier": "1",
            }},
            "listener": [{"tcp": tcp}, {"unix": {"address": dir.join("bao.sock")}}],
            "api_addr": format!("{scheme}://127.0.0.1:{}", port.number()),
            "cluster_addr": format!("https://127.0.0.1:{}", cluster.number()),
        });
        fs::write(dir.join("bao.json"), settings.to_string())?;
        let process = Process::new("bao", dir.join("bao.log"), Lifetime::Owned);
        Ok(OpenBao {
            process,
            program: program()?,
            scheme,
            port,
            _cluster: cluster,
            unseal_key: String::new(),
            root_token: String::new(),
            certificates,
            directory,
        })
    }
}

/// A running OpenBao server; killed when dropped.
#[derive(Debug)]
pub struct OpenBao {
    // Before the directory: the server ends before its files go.
    process: Process,
    program: PathBuf,
    scheme: &'static str,
    port: Port,
    _cluster: Port,
    unseal_key: String,
    root_token: String,
    certificates: Option<Certificates>,
    directory: Directory,
}

impl OpenBao {
    /// Starts a server without TLS, initializes and unseals it.
    ///
    /// # Panics
    /// It is not installed or does not start; with the end of its log.
    pub fn start() -> Self {
        Self::builder().start()
    }

    /// Settings of a server to start.
    pub fn builder() -> OpenBaoBuilder {
        OpenBaoBuilder {
            tls: false,
            port: None,
        }
    }

    /// Whether this machine has OpenBao.
    pub fn is_installed() -> bool {
        program().is_ok()
    }

    fn launch(&self) -> Result<()> {
        let mut command = self.process.command(&self.program, None);
        command
            .arg("server")
            .arg("-config")
            .arg(self.directory.path().join("bao.json"));
        let _ = fs::remove_file(self.socket());
        self.process.start(command, &|| {
            self.request("GET", "sys/seal-status", None, "")
                .is_ok_and(|(status, _)| status == 200)
        })
    }

    fn initialize(&mut self) -> Result<()> {
        let keys = json!({"secret_shares": 1, "secret_threshold": 1});
        let made = self.try_api("PUT", "sys/init", &keys)?;
        let text = |value: &Value| value.as_str().map(str::to_owned);
        self.unseal_key = text(&made["keys_base64"][0]).context("no unseal key was made")?;
        self.root_token = text(&made["root_token"]).context("no root token was made")?;
        self.try_unseal()
    }

    fn try_unseal(&self) -> Result<()> {
        self.try_api("PUT", "sys/unseal", &json!({"key": self.unseal_key}))?;
        if !wait_until(ANSWER_LIMIT, || {
            self.request("GET", "sys/health", None, "")
                .is_ok_and(|(status, _)| status == 200)
        }) {
            bail!(
                "OpenBao is not active after it was unsealed; the end of its log:\n{}",
                self.log_tail(40)
            );
        }
        Ok(())
    }

    /// `http://127.0.0.1:<port>`, or `https` where that was asked for: what `VAULT_ADDR` takes.
    pub fn addr(&self) -> String {
        format!("{}://127.0.0.1:{}", self.scheme, self.port())
    }

    /// The TCP port.
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// The program, which is also the command line: `bao kv put …`.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// The token that may do everything.
    pub fn root_token(&self) -> &str {
        &self.root_token
    }

    /// The certificate to trust where the server was started with TLS.
    pub fn ca_file(&self) -> Option<&Path> {
        self.certificates.as_ref().map(Certificates::ca_file)
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("bao.sock")
    }

    /// The last lines of the server's log.
    pub fn log_tail(&self, lines: usize) -> String {
        self.process.log_tail(lines)
    }

    /// The process id while the server runs.
    pub fn pid(&self) -> Option<u32> {
        self.process.pid()
    }

    /// Seals the server: it answers 503 until it is unsealed.
    ///
    /// # Panics
    /// It refuses.
    pub fn seal(&self) {
        self.api("PUT", "sys/seal", &Value::Null);
    }

    /// Unseals the server and waits until it answers.
    ///
    /// # Panics
    /// It refuses.
    pub fn unseal(&self) {
        self.try_unseal()
            .unwrap_or_else(|error| panic!("{error:#}"));
    }

    /// Kills the server with SIGKILL.
    pub fn kill(&self) {
        self.process.kill();
    }

    /// Starts the server again with its port and data and unseals it; kills it first where it
    /// runs.
    ///
    /// # Panics
    /// It does not start; with the end of its log.
    pub fn restart(&self) {
        self.kill();
        self.launch()
            .and_then(|()| self.try_unseal())
            .unwrap_or_else(|error| panic!("{error:#}"));
    }

    /// Stops the process where it stands (SIGSTOP): connections stay, answers do not come.
    pub fn pause(&self) {
        self.process.signal(Signal::STOP);
    }

    /// Goes on after [`pause`](Self::pause).
    pub fn resume(&self) {
        self.process.signal(Signal::CONT);
    }

    /// Mounts a KV store of version 2 at `path` and waits until it can be written.
    ///
    /// # Panics
    /// It refuses.
    pub fn enable_kv2(&self, path: &str) {
        let store = json!({"type": "kv", "options": {"version": "2"}});
        self.api("POST", &format!("sys/mounts/{path}"), &store);
        // A new store refuses to work for a moment.
        let probe = format!("{path}/config");
        assert!(
            wait_until(ANSWER_LIMIT, || self
                .try_api("GET", &probe, &Value::Null)
                .is_ok()),
            "the KV store at {path} does not get ready; the end of the log:\n{}",
            self.log_tail(40)
        );
    }

    /// Calls the API with the root token: `api("POST", "secret/data/mutt", &json!({…}))`. Null is
    /// no body, and the answer to a call that answers nothing.
    ///
    /// # Panics
    /// The answer is not a success.
    pub fn api(&self, method: &str, path: &str, body: &Value) -> Value {
        self.try_api(method, path, body)
            .unwrap_or_else(|error| panic!("{error:#}"))
    }

    /// As [`api`](Self::api).
    ///
    /// # Errors
    /// The server is away, or the answer is not a success.
    pub fn try_api(&self, method: &str, path: &str, body: &Value) -> Result<Value> {
        let body = (!body.is_null()).then(|| body.to_string());
        let (status, answer) = self.request(method, path, body.as_deref(), &self.root_token)?;
        if !(200..300).contains(&status) {
            bail!("{method} {path}: status {status}: {answer}");
        }
        if answer.trim().is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_str(&answer).with_context(|| format!("{method} {path}: {answer}"))
    }

    /// One request; status and body. HTTP/1.0, so that the body ends with the connection.
    fn request(
        &self,
        method: &str,
        path: &str,
        body: Option<&str>,
        token: &str,
    ) -> Result<(u16, String)> {
        let mut stream = UnixStream::connect(self.socket()).context("OpenBao is away")?;
        stream.set_read_timeout(Some(ANSWER_LIMIT))?;
        stream.set_write_timeout(Some(ANSWER_LIMIT))?;
        let body = body.unwrap_or_default();
        let path = path.trim_start_matches('/').trim_start_matches("v1/");
        let token = if token.is_empty() {
            String::new()
        } else {
            format!("X-Vault-Token: {token}\r\n")
        };
        write!(
            stream,
            "{method} /v1/{path} HTTP/1.0\r\nHost: localhost\r\n{token}\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (head, body) = answer
            .split_once("\r\n\r\n")
            .context("an answer that is not HTTP")?;
        let status = head
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok())
            .context("an answer without a status")?;
        Ok((status, body.to_owned()))
    }
}

/// Where `bao` is: in `target/tools/`, where `cargo muttdev setup` puts it, or in PATH.
fn program() -> Result<PathBuf> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target"),
        PathBuf::from,
    );
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::iter::once(target.join("tools"))
        .chain(std::env::split_paths(&path))
        .map(|dir| dir.join("bao"))
        .find(|program| program.is_file())
        .context(
            "OpenBao is not installed: no `bao` in target/tools or PATH; \
             `cargo muttdev setup` installs it",
        )
}

//! A real `mutt` process on a temporary directory and ports of its own.
#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(
    clippy::unwrap_used,
    reason = "a test ends where something is not as it must be"
)]

pub mod cluster;
pub mod ledger;

use std::fs::{File, TryLockError};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mutt_engine::embedded::{Embedded, Mode};
use mutt_engine::{Change, Engine};
use mutt_rules::RuleDraft;

/// What tests show in `X-API-KEY`.
pub const KEY: &str = "test-ingest-key";

/// A port that no other test uses and that no outgoing connection is given: below the ephemeral
/// range, free for TCP and UDP, locked for as long as this lives.
#[derive(Debug)]
pub struct Port {
    pub number: u16,
    _lock: File,
}

impl Port {
    pub fn take() -> Self {
        let dir = std::env::temp_dir().join("mutt-test-ports");
        std::fs::create_dir_all(&dir).expect("the temporary directory can be written");
        let seed = uuid::Uuid::new_v4().as_u128();
        for step in 0..10_000_u128 {
            let number = 10_000 + u16::try_from((seed + step * 7) % 20_000).expect("below 20,000");
            let lock = File::create(dir.join(number.to_string())).expect("a lock file");
            match lock.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => continue,
                Err(TryLockError::Error(error)) => panic!("locking: {error}"),
            }
            let addr = (Ipv4Addr::LOCALHOST, number);
            if TcpListener::bind(addr).is_ok() && UdpSocket::bind(addr).is_ok() {
                return Self {
                    number,
                    _lock: lock,
                };
            }
        }
        panic!("no port is free");
    }

    pub fn addr(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.number))
    }
}

/// A `mutt serve` that can be killed and started again.
#[derive(Debug)]
pub struct Mutt {
    pub dir: tempfile::TempDir,
    pub ingest: Port,
    pub syslog: Port,
    pub webui: Port,
    settings: Vec<(String, String)>,
    serve: Vec<&'static str>,
    process: Option<Child>,
}

impl Mutt {
    /// A server with these settings, not started yet.
    pub fn new(settings: &[(&str, &str)]) -> Self {
        Self {
            dir: tempfile::tempdir().expect("a temporary directory"),
            ingest: Port::take(),
            syslog: Port::take(),
            webui: Port::take(),
            settings: settings
                .iter()
                .map(|&(name, value)| (name.into(), value.into()))
                .collect(),
            serve: vec!["serve"],
            process: None,
        }
    }

    /// Only these roles, rather than all of them.
    pub fn roles(mut self, roles: &'static str) -> Self {
        self.serve.extend(["--roles", roles]);
        self
    }

    pub fn data(&self) -> &Path {
        self.dir.path()
    }

    /// Sets or replaces a setting; holds from the next start on.
    pub fn set(&mut self, name: &str, value: &str) {
        self.settings.retain(|(known, _)| known != name);
        self.settings.push((name.into(), value.into()));
    }

    /// A `mutt` command with this server's environment.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mutt"));
        command
            .args(arguments)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("USER", "tester")
            .env("MUTT_DATA_DIR", self.data())
            .env("INGEST_API_KEY", KEY)
            .env("SERVER_PORT_INGESTOR", self.ingest.number.to_string())
            .env("SERVER_PORT_WEBUI", self.webui.number.to_string())
            .env("SYSLOG_UDP_ADDR", self.syslog.number.to_string())
            .env("SYSLOG_TCP_ADDR", self.syslog.number.to_string())
            .env("SYSLOG_TLS_ADDR", "off")
            .env("RELP_ADDR", "off")
            .env("SNMP_TRAP_ADDR", "off")
            .env("SERVER_PORT_ALERTER", "0")
            .env("SERVER_PORT_ALERTER_METRICS", "0")
            .env("SERVER_PORT_MOOG_FORWARDER", "0")
            .env("SERVER_PORT_MOOG_METRICS", "0")
            .env("METRICS_PORT_REMEDIATION", "0")
            .env("HEALTH_PORT_REMEDIATION", "0")
            .env("LOG_LEVEL", "warn");
        for (name, value) in &self.settings {
            command.env(name, value);
        }
        command
    }

    /// Runs a `mutt` command to its end.
    pub fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("mutt runs")
    }

    /// Starts the server and waits until its ingest port answers.
    pub async fn start(&mut self) {
        self.spawn();
        self.wait_ready().await;
    }

    /// Starts the server.
    pub fn spawn(&mut self) {
        assert!(self.process.is_none(), "it runs already");
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log_path())
            .expect("a log file");
        let process = self
            .command(&self.serve)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("mutt serve starts");
        self.process = Some(process);
    }

    pub fn log_path(&self) -> PathBuf {
        // Beside the data, so that a data directory that cannot be written does not matter.
        self.data().with_extension("log")
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    pub async fn wait_ready(&mut self) {
        let url = self.url("/");
        let began = Instant::now();
        loop {
            if reqwest::get(&url).await.is_ok() {
                return;
            }
            let process = self.process.as_mut().expect("it was started");
            if let Some(status) = process.try_wait().expect("its state is known") {
                panic!("mutt serve ended with {status}:\n{}", self.log());
            }
            assert!(
                began.elapsed() < PATIENCE,
                "not ready in time:\n{}",
                self.log()
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.ingest.addr())
    }

    pub fn pid(&self) -> u32 {
        self.process.as_ref().expect("it runs").id()
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        let mut process = self.process.take().expect("it runs");
        process.kill().expect("it can be killed");
        process.wait().expect("it can be waited for");
    }

    /// Sends a signal by name.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill")
            .args([&format!("-{name}"), &self.pid().to_string()])
            .status()
            .expect("kill runs");
        assert!(status.success());
    }

    /// SIGTERM; the exit code.
    pub fn stop(&mut self) -> Option<i32> {
        self.signal("TERM");
        self.process
            .take()
            .expect("it runs")
            .wait()
            .expect("it can be waited for")
            .code()
    }

    /// The engine of this server's directory, beside it or without it.
    pub fn engine(&self) -> Arc<dyn Engine> {
        Embedded::open(self.data(), Mode::Tool).expect("the data directory can be opened")
    }

    /// Stores rules.
    pub async fn rules(&self, rules: serde_json::Value) {
        let drafts: Vec<RuleDraft> = serde_json::from_value(rules).expect("rules");
        let engine = self.engine();
        let change = Change {
            by: "test".into(),
            ..Change::default()
        };
        engine
            .add_rules(drafts, &change)
            .await
            .expect("rules are stored");
        engine.close().await;
    }

    /// Posts a body with the key.
    pub async fn post(&self, body: impl Into<String>) -> reqwest::Result<reqwest::Response> {
        reqwest::Client::new()
            .post(self.url("/ingest"))
            .header("x-api-key", KEY)
            .body(body.into())
            .send()
            .await
    }
}

impl Drop for Mutt {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            let _ = process.kill();
            let _ = process.wait();
        }
        if std::thread::panicking() {
            eprintln!("--- log of mutt serve ---\n{}", self.log());
        }
        let _ = std::fs::remove_file(self.log_path());
    }
}

/// How long anything may take on a slow, busy machine before it counts as stuck.
pub const PATIENCE: Duration = Duration::from_mins(2);

/// Waits until `condition` holds.
pub async fn until<F>(what: &str, mut condition: F)
where
    F: AsyncFnMut() -> bool,
{
    let began = Instant::now();
    while !condition().await {
        assert!(began.elapsed() < PATIENCE, "waited too long for {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A rule that looks for a text.
pub fn contains(text: &str, handling: &str) -> serde_json::Value {
    serde_json::json!({
        "match_string": text,
        "prod_handling": handling,
        "dev_handling": "Ignore",
        "team_assignment": "NetOps",
    })
}

//! The servers under measurement, as child processes.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use axum::Router;
use axum::routing::post;
use mutt_engine::Engine;
use mutt_engine::embedded::{Embedded, Mode};
use mutt_rules::RuleDraft;
use tokio::process::{Child, Command};
use tokio_util::sync::CancellationToken;

use crate::context::Context;
use crate::exit::{Failure, Outcome};

/// The key that senders show.
pub const KEY: &str = "bench-key";

/// A `mutt serve` on a temporary directory.
pub struct Server {
    process: Child,
    dir: PathBuf,
    /// Where `/ingest` is.
    pub ingest: SocketAddr,
    /// Where syslog is, UDP and TCP.
    pub syslog: SocketAddr,
    /// Where the API is.
    pub api: SocketAddr,
    /// How long it took from start to a healthy answer.
    pub ready_after: Duration,
}

/// A port of the loopback interface that is free now.
fn free_port() -> Outcome<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
        .local_addr()?
        .port())
}

impl Server {
    /// Starts the ingestor alone: what comes in is stored and not decided.
    pub async fn ingestor() -> Outcome<Self> {
        Self::with_roles("ingestor", Vec::new(), &[]).await
    }

    /// Starts every role with these rules and settings.
    pub async fn start(rules: Vec<RuleDraft>, settings: &[(&str, String)]) -> Outcome<Self> {
        Self::with_roles(
            "ingestor,alerter,forwarder,remediation,webui",
            rules,
            settings,
        )
        .await
    }

    async fn with_roles(
        roles: &str,
        rules: Vec<RuleDraft>,
        settings: &[(&str, String)],
    ) -> Outcome<Self> {
        let dir = std::env::temp_dir().join(format!("mutt-bench-{}", uuid::Uuid::now_v7()));
        std::fs::create_dir_all(&dir)?;
        if !rules.is_empty() {
            let engine: std::sync::Arc<dyn Engine> = Embedded::open(&dir, Mode::Tool)?;
            engine
                .add_rules(rules, &Context::change(Some("bench".into())))
                .await?;
            engine.close().await;
        }
        let (ingest, syslog, webui) = (free_port()?, free_port()?, free_port()?);
        let began = Instant::now();
        let mut command = Command::new(std::env::current_exe()?);
        command
            .args(["serve", "--roles", roles])
            .env("MUTT_DATA_DIR", &dir)
            .env("INGEST_API_KEY", KEY)
            .env("WEBUI_API_KEY", KEY)
            .env("LOG_LEVEL", "warn")
            .env("SERVER_PORT_INGESTOR", ingest.to_string())
            .env("SERVER_PORT_WEBUI", webui.to_string())
            .env("SYSLOG_UDP_ADDR", syslog.to_string())
            .env("SYSLOG_TCP_ADDR", syslog.to_string())
            .env("SYSLOG_TLS_ADDR", "off")
            .env("RELP_ADDR", "off")
            .env("SNMP_TRAP_ADDR", "off")
            .env("SERVER_PORT_ALERTER", "0")
            .env("SERVER_PORT_ALERTER_METRICS", "0")
            .env("SERVER_PORT_MOOG_FORWARDER", "0")
            .env("SERVER_PORT_MOOG_METRICS", "0")
            .env("METRICS_PORT_REMEDIATION", "0")
            .env("HEALTH_PORT_REMEDIATION", "0")
            .env("MAX_INGEST_QUEUE_SIZE", "100000000")
            .stdout(Stdio::null())
            .kill_on_drop(true);
        for (name, value) in settings {
            command.env(name, value);
        }
        let process = command.spawn()?;
        let local = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut server = Self {
            process,
            dir,
            ingest: local(ingest),
            syslog: local(syslog),
            api: local(webui),
            ready_after: Duration::ZERO,
        };
        server.wait_ready(began).await?;
        Ok(server)
    }

    async fn wait_ready(&mut self, began: Instant) -> Outcome {
        let url = format!("http://{}/health", self.ingest);
        loop {
            // Without a sink the forwarder says so and the whole is not "healthy"; an answer is
            // what counts here.
            if reqwest::get(&url).await.is_ok() {
                self.ready_after = began.elapsed();
                return Ok(());
            }
            if let Some(status) = self.process.try_wait()? {
                return Err(Failure::failed(format!("the server ended: {status}")));
            }
            if began.elapsed() > Duration::from_secs(30) {
                return Err(Failure::failed("the server was not ready within 30 s"));
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// The engine beside the server.
    pub fn engine(&self) -> Outcome<std::sync::Arc<dyn Engine>> {
        Ok(Embedded::open(&self.dir, Mode::Tool)?)
    }

    /// Resident memory in MiB.
    pub fn resident(&self) -> f64 {
        self.resident_probe()()
    }

    /// Reads resident memory in MiB whenever it is called.
    pub fn resident_probe(&self) -> impl Fn() -> f64 + Send + 'static {
        let pid = self.process.id().unwrap_or_default();
        move || resident(pid)
    }

    /// The sum of a counter over all its labels.
    pub async fn counter(&self, name: &str) -> f64 {
        let Ok(answer) = reqwest::get(format!("http://{}/metrics", self.ingest)).await else {
            return 0.0;
        };
        let text = answer.text().await.unwrap_or_default();
        text.lines()
            .filter(|line| {
                line.strip_prefix(name)
                    .is_some_and(|rest| rest.starts_with([' ', '{']))
            })
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum()
    }

    /// Ends it and removes its directory.
    pub async fn stop(mut self) -> Outcome {
        self.process.kill().await?;
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.start_kill();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

fn resident(pid: u32) -> f64 {
    std::fs::read_to_string(format!("/proc/{pid}/status"))
        .unwrap_or_default()
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|rest| rest.trim().strip_suffix(" kB"))
        .and_then(|kib| kib.trim().parse::<f64>().ok())
        .map_or(0.0, |kib| kib / 1024.0)
}

/// A server like ours whose only handler answers 200: what the reference is measured against.
pub struct NullServer {
    _process: Child,
    /// Where it listens.
    pub addr: SocketAddr,
}

impl NullServer {
    /// Starts it as a child process.
    pub async fn start() -> Outcome<Self> {
        let port = free_port()?;
        let process = Command::new(std::env::current_exe()?)
            .args(["bench", "--null-server"])
            .env("MUTT_NULL_SERVER_PORT", port.to_string())
            .kill_on_drop(true)
            .spawn()?;
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        for _ in 0..1000 {
            if tokio::net::TcpStream::connect(addr).await.is_ok() {
                return Ok(Self {
                    _process: process,
                    addr,
                });
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Err(Failure::failed("the reference server did not start"))
    }
}

/// The child process of [`NullServer`].
pub async fn null_server() -> Outcome {
    let port = std::env::var("MUTT_NULL_SERVER_PORT")
        .ok()
        .and_then(|port| port.parse().ok())
        .ok_or_else(|| Failure::usage("this is for `mutt bench` itself"))?;
    let router = Router::new().route(
        "/ingest",
        post(|body: axum::body::Bytes| async move {
            drop(body);
        }),
    );
    let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let server =
        mutt_http::Server::bind(addr, mutt_http::Limits::default()).map_err(Failure::failed)?;
    server.run(router, CancellationToken::new()).await;
    Ok(())
}

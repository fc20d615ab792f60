//! `mutt demo`: everything at once, alive within seconds.

use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use jiff::Timestamp;
use mutt_config::{Secret, Sources};
use mutt_engine::Engine;
use mutt_forwarder::MockMoog;
use mutt_forwarder::mock::Fault;
use mutt_rules::RuleDraft;
use mutt_traffic::{Sender, Targets, Tour, Traffic, World};
use tokio_util::sync::CancellationToken;

use crate::cli::Global;
use crate::context::Context;
use crate::exit::{Failure, Outcome};
use crate::output::{self, Style};
use crate::serve::{Role, Server};
use crate::telemetry;

/// A busy network in one process: sample rules, generated traffic over real sockets, a pretend
/// Moogsoft. Nothing is kept unless --keep says where.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  mutt demo\n  mutt demo --rate 2000 --scenario calm\n  mutt demo --for 60"
)]
pub struct Demo {
    /// Everyday messages per second, on average
    #[arg(long, default_value_t = 40.0, value_parser = rate)]
    rate: f64,
    /// What happens
    #[arg(long, value_enum, default_value_t = Scenario::Tour)]
    scenario: Scenario,
    /// The seed of the traffic
    #[arg(long, default_value_t = 7)]
    seed: u64,
    /// The first port to try for HTTP ingest; the others follow
    #[arg(long, default_value_t = 8080)]
    port_base: u16,
    /// Keep the data in this directory
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// End after so many seconds
    #[arg(long = "for", value_name = "SECONDS")]
    duration: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Scenario {
    /// Incidents one after the other: links, passwords, bad senders, a new device type, a sink that fails
    Tour,
    /// Everyday chatter only
    Calm,
}

fn rate(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|rate| (0.1..=100_000.0).contains(rate))
        .ok_or_else(|| "allowed is a number from 0.1 to 100000".into())
}

const SAMPLE_RULES: &str = include_str!("demo_rules.json");
const SAMPLE_TEAMS: [(&str, &str); 4] = [
    ("router1.prod.example.com", "NetOps"),
    ("switch1.prod.example.com", "NetOps"),
    ("firewall1.prod.example.com", "Security"),
    ("server1.prod.example.com", "SysAdmin"),
];

/// When the sink fails, in seconds of the tour, and for how long.
const SINK_FAILS: (u64, f64) = (45, 20.0);

impl Demo {
    /// Runs until Ctrl-C.
    pub async fn run(self, global: &Global) -> Outcome {
        telemetry::init("error", false, "demo");
        let (dir, _temporary) = if let Some(dir) = &self.keep {
            (dir.clone(), None)
        } else {
            let dir = std::env::temp_dir().join(format!("mutt-demo-{}", std::process::id()));
            (dir.clone(), Some(Temporary(dir)))
        };
        let mock = MockMoog::start(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
            .await
            .map_err(Failure::failed)?;
        let ports = Ports::find(self.port_base)?;
        let context = Context::from_sources(&sources(global, &dir, &ports, &mock), false)?;
        let server = Server::start(&context, &Role::ALL).await?;
        sample_data(&*server.engine).await?;
        self.greet(&dir, &ports, &mock, &server.links.issue());

        let stop = CancellationToken::new();
        let traffic = tokio::spawn(traffic(
            Targets {
                udp: Some(SocketAddr::from((Ipv4Addr::LOCALHOST, ports.syslog))),
                tcp: Some(SocketAddr::from((Ipv4Addr::LOCALHOST, ports.syslog))),
                http: Some(format!("http://127.0.0.1:{}/ingest", ports.ingest)),
                key: context.key(Secret::IngestApiKey).await?,
                ca: None,
            },
            Traffic::new(
                self.seed,
                self.rate,
                Timestamp::now(),
                if self.scenario == Scenario::Tour {
                    Tour::Full
                } else {
                    Tour::Calm
                },
            ),
            stop.clone(),
        ));
        let began = tokio::time::Instant::now();
        let mut minute = tokio::time::interval(Duration::from_secs(15));
        minute.tick().await;
        let mut sink_failed = false;
        let mut terminated = std::pin::pin!(crate::serve::signals::terminated()?);
        loop {
            tokio::select! {
                _ = &mut terminated => break,
                _ = minute.tick() => self.summary(&server, &mock, began).await,
                () = wait_until(began, self.duration) => break,
                () = wait_until(began, Some(SINK_FAILS.0)), if !sink_failed && self.scenario == Scenario::Tour => {
                    sink_failed = true;
                    let (_, seconds) = SINK_FAILS;
                    output::line(&format!("  {:>4} s  the sink answers 503 for {seconds} s: watch the circuit with `mutt top`", began.elapsed().as_secs()));
                    mock.set_faults([Fault { status: Some(503), for_seconds: Some(seconds), ..Fault::default() }]);
                }
            }
        }
        stop.cancel();
        let sent = traffic.await.map_err(Failure::failed)?;
        self.summary(&server, &mock, began).await;
        server.stop().await;
        output::line(&format!(
            "Sent {} events ({} refused on purpose). The pretend Moogsoft got {} alerts.",
            output::count(sent.sent),
            sent.refused,
            output::count(mock.stats(Duration::from_secs(1)).unique)
        ));
        Ok(())
    }

    fn greet(&self, dir: &std::path::Path, ports: &Ports, mock: &MockMoog, link: &str) {
        let colour = output::colour();
        let kept = if self.keep.is_some() {
            "kept"
        } else {
            "deleted on exit; keep with --keep DIR"
        };
        let dir = dir.display();
        let say = |name: &str, text: &str| {
            output::line(&format!(
                "  {} {text}",
                output::paint(colour, Style::Bold, &format!("{name:<9}"))
            ));
        };
        output::line(&format!(
            "MUTT {} demo, data in {dir} ({kept})",
            env!("CARGO_PKG_VERSION")
        ));
        say(
            "UI",
            &format!(
                "http://127.0.0.1:{}/#/login/{link}   valid 30 min, once",
                ports.webui
            ),
        );
        say(
            "HTTP",
            &format!(
                "http://127.0.0.1:{}/ingest   key: {dir}/ingest_api_key   health: /health   metrics: /metrics",
                ports.ingest
            ),
        );
        say("Syslog", &format!("udp+tcp 127.0.0.1:{}", ports.syslog));
        say(
            "API",
            &format!(
                "http://127.0.0.1:{}/api/v2/status   key: {dir}/webui_api_key",
                ports.webui
            ),
        );
        say(
            "Moogsoft",
            &format!("a pretend one: http://{}/mock/stats", mock.local_addr()),
        );
        let tour = match self.scenario {
            Scenario::Tour => {
                "; links flap 0:20, sink fails 0:45, passwords tried 1:10, bad senders 1:30, new device type 2:00"
            }
            Scenario::Calm => "",
        };
        say(
            "Traffic",
            &format!(
                "{} events/s from {} devices, seed {}{tour}",
                self.rate,
                World::default().devices.len(),
                self.seed
            ),
        );
        let data = format!("--data-dir {dir} --url http://127.0.0.1:{}", ports.webui);
        say("Look", &format!("mutt top {data}"));
        say("", &format!("mutt tail {data}"));
        say(
            "Try",
            &format!(
                "logger -n 127.0.0.1 -P {} -d '%LINK-3-UPDOWN: Interface Gi0/1, changed state to down'",
                ports.syslog
            ),
        );
        output::line("  Loopback only, sample rules, no TLS. Ctrl-C ends.");
        output::line("");
    }

    async fn summary(&self, server: &Server, mock: &MockMoog, began: tokio::time::Instant) {
        let engine = &server.engine;
        let counts = server.counts();
        let (received, decided) = (counts.received(), counts.decided());
        let circuit = engine
            .circuit("moogsoft")
            .await
            .map_or("unknown", |circuit| circuit.state.name());
        let waiting =
            engine.event_depth().await.unwrap_or(0) + engine.alert_depth().await.unwrap_or(0);
        let share = counts.handled as f64 / decided.max(1) as f64 * 100.0;
        output::line(&format!(
            "  {:>4} s  {} received, {} decided ({share:.0} % by a rule), {} alerts delivered, {waiting} waiting, circuit {circuit}",
            began.elapsed().as_secs(),
            output::count(received),
            output::count(decided),
            output::count(mock.stats(Duration::from_secs(1)).unique),
        ));
    }
}

/// Settings of the demo: everything on free ports of the loopback interface.
fn sources(global: &Global, dir: &std::path::Path, ports: &Ports, mock: &MockMoog) -> Sources {
    let mut sources = Sources {
        environment: std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .filter(|(name, _)| name == "USER")
            .collect(),
        file: None,
    };
    if let Some(path) = &global.config
        && let Ok(text) = std::fs::read_to_string(path)
    {
        sources.file = Some((path.clone(), text));
    }
    for (name, value) in [
        // Whatever a file says: the demo needs no server.
        ("MUTT_BACKEND", "embedded".into()),
        ("VAULT_ADDR", String::new()),
        ("MUTT_DATA_DIR", dir.display().to_string()),
        ("POD_NAME", "demo".into()),
        ("SERVER_PORT_INGESTOR", ports.ingest.to_string()),
        ("SYSLOG_UDP_ADDR", ports.syslog.to_string()),
        ("SYSLOG_TCP_ADDR", ports.syslog.to_string()),
        ("SYSLOG_TLS_ADDR", "off".into()),
        ("RELP_ADDR", "off".into()),
        ("SNMP_TRAP_ADDR", "off".into()),
        ("SERVER_PORT_WEBUI", ports.webui.to_string()),
        // One process: the ingest port shows health and metrics of all roles.
        ("SERVER_PORT_ALERTER", "0".into()),
        ("SERVER_PORT_ALERTER_METRICS", "0".into()),
        ("SERVER_PORT_MOOG_FORWARDER", "0".into()),
        ("SERVER_PORT_MOOG_METRICS", "0".into()),
        ("METRICS_PORT_REMEDIATION", "0".into()),
        ("HEALTH_PORT_REMEDIATION", "0".into()),
        ("MOOG_WEBHOOK_URL", mock.url()),
        // Short, so that a visitor sees things fail and heal within two minutes.
        ("CIRCUIT_BREAKER_THRESHOLD", "5".into()),
        ("CIRCUIT_BREAKER_TIMEOUT", "10".into()),
        ("REMEDIATION_SCAN_INTERVAL", "10".into()),
        ("REMEDIATION_BACKOFF_BASE", "5".into()),
        ("UNHANDLED_EVENT_WINDOW", "300".into()),
    ] {
        sources.environment.insert(name.into(), value);
    }
    sources
}

async fn wait_until(began: tokio::time::Instant, seconds: Option<u64>) {
    match seconds {
        Some(seconds) => tokio::time::sleep_until(began + Duration::from_secs(seconds)).await,
        None => std::future::pending().await,
    }
}

async fn traffic(
    targets: Targets,
    traffic: Traffic,
    stop: CancellationToken,
) -> mutt_traffic::Sent {
    let Ok(mut sender) = Sender::new(targets).await else {
        return mutt_traffic::Sent::default();
    };
    sender.play(traffic, &stop).await;
    sender.counts
}

/// Rules, hosts and teams of the sample data, unless the kept directory has rules already.
async fn sample_data(engine: &dyn Engine) -> Outcome {
    if !engine.rules().await?.is_empty() {
        return Ok(());
    }
    let drafts: Vec<RuleDraft> = serde_json::from_str(SAMPLE_RULES)
        .map_err(|error| Failure::failed(format!("sample rules: {error}")))?;
    let change = Context::change(Some("sample data of the demo".into()));
    engine.add_rules(drafts, &change).await?;
    for host in ["dev-router1", "test-switch1", "qa-firewall1"] {
        engine.add_development_host(host, &change).await?;
    }
    for (host, team) in SAMPLE_TEAMS {
        engine.set_device_team(host, team, &change).await?;
    }
    Ok(())
}

/// The demo's directory, removed again.
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The ports of one demo; no other demo takes them while this lives.
struct Ports {
    ingest: u16,
    webui: u16,
    syslog: u16,
    _held: Vec<File>,
}

impl Ports {
    fn find(base: u16) -> Outcome<Self> {
        let mut held = Vec::new();
        let mut find = |from: u16, udp: bool| {
            for port in from..from.saturating_add(50) {
                let Some(hold) = hold(port) else { continue };
                let addr = (IpAddr::V4(Ipv4Addr::LOCALHOST), port);
                if TcpListener::bind(addr).is_ok() && (!udp || UdpSocket::bind(addr).is_ok()) {
                    held.push(hold);
                    return Ok(port);
                }
            }
            Err(Failure::failed(format!(
                "no port from {from} on is free; try another --port-base"
            )))
        };
        let ingest = find(base, false)?;
        let webui = find(base.saturating_add(10).max(ingest.saturating_add(1)), false)?;
        let syslog = find(5514, true)?;
        for (wanted, got) in [
            (base, ingest),
            (base.saturating_add(10), webui),
            (5514, syslog),
        ] {
            if wanted != got {
                eprintln!("Port {wanted} is taken; {got} is used instead.");
            }
        }
        Ok(Self {
            ingest,
            webui,
            syslog,
            _held: held,
        })
    }
}

/// A lock on a port, so that of two demos of this user that start at once only one takes it: each
/// looks for a free port some time before it listens there. `None` where another demo has it.
fn hold(port: u16) -> Option<File> {
    let user = rustix::process::geteuid().as_raw();
    let path = std::env::temp_dir().join(format!("mutt-demo-{user}-port-{port}.lock"));
    let file = File::create(path).ok()?;
    file.try_lock().ok()?;
    Some(file)
}

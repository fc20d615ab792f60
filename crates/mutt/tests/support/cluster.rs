//! The distributed set-up: Redis, PostgreSQL, a pretend Moogsoft, and every role as a process of its
//! own. Each of them can be killed and started again at any time.
#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(
    clippy::unwrap_used,
    reason = "a test ends where something is not as it must be"
)]

use std::collections::HashMap;
use std::fs::File;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use mutt_forwarder::MockMoog;
use mutt_testbed::{Postgres, Proxy, Redis};
use tokio::task::JoinHandle;

use super::ledger::{Ledger, http_sender, is_matched};
use super::{KEY, PATIENCE, Port, until};

/// The application's password in PostgreSQL.
pub const DB_PASS: &str = "the-app's-password";
/// Lists that hold events and alerts which are on their way.
const QUEUES: [&str; 2] = ["mutt:ingest_queue", "mutt:alert_queue"];
const DLQS: [&str; 4] = [
    "mutt:dlq:ingest",
    "mutt:dlq:alerter",
    "mutt:dlq:moog",
    "mutt:dlq:dead",
];

/// One role in a process of its own.
pub struct Role {
    /// The subcommand.
    command: &'static str,
    /// Its name in this test.
    pub name: String,
    /// Health and metrics, for the ingestor HTTP ingest too.
    pub port: Port,
    /// Syslog of the ingestor.
    pub syslog: Port,
    /// Where its ports are reached.
    pub host: Ipv4Addr,
    /// What runs it, such as `ip netns exec NAME`.
    pub wrapper: Vec<String>,
    /// Whether every life has a pod name of its own, as in Kubernetes.
    renamed: bool,
    lives: u32,
    settings: HashMap<String, String>,
    dir: PathBuf,
    process: Option<Child>,
}

impl Role {
    pub fn pod(&self) -> String {
        if self.renamed {
            format!("{}-{}", self.name, self.lives)
        } else {
            self.name.clone()
        }
    }

    /// Sets or replaces a setting; holds from the next start on.
    pub fn set(&mut self, name: &str, value: &str) {
        self.settings.insert(name.to_owned(), value.to_owned());
    }

    pub fn unset(&mut self, name: &str) {
        self.settings.remove(name);
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}:{}{path}", self.host, self.port.number)
    }

    fn log_path(&self) -> PathBuf {
        self.dir.with_extension("log")
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// Starts the process.
    pub fn spawn(&mut self) {
        assert!(self.process.is_none(), "{} runs already", self.name);
        self.lives += 1;
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log_path())
            .unwrap();
        // It ends by executing MUTT, which then dies with this process, in whatever way that ends.
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL", "--"])
            .args(&self.wrapper)
            .args([env!("CARGO_BIN_EXE_mutt"), self.command])
            .env_clear()
            .envs(&self.settings)
            .env("POD_NAME", self.pod())
            .stdout(Stdio::null())
            .stderr(log);
        self.process = Some(command.spawn().unwrap());
    }

    /// Waits until its port answers. One that ends is started again, as a supervisor would.
    pub async fn wait_ready(&mut self) {
        let url = self.url("/");
        let began = Instant::now();
        while reqwest::get(&url).await.is_err() {
            let process = self.process.as_mut().unwrap();
            if let Some(status) = process.try_wait().unwrap() {
                eprintln!("{} ended with {status}", self.name);
                self.process = None;
                tokio::time::sleep(Duration::from_millis(200)).await;
                self.spawn();
            }
            assert!(
                began.elapsed() < PATIENCE,
                "{} is not ready in time:\n{}",
                self.name,
                self.log()
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub async fn start(&mut self) {
        self.spawn();
        self.wait_ready().await;
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        let mut process = self.process.take().unwrap();
        process.kill().unwrap();
        process.wait().unwrap();
    }

    /// Sends a signal by name.
    pub fn signal(&self, name: &str) {
        let pid = self.process.as_ref().unwrap().id().to_string();
        let sent = Command::new("kill")
            .args([&format!("-{name}"), &pid])
            .status();
        assert!(sent.unwrap().success());
    }

    /// SIGTERM; the exit code.
    pub fn stop(&mut self) -> Option<i32> {
        self.signal("TERM");
        self.process.take().unwrap().wait().unwrap().code()
    }

    /// Waits until it has ended by itself; the exit code.
    pub async fn ended(&mut self) -> Option<i32> {
        let mut process = self.process.take().unwrap();
        let mut code = None;
        until("the end of a process", async || {
            let status = process.try_wait().unwrap();
            code = status.and_then(|status| status.code());
            status.is_some()
        })
        .await;
        code
    }

    /// A number from its metrics: the sum over all series whose line begins with this.
    pub async fn metric(&self, series: &str) -> f64 {
        let page = reqwest::get(self.url("/metrics")).await.unwrap();
        let page = page.text().await.unwrap();
        page.lines()
            .filter(|line| line.starts_with(series))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum()
    }
}

impl Drop for Role {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            let _ = process.kill();
            let _ = process.wait();
        }
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<_> = log.lines().collect();
            let tail = &lines[lines.len().saturating_sub(40)..];
            eprintln!(
                "--- the end of the log of {} ---\n{}",
                self.name,
                tail.join("\n")
            );
        }
    }
}

/// Everything that belongs to one distributed set-up.
pub struct Cluster {
    // Roles end before their servers.
    pub ingestor: Role,
    pub alerters: Vec<Role>,
    pub forwarders: Vec<Role>,
    pub remediation: Role,
    pub mock: MockMoog,
    /// In between, where they were asked for.
    pub redis_proxy: Option<Proxy>,
    pub postgres_proxy: Option<Proxy>,
    pub redis: Redis,
    pub postgres: Postgres,
    settings: HashMap<String, String>,
    dir: tempfile::TempDir,
}

/// How a cluster is made.
#[derive(Default)]
pub struct Wanted<'a> {
    /// Beside what every role of a test gets.
    pub settings: &'a [(&'a str, &'a str)],
    /// Whether Redis and PostgreSQL are reached through proxies.
    pub proxies: bool,
    /// These instead of new ones; roles reach them on 127.0.0.1 unless settings say otherwise.
    pub redis: Option<Redis>,
    pub postgres: Option<Postgres>,
}

/// An audit row.
#[derive(Debug)]
pub struct Row {
    pub number: u64,
    pub event_id: String,
    pub forwarded: bool,
}

impl Cluster {
    /// Two alerters, two forwarders, one ingestor and remediation, all running.
    pub async fn start(wanted: Wanted<'_>) -> Self {
        let mut cluster = Self::prepare(wanted).await;
        cluster.launch().await;
        cluster
    }

    /// The servers, with the schema, and roles that do not run yet.
    pub async fn prepare(wanted: Wanted<'_>) -> Self {
        let redis = wanted.redis.unwrap_or_else(Redis::start);
        let postgres = wanted.postgres.unwrap_or_else(Postgres::start);
        postgres.create_database("mutt");
        let mock = MockMoog::start((Ipv4Addr::LOCALHOST, 0).into())
            .await
            .unwrap();
        let dir = tempfile::tempdir().unwrap();
        let redis_proxy = wanted.proxies.then(|| Proxy::to_port(redis.port()));
        let postgres_proxy = wanted.proxies.then(|| Proxy::to_port(postgres.port()));
        let redis_port = redis_proxy.as_ref().map_or(redis.port(), Proxy::port);
        let postgres_port = postgres_proxy.as_ref().map_or(postgres.port(), Proxy::port);

        let mut settings: HashMap<String, String> = [
            ("MUTT_BACKEND", "distributed"),
            ("REDIS_HOST", "127.0.0.1"),
            ("REDIS_PORT", &redis_port.to_string()),
            ("REDIS_TLS_ENABLED", "false"),
            ("DB_HOST", "127.0.0.1"),
            ("DB_PORT", &postgres_port.to_string()),
            ("DB_NAME", "mutt"),
            ("DB_USER", "mutt_app"),
            ("DB_PASS_CURRENT", DB_PASS),
            ("DB_SSL_MODE", "disable"),
            ("INGEST_API_KEY", KEY),
            ("WEBUI_API_KEY", KEY),
            ("LOG_LEVEL", "info"),
            ("AUDIT_SCOPE", "all"),
            ("UNHANDLED_EVENT_THRESHOLD", "100000000"),
            ("ALERTER_HEARTBEAT_INTERVAL", "1"),
            ("MOOG_HEARTBEAT_INTERVAL", "1"),
            ("MOOG_WEBHOOK_URL", &mock.url()),
            ("MOOG_RATE_LIMIT", "1000000"),
            ("MOOG_RETRY_BASE_DELAY", "0.05"),
            ("MOOG_RETRY_MAX_DELAY", "0.5"),
            ("MOOG_MAX_RETRIES", "1000"),
            ("CIRCUIT_BREAKER_ENABLED", "false"),
            ("PATH", &std::env::var("PATH").unwrap_or_default()),
            ("USER", "tester"),
        ]
        .into_iter()
        .chain(wanted.settings.iter().copied())
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
        for off in [
            "SERVER_PORT_INGESTOR",
            "SERVER_PORT_ALERTER",
            "SERVER_PORT_ALERTER_METRICS",
            "SERVER_PORT_MOOG_FORWARDER",
            "SERVER_PORT_MOOG_METRICS",
            "SERVER_PORT_WEBUI",
            "METRICS_PORT_REMEDIATION",
            "HEALTH_PORT_REMEDIATION",
        ] {
            settings.insert(off.to_owned(), "0".to_owned());
        }
        migrate(&postgres, &settings, &dir);

        let role = |command: &'static str, name: &str, renamed: bool| {
            let mut role = make_role(&settings, dir.path(), command, name);
            role.renamed = renamed;
            role
        };
        Self {
            ingestor: role("ingestor", "ingestor", false),
            // One keeps its name over a restart, as systemd's units do, the other does not.
            alerters: vec![
                role("alerter", "alerter-a", false),
                role("alerter", "alerter-b", true),
            ],
            forwarders: vec![
                role("forwarder", "forwarder-a", false),
                role("forwarder", "forwarder-b", true),
            ],
            remediation: role("remediation", "remediation", false),
            mock,
            redis_proxy,
            postgres_proxy,
            redis,
            postgres,
            settings,
            dir,
        }
    }

    /// Sets or replaces a setting of every role, also of those to come.
    pub fn set(&mut self, name: &str, value: &str) {
        self.settings.insert(name.to_owned(), value.to_owned());
        self.roles()
            .into_iter()
            .for_each(|role| role.set(name, value));
    }

    pub fn unset(&mut self, name: &str) {
        self.settings.remove(name);
        self.roles().into_iter().for_each(|role| role.unset(name));
    }

    /// Starts every role.
    pub async fn launch(&mut self) {
        for role in self.roles() {
            role.spawn();
        }
        for role in self.roles() {
            role.wait_ready().await;
        }
    }

    /// One more role, with the settings of the others. It does not run yet, and does not belong to
    /// [`Cluster::roles`].
    pub fn another(&self, command: &'static str, name: &str) -> Role {
        make_role(&self.settings, self.dir.path(), command, name)
    }

    pub fn roles(&mut self) -> Vec<&mut Role> {
        std::iter::once(&mut self.ingestor)
            .chain(&mut self.alerters)
            .chain(&mut self.forwarders)
            .chain([&mut self.remediation])
            .collect()
    }

    /// Senders at work, until the ledger says stop.
    pub fn senders(&self, count: usize, ledger: &Arc<Ledger>) -> Vec<JoinHandle<()>> {
        (0..count)
            .map(|_| {
                tokio::spawn(http_sender(
                    self.ingestor.url("/ingest"),
                    Arc::clone(ledger),
                ))
            })
            .collect()
    }

    /// Runs SQL on MUTT's database as superuser; columns are separated by `|`.
    pub fn sql(&self, sql: &str) -> String {
        self.postgres.sql_in("mutt", sql)
    }

    pub fn audit_count(&self) -> u64 {
        let count = self.sql("SELECT count(*) FROM event_audit_log");
        count.trim().parse().unwrap()
    }

    /// Every audit row of a sender's event.
    pub fn rows(&self) -> Vec<Row> {
        let rows = self.sql(
            "SELECT event_id, forwarded_to_moog, substring(raw_message::text from 'ledger-([0-9]+)')
             FROM event_audit_log",
        );
        rows.lines()
            .filter(|line| !line.is_empty())
            .map(|line| {
                let mut columns = line.split('|');
                let event_id = columns.next().unwrap().to_owned();
                let forwarded = columns.next().unwrap() == "t";
                let number = columns.next().unwrap();
                Row {
                    number: number
                        .parse()
                        .unwrap_or_else(|_| panic!("no number: {line}")),
                    event_id,
                    forwarded,
                }
            })
            .collect()
    }

    fn length(&self, command: &str, key: &str) -> u64 {
        let length = self.redis.command(&[command, key]);
        length.trim().parse().unwrap()
    }

    /// The sum of all numbers in all keys like this.
    fn counted(&self, pattern: &str, read: impl Fn(&str) -> String) -> u64 {
        let keys = self.redis.command(&["KEYS", pattern]);
        let values = keys.lines().filter(|key| !key.is_empty()).map(read);
        values
            .flat_map(|value| {
                let numbers = value.lines().map(|line| line.parse::<u64>().unwrap());
                numbers.collect::<Vec<_>>()
            })
            .sum()
    }

    /// Keys of claims, and of what they hold.
    pub fn claims(&self) -> Vec<String> {
        [
            "mutt:claims:alerter:*",
            "mutt:claims:moog:*",
            "mutt:processing:*",
        ]
        .iter()
        .flat_map(|pattern| {
            let keys = self.redis.command(&["KEYS", pattern]);
            keys.lines().map(str::to_owned).collect::<Vec<_>>()
        })
        .filter(|key| !key.is_empty())
        .collect()
    }

    /// What is on its way: waiting, claimed, or to be tried again.
    pub fn waiting(&self) -> u64 {
        let queued: u64 = QUEUES.iter().map(|key| self.length("LLEN", key)).sum();
        queued + self.length("ZCARD", "mutt:alert_retry") + self.claims().len() as u64
    }

    /// Waits until nothing is on its way any more, for as long as something moves.
    pub async fn drained(&self, ledger: &Ledger) {
        let acknowledged = ledger.len() as u64;
        let (mut best, mut moved, mut empty) = ((0, u64::MAX), Instant::now(), 0);
        // Several times in a row: what is between two places at the moment of one look is in neither.
        while empty < 3 {
            let (rows, waiting) = (self.audit_count(), self.waiting());
            // What waits in the spool is in no queue yet.
            empty = if waiting == 0 && rows >= acknowledged {
                empty + 1
            } else {
                0
            };
            if rows > best.0 || waiting < best.1 {
                best = (rows.max(best.0), waiting.min(best.1));
                moved = Instant::now();
            }
            // Nothing more comes: the check says what is missing.
            if waiting == 0 && moved.elapsed() > Duration::from_secs(20) {
                return;
            }
            assert!(
                moved.elapsed() < PATIENCE,
                "{rows} rows of {acknowledged} acknowledged, {waiting} are stuck: {:?}",
                self.claims()
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Ends the senders, waits for the end of the road, and compares.
    pub async fn settle_up(&mut self, ledger: &Ledger, senders: Vec<JoinHandle<()>>) -> Vec<Row> {
        ledger.stop.store(true, Ordering::Relaxed);
        for sender in senders {
            sender.await.unwrap();
        }
        let began = Instant::now();
        self.drained(ledger).await;
        eprintln!("drained after {:?}", began.elapsed());
        let rows = self.compare(ledger);
        for role in self.roles() {
            assert_eq!(role.stop(), Some(0), "{} ends in order", role.name);
        }
        let left = self.claims();
        assert!(left.is_empty(), "claims left behind: {left:?}");
        assert_eq!(self.waiting(), 0);
        rows
    }

    /// Hosts that sent enough of what no rule knows, each of which makes one meta-alert.
    fn meta_alerts(&self) -> u64 {
        let threshold = &self.settings["UNHANDLED_EVENT_THRESHOLD"];
        let hosts = self.sql(&format!(
            "SELECT count(*) FROM (
                 SELECT hostname FROM event_audit_log WHERE raw_message::text LIKE '%who-knows%'
                 GROUP BY hostname HAVING count(*) >= {threshold}) hosts"
        ));
        hosts.trim().parse().unwrap()
    }

    /// Ledger = audit rows, each once = alerts delivered, and no dead letter.
    fn compare(&self, ledger: &Ledger) -> Vec<Row> {
        let rows = self.rows();
        let acknowledged = std::mem::take(&mut *ledger.acknowledged.lock());
        let mut by_number: HashMap<u64, Vec<&Row>> = HashMap::new();
        for row in &rows {
            by_number.entry(row.number).or_default().push(row);
        }
        let forwarded: Vec<_> = rows.iter().filter(|row| row.forwarded).collect();
        let stats = self.mock.stats(Duration::from_secs(1));
        eprintln!(
            "{} acknowledged, {} audit rows, {} alerts, {} deliveries; refused: {:?}",
            acknowledged.len(),
            rows.len(),
            forwarded.len(),
            stats.delivered,
            ledger.refusals()
        );
        let mut lost: Vec<_> = acknowledged
            .iter()
            .filter(|number| !by_number.contains_key(number))
            .collect();
        lost.sort_unstable();
        assert!(
            lost.is_empty(),
            "{} acknowledged and without an audit row: {:?}",
            lost.len(),
            &lost[..lost.len().min(50)]
        );
        let twice: Vec<_> = by_number.values().filter(|rows| rows.len() > 1).collect();
        assert!(
            twice.is_empty(),
            "{} decided twice: {:?}",
            twice.len(),
            &twice[..twice.len().min(10)]
        );
        let undelivered: Vec<_> = forwarded
            .iter()
            .filter(|row| self.mock.delivered(&row.event_id) == 0)
            .collect();
        assert!(undelivered.is_empty(), "not delivered: {undelivered:?}");
        assert_eq!(
            stats.unique,
            forwarded.len() as u64 + self.meta_alerts(),
            "one external_id for each alert, the same on every attempt"
        );
        assert_eq!(stats.uncounted, 0);
        // The unique key of the audit log would hide an event that came twice; the counts do not.
        let accepted = self.counted("mutt:metrics:24h:*", |key| {
            self.redis.command(&["GET", key])
        });
        assert_eq!(accepted, rows.len() as u64, "events accepted");
        let matched = rows.iter().filter(|row| is_matched(row.number)).count();
        let hits = self.counted("mutt:rule_hits:24h:*", |key| {
            self.redis.command(&["HVALS", key])
        });
        assert_eq!(hits, matched as u64, "rules matched");
        for dlq in DLQS {
            assert_eq!(self.length("LLEN", dlq), 0, "{dlq}");
        }
        rows
    }

    /// Waits until so many more events are acknowledged.
    pub async fn progress(&self, ledger: &Ledger, more: usize) {
        let before = ledger.len();
        until("acknowledged events", async || {
            ledger.len() >= before + more
        })
        .await;
    }

    /// Waits until so many more events are on record.
    pub async fn decisions(&self, more: u64) {
        let before = self.audit_count();
        until("decided events", async || {
            self.audit_count() >= before + more
        })
        .await;
    }
}

fn make_role(
    settings: &HashMap<String, String>,
    dir: &Path,
    command: &'static str,
    name: &str,
) -> Role {
    let dir = dir.join(name);
    let (port, syslog) = (Port::take(), Port::take());
    let variable = match command {
        "ingestor" => "SERVER_PORT_INGESTOR",
        "alerter" => "SERVER_PORT_ALERTER",
        "forwarder" => "SERVER_PORT_MOOG_FORWARDER",
        "webui" => "SERVER_PORT_WEBUI",
        _ => "HEALTH_PORT_REMEDIATION",
    };
    let mut role = Role {
        command,
        name: name.to_owned(),
        host: Ipv4Addr::LOCALHOST,
        wrapper: Vec::new(),
        renamed: false,
        lives: 0,
        settings: settings.clone(),
        dir,
        process: None,
        port,
        syslog,
    };
    let port = role.port.number.to_string();
    role.set(variable, &port);
    let syslog = role.syslog.number.to_string();
    for variable in ["SYSLOG_UDP_ADDR", "SYSLOG_TCP_ADDR"] {
        role.set(variable, &syslog);
    }
    for variable in ["SYSLOG_TLS_ADDR", "RELP_ADDR"] {
        role.set(variable, "off");
    }
    role.set("SYSLOG_TLS_ADDR", "off");
    role.set("SNMP_TRAP_ADDR", "off");
    let dir = role.dir.display().to_string();
    role.set("MUTT_DATA_DIR", &dir);
    role
}

/// The schema, the application's role and two rules.
fn migrate(postgres: &Postgres, settings: &HashMap<String, String>, dir: &tempfile::TempDir) {
    let password = DB_PASS.replace('\'', "''");
    postgres.sql(&format!("CREATE ROLE mutt_app LOGIN PASSWORD '{password}'"));
    let output = Command::new(env!("CARGO_BIN_EXE_mutt"))
        .args(["db", "migrate"])
        .env_clear()
        .envs(settings)
        .env("MUTT_DATA_DIR", dir.path().join("migrate"))
        .env("DB_ADMIN_USER", postgres.superuser())
        .env("DB_ADMIN_PASS", postgres.password())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "mutt db migrate: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    postgres.sql_in(
        "mutt",
        "INSERT INTO alert_rules (match_string, prod_handling, dev_handling, team_assignment)
         VALUES ('PAGE-IT', 'Page_and_ticket', 'Ignore', 'NetOps'),
                ('LOG-IT', 'Log_only', 'Ignore', 'NetOps')",
    );
}

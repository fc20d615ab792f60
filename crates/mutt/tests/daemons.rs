//! The configurations in `deploy/`: what they hold is given to the daemon that it is for, which sends
//! through it to a MUTT that runs. Only addresses, keys and directories are put in their places.

#![allow(
    clippy::unwrap_used,
    reason = "a test ends where something is not as it must be"
)]

mod support;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::ops::Range;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;

use mutt_engine::{AuditFilter, Engine, StoredAuditRow};
use mutt_testbed::{Authority, Daemon, Rsyslogd, Snmptrapd, SyslogNg};
use serde_json::Value;
use support::{KEY, Mutt, Port, until};

/// A file of `deploy/` with every left side replaced by its right side; each must be there.
fn deployed(file: &str, places: &[(&str, &str)]) -> String {
    let path = deploy().join(file);
    let mut text = std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    for (from, to) in places {
        assert!(text.contains(from), "{file} does not hold `{from}`");
        text = text.replace(from, to);
    }
    text
}

fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy")
}

/// A MUTT whose audit shows every event, and a daemon in front of it that listens for syslog lines.
struct Bed {
    mutt: Mutt,
    relp: Port,
    tls: Port,
    /// Where the daemon listens.
    front: Port,
    files: tempfile::TempDir,
}

impl Bed {
    async fn start() -> Self {
        let files = tempfile::tempdir().unwrap();
        let authority = Authority::new("Test").unwrap();
        std::fs::write(files.path().join("ca.pem"), authority.pem()).unwrap();
        let server = authority
            .issue("localhost", &["localhost", "127.0.0.1"])
            .unwrap();
        let (certificate, key) = server.write(files.path(), "server").unwrap();
        let client = authority.issue("relay", &["relay.example.com"]).unwrap();
        client.write(files.path(), "client").unwrap();
        let (relp, tls) = (Port::take(), Port::take());
        let mut mutt = Mutt::new(&[
            ("AUDIT_SCOPE", "all"),
            ("UNHANDLED_EVENT_THRESHOLD", "100000000"),
            ("RELP_ADDR", &relp.number.to_string()),
            ("SYSLOG_TLS_ADDR", &tls.number.to_string()),
            ("SYSLOG_TLS_CERT_FILE", &certificate.display().to_string()),
            ("SYSLOG_TLS_KEY_FILE", &key.display().to_string()),
            (
                "SYSLOG_TLS_CLIENT_CA",
                &files.path().join("ca.pem").display().to_string(),
            ),
        ]);
        mutt.start().await;
        Self {
            mutt,
            relp,
            tls,
            front: Port::take(),
            files,
        }
    }

    fn tls_dir(&self) -> String {
        self.files.path().display().to_string()
    }

    /// rsyslog with a file of `deploy/rsyslog`, behind an input for lines.
    fn rsyslog(&self, file: &str, places: &[(&str, &str)]) -> Daemon {
        let text = deployed(&format!("rsyslog/{file}"), places);
        Rsyslogd::start(|_| {
            format!(
                "module(load=\"imtcp\")\n\
                 input(type=\"imtcp\" address=\"127.0.0.1\" port=\"{}\")\n{text}",
                self.front.number
            )
        })
    }

    /// syslog-ng with a file of `deploy/syslog-ng`, behind an input for lines.
    fn syslog_ng(&self, file: &str, places: &[(&str, &str)]) -> Daemon {
        let text = deployed(&format!("syslog-ng/{file}"), places);
        SyslogNg::start(|dir| {
            // Other than rsyslog it keeps a message's host only if told to. A source that no path
            // names is not opened.
            format!(
                "source s_src {{ network(ip(\"127.0.0.1\") port({}) transport(\"tcp\") \
                 keep-hostname(yes)); }};\n\
                 log {{ source(s_log); }};\n{}",
                self.front.number,
                text.replace("/var/lib/syslog-ng", &dir.display().to_string())
            )
        })
    }

    /// Sends lines of a device to the daemon.
    async fn send(&self, numbers: Range<usize>) {
        let addr: SocketAddr = self.front.addr();
        let mut stream = None;
        until("the daemon to listen", async || {
            stream = TcpStream::connect(addr).ok();
            stream.is_some()
        })
        .await;
        let lines = numbers.fold(String::new(), |lines, number| {
            let host = host(number);
            lines + &format!("<11>Oct 11 22:14:15 {host} app[7]: number {number}.\n")
        });
        stream.unwrap().write_all(lines.as_bytes()).unwrap();
    }

    /// Waits until MUTT has decided `0..count`, and checks each event. How often one came again.
    async fn arrived(&self, count: usize) -> usize {
        let engine = self.mutt.engine();
        let mut rows = Vec::new();
        until("all messages to arrive", async || {
            rows = audit_rows(&*engine).await;
            by_number(&rows).len() >= count
        })
        .await;
        engine.close().await;
        let by_number = by_number(&rows);
        assert!(by_number.keys().copied().eq(0..count), "others came too");
        for (number, events) in &by_number {
            for event in events {
                assert_eq!(event["hostname"], host(*number), "{event}");
                assert_eq!(event["message"], format!("number {number}."), "{event}");
                assert_eq!(event["program"], "app", "{event}");
                assert_eq!(event["facility"], "user", "{event}");
            }
        }
        assert!(rows.iter().all(|row| row.syslog_severity == Some(3)));
        rows.len() - count
    }

    /// Messages before, during and after MUTT's sudden death all arrive.
    async fn survives_a_kill(&mut self, most_repeats: usize) {
        self.send(0..3_000).await;
        let engine = self.mutt.engine();
        until("the first messages", async || {
            !audit_rows(&*engine).await.is_empty()
        })
        .await;
        engine.close().await;
        self.mutt.kill();
        self.send(3_000..3_300).await;
        self.mutt.start().await;
        self.send(3_300..3_600).await;
        let repeats = self.arrived(3_600).await;
        eprintln!("{repeats} of 3,600 came again");
        assert!(repeats <= most_repeats, "{repeats} messages came again");
    }
}

fn host(number: usize) -> String {
    format!("sw{}", number % 3)
}

fn by_number(rows: &[StoredAuditRow]) -> BTreeMap<usize, Vec<Value>> {
    let mut found: BTreeMap<usize, Vec<Value>> = BTreeMap::new();
    for row in rows {
        let event: Value = serde_json::from_str(&row.raw_message).unwrap();
        let text = event["message"].as_str().unwrap();
        let number = text
            .strip_prefix("number ")
            .and_then(|text| text.strip_suffix('.'))
            .unwrap_or_else(|| panic!("{event}"));
        found
            .entry(number.parse().unwrap())
            .or_default()
            .push(event);
    }
    found
}

async fn audit_rows(engine: &dyn Engine) -> Vec<StoredAuditRow> {
    let mut rows: Vec<StoredAuditRow> = Vec::new();
    loop {
        let filter = AuditFilter {
            before_id: rows.last().map(|row| row.id),
            limit: 5000,
            ..AuditFilter::default()
        };
        let page = engine.audit_rows(filter).await.unwrap();
        if page.is_empty() {
            return rows;
        }
        rows.extend(page);
    }
}

/// Whether a daemon is here; says so where it is not, for then nothing is tested.
fn present(name: &str, is_installed: bool) -> bool {
    if !is_installed {
        eprintln!("skipped: {name} is not installed (`cargo muttdev setup`)");
    }
    is_installed
}

fn quoted(port: u16) -> String {
    format!("port=\"{port}\"")
}

#[tokio::test]
async fn rsyslog_over_relp_loses_nothing() {
    if !present("rsyslog", Rsyslogd::is_installed()) {
        return;
    }
    let mut bed = Bed::start().await;
    let port = quoted(bed.relp.number);
    let _daemon = bed.rsyslog(
        "60-mutt-relp.conf",
        &[("mutt.example.com", "127.0.0.1"), ("port=\"20514\"", &port)],
    );
    // At most the window of omrelp (128) twice: the kill and the way back.
    bed.survives_a_kill(256).await;
}

#[tokio::test]
async fn rsyslog_over_tcp() {
    if !present("rsyslog", Rsyslogd::is_installed()) {
        return;
    }
    let bed = Bed::start().await;
    let port = quoted(bed.mutt.syslog.number);
    let _daemon = bed.rsyslog(
        "60-mutt-tcp.conf",
        &[("mutt.example.com", "127.0.0.1"), ("port=\"5514\"", &port)],
    );
    bed.send(0..500).await;
    assert_eq!(bed.arrived(500).await, 0);
}

#[tokio::test]
async fn rsyslog_over_tls() {
    if !present("rsyslog", Rsyslogd::is_installed()) {
        return;
    }
    let bed = Bed::start().await;
    let port = quoted(bed.tls.number);
    let _daemon = bed.rsyslog(
        "60-mutt-tls.conf",
        &[
            ("target=\"mutt.example.com\"", "target=\"127.0.0.1\""),
            ("mutt.example.com", "localhost"),
            ("port=\"6514\"", &port),
            ("/etc/rsyslog.d/tls", &bed.tls_dir()),
        ],
    );
    bed.send(0..500).await;
    assert_eq!(bed.arrived(500).await, 0);
}

#[tokio::test]
async fn rsyslogs_omelasticsearch_loses_nothing() {
    if !present("rsyslog", Rsyslogd::is_installed()) {
        return;
    }
    let mut bed = Bed::start().await;
    let url = format!("http://{}", bed.mutt.ingest.addr());
    let errors = bed.files.path().join("errors.json");
    let _daemon = bed.rsyslog(
        "60-mutt-elasticsearch.conf",
        &[
            ("https://mutt.example.com:8080", &url),
            ("tls.cacert=\"/etc/rsyslog.d/tls/ca.pem\"", ""),
            ("REPLACE_WITH_INGEST_KEY", KEY),
            (
                "/var/log/rsyslog-mutt-errors.json",
                &errors.display().to_string(),
            ),
        ],
    );
    // At most one batch per worker.
    bed.survives_a_kill(500).await;
    assert!(!errors.exists());
}

/// The module is not in Debian: rsyslog must find nothing else to complain about.
#[test]
fn rsyslogs_omhttp_is_well_formed() {
    if !present("rsyslog", Rsyslogd::is_installed()) {
        return;
    }
    let file = deploy().join("rsyslog/60-mutt-omhttp.conf");
    let text = std::fs::read_to_string(&file).unwrap();
    for part in ["retry=\"on\"", "retry.ruleset=\"mutt_retry\""] {
        let given = text.lines().filter(|line| line.trim() == part).count();
        assert_eq!(given, 2, "{part}, in both actions");
    }
    let Err(error) = Rsyslogd::check(&file) else {
        return;
    };
    let said = format!("{error:#}");
    assert!(said.contains("omhttp"), "{said}");
    assert!(!said.contains("syntax error"), "{said}");
}

#[tokio::test]
async fn syslog_ng_over_http_loses_nothing() {
    if !present("syslog-ng", SyslogNg::is_installed()) {
        return;
    }
    let mut bed = Bed::start().await;
    let url = format!("http://{}", bed.mutt.ingest.addr());
    let _daemon = bed.syslog_ng(
        "mutt-http.conf",
        &[
            ("https://mutt.example.com:8080", &url),
            ("tls(ca-file(\"/etc/syslog-ng/tls/ca.pem\"))", ""),
            ("REPLACE_WITH_INGEST_KEY", KEY),
            ("time-reopen(5)", "time-reopen(1)"),
        ],
    );
    // At most one batch per worker.
    bed.survives_a_kill(400).await;
}

#[tokio::test]
async fn syslog_ng_over_tcp() {
    if !present("syslog-ng", SyslogNg::is_installed()) {
        return;
    }
    for file in ["mutt-tcp.conf", "mutt-network.conf"] {
        let bed = Bed::start().await;
        let port = format!("port({})", bed.mutt.syslog.number);
        let _daemon = bed.syslog_ng(
            file,
            &[("mutt.example.com", "127.0.0.1"), ("port(5514)", &port)],
        );
        bed.send(0..500).await;
        assert_eq!(bed.arrived(500).await, 0, "{file}");
    }
}

#[tokio::test]
async fn syslog_ng_over_tls() {
    if !present("syslog-ng", SyslogNg::is_installed()) {
        return;
    }
    let bed = Bed::start().await;
    let port = format!("port({})", bed.tls.number);
    let _daemon = bed.syslog_ng(
        "mutt-tls.conf",
        &[
            ("mutt.example.com", "127.0.0.1"),
            ("port(6514)", &port),
            ("/etc/syslog-ng/tls", &bed.tls_dir()),
        ],
    );
    bed.send(0..500).await;
    assert_eq!(bed.arrived(500).await, 0);
}

/// A trap of a device through snmptrapd's log and rsyslog is an event about the device.
#[tokio::test]
async fn snmptrapd_in_front() {
    if !present("rsyslog", Rsyslogd::is_installed())
        || !present("snmptrapd", Snmptrapd::is_installed())
    {
        return;
    }
    let bed = Bed::start().await;
    let port = quoted(bed.relp.number);
    let rsyslog = bed.rsyslog(
        "50-mutt-snmptrapd.conf",
        &[("mutt.example.com", "127.0.0.1"), ("port=\"20514\"", &port)],
    );
    let unit = deployed("snmptrapd/mutt.conf", &[]);
    assert!(unit.contains("snmptrapd -f -On -n -Ls 5"), "{unit}");
    let config = deployed("snmptrapd/snmptrapd.conf", &[]);
    let snmptrapd = Snmptrapd::start(&config, &["-On", "-n"]);
    let to = format!("udp:127.0.0.1:{}", snmptrapd.port().unwrap());
    for arguments in [
        "-v2c -c public TO 77 1.3.6.1.6.3.1.1.5.3 1.3.6.1.2.1.2.2.1.1.3 i 3",
        "-v1 -c public TO 1.3.6.1.4.1.8072 10.9.8.7 6 17 77 1.3.6.1.2.1.2.2.1.2.3 s eth0",
    ] {
        let status = Command::new("snmptrap")
            .args(["-m", "", "-M", ""])
            .args(
                arguments
                    .split(' ')
                    .map(|word| if word == "TO" { to.as_str() } else { word }),
            )
            .status()
            .unwrap();
        assert!(status.success());
    }
    let log = snmptrapd.directory().join("daemon.log");
    let mut text = String::new();
    until("snmptrapd to write both traps down", async || {
        text = std::fs::read_to_string(&log).unwrap();
        text.contains("= INTEGER: 3\n") && text.contains("= STRING: \"eth0\"\n")
    })
    .await;
    // What snmptrapd hands to syslog() as one message begins with the time.
    let (_, traps) = text.split_once("NET-SNMP version").unwrap();
    let (_, traps) = traps.split_once('\n').unwrap();
    let socket = UnixDatagram::unbound().unwrap();
    socket.connect(rsyslog.socket()).unwrap();
    let mut message = String::new();
    for line in traps.lines().chain(["2"]) {
        if line.starts_with('2') && !message.is_empty() {
            let datagram = format!("<174>Nov 21 23:54:08 snmptrapd[7]: {message}");
            socket.send(datagram.as_bytes()).unwrap();
            message.clear();
        }
        message.push_str(line);
        message.push('\n');
    }
    let engine = bed.mutt.engine();
    let mut rows = Vec::new();
    until("both traps", async || {
        rows = audit_rows(&*engine).await;
        rows.len() >= 2
    })
    .await;
    engine.close().await;
    let mut seen: Vec<_> = rows
        .iter()
        .map(|row| {
            (
                row.trap_oid.as_deref().unwrap_or("none"),
                row.hostname.as_str(),
            )
        })
        .collect();
    seen.sort_unstable();
    assert_eq!(
        seen,
        [
            ("1.3.6.1.4.1.8072.0.17", "10.9.8.7"),
            ("1.3.6.1.6.3.1.1.5.3", "127.0.0.1"),
        ]
    );
    for row in &rows {
        let event: Value = serde_json::from_str(&row.raw_message).unwrap();
        assert_eq!(event["varbinds"].as_array().unwrap().len(), 1, "{event}");
        assert_eq!(event["facility"], "local5", "{event}");
    }
}

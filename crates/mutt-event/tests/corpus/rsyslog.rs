//! The corpus through a real rsyslogd: field by field, who reads it as engineers expect.
//!
//! rsyslog is no judge here, the corpus is. What it reads right MUTT has to read right as well.
use std::collections::BTreeMap;
use std::net::UdpSocket;
use std::path::Path;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use jiff::civil::DateTime;
use mutt_testbed::{Daemon, Rsyslogd};
use serde_json::Value;

use super::support::{self, Line, event_of};

/// How many lines are on their way at once: fewer than any socket's buffer holds.
const WINDOW: usize = 50;
const PATIENCE: Duration = Duration::from_mins(1);
/// The tag of the messages that stand between the lines, with the line's number.
const MARKER: &str = "corpus-marker";

/// A daemon that writes the properties of what it gets over UDP, and where to send.
fn rsyslogd() -> (Daemon, std::net::SocketAddr) {
    // Free at this moment, and asked for again at once; a start that fails is tried again.
    for _ in 0..20 {
        let address = UdpSocket::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let daemon = Rsyslogd::try_start(|dir| {
            format!(
                r#"global(parser.escapeControlCharactersOnReceive="off" parser.permitSlashInProgramName="on")
module(load="imudp")
template(name="properties" type="list" option.jsonf="on") {{
  property(outname="host" name="hostname" format="jsonf")
  property(outname="from" name="fromhost-ip" format="jsonf")
  property(outname="program" name="programname" format="jsonf")
  property(outname="procid" name="procid" format="jsonf")
  property(outname="time" name="timereported" dateFormat="rfc3339" format="jsonf")
  property(outname="received" name="timegenerated" dateFormat="rfc3339" format="jsonf")
  property(outname="severity" name="syslogseverity" format="jsonf")
  property(outname="message" name="msg" format="jsonf")
}}
ruleset(name="out") {{ action(type="omfile" file="{dir}/out.jsonl" template="properties") }}
input(type="imudp" address="127.0.0.1" port="{port}" ruleset="out" rateLimit.interval="0")"#,
                dir = dir.display(),
                port = address.port(),
            )
        });
        if let Ok(daemon) = daemon {
            return (daemon, address);
        }
    }
    panic!("rsyslogd does not start");
}

fn written(file: &Path) -> Vec<Value> {
    let bytes = std::fs::read(file).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    // The last line may not be complete yet.
    text.lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect()
}

/// What rsyslog makes of each line; `None` for one that it drops.
fn properties(lines: &[Line]) -> Vec<Option<Value>> {
    let (daemon, address) = rsyslogd();
    let file = daemon.directory().join("out.jsonl");
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let marker = |number: usize| format!("<13>Nov 21 13:00:00 h {MARKER}: {number}");
    let until = Instant::now() + PATIENCE;
    // Until the daemon listens, nothing of it is known: the first marker says so.
    let has = |number: usize| {
        written(&file).iter().any(|read| {
            read["program"] == MARKER
                && read["message"].as_str().unwrap().trim() == number.to_string()
        })
    };
    while !has(0) {
        assert!(Instant::now() < until, "{}", daemon.log_tail(20));
        let _ = socket.send_to(marker(0).as_bytes(), address);
        std::thread::sleep(Duration::from_millis(50));
    }
    for (index, line) in lines.iter().enumerate() {
        let _ = socket.send_to(&line.bytes, address);
        socket
            .send_to(marker(index + 1).as_bytes(), address)
            .unwrap();
        if index % WINDOW == WINDOW - 1 || index + 1 == lines.len() {
            while !has(index + 1) {
                assert!(
                    Instant::now() < until,
                    "line {index}: {}",
                    daemon.log_tail(20)
                );
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }
    let mut properties: Vec<Option<Value>> = Vec::new();
    properties.resize_with(lines.len(), || None);
    let mut next = 0;
    for read in written(&file) {
        if read["program"] == MARKER {
            next = read["message"].as_str().unwrap().trim().parse().unwrap();
        } else if let Some(slot) = properties.get_mut(next) {
            *slot = Some(read);
        }
    }
    properties
}

/// One field of a line: what is expected, and whether each reads it so.
struct Field {
    name: &'static str,
    mutt: bool,
    rsyslog: bool,
}

fn fields(line: &Line, event: &Value, properties: Option<&Value>) -> Vec<Field> {
    let expect = &line.expect;
    let mut fields = Vec::new();
    let ours = |name: &str| event[name].as_str().unwrap_or_default();
    let theirs = |name: &str| {
        let value = properties.and_then(|properties| properties[name].as_str());
        value.unwrap_or_default()
    };
    let mut field = |name, mutt, rsyslog| {
        let rsyslog = rsyslog && properties.is_some();
        fields.push(Field {
            name,
            mutt,
            rsyslog,
        });
    };
    if let Some(host) = &expect.host {
        let named = |read: &str, peer: &str| {
            if read == peer {
                String::new()
            } else {
                read.to_owned()
            }
        };
        let rsyslog = named(theirs("host"), theirs("from"));
        field(
            "host",
            named(ours("hostname"), support::PEER) == *host,
            rsyslog == *host || (rsyslog == "localhost" && host.is_empty()),
        );
    }
    if let Some(expected) = &expect.timestamp {
        let digits = expected.trim_end_matches('Z');
        let read = ours("timestamp");
        let mutt = read.starts_with(digits) && digits.is_empty() == read.is_empty();
        field(
            "time",
            mutt,
            same_time(expected, line, theirs("time"), theirs("received")),
        );
    }
    if let Some(severity) = expect.severity {
        field(
            "severity",
            event["syslog_severity"] == severity,
            theirs("severity") == severity.to_string(),
        );
    }
    if let Some(program) = &expect.program {
        // It keeps the colon of some tags, and a mark where there is none.
        let rsyslog = theirs("program").trim_end_matches(':');
        field("program", ours("program") == program, rsyslog == program);
    }
    if let Some(procid) = &expect.procid {
        let rsyslog = theirs("procid");
        field(
            "procid",
            ours("procid") == procid,
            rsyslog == procid || (rsyslog == "-" && procid.is_empty()),
        );
    }
    if let Some(message) = &expect.message {
        field(
            "message",
            ours("message").trim() == message.trim(),
            theirs("message").trim() == message.trim(),
        );
    }
    fields
}

/// Whether rsyslog's time is the expected one. It cannot know another year than this, nor a zone
/// that is not written, and takes the time of receipt where it finds none.
fn same_time(expected: &str, line: &Line, read: &str, received: &str) -> bool {
    if expected.is_empty() {
        return read == received;
    }
    let (Ok(expected), Ok(moment)) = (expected.parse::<Timestamp>(), read.parse::<Timestamp>())
    else {
        return false;
    };
    let wall = read
        .get(..19)
        .and_then(|text| text.parse::<DateTime>().ok());
    let without_year = |time: DateTime| {
        (
            time.month(),
            time.day(),
            time.time().with().subsec_nanosecond(0).build().ok(),
        )
    };
    let utc = |time: Timestamp| time.to_zoned(jiff::tz::TimeZone::UTC).datetime();
    let there = expected.to_zoned(line.zone.clone()).datetime();
    without_year(utc(moment)) == without_year(utc(expected))
        || wall.is_some_and(|wall| without_year(wall) == without_year(there))
}

/// Lines that rsyslog reads right and MUTT does not, in that field, and why that is wanted.
const WANTED: &[(&str, &str, &str)] = &[];

#[test]
fn what_rsyslog_reads_right_is_read_right() {
    if !Rsyslogd::is_installed() {
        eprintln!("skipped: there is no rsyslog");
        return;
    }
    let mut lines = support::lines("");
    lines.extend(support::lines("held-out"));
    let properties = properties(&lines);
    // Both right, only MUTT, only rsyslog, neither.
    let mut counts: BTreeMap<&str, [usize; 4]> = BTreeMap::new();
    let mut worse = Vec::new();
    for (line, properties) in lines.iter().zip(&properties) {
        let event = event_of(line);
        let text = String::from_utf8_lossy(&line.bytes);
        for field in fields(line, &event, properties.as_ref()) {
            let case = match (field.mutt, field.rsyslog) {
                (true, true) => 0,
                (true, false) => 1,
                (false, true) => 2,
                (false, false) => 3,
            };
            counts.entry(field.name).or_default()[case] += 1;
            let wanted = WANTED
                .iter()
                .any(|(start, name, _)| *name == field.name && text.starts_with(start));
            if case == 2 && !wanted {
                worse.push(format!(
                    "{} of {text}\n    MUTT: {event}\n    rsyslog: {properties:?}",
                    field.name
                ));
            }
        }
    }
    println!(
        "{:10} {:>6} {:>10} {:>13} {:>8}",
        "field", "both", "only MUTT", "only rsyslog", "neither"
    );
    for (name, [both, mutt, rsyslog, neither]) in &counts {
        println!("{name:10} {both:6} {mutt:10} {rsyslog:13} {neither:8}");
    }
    let dropped = properties
        .iter()
        .filter(|properties| properties.is_none())
        .count();
    println!(
        "{} lines, of which rsyslog writes nothing for {dropped}",
        lines.len()
    );
    assert!(dropped < 10, "rsyslog did not get the lines");
    assert!(
        worse.is_empty(),
        "only rsyslog is right:\n{}",
        worse.join("\n")
    );
}

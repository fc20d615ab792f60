//! The same datagrams read by MUTT and by Net-SNMP's snmptrapd, compared field by field: trap,
//! variables, types and values.

#![allow(clippy::unwrap_used)] // this is a test

use std::fmt::Write as _;
use std::fs;
use std::net::UdpSocket;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mutt_snmp::{Access, EngineId, LocalEngine, Received, Receiver, Trap, Value, Version};
use mutt_testbed::Snmptrapd;

/// Version 1 traps with enterprise and numbers, all variables one per line, strings in hexadecimal.
const FORMAT: &str = "disableAuthorization yes\n\
    format1 TRAP1 %N %w %q\\n%V\\n%v\\nEND\\n\n\
    format2 TRAP2\\n%V\\n%v\\nEND\\n\n";

/// One trap as both tell it.
#[derive(Debug, PartialEq)]
struct Told {
    trap: String,
    /// OID, type and value of each variable.
    variables: Vec<String>,
}

/// One call of snmptrap: its options, and what follows the address.
struct Call {
    options: Vec<String>,
    rest: Vec<String>,
}

fn v2(trap: &str, variables: &[(&str, &str, &str)]) -> Call {
    let mut rest = vec!["12345".to_owned(), trap.to_owned()];
    rest.extend(words(variables));
    Call {
        options: ["-v", "2c", "-c", "dc1"].map(str::to_owned).to_vec(),
        rest,
    }
}

fn v1(enterprise: &str, generic: &str, specific: &str, variables: &[(&str, &str, &str)]) -> Call {
    let mut rest: Vec<String> = [enterprise, "192.0.2.7", generic, specific, "12345"]
        .map(str::to_owned)
        .to_vec();
    rest.extend(words(variables));
    Call {
        options: ["-v", "1", "-c", "dc1"].map(str::to_owned).to_vec(),
        rest,
    }
}

fn words(variables: &[(&str, &str, &str)]) -> Vec<String> {
    variables
        .iter()
        .flat_map(|(oid, kind, value)| [(*oid).to_owned(), (*kind).to_owned(), (*value).to_owned()])
        .collect()
}

/// Every type that snmptrap can send, at its edges.
const EVERY_TYPE: [(&str, &str); 31] = [
    ("i", "0"),
    ("i", "-1"),
    ("i", "127"),
    ("i", "128"),
    ("i", "-129"),
    ("i", "2147483647"),
    ("i", "-2147483648"),
    ("u", "0"),
    ("u", "4294967295"),
    ("c", "2147483648"),
    ("c", "4294967295"),
    ("C", "0"),
    ("C", "9223372036854775808"),
    ("C", "18446744073709551615"),
    ("t", "4294967295"),
    ("a", "0.0.0.0"),
    ("a", "255.255.255.255"),
    ("o", "0.0"),
    ("o", "1.3.6.1.4.1.4294967295.128.16384.2097152"),
    ("o", "2.999.1"),
    ("n", "x"),
    ("s", ""),
    ("s", "word"),
    ("s", "two\nlines and a \"quote\""),
    ("s", "Gr\u{fc}\u{df}e \u{20ac}"),
    ("x", "00"),
    ("x", "00 ff 80 0a 5c"),
    ("F", "10.5"),
    ("D", "-2.25"),
    ("I", "-7"),
    ("U", "7"),
];

fn calls() -> Vec<Call> {
    let mut calls = Vec::new();
    // Every type alone, and all together.
    for (kind, value) in EVERY_TYPE {
        calls.push(v2(
            "1.3.6.1.4.1.99999.0.1",
            &[("1.3.6.1.4.1.99999.1.0", kind, value)],
        ));
        // Version 1 has no Counter64.
        if kind != "C" {
            calls.push(v1(
                "1.3.6.1.4.1.99999",
                "6",
                "7",
                &[("1.3.6.1.4.1.99999.1.0", kind, value)],
            ));
        }
    }
    let all: Vec<_> = EVERY_TYPE
        .iter()
        .map(|(kind, value)| ("1.3.6.1.4.1.99999.2.1.4294967295", *kind, *value))
        .collect();
    calls.push(v2("1.3.6.1.6.3.1.1.5.3", &all));
    // Nothing, many, and much.
    calls.push(v2("1.3.6.1.6.3.1.1.5.1", &[]));
    let many: Vec<_> = (0..400)
        .map(|_| ("1.3.6.1.2.1.2.2.1.8.7", "i", "2"))
        .collect();
    calls.push(v2("1.3.6.1.6.3.1.1.5.4", &many));
    for length in [127, 128, 255, 256, 20_000] {
        let long = "x".repeat(length);
        calls.push(v2(
            "1.3.6.1.4.1.99999.0.2",
            &[("1.3.6.1.4.1.99999.3.0", "s", &long)],
        ));
    }
    // Numbers of traps and variables.
    let longest = format!("1.3.6.1.4.1.99999{}", ".4294967295".repeat(100));
    for number in [
        "0.0",
        "1.0.8802.1",
        "2.16.840",
        "2.999.4294967295",
        &longest,
    ] {
        calls.push(v2(number, &[(number, "i", "1")]));
    }
    // Version 1: all generic traps, and specific ones of every kind of enterprise.
    for generic in ["0", "1", "2", "3", "4", "5"] {
        calls.push(v1("1.3.6.1.4.1.9.1.1", generic, "0", &[]));
    }
    for enterprise in [
        "1.3.6.1.4.1.9",
        "1.3.6.1.4.1.9.0",
        "1.3.6.1.6.3.1.1.5",
        "1.3.6.1.4.1.4294967295",
    ] {
        for specific in ["0", "1", "2147483647"] {
            calls.push(v1(
                enterprise,
                "6",
                specific,
                &[("1.3.6.1.2.1.1.5.0", "s", "edge1")],
            ));
        }
    }
    calls.extend(mixed());
    calls
}

/// Sixty traps with variables of all types in changing order and number; the same in every run.
fn mixed() -> impl Iterator<Item = Call> {
    let mut state: u64 = 42;
    let mut next = move |below: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        usize::try_from(state >> 33).unwrap() % below
    };
    (0..60).map(move |_| {
        let variables: Vec<(String, &str, &str)> = (0..next(12))
            .map(|_| {
                let (kind, value) = EVERY_TYPE[next(EVERY_TYPE.len())];
                let mut oid = "1.3.6.1.4.1".to_owned();
                for _ in 0..=next(10) {
                    let bits = 1 + next(31);
                    write!(oid, ".{}", next(1 << bits)).unwrap();
                }
                (oid, kind, value)
            })
            .collect();
        let variables: Vec<_> = variables
            .iter()
            .map(|(oid, kind, value)| (oid.as_str(), *kind, *value))
            .collect();
        v2("1.3.6.1.4.1.99999.0.3", &variables)
    })
}

#[test]
fn snmptrapd_reads_the_same() {
    let daemon = Snmptrapd::start(FORMAT, &["-On", "-Ox", "-Oe"]);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    // Long enough for any machine; a datagram that does not come fails the test.
    socket
        .set_read_timeout(Some(Duration::from_mins(1)))
        .unwrap();
    let engine = LocalEngine::new(
        EngineId::new(b"\x80\0\0\0\x05mutt").unwrap(),
        1,
        Instant::now(),
    );
    let access = Arc::new(Access::parse("communities = [\"dc1\"]").unwrap());
    let mut receiver = Receiver::new(access, engine).unwrap();

    let mut ours = Vec::new();
    let mut buffer = vec![0; 65_536];
    let calls = calls();
    for call in &calls {
        let status = Command::new("snmptrap")
            .args(&call.options)
            .arg(socket.local_addr().unwrap().to_string())
            .args(&call.rest)
            .env("MIBS", "")
            .env("SNMPCONFPATH", daemon.directory())
            .env("SNMP_PERSISTENT_DIR", daemon.directory())
            .stderr(Stdio::null())
            .status()
            .unwrap_or_else(|error| panic!("snmptrap (package snmp): {error}"));
        assert!(status.success(), "{:?}", call.rest);
        let (length, from) = socket.recv_from(&mut buffer).unwrap();
        // The very same octets go on to Net-SNMP, one at a time, so that none is lost.
        let to = (std::net::Ipv4Addr::LOCALHOST, daemon.port().unwrap());
        socket.send_to(&buffer[..length], to).unwrap();
        match receiver.receive(&buffer[..length], from, Instant::now()) {
            Received::Trap(trap) => ours.push(told(&trap)),
            Received::Refused(refusal) => panic!("{refusal:?}: {:?}", call.rest),
            _ => panic!("{:?}", call.rest),
        }
        wait_for(&daemon, ours.len());
    }

    let theirs = read(&log(&daemon));
    assert_eq!(theirs.len(), ours.len());
    for ((theirs, ours), call) in theirs.iter().zip(&ours).zip(&calls) {
        assert_eq!(ours, theirs, "{:?}", call.rest);
    }
}

fn log(daemon: &mutt_testbed::Daemon) -> String {
    let octets = fs::read(daemon.directory().join("daemon.log")).unwrap();
    String::from_utf8_lossy(&octets).into_owned()
}

fn wait_for(daemon: &mutt_testbed::Daemon, traps: usize) {
    let begun = Instant::now();
    while log(daemon).matches("\nEND\n").count() < traps {
        assert!(
            begun.elapsed() < Duration::from_mins(1),
            "snmptrapd did not tell of trap {traps}: {}",
            daemon.log_tail(20)
        );
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// A trap in snmptrapd's words.
fn told(trap: &Trap<'_>) -> Told {
    let mut variables = Vec::new();
    if trap.version != Version::V1 {
        let ticks = trap.uptime.unwrap();
        variables.push(format!(".1.3.6.1.2.1.1.3.0 = Timeticks: ({ticks})"));
        variables.push(format!(".1.3.6.1.6.3.1.1.4.1.0 = OID: .{}", trap.trap_oid));
    }
    for varbind in &trap.varbinds {
        variables.push(format!(".{} = {}", varbind.oid, value(&varbind.value)));
    }
    Told {
        trap: trap.trap_oid.to_string(),
        variables,
    }
}

fn value(value: &Value<'_>) -> String {
    match value {
        Value::Integer(number) => format!("INTEGER: {number}"),
        Value::OctetString([]) => "\"\"".into(),
        Value::OctetString(octets) => {
            let mut text = "Hex-STRING:".to_owned();
            for octet in *octets {
                write!(text, " {octet:02X}").unwrap();
            }
            text
        }
        Value::ObjectIdentifier(Some(oid)) => format!("OID: .{oid}"),
        Value::Null => "NULL".into(),
        Value::IpAddress(address) => format!("IpAddress: {address}"),
        Value::Counter32(number) => format!("Counter32: {number}"),
        Value::Gauge32(number) => format!("Gauge32: {number}"),
        Value::TimeTicks(ticks) => format!("Timeticks: ({ticks})"),
        Value::Counter64(number) => format!("Counter64: {number}"),
        Value::Opaque([0x9f, 0x78, 4, rest @ ..]) => {
            let number = f32::from_be_bytes((*rest).try_into().unwrap());
            format!("Opaque: Float: {number:.6}")
        }
        Value::Opaque([0x9f, 0x79, 8, rest @ ..]) => {
            let number = f64::from_be_bytes((*rest).try_into().unwrap());
            format!("Opaque: Float: {number:.6}")
        }
        Value::Opaque([0x9f, 0x7a, 1, number]) => {
            format!("Opaque: Int64: {}", number.cast_signed())
        }
        Value::Opaque([0x9f, 0x7b, 1, number]) => format!("Opaque: UInt64: {number}"),
        other => format!("{other:?}"),
    }
}

/// What snmptrapd wrote.
fn read(log: &str) -> Vec<Told> {
    let mut all = Vec::new();
    let mut open: Option<Told> = None;
    for line in log.lines() {
        if line == "END" {
            all.extend(open.take());
        } else if let Some(numbers) = line.strip_prefix("TRAP1 ") {
            open = Some(Told {
                trap: translated(numbers),
                variables: Vec::new(),
            });
        } else if line == "TRAP2" {
            open = Some(Told {
                trap: String::new(),
                variables: Vec::new(),
            });
        } else if let Some(told) = &mut open {
            add(told, line);
        }
    }
    all
}

fn add(told: &mut Told, line: &str) {
    if line.trim().is_empty() {
        return;
    }
    if !line.starts_with('.') {
        // Octets go on, sixteen to a line.
        let last = told.variables.last_mut().unwrap();
        last.push(' ');
        last.push_str(line.trim());
        return;
    }
    if let Some((".1.3.6.1.6.3.1.1.4.1.0", oid)) = line.split_once(" = OID: .") {
        oid.clone_into(&mut told.trap);
    }
    // The time once more in words is no value of its own.
    let end = match line.find(" = Timeticks: ") {
        Some(_) => line.find(')').unwrap() + 1,
        None => line.len(),
    };
    told.variables.push(line[..end].trim().to_owned());
}

/// RFC 3584, 3.1, of the enterprise and the numbers of a version 1 trap, as snmptrapd writes them.
fn translated(numbers: &str) -> String {
    let mut numbers = numbers.split_whitespace();
    let enterprise = numbers.next().unwrap().trim_start_matches('.');
    let generic: u32 = numbers.next().unwrap().parse().unwrap();
    let specific = numbers.next().unwrap().trim_start_matches('.');
    if generic == 6 {
        format!("{enterprise}.0.{specific}")
    } else {
        format!("1.3.6.1.6.3.1.1.5.{}", generic + 1)
    }
}

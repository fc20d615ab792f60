//! SNMP: what Net-SNMP sends becomes events; informs are answered for what is durable.

use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;

use arc_swap::ArcSwap;
use mutt_engine::EventQueue;
use mutt_event::Batch;
use mutt_ingest::snmp::{SnmpOptions, SnmpTraps, SnmpUsers};
use mutt_ingest::{DoorOptions, Listener, RejectReason};
use mutt_snmp::UsmStat;
use mutt_snmp::names::{Entry, Names, parse_names_file};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::support::*;

const USERS: &str = r#"
communities = ["dc1"]

[[user]]
name = "netops"
auth = "sha256"
auth_password = "maplesyrup1"
priv = "aes128"
priv_password = "maplesyrup2"
"#;

const NETOPS: [&str; 14] = [
    "-v",
    "3",
    "-u",
    "netops",
    "-l",
    "authPriv",
    "-a",
    "SHA-256",
    "-A",
    "maplesyrup1",
    "-x",
    "AES",
    "-X",
    "maplesyrup2",
];

const COMMUNITY: [&str; 4] = ["-v", "2c", "-c", "dc1"];

struct Snmp {
    bed: Bed,
    users: Arc<SnmpUsers>,
    names: Arc<ArcSwap<Names>>,
    addr: SocketAddr,
    listener: JoinHandle<()>,
    files: TempDir,
}

impl Snmp {
    fn new() -> Self {
        Self::on(Bed::new())
    }

    fn on(bed: Bed) -> Self {
        let files = TempDir::new().unwrap();
        let path = files.path().join("snmp.toml");
        write_closed(&path, USERS);
        let users = SnmpUsers::load(path).unwrap();
        let options = SnmpOptions::new(LOCAL, files.path().join("engine.toml"));
        let names = options.names.clone();
        let traps = SnmpTraps::bind(options, users.clone(), bed.admission.clone()).unwrap();
        Self {
            users,
            names,
            addr: traps.local_addr(),
            listener: tokio::spawn(traps.run(bed.stop.clone())),
            bed,
            files,
        }
    }

    /// A program of Net-SNMP that sends `rest` to `to`.
    fn send(&self, program: &str, arguments: &[&str], to: SocketAddr, rest: &[&str]) -> Child {
        Command::new(program)
            .args(arguments)
            .arg(to.to_string())
            .args(rest)
            .env("MIBS", "")
            .env("SNMPCONFPATH", self.files.path())
            .env("SNMP_PERSISTENT_DIR", self.files.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("{program} (package snmp): {error}"))
    }

    fn rejected(&self, reason: RejectReason) -> u64 {
        self.bed.rejected(Listener::SnmpTrap, reason)
    }

    /// Whether every message that was read is accounted for.
    fn adds_up(&self) -> bool {
        let refused: u64 = RejectReason::ALL
            .map(|reason| self.rejected(reason))
            .iter()
            .sum();
        let accepted = self.bed.accepted(Listener::SnmpTrap);
        self.bed.received(Listener::SnmpTrap) == accepted + refused
    }

    /// The bytes that snmptrap sends.
    async fn datagram(&self, arguments: &[&str], rest: &[&str]) -> Vec<u8> {
        let relay = tokio::net::UdpSocket::bind(LOCAL).await.unwrap();
        let child = self.send("snmptrap", arguments, relay.local_addr().unwrap(), rest);
        let mut buffer = vec![0; 65_536];
        let length = timeout(PATIENCE, relay.recv(&mut buffer))
            .await
            .unwrap()
            .unwrap();
        buffer.truncate(length);
        succeeded(child).await;
        buffer
    }
}

async fn succeeded(mut child: Child) {
    let status = timeout(PATIENCE, child.wait())
        .await
        .expect("it ends")
        .unwrap();
    assert!(status.success(), "{status}");
}

fn write_closed(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

fn link_down(index: &str) -> Vec<String> {
    let instance = |column: &str| format!("1.3.6.1.2.1.2.2.1.{column}.{index}");
    [
        "4711",
        "1.3.6.1.6.3.1.1.5.3",
        &instance("1"),
        "i",
        index,
        &instance("2"),
        "s",
        "GigabitEthernet1/0/7",
    ]
    .map(str::to_owned)
    .to_vec()
}

fn refs(texts: &[String]) -> Vec<&str> {
    texts.iter().map(String::as_str).collect()
}

#[tokio::test]
async fn traps_become_events() {
    let mut snmp = Snmp::new();
    let values = link_down("7");
    succeeded(snmp.send("snmptrap", &NETOPS, snmp.addr, &refs(&values))).await;
    let event = snmp.bed.events(1).await.remove(0);
    assert_eq!(event["hostname"], "127.0.0.1");
    assert_eq!(event["source"], "snmp");
    assert_eq!(event["source_ip"], "127.0.0.1");
    assert_eq!(event["trap_oid"], "1.3.6.1.6.3.1.1.5.3");
    assert_eq!(event["snmp_version"], "3");
    assert_eq!(event["security_name"], "netops");
    assert_eq!(event["security_level"], "authPriv");
    assert_eq!(event["uptime"], 4711);
    assert_eq!(event["timestamp"], event["_received_at"]);
    assert_eq!(event["syslog_severity"], Value::Null);
    assert_eq!(
        event["varbinds"],
        json!([
            {"oid": "1.3.6.1.2.1.2.2.1.1.7", "name": "ifIndex.7", "type": "integer", "value": 7},
            {
                "oid": "1.3.6.1.2.1.2.2.1.2.7", "name": "ifDescr.7", "type": "octet_string",
                "value": "GigabitEthernet1/0/7",
            },
        ])
    );
    assert_eq!(
        event["message"],
        "Interface GigabitEthernet1/0/7 (index 7) is down"
    );

    // Version 1 names the agent, which then is the host; the community is nowhere.
    let v1 = [
        "1.3.6.1.4.1.9.1",
        "192.0.2.7",
        "6",
        "17",
        "5",
        "1.3.6.1.4.1.9.2",
        "x",
        "00ff",
    ];
    succeeded(snmp.send("snmptrap", &["-v", "1", "-c", "dc1"], snmp.addr, &v1)).await;
    let event = snmp.bed.events(1).await.remove(0);
    assert_eq!(event["hostname"], "192.0.2.7");
    assert_eq!(event["source_ip"], "127.0.0.1");
    assert_eq!(event["trap_oid"], "1.3.6.1.4.1.9.1.0.17");
    assert_eq!(event["varbinds"][0]["type"], "hex_string");
    assert_eq!(event["varbinds"][0]["value"], "00ff");
    assert!(!event.to_string().contains("dc1"));
    eventually("the counters add up", || snmp.adds_up()).await;
    snmp.bed.stop(snmp.listener).await;
}

#[tokio::test]
async fn names_of_the_operator_hold_from_one_trap_to_the_next() {
    let mut snmp = Snmp::new();
    // An SNMPv1 trap has a 0 that the list has not.
    let trap = [
        "1.3.6.1.4.1.99999",
        "127.0.0.1",
        "6",
        "7",
        "5",
        "1.3.6.1.4.1.99999.3.4",
        "i",
        "2",
    ];
    let version = ["-v", "1", "-c", "dc1"];
    succeeded(snmp.send("snmptrap", &version, snmp.addr, &trap)).await;
    let event = snmp.bed.events(1).await.remove(0);
    assert_eq!(event["trap_name"], "enterprises.99999.0.7");
    assert_eq!(
        event["message"],
        "enterprises.99999.0.7: enterprises.99999.3.4=2"
    );

    let list = "1.3.6.1.4.1.99999.7 pumpFailed\npumpState = 1.3.6.1.4.1.99999.3\n";
    let (lines, errors) = parse_names_file(list);
    assert_eq!(errors, []);
    let names = Names::new(lines.into_iter().map(Entry::from));
    snmp.names.store(Arc::new(names));
    succeeded(snmp.send("snmptrap", &version, snmp.addr, &trap)).await;
    let event = snmp.bed.events(1).await.remove(0);
    assert_eq!(event["trap_oid"], "1.3.6.1.4.1.99999.0.7");
    assert_eq!(event["trap_name"], "pumpFailed");
    assert_eq!(event["message"], "pumpFailed: pumpState.4=2");
    assert_eq!(event["varbinds"][0]["oid"], "1.3.6.1.4.1.99999.3.4");
    assert_eq!(event["varbinds"][0]["name"], "pumpState.4");
    snmp.bed.stop(snmp.listener).await;
}

#[tokio::test]
async fn an_inform_is_answered_when_it_is_durable_and_stored_once() {
    let mut snmp = Snmp::new();
    for arguments in [&COMMUNITY[..], &NETOPS] {
        // A queue without room: nobody is told that anything is stored.
        snmp.bed.engine.set_queue_limit(1);
        let mut batch = Batch::new();
        batch.push(br#"{"hostname":"a","message":"the only one"}"#);
        snmp.bed.engine.enqueue(batch).await.unwrap();
        let before = snmp.rejected(RejectReason::Retransmission);
        let values = link_down("7");
        let often = [arguments, &["-t", "1", "-r", "100"]].concat();
        let mut sender = snmp.send("snmpinform", &often, snmp.addr, &refs(&values));
        eventually("the sender repeats it", || {
            snmp.rejected(RejectReason::Retransmission) >= before + 2
        })
        .await;
        assert!(sender.try_wait().unwrap().is_none(), "it had an answer");
        assert_eq!(snmp.bed.depth().await, 1);
        snmp.bed.engine.set_queue_limit(100);
        succeeded(sender).await;
        let events = snmp.bed.events(2).await;
        assert_eq!(events[1]["inform"], true);
        assert_eq!(snmp.bed.depth().await, 0);
    }
    eventually("the counters add up", || snmp.adds_up()).await;
    snmp.bed.stop(snmp.listener).await;
}

#[tokio::test]
async fn an_inform_beyond_its_senders_limit_is_answered_and_counted() {
    let senders = TempDir::new().unwrap();
    let path = senders.path().join("senders.toml");
    let text = "[[sender]]\nnetwork = \"127.0.0.1\"\nmax_rate = 1\nburst = 1\nflood = \"drop\"\n";
    fs::write(&path, text).unwrap();
    let (bed, _dynamic, door) = Bed::with_door(&DoorOptions {
        senders_file: Some(path),
        ..DoorOptions::default()
    });
    let snmp = Snmp::on(bed);
    let values = link_down("7");
    let mut sent = 0;
    while snmp.rejected(RejectReason::Flood) == 0 {
        // At once: one a second is within the limit.
        let send = |_| snmp.send("snmpinform", &COMMUNITY, snmp.addr, &refs(&values));
        let senders: Vec<_> = (0..5).map(send).collect();
        for sender in senders {
            succeeded(sender).await;
            sent += 1;
        }
        assert!(sent < 500, "the limit never held");
    }
    eventually("the counters add up", || snmp.adds_up()).await;
    let accepted = snmp.bed.accepted(Listener::SnmpTrap);
    let again = snmp.rejected(RejectReason::Retransmission);
    let dropped = snmp.rejected(RejectReason::Flood);
    assert_eq!(accepted + dropped, sent, "{again} were sent again");
    snmp.bed.stop(snmp.listener).await;
    snmp.bed.stop(door).await;
}

#[tokio::test]
async fn a_replayed_trap_is_refused_also_after_the_users_were_read_again() {
    let mut snmp = Snmp::new();
    let values = link_down("7");
    let datagram = snmp.datagram(&NETOPS, &refs(&values)).await;
    let thief = UdpSocket::bind(LOCAL).unwrap();
    thief.send_to(&datagram, snmp.addr).unwrap();
    snmp.bed.events(1).await;
    thief.send_to(&datagram, snmp.addr).unwrap();
    eventually("the copy is refused", || {
        snmp.rejected(RejectReason::Replay) == 1
    })
    .await;

    let more = format!(
        "{USERS}\n[[user]]\nname = \"second\"\nauth = \"sha1\"\nauth_password = \"maplesyrup1\"\n"
    );
    write_closed(&snmp.files.path().join("snmp.toml"), &more);
    assert!(snmp.users.reload().unwrap());
    let second = [
        "-v",
        "3",
        "-u",
        "second",
        "-l",
        "authNoPriv",
        "-a",
        "SHA",
        "-A",
        "maplesyrup1",
    ];
    succeeded(snmp.send("snmptrap", &second, snmp.addr, &refs(&values))).await;
    assert_eq!(snmp.bed.events(1).await[0]["security_name"], "second");
    thief.send_to(&datagram, snmp.addr).unwrap();
    eventually("the copy is refused again", || {
        snmp.rejected(RejectReason::Replay) == 2
    })
    .await;
    assert_eq!(snmp.bed.depth().await, 0);
    eventually("the counters add up", || snmp.adds_up()).await;
    snmp.bed.stop(snmp.listener).await;
}

#[tokio::test]
async fn what_is_refused_is_counted_by_its_reason() {
    let snmp = Snmp::new();
    let values = link_down("7");
    let other = |from: &'static str, to: &'static str| {
        NETOPS.map(|argument| if argument == from { to } else { argument })
    };
    let wrong_community = ["-v", "2c", "-c", "dc2"];
    for (arguments, reason) in [
        (&wrong_community[..], RejectReason::Auth),
        (&other("netops", "nobody"), RejectReason::UnknownUser),
        (
            &other("maplesyrup1", "maplesyrup9"),
            RejectReason::WrongDigest,
        ),
        (
            &other("maplesyrup2", "maplesyrup9"),
            RejectReason::Decryption,
        ),
        (
            &other("authPriv", "noAuthNoPriv"),
            RejectReason::SecurityLevel,
        ),
    ] {
        succeeded(snmp.send("snmptrap", arguments, snmp.addr, &refs(&values))).await;
        eventually(reason.name(), || snmp.rejected(reason) == 1).await;
    }
    let socket = UdpSocket::bind(LOCAL).unwrap();
    for garbage in [&b""[..], b"\x30\x03\x02\x01\x07", b"<13>no trap at all"] {
        socket.send_to(garbage, snmp.addr).unwrap();
    }
    eventually("garbage", || {
        snmp.rejected(RejectReason::Framing) == 2 && snmp.rejected(RejectReason::Unsupported) == 1
    })
    .await;
    let metrics = &snmp.bed.admission.metrics().snmp;
    for stat in [
        UsmStat::UnknownUserNames,
        UsmStat::WrongDigests,
        UsmStat::DecryptionErrors,
    ] {
        assert_eq!(metrics.usm(stat).get(), 1, "{}", stat.name());
    }
    assert!(snmp.adds_up());
    assert_eq!(snmp.bed.received(Listener::SnmpTrap), 8);
    assert_eq!(snmp.bed.depth().await, 0);
    snmp.bed.stop(snmp.listener).await;
}

#[tokio::test]
async fn a_burst_is_stored_whole() {
    let mut snmp = Snmp::new();
    let values = link_down("7");
    let datagram = snmp.datagram(&COMMUNITY, &refs(&values)).await;
    let socket = UdpSocket::bind(LOCAL).unwrap();
    // Within any receive buffer: the kernel counts some 1.3 kB each.
    for _ in 0..100 {
        socket.send_to(&datagram, snmp.addr).unwrap();
    }
    assert_eq!(snmp.bed.events(100).await.len(), 100);
    eventually("the counters add up", || snmp.adds_up()).await;
    snmp.bed.stop(snmp.listener).await;
}

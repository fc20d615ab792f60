//! Traps and informs of Net-SNMP, in every version, security level and protocol it has.

#![allow(clippy::unwrap_used)] // this is a test

use std::fmt::Write as _;
use std::net::{SocketAddr, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mutt_snmp::{
    Access, EngineId, LocalEngine, Received, Receiver, Refusal, SecurityLevel, UsmStat, Value,
    Version,
};

const AUTH: [(&str, &str); 6] = [
    ("MD5", "md5"),
    ("SHA", "sha1"),
    ("SHA-224", "sha224"),
    ("SHA-256", "sha256"),
    ("SHA-384", "sha384"),
    ("SHA-512", "sha512"),
];

/// Net-SNMP's names with ours.
const PRIVACY: [(&str, &str); 6] = [
    ("DES", "des"),
    ("AES", "aes128"),
    ("AES-192", "aes192"),
    ("AES-256", "aes256"),
    ("AES-192-C", "aes192c"),
    ("AES-256-C", "aes256c"),
];

const PASSWORDS: [&str; 8] = [
    "-A",
    "maplesyrup1",
    "-X",
    "maplesyrup2",
    "-t",
    "20",
    "-r",
    "0",
];

/// coldStart, as versions 2c and 3 send it.
const COLD_START: [&str; 5] = [
    "12345",
    "1.3.6.1.6.3.1.1.5.1",
    "1.3.6.1.2.1.1.5.0",
    "s",
    "edge1",
];

struct Bench {
    socket: UdpSocket,
    receiver: Receiver,
    directory: tempfile::TempDir,
}

/// What one datagram was, without what it borrows.
#[derive(Debug, PartialEq)]
enum Seen {
    Notification {
        inform: bool,
        version: Version,
        level: Option<SecurityLevel>,
        user: Option<String>,
        trap: String,
        name: String,
    },
    Reply(Refusal),
    Refused(Refusal),
}

impl Bench {
    fn new(users: &str) -> Self {
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
        let access = Arc::new(Access::parse(users).unwrap());
        Self {
            socket,
            receiver: Receiver::new(access, engine).unwrap(),
            directory: tempfile::tempdir().unwrap(),
        }
    }

    fn spawn(&self, program: &str, arguments: &[&str], rest: &[&str]) -> Child {
        let to = self.socket.local_addr().unwrap().to_string();
        Command::new(program)
            .args(arguments)
            .arg(to)
            .args(rest)
            .env("MIBS", "")
            .env("SNMPCONFPATH", self.directory.path())
            .env("SNMP_PERSISTENT_DIR", self.directory.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("{program} (package snmp): {error}"))
    }

    fn datagram(&self) -> (Vec<u8>, SocketAddr) {
        let mut buffer = vec![0; 65_536];
        let (length, from) = self.socket.recv_from(&mut buffer).unwrap();
        buffer.truncate(length);
        (buffer, from)
    }

    /// Takes one datagram in and answers it at once.
    fn take(&mut self, datagram: &[u8], from: SocketAddr) -> Seen {
        let (seen, answer) = match self.receiver.receive(datagram, from, Instant::now()) {
            Received::Trap(trap) => (notification(&trap), None),
            Received::Inform { trap, answer, .. } => (notification(&trap), Some(answer)),
            Received::Reply { report, refusal } => (Seen::Reply(refusal), Some(report)),
            Received::Refused(refusal) => (Seen::Refused(refusal), None),
        };
        if let Some(answer) = answer {
            self.socket.send_to(&answer, from).unwrap();
        }
        seen
    }

    fn trap(&mut self, arguments: &[&str], rest: &[&str]) -> (Seen, Vec<u8>, SocketAddr) {
        let mut child = self.spawn("snmptrap", arguments, rest);
        let (datagram, from) = self.datagram();
        assert!(child.wait().unwrap().success());
        (self.take(&datagram, from), datagram, from)
    }

    /// What came until the inform was taken, and whether its sender was content.
    fn inform(&mut self, arguments: &[&str], rest: &[&str]) -> (Vec<Seen>, bool) {
        let mut child = self.spawn("snmpinform", arguments, rest);
        let mut all = Vec::new();
        let mut goes_on = true;
        while goes_on {
            let (datagram, from) = self.datagram();
            let seen = self.take(&datagram, from);
            goes_on = matches!(
                seen,
                Seen::Reply(Refusal::UnknownEngine | Refusal::TimeWindow)
            );
            all.push(seen);
        }
        (all, child.wait().unwrap().success())
    }
}

fn notification(trap: &mutt_snmp::Trap<'_>) -> Seen {
    let name = match trap.varbinds.first().map(|varbind| &varbind.value) {
        Some(value @ Value::OctetString(_)) => value.text().unwrap_or_default().to_owned(),
        other => format!("{other:?}"),
    };
    Seen::Notification {
        inform: trap.inform,
        version: trap.version,
        level: trap.security_level,
        user: trap.security_name.map(str::to_owned),
        trap: trap.trap_oid.to_string(),
        name,
    }
}

fn cold_start(inform: bool, version: Version, security: Option<(&str, SecurityLevel)>) -> Seen {
    Seen::Notification {
        inform,
        version,
        level: security.map(|(_, level)| level),
        user: security.map(|(user, _)| user.to_owned()),
        trap: "1.3.6.1.6.3.1.1.5.1".to_owned(),
        name: "edge1".to_owned(),
    }
}

/// A user for every combination, named after it.
fn users() -> String {
    let mut text = "[[user]]\nname = \"plain\"\n".to_owned();
    for (_, auth) in AUTH {
        let keyed = format!("auth = \"{auth}\"\nauth_password = \"maplesyrup1\"\n");
        write!(text, "[[user]]\nname = \"{auth}\"\n{keyed}").unwrap();
        for (_, privacy) in PRIVACY {
            write!(
                text,
                "[[user]]\nname = \"{auth}-{privacy}\"\n{keyed}\
                 priv = \"{privacy}\"\npriv_password = \"maplesyrup2\"\n"
            )
            .unwrap();
        }
    }
    text
}

#[test]
fn community_versions_are_understood_and_informs_answered() {
    let mut bench = Bench::new("communities = [\"dc1\"]");
    let (seen, ..) = bench.trap(&["-v", "2c", "-c", "dc1"], &COLD_START);
    assert_eq!(seen, cold_start(false, Version::V2c, None));
    let (seen, ..) = bench.trap(&["-v", "2c", "-c", "other"], &COLD_START);
    assert_eq!(seen, Seen::Refused(Refusal::Community));
    let (seen, content) = bench.inform(&["-v", "2c", "-c", "dc1"], &COLD_START);
    assert_eq!(seen, [cold_start(true, Version::V2c, None)]);
    assert!(content, "snmpinform had no answer it understood");
}

#[test]
fn version_1_traps_are_translated() {
    let mut bench = Bench::new("communities = [\"dc1\"]");
    for (enterprise, generic, specific, oid) in [
        ("1.3.6.1.4.1.9.1.1", "2", "0", "1.3.6.1.6.3.1.1.5.3"),
        ("1.3.6.1.4.1.9.1.1", "6", "17", "1.3.6.1.4.1.9.1.1.0.17"),
        ("1.3.6.1.4.1.9.0", "6", "1", "1.3.6.1.4.1.9.0.0.1"),
    ] {
        let values = ["1.3.6.1.2.1.2.2.1.1.7", "i", "7"];
        let rest = [
            &[enterprise, "192.0.2.7", generic, specific, "4711"],
            &values[..],
        ]
        .concat();
        let (_, datagram, from) = bench.trap(&["-v", "1", "-c", "dc1"], &rest);
        let Received::Trap(trap) = bench.receiver.receive(&datagram, from, Instant::now()) else {
            panic!("no trap");
        };
        assert_eq!(trap.version, Version::V1);
        assert_eq!(trap.trap_oid.to_string(), oid);
        assert_eq!(trap.agent_address.unwrap().to_string(), "192.0.2.7");
        assert_eq!(trap.enterprise.unwrap().to_string(), enterprise);
        assert_eq!(trap.uptime, Some(4711));
        assert_eq!(trap.varbinds[0].value, Value::Integer(7));
    }
}

#[test]
fn every_type_that_snmptrap_can_send_is_read() {
    let mut bench = Bench::new("");
    let name = |last: &str| format!("1.3.6.1.4.1.9.{last}");
    let values: Vec<String> = [
        ("i", "-2147483648"),
        ("u", "4294967295"),
        ("c", "4294967295"),
        ("t", "4294967295"),
        ("C", "18446744073709551615"),
        ("a", "192.0.2.255"),
        ("o", "1.3.6.1.4.1.4294967295"),
        ("s", "Zürich"),
        ("x", "00ff10"),
        ("n", ""),
    ]
    .into_iter()
    .enumerate()
    .flat_map(|(index, (kind, value))| {
        [name(&index.to_string()), kind.to_owned(), value.to_owned()]
    })
    .collect();
    let mut rest = vec!["", "1.3.6.1.4.1.9.0.1"];
    rest.extend(values.iter().map(String::as_str));
    let (_, datagram, from) = bench.trap(&["-v", "2c", "-c", "any"], &rest);
    let Received::Trap(trap) = bench.receiver.receive(&datagram, from, Instant::now()) else {
        panic!("no trap");
    };
    let values: Vec<_> = trap
        .varbinds
        .into_iter()
        .map(|varbind| varbind.value)
        .collect();
    assert_eq!(
        values,
        [
            Value::Integer(i32::MIN),
            Value::Gauge32(u32::MAX),
            Value::Counter32(u32::MAX),
            Value::TimeTicks(u32::MAX),
            Value::Counter64(u64::MAX),
            Value::IpAddress([192, 0, 2, 255].into()),
            Value::ObjectIdentifier(Some("1.3.6.1.4.1.4294967295".parse().unwrap())),
            Value::OctetString("Zürich".as_bytes()),
            Value::OctetString(&[0, 0xff, 0x10]),
            Value::Null,
        ]
    );
}

#[test]
fn version_3_in_every_level_and_protocol() {
    let mut bench = Bench::new(&users());
    let mut check = |user: &str, level: SecurityLevel, protocols: &[&str]| {
        let arguments = [
            &["-v", "3", "-u", user, "-l", level.name()],
            protocols,
            &PASSWORDS[..],
        ]
        .concat();
        let (seen, ..) = bench.trap(&arguments, &COLD_START);
        let security = Some((user, level));
        assert_eq!(
            seen,
            cold_start(false, Version::V3, security),
            "trap of {user}"
        );
        let (seen, content) = bench.inform(&arguments, &COLD_START);
        assert_eq!(
            seen.last(),
            Some(&cold_start(true, Version::V3, security)),
            "inform of {user}: {seen:?}"
        );
        assert!(content, "snmpinform of {user} had no answer it believed");
    };
    check("plain", SecurityLevel::NoAuthNoPriv, &[]);
    for (auth, name) in AUTH {
        check(name, SecurityLevel::AuthNoPriv, &["-a", auth]);
        for (privacy, privacy_name) in PRIVACY {
            let user = format!("{name}-{privacy_name}");
            let protocols = ["-a", auth, "-x", privacy];
            check(&user, SecurityLevel::AuthPriv, &protocols);
        }
    }
}

#[test]
fn what_must_not_be_believed_is_refused_and_said_why() {
    let mut bench = Bench::new(&users());
    let user = |user, level, auth, auth_password, privacy, priv_password| {
        [
            "-v",
            "3",
            "-u",
            user,
            "-l",
            level,
            "-a",
            auth,
            "-A",
            auth_password,
            "-x",
            privacy,
            "-X",
            priv_password,
            "-t",
            "20",
            "-r",
            "0",
        ]
    };
    let (right, wrong) = ("maplesyrup1", "maplesyrup9");
    for (arguments, refusal, stat) in [
        (
            user(
                "sha256-aes128",
                "authPriv",
                "SHA-256",
                wrong,
                "AES",
                "maplesyrup2",
            ),
            Refusal::WrongDigest,
            Some(UsmStat::WrongDigests),
        ),
        (
            user(
                "sha256-aes128",
                "authPriv",
                "SHA-512",
                right,
                "AES",
                "maplesyrup2",
            ),
            Refusal::WrongDigest,
            Some(UsmStat::WrongDigests),
        ),
        (
            user("nobody", "authPriv", "SHA-256", right, "AES", "maplesyrup2"),
            Refusal::UnknownUser,
            Some(UsmStat::UnknownUserNames),
        ),
        (
            user("sha256-aes128", "authPriv", "SHA-256", right, "AES", wrong),
            Refusal::Decryption,
            Some(UsmStat::DecryptionErrors),
        ),
        (
            user("sha256", "authPriv", "SHA-256", right, "AES", "maplesyrup2"),
            Refusal::SecurityLevel,
            Some(UsmStat::UnsupportedSecLevels),
        ),
        // Anybody could have sent these in the user's name.
        (
            user(
                "sha256-aes128",
                "authNoPriv",
                "SHA-256",
                right,
                "AES",
                "maplesyrup2",
            ),
            Refusal::SecurityLevel,
            None,
        ),
        (
            user(
                "sha256-aes128",
                "noAuthNoPriv",
                "SHA-256",
                right,
                "AES",
                "maplesyrup2",
            ),
            Refusal::SecurityLevel,
            None,
        ),
    ] {
        let counted = |bench: &Bench| stat.map(|stat| bench.receiver.stat(stat));
        let before = counted(&bench);
        let (seen, ..) = bench.trap(&arguments, &COLD_START);
        assert_eq!(seen, Seen::Refused(refusal), "trap: {arguments:?}");
        assert_eq!(counted(&bench), before.map(|count| count + 1));
        if stat.is_none() {
            // Not even a Report: its sender would wait in vain.
            continue;
        }
        let (seen, content) = bench.inform(&arguments, &COLD_START);
        assert_eq!(
            seen,
            [Seen::Reply(Refusal::UnknownEngine), Seen::Reply(refusal)],
            "inform: {arguments:?}"
        );
        assert!(!content);
    }
}

#[test]
fn a_replayed_trap_is_refused_also_within_the_window() {
    let mut bench = Bench::new(&users());
    let level = ["-v", "3", "-u", "sha256-aes128", "-l", "authPriv"];
    let arguments = [&level[..], &["-a", "SHA-256", "-x", "AES"], &PASSWORDS[..]].concat();
    let (seen, datagram, from) = bench.trap(&arguments, &COLD_START);
    let expected = cold_start(
        false,
        Version::V3,
        Some(("sha256-aes128", SecurityLevel::AuthPriv)),
    );
    assert_eq!(seen, expected);
    assert_eq!(
        bench.take(&datagram, from),
        Seen::Refused(Refusal::Replayed)
    );
    // Not from another address either, and not with something behind it.
    let elsewhere = "127.0.0.1:9".parse().unwrap();
    assert_eq!(
        bench.take(&datagram, elsewhere),
        Seen::Refused(Refusal::Replayed)
    );
    let longer = [&datagram[..], b"more"].concat();
    assert_eq!(bench.take(&longer, from), Seen::Refused(Refusal::Replayed));
    // Changed by one bit anywhere it is not authentic, or not readable at all.
    for at in 0..datagram.len() {
        let mut changed = datagram.clone();
        changed[at] ^= 1;
        assert!(
            matches!(bench.take(&changed, elsewhere), Seen::Refused(_)),
            "octet {at}"
        );
    }
}

#[test]
fn an_engine_whose_clock_goes_back_is_refused_until_its_boots_go_up() {
    let mut bench = Bench::new(&users());
    let mut send = |clock: &str| {
        let level = ["-v", "3", "-u", "sha1", "-l", "authNoPriv", "-a", "SHA"];
        let engine = ["-e", "0x80001f8805636c6f636b", "-Z", clock];
        let arguments = [&level[..], &engine, &PASSWORDS[..]].concat();
        bench.trap(&arguments, &COLD_START).0
    };
    let taken = cold_start(
        false,
        Version::V3,
        Some(("sha1", SecurityLevel::AuthNoPriv)),
    );
    assert_eq!(send("5,100000"), taken);
    assert_eq!(send("5,99000"), Seen::Refused(Refusal::TimeWindow));
    assert_eq!(send("4,100001"), Seen::Refused(Refusal::TimeWindow));
    assert_eq!(send("5,99900"), taken);
    assert_eq!(send("6,10"), taken);
    assert_eq!(send("5,100002"), Seen::Refused(Refusal::TimeWindow));
    assert_eq!(
        send("2147483647,100002"),
        Seen::Refused(Refusal::TimeWindow)
    );
}

#[test]
fn a_sender_of_informs_finds_its_way_after_a_restart() {
    let mut bench = Bench::new(&users());
    let level = ["-v", "3", "-u", "sha256-aes128", "-l", "authPriv"];
    let protocols = [
        "-a",
        "SHA-256",
        "-x",
        "AES",
        "-A",
        "maplesyrup1",
        "-X",
        "maplesyrup2",
    ];
    let arguments = [&level[..], &protocols, &["-t", "1", "-r", "60"]].concat();
    let mut child = bench.spawn("snmpinform", &arguments, &COLD_START);
    let (datagram, from) = bench.datagram();
    assert_eq!(
        bench.take(&datagram, from),
        Seen::Reply(Refusal::UnknownEngine)
    );
    // It arrives, and before it is answered the receiver starts again.
    let _lost = bench.datagram();
    let engine = LocalEngine::new(bench.receiver.engine().id().clone(), 2, Instant::now());
    let access = Arc::new(Access::parse(&users()).unwrap());
    bench.receiver = Receiver::new(access, engine).unwrap();
    let (datagram, from) = bench.datagram();
    assert_eq!(
        bench.take(&datagram, from),
        Seen::Reply(Refusal::TimeWindow)
    );
    let (datagram, from) = bench.datagram();
    let security = Some(("sha256-aes128", SecurityLevel::AuthPriv));
    assert_eq!(
        bench.take(&datagram, from),
        cold_start(true, Version::V3, security)
    );
    assert!(child.wait().unwrap().success());
}

#[test]
fn garbage_changes_nothing() {
    let mut bench = Bench::new(&users());
    let from = "127.0.0.1:9".parse().unwrap();
    for garbage in [
        &b""[..],
        b"\0",
        b"GET / HTTP/1.1\r\n\r\n",
        b"<13>Oct 11 22:14:15 host app: text",
        b"\x30\x84\xff\xff\xff\xff",
        &[0x30; 2000],
        &vec![0xff; 65_507],
    ] {
        assert_eq!(bench.take(garbage, from), Seen::Refused(Refusal::Malformed));
    }
    assert!(
        UsmStat::ALL
            .iter()
            .all(|&stat| bench.receiver.stat(stat) == 0)
    );
}

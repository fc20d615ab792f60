//! The datagrams with which fuzzing begins are understood; needs no Net-SNMP.

#![allow(clippy::unwrap_used)] // this is a test

use std::sync::Arc;
use std::time::Instant;

use mutt_snmp::{Access, EngineId, LocalEngine, Received, Receiver, Refusal};

const SEEDS: &str = include_str!("../../../fuzz/seeds/snmp.hex");

const USERS: &str = r#"
[[user]]
name = "plain"

[[user]]
name = "SHA"
auth = "sha1"
auth_password = "maplesyrup1"

[[user]]
name = "AES"
auth = "sha1"
auth_password = "maplesyrup1"
priv = "aes128"
priv_password = "maplesyrup2"
"#;

fn octets(digits: &str) -> Vec<u8> {
    let pairs = (0..digits.len()).step_by(2);
    pairs
        .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap())
        .collect()
}

#[test]
fn seeds_are_what_their_names_say() {
    let now = Instant::now();
    let engine = LocalEngine::new(EngineId::new(b"\x80\0\0\0\x05fuzz").unwrap(), 1, now);
    let access = Arc::new(Access::parse(USERS).unwrap());
    let mut receiver = Receiver::new(access, engine).unwrap();
    let mut lines = SEEDS.lines().skip(1);
    let mut taken = 0;
    while let (Some(name), Some(digits)) = (lines.next(), lines.next()) {
        let name = name.strip_prefix("# ").unwrap();
        let datagram = octets(digits);
        match receiver.receive(&datagram, "192.0.2.1:161".parse().unwrap(), now) {
            Received::Trap(_) => assert!(!name.contains("inform"), "{name}"),
            Received::Inform { .. } => assert!(name.contains("inform"), "{name}"),
            Received::Reply { refusal, .. } => {
                // The second step of getting to know one another: snmpinform sent boots and time 0.
                let expected = if name.contains("inform") {
                    Refusal::TimeWindow
                } else {
                    Refusal::UnknownEngine
                };
                assert_eq!(refusal, expected, "{name}");
            }
            Received::Refused(refusal) => {
                // Its user is not in the list above.
                assert_eq!(refusal, Refusal::UnknownUser, "{name}");
                continue;
            }
        }
        taken += 1;
    }
    assert_eq!(taken, 15);
}

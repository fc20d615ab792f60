//! A datagram is a trap, an inform, something to answer, or refused: never a panic, and what it is
//! becomes an event that reads back. What a strict decoder of another house takes, ours takes alike.
#![no_main]

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Instant;

use async_snmp::message::{CommunityMessage, CommunityPdu, Message};
use async_snmp::{DecodeConfig, Oid as TheirOid, Value as TheirValue, VarBind};
use jiff::Timestamp;
use libfuzzer_sys::fuzz_target;
use mutt_snmp::names::Names;
use mutt_snmp::render::Describer;
use mutt_snmp::{
    Access, EngineId, EventOrigin, LocalEngine, Received, Receiver, Trap, Value, write_event,
};

const SYS_UP_TIME: &str = "1.3.6.1.2.1.1.3.0";
const SNMP_TRAP_OID: &str = "1.3.6.1.6.3.1.1.4.1.0";
const SNMP_TRAP_COMMUNITY: &str = "1.3.6.1.6.3.18.1.4.0";

/// Users of the seeds. The one without keys leads the fuzzer past the authentication code.
fn users() -> String {
    let mut text = String::from("[[user]]\nname = \"plain\"\n");
    for (name, auth) in [
        ("MD5", "md5"),
        ("SHA", "sha1"),
        ("SHA-224", "sha224"),
        ("SHA-256", "sha256"),
        ("SHA-384", "sha384"),
        ("SHA-512", "sha512"),
    ] {
        text += &format!(
            "[[user]]\nname = \"{name}\"\nauth = \"{auth}\"\nauth_password = \"maplesyrup1\"\n"
        );
    }
    for (name, privacy) in [
        ("DES", "des"),
        ("AES", "aes128"),
        ("AES-192", "aes192"),
        ("AES-256", "aes256"),
        ("AES-256-C", "aes256c"),
    ] {
        text += &format!(
            "[[user]]\nname = \"{name}\"\nauth = \"sha1\"\nauth_password = \"maplesyrup1\"\n\
             priv = \"{privacy}\"\npriv_password = \"maplesyrup2\"\n"
        );
    }
    text
}

thread_local! {
    static ACCESS: Arc<Access> = Arc::new(Access::parse(&users()).unwrap());
    static DESCRIBER: RefCell<Describer> = RefCell::default();
    static NAMES: Arc<Names> = Names::builtin();
}

fuzz_target!(|datagram: &[u8]| {
    let now = Instant::now();
    let engine = LocalEngine::new(EngineId::new(b"\x80\0\0\0\x05fuzz").unwrap(), 1, now);
    let mut receiver = Receiver::new(ACCESS.with(Arc::clone), engine).unwrap();
    let from = "192.0.2.1:161".parse().unwrap();
    let strict = CommunityMessage::decode(datagram.to_vec().into(), DecodeConfig::STRICT).ok();

    let mut protected = false;
    match receiver.receive(datagram, from, now) {
        Received::Trap(trap) => {
            protected = trap.security_level > Some(mutt_snmp::SecurityLevel::NoAuthNoPriv);
            check_event(&trap);
            if let Some(strict) = &strict {
                compare(&trap, strict.value.pdu());
            }
        }
        Received::Inform { trap, answer, .. } => {
            assert!(trap.inform);
            check_event(&trap);
            if let Some(strict) = &strict {
                compare(&trap, strict.value.pdu());
                check_answer(answer);
            }
        }
        Received::Reply { report, .. } => {
            // Sent to whoever claims to be the sender: it must not be worth more than it cost.
            assert!(report.len() < datagram.len() + 128);
            let report = Message::decode(report.into(), DecodeConfig::STRICT);
            assert!(report.is_ok(), "a Report can be read");
        }
        Received::Refused(_) => {
            let notification = strict.is_some_and(|message| match message.value.pdu() {
                CommunityPdu::TrapV1(_) => true,
                CommunityPdu::Standard(pdu) => pdu.is_notification() && ours_can(pdu.varbinds()),
            });
            assert!(!notification, "a strict decoder takes it");
        }
    }
    if protected {
        assert!(
            matches!(receiver.receive(datagram, from, now), Received::Refused(_)),
            "a copy was taken"
        );
    }
});

fn check_event(trap: &Trap<'_>) {
    let origin = EventOrigin {
        peer: [192, 0, 2, 1].into(),
        received_at: Timestamp::UNIX_EPOCH,
        correlation_id: "c",
        relay: Some(true),
        tags: &[],
    };
    DESCRIBER.with_borrow_mut(|describer| {
        let description = NAMES.with(|names| describer.describe(trap, names));
        let mut out = Vec::new();
        write_event(trap, &origin, None, &description, &mut out);
        let event: serde_json::Value = serde_json::from_slice(&out).expect("an event is JSON");
        assert_eq!(event["trap_oid"], trap.trap_oid.to_string());
        let varbinds = event["varbinds"].as_array().expect("varbinds are a list");
        assert_eq!(varbinds.len(), trap.varbinds.len());
        assert!(!event["message"].as_str().unwrap_or_default().is_empty());
        mutt_event::json::view(&out).expect("an event reads back");
    });
}

/// The answer to a version 2c inform. What it repeats is as strict as the inform was.
fn check_answer(answer: Vec<u8>) {
    let message = Message::decode(answer.into(), DecodeConfig::STRICT).expect("it can be read");
    let pdu = message.value.pdu().expect("it has a PDU");
    assert_eq!(pdu.pdu_type(), async_snmp::PduType::Response);
    assert_eq!(pdu.error_status(), 0);
}

fn oid(theirs: &TheirOid) -> String {
    let arcs: Vec<_> = theirs.arcs().iter().map(u32::to_string).collect();
    arcs.join(".")
}

/// Theirs also takes names without arcs.
fn ours_can(varbinds: &[VarBind]) -> bool {
    varbinds.iter().all(|varbind| varbind.oid.arcs().len() >= 2)
}

fn compare(trap: &Trap<'_>, pdu: &CommunityPdu) {
    let varbinds = match pdu {
        CommunityPdu::TrapV1(trap) => trap.varbinds(),
        CommunityPdu::Standard(pdu) => pdu.varbinds(),
    };
    let mut ours = trap.varbinds.iter();
    // The head of a version 1 trap tells both already.
    let v1 = matches!(pdu, CommunityPdu::TrapV1(_));
    let (mut uptime, mut named) = (v1, v1);
    for theirs in varbinds {
        let name = oid(&theirs.oid);
        let head = match &theirs.value {
            TheirValue::TimeTicks(_) if name == SYS_UP_TIME => {
                !std::mem::replace(&mut uptime, true)
            }
            TheirValue::ObjectIdentifier(value)
                if name == SNMP_TRAP_OID && !value.arcs().is_empty() =>
            {
                let head = !named;
                named |= oid(value) != "0.0";
                head
            }
            _ => false,
        };
        if name == SNMP_TRAP_COMMUNITY || head {
            continue;
        }
        let next = ours.next().expect("ours has as many");
        assert_eq!(next.oid.to_string(), name);
        assert!(
            same(&next.value, &theirs.value),
            "{next:?} is not {theirs:?}"
        );
    }
    assert!(ours.next().is_none(), "ours has no more");
}

fn same(ours: &Value<'_>, theirs: &TheirValue) -> bool {
    match (ours, theirs) {
        (Value::Integer(a), TheirValue::Integer(b)) => a == b,
        (Value::OctetString(a), TheirValue::OctetString(b)) => a[..] == b[..],
        (Value::ObjectIdentifier(Some(a)), TheirValue::ObjectIdentifier(b)) => {
            a.to_string() == oid(b)
        }
        (Value::Null, TheirValue::Null) => true,
        (Value::IpAddress(a), TheirValue::IpAddress(b)) => a.octets() == *b,
        (Value::Counter32(a), TheirValue::Counter32(b))
        | (Value::Gauge32(a), TheirValue::Gauge32(b))
        | (Value::TimeTicks(a), TheirValue::TimeTicks(b)) => a == b,
        (Value::Opaque(a), TheirValue::Opaque(b)) => a[..] == b[..],
        (Value::Counter64(a), TheirValue::Counter64(b)) => a == b,
        // What neither knows, and what theirs has other names for.
        (Value::Missing(_) | Value::Other { .. } | Value::ObjectIdentifier(None), _) => true,
        _ => false,
    }
}

//! What a datagram costs from the socket to a trap that may be believed.

#![allow(missing_docs, clippy::unwrap_used)] // criterion's macros; this is a benchmark

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use async_snmp::message::{
    CommunityMessage, MsgFlags, MsgGlobalData, ScopedPdu, SecurityLevel, V3Message,
};
use async_snmp::message_size::MAX_UDP_PAYLOAD;
use async_snmp::pdu::NotificationPdu;
use async_snmp::v3::auth::authenticate_message;
use async_snmp::v3::{SaltCounter, UsmSecurityParams};
use async_snmp::{
    AuthProtocol, MasterKeys, MessageSize, PrivProtocol, Value, VarBind, Version, oid,
};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use mutt_snmp::{Access, EngineId, LocalEngine, Received, Receiver};

/// Different messages, because a copy is refused.
const MESSAGES: i32 = 1_000;

const SENDER: &[u8] = b"\x80\0\x1f\x88\x05bench";

const USERS: &str = r#"
[[user]]
name = "bench"
auth = "sha256"
auth_password = "maplesyrup1"
priv = "aes128"
priv_password = "maplesyrup2"
"#;

fn link_down(number: i32) -> NotificationPdu {
    let interface = |column: u32| oid!(1, 3, 6, 1, 2, 1, 2, 2, 1, column, 7);
    let name = Value::OctetString("GigabitEthernet1/0/7".into());
    let varbinds = vec![
        VarBind::new(interface(1), Value::Integer(7)),
        VarBind::new(interface(2), name),
        VarBind::new(interface(7), Value::Integer(1)),
        VarBind::new(interface(8), Value::Integer(2)),
    ];
    let trap = oid!(1, 3, 6, 1, 6, 3, 1, 1, 5, 3);
    NotificationPdu::trap_v2(Version::V2c, number, 4711, &trap, varbinds).unwrap()
}

fn v2c() -> Vec<Vec<u8>> {
    (0..MESSAGES)
        .map(|number| {
            let message = CommunityMessage::v2c("public", link_down(number).into_raw());
            message.unwrap().encode().unwrap().to_vec()
        })
        .collect()
}

fn v3() -> Vec<Vec<u8>> {
    let keys = MasterKeys::new(AuthProtocol::Sha256, b"maplesyrup1").unwrap();
    let keys = keys.with_privacy(PrivProtocol::Aes128, b"maplesyrup2");
    let (auth, privacy) = keys.unwrap().localize(SENDER).unwrap();
    let (privacy, salts) = (privacy.unwrap(), SaltCounter::new().unwrap());
    (0..MESSAGES)
        .map(|number| {
            let pdu = link_down(number).into_raw();
            let scoped = ScopedPdu::new(SENDER.to_vec(), Vec::new(), pdu);
            let scoped = scoped.encode_to_bytes().unwrap();
            let (octets, salt) = privacy.encrypt_aes(&scoped, 1, 300, &salts).unwrap();
            let security = UsmSecurityParams::new(SENDER.to_vec(), 1, 300, "bench").unwrap();
            let security = security.with_priv_params(salt).unwrap();
            let security = security.with_auth_placeholder(auth.mac_len()).unwrap();
            let head = MsgGlobalData::new(
                number,
                MessageSize::new(MAX_UDP_PAYLOAD).unwrap(),
                MsgFlags::new(SecurityLevel::AuthPriv, false),
            );
            let message = V3Message::new_with_opaque_encrypted_scoped_pdu(
                head.unwrap(),
                security.encode().unwrap(),
                octets,
            );
            let mut octets = message.unwrap().encode().unwrap().to_vec();
            let (at, len) = UsmSecurityParams::find_auth_params_offset(&octets).unwrap();
            authenticate_message(&auth, &mut octets, at, len).unwrap();
            octets
        })
        .collect()
}

fn benches(criterion: &mut Criterion) {
    let now = Instant::now();
    let access = Arc::new(Access::parse(USERS).unwrap());
    let mut group = criterion.benchmark_group("receive");
    group.throughput(Throughput::Elements(MESSAGES.unsigned_abs().into()));
    for (name, messages) in [("v2c linkDown", v2c()), ("v3 SHA-256 AES-128", v3())] {
        let receiver = || {
            let engine = LocalEngine::new(EngineId::new(b"\x80\0\0\0\x05mutt").unwrap(), 1, now);
            Receiver::new(access.clone(), engine).unwrap()
        };
        group.bench_function(name, |bencher| {
            bencher.iter_batched(
                receiver,
                |mut receiver| {
                    for message in &messages {
                        let from = "192.0.2.1:161".parse().unwrap();
                        let received = receiver.receive(black_box(message), from, now);
                        assert!(matches!(received, Received::Trap(_)));
                    }
                },
                BatchSize::LargeInput,
            );
        });
    }
    group.finish();
}

criterion_group!(receive, benches);
criterion_main!(receive);

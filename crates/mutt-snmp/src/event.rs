//! From a trap to an event: one JSON object, written front to back.
//!
//! Numbers are what is kept: every OID as numbers, every value with its type. What people read is
//! made elsewhere and stands beside them. The community is never written: it is a credential.

use std::net::IpAddr;

use jiff::Timestamp;
use mutt_event::element::{ElementWriter, push_string};
use mutt_event::{EventId, Source};

use crate::oid::Oid;
use crate::render::Description;
use crate::trap::{Trap, Value, Varbind};

/// Where and when a trap came in.
#[derive(Clone, Copy, Debug)]
pub struct EventOrigin<'a> {
    /// Who sent the datagram.
    pub peer: IpAddr,
    /// When.
    pub received_at: Timestamp,
    /// What all events of one read have in common.
    pub correlation_id: &'a str,
    /// Whether the peer passes on traps of others, and is believed about whose they are: `None`
    /// where nothing is known of it, when what it passes on is not believed, and what a version 1
    /// trap says of its own agent is.
    pub relay: Option<bool>,
    /// What the event is tagged with.
    pub tags: &'a [Box<str>],
}

impl EventOrigin<'_> {
    /// The device that a trap is about: what a relay says, else the agent's address that a version 1
    /// trap names, else the sender.
    pub fn device(&self, trap: &Trap<'_>) -> IpAddr {
        let proxied = trap.proxied_address.filter(|_| self.relay == Some(true));
        let agent = trap.agent_address.filter(|_| self.relay != Some(false));
        proxied.or(agent.map(IpAddr::V4)).unwrap_or(self.peer)
    }
}

/// Appends a trap to `out` as a queue element. `host` is the name of the device where it is known,
/// `description` what people read of this trap.
///
/// Fields written: `hostname`, `message`, `timestamp` (that of receipt; traps carry none), `source`,
/// `source_ip`, `tags`, `trap_oid`, `trap_name`, `varbinds` (each with `oid`, `name`, `type`, `value`),
/// `snmp_version`, `uptime` (hundredths of a second), `agent_address`, `enterprise`, `security_name`,
/// `security_level`, `engine_id`, `context_engine_id`, `context_name`, `inform`, and MUTT's own. SNMP
/// has no severity: `syslog_severity`, `facility`, `program` and `procid` are those of a syslog
/// message that the trap carries.
pub fn write_event(
    trap: &Trap<'_>,
    origin: &EventOrigin<'_>,
    host: Option<&str>,
    description: &Description<'_>,
    out: &mut Vec<u8>,
) -> EventId {
    let event_id = EventId::at(origin.received_at);
    out.reserve(description.message.len() + 640 + trap.varbinds.len() * 112);
    let mut element = ElementWriter::new(out);
    match host {
        Some(host) => element.text("hostname", host),
        None => element.address("hostname", origin.device(trap)),
    }
    element.text("message", description.message);
    element.time("timestamp", origin.received_at);
    if let Some(severity) = description.severity {
        element.number("syslog_severity", u64::from(severity.number()));
    }
    for (name, value) in [
        ("facility", description.facility),
        ("program", description.program),
    ] {
        if let Some(value) = value {
            element.text(name, value);
        }
    }
    if let Some(process_id) = description.process_id {
        // Text, as it is in events of syslog.
        element.text("procid", &process_id.to_string());
    }
    element.text("source", Source::Snmp.name());
    element.address("source_ip", origin.peer);
    if !origin.tags.is_empty() {
        element.raw_with("tags", |out| {
            for (index, tag) in origin.tags.iter().enumerate() {
                out.push(if index == 0 { b'[' } else { b',' });
                push_string(out, tag);
            }
            out.push(b']');
        });
    }
    element.raw_with("trap_oid", |out| push_oid(out, &trap.trap_oid));
    if let Some(name) = description.trap_name {
        element.text("trap_name", name);
    }
    element.raw_with("varbinds", |out| {
        push_varbinds(out, &trap.varbinds, description);
    });
    element.text("snmp_version", trap.version.name());
    if let Some(uptime) = trap.uptime {
        element.number("uptime", u64::from(uptime));
    }
    if let Some(address) = trap.agent_address {
        element.address("agent_address", IpAddr::V4(address));
    }
    if let Some(enterprise) = &trap.enterprise {
        element.raw_with("enterprise", |out| push_oid(out, enterprise));
    }
    if let Some(name) = trap.security_name {
        element.text("security_name", name);
    }
    if let Some(level) = trap.security_level {
        element.text("security_level", level.name());
    }
    for (name, octets) in [
        ("engine_id", trap.engine_id),
        ("context_engine_id", trap.context_engine_id),
    ] {
        if !octets.is_empty() {
            element.raw_with(name, |out| push_hex(out, octets));
        }
    }
    if !trap.context_name.is_empty() {
        element.bytes("context_name", trap.context_name);
    }
    if trap.inform {
        element.raw("inform", b"true");
    }
    element.identity(event_id, origin.received_at, Some(origin.correlation_id));
    element.finish();
    event_id
}

fn push_varbinds(out: &mut Vec<u8>, varbinds: &[Varbind<'_>], description: &Description<'_>) {
    out.push(b'[');
    for (index, varbind) in varbinds.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        out.extend_from_slice(b"{\"oid\":");
        push_oid(out, &varbind.oid);
        if let Some(name) = description.name(index) {
            out.extend_from_slice(b",\"name\":");
            push_string(out, name);
        }
        out.extend_from_slice(b",\"type\":\"");
        out.extend_from_slice(varbind.value.type_name().as_bytes());
        out.extend_from_slice(b"\",\"value\":");
        push_value(out, &varbind.value);
        out.push(b'}');
    }
    out.push(b']');
}

fn push_value(out: &mut Vec<u8>, value: &Value<'_>) {
    use std::io::Write as _;
    // Writing to a Vec cannot fail.
    let _ = match value {
        Value::Integer(value) => write!(out, "{value}"),
        Value::Counter32(value) | Value::Gauge32(value) | Value::TimeTicks(value) => {
            write!(out, "{value}")
        }
        Value::Counter64(value) => write!(out, "{value}"),
        Value::IpAddress(address) => write!(out, "\"{address}\""),
        Value::OctetString(octets) => {
            match value.text() {
                Some(text) => push_string(out, text),
                None => push_hex(out, octets),
            }
            Ok(())
        }
        Value::ObjectIdentifier(Some(oid)) => {
            push_oid(out, oid);
            Ok(())
        }
        Value::ObjectIdentifier(None) => write!(out, "\"\""),
        Value::Null | Value::Missing(_) => write!(out, "null"),
        Value::Opaque(octets) | Value::Other { octets, .. } => {
            push_hex(out, octets);
            Ok(())
        }
    };
}

fn push_oid(out: &mut Vec<u8>, oid: &Oid<'_>) {
    out.push(b'"');
    oid.write_into(out);
    out.push(b'"');
}

fn push_hex(out: &mut Vec<u8>, octets: &[u8]) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.push(b'"');
    for octet in octets {
        out.push(HEX[usize::from(octet >> 4)]);
        out.push(HEX[usize::from(octet & 15)]);
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::names::Names;
    use crate::render::Describer;
    use crate::trap::Version;

    fn trap<'a>(number: &str, varbinds: Vec<(&str, Value<'a>)>) -> Trap<'a> {
        Trap {
            version: Version::V2c,
            inform: false,
            security_name: None,
            security_level: None,
            engine_id: &[],
            context_engine_id: &[],
            context_name: &[],
            agent_address: None,
            proxied_address: None,
            enterprise: None,
            uptime: None,
            trap_oid: number.parse().unwrap(),
            request_id: Some(1),
            varbinds: varbinds
                .into_iter()
                .map(|(number, value)| Varbind {
                    oid: number.parse().unwrap(),
                    value,
                })
                .collect(),
        }
    }

    fn written(trap: &Trap<'_>) -> serde_json::Value {
        let origin = EventOrigin {
            peer: [192, 0, 2, 1].into(),
            received_at: Timestamp::UNIX_EPOCH,
            correlation_id: "c",
            relay: None,
            tags: &[],
        };
        let mut describer = Describer::default();
        let description = describer.describe(trap, &Names::builtin());
        let mut out = Vec::new();
        write_event(trap, &origin, None, &description, &mut out);
        serde_json::from_slice(&out).unwrap()
    }

    #[test]
    fn names_stand_beside_numbers() {
        let event = written(&trap(
            "1.3.6.1.6.3.1.1.5.3",
            vec![
                ("1.3.6.1.2.1.2.2.1.1.3", Value::Integer(3)),
                ("1.2.840.1", Value::OctetString(&[0xff])),
            ],
        ));
        assert_eq!(event["message"], "Interface 3 is down; 1.2.840.1=0xff");
        assert_eq!(event["trap_oid"], "1.3.6.1.6.3.1.1.5.3");
        assert_eq!(event["trap_name"], "linkDown");
        assert_eq!(
            event["varbinds"],
            json!([
                {"oid": "1.3.6.1.2.1.2.2.1.1.3", "name": "ifIndex.3", "type": "integer", "value": 3},
                {"oid": "1.2.840.1", "type": "hex_string", "value": "ff"},
            ])
        );
        for absent in ["syslog_severity", "facility", "program", "procid"] {
            assert!(event.get(absent).is_none(), "{absent}");
        }
    }

    #[test]
    fn a_carried_message_has_the_fields_of_syslog() {
        let event = written(&trap(
            "1.3.6.1.4.1.2636.4.12.0.1",
            vec![
                ("1.3.6.1.4.1.2636.3.35.1.1.1.4.1", Value::Integer(4)),
                ("1.3.6.1.4.1.2636.3.35.1.1.1.5.1", Value::Integer(5)),
                ("1.3.6.1.4.1.2636.3.35.1.1.1.6.1", Value::Gauge32(77)),
                (
                    "1.3.6.1.4.1.2636.3.35.1.1.1.7.1",
                    Value::OctetString(b"sshd"),
                ),
                (
                    "1.3.6.1.4.1.2636.3.35.1.1.1.9.1",
                    Value::OctetString(b"SSHD_LOGIN_FAILED: Login failed for user root"),
                ),
            ],
        ));
        for (field, value) in [
            (
                "message",
                json!("SSHD_LOGIN_FAILED: Login failed for user root"),
            ),
            ("syslog_severity", json!(3)),
            ("facility", json!("auth")),
            ("program", json!("sshd")),
            ("procid", json!("77")),
            ("trap_name", json!("jnxSyslogTrap")),
        ] {
            assert_eq!(event[field], value, "{field}");
        }
    }
}

//! From a trap to an event: one JSON object, written front to back.
//!
//! Numbers are what is kept: every OID as numbers, every value with its type. What people read is
//! made elsewhere and passed in. The community is never written: it is a credential.

use std::net::IpAddr;

use jiff::Timestamp;
use mutt_event::element::{ElementWriter, push_string};
use mutt_event::{EventId, Source};

use crate::oid::Oid;
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
    /// Whether the peer passes on traps of others, and is believed about whose they are.
    pub relay: bool,
}

impl EventOrigin<'_> {
    /// The device that a trap is about: what a relay says, else the agent's address that a version 1
    /// trap names, else the sender.
    pub fn device(&self, trap: &Trap<'_>) -> IpAddr {
        let proxied = trap.proxied_address.filter(|_| self.relay);
        proxied
            .or(trap.agent_address.map(IpAddr::V4))
            .unwrap_or(self.peer)
    }
}

/// Appends a trap to `out` as a queue element. `host` is the name of the device where it is known,
/// `message` what people read.
///
/// Fields written: `hostname`, `message`, `timestamp` (that of receipt; traps carry none), `source`,
/// `source_ip`, `trap_oid`, `varbinds`, `snmp_version`, `uptime` (hundredths of a second),
/// `agent_address`, `enterprise`, `security_name`, `security_level`, `engine_id`,
/// `context_engine_id`, `context_name`, `inform`, and MUTT's own. No severity: SNMP has none.
pub fn write_event(
    trap: &Trap<'_>,
    origin: &EventOrigin<'_>,
    host: Option<&str>,
    message: &str,
    out: &mut Vec<u8>,
) -> EventId {
    let event_id = EventId::at(origin.received_at);
    out.reserve(message.len() + 640 + trap.varbinds.len() * 80);
    let mut element = ElementWriter::new(out);
    match host {
        Some(host) => element.text("hostname", host),
        None => element.address("hostname", origin.device(trap)),
    }
    element.text("message", message);
    element.time("timestamp", origin.received_at);
    element.text("source", Source::Snmp.name());
    element.address("source_ip", origin.peer);
    element.raw_with("trap_oid", |out| push_oid(out, &trap.trap_oid));
    element.raw_with("varbinds", |out| push_varbinds(out, &trap.varbinds));
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

/// The readable line of a trap of which nothing is known but numbers: its OID and its variables.
pub fn plain_message(trap: &Trap<'_>, out: &mut String) {
    use std::fmt::Write as _;
    // Writing to a String cannot fail.
    let _ = write!(out, "{}", trap.trap_oid);
    for (index, varbind) in trap.varbinds.iter().enumerate() {
        let separator = if index == 0 { ": " } else { ", " };
        let _ = write!(out, "{separator}{} = ", varbind.oid);
        let mut json = Vec::new();
        push_value(&mut json, &varbind.value);
        out.push_str(&String::from_utf8_lossy(&json));
    }
}

fn push_varbinds(out: &mut Vec<u8>, varbinds: &[Varbind<'_>]) {
    out.push(b'[');
    for (index, varbind) in varbinds.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        out.extend_from_slice(b"{\"oid\":");
        push_oid(out, &varbind.oid);
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

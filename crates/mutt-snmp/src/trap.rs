//! One notification, of whatever version, in the terms of SNMPv2: what everything after the decoder
//! works with.

use std::net::{IpAddr, Ipv4Addr};

use crate::oid::Oid;

/// The version of the message a trap came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Version {
    /// SNMPv1 (RFC 1157).
    V1,
    /// SNMPv2c (RFC 1901).
    V2c,
    /// SNMPv3 (RFC 3412) with the user-based security model.
    V3,
}

impl Version {
    /// `1`, `2c` or `3`, as Net-SNMP's `-v` takes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::V1 => "1",
            Self::V2c => "2c",
            Self::V3 => "3",
        }
    }
}

/// How far a version 3 message is protected. The order is that of protection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SecurityLevel {
    /// Anybody could have sent it.
    NoAuthNoPriv,
    /// Sent by who knows the authentication password, and not changed since.
    AuthNoPriv,
    /// And nobody without the privacy password could read it.
    AuthPriv,
}

impl SecurityLevel {
    /// `noAuthNoPriv`, `authNoPriv` or `authPriv`, as Net-SNMP's `-l` takes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::NoAuthNoPriv => "noAuthNoPriv",
            Self::AuthNoPriv => "authNoPriv",
            Self::AuthPriv => "authPriv",
        }
    }
}

/// A notification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trap<'a> {
    /// The version of its message.
    pub version: Version,
    /// Whether the sender waits for an answer.
    pub inform: bool,
    /// The version 3 user it is from; checked at the level below.
    pub security_name: Option<&'a str>,
    /// How far a version 3 message was protected; `None` for versions 1 and 2c, which are not.
    pub security_level: Option<SecurityLevel>,
    /// The engine that is authoritative for the message: for a trap, the sender's own. Empty for
    /// versions 1 and 2c.
    pub engine_id: &'a [u8],
    /// The engine whose information this is (version 3); mostly the sender's own.
    pub context_engine_id: &'a [u8],
    /// The name of the context (version 3), mostly empty.
    pub context_name: &'a [u8],
    /// The agent's address where a version 1 trap names one, and it is not 0.0.0.0.
    pub agent_address: Option<Ipv4Addr>,
    /// What a proxy says the agent's address is: snmpTrapAddress.0.
    pub proxied_address: Option<IpAddr>,
    /// The enterprise of a version 1 trap, or snmpTrapEnterprise.0.
    pub enterprise: Option<Oid<'a>>,
    /// Hundredths of a second since the sender started: sysUpTime.0 or the version 1 time stamp.
    pub uptime: Option<u32>,
    /// What happened: snmpTrapOID.0, for version 1 translated as in RFC 3584, 3.1.
    pub trap_oid: Oid<'a>,
    /// request-id; absent in version 1 traps.
    pub request_id: Option<i32>,
    /// What the trap tells, in its order. Without sysUpTime.0 and snmpTrapOID.0, which have fields
    /// above, and without snmpTrapCommunity.0, which is a credential.
    pub varbinds: Vec<Varbind<'a>>,
}

/// One variable and its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Varbind<'a> {
    /// Which variable: an object and its instance.
    pub oid: Oid<'a>,
    /// Its value.
    pub value: Value<'a>,
}

/// A value with its SMI type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// INTEGER or Integer32; enumerations too.
    Integer(i32),
    /// OCTET STRING: text, addresses, bits or anything else.
    OctetString(&'a [u8]),
    /// OBJECT IDENTIFIER; `None` where it is empty, which some agents send for "none".
    ObjectIdentifier(Option<Oid<'a>>),
    /// NULL.
    Null,
    /// `IpAddress`.
    IpAddress(Ipv4Addr),
    /// Counter or Counter32.
    Counter32(u32),
    /// Gauge, Gauge32 or Unsigned32.
    Gauge32(u32),
    /// `TimeTicks`: hundredths of a second.
    TimeTicks(u32),
    /// Opaque: any other ASN.1 value, wrapped.
    Opaque(&'a [u8]),
    /// Counter64.
    Counter64(u64),
    /// The variable does not exist: noSuchObject, noSuchInstance or endOfMibView.
    Missing(Missing),
    /// A type that SMIv2 does not have.
    Other {
        /// Its BER tag.
        tag: u8,
        /// Its content octets.
        octets: &'a [u8],
    },
}

/// Why there is no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Missing {
    /// noSuchObject.
    NoSuchObject,
    /// noSuchInstance.
    NoSuchInstance,
    /// endOfMibView.
    EndOfMibView,
}

impl<'a> Value<'a> {
    /// An OCTET STRING that is text: UTF-8 without control characters other than tab and line ends.
    /// A zero octet at its end, which agents written in C leave there, is no part of the text.
    pub fn text(&self) -> Option<&'a str> {
        let Self::OctetString(octets) = self else {
            return None;
        };
        let octets = octets.strip_suffix(b"\0").unwrap_or(octets);
        let control =
            |&byte: &u8| (byte < 0x20 && !matches!(byte, b'\t' | b'\n' | b'\r')) || byte == 0x7f;
        if octets.iter().any(control) {
            return None;
        }
        std::str::from_utf8(octets).ok()
    }

    /// The name of the type, as it is written into events. An OCTET STRING that is no text is a
    /// `hex_string`, because it is written in hexadecimal digits.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Integer(_) => "integer",
            Self::OctetString(_) if self.text().is_none() => "hex_string",
            Self::OctetString(_) => "octet_string",
            Self::ObjectIdentifier(_) => "oid",
            Self::Null => "null",
            Self::IpAddress(_) => "ip_address",
            Self::Counter32(_) => "counter32",
            Self::Gauge32(_) => "gauge32",
            Self::TimeTicks(_) => "timeticks",
            Self::Opaque(_) => "opaque",
            Self::Counter64(_) => "counter64",
            Self::Missing(Missing::NoSuchObject) => "no_such_object",
            Self::Missing(Missing::NoSuchInstance) => "no_such_instance",
            Self::Missing(Missing::EndOfMibView) => "end_of_mib_view",
            Self::Other { .. } => "other",
        }
    }
}

//! A datagram taken apart: the envelope of each version, and the notification in it.
//!
//! Decoding checks form, never trust: nothing here knows users, keys or clocks. Whatever value a
//! varbind has, it is kept; only what cannot be delimited is malformed.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::ber::{self, Malformed, Reader, tag};
use crate::oid::Oid;
use crate::trap::{Missing, Trap, Value, Varbind, Version};

/// sysUpTime.0
const SYS_UP_TIME: Oid<'static> = Oid::constant(&[0x2b, 6, 1, 2, 1, 1, 3, 0]);
/// snmpTrapOID.0
const SNMP_TRAP_OID: Oid<'static> = Oid::constant(&[0x2b, 6, 1, 6, 3, 1, 1, 4, 1, 0]);
/// snmpTrapEnterprise.0
const SNMP_TRAP_ENTERPRISE: Oid<'static> = Oid::constant(&[0x2b, 6, 1, 6, 3, 1, 1, 4, 3, 0]);
/// snmpTrapAddress.0
const SNMP_TRAP_ADDRESS: Oid<'static> = Oid::constant(&[0x2b, 6, 1, 6, 3, 18, 1, 3, 0]);
/// snmpTrapCommunity.0
const SNMP_TRAP_COMMUNITY: Oid<'static> = Oid::constant(&[0x2b, 6, 1, 6, 3, 18, 1, 4, 0]);
/// snmpTraps, below which coldStart is 1, linkDown 3 and so on.
const SNMP_TRAPS: Oid<'static> = Oid::constant(&[0x2b, 6, 1, 6, 3, 1, 1, 5]);
/// zeroDotZero, for a notification that does not say what it is.
const ZERO_DOT_ZERO: Oid<'static> = Oid::constant(&[0]);

/// The last generic-trap that means something by itself; 6 is enterpriseSpecific.
const EGP_NEIGHBOR_LOSS: i32 = 5;

/// A message's envelope.
#[derive(Clone, Debug)]
pub(crate) enum Envelope<'a> {
    Community(Community<'a>),
    V3(V3<'a>),
    /// A version that does not exist.
    UnknownVersion,
}

/// The envelope of versions 1 and 2c.
#[derive(Clone, Debug)]
pub(crate) struct Community<'a> {
    pub(crate) version: Version,
    pub(crate) name: &'a [u8],
    pub(crate) pdu: Reader<'a>,
}

/// The envelope of version 3 (RFC 3412, 6), with the parameters of the user-based security model
/// still packed.
#[derive(Clone, Debug)]
pub(crate) struct V3<'a> {
    /// The message as the sender built it: what follows it in the datagram is no part of it.
    pub(crate) message: &'a [u8],
    pub(crate) id: i32,
    pub(crate) max_size: i32,
    pub(crate) flags: u8,
    pub(crate) model: i32,
    /// msgSecurityParameters; positions count from the start of the message.
    pub(crate) security: Reader<'a>,
    /// msgData.
    pub(crate) data: Reader<'a>,
}

/// msgSecurityParameters of the user-based security model (RFC 3414, 2.4).
#[derive(Clone, Debug)]
pub(crate) struct UsmParameters<'a> {
    pub(crate) engine_id: &'a [u8],
    pub(crate) boots: u32,
    pub(crate) time: u32,
    pub(crate) user: &'a [u8],
    pub(crate) mac: &'a [u8],
    /// Where the authentication code stands in the message.
    pub(crate) mac_at: usize,
    pub(crate) privacy: &'a [u8],
}

/// `ScopedPDU` (RFC 3412, 6).
#[derive(Clone, Debug)]
pub(crate) struct Scoped<'a> {
    pub(crate) engine_id: &'a [u8],
    pub(crate) name: &'a [u8],
    pub(crate) pdu: Reader<'a>,
}

/// A notification with what an answer to it repeats.
#[derive(Debug)]
pub(crate) struct Notification<'a> {
    pub(crate) trap: Trap<'a>,
    /// The variable-bindings as they came, with their tag.
    pub(crate) varbinds: &'a [u8],
}

/// Why a PDU is no notification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoNotification {
    Malformed,
    /// A request, a response, or a notification of another version.
    OtherPdu,
}

impl From<Malformed> for NoNotification {
    fn from(_: Malformed) -> Self {
        Self::Malformed
    }
}

impl<'a> Envelope<'a> {
    pub(crate) fn decode(datagram: &'a [u8]) -> Result<Self, Malformed> {
        let mut whole = Reader::new(datagram);
        let mut message = whole.expect(tag::SEQUENCE)?;
        let version = match message.integer()? {
            0 => Version::V1,
            1 => Version::V2c,
            3 => {
                let message_end = whole.position();
                return V3::decode(message, &datagram[..message_end]).map(Self::V3);
            }
            _ => return Ok(Self::UnknownVersion),
        };
        Ok(Self::Community(Community {
            version,
            name: message.octets()?,
            pdu: message,
        }))
    }
}

impl<'a> V3<'a> {
    fn decode(mut message: Reader<'a>, whole: &'a [u8]) -> Result<Self, Malformed> {
        let mut header = message.expect(tag::SEQUENCE)?;
        let id = header.integer()?;
        let max_size = header.integer()?;
        let &[flags] = header.octets()? else {
            return Err(Malformed);
        };
        let model = header.integer()?;
        header.finish()?;
        let security = message.expect(tag::OCTET_STRING)?;
        // RFC 3412, 6: msgID and msgMaxSize have lower bounds.
        if id < 0 || max_size < 484 {
            return Err(Malformed);
        }
        Ok(Self {
            message: whole,
            id,
            max_size,
            flags,
            model,
            security,
            data: message,
        })
    }
}

impl<'a> UsmParameters<'a> {
    pub(crate) fn decode(mut security: Reader<'a>) -> Result<Self, Malformed> {
        let mut parameters = security.expect(tag::SEQUENCE)?;
        security.finish()?;
        let engine_id = parameters.octets()?;
        let boots = u32::try_from(parameters.integer()?).map_err(|_| Malformed)?;
        let time = u32::try_from(parameters.integer()?).map_err(|_| Malformed)?;
        let user = parameters.octets()?;
        let mac = parameters.expect(tag::OCTET_STRING)?;
        let privacy = parameters.octets()?;
        parameters.finish()?;
        if user.len() > 32 || engine_id.len() > 32 {
            return Err(Malformed);
        }
        Ok(Self {
            engine_id,
            boots,
            time,
            user,
            mac: mac.rest(),
            mac_at: mac.position(),
            privacy,
        })
    }
}

impl<'a> Scoped<'a> {
    /// The scoped PDU that begins `data`; after decryption, padding follows it.
    pub(crate) fn decode(data: &mut Reader<'a>) -> Result<Self, Malformed> {
        let mut scoped = data.expect(tag::SEQUENCE)?;
        Ok(Self {
            engine_id: scoped.octets()?,
            name: scoped.octets()?,
            pdu: scoped,
        })
    }

    /// request-id where there is one, 0 where not: what a Report repeats.
    pub(crate) fn request_id(&self) -> i32 {
        let pdu = self.pdu.clone().element();
        pdu.ok()
            .and_then(|(_, mut pdu)| pdu.integer().ok())
            .unwrap_or(0)
    }
}

impl<'a> Notification<'a> {
    /// The notification that `data` is. Only versions 2c and 3 have the PDUs of SNMPv2.
    pub(crate) fn decode(mut data: Reader<'a>, version: Version) -> Result<Self, NoNotification> {
        let (pdu_tag, pdu) = data.element()?;
        data.finish()?;
        match (pdu_tag, version) {
            (tag::TRAP_V1, Version::V1) => Self::v1(pdu),
            (tag::TRAP_V2 | tag::INFORM, Version::V2c | Version::V3) => {
                Self::v2(pdu, pdu_tag == tag::INFORM, version)
            }
            _ => Err(NoNotification::OtherPdu),
        }
    }

    fn v2(mut pdu: Reader<'a>, inform: bool, version: Version) -> Result<Self, NoNotification> {
        let request_id = pdu.integer()?;
        // error-status and error-index, which mean nothing here.
        pdu.integer()?;
        pdu.integer()?;
        let varbinds = pdu.rest();
        let mut trap = Trap {
            inform,
            request_id: Some(request_id),
            ..Trap::empty(version)
        };
        trap.read_varbinds(&mut pdu)?;
        Ok(Self { trap, varbinds })
    }

    /// RFC 3584, 3.1.
    fn v1(mut pdu: Reader<'a>) -> Result<Self, NoNotification> {
        let enterprise = Oid::from_ber(pdu.expect(tag::OBJECT_IDENTIFIER)?.rest());
        let address = ip_address(pdu.expect(tag::IP_ADDRESS)?.rest()).ok_or(Malformed)?;
        let generic = pdu.integer()?;
        let specific = pdu.integer()?;
        let uptime = unsigned32(pdu.expect(tag::TIME_TICKS)?.rest());
        let varbinds = pdu.rest();
        let enterprise = enterprise.map_err(|_| Malformed)?;
        let mut trap = Trap {
            trap_oid: match generic {
                0..=EGP_NEIGHBOR_LOSS => SNMP_TRAPS.child(generic.cast_unsigned() + 1),
                _ => enterprise.child(0).child(specific.cast_unsigned()),
            },
            agent_address: Some(address).filter(|address| !address.is_unspecified()),
            uptime,
            enterprise: Some(enterprise.clone()),
            ..Trap::empty(Version::V1)
        };
        trap.read_varbinds(&mut pdu)?;
        trap.enterprise = Some(enterprise);
        Ok(Self { trap, varbinds })
    }
}

impl<'a> Trap<'a> {
    fn empty(version: Version) -> Self {
        Self {
            version,
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
            trap_oid: ZERO_DOT_ZERO,
            request_id: None,
            varbinds: Vec::new(),
        }
    }

    /// Reads the variable-bindings, which end the PDU. sysUpTime.0 and snmpTrapOID.0 should come
    /// first; some agents put them elsewhere, or leave one out.
    fn read_varbinds(&mut self, pdu: &mut Reader<'a>) -> Result<(), Malformed> {
        let mut list = pdu.expect(tag::SEQUENCE)?;
        pdu.finish()?;
        // An ordinary varbind has some 20 octets; too small a guess grows.
        self.varbinds.reserve((list.rest().len() / 16).min(64));
        while !list.is_empty() {
            let mut varbind = list.expect(tag::SEQUENCE)?;
            let name = varbind.expect(tag::OBJECT_IDENTIFIER)?.rest();
            let name = Oid::from_ber(name).map_err(|_| Malformed)?;
            let (value_tag, content) = varbind.element()?;
            varbind.finish()?;
            self.take_varbind(name, value(value_tag, content.rest()));
        }
        Ok(())
    }

    fn take_varbind(&mut self, oid: Oid<'a>, value: Value<'a>) {
        match &value {
            Value::TimeTicks(ticks) if oid == SYS_UP_TIME && self.uptime.is_none() => {
                self.uptime = Some(*ticks);
                return;
            }
            Value::ObjectIdentifier(Some(trap_oid))
                if oid == SNMP_TRAP_OID && self.trap_oid == ZERO_DOT_ZERO =>
            {
                self.trap_oid = trap_oid.clone();
                return;
            }
            Value::ObjectIdentifier(Some(enterprise)) if oid == SNMP_TRAP_ENTERPRISE => {
                self.enterprise = Some(enterprise.clone());
            }
            Value::IpAddress(address) if oid == SNMP_TRAP_ADDRESS => {
                self.proxied_address = Some(IpAddr::V4(*address));
            }
            // Not what the MIB says, but the only way to tell an address of version 6.
            Value::OctetString(octets) if oid == SNMP_TRAP_ADDRESS => {
                let octets = <[u8; 16]>::try_from(*octets).ok();
                self.proxied_address = octets.map(|octets| IpAddr::V6(Ipv6Addr::from(octets)));
            }
            _ if oid == SNMP_TRAP_COMMUNITY => return,
            _ => {}
        }
        self.varbinds.push(Varbind { oid, value });
    }
}

fn value(value_tag: u8, octets: &[u8]) -> Value<'_> {
    let known = match value_tag {
        tag::INTEGER => ber::integer(octets).map(Value::Integer),
        tag::OCTET_STRING => Some(Value::OctetString(octets)),
        tag::NULL if octets.is_empty() => Some(Value::Null),
        tag::OBJECT_IDENTIFIER if octets.is_empty() => Some(Value::ObjectIdentifier(None)),
        tag::OBJECT_IDENTIFIER => Oid::from_ber(octets)
            .ok()
            .map(|oid| Value::ObjectIdentifier(Some(oid))),
        tag::IP_ADDRESS => ip_address(octets).map(Value::IpAddress),
        tag::COUNTER32 => unsigned32(octets).map(Value::Counter32),
        tag::GAUGE32 => unsigned32(octets).map(Value::Gauge32),
        tag::TIME_TICKS => unsigned32(octets).map(Value::TimeTicks),
        tag::OPAQUE => Some(Value::Opaque(octets)),
        tag::COUNTER64 => ber::unsigned(octets, 64).map(Value::Counter64),
        tag::NO_SUCH_OBJECT => Some(Value::Missing(Missing::NoSuchObject)),
        tag::NO_SUCH_INSTANCE => Some(Value::Missing(Missing::NoSuchInstance)),
        tag::END_OF_MIB_VIEW => Some(Value::Missing(Missing::EndOfMibView)),
        _ => None,
    };
    known.unwrap_or(Value::Other {
        tag: value_tag,
        octets,
    })
}

fn unsigned32(octets: &[u8]) -> Option<u32> {
    ber::unsigned(octets, 32).and_then(|value| u32::try_from(value).ok())
}

fn ip_address(octets: &[u8]) -> Option<Ipv4Addr> {
    Some(Ipv4Addr::from(<[u8; 4]>::try_from(octets).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constants_are_what_their_names_say() {
        for (oid, text) in [
            (SYS_UP_TIME, "1.3.6.1.2.1.1.3.0"),
            (SNMP_TRAP_OID, "1.3.6.1.6.3.1.1.4.1.0"),
            (SNMP_TRAP_ENTERPRISE, "1.3.6.1.6.3.1.1.4.3.0"),
            (SNMP_TRAP_ADDRESS, "1.3.6.1.6.3.18.1.3.0"),
            (SNMP_TRAP_COMMUNITY, "1.3.6.1.6.3.18.1.4.0"),
            (SNMP_TRAPS, "1.3.6.1.6.3.1.1.5"),
            (ZERO_DOT_ZERO, "0.0"),
        ] {
            assert_eq!(oid, text.parse().unwrap());
        }
    }
}

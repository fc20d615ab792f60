//! What MUTT says: Responses to informs, and Reports to senders that lack something to be heard.
//!
//! Only writes. Whether an answer is due, and when, is decided elsewhere.

use async_snmp::v3::SaltCounter;
use async_snmp::v3::auth::authenticate_message;
use async_snmp::{DesSaltState, PrivProtocol};

use crate::ber::{push, push_integer, push_octets, push_unsigned, tag};
use crate::keys::Keys;
use crate::message::{Envelope, UsmParameters, V3};
use crate::trap::SecurityLevel;

/// What MUTT takes itself: the longest UDP payload over IPv4.
const MAX_SIZE: i32 = 65_507;

/// error-status tooBig.
const TOO_BIG: i32 = 1;

/// The authoritative engine that a message names, as of now.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Authority<'a> {
    pub(crate) engine_id: &'a [u8],
    pub(crate) boots: u32,
    pub(crate) time: u32,
}

/// Sources of numbers that must not be used twice with the same key.
pub(crate) struct Salts {
    pub(crate) aes: SaltCounter,
    /// `None` where the engine is latched: it then encrypts nothing.
    pub(crate) des: Option<DesSaltState>,
}

/// How a message is to be protected.
pub(crate) struct Protection<'a> {
    pub(crate) level: SecurityLevel,
    pub(crate) user: &'a [u8],
    pub(crate) keys: Option<&'a Keys>,
}

/// A Response to an inform: the same request, the same variables (RFC 3416, 4.2.7).
fn response(out: &mut Vec<u8>, request_id: i32, varbinds: &[u8], status: i32) {
    push(out, tag::RESPONSE, |out| {
        push_integer(out, request_id);
        push_integer(out, status);
        push_integer(out, 0);
        out.extend_from_slice(varbinds);
    });
}

/// The answer to a version 2c inform. `varbinds` is the list with its tag.
pub(crate) fn community_response(community: &[u8], request_id: i32, varbinds: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(varbinds.len() + community.len() + 32);
    push(&mut out, tag::SEQUENCE, |out| {
        push_integer(out, 1);
        push_octets(out, community);
        response(out, request_id, varbinds, 0);
    });
    out
}

/// The answer to a version 3 inform, within the size that its sender takes. `None` where it cannot
/// be protected.
#[allow(clippy::too_many_arguments)] // each is another field of the message
pub(crate) fn v3_response(
    request: &V3<'_>,
    authority: Authority<'_>,
    protection: &Protection<'_>,
    context: (&[u8], &[u8]),
    request_id: i32,
    varbinds: &[u8],
    salts: &Salts,
) -> Option<Vec<u8>> {
    let build = |varbinds: &[u8], status| {
        let mut scoped = Vec::with_capacity(varbinds.len() + 64);
        push(&mut scoped, tag::SEQUENCE, |out| {
            push_octets(out, context.0);
            push_octets(out, context.1);
            response(out, request_id, varbinds, status);
        });
        v3_message(request.id, authority, protection, &scoped, salts)
    };
    let answer = build(varbinds, 0)?;
    let limit = usize::try_from(request.max_size.min(MAX_SIZE)).unwrap_or(0);
    if answer.len() <= limit {
        return Some(answer);
    }
    build(&[tag::SEQUENCE, 0], TOO_BIG)
}

/// A Report of one counter (RFC 3414, 3.2; RFC 3412, 7.1).
pub(crate) fn report(
    message_id: i32,
    authority: Authority<'_>,
    protection: &Protection<'_>,
    request_id: i32,
    counter: (&[u8], u32),
    salts: &Salts,
) -> Option<Vec<u8>> {
    let mut scoped = Vec::with_capacity(64);
    push(&mut scoped, tag::SEQUENCE, |out| {
        push_octets(out, authority.engine_id);
        push_octets(out, &[]);
        push(out, tag::REPORT, |out| {
            push_integer(out, request_id);
            push_integer(out, 0);
            push_integer(out, 0);
            push(out, tag::SEQUENCE, |out| {
                push(out, tag::SEQUENCE, |out| {
                    push(out, tag::OBJECT_IDENTIFIER, |out| {
                        out.extend_from_slice(counter.0);
                    });
                    push_unsigned(out, tag::COUNTER32, counter.1);
                });
            });
        });
    });
    v3_message(message_id, authority, protection, &scoped, salts)
}

fn v3_message(
    id: i32,
    authority: Authority<'_>,
    protection: &Protection<'_>,
    scoped: &[u8],
    salts: &Salts,
) -> Option<Vec<u8>> {
    let level = protection.level;
    let keys = match level {
        SecurityLevel::NoAuthNoPriv => None,
        _ => Some(protection.keys?),
    };
    let encrypted = match (level, keys) {
        (SecurityLevel::AuthPriv, Some(keys)) => Some(encrypt(keys, authority, scoped, salts)?),
        _ => None,
    };
    let flags = match level {
        SecurityLevel::NoAuthNoPriv => 0,
        SecurityLevel::AuthNoPriv => 1,
        SecurityLevel::AuthPriv => 3,
    };
    let mac_len = keys.map_or(0, |keys| keys.auth.mac_len());
    let salt = encrypted.as_ref().map_or(&[][..], |(_, salt)| salt);
    let mut out = Vec::with_capacity(scoped.len() + 192);
    push(&mut out, tag::SEQUENCE, |out| {
        push_integer(out, 3);
        push(out, tag::SEQUENCE, |out| {
            push_integer(out, id);
            push_integer(out, MAX_SIZE);
            push_octets(out, &[flags]);
            push_integer(out, 3);
        });
        push(out, tag::OCTET_STRING, |out| {
            push(out, tag::SEQUENCE, |out| {
                push_octets(out, authority.engine_id);
                push_integer(out, authority.boots.cast_signed());
                push_integer(out, authority.time.cast_signed());
                push_octets(out, protection.user);
                push_octets(out, &[0; 64][..mac_len.min(64)]);
                push_octets(out, salt);
            });
        });
        match &encrypted {
            Some((octets, _)) => push_octets(out, octets),
            None => out.extend_from_slice(scoped),
        }
    });
    if let Some(keys) = keys {
        let at = mac_position(&out)?;
        authenticate_message(&keys.auth, &mut out, at, mac_len).ok()?;
    }
    Some(out)
}

/// Where the place for the authentication code is in a message of ours.
fn mac_position(message: &[u8]) -> Option<usize> {
    match Envelope::decode(message).ok()? {
        Envelope::V3(v3) => Some(UsmParameters::decode(v3.security).ok()?.mac_at),
        _ => None,
    }
}

fn encrypt(
    keys: &Keys,
    authority: Authority<'_>,
    scoped: &[u8],
    salts: &Salts,
) -> Option<(Vec<u8>, Vec<u8>)> {
    let key = keys.privacy.as_ref()?;
    let encrypted = match key.protocol() {
        PrivProtocol::Des | PrivProtocol::Des3 => {
            key.encrypt_des_family(scoped, salts.des.as_ref()?)
        }
        _ => key.encrypt_aes(scoped, authority.boots, authority.time, &salts.aes),
    };
    let (octets, salt) = encrypted.ok()?;
    Some((octets.to_vec(), salt.to_vec()))
}

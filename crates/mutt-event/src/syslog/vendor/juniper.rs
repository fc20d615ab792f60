//! Juniper: Junos and `ScreenOS`.

use super::super::{Bytes, Message, Mnemonic, is_host};
use crate::Severity;

static IN_TAG: Bytes = Bytes::only(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_");

/// Whether a word is a message tag of Junos: `RPD_BGP_NEIGHBOR_STATE_CHANGED`.
fn is_tag(word: &str) -> bool {
    word.starts_with(|first: char| first.is_ascii_uppercase())
        && memchr::memchr(b'_', word.as_bytes()).is_some()
        && word.bytes().all(|byte| IN_TAG.has(byte))
}

/// Takes the message tag in front of the text.
pub(super) fn read<'a>(text: &'a str, message: &mut Message<'a>) -> bool {
    // Most texts that begin with a capital go on without.
    let [_, second, ..] = text.as_bytes() else {
        return false;
    };
    if message.program.is_none() || !IN_TAG.has(*second) {
        return false;
    }
    let end = text.bytes().take(96).position(|byte| !IN_TAG.has(byte));
    let Some(word) = end.and_then(|end| text.get(..end)) else {
        return false;
    };
    let tagged =
        text.as_bytes()[word.len()] == b':' && memchr::memchr(b'_', word.as_bytes()).is_some();
    if tagged {
        message.mnemonic = Some(Mnemonic::Word(word));
    }
    tagged
}

/// Takes an RFC 5424 MSGID that is a message tag.
pub(super) fn message_id<'a>(msgid: &'a str, message: &mut Message<'a>) {
    if message.mnemonic.is_none() && is_tag(msgid) {
        message.mnemonic = Some(Mnemonic::Word(msgid));
    }
}

/// The facilities that Junos writes in front of a tag with `explicit-priority`.
const FACILITIES: [&str; 10] = [
    "ANY", "AUTH", "CHANGE", "CONFLICT", "DAEMON", "FIREWALL", "INTERACT", "KERN", "PFE", "USER",
];

/// The message tag in `DAEMON-4-RPD_OSPF_NBRDOWN`.
pub(super) fn explicit_priority(name: &str) -> Option<&str> {
    let (facility, rest) = name.split_once('-')?;
    let tag = rest.get(2..)?;
    (FACILITIES.contains(&facility) && is_tag(tag)).then_some(tag)
}

/// Takes what `ScreenOS` writes: `NetScreen device_id=ns1  [Root]system-notification-00257(traffic): …`.
pub(super) fn screenos<'a>(text: &'a str, message: &mut Message<'a>) -> bool {
    let Some(rest) = text.strip_prefix("NetScreen device_id=") else {
        return false;
    };
    let (device, rest) = rest.split_once(' ').unwrap_or((rest, ""));
    if is_host(device) {
        message.host = Some(device);
        // What looks like a tag is the device's name once more.
        message.program = Some(&text[.."NetScreen".len()]);
    }
    let rest = rest.trim_start_matches(' ');
    let rest = match rest.strip_prefix('[') {
        Some(vsys) => vsys.split_once(']').map_or(rest, |(_, rest)| rest),
        None => rest,
    };
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    let end = rest.bytes().take(64).position(|byte| !plain(byte));
    let Some(name) = end.and_then(|end| rest.get(..end)) else {
        return true;
    };
    let mut parts = name.split('-');
    if let (Some("system"), Some(level), Some(_)) = (parts.next(), parts.next(), parts.next()) {
        message.mnemonic = Some(Mnemonic::Word(name));
        message.vendor_severity = match level {
            "notification" => Some(Severity::NOTICE),
            level => Severity::from_text(level),
        };
    }
    true
}

//! Juniper: Junos and `ScreenOS`.

use super::super::{Message, Mnemonic, is_host};
use crate::Severity;

/// Whether a word is a message tag of Junos: `RPD_BGP_NEIGHBOR_STATE_CHANGED`.
fn is_tag(word: &str) -> bool {
    let bytes = word.as_bytes();
    let plain = |byte: &u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || *byte == b'_';
    bytes.first().is_some_and(u8::is_ascii_uppercase)
        && bytes.contains(&b'_')
        && bytes.iter().all(plain)
}

/// Takes the message tag in front of the text.
pub(super) fn read<'a>(text: &'a str, message: &mut Message<'a>) -> bool {
    if message.program.is_none() {
        return false;
    }
    let plain = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
    let end = text.bytes().take(96).position(|byte| !plain(byte));
    let Some(end) = end.filter(|end| text.as_bytes()[*end] == b':') else {
        return false;
    };
    let tagged = is_tag(&text[..end]);
    if tagged {
        message.mnemonic = Some(Mnemonic::Word(&text[..end]));
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

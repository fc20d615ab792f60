//! Cisco and those who write messages like it (Arista, Dell OS9, Ruijie …).

use super::super::clock::Clock;
use super::super::notes::Note;
use super::super::{Message, Mnemonic, stamp};
use crate::Severity;

/// `%FACILITY-SEVERITY-MNEMONIC` at the start of a text, with its percent sign, and its severity. The facility may have parts of its own, as in IOS-XR's `%PKT_INFRA-LINK-3-UPDOWN`.
pub(in super::super) fn mnemonic(text: &str) -> Option<(&str, Severity)> {
    let body = text.strip_prefix('%')?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    let end = body
        .bytes()
        .take(128)
        .position(|byte| !plain(byte))
        .unwrap_or(body.len().min(128));
    // Everything in it is ASCII.
    let name = text.get(..=end)?;
    Some((name, severity(&name[1..])?))
}

/// The one digit between two hyphens, with something before and behind.
fn severity(name: &str) -> Option<Severity> {
    let bytes = name.as_bytes();
    // SD-WAN devices put their own name in front, which may have such a digit of its own.
    let before = match bytes {
        [b'V' | b'C', b'i', ..] => SD_WAN.iter().find(|prefix| name.starts_with(*prefix)),
        _ => None,
    };
    if before.is_some() {
        let at = |at: usize| match bytes[at + 1..] {
            [digit @ b'0'..=b'7', b'-', _, ..] => Severity::new(digit - b'0'),
            _ => None,
        };
        return memchr::memrchr_iter(b'-', bytes).find_map(at);
    }
    let hyphens = memchr::memchr_iter(b'-', bytes);
    hyphens
        .skip_while(|at| *at == 0)
        .find_map(|at| match bytes[at + 1..] {
            [digit @ b'0'..=b'7', b'-', _, ..] => Severity::new(digit - b'0'),
            _ => None,
        })
}

/// How the messages of SD-WAN devices begin.
const SD_WAN: [&str; 2] = ["Viptela-", "Cisco-SDWAN-"];

/// Takes the mnemonic at the start of the text, or behind a chassis' prefix: NX-OS's
/// `%$ VDC-2 %$ %ETHPORT-…`, Dell OS9's `%STKUNIT0-M:CP %IFMGR-…`.
pub(super) fn read<'a>(text: &'a str, message: &mut Message<'a>) -> bool {
    let read = mnemonic(text).or_else(|| {
        let prefixed = match text.strip_prefix("%$ ") {
            Some(rest) => rest.split_once("%$ ")?.1,
            None => text.split_once(' ')?.1,
        };
        mnemonic(prefixed)
    });
    let Some((program, severity)) = read else {
        return false;
    };
    let name = &program[1..];
    if let Some(junos) = super::juniper::explicit_priority(name)
        && message.program.is_some()
    {
        message.mnemonic = Some(Mnemonic::Word(junos));
    } else {
        message.mnemonic = Some(Mnemonic::Word(name));
        message.program.get_or_insert(program);
    }
    message.vendor_severity = Some(severity);
    true
}

/// An RFC 5424 MSGID in the same form, without the percent sign (IOS-XR).
pub(super) fn message_id<'a>(msgid: &'a str, message: &mut Message<'a>) {
    let msgid = msgid.strip_prefix('%').unwrap_or(msgid);
    if let Some(severity) = severity(msgid) {
        message.mnemonic = Some(Mnemonic::Word(msgid));
        message.vendor_severity = Some(severity);
    }
}

/// The first words of what Identity Services Engine, its predecessor ACS and `ClearPass` write.
const CATEGORIES: [&str; 4] = ["CISE_", "CSCOacs_", "CisACS_", "CPPM_"];

/// Takes category, code, time and severity from
/// `CISE_Failed_Attempts 0000012346 1 0 2026-11-21 13:00:04.200 +00:00 0004567891 5400 NOTICE text`;
/// a long message comes in parts, of which only the first has more than the category.
pub(super) fn ise<'a>(text: &'a str, clock: Clock<'_>, message: &mut Message<'a>) -> bool {
    let Some((category, rest)) = text.split_once(' ') else {
        return false;
    };
    if !CATEGORIES.iter().any(|start| category.starts_with(start)) || message.program.is_some() {
        return false;
    }
    message.program = Some(category);
    // Message id, number of parts, number of this part.
    let mut words = rest.splitn(4, ' ');
    let (Some(_), Some(_), Some(_), Some(rest)) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return true;
    };
    let Some(stamp) = stamp::read(rest, clock) else {
        return true;
    };
    let mut words = stamp.rest.trim_start_matches(' ').split(' ');
    let (Some(_sequence), Some(code), Some(level)) = (words.next(), words.next(), words.next())
    else {
        return true;
    };
    if !code.is_empty() && super::super::is_number(code) {
        message.mnemonic = Some(Mnemonic::Word(code));
        message.vendor_severity = Severity::from_text(level);
        // It has a zone, which the header has not.
        message.time = stamp.time;
        message.notes.remove(Note::NoYear);
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mnemonics() {
        for (text, expected) in [
            ("%SYS-5-CONFIG_I: Configured", Some(("%SYS-5-CONFIG_I", 5))),
            (
                "%SYSMGR-STANDBY-3-SHUTDOWN_START: x",
                Some(("%SYSMGR-STANDBY-3-SHUTDOWN_START", 3)),
            ),
            (
                "%PKT_INFRA-LINK-3-UPDOWN : x",
                Some(("%PKT_INFRA-LINK-3-UPDOWN", 3)),
            ),
            ("%ASA-6-302016: x", Some(("%ASA-6-302016", 6))),
            ("%ASA-6-302016", Some(("%ASA-6-302016", 6))),
            ("%SYS-9-X: x", None),
            ("%SYS-5-: x", None),
            ("%-5-X: x", None),
            ("100% full", None),
            ("%", None),
            ("%%", None),
        ] {
            let read = mnemonic(text).map(|(name, severity)| (name, severity.number()));
            assert_eq!(read, expected, "{text}");
        }
    }
}

//! Cisco and those who write messages like it (Arista, Dell OS9, Ruijie …).

use super::super::Message;
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
    let hyphens = memchr::memchr_iter(b'-', bytes);
    hyphens
        .skip_while(|at| *at == 0)
        .find_map(|at| match bytes[at + 1..] {
            [digit @ b'0'..=b'7', b'-', _, ..] => Severity::new(digit - b'0'),
            _ => None,
        })
}

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
        message.mnemonic = Some(junos);
    } else {
        message.mnemonic = Some(name);
        message.program.get_or_insert(program);
    }
    message.vendor_severity = Some(severity);
    true
}

/// An RFC 5424 MSGID in the same form, without the percent sign (IOS-XR).
pub(super) fn message_id<'a>(msgid: &'a str, message: &mut Message<'a>) {
    let msgid = msgid.strip_prefix('%').unwrap_or(msgid);
    if let Some(severity) = severity(msgid) {
        message.mnemonic = Some(msgid);
        message.vendor_severity = Some(severity);
    }
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

//! F5 BIG-IP.

use super::super::{Message, Mnemonic};
use crate::Severity;

/// Takes the message code in front of the text: `01070638:5: Pool …`.
pub(super) fn read<'a>(text: &'a str, message: &mut Message<'a>) -> bool {
    let Some((code, severity)) = code(text) else {
        return false;
    };
    if !text[code.len()..].starts_with(": ") {
        return false;
    }
    message.mnemonic = Some(Mnemonic::Word(code));
    message.vendor_severity = Some(severity);
    true
}

/// Takes an RFC 5424 MSGID that is a message code.
pub(super) fn message_id<'a>(msgid: &'a str, message: &mut Message<'a>) {
    if let Some((code, severity)) = code(msgid).filter(|(code, _)| code.len() == msgid.len()) {
        message.mnemonic = Some(Mnemonic::Word(code));
        message.vendor_severity = Some(severity);
    }
}

/// Eight hexadecimal digits, a colon and the severity.
fn code(text: &str) -> Option<(&str, Severity)> {
    let code = text.get(..10)?;
    let hexadecimal = code.bytes().take(8).all(|byte| byte.is_ascii_hexdigit());
    match code.as_bytes()[8..] {
        [b':', digit @ b'0'..=b'7'] if hexadecimal => Some((code, Severity::new(digit - b'0')?)),
        _ => None,
    }
}

/// The host in `slot1/lb01`, as a VIPRION's blades write it.
pub(super) fn without_slot(host: &str) -> &str {
    match host
        .strip_prefix("slot")
        .and_then(|rest| rest.split_once('/'))
    {
        Some((slot, name))
            if !name.is_empty() && slot.bytes().all(|byte| byte.is_ascii_digit()) =>
        {
            name
        }
        _ => host,
    }
}

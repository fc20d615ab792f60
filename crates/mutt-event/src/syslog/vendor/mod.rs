//! What vendors put into the text of a message that says more than its header: one module per
//! family of devices.
//!
//! A module reads the text only; it never changes what is a header and what is not, except for the
//! devices whose header stands in the text ([`host_first`]). The message stays as it was sent.

pub(super) mod cisco;
pub(super) mod huawei;
mod juniper;
mod keyvalue;

use super::Message;
use super::clock::Clock;

/// Takes from `message.text` what the header left open, and the vendor's mnemonic and severity.
pub(super) fn refine(clock: Clock<'_>, message: &mut Message<'_>) {
    let text = message.text;
    let known = match text.as_bytes().first() {
        Some(b'%') => cisco::read(text, message) || huawei::read(text, message),
        Some(b'A'..=b'Z') => {
            juniper::read(text, message)
                || juniper::screenos(text, message)
                || huawei::read(text, message)
        }
        _ => false,
    };
    if !known && message.program.is_none() && text.contains('=') {
        keyvalue::read(text, clock, message);
    }
}

/// As [`refine`], for a message of RFC 5424, whose fields say who wrote it.
pub(super) fn refine_rfc5424(clock: Clock<'_>, message: &mut Message<'_>) {
    refine(clock, message);
    if message.mnemonic.is_none()
        && let Some(msgid) = message.msgid
    {
        cisco::message_id(msgid, message);
        juniper::message_id(msgid, message);
    }
}

/// Reads the headers that no other device writes; the content behind it.
pub(super) fn host_first<'a>(
    _text: &'a str,
    _clock: Clock<'_>,
    _message: &mut Message<'a>,
) -> Option<&'a str> {
    None
}

//! What vendors put into the text of a message that says more than its header: one module per
//! family of devices.
//!
//! A module reads the text only; it never changes what is a header and what is not, except for the
//! devices whose header stands in the text ([`host_first`]). The message stays as it was sent.

mod aruba;
mod cef;
pub(super) mod cisco;
pub(super) mod citrix;
pub(super) mod dell;
mod f5;
pub(super) mod huawei;
mod juniper;
mod keyvalue;
mod nokia;
mod opengear;
mod paloalto;
pub(super) mod storage;
mod ubiquiti;
pub(super) mod unix;
pub(super) mod watchguard;
pub(super) mod windows;

use super::Message;
use super::clock::Clock;

/// Takes from `message.text` what the header left open, and the vendor's mnemonic and severity.
pub(super) fn refine(clock: Clock<'_>, message: &mut Message<'_>) {
    let text = message.text;
    let known = match text.as_bytes().first() {
        Some(b'%') => cisco::read(text, message) || huawei::read(text, message),
        Some(first @ b'A'..=b'Z') => {
            let own = match first {
                b'C' => cef::read(text, clock, message) || cisco::ise(text, clock, message),
                b'E' => aruba::event(text, message),
                b'L' => cef::read(text, clock, message),
                b'M' => windows::snare(text, clock, message),
                b'N' => juniper::screenos(text, message),
                b'P' => citrix::read(text, message),
                b'S' => dell::idrac(text, message),
                _ => false,
            };
            own || juniper::read(text, message) || huawei::read(text, message)
        }
        Some(b'<') => aruba::controller(text, message) || nokia::exos(text, message),
        Some(b'[') => unix::solaris(text, message) || storage::netapp(text, message),
        Some(b'0'..=b'9') => {
            f5::read(text, message)
                || paloalto::read(text, clock, message)
                || aruba::procurve(text, message)
                || nokia::sros(text, message)
                || citrix::read(text, message)
        }
        Some(b'm') => watchguard::read(text, message),
        _ => false,
    };
    if message.program == Some("raslogd") {
        storage::brocade(text, message);
    }
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
        f5::message_id(msgid, message);
        cisco::message_id(msgid, message);
        juniper::message_id(msgid, message);
    }
}

/// The device's own name in what stands where a host should.
pub(super) fn host_of(word: &str) -> &str {
    let word = f5::without_slot(word);
    match memchr::memchr(b',', word.as_bytes()) {
        Some(_) => ubiquiti::without_model(word),
        None => word,
    }
}

/// Reads the headers that no other device writes; the content behind it.
pub(super) fn host_first<'a>(
    text: &'a str,
    clock: Clock<'_>,
    message: &mut Message<'a>,
) -> Option<&'a str> {
    if let Some((host, rest)) = windows::snare_host(text) {
        message.host = Some(host);
        return Some(rest);
    }
    opengear::header(text, clock, message)
}

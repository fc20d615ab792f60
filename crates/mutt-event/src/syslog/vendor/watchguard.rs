//! `WatchGuard` Firebox.

use super::super::content::tag;
use super::super::{Message, Mnemonic};

/// The content of `801234567891A (2026-11-21T13:00:04) firewall: msg_id="3000-0148" Deny …`,
/// which stands behind a host. The time is the header's once more.
pub(in super::super) fn behind_serial(content: &str) -> Option<&str> {
    let blank = memchr::memchr(b' ', content.as_bytes())?;
    let (serial, rest) = (&content[..blank], &content[blank + 1..]);
    let (time, rest) = rest.strip_prefix('(')?.split_once(") ")?;
    let plain = serial.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let is_time = time.starts_with(|c: char| c.is_ascii_digit());
    (plain && is_time && serial.len() <= 20 && tag(rest).is_some()).then_some(rest)
}

/// Takes the id in front of the text.
pub(super) fn read<'a>(text: &'a str, message: &mut Message<'a>) -> bool {
    let Some((id, _)) = text
        .strip_prefix("msg_id=\"")
        .and_then(|rest| rest.split_once('"'))
    else {
        return false;
    };
    if !id.is_empty() {
        message.mnemonic = Some(Mnemonic::Word(id));
    }
    true
}

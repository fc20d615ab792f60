//! `WatchGuard` Firebox.

use super::super::clock::Clock;
use super::super::content::tag;
use super::super::{Message, Mnemonic, stamp};

/// Takes the tag from `801234567891A (2026-11-21T13:00:04) firewall: msg_id="3000-0148" Deny …`, which
/// stands behind a host; the text behind it. The time in brackets is UTC.
pub(in super::super) fn behind_serial<'a>(
    content: &'a str,
    clock: Clock<'_>,
    message: &mut Message<'a>,
) -> Option<&'a str> {
    let (serial, rest) = content.split_once(" (")?;
    let (time, rest) = rest.split_once(") ")?;
    let plain = serial.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if !plain || serial.len() > 20 || tag(rest).is_none() {
        return None;
    }
    let stamp = stamp::read(time, clock.in_utc())?;
    message.time = stamp.time;
    Some(rest)
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

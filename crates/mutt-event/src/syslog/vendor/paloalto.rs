//! Palo Alto PAN-OS: comma-separated values, one list per type of log.

use super::super::clock::Clock;
use super::super::{Message, Mnemonic, stamp};

/// Takes type and subtype (`TRAFFIC/end`), and the time where no header has it.
///
/// Severities stay the priority's: PAN-OS has words of its own for them, which do not mean syslog's.
pub(super) fn read<'a>(text: &'a str, clock: Clock<'_>, message: &mut Message<'a>) -> bool {
    let Some(received) = text.strip_prefix("1,").filter(|rest| is_date(rest)) else {
        return false;
    };
    let mut fields = text.splitn(6, ',').skip(3);
    let (Some(kind), Some(subtype)) = (fields.next(), fields.next()) else {
        return false;
    };
    let plain = |word: &str| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        !word.is_empty() && word.bytes().all(plain)
    };
    if !plain(kind) {
        return false;
    }
    message.mnemonic = Some(match subtype {
        // A configuration or GlobalProtect log has none.
        "0" => Mnemonic::Word(kind),
        subtype if plain(subtype) => Mnemonic::Pair(kind, subtype),
        _ => Mnemonic::Word(kind),
    });
    if message.time.is_none()
        && let Some(stamp) = stamp::read(received, clock)
    {
        message.time = stamp.time;
    }
    true
}

/// `2026/11/21 …`
fn is_date(text: &str) -> bool {
    matches!(
        text.as_bytes(),
        [b'1'..=b'9', _, _, _, b'/', _, _, b'/', _, _, b' ', ..]
    )
}

//! Citrix `NetScaler`.

use super::super::{Message, Mnemonic};

/// What follows the packet engine in `0-PPE-0 : default TCP CONN_TERMINATE 1234567 0 : text`.
fn behind_engine(text: &str) -> Option<&str> {
    let (engine, rest) = text.split_once(" : ")?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    (engine.len() <= 16 && engine.contains("PPE-") && engine.bytes().all(plain)).then_some(rest)
}

/// Whether a text is one of a packet engine.
pub(in super::super) fn is_message(text: &str) -> bool {
    behind_engine(text).is_some()
}

/// Takes feature and event; the partition in front of them is left out in older versions.
pub(super) fn read<'a>(text: &'a str, message: &mut Message<'a>) -> bool {
    let Some(rest) = behind_engine(text) else {
        return false;
    };
    let plain = |word: &&str| {
        let plain = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
        !word.is_empty() && word.bytes().all(plain)
    };
    let is_event = |word: &&str| plain(word) && !super::super::is_number(word);
    let mut words = rest.splitn(4, ' ').skip_while(|word| !is_event(word));
    if let (Some(feature), Some(event)) = (words.next(), words.next().filter(is_event)) {
        message.mnemonic = Some(Mnemonic::Pair(feature, event));
    }
    true
}

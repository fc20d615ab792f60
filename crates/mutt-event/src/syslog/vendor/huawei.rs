//! Huawei VRP and HPE Comware (H3C), which share their form: `%%01MODULE/SEVERITY/BRIEF`.

use super::super::{Message, Mnemonic};
use crate::Severity;

/// `MODULE/SEVERITY/BRIEF` and its severity, where the whole word is one.
pub(in super::super) fn brief(word: &str) -> Option<Severity> {
    let bytes = word.as_bytes();
    let at = memchr::memchr(b'/', bytes).filter(|at| *at > 0)?;
    match bytes[at + 1..] {
        [digit @ b'0'..=b'7', b'/', _, ..] => Severity::new(digit - b'0'),
        _ => None,
    }
}

/// Whether a text begins with `%%01MODULE/SEVERITY/BRIEF`.
pub(in super::super) fn is_message(text: &str) -> bool {
    text.starts_with("%%") && read(text, &mut Message::default())
}

/// Takes the mnemonic at the start of the text, with or without `%%` and the format's version.
pub(super) fn read<'a>(text: &'a str, message: &mut Message<'a>) -> bool {
    let word = text.trim_start_matches('%');
    let word = match text.len() - word.len() {
        0 => word,
        1 | 2 => word.trim_start_matches(|c: char| c.is_ascii_digit()),
        _ => return false,
    };
    let plain =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'/' | b'-');
    let end = word.bytes().take(128).position(|byte| !plain(byte));
    let Some(name) = end.and_then(|end| word.get(..end)) else {
        return false;
    };
    let Some(severity) = brief(name) else {
        return false;
    };
    message.mnemonic = Some(Mnemonic::Word(name));
    message.vendor_severity = Some(severity);
    if text.len() > word.len() {
        let head = text.len() - word.len();
        message.program.get_or_insert(&text[..head + name.len()]);
    }
    true
}

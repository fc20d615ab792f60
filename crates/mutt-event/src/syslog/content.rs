//! What follows a header: a tag and a text, or one of the vendors' own forms.
//!
//! Knows how programs are named in front of a text; what the text itself says is for
//! [`vendor`](super::vendor) to know.

use super::clock::Clock;
use super::{Bytes, Message, vendor};
use crate::Severity;

/// The longest name of a program, and of a process id.
const MAX_TAG: usize = 64;

/// Takes a content apart. A plain word with a colon is only a program's name where `tagged` says
/// that tags are usual: in a debug message of Cisco it is a part of the text.
pub(super) fn read<'a>(
    content: &'a str,
    tagged: bool,
    clock: Clock<'_>,
    message: &mut Message<'a>,
) {
    // Infoblox leaves the tag out.
    let content = content.strip_prefix("-: ").unwrap_or(content);
    message.text = content;
    let (severity, content) = severity_word(content);
    if let Some(tag) = tag(content)
        && (tagged || tag.procid.is_some() || tag.rest.starts_with('%'))
    {
        let tag = behind_model(tag);
        message.program = Some(tag.program);
        message.procid = tag.procid;
        message.text = tag.rest;
        message.vendor_severity = severity;
        // Arista's sequence number.
        if let Some((number, rest)) = numbered(tag.rest) {
            message.sequence.get_or_insert(number);
            message.text = rest;
        }
    }
    vendor::refine(clock, message);
}

/// F5 writes `notice mcpd[10653]: …`, `SONiC` `NOTICE swss#orchagent: …`.
pub(super) fn severity_word(content: &str) -> (Option<Severity>, &str) {
    let word = content
        .bytes()
        .take(14)
        .position(|byte| !byte.is_ascii_alphabetic())
        .filter(|&end| end > 2 && content.as_bytes()[end] == b' ');
    let Some(end) = word else {
        return (None, content);
    };
    let rest = &content[end + 1..];
    match Severity::from_text(&content[..end]) {
        Some(severity) if tag(rest).is_some() => (Some(severity), rest),
        _ => (None, content),
    }
}

/// A `UniFi` access point puts its address and model in front: `788a20b2c3d4,U7PG2-6.5.28: hostapd[3411]: `.
fn behind_model(model: Tag<'_>) -> Tag<'_> {
    match model.program.split_once(',') {
        Some((address, _)) if model.procid.is_none() && is_mac(address) => {
            tag(model.rest).unwrap_or(model)
        }
        _ => model,
    }
}

/// A number in front of a message, and the message: `1423: %SPANTREE-6-…`.
fn numbered(text: &str) -> Option<(&str, &str)> {
    let digits = text.bytes().take(11).take_while(u8::is_ascii_digit).count();
    let rest = text[digits..].strip_prefix(": ")?;
    (digits > 0 && rest.starts_with('%')).then_some((&text[..digits], rest))
}

/// Whether a word is an address of hardware without separators.
pub(super) fn is_mac(word: &str) -> bool {
    word.len() == 12 && word.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// A program's name in front of a text.
pub(super) struct Tag<'a> {
    pub program: &'a str,
    pub procid: Option<&'a str>,
    pub rest: &'a str,
}

/// What a program's name is made of; letters of other scripts are bytes from 0x80 on.
static IN_TAG: Bytes = Bytes::words(b"_-./@+()=#,");

/// `program: `, `program[pid]: ` or `program[pid] ` at the start of a text.
pub(super) fn tag(text: &str) -> Option<Tag<'_>> {
    let end = text
        .bytes()
        .take(MAX_TAG + 1)
        .position(|byte| !IN_TAG.has(byte))?;
    let program = &text[..end];
    // A number is no program, and Huawei's MODULE/4/BRIEF belongs to the text.
    let named = program
        .bytes()
        .any(|byte| byte.is_ascii_alphabetic() || byte >= 0x80);
    if !named || program == "Severity" || vendor::huawei::brief(program).is_some() {
        return None;
    }
    let mut rest = &text[end..];
    let mut procid = None;
    if let Some(inside) = rest.strip_prefix('[') {
        let close = inside
            .bytes()
            .take(MAX_TAG + 1)
            .position(|byte| byte == b']')?;
        let id = &inside[..close];
        if id.is_empty() || id.contains(' ') {
            return None;
        }
        procid = Some(id);
        rest = &inside[close + 1..];
    }
    let after = rest.strip_prefix(':');
    // A pair of key and value is no name, unless it is followed as one.
    if procid.is_none() && (program.contains('=') || program.starts_with('(')) {
        return None;
    }
    let closed = match after {
        Some(after) => {
            procid.is_some()
                || after.is_empty()
                || after.starts_with([' ', '%', '\t'])
                // F5's Application Security Manager leaves no blank.
                || program == "ASM"
        }
        // Extreme's VOSS leaves everything out: `CLI[5]User:rw logged in`.
        None => {
            procid.is_some()
                && (rest.is_empty()
                    || rest.starts_with(' ')
                    || rest.starts_with(char::is_uppercase))
        }
    };
    let rest = after.unwrap_or(rest);
    closed.then(|| Tag {
        program,
        procid,
        rest: rest.trim_start_matches([' ', '\t']),
    })
}

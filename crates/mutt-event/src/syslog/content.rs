//! What follows a header: a tag and a text, or one of the vendors' own forms.
//!
//! Knows how programs are named in front of a text; what the text itself says is for
//! [`vendor`](super::vendor) to know.

use super::clock::Clock;
use super::{Message, vendor};
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
    message.text = content;
    let (severity, content) = severity_word(content);
    if let Some(tag) = tag(content)
        && (tagged || tag.procid.is_some() || tag.rest.starts_with('%'))
    {
        message.program = Some(tag.program);
        message.procid = tag.procid;
        message.text = tag.rest;
        message.vendor_severity = severity;
    }
    vendor::refine(clock, message);
}

/// F5 writes `notice mcpd[10653]: …`.
fn severity_word(content: &str) -> (Option<Severity>, &str) {
    let word = content
        .bytes()
        .take(14)
        .position(|byte| !byte.is_ascii_lowercase())
        .filter(|&end| end > 1 && content.as_bytes()[end] == b' ');
    let Some(end) = word else {
        return (None, content);
    };
    let rest = &content[end + 1..];
    match Severity::from_text(&content[..end]) {
        Some(severity) if tag(rest).is_some_and(|tag| tag.procid.is_some()) => {
            (Some(severity), rest)
        }
        _ => (None, content),
    }
}

/// A program's name in front of a text.
pub(super) struct Tag<'a> {
    pub program: &'a str,
    pub procid: Option<&'a str>,
    pub rest: &'a str,
}

/// `program: `, `program[pid]: ` or `program[pid] ` at the start of a text.
pub(super) fn tag(text: &str) -> Option<Tag<'_>> {
    let plain = |byte: u8| {
        byte.is_ascii_alphanumeric()
            || byte >= 0x80
            || matches!(byte, b'_' | b'-' | b'.' | b'/' | b'@' | b'+' | b'(' | b')')
    };
    let end = text
        .bytes()
        .take(MAX_TAG + 1)
        .position(|byte| !plain(byte))?;
    let program = &text[..end];
    // A number is no program, and Huawei's MODULE/4/BRIEF belongs to the text.
    let named = program
        .bytes()
        .any(|byte| byte.is_ascii_alphabetic() || byte >= 0x80);
    if !named || program.starts_with('(') || vendor::huawei::brief(program).is_some() {
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
    let closed = match after {
        Some(after) => procid.is_some() || after.is_empty() || after.starts_with([' ', '%', '\t']),
        None => procid.is_some() && (rest.is_empty() || rest.starts_with(' ')),
    };
    let rest = after.unwrap_or(rest);
    closed.then(|| Tag {
        program,
        procid,
        rest: rest.trim_start_matches([' ', '\t']),
    })
}

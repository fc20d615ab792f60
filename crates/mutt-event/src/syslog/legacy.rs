//! RFC 3164 and its dialects: everything that is not RFC 5424.
//!
//! The RFC describes what was seen, not what must be sent, so every part is optional here: a
//! sequence number, a host before the time (Cisco), a time in any form, a host behind it, a tag.

use jiff::Timestamp;

use super::clock::Clock;
use super::notes::{Note, Notes};
use super::{Message, is_host, stamp, vendor};
use crate::Severity;

/// How far off a clock may be that the device itself does not trust.
const BELIEVABLE: u64 = 86_400;

/// Reads a message whose priority, if any, is gone.
pub(super) fn parse<'a>(text: &'a str, clock: Clock<'_>, message: &mut Message<'a>) {
    let start = text.trim_start_matches(' ');
    // NX-OS without a host name.
    let start = start.strip_prefix(": ").unwrap_or(start);
    let (sequence, rest) = sequence(start);
    if let Some(content) = header(rest, clock, message) {
        message.sequence = sequence;
        let content = behind_relay(content, clock, message);
        return read_content(content, clock, message);
    }
    // No header at all. Without a priority either, it is just text, which stays as it is.
    if message.notes.has(Note::NoPri) && vendor::mnemonic(start).is_none() {
        vendor::key_values(start, clock, message);
        message.text = text;
        return;
    }
    read_content(host_without_time(start, message), clock, message);
}

/// Cisco's `29: `, or two numbers as NX-OS's `101 21: `.
fn sequence(text: &str) -> (Option<&str>, &str) {
    let number = |text: &str| text.bytes().take(11).take_while(u8::is_ascii_digit).count();
    let digits = number(text);
    if !(1..=10).contains(&digits) {
        return (None, text);
    }
    if let Some(rest) = text[digits..].strip_prefix(": ") {
        return (Some(&text[..digits]), rest.trim_start_matches(' '));
    }
    if let Some(second) = text[digits..].strip_prefix(' ') {
        let digits = number(second);
        if let (1..=10, Some(rest)) = (digits, second[digits..].strip_prefix(": ")) {
            return (Some(&second[..digits]), rest.trim_start_matches(' '));
        }
    }
    (None, text)
}

/// Reads time and host, in either order; what follows them. `None` where there is no time and no
/// Cisco mnemonic that would tell a header from a text.
fn header<'a>(text: &'a str, clock: Clock<'_>, message: &mut Message<'a>) -> Option<&'a str> {
    if let Some(rest) = time(text, clock, message) {
        return Some(host_after_time(rest, message));
    }
    if vendor::mnemonic(text).is_some() {
        return Some(text);
    }
    // A host, or a node of IOS-XR, or both, in front of the time or the mnemonic.
    let (word, rest) = text.split_once(' ')?;
    if let Some(host) = word.strip_suffix(':').filter(|host| is_host(host)) {
        let rest = rest.trim_start_matches(' ');
        if let Some(rest) = time(rest, clock, message) {
            message.host = Some(host);
            return Some(content_after_colon(rest));
        }
        if vendor::mnemonic(rest).is_some() {
            message.host = Some(host);
            return Some(rest);
        }
    }
    if let Some(rest) = node_and_time(text, clock, message) {
        return Some(content_after_colon(rest));
    }
    if is_host(word) {
        let rest = rest.trim_start_matches(' ');
        if let Some(rest) = node_and_time(rest, clock, message) {
            message.host = Some(word);
            return Some(content_after_colon(rest));
        }
        let rest = rest.strip_prefix(": ").unwrap_or(rest);
        if vendor::mnemonic(rest).is_some() {
            message.host = Some(word.trim_end_matches(':'));
            return Some(rest);
        }
    }
    None
}

/// Skips the header that a Cisco device wrote itself where a relay put its own in front of it:
/// `733: *Nov 21 14:30:11.776: %LINK-3-UPDOWN: …`. The device's own time counts.
fn behind_relay<'a>(content: &'a str, clock: Clock<'_>, message: &mut Message<'a>) -> &'a str {
    let (Some(number), rest) = sequence(content) else {
        return content;
    };
    let before = (message.time, message.device_time, message.notes);
    let rest = time(rest, clock, message).map_or(rest, content_after_colon);
    if vendor::mnemonic(rest).is_none() {
        (message.time, message.device_time, message.notes) = before;
        return content;
    }
    if message.time.is_none() {
        message.time = before.0;
    }
    message.sequence = Some(number);
    rest
}

/// IOS-XR's `LC/0/2/CPU0:Jul  7 20:16:14.834`; what follows.
fn node_and_time<'a>(
    text: &'a str,
    clock: Clock<'_>,
    message: &mut Message<'a>,
) -> Option<&'a str> {
    let end = text
        .bytes()
        .take(64)
        .position(|b| !(b.is_ascii_alphanumeric() || b == b'/'))?;
    let rest = text[end..].strip_prefix(':')?;
    if text[..end].contains('/') {
        time(rest, clock, message)
    } else {
        None
    }
}

/// Reads a time with Cisco's clock mark; what follows it.
fn time<'a>(text: &'a str, clock: Clock<'_>, message: &mut Message<'a>) -> Option<&'a str> {
    let (mark, unmarked) = match text.as_bytes().first()? {
        b'*' => (Some(Note::ClockNotSet), &text[1..]),
        b'.' => (Some(Note::ClockNotSynced), &text[1..]),
        _ => (None, text),
    };
    let stamp = stamp::read(unmarked, clock)?;
    if !(stamp.rest.is_empty() || stamp.rest.starts_with([' ', ':'])) {
        return None;
    }
    let mut notes = stamp.notes.union(mark.map_or(Notes::NONE, Notes::from));
    // A clock that was never set says nothing, unless it happens to be right.
    let far =
        |time: Timestamp| time.as_second().abs_diff(clock.received_at().as_second()) > BELIEVABLE;
    let doubtful = notes.has(Note::ClockNotSet) && stamp.time.is_none_or(far);
    if doubtful {
        message.device_time = Some(&unmarked[..unmarked.len() - stamp.rest.len()]);
        notes.remove(Note::NoYear);
    } else {
        message.time = stamp.time;
    }
    message.notes = message.notes.union(notes);
    Some(stamp.rest)
}

/// Skips the colon, with or without a blank before it, that Cisco puts behind the time or the host.
fn content_after_colon(text: &str) -> &str {
    let text = text.trim_start_matches(' ');
    text.strip_prefix(':')
        .unwrap_or(text)
        .trim_start_matches(' ')
}

/// Reads the host behind a time; what follows it.
fn host_after_time<'a>(text: &'a str, message: &mut Message<'a>) -> &'a str {
    if text.starts_with(':') {
        return content_after_colon(text);
    }
    let text = text.trim_start_matches(' ');
    if text.starts_with(": ") || text.starts_with('%') {
        return content_after_colon(text);
    }
    let Some((word, rest)) = text.split_once(' ') else {
        return text;
    };
    let rest = rest.trim_start_matches(' ');
    let host = match word.strip_suffix(':') {
        // `sshd: text` is a tag, but `switch: %SYS-5-…` is a host.
        Some(host) if rest.starts_with('%') => host,
        Some(_) => return text,
        None => word,
    };
    if rest.is_empty() || !is_host(host) || tag(text).is_some() {
        return text;
    }
    message.host = Some(host);
    rest.strip_prefix(": ")
        .map_or(rest, |rest| rest.trim_start_matches(' '))
}

/// A host at the start of a message without time: only where it looks like one and a tag follows.
fn host_without_time<'a>(text: &'a str, message: &mut Message<'a>) -> &'a str {
    if let Some((word, rest)) = text.split_once(' ') {
        let named = word
            .bytes()
            .any(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'-'));
        if named && is_host(word) && !word.ends_with(':') && tag(rest).is_some() {
            message.host = Some(word);
            return rest;
        }
    }
    text
}

/// Reads what follows the header: tag and text, or one of the vendors' own forms.
fn read_content<'a>(content: &'a str, clock: Clock<'_>, message: &mut Message<'a>) {
    message.text = content;
    let content = without_severity_word(content);
    if let Some(tag) = tag(content) {
        message.program = Some(tag.program);
        message.procid = tag.procid;
        message.text = tag.rest;
    }
    if let Some((mnemonic, severity)) = vendor::mnemonic(message.text) {
        message.program.get_or_insert(mnemonic);
        message.severity.get_or_insert(severity);
    } else if message.program.is_none() && message.text.contains('=') {
        vendor::key_values(message.text, clock, message);
    }
}

/// F5 writes `notice mcpd[10653]: …`.
fn without_severity_word(content: &str) -> &str {
    match content.split_once(' ') {
        Some((word, rest)) if Severity::from_text(word).is_some() && word.len() > 1 => {
            if tag(rest).is_some_and(|tag| tag.procid.is_some()) {
                rest
            } else {
                content
            }
        }
        _ => content,
    }
}

struct Tag<'a> {
    program: &'a str,
    procid: Option<&'a str>,
    rest: &'a str,
}

/// `program: `, `program[pid]: ` or `program[pid] ` at the start of a text.
fn tag(text: &str) -> Option<Tag<'_>> {
    let plain = |byte: u8| {
        byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'/' | b'@' | b'+')
    };
    let end = text.bytes().take(65).position(|byte| !plain(byte))?;
    let program = &text[..end];
    // A number is no program, and Huawei's MODULE/4/BRIEF belongs to the text.
    let is_program = program.bytes().any(|byte| byte.is_ascii_alphabetic())
        && !program
            .as_bytes()
            .windows(3)
            .any(|w| w[0] == b'/' && w[1].is_ascii_digit() && w[2] == b'/');
    if !is_program {
        return None;
    }
    let mut rest = &text[end..];
    let mut procid = None;
    if let Some(inside) = rest.strip_prefix('[') {
        let close = inside.bytes().take(65).position(|byte| byte == b']')?;
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

//! The header of RFC 3164 and its dialects: everything that is not RFC 5424.
//!
//! The RFC describes what was seen, not what must be sent, so every part is optional here: a
//! sequence number, a host before the time (Cisco), a time in any form, a host behind it. What the
//! text behind the header means is the business of [`content`](super::content).

use std::net::{IpAddr, Ipv4Addr};

use jiff::Timestamp;

use super::clock::Clock;
use super::content::{self, severity_word, tag};
use super::notes::{Note, Notes};
use super::{Message, bracketed, is_host, is_number, rfc5424, stamp, vendor};

/// How far off a clock may be that the device itself does not trust.
const BELIEVABLE: u64 = 86_400;

/// How many headers are read, one behind the other: a relay's, another relay's, the device's.
const MAX_HEADERS: usize = 3;

/// How a header ended, which says what may follow it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Style {
    /// As RFC 3164 has it: a tag follows, or a text.
    Rfc,
    /// A colon, as Cisco has it: a message with its mnemonic follows, or a text.
    Colon,
}

/// Reads a message whose priority, if any, is gone.
pub(super) fn parse<'a>(text: &'a str, clock: Clock<'_>, message: &mut Message<'a>) {
    let start = text.trim_start_matches(' ');
    if let Some((mut content, mut style)) = header(start, clock, message) {
        for _ in 1..MAX_HEADERS {
            if let Some((Some(number), rest)) = bracketed(content) {
                // A relay left the device's own priority in.
                message.set_priority(number);
                content = rest.trim_start_matches(' ');
            }
            // Meraki's form, or RFC 5424, behind a relay's header.
            let (host, notes) = (message.host, message.notes);
            if content.starts_with('1') && rfc5424::parse(content, clock, message) {
                message.host = message.host.or(host);
                message.notes.remove(Note::NoYear);
                message.notes.add(Note::Relayed);
                return vendor::refine_rfc5424(clock, message);
            }
            message.notes = notes;
            match inner(content, clock, message) {
                Some(inner) => (content, style) = inner,
                None => break,
            }
        }
        let content = vendor::watchguard::behind_serial(content).unwrap_or(content);
        return content::read(content, style == Style::Rfc, clock, message);
    }
    if let Some(content) = vendor::host_first(start, clock, message) {
        return content::read(content, false, clock, message);
    }
    // No header at all. Without a priority either, it is just text, which stays as it is.
    if message.notes.has(Note::NoPri) {
        message.text = text;
        return vendor::refine(clock, message);
    }
    content::read(host_without_time(start, message), true, clock, message);
}

/// Whether `text` begins as Cisco's messages do.
fn is_message(text: &str) -> bool {
    text.starts_with('%')
        && (vendor::cisco::mnemonic(text).is_some() || vendor::huawei::is_message(text))
}

/// Reads what stands before the content; what follows, and how it ended. `None` where there is
/// neither a time nor a mnemonic that would tell a header from a text.
fn header<'a>(
    text: &'a str,
    clock: Clock<'_>,
    message: &mut Message<'a>,
) -> Option<(&'a str, Style)> {
    // NX-OS without a host name, and ASA in EMBLEM form.
    let start = text.strip_prefix(':').unwrap_or(text);
    let (number, rest) = sequence(start.trim_start_matches(' '));
    let found = hosts_and_time(rest, clock, message)?;
    if message.sequence.is_none() {
        message.sequence = number;
    }
    Some(found)
}

/// Reads time and host, in either order.
fn hosts_and_time<'a>(
    text: &'a str,
    clock: Clock<'_>,
    message: &mut Message<'a>,
) -> Option<(&'a str, Style)> {
    if let Some(rest) = time(text, clock, message) {
        return Some(host_after_time(rest, message));
    }
    if is_message(text) {
        return Some((text, Style::Colon));
    }
    let (word, rest) = text.split_once(' ')?;
    let rest = rest.trim_start_matches(' ');
    if let Some(name) = word.strip_suffix(':') {
        // A wireless controller's task in front of the time.
        if let Some(task) = name.strip_prefix('*') {
            let rest = time(rest, clock, message)?;
            message.program = Some(task);
            return Some((after_colon(rest), Style::Colon));
        }
        if is_host(name) {
            let (number, rest) = sequence(rest);
            if let Some(task) = rest.strip_prefix('*')
                && let Some((task, rest)) = task.split_once(": ")
                && !task.contains(' ')
            {
                let found = time(rest, clock, message)?;
                message.program = Some(task);
                message.host = Some(name);
                return Some((after_colon(found), Style::Colon));
            }
            let found = time(rest, clock, message).map(after_colon);
            if let Some(found) = found.or_else(|| is_message(rest).then_some(rest)) {
                message.host = Some(name);
                message.sequence = message.sequence.or(number);
                return Some((found, Style::Colon));
            }
        }
    }
    // A node of IOS-XR in front of the time, perhaps with a host in front of it.
    if let Some(rest) = node_and_time(text, clock, message) {
        return Some((after_colon(rest), Style::Colon));
    }
    if is_host(word) {
        if let Some(rest) = node_and_time(rest, clock, message) {
            message.host = Some(word);
            return Some((after_colon(rest), Style::Colon));
        }
        let rest = rest.strip_prefix(": ").unwrap_or(rest);
        if is_message(rest) {
            message.host = Some(word.trim_end_matches(':'));
            return Some((rest, Style::Colon));
        }
    }
    None
}

/// Skips the header that the device wrote itself where a relay put its own in front of it:
/// `733: *Nov 21 14:30:11.776: %LINK-3-UPDOWN: …`. The device's own host and time count.
fn inner<'a>(
    content: &'a str,
    clock: Clock<'_>,
    message: &mut Message<'a>,
) -> Option<(&'a str, Style)> {
    if !may_be_header(content) {
        return None;
    }
    let mut device = Message::default();
    let (rest, style) = header(content, clock, &mut device)?;
    // Arista's process in front of a message is no host, and a text may begin with a time of its own:
    // only both, what it has and what follows, tell a header.
    let timed = device.time.is_some() || device.device_time.is_some();
    if !timed && !content.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let told = is_message(rest)
        || vendor::windows::is_snare(rest)
        || vendor::watchguard::behind_serial(rest).is_some()
        || vendor::citrix::is_message(rest)
        || tag(severity_word(rest).1).is_some_and(|tag| match style {
            Style::Colon => tag.procid.is_some() || device.program.is_some(),
            Style::Rfc => device.host.is_some(),
        });
    if !told {
        return None;
    }
    if device.time.is_some() {
        message.notes.remove(Note::NoYear);
        message.time = device.time;
    }
    message.notes = message.notes.union(device.notes);
    message.notes.add(Note::Relayed);
    message.device_time = device.device_time.or(message.device_time);
    message.host = device.host.or(message.host);
    message.program = device.program.or(message.program);
    message.sequence = device.sequence.or(message.sequence);
    Some((rest, style))
}

/// Whether it is worth a closer look: most contents are a tag and a text.
fn may_be_header(content: &str) -> bool {
    match content.as_bytes().first() {
        Some(b'0'..=b'9' | b':' | b'*' | b'.') => true,
        Some(b'A'..=b'Z' | b'a'..=b'z') => {
            let bytes = content.as_bytes();
            let end = memchr::memchr(b' ', bytes).unwrap_or(bytes.len());
            match bytes[..end] {
                [.., b']', b':'] => false,
                [_, _, _] | [.., b':'] => true,
                ref word => memchr::memchr(b'/', word).is_some(),
            }
        }
        _ => false,
    }
}

/// The header that a device wrote into the message of an RFC 5424 relay; what follows it. Only a
/// Cisco message is taken for one: programs write lines of other programs into theirs.
pub(super) fn behind_rfc5424<'a>(
    content: &'a str,
    clock: Clock<'_>,
    message: &mut Message<'a>,
) -> Option<&'a str> {
    memchr::memchr(b'%', content.as_bytes()).filter(|_| content.contains(": %"))?;
    let (rest, style) = inner(content, clock, message)?;
    (style == Style::Colon).then_some(rest)
}

/// Cisco's `29: `, or two numbers as NX-OS's `101 21: `, or one behind the other as IOS's `29: 000047: `.
/// The first one is the counter of messages that were sent.
fn sequence(text: &str) -> (Option<&str>, &str) {
    let number = |text: &str| text.bytes().take(11).take_while(u8::is_ascii_digit).count();
    let digits = number(text);
    if !(1..=10).contains(&digits) {
        return (None, text);
    }
    if let Some(rest) = text[digits..].strip_prefix(": ") {
        let rest = rest.trim_start_matches(' ');
        let second = number(rest);
        let rest = match (second, rest[second..].strip_prefix(": ")) {
            (1..=10, Some(rest)) => rest.trim_start_matches(' '),
            _ => rest,
        };
        return (Some(&text[..digits]), rest);
    }
    if let Some(second) = text[digits..].strip_prefix(' ') {
        let digits = number(second);
        if let (1..=10, Some(rest)) = (digits, second[digits..].strip_prefix(": ")) {
            return (Some(&second[..digits]), rest.trim_start_matches(' '));
        }
    }
    (None, text)
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
    if !(stamp.rest.is_empty() || stamp.rest.starts_with([' ', ':', '\t'])) {
        return None;
    }
    let mut notes = stamp.notes.union(mark.map_or(Notes::NONE, Notes::from));
    // A clock that was never set says nothing, unless it happens to be right.
    let received = clock.received_at().as_second();
    let far = |time: Timestamp| time.as_second().abs_diff(received) > BELIEVABLE;
    let doubtful = notes.has(Note::ClockNotSet) && stamp.time.is_none_or(far);
    if doubtful || stamp.time.is_none() {
        message.device_time = Some(&unmarked[..unmarked.len() - stamp.rest.len()]);
        notes.remove(Note::NoYear);
    } else {
        message.time = stamp.time;
    }
    message.notes = message.notes.union(notes);
    Some(stamp.rest)
}

/// Skips the colon, with or without a blank before it, that Cisco puts behind the time or the host.
fn after_colon(text: &str) -> &str {
    let text = text.trim_start_matches(' ');
    text.strip_prefix(':')
        .unwrap_or(text)
        .trim_start_matches(' ')
}

/// Reads the host behind a time; what follows it.
fn host_after_time<'a>(text: &'a str, message: &mut Message<'a>) -> (&'a str, Style) {
    if text.starts_with(':') {
        return (after_colon(text), Style::Colon);
    }
    if let Some((host, rest)) = vendor::unix::forwarded(text.trim_start_matches(' ')) {
        message.host = Some(host);
        return (rest, Style::Rfc);
    }
    let text = text.trim_start_matches([' ', '\t']);
    if text.starts_with(": ") || text.starts_with('%') {
        return (after_colon(text), Style::Colon);
    }
    let Some(blank) = memchr::memchr2(b' ', b'\t', text.as_bytes()) else {
        return (text, Style::Rfc);
    };
    let (word, rest) = (&text[..blank], &text[blank + 1..]);
    let rest = rest.trim_start_matches(' ');
    let host = match word.strip_suffix(':') {
        Some(host) if vendor::storage::is_node(rest, host) || vendor::dell::is_unit(rest) => host,
        None if tag(text).is_none() => word,
        _ => return (text, Style::Rfc),
    };
    let host = without_port(host);
    if rest.is_empty() || !is_host(host) || is_sentence(text) {
        return (text, Style::Rfc);
    }
    message.host = Some(vendor::host_of(host));
    (
        rest.strip_prefix(": ").map_or(rest, str::trim_start),
        Style::Rfc,
    )
}

/// The address in `[192.0.2.5]`, `192.0.2.5:514` or `192.0.2.5-1`.
fn without_port(word: &str) -> &str {
    if !word.starts_with(|c: char| c.is_ascii_digit() || c == '[') {
        return word;
    }
    if let Some(address) = word
        .strip_prefix('[')
        .and_then(|word| word.strip_suffix(']'))
    {
        return if address.parse::<IpAddr>().is_ok() {
            address
        } else {
            word
        };
    }
    match word.rsplit_once(':') {
        Some((address, port)) if address.parse::<Ipv4Addr>().is_ok() && is_number(port) => address,
        _ => match word.rsplit_once('-') {
            // A Dell stack's unit.
            Some((address, unit)) if is_number(unit) && address.parse::<Ipv4Addr>().is_ok() => {
                address
            }
            _ => word,
        },
    }
}

/// What daemons write where no host is named, and relays write of their own.
fn is_sentence(text: &str) -> bool {
    match text.as_bytes().first() {
        Some(b'l') => text.starts_with("last message repeated "),
        Some(b'm') => text.starts_with("message repeated "),
        Some(b'M') => text.starts_with("Message forwarded from "),
        _ => false,
    }
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

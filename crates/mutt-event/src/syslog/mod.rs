//! Syslog in all its dialects, on one port, told apart by content.
//!
//! [`parse_into`] never fails: what cannot be understood is an event with the raw text, severity 5
//! and the peer's address. What was odd is noted ([`Note`]) in the event, so that it can be counted
//! and matched. [`Framer`] finds the messages in a stream.

mod clock;
mod content;
mod framing;
mod legacy;
mod notes;
mod rfc5424;
mod snmptrapd;
mod stamp;
mod vendor;
mod zone;

use std::borrow::Cow;
use std::net::IpAddr;

use jiff::Timestamp;
use jiff::tz::TimeZone;

pub use framing::{Framer, Step};
pub use notes::{Note, Notes};

use self::clock::Clock;
use crate::element::{ElementWriter, push_string};
use crate::{EventId, Severity, Source};

/// The longest host name taken from a message.
const MAX_HOST: usize = 255;

/// The largest priority: facility 23, severity 7.
const MAX_PRI: u8 = 191;

/// What became of one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parsed {
    /// The id of the event.
    pub event_id: EventId,
    /// What was odd.
    pub notes: Notes,
}

/// A message taken apart, all borrowed from its text.
#[derive(Debug, Default)]
struct Message<'a> {
    facility: Option<u8>,
    /// As the priority has it.
    severity: Option<Severity>,
    /// As the text has it, in the vendor's own way.
    vendor_severity: Option<Severity>,
    time: Option<Timestamp>,
    /// What the device wrote as time, where that is not to be believed.
    device_time: Option<&'a str>,
    host: Option<&'a str>,
    program: Option<&'a str>,
    procid: Option<&'a str>,
    msgid: Option<&'a str>,
    /// The vendor's name for this kind of message.
    mnemonic: Option<Mnemonic<'a>>,
    /// Cisco's message counter, which shows gaps.
    sequence: Option<&'a str>,
    data: Option<rfc5424::Data<'a>>,
    /// What snmptrapd wrote down.
    trap: Option<snmptrapd::Trap<'a>>,
    text: &'a str,
    notes: Notes,
}

static UTC: TimeZone = TimeZone::UTC;

/// Where a message came from, and what is known about its sender.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    /// Who sent it to MUTT: the device, or a relay.
    pub peer: IpAddr,
    /// When it came.
    pub received_at: Timestamp,
    /// What everything of one request or read has in common.
    pub correlation_id: &'a str,
    /// How many bytes of the message are looked at.
    pub max_len: usize,
    /// What was odd about the message's frame.
    pub frame: Notes,
    /// The zone of times that name none.
    pub zone: &'a TimeZone,
    /// The peer's name, for messages that name no host.
    pub host: Option<&'a str>,
    /// Whether a host name in the message is believed; else the peer's name or address is the host.
    pub believed: bool,
    /// What the operator calls this sender; written into the event.
    pub tags: &'a [Box<str>],
}

impl Origin<'_> {
    /// A sender of whom nothing is known: times without zone are UTC, no name, no tags.
    pub fn new(peer: IpAddr, received_at: Timestamp, max_len: usize) -> Self {
        Self {
            peer,
            received_at,
            correlation_id: "",
            max_len,
            frame: Notes::NONE,
            zone: &UTC,
            host: None,
            believed: true,
            tags: &[],
        }
    }
}

/// The vendor's name for a kind of message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mnemonic<'a> {
    Word(&'a str),
    /// A type and what it is more closely, written with a slash.
    Pair(&'a str, &'a str),
}

impl Mnemonic<'_> {
    fn write_json(self, out: &mut Vec<u8>) {
        match self {
            Self::Word(word) => push_string(out, word),
            Self::Pair(first, second) => {
                push_string(out, first);
                // The one string goes on where the other ended.
                out.pop();
                let end = out.len();
                push_string(out, second);
                out[end] = b'/';
            }
        }
    }
}

/// Makes an event of one syslog message (a datagram, or what a [`Framer`] cut out) and appends it
/// to `out` as a queue element.
///
/// Fields written: `hostname`, `message`, `timestamp` (where the device gave one), `syslog_severity`
/// (the vendor's own where the text has one, else the priority's), `pri_severity` (the priority's
/// where they differ), `facility` (its word, such as `local0`), `program`, `procid`, `msgid`,
/// `trap_oid`, `varbinds`, `uptime`, `enterprise` (of a trap that snmptrapd wrote down),
/// `mnemonic`, `structured_data` (an object of objects; a list where a name repeats), `sequence`,
/// `device_time` (where the device's clock is not to be believed), `claimed_hostname` (where the
/// peer's word is not), `source`, `source_ip`, `tags`, `parse_notes`, and MUTT's own.
///
/// A time without a zone that names an hour which comes twice is the one nearer to the receipt; an
/// hour that never comes is read as if clocks had not been put forward.
pub fn parse_into(line: &[u8], origin: &Origin<'_>, out: &mut Vec<u8>) -> Parsed {
    let mut notes = origin.frame;
    let text = clean(line, origin.max_len, &mut notes);
    let mut message = parse(&text, Clock::new(origin.received_at, origin.zone));
    snmptrapd::refine(&mut message);
    message.notes = message.notes.union(notes);
    if message.text.trim_ascii().is_empty() && message.data.is_none() {
        message.notes.add(Note::Empty);
    }
    if message.host.is_none() {
        message.notes.add(Note::NoHost);
    }
    if message.time.is_none() {
        message.notes.add(Note::NoTimestamp);
    }
    let event_id = EventId::at(origin.received_at);
    write(&message, &text, event_id, origin, out);
    Parsed {
        event_id,
        notes: message.notes,
    }
}

/// The message as text: within `max_len`, without line ends around it, a byte order mark, or
/// anything that is no text.
fn clean<'a>(line: &'a [u8], max_len: usize, notes: &mut Notes) -> Cow<'a, str> {
    let mut line = trim(line);
    if let Some(rest) = line.strip_prefix(b"\xef\xbb\xbf") {
        notes.add(Note::Bom);
        line = trim(rest);
    }
    if line.len() > max_len {
        notes.add(Note::Truncated);
        // Not in the middle of a character: that would look like invalid UTF-8.
        let continued = |at: usize| at > 0 && line[at] & 0xc0 == 0x80;
        let whole = (max_len.saturating_sub(3)..=max_len)
            .rev()
            .find(|&at| !continued(at));
        line = &line[..whole.unwrap_or(max_len)];
    }
    // The check alone is much faster than the repair.
    let text = match std::str::from_utf8(line) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => String::from_utf8_lossy(line),
    };
    let owned = matches!(text, Cow::Owned(_));
    let nul = memchr::memchr(0, text.as_bytes()).is_some();
    if owned || nul {
        notes.add(Note::InvalidUtf8);
    }
    if nul {
        Cow::Owned(text.replace('\0', "\u{fffd}"))
    } else {
        text
    }
}

fn trim(line: &[u8]) -> &[u8] {
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | 0);
    let start = line
        .iter()
        .position(|byte| !blank(byte))
        .unwrap_or(line.len());
    let line = &line[start..];
    // A blank at the end may belong to the message; line ends and NULs never do.
    let end = line
        .iter()
        .rposition(|byte| !matches!(byte, b'\r' | b'\n' | 0));
    &line[..end.map_or(0, |last| last + 1)]
}

fn parse<'a>(text: &'a str, clock: Clock<'_>) -> Message<'a> {
    let mut message = Message {
        text,
        ..Message::default()
    };
    if text.is_empty() {
        message.notes.add(Note::NoPri);
        return message;
    }
    let text = without_count(text, &mut message.notes);
    let rest = priority(text, &mut message);
    let rest = match rest.strip_prefix('\u{feff}') {
        Some(rest) => {
            message.notes.add(Note::Bom);
            rest
        }
        None => rest,
    };
    let (relayed, rest) = original_address(rest);
    if !rfc5424::parse(rest, clock, &mut message) {
        legacy::parse(rest, clock, &mut message);
        if relayed.is_some() {
            message.notes.add(Note::Relayed);
            message.host = message.host.or(relayed);
        }
        return message;
    }
    if let Some(device) = device_message(clock, &message) {
        return device;
    }
    if let Some(content) = legacy::behind_rfc5424(message.text, clock, &mut message) {
        message.text = content;
        // A relay took Cisco's counter for a program.
        if let Some(number) = message.program.filter(|word| is_number(word)) {
            message.program = None;
            message.sequence.get_or_insert(number);
        }
    }
    vendor::refine_rfc5424(clock, &mut message);
    message
}

/// The address in `Original Address=192.0.2.10 …`, which Kiwi and others put in front of what they
/// relay; what follows it.
fn original_address(text: &str) -> (Option<&str>, &str) {
    let relayed = text
        .strip_prefix("Original Address=")
        .and_then(|rest| rest.split_once(' '))
        .filter(|(address, _)| address.parse::<IpAddr>().is_ok());
    match relayed {
        Some((address, rest)) => (Some(address), rest),
        None => (None, text),
    }
}

/// The whole message of a device, with its priority, in the message of a relay; the relay's words
/// fill what it leaves out. `None` where it has no header, because a text may begin as a priority
/// does.
fn device_message<'a>(clock: Clock<'_>, relay: &Message<'a>) -> Option<Message<'a>> {
    let (Some(number), rest) = bracketed(relay.text)? else {
        return None;
    };
    let mut device = Message::default();
    if rfc5424::parse(rest, clock, &mut device) {
        vendor::refine_rfc5424(clock, &mut device);
    } else {
        legacy::parse(rest, clock, &mut device);
        if device.time.is_none() && device.device_time.is_none() && device.host.is_none() {
            return None;
        }
    }
    device.set_priority(number);
    device.host = device.host.or(relay.host);
    device.time = device.time.or(relay.time);
    device.notes = device.notes.union(relay.notes);
    device.notes.add(Note::Relayed);
    Some(device)
}

/// A relay's octet count in front of a datagram.
fn without_count<'a>(text: &'a str, notes: &mut Notes) -> &'a str {
    let digits = text.bytes().take(7).take_while(u8::is_ascii_digit).count();
    let rest = match digits {
        1..=6 => text[digits..].strip_prefix(' '),
        _ => None,
    };
    match rest {
        Some(rest)
            if rest.starts_with('<') && rest[1..].starts_with(|c: char| c.is_ascii_digit()) =>
        {
            notes.add(Note::UnexpectedFraming);
            rest
        }
        _ => text,
    }
}

/// The number in `<PRI>`, `None` if it is too large for one, and what follows it.
fn bracketed(text: &str) -> Option<(Option<u8>, &str)> {
    let inside = text.strip_prefix('<')?;
    let digits = inside
        .bytes()
        .take(6)
        .take_while(u8::is_ascii_digit)
        .count();
    let rest = inside[digits..].strip_prefix('>')?;
    let number = inside[..digits].parse().ok();
    let number = number.filter(|number| *number <= MAX_PRI);
    (1..=5).contains(&digits).then_some((number, rest))
}

/// Reads `<PRI>` and returns what follows it.
fn priority<'a>(text: &'a str, message: &mut Message<'a>) -> &'a str {
    let Some((number, rest)) = bracketed(text) else {
        message.notes.add(Note::NoPri);
        if let [b'<', rest @ ..] = text.as_bytes()
            && matches!(rest, [] | [b'0'..=b'9' | b'-' | b'>', ..])
        {
            message.notes.add(Note::BadPri);
        }
        return text;
    };
    match number {
        Some(number) => message.set_priority(number),
        None => message.notes.add(Note::BadPri),
    }
    rest
}

impl Message<'_> {
    fn set_priority(&mut self, number: u8) {
        self.facility = Some(number / 8);
        self.severity = Severity::new(number % 8);
    }
}

/// The words of the facilities, by number (RFC 5424, section 6.2.1).
pub const FACILITIES: [&str; 24] = [
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv",
    "ftp", "ntp", "audit", "alert", "clock", "local0", "local1", "local2", "local3", "local4",
    "local5", "local6", "local7",
];

fn write(
    message: &Message<'_>,
    whole: &str,
    event_id: EventId,
    origin: &Origin<'_>,
    out: &mut Vec<u8>,
) {
    out.reserve(whole.len() + 512);
    let mut element = ElementWriter::new(out);
    match message.host.filter(|_| origin.believed).or(origin.host) {
        Some(host) if !host.is_empty() => element.text("hostname", host),
        _ => element.address("hostname", origin.peer),
    }
    // A header without a message: the header says more than nothing.
    let trap = message.trap.as_ref();
    let text = trap.map_or(message.text, |trap| &trap.message);
    let text = [text, whole, "(empty message)"];
    let text = text
        .into_iter()
        .find(|text| !text.trim_ascii().is_empty())
        .unwrap_or_default();
    element.text("message", text);
    if let Some(time) = message.time {
        element.time("timestamp", time);
    }
    let severity = message.vendor_severity.or(message.severity);
    let severity = severity.unwrap_or(Severity::NOTICE);
    element.number("syslog_severity", u64::from(severity.number()));
    if let Some(other) = message.severity.filter(|other| *other != severity) {
        element.number("pri_severity", u64::from(other.number()));
    }
    if let Some(name) = message
        .facility
        .and_then(|number| FACILITIES.get(usize::from(number)))
    {
        element.text("facility", name);
    }
    for (name, value) in [
        ("program", message.program),
        ("procid", message.procid),
        ("msgid", message.msgid),
        ("sequence", message.sequence),
        ("device_time", message.device_time),
    ] {
        if let Some(value) = value {
            element.text(name, value);
        }
    }
    if let Some(mnemonic) = message.mnemonic {
        element.raw_with("mnemonic", |out| mnemonic.write_json(out));
    }
    if let Some(data) = &message.data {
        element.raw_with("structured_data", |out| data.write_json(out));
    }
    if let Some(trap) = trap {
        trap.write(&mut element);
    }
    if !origin.believed
        && let Some(host) = message.host
    {
        element.text("claimed_hostname", host);
    }
    element.text("source", Source::Syslog.name());
    element.address("source_ip", origin.peer);
    if !origin.tags.is_empty() {
        element.texts("tags", origin.tags);
    }
    if !message.notes.is_empty() {
        element.raw_with("parse_notes", |out| message.notes.write_json(out));
    }
    element.identity(event_id, origin.received_at, Some(origin.correlation_id));
    element.finish();
}

fn is_number(word: &str) -> bool {
    word.bytes().all(|byte| byte.is_ascii_digit())
}

/// Whether a word can be a host's name or address: what devices write there is wider than DNS
/// allows (slots, Ubiquiti's commas), but never a key=value, a bracket or a quote.
fn is_host(word: &str) -> bool {
    let mut named = false;
    let plain = word.bytes().all(|byte| {
        named |= byte.is_ascii_alphabetic() || byte >= 0x80;
        IN_HOST.has(byte)
    });
    plain && word.len() <= MAX_HOST && (named || word.parse::<IpAddr>().is_ok())
}

static IN_HOST: Bytes = Bytes::words(b"._-:/,@~()");

/// A set of bytes that is asked for every byte of a word.
struct Bytes([bool; 256]);

impl Bytes {
    /// ASCII letters and digits, all of other scripts, and these marks.
    const fn words(marks: &[u8]) -> Self {
        let mut set = Self::only(marks).0;
        let mut byte = 0;
        while byte < set.len() {
            // The index is a byte.
            #[allow(clippy::cast_possible_truncation)]
            let letter = (byte as u8).is_ascii_alphanumeric();
            set[byte] |= letter || byte >= 0x80;
            byte += 1;
        }
        Self(set)
    }

    /// These alone.
    const fn only(bytes: &[u8]) -> Self {
        let mut set = [false; 256];
        let mut at = 0;
        while at < bytes.len() {
            set[bytes[at] as usize] = true;
            at += 1;
        }
        Self(set)
    }

    fn has(&self, byte: u8) -> bool {
        self.0[usize::from(byte)]
    }
}

#[cfg(test)]
mod tests;

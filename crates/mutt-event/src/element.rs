//! Writing queue elements: one JSON object, built front to back without a value tree.
//!
//! Every door that makes an event from something other than JSON (syslog, SNMP) writes it with
//! [`ElementWriter`], and the identity fields are written here and nowhere else.

use std::net::IpAddr;

use jiff::Timestamp;

use crate::{EventId, time};

/// Appends the members of one JSON object to a buffer.
///
/// Member names are the caller's constants: they are written as they are and must need no escaping.
#[must_use = "an element is only complete after `finish`"]
pub struct ElementWriter<'o> {
    out: &'o mut Vec<u8>,
    empty: bool,
}

impl<'o> ElementWriter<'o> {
    /// Begins an object at the end of `out`.
    pub fn new(out: &'o mut Vec<u8>) -> Self {
        out.push(b'{');
        Self { out, empty: true }
    }

    /// Goes on with the object that `out` ends with, which must have members.
    pub fn reopen(out: &'o mut Vec<u8>) -> Self {
        let brace = out.pop();
        debug_assert_eq!(brace, Some(b'}'), "only an object can be gone on with");
        Self { out, empty: false }
    }

    /// Goes on with an object whose text in `out` lacks its closing brace.
    pub(crate) fn resume(out: &'o mut Vec<u8>, empty: bool) -> Self {
        Self { out, empty }
    }

    fn name(&mut self, name: &str) {
        debug_assert!(
            first_special(name.as_bytes()) == name.len(),
            "{name} needs escaping"
        );
        self.separate();
        self.out.push(b'"');
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
    }

    fn separate(&mut self) {
        if !self.empty {
            self.out.push(b',');
        }
        self.empty = false;
    }

    /// A text.
    pub fn text(&mut self, name: &str, value: &str) {
        self.name(name);
        push_string(self.out, value);
    }

    /// A text of bytes that are not known to be UTF-8: every invalid sequence becomes U+FFFD.
    pub fn bytes(&mut self, name: &str, value: &[u8]) {
        self.name(name);
        push_lossy_string(self.out, value);
    }

    /// A whole number.
    pub fn number(&mut self, name: &str, value: u64) {
        self.name(name);
        push_number(self.out, value);
    }

    /// A time, RFC 3339 with microseconds.
    pub fn time(&mut self, name: &str, value: Timestamp) {
        self.name(name);
        self.out.push(b'"');
        time::write_rfc3339_micros(value, self.out);
        self.out.push(b'"');
    }

    /// An address.
    pub fn address(&mut self, name: &str, value: IpAddr) {
        self.name(name);
        self.out.push(b'"');
        push_address(self.out, value);
        self.out.push(b'"');
    }

    /// A list of texts.
    pub fn texts(&mut self, name: &str, values: &[Box<str>]) {
        self.name(name);
        self.out.push(b'[');
        for (index, value) in values.iter().enumerate() {
            if index > 0 {
                self.out.push(b',');
            }
            push_string(self.out, value);
        }
        self.out.push(b']');
    }

    /// A value that is JSON already. It must be valid, or the element is not.
    pub fn raw(&mut self, name: &str, json: &[u8]) {
        self.name(name);
        self.out.extend_from_slice(json);
    }

    /// A value that `write` appends as JSON.
    pub fn raw_with(&mut self, name: &str, write: impl FnOnce(&mut Vec<u8>)) {
        self.name(name);
        write(self.out);
    }

    /// A member under a name that comes from outside.
    pub(crate) fn foreign(&mut self, name: &str, json: &[u8]) {
        self.separate();
        push_string(self.out, name);
        self.out.push(b':');
        self.out.extend_from_slice(json);
    }

    /// What every event gets on its way in: `_event_id`, `_received_at`, `_retry_count` 0 and,
    /// where it is not there yet, `_correlation_id`.
    pub fn identity(&mut self, id: EventId, received_at: Timestamp, correlation_id: Option<&str>) {
        let mut buffer = [0; 36];
        self.name("_event_id");
        self.out.push(b'"');
        self.out
            .extend_from_slice(id.encode(&mut buffer).as_bytes());
        self.out.push(b'"');
        self.time("_received_at", received_at);
        if let Some(correlation_id) = correlation_id {
            self.text("_correlation_id", correlation_id);
        }
        self.raw("_retry_count", b"0");
    }

    /// Closes the object.
    pub fn finish(self) {
        self.out.push(b'}');
    }
}

/// Appends `value` as a JSON string, quotes included.
pub fn push_string(out: &mut Vec<u8>, value: &str) {
    out.push(b'"');
    push_escaped(out, value.as_bytes());
    out.push(b'"');
}

/// Appends bytes as a JSON string, every invalid UTF-8 sequence as U+FFFD.
pub fn push_lossy_string(out: &mut Vec<u8>, value: &[u8]) {
    out.push(b'"');
    for chunk in value.utf8_chunks() {
        push_escaped(out, chunk.valid().as_bytes());
        if !chunk.invalid().is_empty() {
            out.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
    out.push(b'"');
}

fn push_escaped(out: &mut Vec<u8>, mut text: &[u8]) {
    loop {
        let plain = first_special(text);
        out.extend_from_slice(&text[..plain]);
        let Some((&byte, rest)) = text[plain..].split_first() else {
            return;
        };
        text = rest;
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            _ => {
                const HEX: &[u8; 16] = b"0123456789abcdef";
                out.extend_from_slice(b"\\u00");
                out.push(HEX[usize::from(byte >> 4)]);
                out.push(HEX[usize::from(byte & 15)]);
            }
        }
    }
}

/// Where the first byte stands that JSON wants escaped (quote, backslash, control); the length
/// where there is none. Eight bytes at a time.
fn first_special(text: &[u8]) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let mut chunks = text.chunks_exact(8);
    let mut at = 0;
    for chunk in &mut chunks {
        let word = u64::from_le_bytes(chunk.try_into().unwrap_or_default());
        // The classic "has a zero byte" test; a false positive in a higher byte is only possible
        // above a true one, so the lowest mark is exact.
        let zero = |word: u64| word.wrapping_sub(ONES) & !word & HIGH;
        let control = word.wrapping_sub(ONES * 0x20) & !word & HIGH;
        let marks = zero(word ^ (ONES * u64::from(b'"')))
            | zero(word ^ (ONES * u64::from(b'\\')))
            | control;
        if marks != 0 {
            return at + (marks.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    let special = |byte: &u8| *byte < 0x20 || *byte == b'"' || *byte == b'\\';
    at + chunks
        .remainder()
        .iter()
        .position(special)
        .unwrap_or(chunks.remainder().len())
}

pub(crate) fn push_number(out: &mut Vec<u8>, mut value: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        #[allow(clippy::cast_possible_truncation)] // below 10
        let digit = (value % 10) as u8;
        digits[at] = b'0' + digit;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// Appends the usual text form of an address; an IPv4 address in IPv6 clothing is undressed.
pub(crate) fn push_address(out: &mut Vec<u8>, address: IpAddr) {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            for (index, octet) in address.octets().into_iter().enumerate() {
                if index > 0 {
                    out.push(b'.');
                }
                push_number(out, u64::from(octet));
            }
        }
        IpAddr::V6(address) => {
            use std::io::Write as _;
            // Writing to a Vec cannot fail.
            let _ = write!(out, "{address}");
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn strings_are_what_serde_json_reads(value: String) {
            let mut out = Vec::new();
            push_string(&mut out, &value);
            prop_assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), value);
        }

        #[test]
        fn any_bytes_become_the_lossy_string(value: Vec<u8>) {
            let mut out = Vec::new();
            push_lossy_string(&mut out, &value);
            prop_assert_eq!(
                serde_json::from_slice::<String>(&out).unwrap(),
                String::from_utf8_lossy(&value)
            );
        }

        #[test]
        fn numbers_and_addresses_are_written_as_usual(number: u64, address: IpAddr) {
            let mut out = Vec::new();
            push_number(&mut out, number);
            prop_assert_eq!(String::from_utf8(out).unwrap(), number.to_string());
            let mut out = Vec::new();
            push_address(&mut out, address);
            prop_assert_eq!(String::from_utf8(out).unwrap(), address.to_canonical().to_string());
        }
    }

    #[test]
    fn every_byte_value_survives_at_every_alignment() {
        for byte in 0..=0x7f {
            for before in 0..17 {
                let text = format!("{}{}tail", "x".repeat(before), char::from(byte));
                let mut out = Vec::new();
                push_string(&mut out, &text);
                assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
            }
        }
    }
}

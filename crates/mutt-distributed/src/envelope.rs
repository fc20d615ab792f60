//! What MUTT remembers about an element that failed before: the member `_dlq`.
//!
//! It is spliced into the element's text as its last member and taken off again by text, so that the
//! element itself stays as it was, byte for byte. Something that is no JSON object stands in an object
//! of its own, as `_raw` (text) or `_raw_hex` (bytes that are not UTF-8). Entries that MUTT 2.5 left
//! have no `_dlq`: they are read as what they are, failed once, at a time nobody knows.

use std::borrow::Cow;

use jiff::Timestamp;
use mutt_engine::{DeadLetter, Dlq, Reason};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// How an element failed so far.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// The entry's identity in its queue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Why, as a word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// Why, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// The dead letter queue it came to first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<Dlq>,
    /// When it first failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_failed_at: Option<Timestamp>,
    /// When it last failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_failed_at: Option<Timestamp>,
    /// Attempts so far.
    #[serde(default)]
    pub attempts: u32,
    /// Replays so far.
    #[serde(default)]
    pub replays: u32,
}

impl History {
    /// Whether there is nothing to remember.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// The entry of a dead letter queue for an element that failed now.
pub fn dead(
    queue: Dlq,
    letter: &DeadLetter,
    attempts: u32,
    before: &History,
    now: Timestamp,
) -> Vec<u8> {
    let history = History {
        id: Some(Uuid::now_v7().simple().to_string()),
        reason: Some(letter.reason),
        detail: Some(letter.detail.clone()),
        queue: Some(queue),
        first_failed_at: Some(before.first_failed_at.unwrap_or(now)),
        last_failed_at: Some(now),
        attempts,
        replays: before.replays,
    };
    wrap(&letter.element, &history)
}

const OPEN: &[u8] = b"\"_dlq\":{";
const RAW: &[u8] = b"{\"_raw\":";
const RAW_HEX: &[u8] = b"{\"_raw_hex\":\"";

/// The element with its history; the element alone where there is none.
pub fn wrap(element: &[u8], history: &History) -> Vec<u8> {
    let is_object = is_object(element);
    if history.is_empty() && is_object {
        return element.to_vec();
    }
    let mut wrapped = Vec::with_capacity(element.len() + 256);
    if is_object {
        let body = &element[..element.len() - 1];
        wrapped.extend_from_slice(body);
        if body != b"{" {
            wrapped.push(b',');
        }
    } else {
        raw(element, &mut wrapped);
        wrapped.push(b',');
    }
    wrapped.extend_from_slice(b"\"_dlq\":");
    serde_json::to_writer(&mut wrapped, history).expect("a history is plain data");
    wrapped.push(b'}');
    wrapped
}

/// The element and its history, taken apart again.
pub fn unwrap(wrapped: &[u8]) -> (Cow<'_, [u8]>, History) {
    let Some((body, history)) = split(wrapped) else {
        return (Cow::Borrowed(wrapped), History::default());
    };
    if let Some(text) = body.strip_prefix(RAW)
        && let Ok(text) = serde_json::from_slice::<String>(text)
    {
        return (Cow::Owned(text.into_bytes()), history);
    }
    if let Some(hex) = body.strip_prefix(RAW_HEX)
        && let Some(bytes) = hex.strip_suffix(b"\"").and_then(unhex)
    {
        return (Cow::Owned(bytes), history);
    }
    let mut element = Vec::with_capacity(body.len() + 1);
    element.extend_from_slice(body);
    element.push(b'}');
    (Cow::Owned(element), history)
}

/// The text before the history (without the comma), and the history.
fn split(wrapped: &[u8]) -> Option<(&[u8], History)> {
    // Nearly every element ends here.
    let inner = wrapped.strip_suffix(b"}}")?;
    let at = memchr::memmem::rfind(inner, OPEN)?;
    let history = &wrapped[at + OPEN.len() - 1..wrapped.len() - 1];
    let history = serde_json::from_slice(history).ok()?;
    let before = &wrapped[..at];
    match before.last()? {
        b',' => Some((&before[..before.len() - 1], history)),
        b'{' if before.len() == 1 => Some((before, history)),
        _ => None,
    }
}

/// The element as it may stand in a queue without a history: nearly always itself.
pub fn plain(element: &[u8]) -> Cow<'_, [u8]> {
    if split(element).is_none() {
        return Cow::Borrowed(element);
    }
    let never_failed = History {
        detail: Some(String::new()),
        ..History::default()
    };
    Cow::Owned(wrap(element, &never_failed))
}

/// Whether it looks like one JSON object and nothing around it. Whether it is one was checked where it
/// came in, or is about to be found out; the splice needs the braces.
fn is_object(element: &[u8]) -> bool {
    let Some(inner) = element
        .strip_prefix(b"{")
        .and_then(|rest| rest.strip_suffix(b"}"))
    else {
        return false;
    };
    // An element that ends as a wrapped one does would lose its end when it is taken apart.
    inner.is_empty() || (!inner.trim_ascii().is_empty() && split(element).is_none())
}

fn raw(element: &[u8], out: &mut Vec<u8>) {
    if let Ok(text) = std::str::from_utf8(element) {
        out.extend_from_slice(RAW);
        serde_json::to_writer(out, text).expect("text is plain data");
    } else {
        out.extend_from_slice(RAW_HEX);
        for byte in element {
            out.extend_from_slice(&[digit(byte >> 4), digit(byte & 15)]);
        }
        out.push(b'"');
    }
}

fn digit(nibble: u8) -> u8 {
    b"0123456789abcdef"[usize::from(nibble)]
}

fn unhex(hex: &[u8]) -> Option<Vec<u8>> {
    let (pairs, rest) = hex.as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    let value = |digit: u8| char::from(digit).to_digit(16);
    pairs
        .iter()
        .map(|&[high, low]| u8::try_from(value(high)? * 16 + value(low)?).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history() -> History {
        History {
            reason: Some(Reason::Shed),
            detail: Some("}} \"_dlq\":{ ,".to_owned()),
            queue: Some(Dlq::Alerter),
            attempts: 2,
            ..History::default()
        }
    }

    #[test]
    fn what_is_wrapped_comes_back_byte_for_byte() {
        let elements: [&[u8]; 11] = [
            br#"{"hostname":"a","message":"b"}"#,
            br#"{"a":{"b":{}}}"#,
            b"{}",
            b"{ }",
            b"",
            b"not json",
            b"\xff\x00\xfe",
            b"[1]",
            b"{",
            br#"{"_dlq":{"attempts":7}}"#,
            br#"{"a":1,"_dlq":{}}"#,
        ];
        for element in elements {
            let wrapped = wrap(element, &history());
            let json = serde_json::from_slice::<serde_json::Value>(&wrapped);
            assert!(json.is_ok(), "{}", String::from_utf8_lossy(&wrapped));
            let (back, history_back) = unwrap(&wrapped);
            assert_eq!(&*back, element, "{}", String::from_utf8_lossy(&wrapped));
            assert_eq!(history_back, history());
        }
    }

    #[test]
    fn what_never_failed_is_left_alone() {
        let element = br#"{"hostname":"a","message":{"b":{}}}"#;
        assert_eq!(wrap(element, &History::default()), element);
        let (back, none) = unwrap(element);
        assert!(matches!(back, Cow::Borrowed(_)));
        assert!(none.is_empty());
    }
}

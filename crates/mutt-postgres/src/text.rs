//! Text as a column of type `text` takes it: UTF-8 without NUL, and where it is indexed, of a
//! bounded length. What does not fit is replaced or cut; it never stops a claim.

use std::borrow::Cow;

use serde_json::Value;

/// The longest host name, in characters.
pub(crate) const HOSTNAME: usize = 255;
/// The longest trap OID, in characters.
pub(crate) const OID: usize = 255;
/// The longest source, team or decision, in characters.
pub(crate) const WORD: usize = 100;
/// The longest correlation id, key of a record, or name of who changed something, in characters.
pub(crate) const KEY: usize = 255;

/// The first `most` characters, NUL replaced.
pub(crate) fn cut(text: &str, most: usize) -> Cow<'_, str> {
    // So many bytes are never more characters.
    let short = if text.len() <= most {
        text
    } else {
        let end = text.char_indices().nth(most);
        &text[..end.map_or(text.len(), |(end, _)| end)]
    };
    without_nul(short)
}

/// The whole text, NUL replaced.
pub(crate) fn without_nul(text: &str) -> Cow<'_, str> {
    if text.as_bytes().contains(&0) {
        Cow::Owned(text.replace('\0', "\u{FFFD}"))
    } else {
        Cow::Borrowed(text)
    }
}

/// Bytes as text: what is no UTF-8, and NUL, replaced.
pub(crate) fn lossy(bytes: &[u8]) -> Cow<'_, str> {
    match String::from_utf8_lossy(bytes) {
        Cow::Borrowed(text) => without_nul(text),
        Cow::Owned(text) => Cow::Owned(without_nul(&text).into_owned()),
    }
}

/// JSON as `jsonb` takes it: NUL replaced in every text and key.
pub(crate) fn json(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(without_nul(&text).into_owned()),
        Value::Array(values) => Value::Array(values.into_iter().map(json).collect()),
        Value::Object(fields) => Value::Object(
            fields
                .into_iter()
                .map(|(key, value)| (without_nul(&key).into_owned(), json(value)))
                .collect(),
        ),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_is_left_alone() {
        assert!(matches!(cut("Zürich", 6), Cow::Borrowed("Zürich")));
        assert!(matches!(lossy("{\"a\":1}".as_bytes()), Cow::Borrowed(_)));
    }

    #[test]
    fn what_does_not_fit_is_cut_or_replaced() {
        assert_eq!(cut("Zürich", 2), "Zü");
        assert_eq!(cut("a\0b", 9), "a\u{FFFD}b");
        assert_eq!(lossy(b"a\xff\0"), "a\u{FFFD}\u{FFFD}");
        let hostile = serde_json::json!({"a\0": ["\0", 1, null]});
        assert_eq!(
            json(hostile),
            serde_json::json!({"a\u{FFFD}": ["\u{FFFD}", 1, null]})
        );
    }
}

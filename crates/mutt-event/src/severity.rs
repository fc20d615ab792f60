//! Syslog severities (RFC 5424, section 6.2.1).

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, de};

/// A syslog severity: 0 emergency, 1 alert, 2 critical, 3 error, 4 warning, 5 notice,
/// 6 informational, 7 debug.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Severity(u8);

impl Severity {
    /// Severity 4.
    pub const WARNING: Self = Self(4);
    /// Severity 5: what an event gets whose text could not be parsed.
    pub const NOTICE: Self = Self(5);

    /// The severity with this number; `None` above 7.
    pub fn new(number: u8) -> Option<Self> {
        (number <= 7).then_some(Self(number))
    }

    /// The number, 0..7.
    pub fn number(self) -> u8 {
        self.0
    }

    /// The severity's name in the field: `emerg`, `alert`, `crit`, `err`, `warning`, `notice`,
    /// `info`, `debug`.
    pub fn name(self) -> &'static str {
        [
            "emerg", "alert", "crit", "err", "warning", "notice", "info", "debug",
        ][self.0 as usize]
    }

    /// Reads "3" or a severity word in any case; `None` for anything else.
    pub fn from_text(text: &str) -> Option<Self> {
        const WORDS: [(&str, u8); 16] = [
            ("emerg", 0),
            ("emergency", 0),
            ("panic", 0),
            ("alert", 1),
            ("crit", 2),
            ("critical", 2),
            ("err", 3),
            ("error", 3),
            ("warn", 4),
            ("warning", 4),
            ("notice", 5),
            ("info", 6),
            ("inform", 6),
            ("informational", 6),
            ("information", 6),
            ("debug", 7),
        ];
        let text = text.trim();
        if let [digit @ b'0'..=b'7'] = text.as_bytes() {
            return Some(Self(digit - b'0'));
        }
        WORDS
            .iter()
            .find(|(word, _)| word.eq_ignore_ascii_case(text))
            .map(|&(_, n)| Self(n))
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl<'de> Deserialize<'de> for Severity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = u8::deserialize(deserializer)?;
        Self::new(number).ok_or_else(|| de::Error::custom("a syslog severity is 0..7"))
    }
}

/// Reads a severity from a number, a text or null; anything that is none becomes `None`.
///
/// # Errors
/// Only where the input is not JSON.
pub fn lenient<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Severity>, D::Error> {
    struct Lenient;
    impl<'de> de::Visitor<'de> for Lenient {
        type Value = Option<Severity>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a syslog severity")
        }
        fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
            Ok(u8::try_from(number).ok().and_then(Severity::new))
        }
        fn visit_i64<E>(self, number: i64) -> Result<Self::Value, E> {
            Ok(u8::try_from(number).ok().and_then(Severity::new))
        }
        fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
            Ok(None)
        }
        fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
            Ok(Severity::from_text(text))
        }
        fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
            Ok(None)
        }
        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(None)
        }
        fn visit_none<E>(self) -> Result<Self::Value, E> {
            Ok(None)
        }
        fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
            while seq.next_element::<de::IgnoredAny>()?.is_some() {}
            Ok(None)
        }
        fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            while map
                .next_entry::<de::IgnoredAny, de::IgnoredAny>()?
                .is_some()
            {}
            Ok(None)
        }
    }
    deserializer.deserialize_any(Lenient)
}

//! One pass over a JSON object that keeps the members MUTT knows and skips the rest.

use std::borrow::Cow;
use std::fmt;

use serde::de::{
    self, DeserializeSeed, Deserializer as _, IgnoredAny, MapAccess, SeqAccess, Visitor,
};

use super::Rejected;

/// The members that MUTT knows. The order is that of the slots in [`Fields`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Name {
    Hostname,
    Host,
    Message,
    Msg,
    Log,
    Timestamp,
    AtTimestamp,
    SyslogSeverity,
    Severity,
    Facility,
    Program,
    Source,
    SourceIp,
    TrapOid,
    Varbinds,
    Variables,
    ParseNotes,
    CorrelationId,
    EventId,
    ReceivedAt,
    RetryCount,
}

const SLOTS: usize = Name::RetryCount as usize + 1;

impl Name {
    pub(super) fn of(key: &str) -> Option<Self> {
        // By length first: most keys of a record are none of these, and this tells them at once.
        Some(match key.len() {
            3 => match key {
                "msg" => Self::Msg,
                "log" => Self::Log,
                _ => return None,
            },
            4 => match key {
                "host" => Self::Host,
                _ => return None,
            },
            6 => match key {
                "source" => Self::Source,
                _ => return None,
            },
            7 => match key {
                "message" => Self::Message,
                "program" => Self::Program,
                _ => return None,
            },
            8 => match key {
                "hostname" => Self::Hostname,
                "severity" => Self::Severity,
                "facility" => Self::Facility,
                "trap_oid" => Self::TrapOid,
                "varbinds" => Self::Varbinds,
                _ => return None,
            },
            9 => match key {
                "timestamp" => Self::Timestamp,
                "source_ip" => Self::SourceIp,
                "variables" => Self::Variables,
                "_event_id" => Self::EventId,
                _ => return None,
            },
            10 => match key {
                "@timestamp" => Self::AtTimestamp,
                _ => return None,
            },
            11 => match key {
                "parse_notes" => Self::ParseNotes,
                _ => return None,
            },
            12 => match key {
                "_received_at" => Self::ReceivedAt,
                "_retry_count" => Self::RetryCount,
                _ => return None,
            },
            15 => match key {
                "syslog_severity" => Self::SyslogSeverity,
                "_correlation_id" => Self::CorrelationId,
                _ => return None,
            },
            _ => return None,
        })
    }

    pub(super) fn bit(self) -> u32 {
        1 << self as u8
    }

    /// Fields that only MUTT writes; a client's are dropped.
    pub(super) const OWN: u32 =
        1 << Self::EventId as u8 | 1 << Self::ReceivedAt as u8 | 1 << Self::RetryCount as u8;
}

/// A member's value, as far as it matters.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) enum Value<'a> {
    #[default]
    Missing,
    Null,
    Text(Cow<'a, str>),
    Integer(i64),
    Float(f64),
    Bool,
    /// A list: how many elements, and whether all are texts.
    List {
        len: usize,
        texts: bool,
    },
    /// An object and its `name` (or `hostname`), which is where the Elastic Common Schema has the
    /// host's name.
    Object {
        name: Option<Cow<'a, str>>,
        empty: bool,
    },
}

impl Value<'_> {
    /// What it is, for error messages.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Null => "null",
            Self::Text(_) => "a string",
            Self::Integer(_) | Self::Float(_) => "a number",
            Self::Bool => "true or false",
            Self::List { .. } => "a list",
            Self::Object { .. } => "an object",
        }
    }

    /// Whether there is nothing there: absent, null, an empty or blank text, an empty list or object.
    pub(super) fn is_empty(&self) -> bool {
        match self {
            Self::Missing | Self::Null => true,
            Self::Text(text) => text.trim_ascii().is_empty(),
            Self::List { len, .. } => *len == 0,
            Self::Object { empty, .. } => *empty,
            Self::Integer(_) | Self::Float(_) | Self::Bool => false,
        }
    }

    /// The text, where there is one that is not blank.
    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) if !text.trim_ascii().is_empty() => Some(text),
            _ => None,
        }
    }
}

/// The known members of one object.
#[derive(Default)]
pub(super) struct Fields<'a> {
    values: [Value<'a>; SLOTS],
    /// Which of the known members are there, by [`Name::bit`].
    pub(super) seen: u32,
    /// Which are there more than once; the last one counts.
    pub(super) repeated: u32,
    /// Which of the caller's `watched` keys are there and not empty.
    pub(super) watched: u64,
    /// Whether the object has no member at all.
    pub(super) empty: bool,
}

impl<'a> Fields<'a> {
    pub(super) fn get(&self, name: Name) -> &Value<'a> {
        &self.values[name as usize]
    }

    pub(super) fn take(&mut self, name: Name) -> Value<'a> {
        std::mem::take(&mut self.values[name as usize])
    }

    /// Reads a client's record: every value is checked to be readable by any JSON reader.
    pub(super) fn read_strict(record: &'a [u8], watched: &[String]) -> Result<Self, Rejected> {
        Self::read::<true>(record, watched)
    }

    /// Reads an element of a queue, whose unknown members are skipped at the greatest speed.
    pub(super) fn read_lenient(element: &'a [u8]) -> Result<Self, Rejected> {
        Self::read::<false>(element, &[])
    }

    fn read<const STRICT: bool>(record: &'a [u8], watched: &[String]) -> Result<Self, Rejected> {
        let mut fields = Fields {
            empty: true,
            ..Fields::default()
        };
        let text = std::str::from_utf8(record).map_err(|error| {
            Rejected::not_json(format!(
                "not valid UTF-8 at byte {}: send JSON as UTF-8",
                error.valid_up_to()
            ))
        })?;
        match text.bytes().find(|byte| !byte.is_ascii_whitespace()) {
            Some(b'{') => {}
            Some(first) => return Err(no_object(first, text)),
            None => return Err(Rejected::not_json("empty: an event is a JSON object")),
        }
        let mut deserializer = serde_json::Deserializer::from_str(text);
        // Filled in place: several hundred bytes are not handed from call to call.
        let visitor = ObjectVisitor::<STRICT> {
            watched,
            fields: &mut fields,
        };
        deserializer
            .deserialize_map(visitor)
            .and_then(|()| deserializer.end())
            .map_err(|error| Rejected::not_json(format!("not valid JSON: {error}")))?;
        Ok(fields)
    }
}

fn no_object(first: u8, text: &str) -> Rejected {
    let what = match first {
        b'[' => "a list",
        b'"' => "a string",
        b'-' | b'0'..=b'9' => "a number",
        b't' | b'f' | b'n' => "true, false or null",
        _ => "not JSON",
    };
    if serde_json::from_str::<IgnoredAny>(text).is_ok() {
        Rejected::not_object(format!("an event is a JSON object, this is {what}"))
    } else {
        Rejected::not_json("not valid JSON: an event is a JSON object and begins with `{`")
    }
}

enum Key {
    Known(Name),
    Watched(u64),
    Other,
}

struct KeySeed<'w>(&'w [String]);

impl<'de> DeserializeSeed<'de> for KeySeed<'_> {
    type Value = Key;
    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<Key, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for KeySeed<'_> {
    type Value = Key;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }
    fn visit_str<E>(self, key: &str) -> Result<Key, E> {
        if let Some(name) = Name::of(key) {
            return Ok(Key::Known(name));
        }
        Ok(match self.0.iter().position(|watched| watched == key) {
            Some(index) => Key::Watched(1 << index),
            None => Key::Other,
        })
    }
}

struct ObjectVisitor<'w, 'f, 'a, const STRICT: bool> {
    watched: &'w [String],
    fields: &'f mut Fields<'a>,
}

impl<'de, const STRICT: bool> Visitor<'de> for ObjectVisitor<'_, '_, 'de, STRICT> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an event, which is a JSON object")
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let fields = self.fields;
        while let Some(key) = map.next_key_seed(KeySeed(self.watched))? {
            fields.empty = false;
            match key {
                Key::Known(name) => {
                    fields.repeated |= fields.seen & name.bit();
                    fields.seen |= name.bit();
                    fields.values[name as usize] = map.next_value_seed(Capture::<STRICT>)?;
                }
                Key::Watched(bit) => {
                    let value = map.next_value_seed(Capture::<STRICT>)?;
                    // The last of several counts here too.
                    fields.watched &= !bit;
                    if !value.is_empty() {
                        fields.watched |= bit;
                    }
                }
                Key::Other if STRICT => map.next_value_seed(Checked)?,
                Key::Other => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}

struct Capture<const STRICT: bool>;

impl<'de, const STRICT: bool> DeserializeSeed<'de> for Capture<STRICT> {
    type Value = Value<'de>;
    fn deserialize<D: de::Deserializer<'de>>(
        self,
        deserializer: D,
    ) -> Result<Value<'de>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, const STRICT: bool> Visitor<'de> for Capture<STRICT> {
    type Value = Value<'de>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }
    fn visit_bool<E>(self, _: bool) -> Result<Value<'de>, E> {
        Ok(Value::Bool)
    }
    fn visit_u64<E>(self, number: u64) -> Result<Value<'de>, E> {
        Ok(i64::try_from(number).map_or(Value::Float(number as f64), Value::Integer))
    }
    fn visit_i64<E>(self, number: i64) -> Result<Value<'de>, E> {
        Ok(Value::Integer(number))
    }
    fn visit_f64<E>(self, number: f64) -> Result<Value<'de>, E> {
        Ok(Value::Float(number))
    }
    fn visit_unit<E>(self) -> Result<Value<'de>, E> {
        Ok(Value::Null)
    }
    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Value<'de>, E> {
        Ok(Value::Text(Cow::Borrowed(text)))
    }
    fn visit_str<E>(self, text: &str) -> Result<Value<'de>, E> {
        Ok(Value::Text(Cow::Owned(text.to_owned())))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value<'de>, A::Error> {
        let (mut len, mut texts) = (0, true);
        while let Some(value) = seq.next_element_seed(Capture::<STRICT>)? {
            len += 1;
            texts &= matches!(value, Value::Text(_));
        }
        Ok(Value::List { len, texts })
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value<'de>, A::Error> {
        let (mut name, mut hostname, mut empty) = (None, None, true);
        while let Some(key) = map.next_key::<Cow<'de, str>>()? {
            empty = false;
            match &*key {
                "name" => name = text_of(map.next_value_seed(Capture::<STRICT>)?),
                "hostname" => hostname = text_of(map.next_value_seed(Capture::<STRICT>)?),
                _ if STRICT => map.next_value_seed(Checked)?,
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(Value::Object {
            name: name.or(hostname),
            empty,
        })
    }
}

fn text_of(value: Value<'_>) -> Option<Cow<'_, str>> {
    match value {
        Value::Text(text) if !text.trim_ascii().is_empty() => Some(text),
        _ => None,
    }
}

/// Skips a value as `IgnoredAny` does, but looks at it: numbers must be in range, escapes must make
/// text, and depth is limited. Without that, an element could be queued that a reader of the whole
/// tree cannot read.
struct Checked;

impl<'de> DeserializeSeed<'de> for Checked {
    type Value = ();
    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Checked {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }
    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }
    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }
    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }
    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }
    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element_seed(Checked)?.is_some() {}
        Ok(())
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while map.next_key_seed(Checked)?.is_some() {
            map.next_value_seed(Checked)?;
        }
        Ok(())
    }
}

//! From a client's record to a queue element.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;

use jiff::Timestamp;
use serde::Deserializer as _;
use serde::de::{MapAccess, Visitor};
use serde_json::value::RawValue;

use super::Rejected;
use super::checks::{Added, check_optional, check_required, missing, wrong_type};
use super::documents::Places;
use super::fields::{Fields, Name, Value};
use crate::element::ElementWriter;
use crate::{EventId, Severity, Source, time};

/// The longest host name, in characters.
pub const MAX_HOSTNAME: usize = 255;

/// What is known about a record besides its text.
#[derive(Clone, Copy, Debug)]
pub struct Accept<'a> {
    /// When it was received.
    pub received_at: Timestamp,
    /// The id of the request that brought it; written where the record has none of its own.
    pub correlation_id: &'a str,
    /// The door; written as `source` where the record has none.
    pub source: Source,
    /// The sender's address; written as `source_ip` where the record has none. Give none where the
    /// sender is a relay that speaks for many hosts.
    pub source_ip: Option<IpAddr>,
    /// What must be there.
    pub required: &'a RequiredFields,
}

/// The fields that a record must have (`REQUIRED_FIELDS`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequiredFields {
    pub(super) names: Vec<String>,
    /// Those of `names` that MUTT gives no meaning to; at most 64.
    pub(super) watched: Vec<String>,
    pub(super) hostname: bool,
    pub(super) message: bool,
}

impl RequiredFields {
    /// Reads a comma-separated list; blanks around names and empty names do not matter, and an
    /// empty list requires nothing. Of names that MUTT gives no meaning to, the first 64 count.
    pub fn parse(list: &str) -> Self {
        let mut names: Vec<String> = Vec::new();
        for name in list
            .split(',')
            .map(str::trim)
            .filter(|name| !name.is_empty())
        {
            if !names.iter().any(|known| known == name) {
                names.push(name.to_owned());
            }
        }
        let mut watched: Vec<_> = names
            .iter()
            .filter(|name| Name::of(name).is_none())
            .cloned()
            .collect();
        watched.truncate(64);
        Self {
            hostname: names.iter().any(|name| name == "hostname"),
            message: names.iter().any(|name| name == "message"),
            names,
            watched,
        }
    }

    /// The names, in the order they were given.
    pub fn names(&self) -> &[String] {
        &self.names
    }
}

impl Default for RequiredFields {
    fn default() -> Self {
        Self::parse("hostname,message")
    }
}

impl fmt::Display for RequiredFields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.names.join(","))
    }
}

/// Validates one JSON object and appends it to `out` as a queue element: the client's own text with
/// MUTT's fields, and the canonical name of what came under another, appended before the closing
/// brace.
///
/// The text is kept byte for byte unless the record has one of MUTT's own fields or a known key
/// twice; then it is put together anew, the last of several values counting.
///
/// # Errors
/// [`Rejected`] where the record is no event. `out` is then as it was.
pub fn accept(record: &[u8], how: &Accept<'_>, out: &mut Vec<u8>) -> Result<EventId, Rejected> {
    accept_with(record, how, None, out)
}

/// As [`accept`]; `places` says where else a field may be taken from.
pub(super) fn accept_with(
    record: &[u8],
    how: &Accept<'_>,
    places: Option<&Places<'_>>,
    out: &mut Vec<u8>,
) -> Result<EventId, Rejected> {
    let fields = Fields::read_strict(record, &how.required.watched)?;
    let host = hostname(&fields, how, places)?;
    let message = message(&fields, how, places)?;
    let timestamp = timestamp(&fields)?;
    let severity = severity(&fields)?.or_else(|| {
        let unset = fields.get(Name::SyslogSeverity).is_empty();
        places?.severity.filter(|_| unset)
    });
    let (time, program, facility) = match places {
        Some(places) => (
            places.time.filter(|_| {
                timestamp.is_none()
                    && matches!(fields.get(Name::Timestamp), Value::Missing | Value::Null)
            }),
            (places.program.as_deref()).filter(|_| fields.get(Name::Program).is_empty()),
            (places.facility.as_deref()).filter(|_| fields.get(Name::Facility).is_empty()),
        ),
        None => (None, None, None),
    };
    check_optional(&fields, places.is_some())?;
    let added = Added {
        timestamp: time.is_some(),
        severity: severity.is_some(),
        program: program.is_some(),
        facility: facility.is_some(),
    };
    check_required(&fields, how, &added)?;

    let keeps_correlation = fields.get(Name::CorrelationId).text().is_some();
    let keeps_source = fields.get(Name::Source).text().is_some();
    let keeps_source_ip = fields.get(Name::SourceIp).text().is_some();
    let mut written = 0;
    let mut mark = |name: Name, adds: bool| written |= if adds { name.bit() } else { 0 };
    mark(Name::Hostname, host.is_some());
    mark(Name::Message, message.is_some());
    mark(Name::Timestamp, timestamp.is_some() || time.is_some());
    mark(Name::SyslogSeverity, severity.is_some());
    mark(Name::Program, program.is_some());
    mark(Name::Facility, facility.is_some());
    mark(Name::CorrelationId, !keeps_correlation);
    mark(Name::Source, !keeps_source);
    mark(Name::SourceIp, !keeps_source_ip && how.source_ip.is_some());
    // What is appended must not be there already, even as null or blank.
    let dropped = (written | Name::OWN) & fields.seen;

    let mut element = if dropped == 0 && fields.repeated == 0 {
        let open = record.trim_ascii();
        out.reserve(open.len() + 320);
        out.extend_from_slice(&open[..open.len() - 1]);
        ElementWriter::resume(out, fields.empty)
    } else {
        rebuild(record, written | Name::OWN, out)?
    };
    if let Some(host) = host {
        element.text("hostname", &host);
    }
    if let Some(message) = message {
        element.text("message", &message);
    }
    match timestamp {
        Some(Value::Text(text)) => element.text("timestamp", text),
        // A number means the same as the time it stands for, which is what a reader wants to see.
        Some(value) => {
            if let Some(time) = time_of(value) {
                element.time("timestamp", time);
            }
        }
        None => {
            if let Some(time) = time {
                element.time("timestamp", time);
            }
        }
    }
    if let Some(severity) = severity {
        element.number("syslog_severity", u64::from(severity.number()));
    }
    for (name, value) in [("program", program), ("facility", facility)] {
        if let Some(value) = value {
            element.text(name, value);
        }
    }
    if !keeps_source {
        element.text("source", how.source.name());
    }
    if let (false, Some(address)) = (keeps_source_ip, how.source_ip) {
        element.address("source_ip", address);
    }
    let id = EventId::at(how.received_at);
    element.identity(
        id,
        how.received_at,
        (!keeps_correlation).then_some(how.correlation_id),
    );
    element.finish();
    Ok(id)
}

/// The host name, where it has to be added; `None` where it stands under its own name.
fn hostname<'f>(
    fields: &'f Fields<'_>,
    how: &Accept<'_>,
    places: Option<&'f Places<'_>>,
) -> Result<Option<Cow<'f, str>>, Rejected> {
    let direct = fields.get(Name::Hostname);
    if let Some(host) = direct.text() {
        return check_host("hostname", host).map(|()| None);
    }
    if !direct.is_empty() {
        return Err(wrong_type(
            "hostname",
            direct,
            "a string of 1 to 255 characters",
        ));
    }
    let placed = places.and_then(|places| places.host.as_deref());
    let host = placed.map(|host| ("hostname", host));
    let host = host.or_else(|| match fields.get(Name::Host) {
        Value::Object {
            name: Some(name), ..
        } => Some(("host", &**name)),
        value => value.text().map(|host| ("host", host)),
    });
    let host = host.or_else(|| {
        fields
            .get(Name::SourceIp)
            .text()
            .map(|ip| ("source_ip", ip))
    });
    if let Some((field, host)) = host {
        check_host(field, host)?;
        return Ok(Some(Cow::Borrowed(host)));
    }
    if how.required.hostname {
        return Err(missing(
            "hostname",
            direct,
            "a string of 1 to 255 characters, here or in `host` or `source_ip`",
        ));
    }
    Ok(Some(how.source_ip.map_or(Cow::Borrowed("unknown"), |ip| {
        Cow::Owned(ip.to_canonical().to_string())
    })))
}

fn check_host(field: &str, host: &str) -> Result<(), Rejected> {
    // Characters are never more than bytes: counting is for the rare long one.
    if host.len() > MAX_HOSTNAME {
        let length = host.chars().count();
        if length > MAX_HOSTNAME {
            return Err(Rejected::field(
                field,
                format!(
                    "field `{field}` has {length} characters: at most {MAX_HOSTNAME} are allowed"
                ),
            ));
        }
    }
    Ok(())
}

/// The message, where it has to be added.
fn message<'f>(
    fields: &'f Fields<'_>,
    how: &Accept<'_>,
    places: Option<&'f Places<'_>>,
) -> Result<Option<Cow<'f, str>>, Rejected> {
    let direct = fields.get(Name::Message);
    if direct.text().is_some() {
        return Ok(None);
    }
    if !direct.is_empty() {
        return Err(wrong_type("message", direct, "a string that is not empty"));
    }
    let stand_in = fields
        .get(Name::Msg)
        .text()
        // A container's line, as Docker and Fluent Bit keep it, ends with its line end.
        .or_else(|| Some(fields.get(Name::Log).text()?.trim_end_matches(['\n', '\r'])))
        .or_else(|| places?.message.as_deref());
    if let Some(text) = stand_in {
        return Ok(Some(Cow::Borrowed(text)));
    }
    if how.required.message {
        return Err(missing(
            "message",
            direct,
            "a string that is not empty, here or in `msg`",
        ));
    }
    // A blank one that nobody insists on stays as it is.
    Ok((!matches!(direct, Value::Text(_))).then_some(Cow::Borrowed("")))
}

/// The timestamp that came under another name and has to be added.
fn timestamp<'f, 'a>(fields: &'f Fields<'a>) -> Result<Option<&'f Value<'a>>, Rejected> {
    let read = |field: &str, value: &Value<'_>| {
        if time_of(value).is_some() {
            return Ok(());
        }
        let given = match value {
            Value::Text(text) => format!("`{}`", text.chars().take(64).collect::<String>()),
            other => other.kind().to_owned(),
        };
        Err(Rejected::field(
            field,
            format!(
                "field `{field}` cannot be read as a time ({given}): give RFC 3339 \
                 (2026-11-21T13:00:00Z), ISO 8601 in UTC, or epoch seconds or milliseconds, or \
                 leave it out for the time of receipt"
            ),
        ))
    };
    let direct = fields.get(Name::Timestamp);
    if !matches!(direct, Value::Missing | Value::Null) {
        return read("timestamp", direct).map(|()| None);
    }
    let other = fields.get(Name::AtTimestamp);
    if matches!(other, Value::Missing | Value::Null) {
        return Ok(None);
    }
    read("@timestamp", other).map(|()| Some(other))
}

/// The time that a value means.
pub(super) fn time_of(value: &Value<'_>) -> Option<Timestamp> {
    match value {
        Value::Text(text) => time::parse_timestamp(text),
        Value::Integer(number) => time::from_integer(*number),
        Value::Float(number) => time::from_number(*number),
        _ => None,
    }
}

/// The severity that a value means, as far as it means one.
pub(super) fn severity_of(value: &Value<'_>) -> Option<Severity> {
    match value {
        Value::Text(text) => Severity::from_text(text),
        Value::Integer(number) => u8::try_from(*number).ok().and_then(Severity::new),
        Value::Float(number) if number.fract() == 0.0 && (0.0..8.0).contains(number) => {
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // 0..8, checked
            Severity::new(*number as u8)
        }
        _ => None,
    }
}

/// The severity that came as `severity` and has to be added.
fn severity(fields: &Fields<'_>) -> Result<Option<Severity>, Rejected> {
    let direct = fields.get(Name::SyslogSeverity);
    if direct.is_empty() {
        return Ok(severity_of(fields.get(Name::Severity)));
    }
    if severity_of(direct).is_none() {
        return Err(Rejected::field(
            "syslog_severity",
            "field `syslog_severity` is no syslog severity: give 0 to 7, as a number or a string, \
             or a word (emerg, alert, crit, err, warning, notice, info, debug)",
        ));
    }
    Ok(None)
}

/// Puts the object together anew: every key once (the last value counts, at the first place), none
/// of `dropped`.
fn rebuild<'o>(
    record: &[u8],
    dropped: u32,
    out: &'o mut Vec<u8>,
) -> Result<ElementWriter<'o>, Rejected> {
    struct Members;
    impl<'de> Visitor<'de> for Members {
        type Value = Vec<(String, &'de RawValue)>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }
        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut places = HashMap::new();
            let mut members: Self::Value = Vec::new();
            while let Some((key, value)) = map.next_entry::<String, &RawValue>()? {
                if let Some(&place) = places.get(&key) {
                    let (_, earlier): &mut (_, _) = &mut members[place];
                    *earlier = value;
                } else {
                    places.insert(key.clone(), members.len());
                    members.push((key, value));
                }
            }
            Ok(members)
        }
    }
    let members = serde_json::Deserializer::from_slice(record)
        .deserialize_map(Members)
        .map_err(|error| Rejected::not_json(format!("not valid JSON: {error}")))?;
    let mut free = "ecs_source".to_owned();
    while members.iter().any(|(key, _)| *key == free) {
        free.push('_');
    }
    let mut element = ElementWriter::new(out);
    for (key, value) in members {
        match Name::of(&key) {
            Some(name) if name.bit() & dropped != 0 => {
                // Whose `source` is an object means something else by it: it keeps it.
                if name == Name::Source && value.get().starts_with('{') {
                    element.foreign(&free, value.get().as_bytes());
                }
            }
            _ => element.foreign(&key, value.get().as_bytes()),
        }
    }
    Ok(element)
}

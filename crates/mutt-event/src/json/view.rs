//! From a queue element to the fields that decide about it.

use std::borrow::Cow;

use jiff::Timestamp;

use super::Rejected;
use super::accept::{severity_of, time_of};
use super::fields::{Fields, Name, Value};
use crate::EventId;
use crate::view::EventView;

/// Reads a queue element. One that MUTT 2.5 wrote is understood: it gets an id, its time of receipt
/// is now, and the aliases of spec 1 stand in for what it lacks.
///
/// A NUL character in a text comes out as U+FFFD, because no store keeps NUL in text.
///
/// # Errors
/// [`Rejected`] where it is no JSON object, or no host or message can be told.
pub fn view(element: &[u8]) -> Result<EventView<'_>, Rejected> {
    let mut fields = Fields::read_lenient(element)?;
    let hostname = text(fields.take(Name::Hostname))
        .or_else(|| match fields.take(Name::Host) {
            Value::Object { name, .. } => name,
            value => text(value),
        })
        .or_else(|| text(fields.get(Name::SourceIp).clone()))
        .ok_or_else(|| {
            Rejected::field(
                "hostname",
                "required field `hostname` is missing, empty or no string",
            )
        })?;
    let message = match fields.take(Name::Message) {
        // Blank where REQUIRED_FIELDS does not ask for more.
        Value::Text(message) => Some(message),
        _ => text(fields.take(Name::Msg)).or_else(|| text(fields.take(Name::Log))),
    };
    let message = message.ok_or_else(|| {
        Rejected::field(
            "message",
            "required field `message` is missing or no string",
        )
    })?;
    let event_id = match fields.get(Name::EventId) {
        Value::Text(id) => id.parse().ok(),
        _ => None,
    };
    // The only clock in this crate, for elements of a writer that did not note the time.
    let received_at = time_of(fields.get(Name::ReceivedAt)).unwrap_or_else(Timestamp::now);
    let timestamp = time_of(fields.get(Name::Timestamp))
        .or_else(|| time_of(fields.get(Name::AtTimestamp)))
        .unwrap_or(received_at);
    let severity = severity_of(fields.get(Name::SyslogSeverity))
        .or_else(|| severity_of(fields.get(Name::Severity)));
    let retry_count = match fields.get(Name::RetryCount) {
        Value::Integer(count) => u32::try_from(*count).unwrap_or(0),
        _ => 0,
    };
    Ok(EventView {
        event_id: event_id.unwrap_or_else(EventId::new),
        received_at,
        timestamp,
        hostname: storable(hostname),
        message: storable(message),
        severity,
        trap_oid: text(fields.take(Name::TrapOid)).map(storable),
        source: text(fields.take(Name::Source)).map(storable),
        source_ip: text(fields.take(Name::SourceIp)).map(storable),
        correlation_id: text(fields.take(Name::CorrelationId))
            .map(storable)
            .unwrap_or_default(),
        retry_count,
    })
}

fn text(value: Value<'_>) -> Option<Cow<'_, str>> {
    match value {
        Value::Text(text) if !text.trim_ascii().is_empty() => Some(text),
        _ => None,
    }
}

/// In JSON a NUL is always written as an escape, so only texts that had escapes need a look.
fn storable(text: Cow<'_, str>) -> Cow<'_, str> {
    match text {
        Cow::Owned(text) if text.contains('\0') => Cow::Owned(text.replace('\0', "\u{fffd}")),
        text => text,
    }
}

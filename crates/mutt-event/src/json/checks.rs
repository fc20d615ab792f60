//! What an event's fields may hold, and which must be there.

use super::Rejected;
use super::accept::Accept;
use super::fields::{Fields, Name, Value};

/// Fields that are added to a record from where else they were found.
pub(super) struct Added {
    pub(super) timestamp: bool,
    pub(super) severity: bool,
    pub(super) program: bool,
    pub(super) facility: bool,
}

/// Whether what need not be there is of a kind that it may be. An object as `source` is for
/// documents alone, whose writers mean something else by it.
pub(super) fn check_optional(fields: &Fields<'_>, is_document: bool) -> Result<(), Rejected> {
    const TEXTS: [(Name, &str); 2] = [(Name::Source, "source"), (Name::SourceIp, "source_ip")];
    const PLAIN: [(Name, &str); 2] = [(Name::Facility, "facility"), (Name::Program, "program")];
    const LISTS: [(Name, &str); 2] = [(Name::Varbinds, "varbinds"), (Name::Variables, "variables")];
    const RARE: u32 = 1 << Name::Facility as u8
        | 1 << Name::Program as u8
        | 1 << Name::Source as u8
        | 1 << Name::SourceIp as u8
        | 1 << Name::TrapOid as u8
        | 1 << Name::Varbinds as u8
        | 1 << Name::Variables as u8
        | 1 << Name::ParseNotes as u8;
    if fields.seen & RARE == 0 {
        return Ok(());
    }
    for (name, field) in TEXTS {
        let value = fields.get(name);
        if name == Name::Source && is_document && matches!(value, Value::Object { .. }) {
            continue;
        }
        if !matches!(value, Value::Missing | Value::Null | Value::Text(_)) {
            return Err(wrong_type(field, value, "a string"));
        }
    }
    for (name, field) in PLAIN {
        let value = fields.get(name);
        if matches!(
            value,
            Value::Bool | Value::List { .. } | Value::Object { .. }
        ) {
            return Err(wrong_type(field, value, "a string or a number"));
        }
    }
    for (name, field) in LISTS {
        let value = fields.get(name);
        if !matches!(value, Value::Missing | Value::Null | Value::List { .. }) {
            return Err(wrong_type(field, value, "a list of {oid, type, value}"));
        }
    }
    let notes = fields.get(Name::ParseNotes);
    if !matches!(
        notes,
        Value::Missing | Value::Null | Value::List { texts: true, .. }
    ) {
        return Err(wrong_type("parse_notes", notes, "a list of strings"));
    }
    match fields.get(Name::TrapOid) {
        Value::Missing | Value::Null => Ok(()),
        Value::Text(oid) if oid.trim_ascii().is_empty() || is_oid(oid) => Ok(()),
        Value::Text(oid) => Err(Rejected::field(
            "trap_oid",
            format!(
                "field `trap_oid` is no object identifier (`{}`): give numbers with dots, such as \
                 1.3.6.1.6.3.1.1.5.3 (snmptrapd -On writes them)",
                oid.chars().take(64).collect::<String>()
            ),
        )),
        other => Err(wrong_type(
            "trap_oid",
            other,
            "a string such as \"1.3.6.1.6.3.1.1.5.3\"",
        )),
    }
}

/// Whether a text is numbers joined by dots, with or without a dot in front.
fn is_oid(text: &str) -> bool {
    let text = text.strip_prefix('.').unwrap_or(text);
    text.split('.')
        .all(|arc| !arc.is_empty() && arc.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Whether everything is there that `REQUIRED_FIELDS` asks for.
pub(super) fn check_required(
    fields: &Fields<'_>,
    how: &Accept<'_>,
    added: &Added,
) -> Result<(), Rejected> {
    // The common list is done by now.
    let known = usize::from(how.required.hostname) + usize::from(how.required.message);
    if how.required.names.len() == known {
        return Ok(());
    }
    for name in &how.required.names {
        let there = match Name::of(name) {
            Some(Name::Hostname | Name::Message) => true,
            Some(Name::Timestamp) => {
                added.timestamp
                    || !fields.get(Name::Timestamp).is_empty()
                    || !fields.get(Name::AtTimestamp).is_empty()
            }
            Some(Name::SyslogSeverity) => {
                added.severity || !fields.get(Name::SyslogSeverity).is_empty()
            }
            Some(Name::Varbinds) => {
                !fields.get(Name::Varbinds).is_empty() || !fields.get(Name::Variables).is_empty()
            }
            Some(Name::Program) if added.program => true,
            Some(Name::Facility) if added.facility => true,
            Some(known) => !fields.get(known).is_empty(),
            None => match how
                .required
                .watched
                .iter()
                .position(|watched| watched == name)
            {
                Some(index) => fields.watched & (1 << index) != 0,
                None => true,
            },
        };
        if !there {
            return Err(missing(
                name,
                &Value::Missing,
                "a value (REQUIRED_FIELDS asks for it)",
            ));
        }
    }
    Ok(())
}

pub(super) fn missing(field: &str, value: &Value<'_>, allowed: &str) -> Rejected {
    let what = if matches!(value, Value::Text(_)) {
        "empty"
    } else {
        "missing"
    };
    Rejected::field(
        field,
        format!("required field `{field}` is {what}: give {allowed}"),
    )
}

pub(super) fn wrong_type(field: &str, value: &Value<'_>, allowed: &str) -> Rejected {
    Rejected::field(
        field,
        format!("field `{field}` is {}: give {allowed}", value.kind()),
    )
}

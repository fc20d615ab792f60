//! Audit rows on their way into `event_audit_log`: as the binary format of COPY, or as arrays for
//! an INSERT. Knows no connection.

use bytes::{BufMut as _, Bytes, BytesMut};
use mutt_engine::{AuditRow, EngineError, EventClaim, Result};
use tokio_postgres::types::{ToSql, Type};
use uuid::Uuid;

use crate::text::{self, cut, lossy};
use crate::time::{Micros, encoded};

/// The columns that are written, in order.
macro_rules! columns {
    () => {
        "event_id, event_timestamp, received_at, hostname, source, syslog_severity, trap_oid, \
         environment, matched_rule_id, rule_version, handling_decision, team_assignment, \
         forwarded_to_moog, correlation_id, raw_message"
    };
}

pub(crate) const COLUMNS: usize = 15;

/// Takes what [`copy`] makes.
pub(crate) const COPY: &str = concat!(
    "COPY event_audit_log (",
    columns!(),
    ") FROM STDIN (FORMAT binary)"
);

/// Takes what [`Arrays`] holds; rows that are there already are left out.
pub(crate) const INSERT: &str = concat!(
    "INSERT INTO event_audit_log (",
    columns!(),
    ") SELECT ",
    columns!(),
    " FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15) \
     WITH ORDINALITY AS new (",
    columns!(),
    ", position) ORDER BY position ON CONFLICT (event_id, event_timestamp) DO NOTHING"
);

/// A buffer is handed on when it is this full, in bytes.
const CHUNK: usize = 128 * 1024;

/// The event that a row is about.
///
/// # Errors
/// `Invalid` where the claim has no such event.
fn event<'a>(events: &[&'a [u8]], row: &AuditRow) -> Result<&'a [u8]> {
    events.get(row.index as usize).copied().ok_or_else(|| {
        EngineError::Invalid(format!(
            "an audit row is about event {} of a claim of {}",
            row.index,
            events.len()
        ))
    })
}

/// The rows in the binary format of COPY, in pieces.
///
/// # Errors
/// `Invalid` where a row is about an event that the claim does not have.
pub(crate) fn copy(claim: &EventClaim, rows: &[AuditRow]) -> Result<Vec<Bytes>> {
    let events: Vec<&[u8]> = claim.iter().collect();
    let mut chunks = Vec::new();
    let mut out = BytesMut::with_capacity(CHUNK + CHUNK / 8);
    // Signature, flags, length of the extension: PostgreSQL, "COPY", binary format.
    out.put_slice(b"PGCOPY\n\xff\r\n\0");
    out.put_i32(0);
    out.put_i32(0);
    for row in rows {
        let raw = lossy(event(&events, row)?);
        out.put_i16(i16::try_from(COLUMNS).expect("there are few columns"));
        bytes(&mut out, row.event_id.as_bytes());
        number(&mut out, encoded(row.event_timestamp));
        number(&mut out, encoded(row.received_at));
        string(&mut out, &cut(&row.hostname, text::HOSTNAME));
        optional(&mut out, row.source.as_deref(), text::WORD);
        match row.syslog_severity {
            Some(severity) => {
                out.put_i32(2);
                out.put_i16(i16::from(severity));
            }
            None => null(&mut out),
        }
        optional(&mut out, row.trap_oid.as_deref(), text::OID);
        string(&mut out, row.environment);
        maybe(&mut out, row.matched_rule_id);
        maybe(&mut out, row.rule_version);
        string(&mut out, row.handling_decision);
        optional(&mut out, row.team_assignment.as_deref(), text::WORD);
        out.put_i32(1);
        out.put_u8(u8::from(row.forwarded_to_moog));
        string(&mut out, &cut(&row.correlation_id, text::KEY));
        string(&mut out, &raw);
        if out.len() >= CHUNK {
            chunks.push(out.split().freeze());
            out.reserve(CHUNK + CHUNK / 8);
        }
    }
    out.put_i16(-1);
    chunks.push(out.freeze());
    Ok(chunks)
}

fn null(out: &mut BytesMut) {
    out.put_i32(-1);
}

fn bytes(out: &mut BytesMut, value: &[u8]) {
    out.put_i32(i32::try_from(value.len()).expect("an event is far below 2 GiB"));
    out.put_slice(value);
}

fn string(out: &mut BytesMut, value: &str) {
    bytes(out, value.as_bytes());
}

fn optional(out: &mut BytesMut, value: Option<&str>, most: usize) {
    match value {
        Some(value) => string(out, &cut(value, most)),
        None => null(out),
    }
}

fn number(out: &mut BytesMut, value: i64) {
    out.put_i32(8);
    out.put_i64(value);
}

fn maybe(out: &mut BytesMut, value: Option<i64>) {
    match value {
        Some(value) => number(out, value),
        None => null(out),
    }
}

/// The rows as one array per column.
#[derive(Default)]
pub(crate) struct Arrays {
    event_id: Vec<Uuid>,
    event_timestamp: Vec<Micros>,
    received_at: Vec<Micros>,
    hostname: Vec<String>,
    source: Vec<Option<String>>,
    syslog_severity: Vec<Option<i16>>,
    trap_oid: Vec<Option<String>>,
    environment: Vec<&'static str>,
    matched_rule_id: Vec<Option<i64>>,
    rule_version: Vec<Option<i64>>,
    handling_decision: Vec<&'static str>,
    team_assignment: Vec<Option<String>>,
    forwarded_to_moog: Vec<bool>,
    correlation_id: Vec<String>,
    raw_message: Vec<String>,
}

impl Arrays {
    /// # Errors
    /// As [`copy`].
    pub(crate) fn new(claim: &EventClaim, rows: &[AuditRow]) -> Result<Self> {
        let events: Vec<&[u8]> = claim.iter().collect();
        let cut_some = |value: Option<&str>, most| value.map(|value| cut(value, most).into_owned());
        let mut all = Self::default();
        for row in rows {
            all.raw_message
                .push(lossy(event(&events, row)?).into_owned());
            all.event_id
                .push(Uuid::from_bytes(*row.event_id.as_bytes()));
            all.event_timestamp.push(Micros(row.event_timestamp));
            all.received_at.push(Micros(row.received_at));
            all.hostname
                .push(cut(&row.hostname, text::HOSTNAME).into_owned());
            all.source.push(cut_some(row.source.as_deref(), text::WORD));
            all.syslog_severity.push(row.syslog_severity.map(i16::from));
            all.trap_oid
                .push(cut_some(row.trap_oid.as_deref(), text::OID));
            all.environment.push(row.environment);
            all.matched_rule_id.push(row.matched_rule_id);
            all.rule_version.push(row.rule_version);
            all.handling_decision.push(row.handling_decision);
            all.team_assignment
                .push(cut_some(row.team_assignment.as_deref(), text::WORD));
            all.forwarded_to_moog.push(row.forwarded_to_moog);
            all.correlation_id
                .push(cut(&row.correlation_id, text::KEY).into_owned());
        }
        Ok(all)
    }

    /// The parameters of [`INSERT`].
    pub(crate) fn parameters(&self) -> [(&(dyn ToSql + Sync), Type); COLUMNS] {
        [
            (&self.event_id, Type::UUID_ARRAY),
            (&self.event_timestamp, Type::TIMESTAMPTZ_ARRAY),
            (&self.received_at, Type::TIMESTAMPTZ_ARRAY),
            (&self.hostname, Type::TEXT_ARRAY),
            (&self.source, Type::TEXT_ARRAY),
            (&self.syslog_severity, Type::INT2_ARRAY),
            (&self.trap_oid, Type::TEXT_ARRAY),
            (&self.environment, Type::TEXT_ARRAY),
            (&self.matched_rule_id, Type::INT8_ARRAY),
            (&self.rule_version, Type::INT8_ARRAY),
            (&self.handling_decision, Type::TEXT_ARRAY),
            (&self.team_assignment, Type::TEXT_ARRAY),
            (&self.forwarded_to_moog, Type::BOOL_ARRAY),
            (&self.correlation_id, Type::TEXT_ARRAY),
            (&self.raw_message, Type::TEXT_ARRAY),
        ]
    }
}

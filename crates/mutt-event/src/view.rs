//! An event as the stages behind the queue see it: the fields that matter, borrowed from the queue
//! element, which itself travels on unchanged.

use std::borrow::Cow;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{EventId, Severity};

/// The kind of door an event came through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// A syslog listener.
    Syslog,
    /// The SNMP trap listener.
    Snmp,
    /// An HTTP request.
    Http,
}

impl Source {
    /// The name in events, audit rows and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Syslog => "syslog",
            Self::Snmp => "snmp",
            Self::Http => "http",
        }
    }
}

/// The fields of one queue element that decide what happens to it.
#[derive(Clone, Debug, PartialEq)]
pub struct EventView<'a> {
    /// The event's id. An element that 2.5 wrote has none; it gets one when it is read.
    pub event_id: EventId,
    /// When MUTT received it.
    pub received_at: Timestamp,
    /// The device's own time, else the time of receipt.
    pub timestamp: Timestamp,
    /// The host it is about.
    pub hostname: Cow<'a, str>,
    /// The text.
    pub message: Cow<'a, str>,
    /// Syslog severity, where it has one.
    pub severity: Option<Severity>,
    /// The trap's OID, as it was sent (the leading dot is optional).
    pub trap_oid: Option<Cow<'a, str>>,
    /// The door it came through (`source`), as written.
    pub source: Option<Cow<'a, str>>,
    /// The sender's address, where known.
    pub source_ip: Option<Cow<'a, str>>,
    /// The correlation id of the request that brought it; empty where there is none.
    pub correlation_id: Cow<'a, str>,
    /// How often processing it failed so far.
    pub retry_count: u32,
}

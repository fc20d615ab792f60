//! What processes tell about themselves, so that any of them can show all of them: who runs which
//! roles, how well, and what it counted since its start.
//!
//! Reports are for people. No decision of the pipeline depends on one; a lost report costs a blank.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

macro_rules! counts {
    ($($field:ident: $text:literal;)*) => {
        /// Events and alerts by what became of them. Of a process: since its start. Of the store:
        /// within a minute.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(default)]
        pub struct FlowCounts {
            $(#[doc = $text] pub $field: u64,)*
        }

        impl FlowCounts {
            /// The names of the counts, as they are stored.
            pub const NAMES: &[&str] = &[$(stringify!($field)),*];

            /// Every count with its name.
            pub fn named(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($field), self.$field)),*].into_iter()
            }

            /// The count with this name; none for one that this version does not know.
            pub fn named_mut(&mut self, name: &str) -> Option<&mut u64> {
                match name {
                    $(stringify!($field) => Some(&mut self.$field),)*
                    _ => None,
                }
            }
        }
    };
}

counts! {
    received_http: "Events accepted over HTTP.";
    received_syslog: "Events accepted by any syslog listener.";
    received_snmp: "Events accepted as SNMP traps or informs.";
    handled: "Events that a rule decided.";
    unhandled: "Events that no rule matched.";
    undecided: "Events that could not be read or decided and are dead letters.";
    delivered: "Alerts delivered.";
    failed: "Requests to the sink that failed.";
    dropped: "Messages that were not taken, whatever the reason.";
}

impl FlowCounts {
    /// Events accepted through any door.
    pub fn received(&self) -> u64 {
        self.received_http + self.received_syslog + self.received_snmp
    }

    /// Events that were looked at.
    pub fn decided(&self) -> u64 {
        self.handled + self.unhandled + self.undecided
    }

    /// What was counted since `earlier`; nothing where a count went back.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let mut new = Self::default();
        for ((name, now), (_, before)) in self.named().zip(earlier.named()) {
            if let Some(count) = new.named_mut(name) {
                *count = now.saturating_sub(before);
            }
        }
        new
    }

    /// Adds other counts.
    pub fn add(&mut self, other: &Self) {
        for (name, more) in other.named() {
            if let Some(count) = self.named_mut(name) {
                *count = count.saturating_add(more);
            }
        }
    }
}

/// Something that is wrong in a process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// What kind it is: `rule_skipped`, or `pod_problem` for anything else.
    pub code: String,
    /// In words; never an address with a password, never a key.
    pub text: String,
}

/// The sink as one forwarder sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SinkReport {
    /// Whether there is an address to send to.
    pub configured: bool,
    /// When an alert was delivered last.
    pub last_delivery: Option<Timestamp>,
    /// When an attempt failed last.
    pub last_failure_at: Option<Timestamp>,
    /// How it failed, in words.
    pub last_failure: Option<String>,
}

/// A sender that sends more than its limit.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct FloodReport {
    /// Its address.
    pub address: String,
    /// Its host name as its events show it, else its address.
    pub hostname: String,
    /// The listener at which it began.
    pub listener: String,
    /// When it began.
    pub since: Timestamp,
    /// Its events per second that are kept.
    pub kept_per_second: f64,
    /// Its events per second that are dropped.
    pub dropped_per_second: f64,
    /// Its events that were kept since it began.
    pub kept: u64,
    /// Its events that were dropped since it began.
    pub dropped: u64,
}

/// A door through which events come into a process.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ListenerReport {
    /// Its name, as in the label `listener` of metrics.
    pub listener: String,
    /// Where it listens.
    pub address: String,
    /// Messages read since the start.
    pub received: u64,
    /// Events that became durable since the start.
    pub accepted: u64,
    /// Repeats that were counted instead of stored, since the start.
    pub deduplicated: u64,
    /// Connections open now.
    pub connections: u64,
    /// When a message was read last, to the second; none where none was.
    pub last_received: Option<Timestamp>,
    /// Messages that were not taken since the start, by reason; `kernel` for those that it dropped.
    pub dropped: BTreeMap<String, u64>,
}

/// What a process tells about itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ProcessReport {
    /// The pod's name.
    pub pod: String,
    /// The roles that run in it.
    pub roles: Vec<String>,
    /// The program's version.
    pub version: String,
    /// The process's number.
    pub pid: u32,
    /// When it started, by its own clock.
    pub started_at: Timestamp,
    /// When it wrote this, by its own clock.
    pub at: Timestamp,
    /// What it counted since its start.
    pub counts: FlowCounts,
    /// Messages that it did not take, by reason.
    pub dropped: BTreeMap<String, u64>,
    /// CPU time used, in seconds.
    pub cpu_seconds: f64,
    /// Resident memory.
    pub memory_bytes: u64,
    /// Events that wait in its spool.
    pub spooled: u64,
    /// What is wrong with it.
    pub problems: Vec<Problem>,
    /// The sink, where it runs a forwarder.
    pub sink: Option<SinkReport>,
    /// The hosts with the most events within the last hour, busiest first; an estimate.
    pub busy_hosts: Vec<(String, u64)>,
    /// The doors that are open in it.
    pub listeners: Vec<ListenerReport>,
    /// The senders that flood it now, the worst first.
    pub floods: Vec<FloodReport>,
}

/// A report and how old it is, measured by the store's clock and not by those of the processes.
#[derive(Clone, Debug, PartialEq)]
pub struct Reported {
    /// Tells a process from its successor of the same name.
    pub instance: String,
    /// The report.
    pub report: ProcessReport,
    /// How long ago it was written.
    pub age: Duration,
}

/// One of the servers (or the file) that everything is kept in.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StoreStatus {
    /// `sqlite`, or `redis` and `postgres`.
    pub name: &'static str,
    /// How long the look took.
    pub latency: Duration,
    /// Why it cannot be used; none where it can.
    pub error: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_told_apart_by_name() {
        let mut counts = FlowCounts::default();
        for (place, &name) in FlowCounts::NAMES.iter().enumerate() {
            *counts.named_mut(name).unwrap() = place as u64 + 1;
        }
        let named: Vec<_> = counts.named().map(|(name, _)| name).collect();
        assert_eq!(named, FlowCounts::NAMES);
        assert_eq!((counts.received(), counts.decided()), (6, 15));
        let mut twice = counts;
        twice.add(&counts);
        assert_eq!(twice.since(&counts), counts);
        assert_eq!(counts.since(&twice), FlowCounts::default());
    }

    #[test]
    fn a_report_of_another_version_is_read() {
        let report: ProcessReport =
            serde_json::from_str(r#"{"pod":"a","counts":{"handled":3,"new":1},"newer":[]}"#)
                .unwrap();
        assert_eq!((&*report.pod, report.counts.handled), ("a", 3));
    }
}

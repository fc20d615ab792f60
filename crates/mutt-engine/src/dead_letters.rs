//! Dead letter queues: what could not be handled, with the reason, until it is replayed or
//! discarded.

use async_trait::async_trait;
use jiff::Timestamp;
use mutt_event::EventId;
use serde::{Deserialize, Serialize};

use crate::catalog::Change;
use crate::error::Result;

/// A dead letter queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dlq {
    /// `mutt:dlq:ingest`: rejected records of a batch.
    Ingest,
    /// `mutt:dlq:alerter`: events that could not be decided, or were shed.
    Alerter,
    /// `mutt:dlq:moog`: alerts that could not be delivered.
    Moog,
    /// `mutt:dlq:dead`: poison, set aside for a person.
    Dead,
}

impl Dlq {
    /// Every dead letter queue.
    pub const ALL: [Self; 4] = [Self::Ingest, Self::Alerter, Self::Moog, Self::Dead];

    /// The queue's key, as in 2.5.
    pub fn key(self) -> &'static str {
        match self {
            Self::Ingest => "mutt:dlq:ingest",
            Self::Alerter => "mutt:dlq:alerter",
            Self::Moog => "mutt:dlq:moog",
            Self::Dead => "mutt:dlq:dead",
        }
    }

    /// The short name, in the command line and the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::Alerter => "alerter",
            Self::Moog => "moog",
            Self::Dead => "dead",
        }
    }

    /// The queue with this short name or key.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|dlq| dlq.name() == name || dlq.key() == name)
    }
}

/// Why something is in a dead letter queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Not JSON, not an object, or a required field is missing or invalid.
    Malformed,
    /// Moved aside under back-pressure.
    Shed,
    /// Processing it failed again and again.
    Poison,
    /// The sink refused it with a 4xx.
    Refused,
    /// All delivery attempts failed.
    RetriesExhausted,
}

impl Reason {
    /// The name in `_dlq.reason` and in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Shed => "shed",
            Self::Poison => "poison",
            Self::Refused => "refused",
            Self::RetriesExhausted => "retries_exhausted",
        }
    }

    /// The reason with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        [
            Self::Malformed,
            Self::Shed,
            Self::Poison,
            Self::Refused,
            Self::RetriesExhausted,
        ]
        .into_iter()
        .find(|reason| reason.name() == name)
    }

    /// Whether waiting can mend it, so that remediation replays it.
    pub fn heals(self) -> bool {
        matches!(self, Self::Shed | Self::RetriesExhausted)
    }
}

/// Something to be put into a dead letter queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// Why, as a word.
    pub reason: Reason,
    /// Why, in words.
    pub detail: String,
    /// The message itself, byte for byte.
    pub element: Vec<u8>,
}

/// An entry of a dead letter queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DlqEntry {
    /// The entry's identity within its queue.
    pub id: String,
    /// The queue it is in.
    pub queue: Dlq,
    /// Why, as a word.
    pub reason: Reason,
    /// Why, in words.
    pub detail: String,
    /// The queue it failed in (`mutt:dlq:dead` keeps where an entry came from).
    pub origin: Dlq,
    /// When it first failed.
    pub first_failed_at: Timestamp,
    /// When it last failed.
    pub last_failed_at: Timestamp,
    /// Delivery or processing attempts so far.
    pub attempts: u32,
    /// Replays so far.
    pub replays: u32,
    /// The message; bytes that are not UTF-8 are replaced.
    pub message: String,
}

/// Which entries are meant; unset fields do not restrict.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DeadLetterFilter {
    /// Only these ids.
    pub ids: Option<Vec<String>>,
    /// Only this reason.
    pub reason: Option<Reason>,
    /// Only entries whose message contains this text.
    pub text: Option<String>,
    /// Only entries whose last failure names this HTTP status ([`status_in`]).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Only entries whose last failure names no HTTP status.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub no_status: bool,
    /// Only entries of this host (any ASCII case).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// Only alerts of this rule.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule_id: Option<i64>,
    /// Last failed at or after.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Last failed before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

impl DeadLetterFilter {
    /// Whether it restricts nothing.
    pub fn is_any(&self) -> bool {
        *self == Self::default()
    }

    /// Whether it asks for something that only the message itself says.
    pub fn reads_messages(&self) -> bool {
        self.text.is_some() || self.hostname.is_some() || self.rule_id.is_some()
    }

    /// Whether it means an entry with these properties; ids are not looked at. `last_failed_at` is
    /// `None` where nobody knows it: long ago, then.
    pub fn means(
        &self,
        reason: Reason,
        detail: &str,
        last_failed_at: Option<Timestamp>,
        element: &[u8],
    ) -> bool {
        let failed_at = last_failed_at.unwrap_or(Timestamp::UNIX_EPOCH);
        self.reason.is_none_or(|wanted| wanted == reason)
            && self.since.is_none_or(|since| failed_at >= since)
            && self.until.is_none_or(|until| failed_at < until)
            && self.means_status(detail)
            && self
                .text
                .as_ref()
                .is_none_or(|text| memchr::memmem::find(element, text.as_bytes()).is_some())
            && self.means_message(element)
    }

    fn means_status(&self, detail: &str) -> bool {
        match self.status {
            None if !self.no_status => true,
            wanted => status_in(detail) == wanted,
        }
    }

    fn means_message(&self, element: &[u8]) -> bool {
        // Fields of any type: what cannot be read is of no host and no rule.
        #[derive(Deserialize)]
        struct Named {
            hostname: Option<serde_json::Value>,
            rule_id: Option<serde_json::Value>,
        }

        if self.hostname.is_none() && self.rule_id.is_none() {
            return true;
        }
        let Ok(named) = serde_json::from_slice::<Named>(element) else {
            return false;
        };
        let host = named.hostname.as_ref().and_then(serde_json::Value::as_str);
        let rule = named.rule_id.as_ref().and_then(serde_json::Value::as_i64);
        self.hostname
            .as_ref()
            .is_none_or(|wanted| host.is_some_and(|host| host.eq_ignore_ascii_case(wanted)))
            && self.rule_id.is_none_or(|wanted| rule == Some(wanted))
    }
}

/// The HTTP status (4xx or 5xx) that the words of a failure name: the three digits behind `HTTP `.
/// Other numbers say other things: a port, a count, what the sink's answer quotes.
pub fn status_in(detail: &str) -> Option<u16> {
    let (_, behind) = detail.split_once("HTTP ")?;
    let digits = behind
        .find(|letter: char| !letter.is_ascii_alphanumeric())
        .map_or(behind, |end| &behind[..end]);
    let status = digits.parse().ok()?;
    (digits.len() == 3 && (400..600).contains(&status)).then_some(status)
}

/// The id of the event that an entry's message is, or is about; `None` where it names none.
pub fn event_in(element: &[u8]) -> Option<EventId> {
    #[derive(Deserialize)]
    struct Named {
        #[serde(rename = "_event_id")]
        id: EventId,
    }
    serde_json::from_slice::<Named>(element)
        .ok()
        .map(|named| named.id)
}

/// Entries of a queue that failed alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LetterGroup {
    /// Why, as a word.
    pub reason: Reason,
    /// The HTTP status of the last failure, where it names one.
    pub status: Option<u16>,
    /// How many.
    pub count: u64,
    /// The earliest last failure among them; 1970 where nobody knows it.
    pub oldest: Timestamp,
    /// The latest last failure among them.
    pub newest: Timestamp,
    /// The failure of one of them, in words.
    pub detail: String,
}

/// Groups while they are added up.
#[derive(Clone, Debug, Default)]
pub struct LetterGroups {
    groups: std::collections::BTreeMap<(&'static str, Option<u16>), LetterGroup>,
}

impl LetterGroups {
    /// Adds an entry.
    pub fn add(&mut self, reason: Reason, detail: &str, last_failed_at: Option<Timestamp>) {
        let at = last_failed_at.unwrap_or(Timestamp::UNIX_EPOCH);
        let status = status_in(detail);
        let group = self
            .groups
            .entry((reason.name(), status))
            .or_insert_with(|| LetterGroup {
                reason,
                status,
                count: 0,
                oldest: at,
                newest: at,
                detail: detail.to_owned(),
            });
        group.count += 1;
        group.oldest = group.oldest.min(at);
        group.newest = group.newest.max(at);
    }

    /// The groups, by reason and status.
    pub fn finish(self) -> Vec<LetterGroup> {
        self.groups.into_values().collect()
    }
}

/// What one pass of remediation did with a queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Remediated {
    /// Entries that went back to their queue.
    pub replayed: u64,
    /// Entries that went to `mutt:dlq:dead`.
    pub poison: u64,
}

/// When remediation replays an entry.
#[derive(Clone, Copy, Debug)]
pub struct ReplayPolicy {
    /// At most so many entries in one pass, fewer where they are large.
    pub batch: usize,
    /// After so many replays an entry is poison.
    pub max_replays: u32,
    /// An entry waits this × 2^replays after its last failure.
    pub backoff: std::time::Duration,
}

/// The dead letter queues.
#[async_trait]
pub trait DeadLetters: Send + Sync {
    /// Puts entries into a queue. Durable when it returns.
    ///
    /// # Errors
    /// `Unavailable`.
    async fn bury(&self, queue: Dlq, letters: Vec<DeadLetter>) -> Result<()>;

    /// Entries of a queue, oldest first, from `offset`, at most `limit`.
    ///
    /// # Errors
    /// `Unavailable`.
    async fn dead_letters(
        &self,
        queue: Dlq,
        filter: &DeadLetterFilter,
        offset: u64,
        limit: usize,
    ) -> Result<Vec<DlqEntry>>;

    /// The ids of these entries, without holding their messages, however large they are.
    ///
    /// # Errors
    /// `Unavailable`.
    async fn dead_letter_ids(
        &self,
        queue: Dlq,
        filter: &DeadLetterFilter,
        offset: u64,
        limit: usize,
    ) -> Result<Vec<String>>;

    /// Entries that a filter means, added up by reason and status. At most `most` entries, the
    /// oldest of the queue, are looked at.
    ///
    /// # Errors
    /// `Unavailable`.
    async fn dead_letter_groups(
        &self,
        queue: Dlq,
        filter: &DeadLetterFilter,
        most: u64,
    ) -> Result<Vec<LetterGroup>>;

    /// How many entries a queue holds. Cheap.
    ///
    /// # Errors
    /// `Unavailable`.
    async fn dlq_depth(&self, queue: Dlq) -> Result<u64>;

    /// One pass of remediation over `mutt:dlq:moog` (back to the alert queue) or
    /// `mutt:dlq:alerter` (back to the ingest queue): replays what is due, and moves to
    /// `mutt:dlq:dead` what was replayed too often or cannot succeed by waiting. One atomic step.
    ///
    /// # Errors
    /// `Unavailable`.
    async fn remediate(&self, queue: Dlq, policy: ReplayPolicy) -> Result<Remediated>;

    /// A person sends entries back to where they failed (entries of `ingest` and `alerter` to the
    /// ingest queue, of `moog` to the alert queue, of `dead` to where they came from). Audited.
    /// Returns how many.
    ///
    /// # Errors
    /// `Unavailable`, `Invalid`.
    async fn replay(&self, queue: Dlq, filter: &DeadLetterFilter, by: &Change) -> Result<u64>;

    /// A person has events decided anew by the rules that hold then. An alert that could not be
    /// delivered becomes its event again ([`crate::redecision`]) and goes to the ingest queue; an
    /// entry that was never decided goes there as [`Self::replay`] sends it. Leaving the dead letters
    /// and standing in the ingest queue are one step: a process that dies leaves the entry in one of
    /// them. An entry without an event (a meta-alert) is left where it is. Audited. Returns how many
    /// went.
    ///
    /// # Errors
    /// `Unavailable`, `Invalid`.
    async fn redecide(&self, queue: Dlq, filter: &DeadLetterFilter, by: &Change) -> Result<u64>;

    /// A person throws entries away; `by.reason` must be given. Audited. Returns how many.
    ///
    /// # Errors
    /// `Unavailable`, `Invalid` without a reason.
    async fn discard(&self, queue: Dlq, filter: &DeadLetterFilter, by: &Change) -> Result<u64>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_found_where_a_failure_names_one() {
        assert_eq!(status_in("HTTP 400: bad request"), Some(400));
        assert_eq!(status_in("no key: HTTP 401"), Some(401));
        assert_eq!(status_in("the queue held 503 entries"), None);
        assert_eq!(status_in("HTTP 302: see line 404"), None);
        assert_eq!(status_in("HTTP 4000"), None);
        assert_eq!(status_in("took 5003 ms, port 443x"), None);
        assert_eq!(status_in("connection refused"), None);
    }

    #[test]
    fn a_message_of_no_host_is_meant_by_no_host() {
        let filter = DeadLetterFilter {
            hostname: Some("CORE-1".to_owned()),
            rule_id: Some(5),
            ..DeadLetterFilter::default()
        };
        let means = |element: &str| filter.means(Reason::Refused, "", None, element.as_bytes());
        assert!(means(r#"{"hostname":"core-1","rule_id":5}"#));
        for other in [
            r#"{"hostname":"core-1"}"#,
            r#"{"hostname":"core-1","rule_id":"5"}"#,
            r#"{"hostname":["core-1"],"rule_id":5}"#,
            r#"{"hostname":"core-2","rule_id":5}"#,
            r#"{"hostname":"core-1","rule_id":5"#,
            "",
        ] {
            assert!(!means(other), "{other}");
        }
    }
}

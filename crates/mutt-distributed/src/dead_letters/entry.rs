//! What an entry of a dead letter queue says: ours in its `_dlq`, one that MUTT 2.5 left in its fields.
//!
//! 2.5 wrote no reason, and a time only sometimes; what is not known stays unknown.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt::Write as _;

use jiff::Timestamp;
use mutt_engine::dead_letters::DlqEntry;
use mutt_engine::{DeadLetterFilter, Dlq, Reason, redecision};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::envelope::{self, History};
use crate::flow::from_epoch;
use crate::names::Names;

/// An entry, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Letter {
    /// Its identity in its queue.
    pub(crate) id: String,
    /// Whether the id is its own, not one of [`Numbering`].
    pub(crate) is_named: bool,
    /// The bytes of the message.
    pub(crate) element: Vec<u8>,
    pub(crate) reason: Reason,
    pub(crate) detail: String,
    pub(crate) origin: Dlq,
    pub(crate) first_failed_at: Option<Timestamp>,
    pub(crate) last_failed_at: Option<Timestamp>,
    pub(crate) attempts: u32,
    pub(crate) replays: u32,
}

/// Gives entries without an id of their own one: the hash of the entry, and which of the equal ones it
/// is, counted from the tail.
#[derive(Clone, Default)]
pub(crate) struct Numbering {
    seen: HashMap<[u8; 16], u64>,
}

impl Numbering {
    fn next(&mut self, entry: &[u8]) -> String {
        let hash = hash(entry);
        let number = self.seen.entry(hash).or_default();
        *number += 1;
        let mut id = String::with_capacity(40);
        for byte in hash {
            let _ = write!(id, "{byte:02x}");
        }
        let _ = write!(id, "-{number}");
        id
    }

    /// One of these that stood before the others was taken away: they keep their numbers.
    pub(crate) fn took(&mut self, entry: &[u8]) {
        *self.seen.entry(hash(entry)).or_default() += 1;
    }
}

fn hash(entry: &[u8]) -> [u8; 16] {
    let digest = Sha256::digest(entry);
    std::array::from_fn(|at| digest[at])
}

impl Letter {
    /// Reads an entry of this queue.
    pub(crate) fn read(queue: Dlq, entry: &[u8], numbering: &mut Numbering) -> Self {
        let (element, history) = envelope::unwrap(entry);
        let old = history.reason.is_none().then(|| Old::read(&element));
        let old = old.as_ref();
        let is_named = history.id.is_some();
        let id = history.id.unwrap_or_else(|| numbering.next(entry));
        let origin = match (history.queue, old, queue) {
            (Some(origin), ..) => origin,
            (None, Some(old), Dlq::Dead) => old.origin(),
            (None, _, queue) => queue,
        };
        let failed_at = old.and_then(Old::failed_at);
        Self {
            id,
            is_named,
            reason: history
                .reason
                .unwrap_or_else(|| old.map_or(Reason::Malformed, |old| old.reason(origin))),
            detail: history
                .detail
                .unwrap_or_else(|| old.map_or_else(String::new, Old::detail)),
            origin,
            first_failed_at: history.first_failed_at.or(failed_at),
            last_failed_at: history.last_failed_at.or(failed_at),
            attempts: history
                .attempts
                .max(old.map_or(0, |old| old.attempts(origin))),
            replays: history.replays,
            element: element.into_owned(),
        }
    }

    /// Whether a filter means it; ids are not looked at.
    pub(crate) fn is_meant(&self, filter: &DeadLetterFilter) -> bool {
        filter.means(
            self.reason,
            &self.detail,
            self.last_failed_at,
            &self.element,
        )
    }

    /// As it is listed. A time that nobody knows is 1970.
    pub(crate) fn listed(self, queue: Dlq) -> DlqEntry {
        let last_failed_at = self.last_failed_at.unwrap_or(Timestamp::UNIX_EPOCH);
        DlqEntry {
            id: self.id,
            queue,
            reason: self.reason,
            detail: self.detail,
            origin: self.origin,
            first_failed_at: self.first_failed_at.unwrap_or(last_failed_at),
            last_failed_at,
            attempts: self.attempts,
            replays: self.replays,
            message: String::from_utf8(self.element)
                .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()),
        }
    }

    /// The queue it failed in, and how it stands there when it is sent back: attempts begin anew,
    /// since when it fails and how often it was replayed are remembered.
    pub(crate) fn sent_back(&self, names: &Names, replays: u32) -> (String, Vec<u8>) {
        let target = match self.origin {
            Dlq::Moog => &names.alert_queue,
            Dlq::Ingest | Dlq::Alerter | Dlq::Dead => &names.ingest_queue,
        };
        let history = History {
            first_failed_at: self.first_failed_at,
            replays,
            ..History::default()
        };
        let element = if history.is_empty() {
            envelope::plain(&self.element)
        } else {
            Cow::Owned(envelope::wrap(&self.element, &history))
        };
        (target.clone(), element.into_owned())
    }

    /// The ingest queue, and how it stands there to be decided (anew); `None` where it is an alert
    /// about no event.
    pub(crate) fn to_be_decided(&self, names: &Names, now: Timestamp) -> Option<(String, Vec<u8>)> {
        if self.origin != Dlq::Moog {
            return Some(self.sent_back(names, self.replays));
        }
        let event = redecision::event_of(&self.element, now)?;
        // What failed was the delivery of what was decided before: nothing is remembered.
        let event = envelope::plain(&event).into_owned();
        Some((names.ingest_queue.clone(), event))
    }

    /// How it stands in `mutt:dlq:dead`.
    pub(crate) fn as_poison(&self) -> Vec<u8> {
        let id = if self.is_named {
            self.id.clone()
        } else {
            Uuid::now_v7().simple().to_string()
        };
        let history = History {
            id: Some(id),
            reason: Some(self.reason),
            detail: Some(self.detail.clone()),
            queue: Some(self.origin),
            first_failed_at: self.first_failed_at,
            last_failed_at: self.last_failed_at,
            attempts: self.attempts,
            replays: self.replays,
        };
        envelope::wrap(&self.element, &history)
    }
}

/// An entry without a history: MUTT 2.5's, or put there by hand.
struct Old {
    fields: Option<Map<String, Value>>,
}

impl Old {
    fn read(element: &[u8]) -> Self {
        Self {
            fields: serde_json::from_slice(element).ok(),
        }
    }

    fn field(&self, name: &str) -> Option<&Value> {
        self.fields.as_ref()?.get(name)
    }

    fn number(&self, name: &str) -> Option<u32> {
        let value = self.field(name)?;
        let number = value
            .as_u64()
            .or_else(|| value.as_str()?.trim().parse().ok())?;
        Some(u32::try_from(number).unwrap_or(u32::MAX))
    }

    /// 2.5's own queue of poison held events, and alerts where somebody put them there.
    fn origin(&self) -> Dlq {
        if self.field("message_body").is_some() {
            Dlq::Moog
        } else {
            Dlq::Alerter
        }
    }

    fn reason(&self, origin: Dlq) -> Reason {
        if self.fields.is_none() || origin == Dlq::Ingest {
            return Reason::Malformed;
        }
        if self.field("shedding_reason").is_some() {
            return Reason::Shed;
        }
        let told = self.field("dlq_reason").and_then(Value::as_str);
        if let Some(reason) = told.and_then(Reason::from_name) {
            return reason;
        }
        match origin {
            // 2.5 gave up an alert without a retry where the sink refused it.
            Dlq::Moog if self.number("_moog_retry_count").is_none() => Reason::Refused,
            // It did not tell a message that cannot be processed from a store that was away.
            _ => Reason::RetriesExhausted,
        }
    }

    fn detail(&self) -> String {
        ["dlq_reason", "shedding_reason"]
            .into_iter()
            .find_map(|name| Some((name, self.field(name)?)))
            .map_or_else(
                || "left by an older MUTT, which did not say why".to_owned(),
                |(name, value)| match value {
                    Value::String(text) => format!("{name}: {text}"),
                    other => format!("{name}: {other}"),
                },
            )
    }

    fn failed_at(&self) -> Option<Timestamp> {
        match self.field("failed_at")? {
            Value::String(text) => text.parse().ok(),
            number => from_epoch(number.as_f64()?),
        }
    }

    fn attempts(&self, origin: Dlq) -> u32 {
        let name = match origin {
            Dlq::Moog => "_moog_retry_count",
            Dlq::Ingest | Dlq::Alerter | Dlq::Dead => "_retry_count",
        };
        self.number(name).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use mutt_engine::DeadLetter;

    use super::*;

    fn read(queue: Dlq, entry: &str) -> Letter {
        Letter::read(queue, entry.as_bytes(), &mut Numbering::default())
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn what_2_5_left_says_what_can_be_known() {
        let refused = read(
            Dlq::Moog,
            r#"{"hostname":"h","team_assignment":"N","message_body":"m"}"#,
        );
        assert_eq!(
            (refused.reason, refused.origin),
            (Reason::Refused, Dlq::Moog)
        );
        assert_eq!((refused.attempts, refused.last_failed_at), (0, None));

        let failed =
            r#"{"message_body":"m","_moog_retry_count":6,"failed_at":"2025-01-02T03:04:05Z"}"#;
        let failed = read(Dlq::Moog, failed);
        assert_eq!(
            (failed.reason, failed.attempts),
            (Reason::RetriesExhausted, 6)
        );
        assert_eq!(failed.last_failed_at, Some(at("2025-01-02T03:04:05Z")));
        assert_eq!(failed.first_failed_at, failed.last_failed_at);

        let shed = read(
            Dlq::Alerter,
            r#"{"message":"m","shedding_reason":"alert_queue_full","failed_at":1700000000.5}"#,
        );
        assert_eq!(shed.reason, Reason::Shed);
        assert_eq!(shed.detail, "shedding_reason: alert_queue_full");
        assert_eq!(shed.last_failed_at, Some(at("2023-11-14T22:13:20.5Z")));

        let retried = read(Dlq::Alerter, r#"{"message":"m","_retry_count":"3"}"#);
        assert_eq!(
            (retried.reason, retried.attempts),
            (Reason::RetriesExhausted, 3)
        );
        assert_eq!(
            read(Dlq::Alerter, "{\"message\":").reason,
            Reason::Malformed
        );
        assert_eq!(read(Dlq::Ingest, "{}").reason, Reason::Malformed);
        let told = read(Dlq::Moog, r#"{"dlq_reason":"refused"}"#);
        assert_eq!(told.reason, Reason::Refused);
    }

    #[test]
    fn poison_of_2_5_goes_back_by_what_it_is() {
        let names = Names::default();
        let alert = read(Dlq::Dead, r#"{"message_body":"m","_moog_retry_count":6}"#);
        assert_eq!(alert.origin, Dlq::Moog);
        assert_eq!(alert.sent_back(&names, 0).0, "mutt:alert_queue");
        let event = read(Dlq::Dead, r#"{"message":"m"}"#);
        assert_eq!(event.origin, Dlq::Alerter);
        let (target, element) = event.sent_back(&names, 0);
        assert_eq!(target, "mutt:ingest_queue");
        assert_eq!(
            element, br#"{"message":"m"}"#,
            "there is nothing to remember"
        );
    }

    #[test]
    fn equal_entries_without_an_id_are_told_apart_by_number() {
        let mut numbering = Numbering::default();
        let mut id = |entry: &[u8]| Letter::read(Dlq::Moog, entry, &mut numbering).id;
        let (first, other, second) = (id(b"{}"), id(b"[]"), id(b"{}"));
        assert!(first.ends_with("-1") && other.ends_with("-1") && second.ends_with("-2"));
        assert_eq!(first[..32], second[..32]);
        assert_ne!(first[..32], other[..32]);

        let mut after = Numbering::default();
        after.took(b"{}");
        assert_eq!(Letter::read(Dlq::Moog, b"{}", &mut after).id, second);
    }

    #[test]
    fn an_entry_keeps_its_identity_as_poison() {
        let letter = DeadLetter {
            reason: Reason::Refused,
            detail: "400".to_owned(),
            element: b"\xffnot text".to_vec(),
        };
        let now = Timestamp::from_second(1_700_000_000).unwrap();
        let entry = envelope::dead(Dlq::Moog, &letter, 1, &History::default(), now);
        let mut numbering = Numbering::default();
        let before = Letter::read(Dlq::Moog, &entry, &mut numbering);
        assert!(before.is_named);
        let after = Letter::read(Dlq::Dead, &before.as_poison(), &mut numbering);
        assert_eq!(after, before);
        assert_eq!(after.element, letter.element);
        let (_, back) = after.sent_back(&Names::default(), 1);
        let (element, history) = envelope::unwrap(&back);
        assert_eq!(&*element, &letter.element);
        assert_eq!((history.replays, history.attempts), (1, 0));
        assert_eq!(history.first_failed_at, Some(now));
        assert_eq!(history.id, None, "it is no dead letter any more");
    }

    #[test]
    fn nameless_poison_gets_a_name() {
        let one = read(Dlq::Moog, "{}").as_poison();
        let other = read(Dlq::Moog, "{}").as_poison();
        let mut numbering = Numbering::default();
        let mut id = |entry: &[u8]| Letter::read(Dlq::Dead, entry, &mut numbering);
        let (one, other) = (id(&one), id(&other));
        assert!(one.is_named && other.is_named && one.id != other.id);
    }
}

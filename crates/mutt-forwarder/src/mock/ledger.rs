//! What was received, in bounded memory: counts per `external_id`, the last bodies, arrival times.

use std::borrow::Cow;
use std::collections::hash_map::RandomState;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::BuildHasher as _;
use std::time::{Duration, Instant};

use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The most ids that are counted one by one.
const MAX_IDS: usize = 1_000_000;
/// The most arrival times.
const MAX_ARRIVALS: usize = 1_000_000;
/// The most requests kept whole, by number and by bytes.
const MAX_KEPT: usize = 1_000;
const MAX_KEPT_BYTES: usize = 16 << 20;

/// One request.
#[derive(Clone, Debug, Serialize)]
pub struct Received {
    /// When its head arrived.
    pub at: Timestamp,
    /// `external_id`, else the event's id from the tags, else `Idempotency-Key`.
    pub external_id: Option<String>,
    /// The header `Idempotency-Key`.
    pub idempotency_key: Option<String>,
    /// The header `traceparent`.
    pub traceparent: Option<String>,
    /// The status it was answered with; 0 for a connection that was reset.
    pub status: u16,
    /// The body, as text.
    pub body: String,
}

/// Figures.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Stats {
    /// Requests received.
    pub total: u64,
    /// Requests answered with 2xx.
    pub delivered: u64,
    /// Different `external_id`s delivered.
    pub unique: u64,
    /// Deliveries of an `external_id` beyond its first.
    pub repeats: u64,
    /// Deliveries whose `external_id` is not counted: none was given, or there are too many.
    pub uncounted: u64,
    /// Requests by the status they were answered with; 0: the connection was reset.
    pub by_status: BTreeMap<u16, u64>,
    /// The most requests that arrived in any window of the given length.
    pub most_in_window: u64,
}

#[derive(Debug, Default)]
pub(super) struct Ledger {
    hasher: RandomState,
    /// By two independent hashes of the id: 16 bytes whatever the id's length.
    ids: HashMap<[u64; 2], u32>,
    figures: Stats,
    arrivals: VecDeque<Instant>,
    kept: VecDeque<Received>,
    kept_bytes: usize,
}

/// A request as the server saw it.
pub(super) struct Request {
    pub at: Timestamp,
    pub external_id: Option<String>,
    pub idempotency_key: Option<String>,
    pub traceparent: Option<String>,
    pub body: Bytes,
}

impl Ledger {
    /// A request's head arrived.
    pub(super) fn arrived(&mut self) -> u64 {
        if self.arrivals.len() == MAX_ARRIVALS {
            self.arrivals.pop_front();
        }
        self.arrivals.push_back(Instant::now());
        self.figures.total += 1;
        self.figures.total
    }

    /// A request was answered.
    pub(super) fn answered(&mut self, request: Request, status: u16) {
        *self.figures.by_status.entry(status).or_default() += 1;
        if (200..300).contains(&status) {
            self.figures.delivered += 1;
            self.count(request.external_id.as_deref());
        }
        self.kept_bytes += request.body.len();
        self.kept.push_back(Received {
            at: request.at,
            external_id: request.external_id,
            idempotency_key: request.idempotency_key,
            traceparent: request.traceparent,
            status,
            body: String::from_utf8_lossy(&request.body).into_owned(),
        });
        while self.kept.len() > MAX_KEPT || self.kept_bytes > MAX_KEPT_BYTES {
            let Some(oldest) = self.kept.pop_front() else {
                break;
            };
            self.kept_bytes = self.kept_bytes.saturating_sub(oldest.body.len());
        }
    }

    fn count(&mut self, id: Option<&str>) {
        let Some(key) = id.map(|id| self.key(id)) else {
            self.figures.uncounted += 1;
            return;
        };
        if let Some(count) = self.ids.get_mut(&key) {
            *count += 1;
            self.figures.repeats += 1;
        } else if self.ids.len() < MAX_IDS {
            self.ids.insert(key, 1);
            self.figures.unique += 1;
        } else {
            self.figures.uncounted += 1;
        }
    }

    fn key(&self, id: &str) -> [u64; 2] {
        [self.hasher.hash_one(id), self.hasher.hash_one((id, 1))]
    }

    pub(super) fn delivered(&self, id: &str) -> u32 {
        self.ids.get(&self.key(id)).copied().unwrap_or(0)
    }

    pub(super) fn stats(&self, period: Duration) -> Stats {
        Stats {
            most_in_window: self.most_in(period),
            ..self.figures.clone()
        }
    }

    /// Arrivals are in order, so two fingers are enough.
    fn most_in(&self, period: Duration) -> u64 {
        let mut first = 0;
        let mut most = 0;
        for (index, &at) in self.arrivals.iter().enumerate() {
            while at.duration_since(self.arrivals[first]) >= period {
                first += 1;
                if first == index {
                    break;
                }
            }
            most = most.max(index - first + 1);
        }
        most as u64
    }

    pub(super) fn received(&self, limit: usize) -> Vec<Received> {
        self.kept
            .iter()
            .skip(self.kept.len().saturating_sub(limit))
            .cloned()
            .collect()
    }
}

/// The id by which a payload tells repeats: of any shape.
pub(super) fn external_id(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Event<'a> {
        #[serde(borrow)]
        external_id: Option<Cow<'a, str>>,
        #[serde(borrow)]
        tags: Option<Tags<'a>>,
    }
    #[derive(Deserialize)]
    struct Tags<'a> {
        #[serde(borrow)]
        event_id: Option<Cow<'a, str>>,
    }
    let event = match serde_json::from_slice::<Event<'_>>(body) {
        Ok(event) => event,
        Err(_) => serde_json::from_slice::<Vec<Event<'_>>>(body).ok()?.pop()?,
    };
    event
        .external_id
        .or_else(|| event.tags?.event_id)
        .map(Cow::into_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_found_in_every_shape() {
        assert_eq!(
            external_id(br#"{"external_id":"a","severity":1}"#).as_deref(),
            Some("a")
        );
        assert_eq!(
            external_id(br#"[{"tags":{"event_id":"b"}}]"#).as_deref(),
            Some("b")
        );
        assert_eq!(external_id(b"no"), None);
    }

    #[test]
    fn the_fullest_window_is_found() {
        let mut ledger = Ledger::default();
        let start = Instant::now();
        for at in [0, 10, 500, 1000, 1001, 1002, 3000] {
            ledger.arrivals.push_back(start + Duration::from_millis(at));
        }
        assert_eq!(ledger.most_in(Duration::from_secs(1)), 5);
        assert_eq!(ledger.most_in(Duration::from_millis(1)), 1);
        assert_eq!(ledger.most_in(Duration::from_secs(10)), 7);
    }

    #[test]
    fn memory_is_bounded_and_repeats_are_told() {
        let mut ledger = Ledger::default();
        for index in 0..2 * MAX_KEPT {
            let request = Request {
                at: Timestamp::UNIX_EPOCH,
                external_id: Some((index / 2).to_string()),
                idempotency_key: None,
                traceparent: None,
                body: Bytes::from_static(b"{}"),
            };
            ledger.answered(request, 200);
        }
        assert_eq!(ledger.received(usize::MAX).len(), MAX_KEPT);
        assert_eq!(
            (ledger.figures.unique, ledger.figures.repeats),
            (1000, 1000)
        );
        assert_eq!(ledger.delivered("7"), 2);
    }
}

//! What the server knows of the alert queue without looking at the disk: which alerts wait, which
//! wait for their next attempt, and who holds which. No I/O.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

/// The most bytes of waiting alerts that are kept in memory beside the disk.
const CACHE_BYTES: usize = 16 << 20;
/// The most bytes of elements that one call claims; a single alert may be larger.
const CLAIM_BYTES: u64 = 8 << 20;

/// An alert that waits or is held.
#[derive(Clone, Debug)]
pub(super) struct Waiting {
    /// Its row.
    pub(super) id: i64,
    /// Attempts so far.
    pub(super) attempts: u32,
    /// Replays so far.
    pub(super) replays: u32,
    /// When it was decided, in µs.
    pub(super) created_at: i64,
    /// When its next attempt is due, in µs of [`super::shared::Clock`]; `None` for the first.
    pub(super) due: Option<i64>,
    /// The element's length in bytes.
    pub(super) bytes: u32,
    /// The element, where it is in memory.
    pub(super) element: Option<Arc<[u8]>>,
}

#[derive(Debug)]
struct Held {
    worker: Arc<str>,
    alert: Waiting,
    /// Its settlement is on its way to the disk: nobody takes it over now.
    settling: bool,
}

/// The queue in memory.
#[derive(Debug, Default)]
pub(super) struct AlertState {
    waiting: VecDeque<Waiting>,
    retries: BTreeMap<(i64, i64), Waiting>,
    claims: HashMap<u64, Held>,
    cached: usize,
    last_id: i64,
    last_claim: u64,
}

impl AlertState {
    /// Claims get numbers above this one.
    pub(super) fn start_claims_at(&mut self, number: u64) {
        self.last_claim = number;
    }

    /// Alerts that wait, for their first or their next attempt.
    pub(super) fn depth(&self) -> u64 {
        (self.waiting.len() + self.retries.len()) as u64
    }

    /// Alerts that wait for their next attempt.
    pub(super) fn retrying(&self) -> u64 {
        self.retries.len() as u64
    }

    /// Whether an alert waits that need not wait for its time.
    pub(super) fn has_fresh(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Whether a claim is out.
    pub(super) fn is_held(&self, claim: u64) -> bool {
        self.claims.contains_key(&claim)
    }

    /// Alerts that are claimed.
    pub(super) fn claimed(&self) -> u64 {
        self.claims.len() as u64
    }

    /// Alerts that one worker holds.
    pub(super) fn held_by(&self, worker: &str) -> u64 {
        self.claims
            .values()
            .filter(|held| &*held.worker == worker)
            .count() as u64
    }

    /// The highest row number that was ever added.
    pub(super) fn last_id(&self) -> i64 {
        self.last_id
    }

    /// When the oldest alert was decided that waits for its first and for its next attempt, in µs.
    pub(super) fn oldest(&self) -> (Option<i64>, Option<i64>) {
        let retry = self.retries.values().map(|alert| alert.created_at).min();
        (self.waiting.front().map(|alert| alert.created_at), retry)
    }

    /// When the next retry is due, in µs.
    pub(super) fn next_due(&self) -> Option<i64> {
        self.retries.first_key_value().map(|(&(due, _), _)| due)
    }

    /// Adds an alert where it belongs: by its due time, else at the end.
    pub(super) fn add(&mut self, mut alert: Waiting) {
        self.last_id = self.last_id.max(alert.id);
        if let Some(element) = &alert.element {
            if self.cached + element.len() > CACHE_BYTES {
                alert.element = None;
            } else {
                self.cached += element.len();
            }
        }
        if let Some(due) = alert.due {
            self.retries.insert((due, alert.id), alert);
            return;
        }
        // Nearly always the very end; a returned alert goes back to where its age belongs.
        let newer = self.waiting.back().is_some_and(|last| last.id > alert.id);
        let place = if newer {
            self.waiting.partition_point(|other| other.id < alert.id)
        } else {
            self.waiting.len()
        };
        self.waiting.insert(place, alert);
    }

    /// Claims up to `max`, and no more than fit into memory together: retries that are due at `now`
    /// (µs) first, then the oldest.
    pub(super) fn claim(&mut self, worker: &Arc<str>, max: usize, now: i64) -> Vec<(u64, Waiting)> {
        let mut claimed = Vec::new();
        let mut bytes = 0;
        while claimed.len() < max {
            let due = self.next_due().is_some_and(|due| due <= now);
            let next = if due {
                self.retries.first_key_value().map(|(_, alert)| alert)
            } else {
                self.waiting.front()
            };
            let Some(next) = next else { break };
            bytes += u64::from(next.bytes);
            if bytes > CLAIM_BYTES && !claimed.is_empty() {
                break;
            }
            let next = if due {
                self.retries.pop_first().map(|(_, alert)| alert)
            } else {
                self.waiting.pop_front()
            };
            let alert = next.expect("it was looked at above");
            if let Some(element) = &alert.element {
                self.cached -= element.len();
            }
            self.last_claim += 1;
            let held = Held {
                worker: Arc::clone(worker),
                alert: alert.clone(),
                settling: false,
            };
            self.claims.insert(self.last_claim, held);
            claimed.push((self.last_claim, alert));
        }
        claimed
    }

    /// The alert of a claim, which from now on nobody takes over; `None` where it is not out.
    pub(super) fn begin_settling(&mut self, claim: u64) -> Option<Waiting> {
        let held = self.claims.get_mut(&claim)?;
        held.settling = true;
        Some(held.alert.clone())
    }

    /// The settlement failed: the claim is as before.
    pub(super) fn stop_settling(&mut self, claim: u64) {
        if let Some(held) = self.claims.get_mut(&claim) {
            held.settling = false;
        }
    }

    /// Ends a claim and returns its alert.
    pub(super) fn end(&mut self, claim: u64) -> Option<Waiting> {
        self.claims.remove(&claim).map(|held| held.alert)
    }

    /// Returns a claim to the head of the queue; nothing was attempted.
    pub(super) fn give_back(&mut self, claim: u64) {
        if let Some(mut alert) = self.end(claim) {
            alert.due = None;
            self.add(alert);
        }
    }

    /// Returns what workers hold for whom `is_dead` is true. The number of alerts.
    pub(super) fn take_over(&mut self, is_dead: impl Fn(&str) -> bool) -> u64 {
        let dead: Vec<u64> = self
            .claims
            .iter()
            .filter(|(_, held)| !held.settling && is_dead(&held.worker))
            .map(|(&claim, _)| claim)
            .collect();
        for &claim in &dead {
            self.give_back(claim);
        }
        dead.len() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alert(id: i64, due: Option<i64>) -> Waiting {
        Waiting {
            id,
            attempts: 0,
            replays: 0,
            created_at: id,
            due,
            bytes: 0,
            element: None,
        }
    }

    fn ids(claimed: &[(u64, Waiting)]) -> Vec<i64> {
        claimed.iter().map(|(_, alert)| alert.id).collect()
    }

    #[test]
    fn due_retries_come_first_and_later_ones_wait() {
        let mut state = AlertState::default();
        for waiting in [
            alert(1, None),
            alert(2, None),
            alert(3, Some(50)),
            alert(4, Some(150)),
        ] {
            state.add(waiting);
        }
        let worker: Arc<str> = "w".into();
        let claimed = state.claim(&worker, 2, 100);
        assert_eq!(ids(&claimed), [3, 1]);
        assert_eq!(
            (state.depth(), state.retrying(), state.claimed()),
            (2, 1, 2)
        );
        state.give_back(claimed[1].0);
        state.give_back(claimed[0].0);
        assert_eq!(ids(&state.claim(&worker, 9, 100)), [1, 2, 3]);
        assert_eq!(state.next_due(), Some(150));
    }

    #[test]
    fn a_claim_ends_where_its_elements_are_large() {
        let mut state = AlertState::default();
        let three_mib = 3 << 20;
        for id in 1..=5 {
            let due = (id == 4).then_some(50);
            let bytes = if id == 3 { 9 << 20 } else { three_mib };
            state.add(Waiting {
                bytes,
                ..alert(id, due)
            });
        }
        let worker: Arc<str> = "w".into();
        let mut claims = std::iter::from_fn(|| {
            let claimed = ids(&state.claim(&worker, 9, 100));
            (!claimed.is_empty()).then_some(claimed)
        });
        assert_eq!(claims.next(), Some(vec![4, 1]));
        assert_eq!(claims.next(), Some(vec![2]));
        assert_eq!(
            claims.next(),
            Some(vec![3]),
            "larger than all together may be"
        );
        assert_eq!(claims.next(), Some(vec![5]));
        assert_eq!(claims.next(), None);
        assert_eq!(state.claimed(), 5);
    }

    #[test]
    fn only_the_dead_lose_their_claims() {
        let mut state = AlertState::default();
        state.add(alert(1, None));
        state.add(alert(2, None));
        let claimed = state.claim(&"w".into(), 9, 0);
        state.begin_settling(claimed[0].0);
        assert_eq!(state.take_over(|_| true), 1);
        assert!(state.begin_settling(claimed[1].0).is_none());
        assert_eq!(state.end(claimed[0].0).map(|alert| alert.id), Some(1));
    }
}

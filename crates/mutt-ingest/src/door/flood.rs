//! Flood control: how many events of one sender are taken, so that one mad device cannot drown the
//! others.
//!
//! A token bucket per source address in a table of fixed size. Where it is full, the address whose
//! bucket is nearest to being full is forgotten: it would pass anyway, so that somebody who invents
//! addresses displaces those who invent addresses, and not a device that floods. Knows neither
//! messages nor listeners' sockets.

use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use mutt_engine::Dynamic;
use mutt_engine::reports::FloodReport;
use parking_lot::Mutex;

use super::notices::{Notice, NoticeKind};
use super::senders::{OwnLimits, Sender};
use crate::metrics::Listener;

/// Source addresses whose buckets are kept, in sets that each address is assigned to by a secret hash.
const SETS: usize = 8_192;
const WAYS: usize = 8;
/// Locks that the sets are divided among.
const SHARDS: usize = 64;
/// Floods that are announced and shown at a time; further ones are limited and counted only.
const SHOWN: usize = 1_024;
/// A flood has ended when for so long nothing was beyond the limit.
const QUIET: Duration = Duration::from_secs(10);

/// What becomes of events beyond a sender's limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FloodAction {
    /// They are dropped and counted.
    #[default]
    Drop,
    /// One in so many is kept, and marked; the others are dropped and counted.
    Sample,
    /// They are kept, and marked.
    Mark,
}

impl FloodAction {
    /// The words of `sender_flood_action`.
    pub const WORDS: [(&'static str, Self); 3] = [
        ("drop", Self::Drop),
        ("sample", Self::Sample),
        ("mark", Self::Mark),
    ];

    /// The action that a word names.
    pub fn named(word: &str) -> Option<Self> {
        let found = Self::WORDS.into_iter().find(|&(name, _)| name == word);
        found.map(|(_, action)| action)
    }
}

/// What one sender may send.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Limits {
    /// Events per second; 0 is no limit.
    pub(super) rate: f64,
    /// Seconds of `rate` that may come at once.
    pub(super) burst: f64,
    pub(super) action: FloodAction,
    /// One in so many is kept where it is sampled.
    pub(super) sample: u64,
}

impl Limits {
    /// No limit.
    pub(super) const NONE: Self = Self {
        rate: 0.0,
        burst: 1.0,
        action: FloodAction::Drop,
        sample: 1,
    };

    /// Those that hold for everybody.
    pub(super) fn of(dynamic: &Dynamic) -> Self {
        Self {
            rate: dynamic.number("sender_max_rate"),
            burst: dynamic.number("sender_burst"),
            action: FloodAction::named(dynamic.text("sender_flood_action")).unwrap_or_default(),
            sample: dynamic.integer("sender_flood_sample"),
        }
    }

    /// These, where the sender has none of its own.
    pub(super) fn with(self, own: OwnLimits) -> Self {
        Self {
            rate: own.max_rate.map_or(self.rate, |rate| rate as f64),
            burst: own.burst.map_or(self.burst, |burst| burst as f64),
            action: own.action.unwrap_or(self.action),
            sample: own.sample.unwrap_or(self.sample),
        }
    }

    /// Whether there is no limit.
    pub(super) fn is_none(&self) -> bool {
        self.rate <= 0.0
    }

    /// The most tokens of a bucket.
    fn capacity(&self) -> f64 {
        (self.rate * self.burst).max(1.0)
    }
}

/// What is to be done with one event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(super) keep: bool,
    /// Whether it is beyond the limit and says so.
    pub(super) mark: bool,
    /// Whether its sender begins to flood with it.
    pub(super) begins: bool,
}

impl Verdict {
    /// Within the limit.
    pub(super) const PASS: Self = Self {
        keep: true,
        mark: false,
        begins: false,
    };
}

/// The state of one address.
#[derive(Clone, Debug)]
struct Bucket {
    address: IpAddr,
    tokens: f64,
    capacity: f64,
    rate: f64,
    /// When `tokens` was right, in seconds since the start.
    at: f64,
    /// Events beyond the limit since it was last within.
    beyond: u64,
    flood: Option<Flood>,
}

#[derive(Clone, Copy, Debug)]
struct Flood {
    /// When it began, and when something was beyond the limit last, in seconds since the start.
    began: f64,
    last: f64,
    kept: u64,
    dropped: u64,
}

impl Bucket {
    fn new(address: IpAddr, at: f64) -> Self {
        Self {
            address,
            tokens: f64::INFINITY,
            capacity: 1.0,
            rate: 1.0,
            at,
            beyond: 0,
            flood: None,
        }
    }

    /// Seconds until it is full: what forgetting it would forget.
    fn until_full(&self, now: f64) -> f64 {
        (self.capacity - self.tokens) / self.rate - (now - self.at)
    }

    fn judge(&mut self, limits: &Limits, now: f64) -> Verdict {
        self.capacity = limits.capacity();
        self.rate = limits.rate;
        let refill = (now - self.at).max(0.0) * limits.rate;
        self.tokens = (self.tokens + refill).min(self.capacity);
        self.at = self.at.max(now);
        if self
            .flood
            .is_some_and(|flood| now - flood.last > 2.0 * QUIET.as_secs_f64())
        {
            // Nobody watched its end: it was one flood too many to be shown.
            self.flood = None;
        }
        if self.tokens >= 1.0 {
            self.tokens -= 1.0;
            if let Some(flood) = &mut self.flood {
                flood.kept += 1;
            }
            return Verdict::PASS;
        }
        let begins = self.flood.is_none();
        let flood = self.flood.get_or_insert(Flood {
            began: now,
            last: now,
            kept: 0,
            dropped: 0,
        });
        flood.last = now;
        self.beyond += 1;
        let keep = match limits.action {
            FloodAction::Drop => false,
            FloodAction::Sample => self.beyond.is_multiple_of(limits.sample.max(1)),
            FloodAction::Mark => true,
        };
        if keep {
            flood.kept += 1;
        } else {
            flood.dropped += 1;
        }
        Verdict {
            keep,
            mark: keep,
            begins,
        }
    }
}

type Set = [Option<Bucket>; WAYS];

/// Everybody's buckets.
pub(crate) struct Floods {
    start: Instant,
    /// Secret, so that nobody can aim at a set.
    hash: RandomState,
    /// Empty until the first look: without a limit there is no table.
    shards: Vec<Mutex<Vec<Set>>>,
    shown: Mutex<Vec<Shown>>,
}

/// A flood that people are told of.
struct Shown {
    address: IpAddr,
    host: String,
    listener: Listener,
    began_at: Timestamp,
    /// Counts at the last look, and the rates up to it.
    seen: (f64, u64, u64),
    per_second: (f64, f64),
}

impl Floods {
    pub(super) fn new(start: Instant) -> Self {
        Self {
            start,
            hash: RandomState::new(),
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            shown: Mutex::default(),
        }
    }

    fn seconds(&self, now: Instant) -> f64 {
        now.saturating_duration_since(self.start).as_secs_f64()
    }

    /// Judges one event of this address. Takes one of its tokens where there is one.
    pub(super) fn judge(&self, address: IpAddr, limits: &Limits, now: Instant) -> Verdict {
        let now = self.seconds(now);
        self.with_set(address, |set| {
            let known = |slot: &Option<Bucket>| {
                slot.as_ref()
                    .is_some_and(|bucket| bucket.address == address)
            };
            let slot = set.iter().position(known).unwrap_or_else(|| {
                let slot = least_missed(set, now);
                set[slot] = Some(Bucket::new(address, now));
                slot
            });
            match &mut set[slot] {
                Some(bucket) => bucket.judge(limits, now),
                None => Verdict::PASS,
            }
        })
    }

    fn with_set<T>(&self, address: IpAddr, work: impl FnOnce(&mut Set) -> T) -> T {
        let hash = self.hash.hash_one(address);
        #[allow(clippy::cast_possible_truncation, reason = "any bits will do")]
        let hash = hash as usize;
        let mut shard = self.shards[hash % SHARDS].lock();
        if shard.is_empty() {
            shard.resize_with(SETS / SHARDS, Set::default);
        }
        work(&mut shard[hash / SHARDS % (SETS / SHARDS)])
    }

    /// Notes that a sender, shown as `host`, began to flood. `None` where so many do that this one is
    /// not announced.
    pub(super) fn begun(
        &self,
        address: IpAddr,
        host: &str,
        listener: Listener,
        limits: &Limits,
        now: Instant,
    ) -> Option<Notice> {
        let mut shown = self.shown.lock();
        let position = shown.iter().position(|flood| flood.address == address);
        if position.is_some() || shown.len() >= SHOWN {
            return None;
        }
        shown.push(Shown {
            address,
            host: host.to_owned(),
            listener,
            began_at: Timestamp::now(),
            seen: (self.seconds(now), 0, 0),
            per_second: (0.0, 0.0),
        });
        Some(Notice {
            host: host.to_owned(),
            address,
            listener,
            kind: NoticeKind::FloodBegins {
                limit: limits.rate,
                action: limits.action,
                sample: limits.sample,
            },
        })
    }

    /// Looks at the floods under way: renews their rates, and returns those that ended.
    pub(super) fn look(&self, now: Instant) -> Vec<Notice> {
        let seconds = self.seconds(now);
        let mut ended = Vec::new();
        self.shown.lock().retain_mut(|shown| {
            let flood = self.with_set(shown.address, |set| {
                let bucket = set
                    .iter_mut()
                    .flatten()
                    .find(|bucket| bucket.address == shown.address)?;
                let flood = bucket.flood?;
                if seconds - flood.last >= QUIET.as_secs_f64() {
                    bucket.flood = None;
                }
                Some(flood)
            });
            let (at, kept, dropped) = shown.seen;
            let over = flood.is_none_or(|flood| seconds - flood.last >= QUIET.as_secs_f64());
            // Where it was displaced, what was seen last is what is known.
            let (now_kept, now_dropped) = flood.map_or((kept, dropped), |f| (f.kept, f.dropped));
            if over {
                let lasted = flood.map_or(seconds - at, |flood| flood.last - flood.began);
                ended.push(Notice {
                    host: std::mem::take(&mut shown.host),
                    address: shown.address,
                    listener: shown.listener,
                    kind: NoticeKind::FloodEnds {
                        seconds: lasted,
                        kept: now_kept,
                        dropped: now_dropped,
                    },
                });
                return false;
            }
            let elapsed = (seconds - at).max(0.001);
            shown.per_second = (
                now_kept.saturating_sub(kept) as f64 / elapsed,
                now_dropped.saturating_sub(dropped) as f64 / elapsed,
            );
            shown.seen = (seconds, now_kept, now_dropped);
            true
        });
        ended
    }

    /// How many senders flood now, as far as they are shown.
    pub(super) fn count(&self) -> usize {
        self.shown.lock().len()
    }

    /// The worst floods under way, those that send most first.
    pub(super) fn worst(&self, most: usize) -> Vec<FloodReport> {
        let mut floods: Vec<_> = self
            .shown
            .lock()
            .iter()
            .map(|shown| FloodReport {
                address: shown.address.to_string(),
                hostname: shown.host.clone(),
                listener: shown.listener.name().to_owned(),
                since: shown.began_at,
                kept_per_second: shown.per_second.0,
                dropped_per_second: shown.per_second.1,
                kept: shown.seen.1,
                dropped: shown.seen.2,
            })
            .collect();
        let rate = |flood: &FloodReport| flood.kept_per_second + flood.dropped_per_second;
        floods.sort_by(|one, other| rate(other).total_cmp(&rate(one)));
        floods.truncate(most);
        floods
    }
}

/// The slot of a set that is free, or whose loss matters least.
fn least_missed(set: &Set, now: f64) -> usize {
    let weight = |slot: &Option<Bucket>| match slot {
        None => (false, f64::NEG_INFINITY),
        Some(bucket) => (bucket.flood.is_some(), bucket.until_full(now)),
    };
    let mut least = 0;
    for slot in 1..WAYS {
        let ((floods, full), (least_floods, least_full)) =
            (weight(&set[slot]), weight(&set[least]));
        if (floods, full.total_cmp(&least_full)) < (least_floods, std::cmp::Ordering::Equal) {
            least = slot;
        }
    }
    least
}

/// The limits of one sender, `None` where it has none.
pub(super) fn limits_of(everybody: &Limits, sender: &Sender) -> Option<Limits> {
    let limits = everybody.with(sender.limits);
    (!limits.is_none()).then_some(limits)
}

#[cfg(test)]
#[path = "flood_tests.rs"]
mod tests;

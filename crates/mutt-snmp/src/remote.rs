//! Clocks of the engines that send traps, and what was seen of them lately: how a replayed trap is
//! told from a new one.
//!
//! A trap is made by the clock of its sender (RFC 3414, 3.2, step 7b): the engine's count of boots
//! and its time only go up, and a message more than 150 s older than the newest is refused. The RFC
//! accepts a copy within those 150 s; MUTT does not: it remembers the authentication code of every
//! message it took until its time is too old anyway.
//!
//! Memory is bounded, and no bound opens a gap. Where engines send more than is remembered, the
//! oldest seconds of the one that sends are forgotten and from then on refused as too old:
//! its window gets shorter than 150 s, as far as its own rate makes it. An engine, once known, is
//! never forgotten, because its oldest captured trap would then pass for a first one; beyond
//! [`MAX_ENGINES`] new ones are refused. Only messages whose authentication code was verified come
//! here, so none of this can be filled without a user's password. What a restart forgets is the
//! RFC's own gap: the first message of an engine sets its clock.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};
use std::hash::{BuildHasher as _, RandomState};
use std::time::{Duration, Instant};

use crate::identity::{MAX_BOOTS, TIME_WINDOW};

/// The most engines whose clocks are kept, some 80 bytes each.
pub(crate) const MAX_ENGINES: usize = 500_000;

/// The most messages remembered of all remote engines together, and as many again of informs, some 40
/// bytes each: what 150 s bring at 6,600 a second.
pub(crate) const MAX_SEEN: usize = 1_000_000;

/// How often all engines are gone through for what need not be remembered any longer.
const SWEEP: Duration = Duration::from_secs(5);

/// Whether a message is to be believed as far as its time goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Freshness {
    Fresh,
    /// Made too long ago, or before the engine's last start.
    Late,
    /// Seen before.
    Replayed,
    /// Its engine is not known, and no more can be.
    TooManyEngines,
}

/// Messages seen within the window of one engine.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    codes: HashSet<u64>,
    by_time: BinaryHeap<Reverse<(u32, u64)>>,
    /// What was made until then is refused: it may have been forgotten.
    floor: Option<u32>,
}

impl Seen {
    /// Whether a message made at this time, with this code, is new.
    pub(crate) fn check(&self, time: u32, code: u64) -> Freshness {
        if self.codes.contains(&code) {
            Freshness::Replayed
        } else if self.floor.is_some_and(|floor| time <= floor) {
            Freshness::Late
        } else {
            Freshness::Fresh
        }
    }

    /// Remembers a message that is new.
    pub(crate) fn remember(&mut self, time: u32, code: u64) {
        if self.codes.insert(code) {
            self.by_time.push(Reverse((time, code)));
        }
    }

    /// Forgets the oldest beyond so many, and refuses what was made until then.
    pub(crate) fn shorten(&mut self, most: usize) {
        while self.len() > most {
            self.forget_oldest();
        }
    }

    /// Forgets what was made before this time, which is refused for its age alone.
    pub(crate) fn forget_before(&mut self, time: u32) {
        while let Some(Reverse((made, code))) = self.by_time.peek().copied()
            && made < time
        {
            self.by_time.pop();
            self.codes.remove(&code);
        }
    }

    fn forget_oldest(&mut self) {
        if let Some(Reverse((made, code))) = self.by_time.pop() {
            self.codes.remove(&code);
            self.floor = self.floor.max(Some(made));
        }
    }

    fn len(&self) -> usize {
        self.by_time.len()
    }
}

/// An engine that sends traps.
#[derive(Debug)]
struct Remote {
    boots: u32,
    /// The greatest time it sent, and when that came.
    latest: u32,
    at: Instant,
    seen: Box<Seen>,
}

impl Remote {
    /// What its clock shows now, as far as can be known.
    fn time(&self, now: Instant) -> u32 {
        let passed = now.saturating_duration_since(self.at).as_secs();
        let time = u64::from(self.latest) + passed;
        u32::try_from(time).unwrap_or(MAX_BOOTS).min(MAX_BOOTS)
    }

    fn oldest_allowed(&self, now: Instant) -> u32 {
        self.time(now).saturating_sub(TIME_WINDOW)
    }
}

/// All engines that send traps.
pub(crate) struct Remotes {
    /// By a keyed hash of the engine ID: nobody can make two that collide, and by chance 500,000 do
    /// once in a hundred million.
    engines: HashMap<u64, Remote>,
    hasher: RandomState,
    seen: usize,
    max_seen: usize,
    max_engines: usize,
    swept: Option<Instant>,
}

impl Remotes {
    pub(crate) fn new() -> Self {
        Self::bounded(MAX_ENGINES, MAX_SEEN)
    }

    fn bounded(max_engines: usize, max_seen: usize) -> Self {
        Self {
            engines: HashMap::new(),
            hasher: RandomState::new(),
            seen: 0,
            max_seen,
            max_engines,
            swept: None,
        }
    }

    /// Whether an authentic message of this engine is new. Changes nothing.
    pub(crate) fn check(
        &self,
        engine_id: &[u8],
        boots: u32,
        time: u32,
        code: u64,
        now: Instant,
    ) -> Freshness {
        if boots == MAX_BOOTS {
            return Freshness::Late;
        }
        let Some(remote) = self.engines.get(&self.hasher.hash_one(engine_id)) else {
            return if self.engines.len() < self.max_engines {
                Freshness::Fresh
            } else {
                Freshness::TooManyEngines
            };
        };
        if boots > remote.boots {
            Freshness::Fresh
        } else if boots < remote.boots || time < remote.oldest_allowed(now) {
            Freshness::Late
        } else {
            remote.seen.check(time, code)
        }
    }

    /// Remembers a message that was found fresh, and sets the engine's clock by it.
    pub(crate) fn remember(
        &mut self,
        engine_id: &[u8],
        boots: u32,
        time: u32,
        code: u64,
        now: Instant,
    ) {
        let key = self.hasher.hash_one(engine_id);
        let remote = self.engines.entry(key).or_insert_with(|| Remote {
            boots,
            latest: time,
            at: now,
            seen: Box::default(),
        });
        let before = remote.seen.len();
        if boots > remote.boots {
            *remote.seen = Seen::default();
            (remote.boots, remote.latest, remote.at) = (boots, time, now);
        } else if time > remote.latest {
            (remote.latest, remote.at) = (time, now);
        }
        let oldest = remote.oldest_allowed(now);
        remote.seen.forget_before(oldest);
        remote.seen.remember(time, code);
        self.seen = self.seen + remote.seen.len() - before;
        if self.seen > self.max_seen {
            self.sweep(now);
            self.shorten(key);
        }
    }

    /// Forgets, of all engines, what is too old anyway.
    fn sweep(&mut self, now: Instant) {
        if self
            .swept
            .is_some_and(|swept| now.saturating_duration_since(swept) < SWEEP)
        {
            return;
        }
        self.swept = Some(now);
        self.seen = 0;
        for remote in self.engines.values_mut() {
            let oldest = remote.oldest_allowed(now);
            remote.seen.forget_before(oldest);
            self.seen += remote.seen.len();
        }
    }

    /// Shortens the window of one engine until all is within the bound, or nothing of it is left.
    fn shorten(&mut self, key: u64) {
        let Some(remote) = self.engines.get_mut(&key) else {
            return;
        };
        let before = remote.seen.len();
        let beyond = self.seen.saturating_sub(self.max_seen);
        remote.seen.shorten(before.saturating_sub(beyond));
        self.seen -= before - remote.seen.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENGINE: &[u8] = b"\x80\0\0\0\x05engine";

    fn take(remotes: &mut Remotes, boots: u32, time: u32, code: u64, now: Instant) -> Freshness {
        let freshness = remotes.check(ENGINE, boots, time, code, now);
        if freshness == Freshness::Fresh {
            remotes.remember(ENGINE, boots, time, code, now);
        }
        freshness
    }

    #[test]
    fn a_trap_is_taken_once_within_the_window_and_never_after() {
        let (mut remotes, start) = (Remotes::new(), Instant::now());
        assert_eq!(take(&mut remotes, 3, 1_000, 1, start), Freshness::Fresh);
        assert_eq!(take(&mut remotes, 3, 1_000, 1, start), Freshness::Replayed);
        assert_eq!(take(&mut remotes, 3, 1_000, 2, start), Freshness::Fresh);
        // Late by the network, and in the window.
        assert_eq!(take(&mut remotes, 3, 850, 3, start), Freshness::Fresh);
        assert_eq!(take(&mut remotes, 3, 849, 4, start), Freshness::Late);
        // The engine's clock goes on while it is silent.
        let later = start + Duration::from_secs(151);
        assert_eq!(take(&mut remotes, 3, 1_000, 5, later), Freshness::Late);
        assert_eq!(take(&mut remotes, 3, 1_001, 5, later), Freshness::Fresh);
        // A clock that jumps ahead takes the window with it; a restart begins anew.
        assert_eq!(take(&mut remotes, 3, 90_000, 6, later), Freshness::Fresh);
        assert_eq!(take(&mut remotes, 3, 1_100, 7, later), Freshness::Late);
        assert_eq!(take(&mut remotes, 4, 0, 8, later), Freshness::Fresh);
        assert_eq!(take(&mut remotes, 3, 90_001, 9, later), Freshness::Late);
        assert_eq!(take(&mut remotes, MAX_BOOTS, 1, 9, later), Freshness::Late);
    }

    #[test]
    fn what_is_forgotten_for_want_of_room_is_refused() {
        let (mut remotes, now) = (Remotes::bounded(10, 100), Instant::now());
        for code in 0..300 {
            let time = 1_000 + u32::try_from(code / 10).unwrap();
            assert_eq!(take(&mut remotes, 1, time, code, now), Freshness::Fresh);
        }
        assert_eq!(remotes.seen, 100);
        for code in 0..300 {
            let time = 1_000 + u32::try_from(code / 10).unwrap();
            assert_ne!(take(&mut remotes, 1, time, code, now), Freshness::Fresh);
        }
        // Another engine finds no room: then nothing of it is remembered, and its second is over.
        let other: &[u8] = b"another";
        remotes.remember(other, 1, 5, 1_000, now);
        assert_eq!(remotes.check(other, 1, 5, 1_000, now), Freshness::Late);
        assert_eq!(remotes.check(other, 1, 6, 1_001, now), Freshness::Fresh);
    }

    #[test]
    fn one_engine_cannot_be_remembered_without_end() {
        let mut seen = Seen::default();
        for code in 0..1_100 {
            seen.remember(u32::try_from(code).unwrap(), code);
            seen.shorten(1_000);
        }
        assert_eq!((seen.len(), seen.codes.len()), (1_000, 1_000));
        assert_eq!(seen.check(99, 99), Freshness::Late);
        assert_eq!(seen.check(100, 100), Freshness::Replayed);
    }

    #[test]
    fn known_engines_are_kept_and_new_ones_refused_when_there_are_too_many() {
        let (mut remotes, now) = (Remotes::bounded(2, 100), Instant::now());
        for engine in [&b"first"[..], b"second"] {
            remotes.remember(engine, 1, 1, 1, now);
        }
        assert_eq!(
            remotes.check(b"third", 1, 1, 1, now),
            Freshness::TooManyEngines
        );
        assert_eq!(remotes.check(b"first", 1, 1, 1, now), Freshness::Replayed);
        assert_eq!(remotes.check(b"second", 1, 2, 2, now), Freshness::Fresh);
    }
}

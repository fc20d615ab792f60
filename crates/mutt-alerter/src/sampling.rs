//! Which decided events those who watch get to see: every event has the same chance, whatever it
//! says and wherever it stands in its claim, so that what is measured on the sample holds for all.
//!
//! Bounds what showing costs: [`PER_CLAIM`] events of a claim and about [`PER_SECOND`] events a
//! second of a process. Knows nothing of rules or engines.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Events of one claim that are shown.
const PER_CLAIM: u64 = 100;

/// Events that a process shows in a second, from its second second under load on. People read fewer;
/// the rules' test bench keeps 2,000 a minute.
const PER_SECOND: u64 = 200;

/// Which events of one claim are shown: of every stretch of so many events one, at a place that only
/// chance knows. The same for the same seed, so that an event that is judged again is chosen again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sampling {
    every: u64,
    seed: u64,
}

impl Sampling {
    /// Nobody watches.
    pub const NONE: Self = Self { every: 0, seed: 0 };

    /// One event in `every` (at least 1).
    pub fn one_in(every: u64, seed: u64) -> Self {
        Self {
            every: every.max(1),
            seed,
        }
    }

    /// One event in so many is chosen; 0 for none.
    pub(crate) fn every(self) -> u64 {
        self.every
    }

    /// Whether the event at this place of the claim is chosen.
    pub(crate) fn chooses(self, at: usize) -> bool {
        match self.every {
            0 => false,
            1 => true,
            every => {
                let at = at as u64;
                at % every == mixed(self.seed ^ (at / every)) % every
            }
        }
    }
}

/// The finalizer of `SplitMix64`: every bit of the result depends on every bit of `value`.
fn mixed(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// Follows how much is decided, for all workers of a process.
#[derive(Debug, Default)]
pub(crate) struct Sampler {
    pace: Mutex<Option<Pace>>,
}

#[derive(Clone, Copy, Debug)]
struct Pace {
    since: Instant,
    events: u64,
    /// What the second before asks for.
    every: u64,
}

impl Sampler {
    /// What to choose of a claim of `events`.
    pub(crate) fn sampling(&self, events: usize) -> Sampling {
        let every = self.every(events as u64, Instant::now());
        Sampling::one_in(every, rand::random())
    }

    fn every(&self, events: u64, now: Instant) -> u64 {
        let mut pace = self.pace.lock();
        let pace = pace.get_or_insert(Pace {
            since: now,
            events: 0,
            every: 1,
        });
        let elapsed = now.saturating_duration_since(pace.since);
        if elapsed >= Duration::from_secs(1) {
            let millis = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
            let allowed = PER_SECOND.saturating_mul(millis) / 1000;
            *pace = Pace {
                since: now,
                events: 0,
                every: pace.events.div_ceil(allowed).max(1),
            };
        }
        pace.events += events;
        pace.every.max(events.div_ceil(PER_CLAIM))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_has_the_same_chance() {
        const SEEDS: u64 = 20_000;
        let mut chosen = [0_u32; 10];
        for seed in 0..SEEDS {
            let sampling = Sampling::one_in(5, mixed(seed));
            for (at, count) in chosen.iter_mut().enumerate() {
                *count += u32::from(sampling.chooses(at));
            }
        }
        // A fifth, give or take six standard deviations.
        for count in chosen {
            assert!((3_660..=4_340).contains(&count), "{chosen:?}");
        }
    }

    #[test]
    fn of_each_stretch_one_is_chosen() {
        let sampling = Sampling::one_in(20, 3);
        for stretch in 0..50 {
            let places = stretch * 20..(stretch + 1) * 20;
            assert_eq!(places.filter(|&at| sampling.chooses(at)).count(), 1);
        }
        assert!((0..100).all(|at| Sampling::one_in(1, 9).chooses(at)));
        assert!(!(0..100).any(|at| Sampling::NONE.chooses(at)));
    }

    #[test]
    fn under_load_fewer_are_chosen() {
        let sampler = Sampler::default();
        let start = Instant::now();
        assert_eq!(sampler.every(10, start), 1);
        assert_eq!(sampler.every(1_000, start), 10);
        for _ in 0..399 {
            sampler.every(10, start);
        }
        // 5,000 events within a second.
        let later = start + Duration::from_secs(1);
        assert_eq!(sampler.every(10, later), 25);
        assert_eq!(sampler.every(1_000, later), 25);
        // And then quiet again.
        assert_eq!(sampler.every(10, later + Duration::from_mins(1)), 1);
    }
}

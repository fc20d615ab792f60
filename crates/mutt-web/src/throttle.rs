//! Slows down whoever guesses keys: a bucket of failures for each address, which drains with time.
//! While it is full only keys that were right from there a while ago are looked at, so that one
//! script with an old key does not lock out everybody behind the same proxy or NAT. Knows nothing of
//! keys but their hashes.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Wrong keys that an address may show at once; the bucket holds no more.
const BURST: f64 = 10.0;
/// Wrong keys that an address may show per second after that.
const RATE: f64 = 0.2;
/// The most addresses that are remembered, and the most keys that were right.
const MOST: usize = 10_000;
/// Wrong keys of an address that are recognised: showing one again is a mistake, not a guess.
const RECOGNISED: usize = 4;
/// How long a key that was right passes a full bucket.
const TRUSTED: Duration = Duration::from_hours(1);
/// How old the note of a right key may grow before it is written anew.
const RENEWED: Duration = Duration::from_mins(5);

/// SHA-256 of what was shown.
type Hash = [u8; 32];

#[derive(Debug)]
struct Failures {
    count: f64,
    since: Instant,
    shown: [Option<Hash>; RECOGNISED],
}

impl Failures {
    fn drained(&self, now: Instant) -> f64 {
        (self.count - now.duration_since(self.since).as_secs_f64() * RATE).max(0.0)
    }
}

/// Who failed, and who did not.
#[derive(Debug, Default)]
pub struct Throttle {
    failures: Mutex<HashMap<IpAddr, Failures>>,
    right: Mutex<HashMap<(IpAddr, Hash), Instant>>,
}

impl Throttle {
    /// How long whoever shows this from that address has to wait, in seconds.
    pub fn wait(&self, address: IpAddr, shown: &Hash, now: Instant) -> Option<u64> {
        let over = self.failures.lock().get(&address)?.drained(now) - (BURST - 1.0);
        if over <= 0.0 || self.is_trusted(address, shown, now) {
            return None;
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "between 1 and 5, because the bucket holds no more than a burst"
        )]
        Some((over / RATE).ceil() as u64)
    }

    fn is_trusted(&self, address: IpAddr, shown: &Hash, now: Instant) -> bool {
        let right = self.right.lock();
        let at = right.get(&(address, *shown));
        at.is_some_and(|at| now.duration_since(*at) < TRUSTED)
    }

    /// What was shown is nobody's.
    pub fn failed(&self, address: IpAddr, shown: &Hash, now: Instant) {
        let mut failures = self.failures.lock();
        if failures.len() >= MOST && !failures.contains_key(&address) {
            failures.retain(|_, failures| failures.drained(now) > 0.0);
            if failures.len() >= MOST {
                // Nobody new is slowed down until there is room: rather that than forget the rest.
                return;
            }
        }
        let entry = failures.entry(address).or_insert(Failures {
            count: 0.0,
            since: now,
            shown: [None; RECOGNISED],
        });
        if entry.shown.contains(&Some(*shown)) {
            return;
        }
        entry.shown.rotate_right(1);
        entry.shown[0] = Some(*shown);
        entry.count = (entry.drained(now) + 1.0).min(BURST);
        entry.since = now;
    }

    /// What was shown is right.
    pub fn succeeded(&self, address: IpAddr, shown: &Hash, now: Instant) {
        let mut right = self.right.lock();
        let key = (address, *shown);
        if right
            .get(&key)
            .is_some_and(|at| now.duration_since(*at) < RENEWED)
        {
            return;
        }
        if right.len() >= MOST {
            right.retain(|_, at| now.duration_since(*at) < TRUSTED);
        }
        if right.len() < MOST {
            right.insert(key, now);
        }
    }
}

/// The address that failures are counted for: of IPv6 the network that one customer has.
pub fn counted(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let bits = address.to_bits() & (u128::MAX << 64);
            Ipv6Addr::from_bits(bits).into()
        }
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GUESSER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    fn guess(number: u8) -> Hash {
        [number; 32]
    }

    #[test]
    fn whoever_guesses_waits_and_is_forgiven() {
        let throttle = Throttle::default();
        let other = IpAddr::from([192, 0, 2, 2]);
        let start = Instant::now();
        for number in 0..10 {
            assert_eq!(throttle.wait(GUESSER, &guess(number), start), None);
            throttle.failed(GUESSER, &guess(number), start);
        }
        assert_eq!(throttle.wait(GUESSER, &guess(10), start), Some(5));
        assert_eq!(throttle.wait(other, &guess(10), start), None);
        let later = start + Duration::from_secs(6);
        assert_eq!(throttle.wait(GUESSER, &guess(11), later), None);
        throttle.failed(GUESSER, &guess(11), later);
        assert!(throttle.wait(GUESSER, &guess(12), later).is_some());
        let much_later = later + Duration::from_mins(1);
        assert_eq!(throttle.wait(GUESSER, &guess(12), much_later), None);
    }

    #[test]
    fn many_guesses_at_once_cost_no_more_than_a_burst() {
        let throttle = Throttle::default();
        let now = Instant::now();
        for number in 0..200 {
            throttle.failed(GUESSER, &guess(number), now);
        }
        assert_eq!(throttle.wait(GUESSER, &guess(201), now), Some(5));
    }

    #[test]
    fn an_old_key_shown_again_and_again_is_no_guessing() {
        let throttle = Throttle::default();
        let now = Instant::now();
        for _ in 0..100 {
            throttle.failed(GUESSER, &guess(1), now);
        }
        assert_eq!(throttle.wait(GUESSER, &guess(2), now), None);
    }

    #[test]
    fn a_key_that_was_right_passes_for_an_hour() {
        let throttle = Throttle::default();
        let start = Instant::now();
        throttle.succeeded(GUESSER, &guess(99), start);
        let fill = |now| (0..20).for_each(|number| throttle.failed(GUESSER, &guess(number), now));
        fill(start);
        assert_eq!(throttle.wait(GUESSER, &guess(99), start), None);
        assert!(throttle.wait(GUESSER, &guess(98), start).is_some());
        let later = start + TRUSTED;
        fill(later);
        assert!(throttle.wait(GUESSER, &guess(99), later).is_some());
    }

    #[test]
    fn addresses_are_bounded_and_networks_count_as_one() {
        let throttle = Throttle::default();
        let now = Instant::now();
        for number in 0..20_000_u32 {
            let address = IpAddr::from(number.to_be_bytes());
            throttle.failed(address, &guess(0), now);
            throttle.succeeded(address, &guess(1), now);
        }
        assert_eq!(throttle.failures.lock().len(), MOST);
        assert_eq!(throttle.right.lock().len(), MOST);
        let one: IpAddr = "2001:db8::1".parse().unwrap();
        let two: IpAddr = "2001:db8::2:3".parse().unwrap();
        let far: IpAddr = "2001:db8:0:1::1".parse().unwrap();
        assert_eq!(counted(one), counted(two));
        assert_ne!(counted(one), counted(far));
        let mapped: IpAddr = "::ffff:192.0.2.1".parse().unwrap();
        assert_eq!(counted(mapped), GUESSER);
    }
}

//! Identities.
//!
//! Ids are made without a system call and without a lock: the operating system seeds a generator
//! per thread, once.

use std::cell::Cell;
use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The identity of an event from receipt to delivery: a `UUIDv7` (RFC 9562), so that ids sort by time
/// of receipt and an index over them grows at its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EventId(Uuid);

impl EventId {
    /// A new id, made now.
    pub fn new() -> Self {
        Self::at(Timestamp::now())
    }

    /// A new id of an event that was received at this time. Of ids that one thread makes for the
    /// same millisecond, a later one sorts behind an earlier one.
    pub fn at(received_at: Timestamp) -> Self {
        // Before 1970 there were no events; 48 bits last until the year 10889.
        let millisecond = u64::try_from(received_at.as_millisecond()).unwrap_or(0);
        let tail = GENERATOR.with(|generator| {
            let mut state = generator.get().unwrap_or_else(Generator::seeded);
            let tail = state.tail(millisecond);
            generator.set(Some(state));
            tail
        });
        // RFC 9562, section 5.7: 48 bits of time, version, 12 bits, variant, 62 bits.
        let high = (tail >> 62) & 0xfff;
        let low = tail & ((1 << 62) - 1);
        let bits = u128::from(millisecond) << 80 | 7 << 76 | high << 64 | 0b10 << 62 | low;
        Self(Uuid::from_u128(bits))
    }

    /// The id with these 16 bytes.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }

    /// The 16 bytes of the id.
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// Writes the usual text form (36 characters) into `buffer` and returns it.
    pub fn encode<'a>(&self, buffer: &'a mut [u8; 36]) -> &'a str {
        self.0.hyphenated().encode_lower(buffer)
    }
}

thread_local! {
    static GENERATOR: Cell<Option<Generator>> = const { Cell::new(None) };
}

/// The 74 bits behind the time: random for the first id of a millisecond, then going up in random
/// steps (RFC 9562, section 6.2, method 2). Ids are unique, not secret, so a fast generator
/// (`SplitMix64` with a random step, 127 bits of seed) is enough.
#[derive(Clone, Copy)]
struct Generator {
    position: u64,
    step: u64,
    millisecond: u64,
    last: u128,
}

impl Generator {
    fn seeded() -> Self {
        // A random UUID brings 62 bits from the operating system in its second half.
        let random = || Uuid::now_v7().as_u64_pair().1 << 2;
        let position = random() ^ random().rotate_left(32);
        let step = (random() ^ random().rotate_left(32)) | 1;
        Self {
            position,
            step,
            millisecond: u64::MAX,
            last: 0,
        }
    }

    fn next(&mut self) -> u64 {
        self.position = self.position.wrapping_add(self.step);
        let mut mixed = self.position;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn tail(&mut self, millisecond: u64) -> u128 {
        if self.millisecond == millisecond {
            self.last += 1 + u128::from(self.next() >> 32);
        } else {
            self.millisecond = millisecond;
            // The top one of the 74 bits is left free, so that going up cannot overflow.
            self.last = (u128::from(self.next()) << 64 | u128::from(self.next())) >> 55;
        }
        self.last
    }
}

impl Default for EventId {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl FromStr for EventId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Uuid::parse_str(text).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn ids_are_version_7_unique_and_in_order() {
        let at = Timestamp::from_millisecond(1_795_266_000_123).unwrap();
        let ids: Vec<_> = (0..10_000).map(|_| EventId::at(at)).collect();
        assert!(ids.windows(2).all(|pair| pair[0] < pair[1]));
        for id in &ids {
            let uuid = Uuid::from_bytes(*id.as_bytes());
            assert_eq!(uuid.get_version_num(), 7);
            assert_eq!(uuid.get_variant(), uuid::Variant::RFC4122);
            assert_eq!(uuid.get_timestamp().unwrap().to_unix().0, 1_795_266_000);
        }
        let later = EventId::at(Timestamp::from_millisecond(1_795_266_000_124).unwrap());
        assert!(later > ids[9_999]);
    }

    #[test]
    fn threads_do_not_make_the_same_ids() {
        let at = Timestamp::UNIX_EPOCH;
        let threads: Vec<_> = (0..8)
            .map(|_| std::thread::spawn(move || (0..1_000).map(|_| EventId::at(at)).collect()))
            .collect();
        let ids: HashSet<EventId> = threads
            .into_iter()
            .flat_map(|thread| -> Vec<EventId> { thread.join().unwrap() })
            .collect();
        assert_eq!(ids.len(), 8_000);
    }

    #[test]
    fn text_and_back() {
        let id = EventId::new();
        assert_eq!(id.encode(&mut [0; 36]).parse(), Ok(id));
        assert_eq!(id.to_string().parse(), Ok(id));
    }
}

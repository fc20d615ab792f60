//! The numbers of records: each is given once, higher than all before, whatever the clock does and
//! whatever was removed.

use std::path::Path;

use jiff::Timestamp;
use mutt_engine::{EngineError, Result};
use parking_lot::Mutex;

use crate::mark::Mark;

const FILE: &str = "spool.numbers";
/// So many numbers are noted as given before the first of them is.
const BLOCK: u64 = 1 << 24;

pub(crate) struct Numbers(Mutex<State>);

struct State {
    next: u64,
    /// Numbers below this may have been given.
    mark: Mark,
}

impl Numbers {
    /// Goes on behind `last` and behind every number that was given before.
    ///
    /// # Errors
    /// `Unusable`.
    pub(crate) fn open(directory: &Path, last: u64) -> Result<Self> {
        let mark = Mark::open(directory, FILE)?;
        // A directory that was copied or restored does not know what was given since.
        let now = u64::try_from(Timestamp::now().as_microsecond()).unwrap_or(0);
        let next = now.max(last + 1).max(mark.get());
        Ok(Self(Mutex::new(State { next, mark })))
    }

    /// The next number.
    ///
    /// # Errors
    /// `Unavailable` where it cannot be noted; the next call tries again.
    pub(crate) fn next(&self) -> Result<u64> {
        let mut state = self.0.lock();
        if state.next >= state.mark.get() {
            let end = state.next + BLOCK;
            state.mark.set(end).map_err(|error| {
                EngineError::Unavailable(format!("noting the spool's numbers failed: {error}"))
            })?;
        }
        let number = state.next;
        state.next += 1;
        Ok(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_number_comes_twice_whatever_the_clock_says() {
        let directory = tempfile::tempdir().unwrap();
        let ahead = 1 << 52;
        let numbers = Numbers::open(directory.path(), ahead).unwrap();
        let mut last = ahead;
        for _ in 0..3 {
            let next = numbers.next().unwrap();
            assert!(next > last);
            last = next;
        }
        drop(numbers);
        // Nothing but the mark remembers, and by the clock it was in the future.
        let numbers = Numbers::open(directory.path(), 0).unwrap();
        assert!(numbers.next().unwrap() > last);
        // A mark that was lost: the clock is ahead of what was given by then.
        drop(numbers);
        std::fs::remove_file(directory.path().join(FILE)).unwrap();
        let before = u64::try_from(Timestamp::now().as_microsecond()).unwrap();
        let numbers = Numbers::open(directory.path(), 0).unwrap();
        assert!(numbers.next().unwrap() >= before);
    }
}

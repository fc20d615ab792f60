//! How long to wait before the next attempt: exponential, with jitter. Pure.

use std::time::Duration;

use rand::RngExt as _;

/// Exponential backoff with equal jitter: half of the delay is fixed, half is random, so that
/// alerts which failed together do not come back together, and none comes back at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The delay before the first retry (`MOOG_RETRY_BASE_DELAY`).
    pub base: Duration,
    /// The longest delay (`MOOG_RETRY_MAX_DELAY`).
    pub max: Duration,
}

impl Backoff {
    /// The longest delay after `failures` (≥ 0) earlier failures: `base × 2^failures`, at most
    /// `max`.
    pub fn ceiling(self, failures: u32) -> Duration {
        let factor = 2_u32.checked_pow(failures).unwrap_or(u32::MAX);
        self.base.saturating_mul(factor).min(self.max)
    }

    /// A delay between half the ceiling and the ceiling.
    pub fn delay(self, failures: u32) -> Duration {
        let ceiling = self.ceiling(failures);
        ceiling.mul_f64(f64::midpoint(1.0, rand::rng().random::<f64>()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_delay_lies_between_half_the_ceiling_and_the_ceiling(
            base in 1_u64..10_000,
            max in 1_u64..100_000,
            failures in 0_u32..200,
        ) {
            let backoff =
                Backoff { base: Duration::from_millis(base), max: Duration::from_millis(max) };
            let ceiling = backoff.ceiling(failures);
            let exact = u128::from(base) * 2_u128.pow(failures.min(40));
            prop_assert_eq!(ceiling.as_millis(), exact.min(u128::from(max)));
            let delay = backoff.delay(failures);
            prop_assert!(delay >= ceiling / 2, "{:?} < {:?}", delay, ceiling / 2);
            prop_assert!(delay <= ceiling, "{:?} > {:?}", delay, ceiling);
        }

        #[test]
        fn ceilings_never_fall(failures in 0_u32..100) {
            let backoff = Backoff { base: Duration::from_secs(1), max: Duration::from_mins(1) };
            prop_assert!(backoff.ceiling(failures) <= backoff.ceiling(failures + 1));
        }
    }

    #[test]
    fn the_documented_series() {
        let backoff = Backoff {
            base: Duration::from_secs(1),
            max: Duration::from_mins(1),
        };
        let series: Vec<_> = (0..7)
            .map(|failures| backoff.ceiling(failures).as_secs())
            .collect();
        assert_eq!(series, [1, 2, 4, 8, 16, 32, 60]);
    }

    #[test]
    fn delays_differ() {
        let backoff = Backoff {
            base: Duration::from_secs(1),
            max: Duration::from_mins(1),
        };
        let delays: std::collections::HashSet<_> = (0..64).map(|_| backoff.delay(3)).collect();
        assert!(
            delays.len() > 32,
            "jitter spreads retries, {} distinct of 64",
            delays.len()
        );
    }
}

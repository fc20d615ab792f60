//! How long to wait before a failed call to the store is made again: exponential, with jitter, so
//! that pods which failed together do not come back together.

use std::time::Duration;

use rand::RngExt as _;

/// The delays between attempts of one call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backoff {
    base: Duration,
    max: Duration,
    failures: u32,
}

impl Backoff {
    pub(crate) fn new(base: Duration, max: Duration) -> Self {
        Self {
            base,
            max,
            failures: 0,
        }
    }

    /// The delay before the next attempt: between half of `base × 2^failures` and all of it, at
    /// most `max`. Counts a failure.
    pub(crate) fn next(&mut self) -> Duration {
        let factor = 2_u32.checked_pow(self.failures).unwrap_or(u32::MAX);
        let ceiling = self.base.saturating_mul(factor).min(self.max);
        self.failures = self.failures.saturating_add(1);
        ceiling.mul_f64(0.5 + 0.5 * rand::rng().random::<f64>())
    }

    /// Whether the last attempt failed.
    pub(crate) fn is_failing(&self) -> bool {
        self.failures > 0
    }

    /// Forgets earlier failures.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_limit_and_start_over() {
        let (base, max) = (Duration::from_millis(100), Duration::from_secs(5));
        let mut backoff = Backoff::new(base, max);
        for expected in [100_u64, 200, 400, 800, 1600, 3200, 5000, 5000] {
            let expected = Duration::from_millis(expected);
            let delay = backoff.next();
            assert!(
                delay >= expected / 2 && delay <= expected,
                "{delay:?} for {expected:?}"
            );
            assert!(backoff.is_failing());
        }
        for _ in 0..100 {
            assert!(backoff.next() <= max);
        }
        backoff.reset();
        assert!(!backoff.is_failing());
        assert!(backoff.next() <= base);
    }
}

//! This pod's own guard on the rate limit, beside the shared one of the engine.
//!
//! A permit is granted at one moment and the request arrives at the sink at a later one; a burst
//! that is held up at the end of one window would meet the next window's burst at the sink. So a
//! request occupies its place until a whole period after the moment by which the sink must have
//! seen it: when the sink answered, or a quarter of a period after the request was handed to the
//! connection, whichever is earlier. Then no window at the sink holds more than the limit, as long
//! as a request that was handed over travels for less than a quarter of a period. The price: with a
//! sink that takes L to answer, the rate is count / (period + min(L, period / 4)).

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use mutt_engine::Limit;
use tokio::time::Instant;

/// The limit as the engine is asked for it: the window a little wider, because pods do not know of
/// one another's requests on their way.
pub(crate) fn shared_limit(limit: Limit) -> Limit {
    let guard = (limit.period / 50).clamp(Duration::from_millis(5), Duration::from_millis(100));
    Limit {
        count: limit.count,
        period: limit.period + guard,
    }
}

/// How far one request came, told by the task that sends it.
#[derive(Clone, Debug, Default)]
pub struct Wire(Arc<Progress>);

#[derive(Debug, Default)]
struct Progress {
    written: OnceLock<Instant>,
    over: OnceLock<Instant>,
}

impl Wire {
    /// The request was handed to the connection.
    pub fn written(&self) {
        let _ = self.0.written.set(Instant::now());
    }

    /// The request was answered, or will never be.
    pub fn over(&self) {
        let _ = self.0.over.set(Instant::now());
    }

    /// When the sink has seen it, at the latest; `None` while nobody can tell.
    fn seen(&self, guard: Duration) -> Option<Instant> {
        let written = self.0.written.get().map(|&written| written + guard);
        match (written, self.0.over.get()) {
            (Some(written), Some(&over)) => Some(written.min(over)),
            (written, over) => written.or(over.copied()),
        }
    }
}

/// The requests of this pod that count against the limit.
#[derive(Debug, Default)]
pub(crate) struct Window {
    /// Those the sink may not have seen yet; never more than are sent at the same time.
    on_their_way: Vec<Wire>,
    /// When the sink had seen the others; the earliest on top.
    seen: BinaryHeap<Reverse<Instant>>,
}

impl Window {
    /// How many more requests may go out now.
    pub(crate) fn free(&mut self, limit: Limit, now: Instant) -> u32 {
        let guard = limit.period / 4;
        let seen = &mut self.seen;
        self.on_their_way.retain(|wire| match wire.seen(guard) {
            Some(at) => {
                seen.push(Reverse(at));
                false
            }
            None => true,
        });
        while seen
            .peek()
            .is_some_and(|&Reverse(at)| at + limit.period <= now)
        {
            seen.pop();
        }
        let occupied = self.on_their_way.len() + seen.len();
        limit
            .count
            .saturating_sub(u32::try_from(occupied).unwrap_or(u32::MAX))
    }

    /// When it is worth asking for a place again; `now` where none was taken.
    pub(crate) fn next_free(&self, limit: Limit, now: Instant) -> Instant {
        match self.seen.peek() {
            Some(&Reverse(at)) => at + limit.period,
            None if self.on_their_way.is_empty() => now,
            // Nobody tells when a request was written, so look again in a while.
            None => now + limit.period / 4,
        }
    }

    /// Counts a request that goes out now.
    pub(crate) fn take(&mut self) -> Wire {
        let wire = Wire::default();
        self.on_their_way.push(wire.clone());
        wire
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The most arrivals in any window of `period`.
    fn most(arrivals: &mut [Duration], period: Duration) -> usize {
        arrivals.sort();
        (0..arrivals.len())
            .map(|first| {
                arrivals[first..]
                    .iter()
                    .take_while(|&&at| at < arrivals[first] + period)
                    .count()
            })
            .max()
            .unwrap_or(0)
    }

    /// Sends as fast as the window lets it; each request is written, travels and is answered after
    /// the given milliseconds.
    async fn arrivals(limit: Limit, requests: Vec<(u64, u64, u64)>) -> Vec<Duration> {
        let start = Instant::now();
        let mut window = Window::default();
        let mut tasks = tokio::task::JoinSet::new();
        let mut all = Vec::new();
        for (write, travel, answer) in requests {
            while window.free(limit, Instant::now()) == 0 {
                tokio::time::sleep_until(window.next_free(limit, Instant::now())).await;
            }
            let wire = window.take();
            tasks.spawn(async move {
                tokio::time::sleep(Duration::from_millis(write)).await;
                wire.written();
                tokio::time::sleep(Duration::from_millis(travel)).await;
                let arrived = start.elapsed();
                tokio::time::sleep(Duration::from_millis(answer)).await;
                wire.over();
                arrived
            });
        }
        while let Some(arrived) = tasks.join_next().await {
            all.push(arrived.unwrap());
        }
        all
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn no_window_at_the_sink_holds_more_than_the_limit(
            count in 1_u32..8,
            // Travel stays below a quarter of the period of one second.
            requests in prop::collection::vec((0_u64..3_000, 0_u64..250, 0_u64..2_000), 1..60),
        ) {
            let limit = Limit { count, period: Duration::from_secs(1) };
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .start_paused(true)
                .build()
                .unwrap();
            let mut arrivals = runtime.block_on(arrivals(limit, requests));
            prop_assert!(most(&mut arrivals, limit.period) <= count as usize, "{:?}", arrivals);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_fast_sink_gets_the_full_rate() {
        let limit = Limit {
            count: 50,
            period: Duration::from_secs(1),
        };
        let arrivals = arrivals(limit, vec![(0, 1, 1); 500]).await;
        let last = arrivals.iter().max().unwrap();
        assert!(*last < Duration::from_millis(9_200), "{last:?}");
    }

    #[test]
    fn the_shared_window_is_wider() {
        let limit = Limit {
            count: 50,
            period: Duration::from_secs(1),
        };
        assert_eq!(shared_limit(limit).period, Duration::from_millis(1020));
        assert_eq!(shared_limit(limit).count, 50);
    }
}

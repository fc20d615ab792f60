//! One worker: claim, decide, commit, over and over. The next claim forms while the last decision
//! becomes durable, so that processor and disk work at the same time.

use std::sync::Arc;

use mutt_engine::EventClaim;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::commit::{End, commit};
use crate::decide::{Decided, Decider};
use crate::metrics::Operation;
use crate::options::Settings;
use crate::pressure;
use crate::sampling::Sampling;
use crate::shared::{Shared, sleep_unless};

/// Claims that one worker holds at most: one becomes durable while the next one is decided.
const PIPELINE_DEPTH: usize = 2;

/// Up to so many events are decided on the spot; more would hold up the other tasks of the thread
/// and go to a thread of their own.
const INLINE_EVENTS: usize = 64;

/// The bytes of events that one claim should not pass by much: a bound on memory where events are
/// large.
const CLAIM_BYTES: usize = 16 << 20;

/// How many events to claim: halves when the store refuses a claim, so that a bad event is soon
/// alone, and doubles with every success.
#[derive(Debug)]
struct ClaimSize {
    max: usize,
    now: usize,
}

impl ClaimSize {
    fn new(max: usize) -> Self {
        Self {
            max: max.max(1),
            now: max.max(1),
        }
    }

    fn after(&mut self, end: End) {
        match end {
            End::Settled => self.now = (self.now * 2).min(self.max),
            End::Refused(events) => self.now = self.now.min(events).div_ceil(2),
            End::GivenBack | End::Fenced => {}
        }
    }

    /// A claim had so many events and bytes: the next one is to keep within [`CLAIM_BYTES`].
    fn fit(&mut self, events: usize, bytes: usize) {
        if bytes > CLAIM_BYTES {
            self.now = self
                .now
                .min((events * (CLAIM_BYTES >> 10) / (bytes >> 10)).max(1));
        }
    }
}

/// Works until `stop`, then finishes what is in flight; `abandon` makes that short.
pub(crate) async fn work(
    shared: &Arc<Shared>,
    worker: usize,
    stop: &CancellationToken,
    abandon: &CancellationToken,
) {
    let mut dynamic = shared.dynamic.clone();
    let mut settings = Settings::read(&shared.options, &dynamic.borrow_and_update());
    let mut refresh = |settings: &mut Settings| {
        if dynamic.has_changed().unwrap_or(false) {
            *settings = Settings::read(&shared.options, &dynamic.borrow_and_update());
        }
    };
    let mut decider = Decider::new();
    let mut commits = JoinSet::new();
    let mut size = ClaimSize::new(shared.options.claim_max);
    let mut backoff = shared.backoff();

    while !stop.is_cancelled() {
        while let Some(ended) = if commits.len() < PIPELINE_DEPTH {
            commits.try_join_next()
        } else {
            commits.join_next().await
        } {
            match ended {
                Ok(end) => size.after(end),
                // A claim would be held by nobody.
                Err(_) => shared.start_over().await,
            }
        }
        shared.mark_progress(worker);
        refresh(&mut settings);
        if let Some(delay) = pressure::pause(shared, &settings).await {
            sleep_unless(stop, delay).await;
            continue;
        }

        // A cancelled claim loses nothing: that is the engine's promise.
        let claim = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            claim = shared.engine.claim_events(
                &shared.options.pod,
                size.now,
                shared.options.claim_wait,
            ) => claim,
        };
        let claim = match claim {
            Ok(claim) => {
                if backoff.is_failing() {
                    tracing::info!("the store answers again");
                    backoff.reset();
                }
                claim
            }
            Err(error) => {
                let delay = shared.store_failed(Operation::Claim, &error, &mut backoff);
                sleep_unless(stop, delay).await;
                continue;
            }
        };
        let Some(claim) = claim else { continue };
        let claimed_at = Instant::now();
        // The claim may have waited long for its first event.
        refresh(&mut settings);
        size.fit(
            claim.len(),
            claim.events.iter().map(|batch| batch.byte_len()).sum(),
        );

        let (claim, decided) = decide(shared, &mut decider, claim, &settings).await;
        let (shared, abandon) = (Arc::clone(shared), abandon.clone());
        commits.spawn(async move {
            commit(&shared, worker, claim, decided, claimed_at, &abandon).await
        });
    }
    while let Some(ended) = commits.join_next().await {
        if ended.is_err() {
            shared.start_over().await;
        }
    }
}

/// Decides about a claim, with the rules in force now.
async fn decide(
    shared: &Shared,
    decider: &mut Decider,
    claim: EventClaim,
    settings: &Settings,
) -> (EventClaim, Decided) {
    let snapshot = shared.catalog.load_full();
    let sampling = if shared.engine.is_watched() {
        shared.sampler.sampling(claim.len())
    } else {
        Sampling::NONE
    };
    if claim.len() <= INLINE_EVENTS {
        let decided = decider.decide(&claim, &snapshot, &settings.policy, sampling);
        return (claim, decided);
    }
    let mut memory = std::mem::take(decider);
    let policy = settings.policy.clone();
    let work = tokio::task::spawn_blocking(move || {
        let decided = memory.decide(&claim, &snapshot, &policy, sampling);
        (memory, claim, decided)
    });
    let (memory, claim, decided) = work
        .await
        .expect("deciding catches panics and is never cancelled");
    *decider = memory;
    (claim, decided)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_event_is_soon_alone_and_claims_grow_again() {
        let mut size = ClaimSize::new(1000);
        // The event at this place of the queue is refused; all others are taken.
        let (mut bad, mut steps) = (Some(700_usize), 0);
        while let Some(place) = bad {
            steps += 1;
            assert!(steps < 100, "the event is not found");
            if place >= size.now {
                bad = Some(place - size.now);
                size.after(End::Settled);
            } else if size.now == 1 {
                bad = None;
            } else {
                size.after(End::Refused(size.now));
            }
        }
        for _ in 0..10 {
            size.after(End::Settled);
        }
        assert_eq!(size.now, 1000);
    }

    #[test]
    fn claims_of_large_events_shrink() {
        let mut size = ClaimSize::new(1000);
        size.fit(1000, 1000 * 300);
        assert_eq!(size.now, 1000);
        size.fit(1000, 1000 << 20);
        assert_eq!(size.now, 16);
        size.fit(1, 64 << 20);
        assert_eq!(size.now, 1);
    }
}

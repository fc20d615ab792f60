//! When rules, hosts and teams are loaded: at the start, when a change is announced, on request,
//! and every `cache_reload_interval`. A failed load keeps the last good ones and is tried again
//! soon.

use std::sync::Arc;

use mutt_engine::Changed;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::catalog::{self, Snapshot};
use crate::metrics::gauge;
use crate::shared::{Shared, sleep_unless};

/// Loads until it succeeds; `false` where `stop` came first.
pub(crate) async fn load_first(shared: &Shared, stop: &CancellationToken) -> bool {
    let mut backoff = shared.backoff();
    loop {
        if load(shared).await {
            return true;
        }
        if !sleep_unless(stop, backoff.next()).await {
            return false;
        }
    }
}

/// Loads whenever there is a reason to, until `stop`. `changes` must have been subscribed before
/// the first load.
pub(crate) async fn follow(
    shared: &Shared,
    changes: &mut Receiver<Changed>,
    stop: &CancellationToken,
) {
    let mut dynamic = shared.dynamic.clone();
    let mut backoff = shared.backoff();
    let (mut announced, mut tunable) = (true, true);
    let mut loaded_at = Instant::now();
    loop {
        let interval = dynamic.borrow_and_update().seconds("cache_reload_interval");
        let due = if backoff.is_failing() {
            loaded_at
        } else {
            loaded_at + interval
        };
        tokio::select! {
            () = stop.cancelled() => return,
            change = changes.recv(), if announced => match change {
                Ok(Changed::Catalog) | Err(RecvError::Lagged(_)) => {}
                Ok(Changed::Config(_)) => continue,
                Err(RecvError::Closed) => {
                    announced = false;
                    continue;
                }
            },
            change = dynamic.changed(), if tunable => {
                tunable = change.is_ok();
                continue;
            }
            () = shared.reload.notified() => {}
            () = tokio::time::sleep_until(due) => {}
        }
        // One load serves everything announced until now; what comes from here on asks for another.
        while changes.try_recv().is_ok() {}
        if load(shared).await {
            backoff.reset();
            loaded_at = Instant::now();
        } else {
            loaded_at = Instant::now() + backoff.next();
        }
    }
}

/// Loads once; whether it succeeded.
async fn load(shared: &Shared) -> bool {
    let started = Instant::now();
    let last = shared.catalog.load_full();
    let metrics = &shared.metrics;
    match catalog::load(&*shared.engine, &last).await {
        Ok(snapshot) => {
            metrics
                .cache_reload_latency
                .observe(started.elapsed().as_secs_f64());
            metrics.cache_reloads.inc();
            metrics.cache_load_success.set(1);
            metrics.cache_rules.set(gauge(snapshot.rules().len()));
            metrics
                .cache_rules_skipped
                .set(gauge(snapshot.rules().skipped().len()));
            metrics
                .cache_dev_hosts
                .set(gauge(snapshot.development_hosts()));
            metrics.cache_teams.set(gauge(snapshot.device_teams()));
            announce(&snapshot, &last);
            shared.catalog.store(Arc::new(snapshot));
            let mut state = shared.load_state.lock();
            state.loaded = true;
            state.last_error = None;
            true
        }
        Err(error) => {
            metrics.cache_reload_failures.inc();
            metrics.cache_load_success.set(0);
            let mut state = shared.load_state.lock();
            let kept = if state.loaded {
                "the last good ones stay in force"
            } else {
                "none yet"
            };
            if state.last_error.replace(error.to_string()).is_none() {
                tracing::warn!(%error, "rules, hosts and teams could not be loaded; {kept}");
            } else {
                tracing::debug!(%error, "rules, hosts and teams could not be loaded again; {kept}");
            }
            false
        }
    }
}

fn announce(snapshot: &Snapshot, last: &Snapshot) {
    let (rules, skipped) = (snapshot.rules(), snapshot.rules().skipped());
    tracing::info!(
        rules = rules.len(),
        skipped = skipped.len(),
        slow = rules.without_literal(),
        development_hosts = snapshot.development_hosts(),
        device_teams = snapshot.device_teams(),
        "rules, hosts and teams are loaded"
    );
    for rule in skipped
        .iter()
        .filter(|rule| !last.rules().skipped().contains(rule))
    {
        tracing::error!(
            rule = rule.rule_id,
            reason = rule.reason,
            "a rule is skipped"
        );
    }
}

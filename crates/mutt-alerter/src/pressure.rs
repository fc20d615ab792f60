//! Back-pressure: before each claim, a look at how far the forwarder is behind.
//!
//! Alerts that are decided are never shed; only events that still wait are put off or set aside.

use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use crate::metrics::Operation;
use crate::options::{Settings, ShedMode};
use crate::shared::Shared;

/// The pause between two batches that are set aside, so that a short peak costs little.
const SHED_PAUSE: Duration = Duration::from_millis(50);

/// How full the alert queue is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    /// At most the warning threshold.
    Calm,
    /// Above the warning threshold.
    High,
    /// Above the shedding threshold.
    Full,
}

/// The level that the workers saw last; shared, so that a crossing is told once and not once per
/// worker.
#[derive(Debug, Default)]
pub(crate) struct Gate(AtomicU8);

impl Gate {
    pub(crate) fn level(&self) -> Level {
        Self::read(self.0.load(Ordering::Relaxed))
    }

    fn read(level: u8) -> Level {
        match level {
            0 => Level::Calm,
            1 => Level::High,
            _ => Level::Full,
        }
    }

    /// Notes the level for this depth; returns it with the one before.
    fn note(&self, depth: u64, settings: &Settings) -> (Level, Level) {
        let level = if depth > settings.shed_threshold {
            Level::Full
        } else if depth > settings.warn_threshold {
            Level::High
        } else {
            Level::Calm
        };
        (
            Self::read(self.0.swap(level as u8, Ordering::Relaxed)),
            level,
        )
    }
}

/// What a worker does next: claim (`None`), or wait so long and look again.
pub(crate) async fn pause(shared: &Shared, settings: &Settings) -> Option<Duration> {
    let depth = match shared.engine.alert_depth().await {
        Ok(depth) => depth,
        Err(error) => {
            // The claim that follows fails too, and waits.
            shared.metrics.store_errors(Operation::Depth).inc();
            tracing::debug!(%error, "the depth of the alert queue cannot be read");
            return None;
        }
    };
    shared.metrics.set_alert_depth(depth);
    let (before, level) = shared.gate.note(depth, settings);
    if level != before {
        announce(before, level, depth, settings);
    }
    if level < Level::Full {
        return None;
    }
    match settings.shed_mode {
        ShedMode::Defer => {
            shared.metrics.deferred.inc();
            Some(settings.defer_sleep)
        }
        ShedMode::Dlq => match shared.engine.shed_events(shared.options.claim_max).await {
            Ok(0) => Some(settings.defer_sleep),
            Ok(moved) => {
                shared.metrics.shed.inc_by(moved);
                tracing::debug!(moved, depth, "events were moved to mutt:dlq:alerter");
                Some(SHED_PAUSE)
            }
            Err(error) => {
                shared.metrics.store_errors(Operation::Shed).inc();
                tracing::debug!(%error, "events could not be moved to mutt:dlq:alerter");
                Some(settings.defer_sleep)
            }
        },
    }
}

fn announce(before: Level, level: Level, depth: u64, settings: &Settings) {
    match level {
        Level::Calm => tracing::info!(depth, "the alert queue is short again"),
        Level::High if before == Level::Calm => tracing::warn!(
            depth,
            threshold = settings.warn_threshold,
            "the alert queue grows: the forwarder is behind"
        ),
        Level::High => tracing::info!(depth, "claiming events again: the alert queue is shorter"),
        Level::Full => {
            let action = match settings.shed_mode {
                ShedMode::Defer => "events stay in the queue until it is shorter",
                ShedMode::Dlq => "waiting events are moved to mutt:dlq:alerter",
            };
            tracing::warn!(
                depth,
                threshold = settings.shed_threshold,
                "the alert queue is too long: {action}"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use mutt_engine::Dynamic;

    use super::*;
    use crate::AlerterOptions;

    #[test]
    fn a_threshold_is_crossed_above_it_and_each_crossing_shows_once() {
        let settings = Settings::read(
            &AlerterOptions::default(),
            &Dynamic::default().with([
                ("alerter_queue_warn_threshold", "10"),
                ("alerter_queue_shed_threshold", "20"),
            ]),
        );
        let gate = Gate::default();
        let crossings: Vec<_> = [10, 11, 15, 20, 21, 50, 20, 10, 21, 0]
            .into_iter()
            .map(|depth| gate.note(depth, &settings))
            .filter(|(before, level)| before != level)
            .collect();
        assert_eq!(
            crossings,
            [
                (Level::Calm, Level::High),
                (Level::High, Level::Full),
                (Level::Full, Level::High),
                (Level::High, Level::Calm),
                (Level::Calm, Level::Full),
                (Level::Full, Level::Calm),
            ]
        );
        assert_eq!(gate.level(), Level::Calm);
    }
}

//! What follows from how attempts ended: the circuit, the key, the settlement. The retry policy of
//! every sink is here and nowhere else.

use std::time::Duration;

use jiff::Timestamp;
use mutt_engine::{Attempt, ClaimedAlert, DeliveryRow, Reason, Settlement};
use mutt_event::EventId;
use tokio::task::{Id, JoinError};
use tokio::time::Instant;

use super::attempt::{End, Finished};
use super::circuit::Sign;
use super::{Desk, Ready, returned};
use crate::health::Failure;
use crate::metrics::RequestEnd;
use crate::sink::{Delivery, Fault, KeySlot};

/// An attempt that reached the sink, or tried to.
struct Called {
    alert: ClaimedAlert,
    event_id: EventId,
    received_at: Option<Timestamp>,
    at: Timestamp,
    latency: Duration,
    key: KeySlot,
    /// Whether the other key was refused already.
    last_key: bool,
}

/// An attempt that failed and may be repeated.
struct Failed {
    after: Option<Duration>,
    status: Option<u16>,
    fault: Fault,
    error: String,
}

/// What one round of finished attempts amounts to.
#[derive(Default)]
struct Round {
    signs: Vec<Sign>,
    attempts: Vec<Attempt>,
    delivered: Option<Timestamp>,
    failure: Option<Failure>,
    dead: Option<String>,
    wrong_key: bool,
}

impl Desk {
    /// Takes in an attempt that ended, and all others that have ended by now.
    pub(super) async fn finished(&mut self, first: Result<(Id, Finished), JoinError>) {
        let mut round = Round::default();
        let mut next = Some(first);
        while let Some(finished) = next {
            match finished {
                Ok((id, finished)) => {
                    let last_key = self
                        .sent
                        .remove(&id)
                        .is_some_and(|ready| ready.key.is_some());
                    self.judge(finished, last_key, &mut round);
                }
                Err(error) => {
                    if let Some(ready) = self.sent.remove(&error.id()) {
                        tracing::error!(%error, "an attempt ended in disorder");
                        let attempt = self.broken(ready.alert);
                        round.attempts.push(attempt);
                        self.breaker.probe_again();
                    }
                }
            }
            next = self.on_their_way.try_join_next_with_id();
        }
        self.conclude(round).await;
    }

    fn judge(&mut self, finished: Finished, last_key: bool, round: &mut Round) {
        let Finished { alert, end } = finished;
        let (delivery, called) = match end {
            End::Called {
                delivery,
                event_id,
                received_at,
                at,
                latency,
                key,
            } => (
                delivery,
                Called {
                    alert,
                    event_id,
                    received_at,
                    at,
                    latency,
                    key,
                    last_key,
                },
            ),
            End::Malformed(why) => {
                self.breaker.probe_again();
                round.dead.get_or_insert_with(|| why.clone());
                let settlement = Settlement::Dead {
                    reason: Reason::Malformed,
                    detail: why,
                };
                round.attempts.push(Attempt {
                    alert,
                    settlement,
                    log: None,
                });
                return;
            }
        };
        match delivery {
            Delivery::Delivered { status } => self.delivered(called, status, round),
            Delivery::Retry {
                after,
                status,
                fault,
                error,
            } => {
                self.failed(
                    called,
                    Failed {
                        after,
                        status,
                        fault,
                        error,
                    },
                    round,
                );
            }
            Delivery::Refused { status, body_start } => {
                self.refused(called, status, &body_start, round);
            }
            Delivery::WrongKey { status } => self.wrong_key(&called, status, round),
            Delivery::Unset => {
                self.breaker.probe_again();
                round.attempts.push(returned(called.alert));
            }
        }
    }

    fn delivered(&mut self, called: Called, status: u16, round: &mut Round) {
        self.count(RequestEnd::Success, called.latency);
        if let Some(received_at) = called.received_at {
            let took =
                Duration::try_from(called.at.duration_since(received_at)).unwrap_or_default();
            self.forwarder
                .metrics
                .delivery_latency
                .observe(took.as_secs_f64());
        }
        self.preferred = called.key;
        round.signs.push(Sign::Up);
        round.delivered = Some(called.at);
        let log = self.row(&called, Some(status), None);
        round.attempts.push(Attempt {
            alert: called.alert,
            settlement: Settlement::Delivered,
            log: Some(log),
        });
    }

    fn failed(&mut self, called: Called, failed: Failed, round: &mut Round) {
        let Failed {
            after,
            status,
            fault,
            error,
        } = failed;
        self.count(fault.into(), called.latency);
        round.signs.push(if fault.is_failure(status) {
            Sign::Down
        } else {
            Sign::Answers
        });
        if let Some(after) = after
            && matches!(status, Some(429 | 503))
        {
            // "Leave me alone" is said to all of us, not to one alert.
            let until = Instant::now() + after.min(self.forwarder.options.backoff.max);
            self.pause = Some(self.pause.map_or(until, |pause| pause.max(until)));
        }
        round.failure = Some(Failure {
            at: called.at,
            error: error.clone(),
        });
        let settlement = self.again(&called.alert, after, &error);
        match &settlement {
            Settlement::Dead { detail, .. } => {
                round.dead.get_or_insert_with(|| detail.clone());
            }
            _ => {
                self.forwarder.metrics.retries.inc();
            }
        }
        let log = self.row(&called, status, Some(error));
        round.attempts.push(Attempt {
            alert: called.alert,
            settlement,
            log: Some(log),
        });
    }

    fn refused(&mut self, called: Called, status: u16, body_start: &str, round: &mut Round) {
        self.count(RequestEnd::ClientError, called.latency);
        round.signs.push(Sign::Up);
        let detail = if body_start.is_empty() {
            format!("HTTP {status}")
        } else {
            format!("HTTP {status}: {body_start}")
        };
        round.dead.get_or_insert_with(|| detail.clone());
        let log = self.row(&called, Some(status), Some(detail.clone()));
        let settlement = Settlement::Dead {
            reason: Reason::Refused,
            detail,
        };
        round.attempts.push(Attempt {
            alert: called.alert,
            settlement,
            log: Some(log),
        });
    }

    fn wrong_key(&mut self, called: &Called, status: u16, round: &mut Round) {
        self.count(RequestEnd::ClientError, called.latency);
        let alert = called.alert.clone();
        let other = called.key.other();
        if !called.last_key && self.forwarder.sink.has_key(other) {
            self.ready.push_front(Ready {
                alert,
                key: Some(other),
            });
            self.breaker.probe_again();
            return;
        }
        round.wrong_key = true;
        let error = format!("HTTP {status}: the sink accepts no key");
        round.failure = Some(Failure {
            at: called.at,
            error,
        });
        round.attempts.push(returned(alert));
    }

    async fn conclude(&mut self, round: Round) {
        let forwarder = &self.forwarder;
        // The circuit first: what goes back to the queue must not be claimed again at once.
        self.breaker.report(forwarder, &round.signs).await;
        if round.wrong_key {
            tracing::warn!(
                "the sink accepts neither MOOG_API_KEY nor MOOG_API_KEY_NEXT; alerts stay queued"
            );
            if let Some(until) = self.breaker.wrong_key(forwarder).await {
                self.pause = Some(until);
            }
        }
        if let Some(example) = &round.dead {
            let count = round
                .attempts
                .iter()
                .filter(|attempt| matches!(attempt.settlement, Settlement::Dead { .. }))
                .count();
            tracing::warn!(count, example, "alerts went to mutt:dlq:moog");
        }
        forwarder.health.note(|report| {
            if round.delivered.is_some() {
                report.last_delivery = round.delivered;
                report.wrong_key = false;
            }
            report.wrong_key |= round.wrong_key;
            if round.failure.is_some() {
                report.last_failure = round.failure;
            }
        });
        round
            .attempts
            .into_iter()
            .for_each(|attempt| self.settler.settle(attempt));
    }

    /// Another attempt later, or none.
    fn again(&self, alert: &ClaimedAlert, after: Option<Duration>, error: &str) -> Settlement {
        let retries = self.forwarder.dynamic.borrow().integer("moog_max_retries");
        if u64::from(alert.attempts) >= retries {
            let detail = format!("attempt {}: {error}", alert.attempts.saturating_add(1));
            return Settlement::Dead {
                reason: Reason::RetriesExhausted,
                detail,
            };
        }
        let delay = self.forwarder.options.backoff.delay(alert.attempts);
        let delay = after.map_or(delay, |after| after.max(delay));
        Settlement::RetryAt(
            Timestamp::now()
                .checked_add(delay)
                .unwrap_or(Timestamp::MAX),
        )
    }

    /// The program failed, not the sink: counted like a failure, so that it ends some day.
    fn broken(&self, alert: ClaimedAlert) -> Attempt {
        let settlement = self.again(&alert, None, "the attempt ended in disorder");
        Attempt {
            alert,
            settlement,
            log: None,
        }
    }

    fn count(&self, end: RequestEnd, latency: Duration) {
        self.forwarder.metrics.request(end);
        self.forwarder
            .metrics
            .request_latency
            .observe(latency.as_secs_f64());
    }

    fn row(&self, called: &Called, status: Option<u16>, error: Option<String>) -> DeliveryRow {
        DeliveryRow {
            event_id: called.event_id,
            sink: self.forwarder.sink.name().to_owned(),
            attempt: called.alert.attempts.saturating_add(1),
            at: called.at,
            status,
            latency_ms: called.latency.as_secs_f64() * 1e3,
            error,
        }
    }
}

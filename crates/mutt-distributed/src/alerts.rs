//! The alert queue: claim and settle. Each alert is a claim of its own.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use mutt_engine::{
    AlertQueue, Attempt, ClaimedAlert, DeadLetter, Dlq, NewAlert, Result, Retrying, Settlement,
    WorkerKind,
};
use mutt_redis::redis;
use tokio::time::Instant;
use uuid::Uuid;

use crate::claims::{Claims, Phase};
use crate::deliveries;
use crate::engine::{Distributed, Shared};
use crate::envelope::{self, History};
use crate::events::bytes;
use crate::flow::from_epoch;
use crate::{names, scripts};

/// The most bytes claimed at once, unless one alert is larger.
const CLAIM_BYTES: usize = 8 << 20;

impl Shared {
    async fn try_claim_alerts(&self, worker: &Arc<str>, max: usize) -> Result<Vec<ClaimedAlert>> {
        let kind = WorkerKind::Moog;
        // Nothing is asked for that cannot be answered now, so that no doubt is left.
        self.admitted().await?;
        let asked = Claims::ask(self, kind, worker, max as u64).await?;
        let first = asked.first;
        let mut call = scripts::CLAIM_ALERTS.call(&[
            &self.names.alert_queue,
            names::ALERT_RETRY,
            &names::claims(kind, worker),
            &names::pods(kind),
            names::CLAIM_ORDER,
            names::EPOCH,
        ]);
        let prefix = names::held(kind, worker, 0);
        call.arg(&**worker)
            .arg(max)
            .arg(CLAIM_BYTES)
            .arg(&prefix[..prefix.len() - 1])
            .arg(first)
            .arg(names::new_epoch());
        let (epoch, items): (String, Vec<redis::Value>) =
            self.run(&scripts::CLAIM_ALERTS, &call).await?;
        let mut alerts = Vec::with_capacity(items.len());
        let mut histories = Vec::with_capacity(items.len());
        for (claim, item) in (first..).zip(items) {
            let item = bytes(item);
            let (element, history) = envelope::unwrap(&item);
            alerts.push(ClaimedAlert {
                claim,
                worker: Arc::clone(worker),
                element: element.into_owned().into(),
                attempts: history.attempts,
                replays: history.replays,
            });
            histories.push(HashMap::from([(0, history)]));
        }
        asked.answered(&epoch.into(), histories);
        Ok(alerts)
    }
}

#[async_trait]
impl AlertQueue for Distributed {
    async fn claim_alerts(
        &self,
        worker: &Arc<str>,
        max: usize,
        wait: Duration,
    ) -> Result<Vec<ClaimedAlert>> {
        let shared = &self.shared;
        let until = Instant::now() + wait;
        loop {
            let mut woken = pin!(shared.alerts_waiting.notified());
            woken.as_mut().enable();
            let alerts = shared.try_claim_alerts(worker, max.max(1)).await?;
            if !alerts.is_empty() || !shared.sleep(woken, until).await? {
                return Ok(alerts);
            }
        }
    }

    async fn settle_alerts(&self, attempts: Vec<Attempt>) -> Result<u64> {
        let shared = &self.shared;
        let now = Timestamp::now();
        // The oldest first; of those that go back, the one that is put back last stands at the head.
        let (mut back, mut attempts): (Vec<_>, Vec<_>) = attempts
            .into_iter()
            .partition(|attempt| attempt.settlement == Settlement::Return);
        attempts.sort_by_key(|attempt| attempt.alert.claim);
        back.sort_by_key(|attempt| std::cmp::Reverse(attempt.alert.claim));
        attempts.append(&mut back);
        let mut call = scripts::SETTLE_ALERTS.call(&[
            &shared.names.alert_queue,
            names::ALERT_RETRY,
            Dlq::Moog.key(),
            names::DELIVERY_LOG,
            names::EPOCH,
        ]);
        call.arg(names::WAKE);
        let mut wanted = Vec::with_capacity(attempts.len());
        let mut logged = false;
        for attempt in &attempts {
            let Some(known) = shared.claims.known(attempt.alert.claim) else {
                continue;
            };
            let phase = known.phase.try_lock().map_or(Phase::Held, |phase| *phase);
            if matches!(phase, Phase::Applied(_) | Phase::Gone) {
                continue;
            }
            logged |= attempt.log.is_some();
            let before = known.histories.get(&0).cloned().unwrap_or_default();
            push(&mut call, attempt, &known.epoch, before, now);
            wanted.push(attempt.alert.claim);
        }
        if wanted.is_empty() {
            return Ok(0);
        }
        let done: u64 = shared.run(&scripts::SETTLE_ALERTS, &call).await?;
        for claim in wanted {
            shared.claims.end(claim, None);
        }
        if logged {
            shared.deliveries_waiting.notify_one();
        }
        Ok(done)
    }

    async fn queue_alert(&self, alert: NewAlert) -> Result<()> {
        let mut call = scripts::QUEUE_ALERT.call(&[&self.shared.names.alert_queue]);
        call.arg(names::WAKE).arg(&*envelope::plain(&alert.element));
        let _: u64 = self.shared.run(&scripts::QUEUE_ALERT, &call).await?;
        Ok(())
    }

    async fn retries(&self, limit: usize) -> Result<(u64, Vec<Retrying>)> {
        let mut pipeline = redis::pipe();
        pipeline.cmd("ZCARD").arg(names::ALERT_RETRY);
        pipeline
            .cmd("ZRANGE")
            .arg(names::ALERT_RETRY)
            .arg(0)
            .arg(limit.max(1) - 1)
            .arg("WITHSCORES");
        let (count, next): (u64, Vec<(Vec<u8>, f64)>) = self.shared.pipe(&pipeline).await?;
        let next = next.into_iter().take(limit).map(|(item, due)| {
            let (element, history) = envelope::unwrap(&item);
            Retrying {
                due: from_epoch(due).unwrap_or(Timestamp::UNIX_EPOCH),
                attempts: history.attempts,
                element: element.into_owned(),
            }
        });
        Ok((count, next.collect()))
    }

    async fn alert_depth(&self) -> Result<u64> {
        let mut pipeline = redis::pipe();
        pipeline
            .cmd("LLEN")
            .arg(&self.shared.names.alert_queue)
            .cmd("ZCARD")
            .arg(names::ALERT_RETRY);
        let (waiting, retries): (u64, u64) = self.shared.pipe(&pipeline).await?;
        Ok(waiting + retries)
    }
}

/// The arguments of one attempt.
fn push(call: &mut redis::Cmd, attempt: &Attempt, epoch: &str, before: History, now: Timestamp) {
    let alert = &attempt.alert;
    let kind = WorkerKind::Moog;
    call.arg(names::claims(kind, &alert.worker))
        .arg(alert.claim)
        .arg(names::held(kind, &alert.worker, alert.claim))
        .arg(names::lost(alert.claim))
        .arg(epoch);
    match &attempt.log {
        Some(row) => call.arg(deliveries::encode(row)),
        None => call.arg(""),
    };
    let attempts = alert.attempts + 1;
    match &attempt.settlement {
        Settlement::Delivered => {
            call.arg("d");
        }
        Settlement::RetryAt(due) => {
            let history = History {
                // Alerts that are equal, as other programs push them, are not one alert.
                id: before
                    .id
                    .or_else(|| Some(Uuid::now_v7().simple().to_string())),
                attempts,
                first_failed_at: before.first_failed_at.or(Some(now)),
                ..before
            };
            // Who tries again may have another clock: Redis's alone says when.
            let delay = due.duration_since(now).as_secs_f64();
            call.arg("r")
                .arg(format!("{delay:.6}"))
                .arg(envelope::wrap(&alert.element, &history));
        }
        Settlement::Dead { reason, detail } => {
            let letter = DeadLetter {
                reason: *reason,
                detail: detail.clone(),
                element: alert.element.to_vec(),
            };
            let entry = envelope::dead(Dlq::Moog, &letter, attempts, &before, now);
            call.arg("x").arg(entry);
        }
        Settlement::Return => {
            call.arg("h").arg(envelope::wrap(&alert.element, &before));
        }
    }
}

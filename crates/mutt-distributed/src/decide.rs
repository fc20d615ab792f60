//! A decision takes effect: the audit rows and the claim's number in one PostgreSQL transaction, then
//! everything else and the end of the claim in one script.

use std::collections::HashMap;

use jiff::Timestamp;
use mutt_engine::{Decision, Dlq, EngineError, Result, Settled, WorkerKind};
use mutt_postgres::{Applied, Standing};

use crate::claims::{Known, Phase};
use crate::counters::push_rule_hits;
use crate::effects::Effects;
use crate::engine::Shared;
use crate::envelope::{self, History};
use crate::unhandled::push_unhandled;
use crate::{names, scripts};

pub async fn decide(shared: &Shared, decision: &Decision) -> Result<Settled> {
    let claim = &decision.claim;
    let Some(known) = shared.claims.known(claim.id) else {
        return shared.claims.decided(claim.id).ok_or(EngineError::Fenced);
    };
    let mut phase = known.phase.lock().await;
    match *phase {
        Phase::Applied(settled) => return Ok(settled),
        Phase::Gone => return Err(EngineError::Fenced),
        Phase::Held | Phase::Tried => {}
    }
    let result = settle(shared, &known, decision, &mut phase).await;
    match result {
        Ok(settled) => {
            *phase = Phase::Applied(settled);
            shared.claims.end(claim.id, Some(settled));
            if !decision.outcome.audit.is_empty() {
                shared.claims.finished(claim.id);
            }
        }
        Err(EngineError::Fenced) => {
            *phase = Phase::Gone;
            shared.claims.end(claim.id, None);
        }
        Err(_) => {}
    }
    result
}

async fn settle(
    shared: &Shared,
    known: &Known,
    decision: &Decision,
    phase: &mut Phase,
) -> Result<Settled> {
    let Decision { claim, outcome } = decision;
    let events = claim.len();
    if let Some(row) = outcome
        .audit
        .iter()
        .find(|row| row.index as usize >= events)
    {
        return Err(EngineError::Invalid(format!(
            "an audit row is about event {} of a claim of {events}",
            row.index
        )));
    }
    let mut effects = effects(shared, known, decision);
    *phase = Phase::Tried;
    if !outcome.audit.is_empty() {
        let stored = effects.store();
        let applied = shared
            .postgres
            .apply(claim.id, &known.worker, claim, &outcome.audit, &stored)
            .await?;
        if let Applied::Before(stored) = applied {
            effects = Effects::load(&stored)?;
        }
    }
    let epoch = &known.epoch;
    match apply(shared, &known.worker, claim.id, epoch, &effects).await? {
        Some(settled) => Ok(settled),
        // It is gone, and PostgreSQL says that it was ours: an earlier call of ours did it.
        None if !outcome.audit.is_empty() => Ok(Settled::default()),
        None => match shared.postgres.standing(claim.id).await? {
            Some(Standing::Revoked) => Err(EngineError::Fenced),
            _ => Ok(Settled::default()),
        },
    }
}

/// Does the effects of a claim and drops it; `None` where it is not there any more.
pub async fn apply(
    shared: &Shared,
    worker: &str,
    claim: u64,
    epoch: &str,
    effects: &Effects,
) -> Result<Option<Settled>> {
    let kind = WorkerKind::Alerter;
    let mut call = scripts::APPLY.call(&[
        &names::claims(kind, worker),
        &names::held(kind, worker, claim),
        names::EPOCH,
        &names::lost(claim),
    ]);
    call.arg(claim).arg(epoch);
    effects.append_to(&mut call);
    let (done, meta_alerts): (u64, u64) = shared.run(&scripts::APPLY, &call).await?;
    Ok((done == 1).then_some(Settled { meta_alerts }))
}

/// What the script has to do, in the order in which it reads it.
fn effects(shared: &Shared, known: &Known, decision: &Decision) -> Effects {
    let Decision { claim, outcome } = decision;
    let now = Timestamp::now();
    let mut effects = Effects::default();
    effects.push(names::WAKE);
    effects.push(&shared.names.alert_queue);
    effects.push(Dlq::Alerter.key());
    effects.push_number(outcome.alerts.len());
    for alert in &outcome.alerts {
        effects.push(envelope::plain(&alert.element));
    }
    effects.push_number(outcome.dead.len());
    if !outcome.dead.is_empty() {
        let none = History::default();
        let before: HashMap<&[u8], &History> = claim
            .iter()
            .enumerate()
            .filter_map(|(index, element)| Some((element, known.histories.get(&index)?)))
            .collect();
        for letter in &outcome.dead {
            let before = before.get(&*letter.element).copied().unwrap_or(&none);
            effects.push(envelope::dead(Dlq::Alerter, letter, 0, before, now));
        }
    }
    push_rule_hits(&mut effects, &outcome.rule_hits, now);
    push_unhandled(&mut effects, outcome);
    effects
}

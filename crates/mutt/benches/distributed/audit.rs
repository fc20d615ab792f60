//! Claim, decide, audit: by the engine alone with decisions that are made already, and by `mutt
//! alerter` with 1,000 rules; beside a bare COPY of the very same rows into a second database with
//! the same schema, over as many sessions as decisions are under way at a time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use jiff::Timestamp;
use mutt_distributed::Distributed;
use mutt_engine::{Audit as _, AuditRow, Decision, EventClaim, EventQueue as _, Outcome};
use mutt_event::{Batch, EventId};
use mutt_traffic::load;

use crate::Options;
use crate::reference::{self, Rows};
use crate::report::{Figure, check, median};
use crate::setup::{DATABASE, PATIENCE, QUEUE, Setup};

/// Events in one turn.
const EVENTS: u64 = 120_000;
/// Events of one claim; an alerter claims up to 1,000.
const CLAIMS: [usize; 5] = [100, 300, 1000, 2000, 4000];
/// What an alerter claims at most.
const USUAL: usize = 1000;
/// Decisions under way at a time, as in an alerter.
const UNDER_WAY: usize = 2;

pub async fn measure(options: &Options) -> Result<Vec<Figure>> {
    let setup = Setup::start().await?;
    setup.add_database(reference::REFERENCE).await?;
    setup.warm_up();
    setup.add_rules(1000);
    let engine = setup.engine().await?;
    let mut figures = Vec::new();
    for size in CLAIMS {
        figures.extend(by_engine(&setup, &engine, size, options.turns).await?);
    }
    figures.extend(by_alerter(&setup, &engine, options.turns).await?);
    Ok(figures)
}

fn figure(what: String, value: f64, unit: &'static str, target: &'static str) -> Figure {
    Figure::new("audit", what, value, unit, target)
}

async fn by_engine(
    setup: &Setup,
    engine: &Arc<Distributed>,
    size: usize,
    turns: usize,
) -> Result<Vec<Figure>> {
    let (mut ours, mut alone) = (Vec::new(), Vec::new());
    for _ in 0..turns {
        fill(setup, engine).await?;
        ours.push(claim_and_decide(engine, size).await?);
        check("audit rows", engine.audit_count().await?, EVENTS)?;
        let rows = Rows::read(setup).await?;
        alone.push(rows.copy(setup, size, UNDER_WAY).await?);
    }
    let (ours, alone) = (median(&ours), median(&alone));
    let target = if size == USUAL { "≥ 0.60" } else { "" };
    Ok(vec![
        figure(format!("{size} rows: bare COPY"), alone, "rows/s", ""),
        figure(format!("{size} rows: claim and decide"), ours, "rows/s", ""),
        figure(format!("{size} rows: ratio"), ours / alone, "", target),
    ])
}

async fn by_alerter(setup: &Setup, engine: &Arc<Distributed>, turns: usize) -> Result<Vec<Figure>> {
    let (mut ours, mut alone) = (Vec::new(), Vec::new());
    for turn in 0..turns {
        fill(setup, engine).await?;
        let alerter = setup
            .role("alerter", &format!("alerter-{turn}"), &[])
            .await?;
        ours.push(drained(setup, engine).await?);
        drop(alerter);
        check("audit rows", engine.audit_count().await?, EVENTS)?;
        let rows = Rows::read(setup).await?;
        alone.push(rows.copy(setup, USUAL, UNDER_WAY).await?);
    }
    let (ours, alone) = (median(&ours), median(&alone));
    Ok(vec![
        figure("mutt alerter, 1,000 rules".into(), ours, "rows/s", ""),
        figure(
            "mutt alerter, 1,000 rules: ratio".into(),
            ours / alone,
            "",
            "≥ 0.60",
        ),
    ])
}

/// Empties everything and puts [`EVENTS`] into the queue.
async fn fill(setup: &Setup, engine: &Arc<Distributed>) -> Result<()> {
    setup.clear_audit(DATABASE);
    setup.clear_redis(&[QUEUE]).await?;
    let received = Timestamp::now();
    let mut batch = Batch::new();
    for number in 0..EVENTS {
        let event = load::json(number, "rule-hit");
        let open = event.trim_end_matches('}');
        let id = EventId::new();
        let element = format!(r#"{open},"_event_id":"{id}","_received_at":"{received}"}}"#);
        batch.push(element.as_bytes());
        if batch.len() == 1000 {
            engine.enqueue(std::mem::take(&mut batch)).await?;
        }
    }
    check("events in the queue", setup.depth()?, EVENTS)
}

/// Rows per second by a worker that claims while the decision before becomes durable.
async fn claim_and_decide(engine: &Arc<Distributed>, size: usize) -> Result<f64> {
    let worker: Arc<str> = "bench-worker".into();
    let start = Instant::now();
    let mut under_way = tokio::task::JoinSet::new();
    while let Some(claim) = engine.claim_events(&worker, size, Duration::ZERO).await? {
        if under_way.len() == UNDER_WAY
            && let Some(decided) = under_way.join_next().await
        {
            decided??;
        }
        let engine = Arc::clone(engine);
        let decision = Arc::new(decision(claim));
        under_way.spawn(async move { engine.decide(decision).await });
    }
    while let Some(decided) = under_way.join_next().await {
        decided??;
    }
    Ok(EVENTS as f64 / start.elapsed().as_secs_f64())
}

/// Every event on record, as an alerter would have it.
fn decision(claim: EventClaim) -> Decision {
    let now = Timestamp::now();
    let team: Arc<str> = "NetOps".into();
    let audit = (0..claim.len())
        .zip(claim.iter())
        .map(|(index, _)| AuditRow {
            index: u32::try_from(index).expect("claims are small"),
            event_id: EventId::new(),
            event_timestamp: now,
            received_at: now,
            hostname: format!("ams-core-sw{}", index % 50).into(),
            source: Some("http".into()),
            syslog_severity: Some(3),
            trap_oid: None,
            environment: "production",
            matched_rule_id: Some(1000),
            rule_version: Some(1),
            handling_decision: "Log_only",
            team_assignment: Some(Arc::clone(&team)),
            forwarded_to_moog: false,
            correlation_id: "".into(),
        })
        .collect();
    let outcome = Outcome {
        audit,
        rule_hits: vec![(1000, claim.len() as u64)],
        ..Outcome::default()
    };
    Decision { claim, outcome }
}

/// Rows per second from the first claim of another process until all events are on record.
async fn drained(setup: &Setup, engine: &Arc<Distributed>) -> Result<f64> {
    let waiting = Instant::now();
    while setup.depth()? == EVENTS {
        if waiting.elapsed() > PATIENCE {
            bail!("the alerter claims nothing");
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let start = Instant::now();
    while engine.audit_count().await? < EVENTS {
        if start.elapsed() > PATIENCE {
            bail!("the alerter does not finish");
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(EVENTS as f64 / start.elapsed().as_secs_f64())
}

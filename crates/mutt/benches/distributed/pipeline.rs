//! The road as processes: HTTP to `mutt ingestor`, through Redis, to one or two `mutt alerter`, into
//! PostgreSQL; 1,000 rules, every event matched and on record. The queue is short, so the sender goes
//! as fast as the slowest part, whose processor time names it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use mutt_engine::{Audit as _, EventQueue as _};
use mutt_traffic::load;

use crate::Options;
use crate::processes::Cost;
use crate::report::{Figure, check};
use crate::setup::{KEY, PATIENCE, Setup};

/// Events of one request.
const BATCH: u64 = 100;

pub async fn measure(options: &Options) -> Result<Vec<Figure>> {
    let (one, mut figures) = with(options.duration(), 1, "≥ 30,000").await?;
    let (two, more) = with(options.duration(), 2, "").await?;
    figures.extend(more);
    figures.push(figure(
        "two alerters beside one",
        two / one,
        "",
        "> 1 until the servers are the bound",
    ));
    Ok(figures)
}

fn figure(what: impl Into<String>, value: f64, unit: &'static str, target: &'static str) -> Figure {
    Figure::new("pipeline", what, value, unit, target)
}

async fn with(
    duration: Duration,
    alerters: usize,
    target: &'static str,
) -> Result<(f64, Vec<Figure>)> {
    let setup = Setup::start().await?;
    setup.warm_up();
    setup.add_rules(1000);
    let engine = setup.engine().await?;
    let ingestor = setup.role("ingestor", "ingestor", &[]).await?;
    let mut roles = Vec::new();
    for number in 0..alerters {
        roles.push(
            setup
                .role("alerter", &format!("alerter-{number}"), &[])
                .await?,
        );
    }
    let requests: Arc<Vec<_>> = Arc::new(
        (0..16)
            .map(|batch| {
                let events: Vec<_> = (0..BATCH)
                    .map(|number| load::json(batch * BATCH + number, "rule-hit"))
                    .collect();
                load::request(KEY, &format!("[{}]", events.join(",")))
            })
            .collect(),
    );
    let cost = Cost::begin([
        ("mutt ingestor", vec![ingestor.pid()]),
        (
            "mutt alerter",
            roles.iter().map(crate::processes::Role::pid).collect(),
        ),
        ("Redis", setup.redis.pid().into_iter().collect()),
        ("PostgreSQL", setup.postgres.pid().into_iter().collect()),
    ]);
    let began = Instant::now();
    let sent = load::post(ingestor.addr, 4, duration, requests).await?;
    let cost = cost.end();
    let events = sent.accepted * BATCH;
    while engine.event_depth().await? > 0 || engine.audit_count().await? < events {
        if began.elapsed() > duration + PATIENCE {
            bail!("the backlog is not decided in time");
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let rate = events as f64 / began.elapsed().as_secs_f64();
    let rows = setup.postgres.sql_in(
        crate::setup::DATABASE,
        "SELECT count(*) FROM event_audit_log",
    );
    check("audit rows", rows.parse()?, events)?;
    let name = match alerters {
        1 => "one alerter".to_owned(),
        many => format!("{many} alerters"),
    };
    let mut figures = vec![figure(
        format!("{name}: received, decided, on record"),
        rate,
        "events/s",
        target,
    )];
    for (of, share) in cost {
        figures.push(figure(
            format!("{name}: processor time of {of}"),
            share,
            "% of a core",
            "",
        ));
    }
    Ok((rate, figures))
}

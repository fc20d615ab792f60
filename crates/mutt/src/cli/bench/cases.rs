//! The measurements.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mutt_engine::AuditFilter;
use mutt_forwarder::MockMoog;
use mutt_rules::{Handling, MatchType, Mode, RuleDraft};
use mutt_traffic::load;

use crate::cli::bench::browsers;
use crate::cli::bench::server::{KEY, NullServer, Server};
use crate::cli::bench::{Case, Figure};
use crate::exit::{Failure, Outcome};

/// How long a backlog may take to be decided after the load ended.
pub const DRAIN: Duration = Duration::from_mins(5);

pub fn figure(
    case: &'static str,
    what: &str,
    value: f64,
    unit: &'static str,
    target: &str,
) -> Figure {
    Figure {
        case,
        what: what.to_owned(),
        value,
        unit,
        target: target.to_owned(),
    }
}

/// Runs one case.
pub async fn measure(case: Case, seconds: u64) -> Outcome<Vec<Figure>> {
    let duration = Duration::from_secs(seconds.max(1));
    match case {
        Case::Start => start().await,
        Case::HttpSingle => http_single(duration).await,
        Case::HttpBatch => http_batch(duration).await,
        Case::SyslogTcp => syslog_tcp(duration).await,
        Case::SyslogUdp => syslog_udp(duration).await,
        Case::Pipeline => pipeline("pipeline", duration, 1, 1000, "≥ 40,000 events/s").await,
        Case::PipelineTenth => {
            pipeline("pipeline-tenth", duration, 10, 1000, "≥ 120,000 events/s").await
        }
        Case::Rules => rules(duration).await,
        Case::Latency => latency(duration).await,
        Case::Browsers => browsers::browsers(duration).await,
    }
}

fn rule(text: String, match_type: MatchType, priority: i32, handling: Handling) -> RuleDraft {
    RuleDraft {
        match_string: Some(text),
        trap_oid: None,
        syslog_severity: None,
        match_type,
        priority,
        prod_handling: handling,
        dev_handling: Handling::Ignore,
        team_assignment: "NetOps".into(),
        is_active: true,
        mode: Mode::Enforce,
        description: None,
    }
}

/// `count` rules, one in five a regex, of which only the last matches the generated messages, and
/// only those that contain `hit`.
pub fn rule_set(count: usize, handling: Handling) -> Vec<RuleDraft> {
    let mut rules: Vec<_> = (1..count)
        .map(|n| {
            if n % 5 == 0 {
                rule(
                    format!("NEVER-{n}-[A-Z]+: peer (up|down)"),
                    MatchType::Regex,
                    10,
                    handling,
                )
            } else {
                rule(
                    format!("%NEVER-{n}-SEEN"),
                    MatchType::Contains,
                    10,
                    handling,
                )
            }
        })
        .collect();
    rules.push(rule("rule-hit".into(), MatchType::Contains, 100, handling));
    rules
}

async fn start() -> Outcome<Vec<Figure>> {
    let mut ready = Vec::new();
    let mut memory = 0.0;
    for _ in 0..5 {
        let server = Server::start(Vec::new(), &[]).await?;
        ready.push(server.ready_after.as_secs_f64() * 1e3);
        tokio::time::sleep(Duration::from_secs(1)).await;
        memory = server.resident();
        server.stop().await?;
    }
    Ok(vec![
        figure(
            "start",
            "start to ready, median of 5",
            load::percentile(&mut ready, 0.5),
            "ms",
            "≤ 300 ms",
        ),
        figure("start", "memory when idle", memory, "MiB", "≤ 40 MiB"),
    ])
}

async fn http_single(duration: Duration) -> Outcome<Vec<Figure>> {
    let requests: Arc<Vec<_>> = Arc::new(
        (0..64)
            .map(|n| load::request(KEY, &load::json(n, "rule-hit")))
            .collect(),
    );
    // Turn by turn, so that both see the same machine.
    let server = Server::ingestor().await?;
    let null = NullServer::start().await?;
    let (mut ours, mut reference) = (Vec::new(), Vec::new());
    let turn = duration / 4;
    let mut accepted = 0;
    for _ in 0..4 {
        reference.push(
            load::post(null.addr, 64, turn, requests.clone())
                .await?
                .rate(),
        );
        let sent = load::post(server.ingest, 64, turn, requests.clone()).await?;
        accepted += sent.accepted;
        ours.push(sent.rate());
    }
    let counted = server.counter("mutt_ingest_requests_total").await;
    server.stop().await?;
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    check("requests counted by the server", counted as u64, accepted)?;
    let (ours, reference) = (
        load::percentile(&mut ours, 0.5),
        load::percentile(&mut reference, 0.5),
    );
    Ok(vec![
        figure(
            "http-single",
            "single events, durable on 200",
            ours,
            "events/s",
            "",
        ),
        figure(
            "http-single",
            "handler that only answers 200",
            reference,
            "requests/s",
            "",
        ),
        figure("http-single", "ratio", ours / reference, "", "≥ 0.60"),
    ])
}

async fn http_batch(duration: Duration) -> Outcome<Vec<Figure>> {
    let server = Server::ingestor().await?;
    let requests: Arc<Vec<_>> = Arc::new(
        (0..16)
            .map(|batch| {
                let events: Vec<_> = (0..100)
                    .map(|n| load::json(batch * 100 + n, "batch"))
                    .collect();
                load::request(KEY, &format!("[{}]", events.join(",")))
            })
            .collect(),
    );
    let sent = load::post(server.ingest, 8, duration, requests).await?;
    server.stop().await?;
    Ok(vec![figure(
        "http-batch",
        "batches of 100, 8 connections",
        sent.rate() * 100.0,
        "events/s",
        "≥ 300,000",
    )])
}

async fn syslog_tcp(duration: Duration) -> Outcome<Vec<Figure>> {
    let server = Server::ingestor().await?;
    let sent = load::tcp(server.syslog, 4, duration, "tcp").await?;
    let received = server.counter("mutt_ingest_accepted_total").await;
    server.stop().await?;
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    check("lines accepted", received as u64, sent.accepted)?;
    Ok(vec![figure(
        "syslog-tcp",
        "4 connections, durable",
        sent.rate(),
        "lines/s",
        "≥ 300,000",
    )])
}

async fn syslog_udp(duration: Duration) -> Outcome<Vec<Figure>> {
    let mut figures = Vec::new();
    for rate in [50_000.0, 120_000.0, 200_000.0] {
        let server = Server::ingestor().await?;
        let sent = load::udp(server.syslog, rate, duration.min(Duration::from_secs(10))).await?;
        let mut received = 0.0;
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(15) {
            received = server.counter("mutt_ingest_accepted_total").await;
            if received >= sent.accepted as f64 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        server.stop().await?;
        let target = if rate > 150_000.0 { "" } else { "0 lost" };
        figures.push(figure(
            "syslog-udp",
            &format!("sent at {:.0}/s: received", sent.rate()),
            received / sent.seconds,
            "datagrams/s",
            "≥ 120,000",
        ));
        figures.push(figure(
            "syslog-udp",
            &format!("sent at {:.0}/s: lost", sent.rate()),
            sent.accepted as f64 - received,
            "datagrams",
            target,
        ));
    }
    Ok(figures)
}

/// Offers batches as fast as they are decided, and waits until every matched event has its row.
async fn pipeline(
    name: &'static str,
    duration: Duration,
    one_in: u64,
    rule_count: usize,
    target: &str,
) -> Outcome<Vec<Figure>> {
    let server = Server::start(
        rule_set(rule_count, Handling::LogOnly),
        &[
            // A short queue, so that what is accepted is soon decided: the rate is that of the slowest.
            ("MAX_INGEST_QUEUE_SIZE", "50000".into()),
            ("UNHANDLED_EVENT_THRESHOLD", "100000000".into()),
        ],
    )
    .await?;
    let requests: Arc<Vec<_>> = Arc::new(
        (0..16)
            .map(|batch| {
                let events: Vec<_> = (0..100)
                    .map(|n| {
                        load::json(
                            batch * 100 + n,
                            if n % one_in == 0 {
                                "rule-hit"
                            } else {
                                "unknown"
                            },
                        )
                    })
                    .collect();
                load::request(KEY, &format!("[{}]", events.join(",")))
            })
            .collect(),
    );
    let began = Instant::now();
    // Memory over time: after a sixth of the run, and at most.
    let watch = tokio::spawn({
        let resident = server.resident_probe();
        async move {
            let (mut early, mut most) = (0.0_f64, 0.0_f64);
            while began.elapsed() < duration {
                most = most.max(resident());
                if began.elapsed() < duration / 6 {
                    early = most;
                }
                tokio::time::sleep(Duration::from_millis(250)).await;
            }
            (early, most)
        }
    });
    let sent = load::post(server.ingest, 4, duration, requests).await?;
    let events = sent.accepted * 100;
    let expected = events / one_in;
    let engine = server.engine()?;
    loop {
        if engine.event_depth().await? == 0 && engine.audit_count().await? >= expected {
            break;
        }
        if began.elapsed() > duration + DRAIN {
            return Err(Failure::failed("the backlog was not decided in time"));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let seconds = began.elapsed().as_secs_f64();
    let rows = engine.audit_count().await?;
    engine.close().await;
    let (early, most) = watch.await.map_err(Failure::failed)?;
    server.stop().await?;
    check("audit rows", rows, expected)?;
    let what = format!("{rule_count} rules, 1 in {one_in} matched and audited");
    Ok(vec![
        figure(name, &what, events as f64 / seconds, "events/s", target),
        figure(name, "memory in the first sixth", early, "MiB", ""),
        figure(name, "memory at most", most, "MiB", "≤ 200 MiB"),
    ])
}

async fn rules(duration: Duration) -> Outcome<Vec<Figure>> {
    let few = pipeline("rules", duration, 1, 10, "").await?;
    let many = pipeline("rules", duration, 1, 10_000, "").await?;
    let ratio = few[0].value / many[0].value;
    Ok(vec![
        few[0].clone(),
        many[0].clone(),
        figure(
            "rules",
            "cost of 10,000 rules compared with 10",
            ratio,
            "",
            "≤ 2",
        ),
    ])
}

/// Latency from the time at which each event was due to be sent.
async fn latency(duration: Duration) -> Outcome<Vec<Figure>> {
    const RATE: f64 = 1000.0;
    let mock = MockMoog::start(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
        .await
        .map_err(Failure::failed)?;
    let server = Server::start(
        rule_set(1000, Handling::TicketOnly),
        &[
            ("MOOG_WEBHOOK_URL", mock.url()),
            ("MOOG_RATE_LIMIT", "1000000".into()),
        ],
    )
    .await?;
    // For the first period after a start the limit counts as used: nothing goes out.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let engine = server.engine()?;
    let (began, started) = (Instant::now(), jiff::Timestamp::now());
    let sender = tokio::spawn(load::paced(server.ingest, KEY, RATE, duration, began, 16));
    let mut audited: HashMap<u64, f64> = HashMap::new();
    let mut delivered: HashMap<u64, f64> = HashMap::new();
    let (mut last_id, mut seen) = (0, 0_u64);
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let expected = (duration.as_secs_f64() * RATE) as usize;
    let end = duration + Duration::from_secs(30);
    while (audited.len() < expected || delivered.len() < expected) && began.elapsed() < end {
        let rows = engine
            .audit_rows(AuditFilter {
                limit: 500,
                ..AuditFilter::default()
            })
            .await?;
        let now = began.elapsed().as_secs_f64();
        for row in rows.iter().take_while(|row| row.id > last_id) {
            if let Some(number) = load::number_in(&row.raw_message) {
                audited.entry(number).or_insert(now);
            }
        }
        last_id = rows.first().map_or(last_id, |row| row.id);
        let answered: u64 = mock.stats(Duration::from_secs(1)).by_status.values().sum();
        for request in mock.received(usize::try_from(answered - seen).unwrap_or(usize::MAX)) {
            if let Some(number) = load::number_in(&request.body) {
                let at = request.at.duration_since(started).as_secs_f64();
                delivered.entry(number).or_insert(at);
            }
        }
        seen = answered;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let accepted = sender.await.map_err(Failure::failed)??;
    let rows = engine.audit_count().await?;
    engine.close().await;
    server.stop().await?;
    check("audit rows", rows, accepted)?;
    let late = |times: &HashMap<u64, f64>, share: f64| {
        let mut late: Vec<f64> = times
            .iter()
            .map(|(number, at)| (at - *number as f64 / RATE) * 1e3)
            .collect();
        load::percentile(&mut late, share)
    };
    Ok(vec![
        figure(
            "latency",
            "receive to audit row, p50",
            late(&audited, 0.5),
            "ms",
            "",
        ),
        figure(
            "latency",
            "receive to audit row, p99",
            late(&audited, 0.99),
            "ms",
            "≤ 10 ms",
        ),
        figure(
            "latency",
            "receive to delivery, p50",
            late(&delivered, 0.5),
            "ms",
            "",
        ),
        figure(
            "latency",
            "receive to delivery, p99",
            late(&delivered, 0.99),
            "ms",
            "≤ 25 ms",
        ),
    ])
}

/// The ledger: what the sender counted and what arrived must be the same.
fn check(what: &str, got: u64, expected: u64) -> Outcome {
    if got == expected {
        return Ok(());
    }
    Err(Failure::problem(format!(
        "{what}: {got}, but the sender's ledger says {expected}"
    )))
}

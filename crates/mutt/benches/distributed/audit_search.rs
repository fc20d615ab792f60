//! Pages of the audit trail: keyset paging through `audit_rows` for each filter, the first page and
//! the 50th, over four monthly partitions; and what PostgreSQL's plans of these very queries read.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use jiff::{SignedDuration, Timestamp};
use mutt_engine::{Audit as _, AuditFilter};
use mutt_event::EventId;
use mutt_postgres::Postgres;
use mutt_traffic::load;

use crate::Options;
use crate::report::Figure;
use crate::setup::{APP, DATABASE, Setup};

/// Rows of one page.
const PAGE: usize = 100;
/// The page that is looked at beside the first.
const FAR: usize = 50;
/// Searches with each filter, each for something else.
const SEARCHES: u64 = 20;
/// Partitions.
const MONTHS: u32 = 4;
/// Rows written by one statement.
const CHUNK: u64 = 250_000;
/// Hosts, rules, and rows that share a correlation id.
const HOSTS: u64 = 2_000;
const RULES: u64 = 1_000;
const CORRELATED: u64 = 100;

pub async fn measure(options: &Options) -> Result<Vec<Figure>> {
    let setup = Setup::start().await?;
    let rows = options.rows.max(CHUNK);
    fill(&setup, rows).await?;
    let stored = stored(&setup).await?;
    let mut figures = Vec::new();
    let postgres = Postgres::open(setup.postgres_options())?;
    for kind in Kind::ALL {
        let (mut first, mut far) = (Vec::new(), Vec::new());
        for search in 0..kind.searches() {
            let filter = kind.filter(&stored, search)?;
            let times = if kind == Kind::RareText {
                // Every row is read; where that takes too long PostgreSQL's time-out is the figure.
                let start = Instant::now();
                let _ = postgres.audit_rows(filter).await;
                vec![start.elapsed().as_secs_f64() * 1e3]
            } else {
                pages(&postgres, filter).await?
            };
            first.extend(times.first());
            far.extend(times.get(FAR - 1));
        }
        for (times, page) in [(&mut first, 1), (&mut far, FAR)] {
            if !times.is_empty() {
                figures.push(Figure::new(
                    "audit-search",
                    format!("{rows} rows, {}: page {page}, p95", kind.words()),
                    load::percentile(times, 0.95),
                    "ms",
                    kind.target(),
                ));
            }
        }
    }
    figures.extend(plans(&setup, &stored).await?);
    Ok(figures)
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Nothing,
    Host,
    Rule,
    Correlation,
    Event,
    Hour,
    HostInWeek,
    FrequentText,
    RareTextInHour,
    RareText,
}

impl Kind {
    const ALL: [Self; 10] = [
        Self::Nothing,
        Self::Host,
        Self::Rule,
        Self::Correlation,
        Self::Event,
        Self::Hour,
        Self::HostInWeek,
        Self::FrequentText,
        Self::RareTextInHour,
        Self::RareText,
    ];

    fn words(self) -> &'static str {
        match self {
            Self::Nothing => "no filter",
            Self::Host => "host",
            Self::Rule => "rule",
            Self::Correlation => "correlation id",
            Self::Event => "event id",
            Self::Hour => "one hour",
            Self::HostInWeek => "host in one week",
            Self::FrequentText => "text of 1 row in 100",
            Self::RareTextInHour => "text of 1 row in 100,000, in one hour",
            Self::RareText => "text of 1 row in 100,000",
        }
    }

    fn searches(self) -> u64 {
        match self {
            Self::RareText => 3,
            _ => SEARCHES,
        }
    }

    fn target(self) -> &'static str {
        match self {
            // Nothing but reading every row can find it.
            Self::RareText => "",
            _ => "≤ 50 ms",
        }
    }

    fn target_of_plan(self) -> &'static str {
        match self {
            Self::RareText => "",
            _ => "0",
        }
    }

    /// One search of this kind; each looks for something else.
    fn filter(self, stored: &Stored, search: u64) -> Result<AuditFilter> {
        let mut filter = AuditFilter {
            limit: PAGE,
            ..AuditFilter::default()
        };
        // Spread over the whole time that there is.
        let span = stored.until.duration_since(stored.since);
        let share = i32::try_from(search)? + 1;
        let at = stored.since + span * share / (i32::try_from(SEARCHES)? + 2);
        match self {
            Self::Nothing | Self::Hour => {}
            Self::Host | Self::HostInWeek => {
                filter.hostname = Some(format!("HOST-{}.example.net", search * 97 % HOSTS));
            }
            Self::Rule => filter.rule_id = Some(i64::try_from(search * 31 % RULES + 1)?),
            Self::Correlation => {
                let index = usize::try_from(search)? % stored.samples.len();
                filter.correlation_id = Some(stored.samples[index].1.clone());
            }
            Self::Event => {
                let index = usize::try_from(search)? % stored.samples.len();
                filter.event_id = Some(stored.samples[index].0);
            }
            Self::FrequentText => filter.text = Some(format!("slot {}/", search * 5 % 100)),
            Self::RareText | Self::RareTextInHour => {
                filter.text = Some(format!("serial {};", search * 4801 % 100_000));
            }
        }
        let window = match self {
            Self::Hour | Self::RareTextInHour => SignedDuration::from_hours(1),
            Self::HostInWeek => SignedDuration::from_hours(24 * 7),
            _ => return Ok(filter),
        };
        filter.since = Some(at);
        filter.until = Some(at + window);
        Ok(filter)
    }
}

/// What there is to be found.
struct Stored {
    since: Timestamp,
    until: Timestamp,
    /// The row's number in the middle.
    middle: i64,
    samples: Vec<(EventId, String)>,
}

/// Writes so many rows, evenly over four months up to now, oldest first.
async fn fill(setup: &Setup, rows: u64) -> Result<()> {
    let session = setup.session(DATABASE).await?;
    session
        .batch_execute(&format!(
            "SET synchronous_commit = off;
             SELECT create_monthly_partition((now() - make_interval(months => n))::date)
             FROM generate_series(0, {MONTHS} - 1) AS n"
        ))
        .await?;
    let insert = format!(
        "INSERT INTO event_audit_log (event_id, event_timestamp, received_at, hostname, source,
             syslog_severity, environment, matched_rule_id, rule_version, handling_decision,
             team_assignment, forwarded_to_moog, correlation_id, raw_message)
         SELECT gen_random_uuid(), at, at + interval '3 ms', host, 'syslog', n % 8, 'production',
             nullif(n * 7 % ({RULES} + 1), 0), 1, 'Log_only', 'NetOps', false,
             'request-' || n / {CORRELATED},
             json_build_object('hostname', host, 'message', format('%%LINK-3-UPDOWN: Interface '
                 'GigabitEthernet%s/0/%s, changed state to down; slot %s/; neighbor 10.%s.%s.%s '
                 'lost, hold time expired, area 0.0.0.0, process 1; serial %s; see the manual',
                 n % 9, n % 48, n % 100, n % 4, n % 256, n % 250, n % 100000),
                 'syslog_severity', n % 8, 'source', 'syslog', 'timestamp', at)::text
         FROM generate_series($1::bigint, $2::bigint) AS n,
             LATERAL (SELECT first + (last - first) * (n::float8 / {rows}) AS at FROM
                 (SELECT date_trunc('month', now()) - make_interval(months => {MONTHS} - 1) AS first,
                      now() AS last) AS span) AS times,
             LATERAL (SELECT 'host-' || n * 7919 % {HOSTS} || '.example.net' AS host) AS hosts"
    );
    let insert = session.prepare(&insert).await?;
    let started = Instant::now();
    let mut first = 0;
    while first < rows {
        let last = (first + CHUNK).min(rows);
        let range = [i64::try_from(first)?, i64::try_from(last)? - 1];
        session.execute(&insert, &[&range[0], &range[1]]).await?;
        first = last;
        if first.is_multiple_of(CHUNK * 4) {
            eprintln!("  {first} rows in {:.0} s", started.elapsed().as_secs_f64());
        }
    }
    for tidy in ["VACUUM ANALYZE event_audit_log", "CHECKPOINT"] {
        session.batch_execute(tidy).await?;
    }
    Ok(())
}

async fn stored(setup: &Setup) -> Result<Stored> {
    let session = setup.session(DATABASE).await?;
    let span = session
        .query_one(
            "SELECT extract(epoch FROM min(event_timestamp))::bigint,
                 extract(epoch FROM max(event_timestamp))::bigint, (min(id) + max(id)) / 2
             FROM event_audit_log",
            &[],
        )
        .await?;
    let rows = session
        .query(
            "SELECT event_id::text, correlation_id FROM event_audit_log
             TABLESAMPLE system (1) ORDER BY random() LIMIT 50",
            &[],
        )
        .await?;
    let samples = rows.iter().map(|row| {
        let id = row.try_get::<_, &str>(0)?.parse().ok();
        Ok((id.context("an event id")?, row.try_get(1)?))
    });
    let samples: Vec<_> = samples.collect::<Result<_>>()?;
    ensure!(!samples.is_empty(), "no rows to look for");
    Ok(Stored {
        since: Timestamp::from_second(span.try_get(0)?)?,
        until: Timestamp::from_second(span.try_get(1)?)?,
        middle: span.try_get(2)?,
        samples,
    })
}

/// Milliseconds of each page, as far as there are pages and up to [`FAR`].
async fn pages(postgres: &Postgres, mut filter: AuditFilter) -> Result<Vec<f64>> {
    let mut times = Vec::new();
    let patience = Instant::now();
    while times.len() < FAR && patience.elapsed() < Duration::from_secs(30) {
        let start = Instant::now();
        let rows = postgres.audit_rows(filter.clone()).await?;
        let time = start.elapsed().as_secs_f64() * 1e3;
        ensure!(
            rows.windows(2).all(|pair| pair[0].id > pair[1].id),
            "a page is not in order"
        );
        if rows.is_empty() && !times.is_empty() {
            break;
        }
        times.push(time);
        filter.before_id = rows.last().map(|row| row.id);
        if rows.len() < PAGE {
            break;
        }
    }
    Ok(times)
}

/// Has PostgreSQL write down the plans of the same calls, and counts partitions that a search reads
/// from end to end.
async fn plans(setup: &Setup, stored: &Stored) -> Result<Vec<Figure>> {
    for (name, value) in [
        ("session_preload_libraries", "auto_explain"),
        ("auto_explain.log_min_duration", "0"),
        ("auto_explain.log_analyze", "on"),
        ("auto_explain.log_timing", "off"),
    ] {
        setup
            .postgres
            .sql(&format!("ALTER ROLE {APP} SET {name} = '{value}'"));
    }
    let filled = setup.postgres.sql_in(
        DATABASE,
        "SELECT inhrelid::regclass FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
         WHERE inhparent = 'event_audit_log'::regclass AND reltuples > 0",
    );
    let filled: BTreeSet<&str> = filled.lines().collect();
    let postgres = Postgres::open(setup.postgres_options())?;
    let log = setup.postgres.dir().join("postgres.log");
    let mut figures = Vec::new();
    for kind in Kind::ALL {
        for before_id in [None, Some(stored.middle)] {
            let before = std::fs::metadata(&log)?.len();
            let filter = AuditFilter {
                before_id,
                ..kind.filter(stored, 7)?
            };
            if let Err(error) = postgres.audit_rows(filter).await {
                ensure!(kind == Kind::RareText, error);
                continue;
            }
            let text = std::fs::read(&log)?;
            let text = String::from_utf8_lossy(&text[usize::try_from(before)?..]).into_owned();
            ensure!(
                text.contains("Query Text"),
                "PostgreSQL wrote no plan:\n{text}"
            );
            let words = match before_id {
                None => kind.words().to_owned(),
                Some(_) => format!("{}, far back", kind.words()),
            };
            let scans = text.lines().filter(|line| line.contains("Seq Scan on "));
            let whole: BTreeSet<(&str, &str)> = scans
                .filter(|line| !line.contains("never executed"))
                .filter_map(|line| {
                    Some((line.split("Seq Scan on ").nth(1)?.split(' ').next()?, line))
                })
                .filter(|(partition, _)| filled.contains(partition))
                .collect();
            for (_, line) in &whole {
                eprintln!("    {words}: {}", line.trim());
            }
            let partitions: BTreeSet<&str> =
                whole.iter().map(|(partition, _)| *partition).collect();
            figures.push(Figure::new(
                "audit-search",
                format!("{words}: partitions read from end to end"),
                partitions.len() as f64,
                "",
                kind.target_of_plan(),
            ));
        }
    }
    Ok(figures)
}

//! The catalogue of metrics (docs/metrics.md) and what `/metrics` of a real process serves, on either
//! engine, compared in both directions; and the page itself: valid OpenMetrics with a bounded set of
//! series.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Child, Stdio};

use mutt_testbed::{Postgres, Redis};
use support::{Mutt, Port, until};

const CATALOGUE: &str = include_str!("../../../docs/metrics.md");
/// The sections of the catalogue that every process with all roles serves.
const SECTIONS: [&str; 6] = [
    "Every process",
    "Ingestor",
    "Alerter",
    "Forwarder",
    "Remediation",
    "Web UI and API",
];
/// The section of what the distributed engine adds.
const DISTRIBUTED: &str = "Distributed engine";
/// A histogram in milliseconds: a name of 2.5 that dashboards know.
const IN_MILLISECONDS: [&str; 1] = ["mutt_db_write_latency_ms"];

/// What was promised to those who come from 2.3 and 2.5: served, or named as not served.
const KEPT: &str = "
    mutt_ingest_requests_total mutt_ingest_queue_depth mutt_ingest_latency_seconds
    mutt_ingest_rate_limit_hits_total mutt_alerter_events_processed_total
    mutt_alerter_messages_processed_total mutt_alerter_unhandled_events_total
    mutt_alerter_processing_latency_seconds mutt_alerter_db_write_latency_seconds
    mutt_db_write_latency_ms mutt_alerter_queue_depth mutt_alert_queue_depth
    mutt_alerter_processing_list_depth mutt_alerter_shed_events_total
    mutt_alerter_alerts_forwarded_total mutt_alerter_unhandled_meta_alerts_total
    mutt_alerter_cache_rules_count mutt_alerter_cache_dev_hosts_count
    mutt_alerter_cache_teams_count mutt_alerter_cache_reload_total
    mutt_alerter_cache_reload_failures_total mutt_alerter_cache_reload_latency_seconds
    mutt_alerter_rule_cache_load_success mutt_alerter_dlq_depth mutt_moog_requests_total
    mutt_moog_request_latency_seconds mutt_moog_forward_latency_seconds mutt_moog_retry_count_total
    mutt_moog_rate_limit_hits_total mutt_moog_dlq_depth mutt_moog_processing_list_depth
    mutt_moog_alerts_processed_total mutt_moog_circuit_open mutt_circuit_breaker_state
    mutt_circuit_breaker_failures mutt_circuit_breaker_state_changes_total
    mutt_remediation_replayed_total mutt_remediation_replay_success_total
    mutt_remediation_replay_fail_total mutt_remediation_poison_messages_total
    mutt_remediation_dlq_depth mutt_remediation_loops_total mutt_remediation_moog_health
    mutt_remediation_loop_duration_seconds mutt_webui_api_requests_total
    mutt_webui_api_latency_seconds mutt_webui_redis_scan_latency_seconds
    mutt_webui_db_query_latency_ms mutt_retention_events_archived_total
    mutt_retention_archived_rows_total mutt_retention_events_deleted_total
    mutt_retention_deleted_rows_total mutt_retention_config_audits_deleted_total
    mutt_retention_errors_total mutt_retention_failures_total mutt_retention_last_run_timestamp
    mutt_retention_enforcement_duration_seconds mutt_retention_cleanup_records_deleted_total
    mutt_retention_cleanup_errors_total mutt_retention_cleanup_last_run_timestamp_seconds
    mutt_retention_policy_days flask_http_request_total flask_http_request_duration_seconds
    flask_http_request_exceptions_total flask_exporter_info";

type Labels = BTreeMap<String, String>;

/// A metric, as the catalogue or a page has it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Metric {
    kind: String,
    meaning: String,
    series: BTreeSet<Labels>,
}

/// Metrics by the name that queries use: with `_total`.
type Metrics = BTreeMap<String, Metric>;

// --- the catalogue ------------------------------------------------------------------------------

/// The cells of the table rows below a heading, without head and rule.
fn rows(heading: &str) -> Vec<Vec<&'static str>> {
    CATALOGUE
        .lines()
        .skip_while(|line| *line != heading)
        .skip(1)
        .take_while(|line| !line.starts_with('#'))
        .filter(|line| line.starts_with("| `"))
        .map(|line| line.trim_matches('|').split(" | ").map(str::trim).collect())
        .collect()
}

/// The texts between backticks.
fn code(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

fn sections() -> Vec<&'static str> {
    SECTIONS.into_iter().chain([DISTRIBUTED]).collect()
}

fn not_served() -> BTreeSet<&'static str> {
    rows("## Not served")
        .iter()
        .flat_map(|row| code(row[0]))
        .collect()
}

/// Every combination of `{listener, reason="auth/json"}`.
fn combinations(set: &str) -> BTreeSet<Labels> {
    let words: BTreeMap<&str, Vec<&str>> = rows("# Metrics")
        .iter()
        .map(|row| (code(row[0])[0], code(row[1])))
        .collect();
    let set = set
        .strip_prefix('{')
        .and_then(|set| set.strip_suffix('}'))
        .unwrap_or_else(|| panic!("{set}: a label set is in braces"));
    let mut all = vec![Labels::new()];
    for label in set.split(", ") {
        let (name, values) = match label.split_once('=') {
            Some((name, values)) => (name, values.trim_matches('"').split('/').collect()),
            None => (
                label,
                words
                    .get(label)
                    .unwrap_or_else(|| panic!("{label}: it has no row in the table of labels"))
                    .clone(),
            ),
        };
        all = all
            .iter()
            .flat_map(|labels| {
                values.iter().map(move |&value| {
                    let mut labels = labels.clone();
                    labels.insert(name.into(), value.into());
                    labels
                })
            })
            .collect();
    }
    all.into_iter().collect()
}

fn catalogue(sections: &[&str]) -> Metrics {
    let mut metrics = Metrics::new();
    for section in sections {
        let rows = rows(&format!("## {section}"));
        assert!(!rows.is_empty(), "the catalogue has no section {section}");
        for row in rows {
            assert_eq!(
                row.len(),
                6,
                "a row of the catalogue has six cells: {row:?}"
            );
            let mut series: BTreeSet<Labels> =
                code(row[2]).into_iter().flat_map(combinations).collect();
            if series.is_empty() {
                series.insert(Labels::new());
            }
            let metric = Metric {
                kind: row[1].into(),
                meaning: row[4].into(),
                series,
            };
            let name = code(row[0])[0];
            assert!(
                metrics.insert(name.into(), metric).is_none(),
                "{name} is in the catalogue twice"
            );
        }
    }
    metrics
}

// --- the page -----------------------------------------------------------------------------------

/// What follows a family's name in its samples.
fn suffixes(kind: &str) -> &'static [&'static str] {
    match kind {
        "counter" => &["_total"],
        "gauge" => &[""],
        "histogram" => &["_bucket", "_sum", "_count"],
        other => panic!("a type that MUTT does not use: {other}"),
    }
}

/// `name{a="b"} 1` → name, labels, value. No label of MUTT holds a quote or a backslash.
fn sample(line: &str) -> (&str, Labels, f64) {
    let (series, value) = line.rsplit_once(' ').expect("a value");
    let (name, labels) = match series.split_once('{') {
        None => (series, Labels::new()),
        Some((name, labels)) => {
            let labels = labels.strip_suffix('}').expect("a closing brace");
            let pairs: Vec<_> = labels
                .split("\",")
                .map(|pair| {
                    let (label, value) = pair.split_once("=\"").expect("a value in quotes");
                    (label.into(), value.trim_end_matches('"').into())
                })
                .collect();
            let count = pairs.len();
            let labels: Labels = pairs.into_iter().collect();
            assert_eq!(labels.len(), count, "a label is there twice: {line}");
            assert!(!line.contains('\\'), "{line}");
            (name, labels)
        }
    };
    (name, labels, value.parse().expect("a number"))
}

#[derive(Debug)]
struct Family {
    name: String,
    kind: String,
    help: String,
    samples: BTreeMap<(String, Labels), f64>,
}

/// Reads a page and fails where it is not valid OpenMetrics.
fn families(page: &str) -> Vec<Family> {
    let mut families: Vec<Family> = Vec::new();
    let body = page
        .strip_suffix("# EOF\n")
        .expect("the page ends in # EOF");
    let mut help = None;
    for line in body.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            help = rest.split_once(' ');
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("a type");
            let (named, help) = help
                .take()
                .expect("every family has a HELP line before its TYPE");
            assert_eq!(named, name, "HELP and TYPE of one family");
            assert!(
                families.iter().all(|family| family.name != name),
                "{name} is served twice"
            );
            families.push(Family {
                name: name.into(),
                kind: kind.into(),
                help: help.trim_end_matches('.').into(),
                samples: BTreeMap::new(),
            });
        } else {
            assert!(!line.starts_with('#'), "an unexpected line: {line}");
            let (name, labels, value) = sample(line);
            let family = families.last_mut().expect("a TYPE line before samples");
            let suffix = name.strip_prefix(family.name.as_str());
            assert!(
                suffix.is_some_and(|suffix| suffixes(&family.kind).contains(&suffix)),
                "{line} among the samples of {} ({})",
                family.name,
                family.kind
            );
            assert!(
                value >= 0.0,
                "nothing that MUTT measures is negative: {line}"
            );
            assert!(
                family
                    .samples
                    .insert((name.into(), labels), value)
                    .is_none(),
                "a series is served twice: {line}"
            );
        }
    }
    // No family's sample may be mistaken for another's.
    let mut names = BTreeSet::new();
    for family in &families {
        for suffix in suffixes(&family.kind) {
            let name = format!("{}{suffix}", family.name);
            assert!(names.insert(name.clone()), "{name} belongs to two families");
        }
        if family.kind == "histogram" {
            check_histogram(family);
        }
    }
    families
}

/// Buckets only grow, and the last one, `+Inf`, is the count.
fn check_histogram(family: &Family) {
    let name = &family.name;
    let mut buckets: BTreeMap<Labels, Vec<(f64, f64)>> = BTreeMap::new();
    for ((sample, labels), &value) in &family.samples {
        if sample.ends_with("_bucket") {
            let mut labels = labels.clone();
            let bound = labels.remove("le").expect("a bucket has a bound");
            let bound = bound.parse().expect("a bound is a number");
            buckets.entry(labels).or_default().push((bound, value));
        }
    }
    assert!(!buckets.is_empty(), "{name} has no buckets");
    for (labels, mut buckets) in buckets {
        buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        assert!(
            buckets.is_sorted_by(|a, b| a.1 <= b.1),
            "{name}: {buckets:?}"
        );
        let (bound, all) = *buckets.last().expect("a bucket");
        assert!(bound.is_infinite(), "{name} has no bucket +Inf");
        let count = family.samples[&(format!("{name}_count"), labels.clone())];
        assert!(
            (all - count).abs() < 0.5,
            "{name}: {all} in buckets, {count} counted"
        );
        assert!(
            family
                .samples
                .contains_key(&(format!("{name}_sum"), labels))
        );
    }
}

/// What a page serves, in the catalogue's terms.
fn served(page: &str) -> Metrics {
    families(page)
        .into_iter()
        .map(|family| {
            let suffix = if family.kind == "counter" {
                "_total"
            } else {
                ""
            };
            let series = family.samples.into_keys().map(|(_, mut labels)| {
                labels.remove("le");
                // Any one version.
                if let Some(version) = labels.get_mut("version") {
                    "*".clone_into(version);
                }
                labels
            });
            let metric = Metric {
                kind: family.kind,
                meaning: family.help,
                series: series.collect(),
            };
            (format!("{}{suffix}", family.name), metric)
        })
        .collect()
}

async fn page(port: u16) -> String {
    let response = reqwest::get(format!("http://127.0.0.1:{port}/metrics"))
        .await
        .expect("an answer");
    assert_eq!(response.status(), 200);
    assert_eq!(
        response.headers()["content-type"],
        "application/openmetrics-text; version=1.0.0; charset=utf-8"
    );
    response.text().await.expect("a page")
}

/// Everything that differs, so that one run shows all of it.
fn differences(catalogued: &Metrics, served: &Metrics) -> Vec<String> {
    let mut found = Vec::new();
    for (name, metric) in served {
        let Some(known) = catalogued.get(name) else {
            found.push(format!(
                "{name} is served and not in docs/metrics.md: {} of labels {:?}: {}",
                metric.kind,
                metric.series.first(),
                metric.meaning
            ));
            continue;
        };
        if known.kind != metric.kind {
            found.push(format!("{name} is a {}, not a {}", metric.kind, known.kind));
        }
        if known.meaning != metric.meaning {
            found.push(format!("{name} means {:?}", metric.meaning));
        }
        for labels in metric.series.difference(&known.series) {
            found.push(format!(
                "{name}{labels:?} is served and not in docs/metrics.md"
            ));
        }
        for labels in known.series.difference(&metric.series) {
            found.push(format!(
                "{name}{labels:?} is in docs/metrics.md and not served"
            ));
        }
    }
    for name in catalogued.keys().filter(|name| !served.contains_key(*name)) {
        found.push(format!("{name} is in docs/metrics.md and not served"));
    }
    found
}

fn assert_same(catalogued: &Metrics, served: &Metrics) {
    let found = differences(catalogued, served);
    assert!(found.is_empty(), "{}", found.join("\n"));
}

// --- tests --------------------------------------------------------------------------------------

#[test]
fn names_of_older_releases_are_served_or_named_as_not_served() {
    let catalogued = catalogue(&sections());
    let missing = not_served();
    for name in KEPT.split_whitespace() {
        let known = catalogued.contains_key(name);
        assert!(
            known != missing.contains(name),
            "{name} must be in one table of docs/metrics.md: either served or not"
        );
    }
    // What the last column points at exists.
    for section in sections() {
        for row in rows(&format!("## {section}")) {
            for name in code(row[5]) {
                assert!(
                    catalogued.contains_key(name),
                    "{name} in the row of {}",
                    row[0]
                );
            }
        }
    }
}

#[test]
fn names_and_units_keep_to_the_conventions() {
    for section in sections() {
        for row in rows(&format!("## {section}")) {
            let (name, kind, unit) = (code(row[0])[0], row[1], row[3]);
            assert!(
                name.starts_with("mutt_") || name.starts_with("process_"),
                "{name}"
            );
            assert_eq!(kind == "counter", name.ends_with("_total"), "{name}");
            let base = name.trim_end_matches("_total");
            for (suffix, needed) in [
                ("_seconds", "seconds"),
                ("_bytes", "bytes"),
                ("_ms", "milliseconds"),
            ] {
                assert_eq!(base.ends_with(suffix), unit == needed, "{name} in {unit}");
            }
            assert!(!unit.is_empty(), "{name}");
            if kind == "histogram" {
                assert!(
                    unit == "seconds" || IN_MILLISECONDS.contains(&name),
                    "{name} in {unit}"
                );
            }
        }
    }
}

/// Switches on the ports that are off in most tests.
fn ports_of_every_role(mutt: &mut Mutt) -> [Port; 6] {
    [
        "SERVER_PORT_ALERTER",
        "SERVER_PORT_ALERTER_METRICS",
        "SERVER_PORT_MOOG_FORWARDER",
        "SERVER_PORT_MOOG_METRICS",
        "METRICS_PORT_REMEDIATION",
        "HEALTH_PORT_REMEDIATION",
    ]
    .map(|name| {
        let port = Port::take();
        mutt.set(name, &port.number.to_string());
        port
    })
}

#[tokio::test]
async fn the_catalogue_is_what_every_port_serves() {
    const HOST: &str = "a-host-that-no-label-may-hold";
    let mut mutt = Mutt::new(&[]);
    let ports = ports_of_every_role(&mut mutt);
    mutt.start().await;
    let catalogued = catalogue(&SECTIONS);
    let ingestor = mutt.ingest.number;
    // Before the first event: every series is made at the start.
    assert_same(&catalogued, &served(&page(ingestor).await));

    let good = format!(r#"{{"hostname":"{HOST}","message":"link down"}}"#);
    assert_eq!(mutt.post(good).await.unwrap().status(), 200);
    let bad = format!(r#"{{"hostname":"{HOST}""#);
    assert_eq!(mutt.post(bad).await.unwrap().status(), 400);
    // What a stranger may ask for makes no series either.
    for path in [
        format!("/{HOST}"),
        format!("/api/v2/{HOST}"),
        "/api/v2/status".into(),
    ] {
        let web = format!("http://{}{path}", mutt.webui.addr());
        let status = reqwest::get(web).await.unwrap().status();
        // Any other path is a page of the web interface.
        assert!(status.is_client_error() || !path.starts_with("/api/"));
        assert!(
            reqwest::get(mutt.url(&path))
                .await
                .unwrap()
                .status()
                .is_client_error()
        );
    }
    until("the event to be decided and counted", async || {
        let page = page(ingestor).await;
        [
            r#"mutt_ingest_requests_total{status="success",reason=""} 1"#,
            r#"mutt_ingest_requests_total{status="fail",reason="json"} 1"#,
            r#"mutt_ingest_rejected_total{listener="http",reason="json"} 1"#,
            r#"mutt_alerter_events_processed_total{status="unhandled"} 1"#,
            r#"mutt_alerter_messages_processed_total{status="unmatched"} 1"#,
            "mutt_alerter_unhandled_events_total 1",
            "mutt_event_decision_latency_seconds_count 1",
            "mutt_db_write_latency_ms_count 1",
            r#"mutt_webui_api_requests_total{endpoint="status",status="fail"} 1"#,
        ]
        .iter()
        .all(|wanted| page.lines().any(|line| line == *wanted))
    })
    .await;

    let missing = not_served();
    let everywhere = [ingestor, mutt.webui.number];
    for port in everywhere
        .into_iter()
        .chain(ports.iter().map(|port| port.number))
    {
        let page = page(port).await;
        assert!(!page.contains(HOST), "{page}");
        let served = served(&page);
        assert_same(&catalogued, &served);
        for name in served.keys() {
            assert!(
                !missing.contains(name.as_str()),
                "{name} is served after all"
            );
        }
    }
    assert_eq!(mutt.stop(), Some(0));
}

/// Ends a process that a test has started.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn one_role_serves_its_own_part() {
    let mutt = Mutt::new(&[]);
    let port = Port::take();
    let _alerter = Running(
        mutt.command(&["alerter"])
            .env("SERVER_PORT_ALERTER", port.number.to_string())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("mutt alerter starts"),
    );
    let url = format!("http://{}/metrics", port.addr());
    until("the alerter to answer", async || {
        reqwest::get(&url).await.is_ok()
    })
    .await;

    let mut wanted: BTreeSet<String> = catalogue(&["Every process", "Alerter"])
        .into_keys()
        .collect();
    // Somebody has to say how many events wait where the alerter runs by itself.
    wanted.insert("mutt_ingest_queue_depth".into());
    let found: BTreeSet<String> = served(&page(port.number).await).into_keys().collect();
    assert_eq!(found, wanted);
}

/// Waits until a page has all these lines.
async fn until_lines(port: u16, what: &str, wanted: &[&str]) {
    until(what, async || {
        let page = page(port).await;
        wanted.iter().all(|line| page.lines().any(|it| it == *line))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_distributed_engine_adds_its_own_part() {
    let (redis, postgres) = (Redis::start(), Postgres::start());
    postgres.create_database("mutt");
    postgres.sql("CREATE ROLE mutt_app LOGIN PASSWORD 'app'");
    let mut mutt = Mutt::new(&[
        ("MUTT_BACKEND", "distributed"),
        ("REDIS_HOST", redis.host()),
        ("REDIS_PORT", &redis.port().to_string()),
        ("REDIS_TLS_ENABLED", "false"),
        ("DB_HOST", postgres.host()),
        ("DB_PORT", &postgres.port().to_string()),
        ("DB_PASS", "app"),
        ("DB_SSL_MODE", "disable"),
        ("DB_POOL_MIN_CONN", "3"),
        ("WEBUI_API_KEY", support::KEY),
    ]);
    let _ports = ports_of_every_role(&mut mutt);
    let migrated = mutt
        .command(&["db", "migrate"])
        .env("DB_ADMIN_USER", postgres.superuser())
        .env("DB_ADMIN_PASS", postgres.password())
        .output()
        .unwrap();
    assert!(migrated.status.success(), "{migrated:?}");
    mutt.start().await;
    let port = mutt.ingest.number;
    let catalogued = catalogue(&sections());
    assert_same(&catalogued, &served(&page(port).await));

    let up = ["mutt_redis_up 1", "mutt_postgres_up 1"];
    until_lines(port, "both servers", &up).await;
    let opened = async || {
        let page = page(port).await;
        let series = "mutt_postgres_connections ";
        let line = page.lines().find_map(|line| line.strip_prefix(series));
        line.unwrap().parse::<u64>().unwrap()
    };
    until("connections ahead", async || opened().await >= 3).await;

    redis.kill();
    let lost = ["mutt_redis_up 0", "mutt_redis_connections_lost_total 1"];
    until_lines(port, "a lost connection", &lost).await;
    let event = r#"{"hostname":"sw1","message":"link down"}"#;
    assert_eq!(mutt.post(event).await.unwrap().status(), 200);
    let spooled = [
        "mutt_spool_depth 1",
        "mutt_spool_spooled_total 1",
        "mutt_spool_drained_total 0",
        "mutt_spool_refused_total 0",
    ];
    until_lines(port, "a spooled event", &spooled).await;
    postgres.kill();
    until("PostgreSQL is missed", async || {
        let page = page(port).await;
        let has = |line: &str| page.lines().any(|it| it == line);
        has("mutt_postgres_up 0") && !has("mutt_postgres_connect_failures_total 0")
    })
    .await;
    assert_same(&catalogued, &served(&page(port).await));

    redis.restart();
    postgres.restart();
    let well = [
        "mutt_redis_up 1",
        "mutt_postgres_up 1",
        "mutt_spool_depth 0",
        "mutt_spool_drained_total 1",
        r#"mutt_alerter_events_processed_total{status="unhandled"} 1"#,
    ];
    until_lines(port, "all is well", &well).await;
    assert_eq!(mutt.stop(), Some(0));
}

//! The audit trail is read as it was decided.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use mutt_event::{Batch, EventId};

use super::sample::{audit_row, claim, element, event_id};
use super::{Fixture, crash};
use crate::{AuditFilter, AuditRow, Decision, Engine, Outcome, StoredAuditRow};

fn time(seconds: i64) -> Timestamp {
    Timestamp::from_microsecond(1_700_000_000_000_000 + seconds * 1_000_000 + 123_456)
        .expect("in range")
}

fn all() -> AuditFilter {
    AuditFilter {
        limit: 1000,
        ..AuditFilter::default()
    }
}

/// Decides these elements; `adjust` makes each row.
async fn decide(
    engine: &dyn Engine,
    elements: &[Vec<u8>],
    adjust: impl Fn(usize, &mut AuditRow),
) -> Vec<AuditRow> {
    let batch: Batch = elements.iter().map(Vec::as_slice).collect();
    engine.enqueue(batch).await.expect("taken");
    let claim = claim(engine, "a", elements.len()).await;
    let audit: Vec<_> = elements
        .iter()
        .enumerate()
        .map(|(index, element)| {
            let mut row = audit_row(index, element);
            adjust(index, &mut row);
            row
        })
        .collect();
    let outcome = Outcome {
        audit: audit.clone(),
        ..Outcome::default()
    };
    engine
        .decide(Arc::new(Decision { claim, outcome }))
        .await
        .expect("decided");
    audit
}

fn assert_same(stored: &StoredAuditRow, row: &AuditRow, element: &[u8]) {
    let expected = StoredAuditRow {
        id: stored.id,
        event_id: row.event_id,
        event_timestamp: row.event_timestamp,
        received_at: row.received_at,
        hostname: row.hostname.to_string(),
        source: row.source.as_deref().map(str::to_owned),
        syslog_severity: row.syslog_severity,
        trap_oid: row.trap_oid.as_deref().map(str::to_owned),
        environment: row.environment.to_owned(),
        matched_rule_id: row.matched_rule_id,
        rule_version: row.rule_version,
        handling_decision: row.handling_decision.to_owned(),
        team_assignment: row.team_assignment.as_deref().map(str::to_owned),
        forwarded_to_moog: row.forwarded_to_moog,
        correlation_id: row.correlation_id.to_string(),
        raw_message: String::from_utf8(element.to_vec()).expect("JSON is UTF-8"),
    };
    assert_eq!(*stored, expected);
}

/// Every field of a row comes back as it was handed in, with the event's own text.
pub async fn audit_rows_are_stored_as_decided(fixture: &dyn Fixture) {
    let engine = fixture.open().await;
    let mut elements: Vec<_> = (0..2).map(element).collect();
    elements[1].pop();
    elements[1].extend_from_slice(", \"text\": \"Zürich\"  }".as_bytes());
    let rows = decide(&*engine, &elements, |index, row| {
        row.event_timestamp = time(0);
        if index == 1 {
            row.source = None;
            row.syslog_severity = None;
            row.trap_oid = Some(".1.3.6.1.6.3.1.1.5.3".into());
            row.environment = "development";
            row.matched_rule_id = None;
            row.rule_version = None;
            row.handling_decision = "Unhandled";
            row.team_assignment = None;
            row.forwarded_to_moog = false;
            row.correlation_id = "".into();
            row.hostname = "Zürich's \"router\"".into();
        }
    })
    .await;
    let engine = crash(fixture, engine).await;
    let stored = engine.audit_rows(all()).await.expect("rows");
    assert_eq!(stored.len(), 2);
    assert!(stored[0].id > stored[1].id);
    assert_same(&stored[1], &rows[0], &elements[0]);
    assert_same(&stored[0], &rows[1], &elements[1]);
    assert_eq!(engine.audit_count().await.expect("count"), 2);
}

/// `before_id` gives the next page; together the pages are all rows, newest first, once.
pub async fn audit_rows_are_read_newest_first_in_pages(fixture: &dyn Fixture) {
    let engine = fixture.open().await;
    for part in 0..3 {
        let elements: Vec<_> = (part * 5..part * 5 + 5).map(element).collect();
        decide(&*engine, &elements, |_, _| {}).await;
    }
    let mut filter = AuditFilter {
        limit: 4,
        ..AuditFilter::default()
    };
    let mut numbers = Vec::new();
    loop {
        let page = engine.audit_rows(filter.clone()).await.expect("rows");
        assert!(page.len() <= 4);
        let Some(last) = page.last() else { break };
        filter.before_id = Some(last.id);
        numbers.extend(
            page.iter()
                .map(|row| super::sample::number(row.raw_message.as_bytes())),
        );
    }
    assert_eq!(numbers, (0..15).rev().collect::<Vec<_>>());
    // A filter beside the pages.
    filter = AuditFilter {
        limit: 2,
        hostname: Some("host-0".to_owned()),
        ..filter
    };
    filter.before_id = None;
    let first = engine.audit_rows(filter.clone()).await.expect("rows");
    filter.before_id = first.last().map(|row| row.id);
    let second = engine.audit_rows(filter).await.expect("rows");
    let numbers: Vec<_> = first
        .iter()
        .chain(&second)
        .map(|row| super::sample::number(row.raw_message.as_bytes()))
        .collect();
    assert_eq!(numbers, [12, 9, 6, 3]);
}

/// Every filter chooses what it says; several choose what all of them choose.
pub async fn filters_choose_audit_rows(fixture: &dyn Fixture) {
    let engine = fixture.open().await;
    let elements: Vec<_> = (0..6).map(element).collect();
    decide(&*engine, &elements, |index, row| {
        row.event_timestamp = time(i64::try_from(index).expect("few") * 10);
        row.hostname = if index < 3 { "Router1" } else { "switch1" }.into();
        row.matched_rule_id = (index != 5).then_some(i64::from(index % 2 == 1));
        row.handling_decision = if index == 5 { "Unhandled" } else { "Page_only" };
        row.correlation_id = format!("corr-{}", index / 2).into();
        row.syslog_severity = u8::try_from(index).ok();
        row.source = Some(if index < 4 { "syslog" } else { "http" }.into());
        row.environment = if index == 2 {
            "development"
        } else {
            "production"
        };
        row.team_assignment = Some(if index < 2 { "Net" } else { "Ops" }.into());
    })
    .await;
    let text = |text: &str| Some(text.to_owned());
    let ids: Vec<EventId> = elements.iter().map(|element| event_id(element)).collect();
    let tick = SignedDuration::from_micros(1);
    let cases = [
        (
            AuditFilter {
                hostname: text("ROUTER1"),
                ..all()
            },
            vec![2, 1, 0],
        ),
        (
            AuditFilter {
                hostname: text("router"),
                ..all()
            },
            vec![],
        ),
        (
            AuditFilter {
                rule_id: Some(1),
                ..all()
            },
            vec![3, 1],
        ),
        (
            AuditFilter {
                handling: text("Unhandled"),
                ..all()
            },
            vec![5],
        ),
        (
            AuditFilter {
                event_id: Some(ids[4]),
                ..all()
            },
            vec![4],
        ),
        (
            AuditFilter {
                event_id: Some(EventId::new()),
                ..all()
            },
            vec![],
        ),
        (
            AuditFilter {
                correlation_id: text("corr-1"),
                ..all()
            },
            vec![3, 2],
        ),
        (
            AuditFilter {
                text: text("MESSAGE 4"),
                ..all()
            },
            vec![4],
        ),
        (
            AuditFilter {
                text: text("%"),
                ..all()
            },
            vec![],
        ),
        (
            AuditFilter {
                text: text("message_4"),
                ..all()
            },
            vec![],
        ),
        (
            AuditFilter {
                since: Some(time(20)),
                ..all()
            },
            vec![5, 4, 3, 2],
        ),
        (
            AuditFilter {
                since: Some(time(20) + tick),
                ..all()
            },
            vec![5, 4, 3],
        ),
        (
            AuditFilter {
                until: Some(time(20)),
                ..all()
            },
            vec![1, 0],
        ),
        (
            AuditFilter {
                since: Some(time(10)),
                until: Some(time(40)),
                rule_id: Some(1),
                ..all()
            },
            vec![3, 1],
        ),
        (
            AuditFilter {
                hostname: text("switch1"),
                handling: text("Page_only"),
                ..all()
            },
            vec![4, 3],
        ),
        (
            AuditFilter {
                hostname: text("router1"),
                text: text("message 1"),
                ..all()
            },
            vec![1],
        ),
        (
            AuditFilter {
                severity: Some(3),
                ..all()
            },
            vec![3],
        ),
        (
            AuditFilter {
                source: text("http"),
                ..all()
            },
            vec![5, 4],
        ),
        (
            AuditFilter {
                environment: text("development"),
                ..all()
            },
            vec![2],
        ),
        (
            AuditFilter {
                team: text("Net"),
                ..all()
            },
            vec![1, 0],
        ),
    ];
    for (filter, expected) in &cases {
        let count = engine.count_audit_rows(filter.clone()).await;
        let count = count.expect("count");
        assert_eq!(count, expected.len() as u64, "{filter:?}");
    }
    let cases = cases
        .into_iter()
        .chain([(AuditFilter { limit: 2, ..all() }, vec![5, 4])]);
    for (filter, expected) in cases {
        let rows = engine.audit_rows(filter.clone()).await.expect("rows");
        let found: Vec<_> = rows
            .iter()
            .map(|row| super::sample::number(row.raw_message.as_bytes()))
            .collect();
        assert_eq!(found, expected, "{filter:?}");
    }
    assert_eq!(engine.audit_count().await.expect("count"), 6);
}

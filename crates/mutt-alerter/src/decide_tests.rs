use mutt_engine::{UnhandledScope, redecision};
use mutt_event::EventId;
use mutt_rules::{Handling, MatchType, Mode, RuleDraft, RuleSet};

use super::*;
use crate::sample::{claim, draft, event, rule};

fn policy() -> Policy {
    Policy {
        audit_unhandled: false,
        unhandled: UnhandledPolicy::default(),
        max_retries: 3,
        default_team: "NETO".into(),
    }
}

fn snapshot(rules: impl IntoIterator<Item = Rule>) -> Snapshot {
    Snapshot::new(
        Arc::new(RuleSet::compile(rules)),
        ["dev-1"],
        [("core-1", "CORE")],
    )
}

fn decide(elements: &[impl AsRef<[u8]>], snapshot: &Snapshot) -> Decided {
    Decider::new().decide(&claim(elements), snapshot, &policy(), Sampling::NONE)
}

#[test]
fn a_matched_event_is_audited_and_becomes_an_alert() {
    let element = event("Core-1", "link \"Gi0/1\" DOWN");
    let snapshot = snapshot([rule(7, draft("down"))]);
    let Decided { outcome, tally } = decide(&[&element], &snapshot);

    let [row] = &outcome.audit[..] else {
        panic!("{outcome:?}")
    };
    let view = json::view(element.as_bytes()).unwrap();
    assert_eq!(
        *row,
        AuditRow {
            index: 0,
            event_id: view.event_id,
            event_timestamp: "2026-11-21T13:00:00Z".parse().unwrap(),
            received_at: "2026-11-21T13:00:01Z".parse().unwrap(),
            hostname: "Core-1".into(),
            source: Some("syslog".into()),
            syslog_severity: Some(3),
            trap_oid: None,
            environment: "production",
            matched_rule_id: Some(7),
            rule_version: Some(47),
            handling_decision: "Page_and_ticket",
            // The rule's team, whatever team the device has.
            team_assignment: Some("WAN".into()),
            forwarded_to_moog: true,
            correlation_id: "c-1".into(),
        }
    );
    let [new] = &outcome.alerts[..] else {
        panic!("{outcome:?}")
    };
    assert_eq!(new.event_id, view.event_id);
    let alert: Alert<'_> = serde_json::from_slice(&new.element).unwrap();
    assert_eq!(
        alert,
        Alert {
            hostname: "Core-1".into(),
            team_assignment: "WAN".into(),
            severity: mutt_event::Severity::new(3),
            message_body: "link \"Gi0/1\" DOWN".into(),
            raw_json: element.as_str().into(),
            correlation_id: "c-1".into(),
            event_id: Some(view.event_id),
            rule_id: Some(7),
            unhandled_signature: None,
            handling: "Page_and_ticket".into(),
            environment: "production".into(),
            traceparent: None,
        }
    );
    assert_eq!(
        (tally.handled, tally.unhandled, tally.received.len()),
        (1, 0, 1)
    );
    assert_eq!(outcome.rule_hits, [(7, 1)]);
    assert!(outcome.dead.is_empty() && outcome.unhandled.is_empty());
}

#[test]
fn a_development_host_gets_the_rules_handling_for_development() {
    let elements = [event("DEV-1", "link down"), event("dev-10", "link down")];
    let Decided { outcome, .. } = decide(&elements, &snapshot([rule(1, draft("down"))]));
    let decisions: Vec<_> = outcome
        .audit
        .iter()
        .map(|row| {
            (
                row.environment,
                row.handling_decision,
                row.forwarded_to_moog,
            )
        })
        .collect();
    assert_eq!(
        decisions,
        [
            ("development", "Log_only", false),
            ("production", "Page_and_ticket", true)
        ]
    );
    assert_eq!(outcome.alerts.len(), 1);
}

#[test]
fn every_handling_is_audited_and_the_right_ones_are_forwarded() {
    let rules = Handling::ALL
        .into_iter()
        .enumerate()
        .map(|(index, handling)| {
            let draft = RuleDraft {
                prod_handling: handling,
                ..draft(handling.name())
            };
            rule(i64::try_from(index).unwrap() + 1, draft)
        });
    let elements = Handling::ALL.map(|handling| event("h", handling.name()));
    let Decided { outcome, .. } = decide(&elements, &snapshot(rules));
    let decided: Vec<_> = outcome
        .audit
        .iter()
        .map(|row| (row.handling_decision, row.forwarded_to_moog))
        .collect();
    assert_eq!(
        decided,
        [
            ("Page_and_ticket", true),
            ("Page_only", true),
            ("Ticket_only", true),
            ("Log_only", false),
            ("Ignore", false),
        ]
    );
    assert_eq!(outcome.alerts.len(), 3);
}

#[test]
fn rules_in_mode_observe_are_counted_and_never_win() {
    let snapshot = snapshot([
        rule(
            1,
            RuleDraft {
                mode: Mode::Observe,
                priority: 1,
                ..draft("down")
            },
        ),
        rule(2, draft("link")),
    ]);
    let elements = [event("h", "link down"), event("h", "power down")];
    let Decided { outcome, tally } = decide(&elements, &snapshot);
    assert_eq!(outcome.audit.len(), 1);
    assert_eq!(outcome.audit[0].matched_rule_id, Some(2));
    assert_eq!(outcome.rule_hits, [(1, 2), (2, 1)]);
    assert_eq!((tally.handled, tally.unhandled), (1, 1));
}

#[test]
fn severity_and_trap_oid_decide_too() {
    let snapshot = snapshot([
        rule(
            1,
            RuleDraft {
                syslog_severity: Some(2),
                priority: 1,
                ..draft("fan")
            },
        ),
        rule(
            2,
            RuleDraft {
                match_type: MatchType::OidPrefix,
                match_string: None,
                trap_oid: Some(".1.3.6.1.4.1.9.*".to_owned()),
                ..draft("")
            },
        ),
    ]);
    let trap = |oid: &str| {
        format!(r#"{{"hostname":"h","message":"trap","trap_oid":"{oid}","source":"snmp"}}"#)
    };
    let elements = [
        event("h", "fan failed"),
        r#"{"hostname":"h","message":"fan failed","severity":"crit"}"#.to_owned(),
        trap("1.3.6.1.4.1.9.9.41"),
        trap(".1.3.6.1.4.1.99"),
    ];
    let Decided { outcome, tally } = decide(&elements, &snapshot);
    let decided: Vec<_> = outcome
        .audit
        .iter()
        .map(|row| (row.index, row.matched_rule_id))
        .collect();
    assert_eq!(decided, [(1, Some(1)), (2, Some(2))]);
    assert_eq!(
        outcome.audit[1].trap_oid.as_deref(),
        Some("1.3.6.1.4.1.9.9.41")
    );
    assert_eq!(tally.unhandled, 2);
}

#[test]
fn unmatched_events_are_added_up_by_host_and_signature() {
    let elements = [
        event("core-1", "login of 17 failed from 10.0.0.1"),
        event("Core-2", "login of 18 failed from 10.0.0.2"),
        event("core-1", "login of 19 failed from 10.0.0.3"),
        event("core-1", "fan 3 stopped"),
        event("dev-1", "fan 4 stopped"),
    ];
    let Decided { outcome, tally } = decide(&elements, &snapshot([]));
    assert!(outcome.audit.is_empty(), "AUDIT_SCOPE is matched");
    assert_eq!(tally.unhandled, 5);
    let rows: Vec<_> = outcome
        .unhandled
        .iter()
        .map(|row| {
            (
                &*row.hostname,
                &*row.sample,
                row.count,
                &*row.team,
                row.environment,
            )
        })
        .collect();
    assert_eq!(
        rows,
        [
            (
                "core-1",
                "login of 17 failed from 10.0.0.1",
                2,
                "CORE",
                "production"
            ),
            (
                "Core-2",
                "login of 18 failed from 10.0.0.2",
                1,
                "NETO",
                "production"
            ),
            ("core-1", "fan 3 stopped", 1, "CORE", "production"),
            ("dev-1", "fan 4 stopped", 1, "NETO", "development"),
        ]
    );
    let [first, other_host, ..] = &outcome.unhandled[..] else {
        panic!("{outcome:?}")
    };
    assert_eq!(first.signature, other_host.signature);
    assert_eq!(&*first.masked, "login of <n> failed from <ip>");
    assert_eq!(first.signature.len(), 16);
}

#[test]
fn counts_of_one_claim_do_not_show_up_in_the_next() {
    let snapshot = snapshot([rule(1, draft("down"))]);
    let mut decider = Decider::new();
    let elements = [event("h", "link down"), event("h", "fan stopped")];
    for _ in 0..2 {
        let Decided { outcome, tally } =
            decider.decide(&claim(&elements), &snapshot, &policy(), Sampling::NONE);
        assert_eq!(outcome.unhandled.len(), 1);
        assert_eq!(outcome.unhandled[0].count, 1);
        assert_eq!(outcome.rule_hits, [(1, 1)]);
        assert_eq!((tally.handled, tally.unhandled), (1, 1));
    }
}

#[test]
fn unmatched_events_are_audited_where_the_scope_is_all() {
    let policy = Policy {
        audit_unhandled: true,
        unhandled: UnhandledPolicy {
            scope: UnhandledScope::Signature,
            ..Default::default()
        },
        ..policy()
    };
    let elements = [event("h", "link down"), event("dev-1", "fan stopped")];
    let snapshot = snapshot([rule(1, draft("down"))]);
    let Decided { outcome, .. } =
        Decider::new().decide(&claim(&elements), &snapshot, &policy, Sampling::NONE);
    assert_eq!(outcome.unhandled_policy, policy.unhandled);
    let [_, row] = &outcome.audit[..] else {
        panic!("{outcome:?}")
    };
    assert_eq!((row.index, row.handling_decision), (1, "Unhandled"));
    assert_eq!((row.matched_rule_id, row.rule_version), (None, None));
    assert_eq!(
        (&row.team_assignment, row.forwarded_to_moog),
        (&None, false)
    );
    assert_eq!(row.environment, "development");
    assert_eq!(outcome.unhandled.len(), 1);
}

#[test]
fn an_event_decided_anew_is_audited_even_where_no_rule_matches() {
    let snapshot = snapshot([rule(1, draft("down"))]);
    let first = decide(&[event("h", "link down")], &snapshot).outcome.alerts;
    let [alert] = &first[..] else {
        panic!("{first:?}")
    };
    let again = redecision::event_of(&alert.element, Timestamp::now()).unwrap();
    let elements = [event("h", "fan stopped").into_bytes(), again];
    let snapshot = self::snapshot([rule(1, draft("up"))]);
    let outcome = decide(&elements, &snapshot).outcome;
    let [row] = &outcome.audit[..] else {
        panic!("{outcome:?}")
    };
    assert_eq!((row.index, row.handling_decision), (1, UNHANDLED));
    assert_eq!(row.event_id, redecision::id_of(alert.event_id, 1));
}

#[test]
fn what_cannot_be_read_is_set_aside_with_its_reason() {
    let elements: [&[u8]; 5] = [
        b"{\"hostname\":\"h\",\"message\":\"link down\"}",
        b"{\"hostname\":\"h\"",
        b"[1,2]",
        b"{\"hostname\":\"h\"}",
        b"{\"hostname\":\"h\",\"message\":\"link \xff down\"}",
    ];
    let Decided { outcome, tally } = decide(&elements, &snapshot([rule(1, draft("down"))]));
    assert_eq!(outcome.audit.len(), 1);
    assert_eq!(tally.malformed, 4);
    assert_eq!(outcome.dead.len(), 4);
    for (letter, element) in outcome.dead.iter().zip(&elements[1..]) {
        assert_eq!(letter.reason, Reason::Malformed);
        assert_eq!(letter.element, *element);
        assert!(!letter.detail.is_empty());
    }
    assert!(
        outcome.dead[2].detail.contains("message"),
        "{}",
        outcome.dead[2].detail
    );
}

#[test]
fn an_event_that_makes_deciding_panic_costs_no_other_anything() {
    thread_local!(static READ: std::cell::Cell<u32> = const { std::cell::Cell::new(0) });
    fn read(element: &[u8]) -> Result<EventView<'_>, Rejected> {
        let view = json::view(element)?;
        if view.message.contains("boom") {
            READ.set(READ.get() + 1);
            panic!("no way with {}", view.hostname);
        }
        Ok(view)
    }
    let elements = [
        event("h", "link down"),
        event("bad-1", "boom"),
        event("bad-2", "boom"),
        event("h", "fan stopped"),
        event("h", "link down"),
        event("bad-3", "boom"),
    ];
    let snapshot = snapshot([rule(1, draft("down"))]);
    let Decided { outcome, tally } =
        Decider::reading_with(read).decide(&claim(&elements), &snapshot, &policy(), Sampling::NONE);
    let audited: Vec<_> = outcome.audit.iter().map(|row| row.index).collect();
    assert_eq!(audited, [0, 4]);
    assert_eq!(outcome.alerts.len(), 2);
    assert_eq!(outcome.rule_hits, [(1, 2)]);
    assert_eq!(outcome.unhandled.len(), 1);
    assert_eq!((tally.handled, tally.unhandled, tally.poison), (2, 1, 3));
    assert_eq!(tally.received.len(), 3);
    let dead: Vec<_> = outcome
        .dead
        .iter()
        .map(|letter| (letter.reason, letter.detail.as_str()))
        .collect();
    assert_eq!(
        dead,
        [
            (
                Reason::Poison,
                "processing it failed 4 times: no way with bad-1"
            ),
            (
                Reason::Poison,
                "processing it failed 4 times: no way with bad-2"
            ),
            (
                Reason::Poison,
                "processing it failed 4 times: no way with bad-3"
            ),
        ]
    );
    assert_eq!(READ.get(), 12, "one attempt and three retries each");
}

#[test]
fn a_failure_that_passes_costs_nothing() {
    thread_local!(static READ: std::cell::Cell<u32> = const { std::cell::Cell::new(0) });
    fn read(element: &[u8]) -> Result<EventView<'_>, Rejected> {
        READ.set(READ.get() + 1);
        assert!(
            READ.get().is_multiple_of(3),
            "only every third attempt succeeds"
        );
        json::view(element)
    }
    let elements = [
        event("h", "link down"),
        event("h", "fan stopped"),
        event("h", "link down"),
    ];
    let snapshot = snapshot([rule(1, draft("down"))]);
    let Decided { outcome, tally } =
        Decider::reading_with(read).decide(&claim(&elements), &snapshot, &policy(), Sampling::NONE);
    assert_eq!((tally.handled, tally.unhandled, tally.poison), (2, 1, 0));
    assert!(outcome.dead.is_empty());
    assert_eq!(outcome.unhandled[0].count, 1);
}

#[test]
fn samples_are_few_and_spread_and_only_made_for_watchers() {
    let elements: Vec<_> = (0..120)
        .map(|n| event("h", &format!("link {n} down {}", "x".repeat(4096))))
        .collect();
    let claim = claim(&elements);
    let snapshot = snapshot([rule(9, draft("down"))]);
    let mut unwatched = Decider::new().decide(&claim, &snapshot, &policy(), Sampling::NONE);
    assert!(unwatched.tally.live().is_none());

    let sampling = Sampling::one_in(3, 7);
    let mut decided = Decider::new().decide(&claim, &snapshot, &policy(), sampling);
    let batch = decided.tally.live().unwrap();
    assert_eq!((batch.events.len(), batch.total, batch.every), (40, 120, 3));
    let second = &batch.events[1];
    let number: usize = second.message.split(' ').nth(1).unwrap().parse().unwrap();
    assert!((3..6).contains(&number), "{}", second.message);
    assert!(second.cut);
    assert_eq!(second.message.chars().count(), LIVE_MESSAGE_CHARS);
    assert_eq!(
        (second.rule_id, second.handling.as_str()),
        (Some(9), "Page_and_ticket")
    );
    assert_eq!(second.team.as_deref(), Some("WAN"));
    assert_eq!(second.environment, "production");
}

#[test]
fn an_empty_claim_and_an_element_of_mutt_2_5_are_understood() {
    let nothing: [&[u8]; 0] = [];
    let Decided { outcome, tally } = decide(&nothing, &snapshot([]));
    assert!(outcome.audit.is_empty() && tally.received.is_empty());

    let old = r#"{"timestamp":"2025-01-02T03:04:05Z","hostname":"h","message":"link down",
        "syslog_severity":3,"_correlation_id":"old"}"#;
    let Decided { outcome, .. } = decide(&[old], &snapshot([rule(1, draft("down"))]));
    let row = &outcome.audit[0];
    assert_eq!(&*row.correlation_id, "old");
    let alert: Alert<'_> = serde_json::from_slice(&outcome.alerts[0].element).unwrap();
    assert_eq!(alert.event_id, Some(row.event_id));
    assert_ne!(row.event_id, EventId::from_bytes([0; 16]));
}

#[test]
fn texts_are_shortened_at_characters() {
    assert_eq!(shortened("abc", 3), "abc");
    assert_eq!(shortened("abcd", 3), "abc");
    assert_eq!(shortened("äöüß", 3), "äöü");
    assert_eq!(shortened("äö", 3), "äö");
}

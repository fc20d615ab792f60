//! A person has an event decided anew: it goes once, whatever dies, and both decisions are on record.

use std::sync::Arc;

use mutt_event::EventId;

use super::dead_letters::{depth, entry_numbers, give_up, letter, list};
use super::sample::{
    alert, audit_row, batch, change, claim, claim_alerts, drain, element, event_id, now, numbers,
    queue_alerts,
};
use super::{Fixture, crash};
use crate::catalog::ConfigAuditFilter;
use crate::redecision::{Redecided, id_of};
use crate::{
    AuditFilter, DeadLetter, DeadLetterFilter, Decision, Dlq, Engine, EventClaim, Outcome, Reason,
};

fn any() -> DeadLetterFilter {
    DeadLetterFilter::default()
}

async fn rows_of(engine: &dyn Engine, id: EventId) -> usize {
    let filter = AuditFilter {
        event_id: Some(id),
        limit: 10,
        ..AuditFilter::default()
    };
    engine.audit_rows(filter).await.expect("read").len()
}

/// Why a person moved the dead letters of an event.
async fn orders_about(engine: &dyn Engine, id: EventId) -> Vec<String> {
    let filter = ConfigAuditFilter {
        table_name: Some("dlq".to_owned()),
        event_id: Some(id),
        limit: 10,
        ..ConfigAuditFilter::default()
    };
    let rows = engine.config_audit(&filter).await.expect("rows");
    rows.into_iter().filter_map(|row| row.reason).collect()
}

/// Decides a claim: audit rows at the time that their events say, and an alert of each.
async fn decide(engine: &dyn Engine, claim: EventClaim, at: jiff::Timestamp) {
    let audit = claim
        .iter()
        .enumerate()
        .map(|(index, element)| {
            let mut row = audit_row(index, element);
            row.event_timestamp = at;
            row
        })
        .collect();
    let alerts = claim.iter().map(alert).collect();
    let outcome = Outcome {
        audit,
        alerts,
        ..Outcome::default()
    };
    engine
        .decide(Arc::new(Decision { claim, outcome }))
        .await
        .expect("decided");
}

/// The events of the chosen alerts go to the ingest queue under ids that name the first ones; what is
/// decided then stands in the audit beside the first decision.
pub async fn an_alert_is_decided_anew(fixture: &dyn Fixture) {
    let engine = fixture.open().await;
    queue_alerts(&*engine, 0..3).await;
    give_up(&*engine, Reason::Refused).await;
    let entries = list(&*engine, Dlq::Moog).await;
    let filter = DeadLetterFilter {
        ids: Some(vec![entries[2].id.clone(), entries[0].id.clone()]),
        ..any()
    };
    let by = change("the rule is corrected");
    let went = engine.redecide(Dlq::Moog, &filter, &by).await;
    assert_eq!(went.expect("went"), 2);
    let went = engine.redecide(Dlq::Moog, &filter, &by).await;
    assert_eq!(went.expect("nothing is left"), 0);
    assert_eq!(entry_numbers_of_alerts(&*engine).await, [1]);

    // Whoever dies now: the events are in the queue, and nowhere else.
    let engine = crash(fixture, engine).await;
    assert_eq!(entry_numbers_of_alerts(&*engine).await, [1]);
    assert!(claim_alerts(&*engine, "m", 10).await.is_empty());
    let claim = claim(&*engine, "a", 10).await;
    assert_eq!(numbers(&claim), [0, 2]);
    let mut firsts = Vec::new();
    for event in claim.iter() {
        let note = Redecided::read(event).expect("it says what it is");
        assert_eq!(note.number, 1);
        assert_eq!(event_id(event), id_of(note.of, 1));
        firsts.push(note.of);
    }
    decide(&*engine, claim, now()).await;
    for first in firsts {
        assert_eq!(
            orders_about(&*engine, first).await,
            ["the rule is corrected"]
        );
        assert!(orders_about(&*engine, id_of(first, 1)).await.is_empty());
        assert_eq!(rows_of(&*engine, first).await, 1);
        assert_eq!(rows_of(&*engine, id_of(first, 1)).await, 1);
    }
    assert_eq!(engine.audit_count().await.expect("counted"), 5);
    let alerts = claim_alerts(&*engine, "m", 10).await;
    assert_eq!(super::sample::alert_numbers(&alerts), [0, 2]);

    let filter = ConfigAuditFilter {
        table_name: Some("dlq".to_owned()),
        limit: 10,
        ..ConfigAuditFilter::default()
    };
    let rows = engine.config_audit(&filter).await.expect("rows");
    assert_eq!(rows.len(), 1, "{rows:?}");
    assert_eq!(
        (rows[0].changed_by.as_str(), rows[0].reason.as_deref()),
        ("conformance", Some("the rule is corrected"))
    );
    assert_eq!(rows[0].record_key.as_deref(), Some("moog"));
    let new = rows[0].new_values.as_ref().expect("it says how many");
    assert_eq!(new["redecided"], 2);
}

async fn entry_numbers_of_alerts(engine: &dyn Engine) -> Vec<u64> {
    let entries = list(engine, Dlq::Moog).await;
    entries
        .iter()
        .map(|entry| super::sample::alert_number(entry.message.as_bytes()))
        .collect()
}

/// An alert that came into the dead letters twice is one event: one audit row.
pub async fn a_letter_that_came_twice_is_audited_once(fixture: &dyn Fixture) {
    let engine = fixture.open().await;
    let event = element(7);
    let letter = DeadLetter {
        reason: Reason::RetriesExhausted,
        detail: "HTTP 503".to_owned(),
        element: alert(&event).element,
    };
    let at = now();
    for round in 0..2 {
        let letters = vec![letter.clone(); 2];
        engine.bury(Dlq::Moog, letters).await.expect("buried");
        let by = change("again");
        let went = engine.redecide(Dlq::Moog, &any(), &by).await;
        assert_eq!(went.expect("went"), 2, "round {round}");
        let claim = claim(&*engine, "a", 10).await;
        assert_eq!(numbers(&claim), [7, 7]);
        decide(&*engine, claim, at).await;
    }
    assert_eq!(rows_of(&*engine, id_of(event_id(&event), 1)).await, 1);
    assert_eq!(engine.audit_count().await.expect("counted"), 1);
}

/// What has no event to decide stays, whether it was named or not.
pub async fn an_alert_without_an_event_stays(fixture: &dyn Fixture) {
    let engine = fixture.open().await;
    let meta = br#"{"hostname":"h","team_assignment":"t","message_body":"m","raw_json":"{}"}"#;
    let letters = [meta.to_vec(), b"\xff".to_vec(), alert(&element(3)).element];
    let letters = letters
        .into_iter()
        .map(|element| DeadLetter {
            reason: Reason::Refused,
            detail: String::new(),
            element,
        })
        .collect();
    engine.bury(Dlq::Moog, letters).await.expect("buried");
    let by = change("try");
    let went = engine.redecide(Dlq::Moog, &any(), &by).await;
    assert_eq!(went.expect("went"), 1);
    let went = engine.redecide(Dlq::Moog, &any(), &by).await;
    assert_eq!(went.expect("nothing goes"), 0);
    let left = list(&*engine, Dlq::Moog).await;
    assert_eq!(left.len(), 2);
    assert_eq!(left[0].message.as_bytes(), meta);
    assert_eq!(depth(&*engine, Dlq::Moog).await, 2);
    assert_eq!(drain(&*engine, "a").await, [3]);
}

/// What was never decided has no second decision: it goes back as it is.
pub async fn undecided_entries_go_back_as_they_are(fixture: &dyn Fixture) {
    let engine = fixture.open().await;
    let by = change("mended");
    for (number, queue) in [(1, Dlq::Ingest), (2, Dlq::Alerter), (3, Dlq::Dead)] {
        let letter = letter(number, Reason::Poison);
        engine
            .bury(queue, vec![letter.clone()])
            .await
            .expect("buried");
        let went = engine.redecide(queue, &any(), &by).await;
        assert_eq!(went.expect("went"), 1);
        assert_eq!(depth(&*engine, queue).await, 0);
        let claim = claim(&*engine, "a", 10).await;
        assert_eq!(claim.iter().next(), Some(letter.element.as_slice()));
        engine
            .decide(super::sample::audited(claim))
            .await
            .expect("decided");
    }
    assert!(entry_numbers(&list(&*engine, Dlq::Ingest).await).is_empty());
}

/// Two persons at once, one replaying and one deciding anew: every entry goes once, one way.
pub async fn an_entry_goes_one_way(fixture: &dyn Fixture) {
    let engine = fixture.open().await;
    queue_alerts(&*engine, 0..20).await;
    give_up(&*engine, Reason::Refused).await;
    let (all, by) = (any(), change("both"));
    let (replayed, redecided) = tokio::join!(
        engine.replay(Dlq::Moog, &all, &by),
        engine.redecide(Dlq::Moog, &all, &by)
    );
    let (replayed, redecided) = (replayed.expect("replayed"), redecided.expect("went"));
    assert_eq!(replayed + redecided, 20);
    assert_eq!(depth(&*engine, Dlq::Moog).await, 0);
    let alerts = claim_alerts(&*engine, "m", 100).await;
    let mut seen = super::sample::alert_numbers(&alerts);
    assert_eq!(seen.len() as u64, replayed);
    engine.enqueue(batch([99])).await.expect("taken");
    seen.extend(drain(&*engine, "a").await);
    seen.sort_unstable();
    assert_eq!(seen, (0..20).chain([99]).collect::<Vec<_>>());
}

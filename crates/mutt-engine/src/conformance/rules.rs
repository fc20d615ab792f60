//! Rules: versions, checks, and an audit row in the same step as every change.

use std::sync::Arc;

use mutt_rules::{Handling, MatchType, Mode, RuleChange, RuleDraft};

use super::sample::{batch, change, claim};
use super::{Fixture, crash};
use crate::catalog::ConfigAuditFilter;
use crate::{Change, ConfigAuditRow, Decision, Engine, EngineError, Outcome};

pub(super) fn draft(text: &str, priority: i32) -> RuleDraft {
    RuleDraft {
        match_string: Some(text.to_owned()),
        trap_oid: None,
        syslog_severity: None,
        match_type: MatchType::Contains,
        priority,
        prod_handling: Handling::PageAndTicket,
        dev_handling: Handling::Ignore,
        team_assignment: "NETO".to_owned(),
        is_active: true,
        mode: Mode::Enforce,
        description: None,
    }
}

pub(super) fn to_priority(priority: i32) -> RuleChange {
    RuleChange {
        priority: Some(priority),
        ..RuleChange::default()
    }
}

/// All audit rows, oldest first.
pub(super) async fn audit(engine: &dyn Engine) -> Vec<ConfigAuditRow> {
    let filter = ConfigAuditFilter {
        limit: 1000,
        ..ConfigAuditFilter::default()
    };
    let mut rows = engine.config_audit(&filter).await.expect("rows");
    rows.reverse();
    rows
}

pub(super) async fn assert_chain_holds(engine: &dyn Engine) {
    let rows = audit(engine).await.len() as u64;
    assert_eq!(engine.verify_config_audit().await.expect("read"), Ok(rows));
}

/// Rules come by priority, then id; a new rule has version 1 and its own number.
pub async fn rules_are_listed_by_priority_then_id(fixture: &dyn Fixture) {
    let engine = fixture.open().await;
    assert!(engine.rules().await.expect("rules").is_empty());
    let full = RuleDraft {
        trap_oid: Some(".1.3.6.1.4.1.9.9.41.2".to_owned()),
        syslog_severity: Some(3),
        match_type: MatchType::Regex,
        is_active: false,
        mode: Mode::Observe,
        description: Some("Für die Nacht \u{1F319}".to_owned()),
        dev_handling: Handling::LogOnly,
        ..draft("link.*down", -5)
    };
    let by = change("first rules");
    let drafts = vec![
        draft("late", 100),
        full.clone(),
        draft("middle", 50),
        draft("late", 100),
    ];
    let added = engine.add_rules(drafts.clone(), &by).await.expect("added");
    assert_eq!(
        added.iter().map(|rule| &rule.draft).collect::<Vec<_>>(),
        drafts.iter().collect::<Vec<_>>()
    );
    assert!(
        added.windows(2).all(|pair| pair[0].id < pair[1].id),
        "numbers grow"
    );
    assert!(added.iter().all(|rule| {
        rule.version == 1 && rule.created_at == rule.updated_at && rule.deleted_at.is_none()
    }));
    let listed = engine.rules().await.expect("rules");
    let expected: Vec<_> = [1, 2, 0, 3]
        .into_iter()
        .map(|index: usize| added[index].clone())
        .collect();
    assert_eq!(listed, expected);
    assert_eq!(engine.rule(added[1].id).await.expect("there").draft, full);
    assert!(
        engine
            .add_rules(Vec::new(), &by)
            .await
            .expect("nothing to add")
            .is_empty()
    );
}

/// A change changes what it names, counts the version on, and leaves the rest.
pub async fn a_change_gives_a_new_version(fixture: &dyn Fixture) {
    let engine = fixture.open().await;
    let by = change("tune");
    let drafts = vec![draft("one", 10), draft("two", 20)];
    let added = engine.add_rules(drafts, &by).await.expect("added");
    let change = RuleChange {
        match_string: Some(None),
        trap_oid: Some(Some(".1.3.6".to_owned())),
        match_type: Some(MatchType::OidPrefix),
        priority: Some(30),
        ..RuleChange::default()
    };
    let changed = engine
        .change_rule(added[0].id, change, Some(1), &by)
        .await
        .expect("changed");
    assert_eq!((changed.id, changed.version), (added[0].id, 2));
    assert_eq!(changed.draft.match_string, None);
    assert_eq!(changed.draft.trap_oid.as_deref(), Some(".1.3.6"));
    assert_eq!(changed.draft.team_assignment, "NETO");
    assert_eq!(changed.created_at, added[0].created_at);
    assert!(changed.updated_at >= added[0].updated_at);
    let again = engine
        .change_rule(added[0].id, to_priority(40), None, &by)
        .await
        .expect("changed");
    assert_eq!(again.version, 3);
    assert_eq!(
        engine.rules().await.expect("rules"),
        [added[1].clone(), again]
    );
}

/// Who names a version that is no longer the rule's changes and deletes nothing.
pub async fn a_stale_version_is_refused(fixture: &dyn Fixture) {
    let engine = fixture.open().await;
    let by = change("tune");
    let id = engine
        .add_rules(vec![draft("one", 10)], &by)
        .await
        .expect("added")[0]
        .id;
    engine
        .change_rule(id, to_priority(20), Some(1), &by)
        .await
        .expect("changed");
    let rows = audit(&*engine).await.len();
    for version in [1, 3, 0] {
        let error = engine
            .change_rule(id, to_priority(30), Some(version), &by)
            .await
            .expect_err("the version is 2");
        assert!(matches!(error, EngineError::Conflict(_)), "{error:?}");
        let error = engine
            .delete_rule(id, Some(version), &by)
            .await
            .expect_err("it is 2");
        assert!(matches!(error, EngineError::Conflict(_)), "{error:?}");
    }
    let rule = engine.rule(id).await.expect("there");
    assert_eq!(
        (rule.version, rule.draft.priority, rule.deleted_at),
        (2, 20, None)
    );
    assert_eq!(
        audit(&*engine).await.len(),
        rows,
        "what did not happen is not audited"
    );
    engine.delete_rule(id, Some(2), &by).await.expect("deleted");
}

/// Of many who change the same version at once, one does.
pub async fn of_many_changes_to_one_version_one_wins(fixture: &dyn Fixture) {
    let engine = fixture.open().await;
    let id = engine
        .add_rules(vec![draft("one", 1)], &change("new"))
        .await
        .expect("added")[0]
        .id;
    let calls: Vec<_> = (10..18)
        .map(|priority| {
            let engine = engine.clone();
            tokio::spawn(async move {
                engine
                    .change_rule(id, to_priority(priority), Some(1), &change("race"))
                    .await
            })
        })
        .collect();
    let mut winners = Vec::new();
    for call in calls {
        match call.await.expect("no panic") {
            Ok(rule) => winners.push(rule),
            Err(error) => assert!(matches!(error, EngineError::Conflict(_)), "{error:?}"),
        }
    }
    assert_eq!(winners.len(), 1);
    assert_eq!(engine.rule(id).await.expect("there"), winners[0]);
    assert_eq!(audit(&*engine).await.len(), 2);
}

/// What is not there cannot be read, changed or removed, and the error says what was meant.
pub async fn what_does_not_exist_is_not_found(fixture: &dyn Fixture) {
    let engine = fixture.open().await;
    let by = change("nothing");
    let errors = [
        engine.rule(4711).await.expect_err("no rule"),
        engine
            .change_rule(4711, to_priority(1), None, &by)
            .await
            .expect_err("no rule"),
        engine
            .delete_rule(4711, None, &by)
            .await
            .expect_err("no rule"),
        engine
            .remove_development_host("x4711", &by)
            .await
            .expect_err("no host"),
        engine
            .remove_device_team("x4711", &by)
            .await
            .expect_err("no device"),
    ];
    for error in errors {
        assert!(matches!(error, EngineError::NotFound(_)), "{error:?}");
        assert!(error.to_string().contains("4711"), "{error}");
    }
    assert!(audit(&*engine).await.is_empty());
}

/// A deleted rule is not listed and cannot be changed, but can be read; its number is not given
/// again.
pub async fn a_deleted_rule_can_still_be_named(fixture: &dyn Fixture) {
    let engine = fixture.open().await;
    let by = change("obsolete");
    let rules = engine
        .add_rules(vec![draft("one", 1), draft("two", 2)], &by)
        .await
        .expect("added");
    engine
        .delete_rule(rules[1].id, None, &by)
        .await
        .expect("deleted");
    assert_eq!(engine.rules().await.expect("rules"), rules[..1]);
    let engine = crash(fixture, engine).await;
    let deleted = engine.rule(rules[1].id).await.expect("it can be named");
    assert_eq!(deleted.draft, rules[1].draft);
    assert!(
        deleted
            .deleted_at
            .is_some_and(|at| at >= deleted.created_at)
    );
    let error = engine
        .delete_rule(rules[1].id, None, &by)
        .await
        .expect_err("it is deleted");
    assert!(matches!(error, EngineError::NotFound(_)), "{error:?}");
    let error = engine
        .change_rule(rules[1].id, to_priority(5), None, &by)
        .await
        .expect_err("it is deleted");
    assert!(matches!(error, EngineError::NotFound(_)), "{error:?}");
    let new = engine
        .add_rules(vec![draft("three", 3)], &by)
        .await
        .expect("added");
    assert!(new[0].id > rules[1].id);
}

/// One bad rule among good ones: none is stored, and the error names rule, field and place.
pub async fn invalid_rules_are_refused_all_together(fixture: &dyn Fixture) {
    let engine = fixture.open().await;
    let bad = RuleDraft {
        match_type: MatchType::Regex,
        ..draft("link (down", 1)
    };
    let drafts = vec![draft("good", 1), bad.clone(), draft("good too", 1)];
    let error = engine
        .add_rules(drafts, &change("bulk"))
        .await
        .expect_err("a bad regex");
    let EngineError::Invalid(text) = &error else {
        panic!("{error:?}")
    };
    assert!(
        text.contains("rule 1") && text.contains("match_string"),
        "{text}"
    );
    let reason = bad.check().expect_err("it is bad");
    assert!(text.contains(&reason.to_string()), "{text}");

    let drafts = vec![RuleDraft {
        team_assignment: String::new(),
        ..draft("", 1)
    }];
    let error = engine
        .add_rules(drafts, &change("bulk"))
        .await
        .expect_err("two bad fields");
    let EngineError::Invalid(text) = &error else {
        panic!("{error:?}")
    };
    assert!(
        text.contains("match_string") && text.contains("team_assignment"),
        "{text}"
    );

    assert!(engine.rules().await.expect("rules").is_empty());
    assert!(audit(&*engine).await.is_empty());
}

/// A change after which the rule would be invalid is refused.
pub async fn an_invalid_change_changes_nothing(fixture: &dyn Fixture) {
    let engine = fixture.open().await;
    let by = change("break it");
    let rules = engine
        .add_rules(vec![draft("a(b", 1)], &by)
        .await
        .expect("added");
    let change = RuleChange {
        match_type: Some(MatchType::Regex),
        ..RuleChange::default()
    };
    let error = engine
        .change_rule(rules[0].id, change, None, &by)
        .await
        .expect_err("no regex");
    let EngineError::Invalid(text) = &error else {
        panic!("{error:?}")
    };
    assert!(text.contains("match_string"), "{text}");
    assert_eq!(engine.rules().await.expect("rules"), rules);
    assert_eq!(audit(&*engine).await.len(), 1);
}

/// Create, update and delete each leave one row with who, why, what it was and what it is.
pub async fn every_change_of_a_rule_is_audited(fixture: &dyn Fixture) {
    let engine = fixture.open().await;
    let drafts = vec![draft("one", 1), draft("two", 2)];
    let rules = engine
        .add_rules(drafts, &change("make"))
        .await
        .expect("added");
    let id = rules[0].id;
    engine
        .change_rule(id, to_priority(7), None, &change("move"))
        .await
        .expect("changed");
    let silent = Change {
        by: "somebody".to_owned(),
        ..Change::default()
    };
    engine
        .delete_rule(id, None, &silent)
        .await
        .expect("deleted");

    let rows = audit(&*engine).await;
    let operations: Vec<_> = rows
        .iter()
        .map(|row| (row.operation.as_str(), row.record_id))
        .collect();
    assert_eq!(
        operations,
        [
            ("CREATE", Some(id)),
            ("CREATE", Some(rules[1].id)),
            ("UPDATE", Some(id)),
            ("DELETE", Some(id))
        ]
    );
    assert!(rows.iter().all(|row| row.table_name == "alert_rules"));
    let priority = |values: &Option<serde_json::Value>| {
        values
            .as_ref()
            .and_then(|values| values.get("priority")?.as_i64())
    };
    let priorities: Vec<_> = rows
        .iter()
        .map(|row| (priority(&row.old_values), priority(&row.new_values)))
        .collect();
    assert_eq!(
        priorities,
        [
            (None, Some(1)),
            (None, Some(2)),
            (Some(1), Some(7)),
            (Some(7), None)
        ]
    );
    assert_eq!(rows[2].changed_by, "conformance");
    assert_eq!(rows[2].reason.as_deref(), Some("move"));
    assert_eq!(rows[2].correlation_id.as_deref(), Some("corr-move"));
    assert_eq!(
        (
            rows[3].changed_by.as_str(),
            &rows[3].reason,
            &rows[3].correlation_id
        ),
        ("somebody", &None, &None)
    );
    assert!(
        rows.windows(2)
            .all(|pair| pair[0].changed_at <= pair[1].changed_at)
    );
    assert_chain_holds(&*engine).await;
}

/// Matches reported with decisions show within hour, day and month.
pub async fn rule_hits_are_counted(fixture: &dyn Fixture) {
    let engine = fixture.open().await;
    assert!(engine.rule_hits().await.expect("hits").is_empty());
    for rule_hits in [vec![(1, 3), (2, 1)], vec![(1, 4)]] {
        engine.enqueue(batch([0])).await.expect("taken");
        let claim = claim(&*engine, "a", 1).await;
        let outcome = Outcome {
            rule_hits,
            ..Outcome::default()
        };
        engine
            .decide(Arc::new(Decision { claim, outcome }))
            .await
            .expect("decided");
    }
    let engine = crash(fixture, engine).await;
    let hits = engine.rule_hits().await.expect("hits");
    assert_eq!(hits.len(), 2);
    assert_eq!(hits[&1], [7; 3]);
    assert_eq!(hits[&2], [1; 3]);
}

/// A rule that matched has a first and a last time, which lie in the past and in order.
pub async fn the_first_and_last_hit_are_known(fixture: &dyn Fixture) {
    let engine = fixture.open().await;
    assert!(engine.rule_hit_times().await.expect("times").is_empty());
    for rule_hits in [vec![(1, 3), (2, 1)], vec![(1, 4)]] {
        engine.enqueue(batch([0])).await.expect("taken");
        let claim = claim(&*engine, "a", 1).await;
        let outcome = Outcome {
            rule_hits,
            ..Outcome::default()
        };
        engine
            .decide(Arc::new(Decision { claim, outcome }))
            .await
            .expect("decided");
    }
    let times = engine.rule_hit_times().await.expect("times");
    let mut rules: Vec<_> = times.keys().copied().collect();
    rules.sort_unstable();
    assert_eq!(rules, [1, 2]);
    for (first, last) in times.values() {
        assert!(first <= last && *last <= jiff::Timestamp::now());
    }
}

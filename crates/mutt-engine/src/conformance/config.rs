//! Dynamic configuration: checked, stored, announced, audited.

use super::catalog::heard;
use super::sample::change;
use super::{Fixture, PATIENCE, crash, eventually};
use crate::catalog::ConfigAuditFilter;
use crate::dynamic::{CONFIG_TABLE, ConfigChange, follow};
use crate::{Changed, Dynamic, EngineError};

fn changed(key: &str, old: Option<&str>, new: Option<&str>) -> ConfigChange {
    ConfigChange {
        key: key.to_owned(),
        old_value: old.map(str::to_owned),
        new_value: new.map(str::to_owned),
    }
}

/// Setting and unsetting say what was before and is now, in the usual form.
pub async fn a_value_is_set_and_unset(fixture: &dyn Fixture) {
    let engine = fixture.open().await;
    let by = change("tune");
    assert!(engine.config_overrides().await.expect("read").is_empty());
    let answer = engine
        .set_config("log_level", " DEBUG ", &by)
        .await
        .expect("set");
    assert_eq!(answer, changed("log_level", None, Some("debug")));
    engine
        .set_config("moog_rate_limit", "0020", &by)
        .await
        .expect("set");
    let answer = engine
        .set_config("log_level", "warn", &by)
        .await
        .expect("set");
    assert_eq!(answer, changed("log_level", Some("debug"), Some("warn")));
    let stored = engine.config_overrides().await.expect("read");
    let stored: Vec<_> = stored
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_str()))
        .collect();
    assert_eq!(stored, [("log_level", "warn"), ("moog_rate_limit", "20")]);
    let answer = engine.unset_config("log_level", &by).await.expect("unset");
    assert_eq!(answer, changed("log_level", Some("warn"), None));
    let error = engine
        .unset_config("log_level", &by)
        .await
        .expect_err("nothing is stored");
    assert!(matches!(error, EngineError::NotFound(_)), "{error:?}");
    assert_eq!(engine.config_overrides().await.expect("read").len(), 1);
}

/// Unknown keys and values that are not allowed are refused, with what is allowed.
pub async fn what_is_not_allowed_is_refused(fixture: &dyn Fixture) {
    let engine = fixture.open().await;
    let by = change("wrong");
    for (key, value, says) in [
        ("moog_rate_limit", "0", "1 to 1000000"),
        ("moog_rate_limit", "many", "whole number"),
        ("log_level", "loud", "debug"),
        ("nonsense", "1", "log_level"),
    ] {
        let error = engine
            .set_config(key, value, &by)
            .await
            .expect_err("not allowed");
        let EngineError::Invalid(text) = &error else {
            panic!("{error:?}")
        };
        assert!(text.contains(says) && text.contains(key), "{text}");
    }
    let error = engine
        .unset_config("nonsense", &by)
        .await
        .expect_err("no such key");
    assert!(matches!(error, EngineError::Invalid(_)), "{error:?}");
    assert!(engine.config_overrides().await.expect("read").is_empty());
    let filter = ConfigAuditFilter {
        limit: 10,
        ..ConfigAuditFilter::default()
    };
    assert!(engine.config_audit(&filter).await.expect("rows").is_empty());
}

/// What 2.5 called a key is stored, announced and audited under its name of today.
pub async fn the_old_name_means_the_new_key(fixture: &dyn Fixture) {
    let engine = fixture.open().await;
    let mut changes = engine.changes();
    let key = "unhandled_event_threshold";
    let answer = engine
        .set_config("unhandled_threshold", "7", &change("old"))
        .await
        .expect("set");
    assert_eq!(answer, changed(key, None, Some("7")));
    assert_eq!(
        heard(&mut changes).await[0],
        Changed::Config(key.to_owned())
    );
    let answer = engine
        .set_config(key, "8", &change("new"))
        .await
        .expect("set");
    assert_eq!(answer.old_value.as_deref(), Some("7"));
    let stored = engine.config_overrides().await.expect("read");
    assert_eq!(
        stored.into_iter().collect::<Vec<_>>(),
        [(key.to_owned(), "8".to_owned())]
    );
    let answer = engine
        .unset_config("unhandled_threshold", &change("old"))
        .await
        .expect("unset");
    assert_eq!(answer, changed(key, Some("8"), None));
}

/// Who listens hears which key changed.
pub async fn changes_of_config_are_announced(fixture: &dyn Fixture) {
    let engine = fixture.open().await;
    let mut changes = engine.changes();
    let by = change("announce");
    engine
        .set_config("log_level", "debug", &by)
        .await
        .expect("set");
    assert_eq!(
        heard(&mut changes).await[0],
        Changed::Config("log_level".to_owned())
    );
    engine.unset_config("log_level", &by).await.expect("unset");
    assert_eq!(
        heard(&mut changes).await[0],
        Changed::Config("log_level".to_owned())
    );
}

/// The history of a key is its rows in the audit: who, why, old and new value.
pub async fn changes_of_config_are_audited(fixture: &dyn Fixture) {
    let engine = fixture.open().await;
    engine
        .set_config("log_level", "debug", &change("look"))
        .await
        .expect("set");
    engine
        .set_config("audit_scope", "all", &change("other"))
        .await
        .expect("set");
    engine
        .set_config("log_level", "warn", &change("quiet"))
        .await
        .expect("set");
    engine
        .unset_config("log_level", &change("done"))
        .await
        .expect("unset");
    let filter = ConfigAuditFilter {
        table_name: Some(CONFIG_TABLE.to_owned()),
        record_key: Some("log_level".to_owned()),
        limit: 10,
        ..ConfigAuditFilter::default()
    };
    let rows = engine.config_audit(&filter).await.expect("rows");
    let value = |values: &Option<serde_json::Value>| {
        values
            .as_ref()
            .and_then(|values| values["value"].as_str())
            .unwrap_or("-")
            .to_owned()
    };
    let what: Vec<_> = rows
        .iter()
        .map(|row| {
            let (old, new) = (value(&row.old_values), value(&row.new_values));
            (
                row.operation.as_str(),
                row.reason.as_deref().unwrap_or("-"),
                old,
                new,
            )
        })
        .collect();
    let expected = [
        ("DELETE", "done", "warn", "-"),
        ("UPDATE", "quiet", "debug", "warn"),
        ("CREATE", "look", "-", "debug"),
    ]
    .map(|(operation, reason, old, new)| (operation, reason, old.to_owned(), new.to_owned()));
    assert_eq!(what, expected);
    assert!(
        rows.iter()
            .all(|row| row.changed_by == "conformance" && row.record_id.is_none())
    );
    assert_eq!(engine.verify_config_audit().await.expect("read"), Ok(4));
}

/// Stored values are there after a crash.
pub async fn stored_values_survive_a_crash(fixture: &dyn Fixture) {
    let engine = fixture.open().await;
    engine
        .set_config("log_level", "debug", &change("keep"))
        .await
        .expect("set");
    let before = engine.config_overrides().await.expect("read");
    let engine = crash(fixture, engine).await;
    assert_eq!(engine.config_overrides().await.expect("read"), before);
}

/// [`follow`] begins with what is stored and gets every change.
pub async fn followers_see_changes(fixture: &dyn Fixture) {
    let engine = fixture.open().await;
    engine
        .set_config("log_level", "debug", &change("before"))
        .await
        .expect("set");
    let base = Dynamic::default().with([("moog_max_retries", "9")]);
    let mut values = follow(engine.clone(), base).await;
    let first = values.borrow_and_update().clone();
    assert_eq!(
        (first.text("log_level"), first.integer("moog_max_retries")),
        ("debug", 9)
    );
    engine
        .set_config("moog_max_retries", "2", &change("during"))
        .await
        .expect("set");
    tokio::time::timeout(PATIENCE, values.changed())
        .await
        .expect("in time")
        .expect("alive");
    assert_eq!(values.borrow_and_update().integer("moog_max_retries"), 2);
    engine
        .unset_config("moog_max_retries", &change("after"))
        .await
        .expect("unset");
    eventually("the static value holds again", async || {
        (values.borrow_and_update().integer("moog_max_retries") == 9).then_some(())
    })
    .await;
}

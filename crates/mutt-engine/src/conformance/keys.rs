//! API keys are stored by hash, revoked for good, and audited without the hash.

use super::rules::assert_chain_holds;
use super::sample::change;
use super::{Fixture, crash};
use crate::catalog::ConfigAuditFilter;
use crate::{EngineError, KeyRole, NewApiKey};

fn key(name: &str, digit: &str, role: KeyRole) -> NewApiKey {
    NewApiKey {
        name: name.to_owned(),
        hash: digit.repeat(64),
        role,
    }
}

/// What is stored is listed by name, survives a crash, and its use is noted.
pub async fn keys_are_stored_and_used(fixture: &dyn Fixture) {
    let engine = fixture.open().await;
    let by = change("new colleague");
    assert!(engine.api_keys().await.expect("keys").is_empty());
    let noc = engine
        .add_api_key(key(" noc ", "b", KeyRole::Operator), &by)
        .await
        .expect("added");
    assert_eq!((noc.name.as_str(), noc.last_used_at), ("noc", None));
    engine
        .add_api_key(key("audit", "a", KeyRole::Viewer), &by)
        .await
        .expect("added");
    engine.api_key_used("noc").await.expect("noted");
    let engine = crash(fixture, engine).await;
    let keys = engine.api_keys().await.expect("keys");
    let names: Vec<_> = keys.iter().map(|key| (&*key.name, key.role)).collect();
    assert_eq!(
        names,
        [("audit", KeyRole::Viewer), ("noc", KeyRole::Operator)]
    );
    assert_eq!(keys[1].hash, "b".repeat(64));
    assert!(keys[0].last_used_at.is_none());
    assert!(
        keys[1]
            .last_used_at
            .is_some_and(|at| at >= keys[1].created_at)
    );
}

/// A name is given once; what makes no sense is refused.
pub async fn a_key_name_is_given_once(fixture: &dyn Fixture) {
    let engine = fixture.open().await;
    let by = change("x");
    engine
        .add_api_key(key("noc", "a", KeyRole::Admin), &by)
        .await
        .expect("added");
    engine.revoke_api_key("noc", &by).await.expect("revoked");
    let error = engine
        .add_api_key(key("noc", "b", KeyRole::Viewer), &by)
        .await
        .expect_err("it was given");
    assert!(matches!(error, EngineError::Conflict(_)), "{error:?}");
    for name in ["", "  ", "a\0b", "x".repeat(101).as_str()] {
        let error = engine
            .add_api_key(key(name, "c", KeyRole::Viewer), &by)
            .await
            .expect_err("no name");
        assert!(matches!(error, EngineError::Invalid(_)), "{error:?}");
    }
    let error = engine
        .add_api_key(key("other", "X", KeyRole::Viewer), &by)
        .await
        .expect_err("no hash");
    assert!(matches!(error, EngineError::Invalid(_)), "{error:?}");
}

/// A revoked key stays revoked; making and revoking are in the audit, the hash is not.
pub async fn keys_are_revoked_and_audited(fixture: &dyn Fixture) {
    let engine = fixture.open().await;
    let by = change("handed out");
    engine
        .add_api_key(key("noc", "f", KeyRole::Operator), &by)
        .await
        .expect("added");
    engine
        .revoke_api_key("noc", &change("left"))
        .await
        .expect("revoked");
    for name in ["noc", "nobody"] {
        let error = engine
            .revoke_api_key(name, &by)
            .await
            .expect_err("not there");
        assert!(matches!(error, EngineError::NotFound(_)), "{error:?}");
    }
    let keys = engine.api_keys().await.expect("keys");
    assert!(
        keys[0]
            .revoked_at
            .is_some_and(|at| at >= keys[0].created_at)
    );
    let filter = ConfigAuditFilter {
        table_name: Some("api_keys".to_owned()),
        limit: 10,
        ..ConfigAuditFilter::default()
    };
    let rows = engine.config_audit(&filter).await.expect("rows");
    let what: Vec<_> = rows
        .iter()
        .map(|row| {
            (
                &*row.operation,
                row.record_key.as_deref(),
                row.reason.as_deref(),
            )
        })
        .collect();
    assert_eq!(
        what,
        [
            ("UPDATE", Some("noc"), Some("left")),
            ("CREATE", Some("noc"), Some("handed out"))
        ]
    );
    let text = serde_json::to_string(&rows).expect("JSON");
    assert!(!text.contains(&"f".repeat(64)), "no hash: {text}");
    assert_chain_holds(&*engine).await;
}

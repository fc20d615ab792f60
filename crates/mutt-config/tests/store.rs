//! Secrets from files, kept fresh without any Vault.

mod support;

use std::collections::BTreeMap;

use mutt_config::{Home, Secret, SecretStore, Sources, VaultStatus};
use support::{until, values};

async fn start(environment: &BTreeMap<String, String>, home: Home<'_>) -> SecretStore {
    let sources = Sources {
        environment: environment.clone(),
        file: None,
    };
    let settings = mutt_config::load(&sources)
        .expect("the settings fit")
        .settings;
    SecretStore::start(&settings, environment, home)
        .await
        .expect("it starts")
}

fn variables<const N: usize>(pairs: [(&str, &str); N]) -> BTreeMap<String, String> {
    pairs
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
}

#[tokio::test]
async fn a_file_that_changes_is_picked_up_and_one_that_is_gone_takes_nothing_away() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("moog");
    std::fs::write(&file, "one").expect("written");
    let path = file.display().to_string();
    let environment = variables([
        ("MOOG_API_KEY_FILE", path.as_str()),
        ("VAULT_RENEW_CHECK_INTERVAL", "1"),
    ]);
    let store = start(&environment, Home::None).await;
    assert_eq!(values(&store, Secret::MoogApiKey), ["one"]);
    assert_eq!(store.status(), VaultStatus::Off);

    let mut changes = store.watch();
    changes.mark_unchanged();
    std::fs::write(&file, "two").expect("written");
    changes.changed().await.expect("the store lives");
    assert_eq!(values(&store, Secret::MoogApiKey), ["two"]);

    std::fs::remove_file(&file).expect("removed");
    let error = store.reload().await.expect_err("it is gone").to_string();
    assert!(error.contains("MOOG_API_KEY_FILE names "), "{error}");
    assert_eq!(values(&store, Secret::MoogApiKey), ["two"]);
    std::fs::write(&file, "three").expect("written");
    store.reload().await.expect("it is back");
    assert_eq!(values(&store, Secret::MoogApiKey), ["three"]);
}

#[tokio::test]
async fn nobody_is_told_where_nothing_changed() {
    let environment = variables([("MOOG_API_KEY", "one")]);
    let store = start(&environment, Home::None).await;
    let mut changes = store.watch();
    changes.mark_unchanged();
    store.reload().await.expect("it is read");
    assert!(!changes.has_changed().expect("the store lives"));
}

#[tokio::test]
async fn keys_are_made_at_home_and_the_end_is_an_end() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = start(&BTreeMap::new(), Home::Make(dir.path())).await;
    assert_eq!(values(&store, Secret::IngestApiKey)[0].len(), 64);
    store.end().await;
    let error = store.reload().await.expect_err("it ended").to_string();
    assert!(error.contains("ending"), "{error}");
    assert_eq!(values(&store, Secret::IngestApiKey).len(), 1);

    let store = start(&BTreeMap::new(), Home::Make(dir.path())).await;
    let mut changes = store.watch();
    changes.mark_unchanged();
    drop(store);
    until("the last store took the task with it", || {
        changes.has_changed().is_err()
    })
    .await;
}

#[tokio::test]
async fn a_refused_password_makes_it_look_again() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("redis");
    std::fs::write(&file, "one").expect("written");
    let path = file.display().to_string();
    let environment = variables([
        ("REDIS_PASS_FILE", path.as_str()),
        ("VAULT_RENEW_CHECK_INTERVAL", "86400"),
    ]);
    let store = start(&environment, Home::None).await;
    std::fs::write(&file, "two").expect("written");
    until("the new password is known", || {
        // Called for every refusal; most of them change nothing.
        store.suspect();
        values(&store, Secret::RedisPass) == ["two"]
    })
    .await;
}

//! Secrets from a real OpenBao: log-in, change, expiry, revocation, sealing, restart, refusals.

mod support;

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use mutt_config::{Secret, Source, VaultStatus};
use mutt_testbed::OpenBao;
use serde_json::{Value, json};
use support::{Vault, until, values};

/// Nothing but what a test asks for is read again within it.
const NEVER: &str = "86400";

fn is_ok(status: &VaultStatus) -> bool {
    matches!(status, VaultStatus::Ok { trouble: None, .. })
}

fn is_away(status: &VaultStatus) -> bool {
    matches!(status, VaultStatus::Away { .. })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn secrets_are_read_by_approle_and_changes_are_picked_up() {
    let vault = Vault::with_approle(OpenBao::start(), "1h", "24h")
        .with("VAULT_RENEW_CHECK_INTERVAL", "1")
        .with("INGEST_API_KEY", "of the environment")
        .with("MOOG_API_KEY", "of the environment");
    let store = vault.start().await.expect("it starts");
    assert_eq!(values(&store, Secret::RedisPass), ["redis-one"]);
    assert_eq!(values(&store, Secret::IngestApiKey), ["ingest-one"]);
    assert_eq!(values(&store, Secret::MoogApiKey), ["of the environment"]);
    let sources = store.current();
    assert_eq!(sources.source(Secret::IngestApiKey), Some(Source::Vault));
    assert_eq!(
        sources.source(Secret::MoogApiKey),
        Some(Source::Environment)
    );
    assert!(is_ok(&store.status()), "{}", store.status());

    let mut changes = store.watch();
    changes.mark_unchanged();
    vault.write(&json!({
        "REDIS_PASS_CURRENT": "redis-one", "REDIS_PASS_NEXT": "redis-two",
        "INGEST_API_KEY": "ingest-two", "DB_USER": "mutt_b",
    }));
    changes.changed().await.expect("the store lives");
    assert_eq!(
        values(&store, Secret::RedisPass),
        ["redis-one", "redis-two"]
    );
    assert_eq!(values(&store, Secret::IngestApiKey), ["ingest-two"]);
    assert_eq!(store.current().db_user.as_deref(), Some("mutt_b"));
    until("version 2 is in force", || {
        matches!(store.status(), VaultStatus::Ok { version: 2, .. })
    })
    .await;
    assert_eq!(vault.tokens().len(), 1, "one log-in serves all readings");
    store.end().await;
    assert_eq!(vault.tokens(), [""; 0], "the token was given back");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_reads_at_once_and_a_deleted_secret_is_kept() {
    let vault = Vault::with_approle(OpenBao::start(), "1h", "24h")
        .with("VAULT_RENEW_CHECK_INTERVAL", NEVER);
    let store = vault.start().await.expect("it starts");
    vault.write(&json!({"REDIS_PASS": "redis-two"}));
    store.reload().await.expect("it is read");
    assert_eq!(values(&store, Secret::RedisPass), ["redis-two"]);
    assert_eq!(values(&store, Secret::IngestApiKey), [""; 0]);

    vault.bao.api("DELETE", "secret/data/mutt", &Value::Null);
    let error = store.reload().await.expect_err("it is gone").to_string();
    assert!(
        error.contains("reading secret/mutt") && error.contains("404"),
        "{error}"
    );
    assert_eq!(values(&store, Secret::RedisPass), ["redis-two"]);
    assert!(is_away(&store.status()), "{}", store.status());
    vault.write(&json!({"REDIS_PASS": "redis-three"}));
    until("the new secret is known", || {
        values(&store, Secret::RedisPass) == ["redis-three"]
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_is_renewed_before_it_ends() {
    let vault = Vault::with_approle(OpenBao::start(), "16s", "24h")
        .with("VAULT_RENEW_CHECK_INTERVAL", NEVER);
    let store = vault.start().await.expect("it starts");
    let VaultStatus::Ok {
        token_expires: Some(first),
        ..
    } = store.status()
    else {
        panic!("{}", store.status());
    };
    let token = vault.tokens();
    until("the token is valid for longer than at first", || {
        assert!(is_ok(&store.status()), "{}", store.status());
        matches!(store.status(), VaultStatus::Ok { token_expires: Some(end), .. }
            if end > first + Duration::from_secs(2))
    })
    .await;
    assert_eq!(vault.tokens(), token, "the same token");
    until("the first end is over", || Timestamp::now() > first).await;
    store.reload().await.expect("the renewed token reads");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_cannot_be_renewed_is_replaced() {
    let vault =
        Vault::with_approle(OpenBao::start(), "6s", "6s").with("VAULT_RENEW_CHECK_INTERVAL", NEVER);
    let store = vault.start().await.expect("it starts");
    let first = vault.tokens();
    until("another token is there and the first one is not", || {
        let now = vault.tokens();
        !now.is_empty() && now.iter().all(|token| !first.contains(token))
    })
    .await;
    store.reload().await.expect("the new token reads");
    assert!(is_ok(&store.status()), "{}", store.status());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_token_is_replaced() {
    let vault = Vault::with_approle(OpenBao::start(), "1h", "24h")
        .with("VAULT_RENEW_CHECK_INTERVAL", NEVER);
    let store = vault.start().await.expect("it starts");
    let first = vault.tokens();
    vault.revoke(&first[0]);
    vault.write(&json!({"REDIS_PASS": "redis-two"}));
    store.reload().await.expect("it logs in again");
    assert_eq!(values(&store, Secret::RedisPass), ["redis-two"]);
    assert_ne!(vault.tokens(), first);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_in_that_fails_is_known_before_the_token_ends_and_heals() {
    let vault = Vault::with_approle(OpenBao::start(), "20s", "20s")
        .with("VAULT_RENEW_CHECK_INTERVAL", NEVER);
    let store = vault.start().await.expect("it starts");
    std::fs::write(vault.secret_id_file(), "d3adbeef-0000").expect("written");
    until("the token is known to end soon", || {
        matches!(
            store.status(),
            VaultStatus::Ok {
                trouble: Some(_),
                ..
            }
        )
    })
    .await;
    let status = store.status().to_string();
    assert!(
        status.contains("cannot be replaced") && !status.contains("d3adbeef"),
        "{status}"
    );
    until("it ended", || is_away(&store.status())).await;
    assert_eq!(values(&store, Secret::RedisPass), ["redis-one"]);
    vault.new_secret_id();
    vault.write(&json!({"REDIS_PASS": "redis-two"}));
    until("all is well", || is_ok(&store.status())).await;
    assert_eq!(values(&store, Secret::RedisPass), ["redis-two"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_vault_that_is_sealed_or_restarted_takes_nothing_away() {
    let vault =
        Vault::with_approle(OpenBao::start(), "1h", "24h").with("VAULT_RENEW_CHECK_INTERVAL", "1");
    let store = vault.start().await.expect("it starts");
    vault.bao.seal();
    let error = store.reload().await.expect_err("it is sealed").to_string();
    assert!(
        error.contains(&vault.bao.addr()) && error.contains("503") && error.contains("sealed"),
        "{error}"
    );
    assert!(is_away(&store.status()), "{}", store.status());
    assert_eq!(values(&store, Secret::RedisPass), ["redis-one"]);
    vault.bao.unseal();
    until("all is well", || is_ok(&store.status())).await;

    vault.bao.kill();
    let error = store.reload().await.expect_err("it is away").to_string();
    assert!(error.contains("cannot be reached"), "{error}");
    until("it is known to be away", || is_away(&store.status())).await;
    assert_eq!(values(&store, Secret::RedisPass), ["redis-one"]);
    vault.bao.restart();
    vault.write(&json!({"REDIS_PASS": "redis-two"}));
    until("the new secret is known", || {
        values(&store, Secret::RedisPass) == ["redis-two"]
    })
    .await;
    assert!(is_ok(&store.status()), "{}", store.status());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_vault_that_hangs_is_not_waited_for_forever() {
    let vault = Vault::with_approle(OpenBao::start(), "1h", "24h")
        .with("VAULT_RENEW_CHECK_INTERVAL", NEVER);
    let store = vault.start().await.expect("it starts");
    vault.bao.pause();
    let error = store.reload().await.expect_err("no answer").to_string();
    vault.bao.resume();
    assert!(error.contains("cannot be reached"), "{error}");
    assert_eq!(values(&store, Secret::RedisPass), ["redis-one"]);
    until("all is well", || is_ok(&store.status())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_waits_for_a_sealed_vault() {
    let vault = Vault::with_approle(OpenBao::start(), "1h", "24h");
    vault.bao.seal();
    let vault = Arc::new(vault);
    let waiting = vault.clone();
    let mut start = tokio::spawn(async move { waiting.start().await });
    let early = tokio::time::timeout(Duration::from_secs(2), &mut start).await;
    assert!(early.is_err(), "a sealed Vault gives nothing: {early:?}");
    vault.bao.unseal();
    let store = start.await.expect("no panic").expect("it starts");
    assert_eq!(values(&store, Secret::RedisPass), ["redis-one"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_says_what_was_tried_and_what_to_do() {
    let vault = Vault::with_approle(OpenBao::start(), "1h", "24h");
    let addr = vault.bao.addr();
    let good = vault.new_secret_id();

    std::fs::write(vault.secret_id_file(), "d3adbeef-0000").expect("written");
    let error = vault.start().await.expect_err("refused").to_string();
    for part in [
        addr.as_str(),
        "log-in by AppRole at auth/approle",
        "invalid role or secret ID",
        "VAULT_ROLE_ID or the secret id in ",
        "vault write -f auth/approle/role/NAME/secret-id",
    ] {
        assert!(error.contains(part), "{part} is not in: {error}");
    }
    assert!(!error.contains("d3adbeef"), "{error}");

    std::fs::remove_file(vault.secret_id_file()).expect("removed");
    let error = vault.refusal().await;
    assert!(
        error.contains("no secret id for Vault: ") && error.contains("VAULT_SECRET_ID_FILE"),
        "{error}"
    );
    // Where there is no file, the variable counts.
    let vault = vault.with("VAULT_SECRET_ID", &good);
    drop(vault.start().await.expect("the variable"));

    let elsewhere = vault.with("VAULT_SECRETS_PATH", "secret/other");
    let error = elsewhere.refusal().await;
    assert!(
        error.contains("reading secret/other")
            && error.contains("allows to read secret/data/other"),
        "{error}"
    );
    let unmounted = elsewhere.with("VAULT_AUTH_MOUNT", "approle-2");
    let error = unmounted.refusal().await;
    assert!(
        error.contains("log-in by AppRole at auth/approle-2"),
        "{error}"
    );
    assert_eq!(
        unmounted.tokens().len(),
        1,
        "the token of `start`, none of `fetch`"
    );

    let nobody = unmounted.with("VAULT_ADDR", "http://127.0.0.1:1");
    let error = nobody.refusal().await;
    assert!(
        error.contains("Vault at http://127.0.0.1:1 cannot be reached")
            && error.contains("refused"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_private_authority_is_trusted_where_it_is_named() {
    let vault = Vault::with_approle(OpenBao::builder().tls().start(), "1h", "24h");
    let error = vault.refusal().await;
    assert!(error.contains("certificate"), "{error}");
    let ca = vault
        .bao
        .ca_file()
        .expect("an authority")
        .display()
        .to_string();
    let vault = vault.with("VAULT_CACERT", &ca);
    let store = vault.start().await.expect("it starts");
    assert_eq!(values(&store, Secret::RedisPass), ["redis-one"]);

    let nothing = vault.dir().join("empty.pem");
    std::fs::write(&nothing, "").expect("written");
    let vault = vault.with("VAULT_CACERT", &nothing.display().to_string());
    let error = vault.refusal().await;
    assert!(
        error.contains("VAULT_CACERT names ") && error.contains("no certificates"),
        "{error}"
    );
}

/// The part of Kubernetes that Vault asks whether a token is genuine.
async fn token_review(genuine: &'static str) -> String {
    let answer = move |body: axum::Json<Value>| async move {
        let ok = body["spec"]["token"] == genuine;
        axum::Json(json!({
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview",
            "status": if ok {
                let audiences = body["spec"]["audiences"].clone();
                json!({"authenticated": true, "audiences": audiences, "user": {
                    "username": "system:serviceaccount:telemetry:mutt", "uid": "u-1",
                    "groups": ["system:serviceaccounts"],
                }})
            } else {
                json!({"authenticated": false, "error": "no such token"})
            },
        }))
    };
    let path = "/apis/authentication.k8s.io/v1/tokenreviews";
    let app = axum::Router::new().route(path, axum::routing::post(answer));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let addr = listener.local_addr().expect("an address");
    tokio::spawn(async move { axum::serve(listener, app).await });
    format!("http://{addr}")
}

/// Header and claims of a service account's token; only its issuer can check the signature.
const JWT: &str = concat!(
    "eyJhbGciOiJSUzI1NiIsImtpZCI6ImsxIn0.",
    "eyJpc3MiOiJodHRwczovL2t1YmVybmV0ZXMiLCJzdWIiOiJzeXN0ZW06c2VydmljZWFjY291bnQ6dGVsZW1ldHJ5Om11",
    "dHQiLCJhdWQiOlsiaHR0cHM6Ly9rdWJlcm5ldGVzIl0sImt1YmVybmV0ZXMuaW8iOnsibmFtZXNwYWNlIjoidGVsZW1l",
    "dHJ5Iiwic2VydmljZWFjY291bnQiOnsibmFtZSI6Im11dHQiLCJ1aWQiOiJ1LTEifX19.",
    "c2lnbmF0dXJl"
);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_logs_in_with_its_service_account() {
    let host = token_review(JWT).await;
    let vault = Vault::new(OpenBao::start());
    let bao = &vault.bao;
    bao.api(
        "POST",
        "sys/auth/kubernetes",
        &json!({"type": "kubernetes"}),
    );
    let certificates = mutt_testbed::Certificates::write(vault.dir()).expect("written");
    let ca = std::fs::read_to_string(certificates.ca_file()).expect("it is there");
    let config = json!({
        "kubernetes_host": host, "disable_local_ca_jwt": true, "kubernetes_ca_cert": ca,
    });
    bao.api("POST", "auth/kubernetes/config", &config);
    let role = |account| {
        json!({
            "bound_service_account_names": account,
            "bound_service_account_namespaces": "telemetry",
            "token_policies": "mutt", "token_ttl": "1h",
        })
    };
    bao.api("POST", "auth/kubernetes/role/mutt", &role("mutt"));
    bao.api("POST", "auth/kubernetes/role/other", &role("somebody-else"));
    let file = vault.dir().join("token");
    std::fs::write(&file, JWT).expect("written");
    let vault = vault
        .with("VAULT_AUTH", "kubernetes")
        .with("VAULT_K8S_ROLE", "mutt")
        .with("VAULT_K8S_TOKEN_FILE", &file.display().to_string());
    let store = vault.start().await.expect("it starts");
    assert_eq!(values(&store, Secret::RedisPass), ["redis-one"]);
    drop(store);

    let vault = vault.with("VAULT_K8S_ROLE", "other");
    let error = vault.start().await.expect_err("not its role").to_string();
    assert!(
        error.contains("log-in by Kubernetes at auth/kubernetes")
            && error.contains("the role other (VAULT_K8S_ROLE) must be there")
            && !error.contains(JWT),
        "{error}"
    );
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("no panic").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn no_log_and_no_debug_shows_a_secret() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let vault = Vault::with_approle(OpenBao::start(), "1h", "24h")
        .with("VAULT_RENEW_CHECK_INTERVAL", NEVER)
        .with("MOOG_API_KEY", "moog-one");
    let secret_id = vault.new_secret_id();
    let store = vault.start().await.expect("it starts");
    vault.write(&json!({"REDIS_PASS": "redis-two"}));
    vault.revoke(&vault.tokens()[0]);
    store.reload().await.expect("it is read");
    vault.bao.seal();
    store.reload().await.expect_err("it is sealed");
    let shown = format!("{store:?} {:?} {}", store.current(), store.status());
    let text = String::from_utf8(log.0.lock().expect("no panic").clone()).expect("text");
    assert!(
        text.contains("logged in to Vault") && text.contains("sealed"),
        "{text}"
    );
    for secret in [
        "redis-one",
        "redis-two",
        "ingest-one",
        "moog-one",
        &secret_id,
    ] {
        assert!(!text.contains(secret), "{secret} is in the log");
        assert!(!shown.contains(secret), "{secret} is shown");
    }
    // Tokens of OpenBao look like s.wnKBS81mqLMMxz8sdz0OAMRj.
    let token = text
        .split(|c: char| !(c.is_ascii_alphanumeric() || c == '.'))
        .find(|word| word.starts_with("s.") && word.len() > 20);
    assert!(token.is_none(), "a token is in the log");
}

//! The program with a real Vault (OpenBao): rotation of a key without a refused sender, a Vault that
//! is sealed, nothing shown; and no secret in a core dump.
#![allow(
    clippy::unwrap_used,
    reason = "a test ends where something is not as it must be"
)]

mod support;

use std::os::unix::net::UnixDatagram;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, Stdio};

use mutt_testbed::OpenBao;
use serde_json::{Value, json};
use support::{KEY, Mutt, until};

fn write(bao: &OpenBao, secrets: &Value) {
    bao.api("POST", "secret/data/mutt", &json!({"data": secrets}));
}

/// As docs/secrets.md says.
fn set_up(bao: &OpenBao, secret_id_file: &std::path::Path) -> String {
    bao.enable_kv2("secret");
    let policy = r#"path "secret/data/mutt" { capabilities = ["read"] }"#;
    bao.api("PUT", "sys/policies/acl/mutt", &json!({"policy": policy}));
    bao.api("POST", "sys/auth/approle", &json!({"type": "approle"}));
    let role = json!({"token_policies": "mutt", "token_ttl": "1h", "token_max_ttl": "24h"});
    bao.api("POST", "auth/approle/role/mutt", &role);
    let id = bao.api("POST", "auth/approle/role/mutt/secret-id", &json!({}));
    std::fs::write(secret_id_file, id["data"]["secret_id"].as_str().unwrap()).unwrap();
    let role = bao.api("GET", "auth/approle/role/mutt/role-id", &Value::Null);
    role["data"]["role_id"].as_str().unwrap().to_owned()
}

async fn post(mutt: &Mutt, key: &str) -> u16 {
    let answer = reqwest::Client::new()
        .post(mutt.url("/ingest"))
        .header("x-api-key", key)
        .body(r#"{"hostname":"sw1","message":"link down"}"#)
        .send()
        .await
        .unwrap();
    answer.status().as_u16()
}

async fn get(mutt: &Mutt, path: &str, key: &str) -> (u16, String) {
    let answer = reqwest::Client::new()
        .get(mutt.url(path))
        .header("x-api-key", key)
        .send()
        .await
        .unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_is_rotated_in_vault_without_a_refused_sender() {
    let bao = OpenBao::start();
    let dir = tempfile::tempdir().unwrap();
    let id_file = dir.path().join("secret_id");
    let role_id = set_up(&bao, &id_file);
    write(&bao, &json!({"INGEST_API_KEY": "vault-key-one"}));
    let mut mutt = Mutt::new(&[
        ("VAULT_ADDR", &bao.addr()),
        ("VAULT_ROLE_ID", &role_id),
        ("VAULT_SECRET_ID_FILE", &id_file.display().to_string()),
        ("LOG_LEVEL", "debug"),
    ]);
    mutt.start().await;
    assert_eq!(
        post(&mutt, KEY).await,
        401,
        "Vault wins over the environment"
    );
    assert_eq!(post(&mutt, "vault-key-one").await, 200);

    let both = json!({"INGEST_API_KEY": "vault-key-one", "INGEST_API_KEY_NEXT": "vault-key-two"});
    write(&bao, &both);
    mutt.signal("HUP");
    until("the successor is valid", async || {
        assert_eq!(
            post(&mutt, "vault-key-one").await,
            200,
            "valid all the time"
        );
        post(&mutt, "vault-key-two").await == 200
    })
    .await;
    write(&bao, &json!({"INGEST_API_KEY": "vault-key-two"}));
    mutt.signal("HUP");
    until("the predecessor is not valid any more", async || {
        assert_eq!(
            post(&mutt, "vault-key-two").await,
            200,
            "valid all the time"
        );
        post(&mutt, "vault-key-one").await == 401
    })
    .await;

    // Commands find the key where the server finds it.
    let doctor = mutt.run(&["doctor", "--json"]);
    let doctor = String::from_utf8_lossy(&doctor.stdout).into_owned();
    assert!(doctor.contains("gives INGEST_API_KEY"), "{doctor}");

    bao.seal();
    mutt.signal("HUP");
    until("health says that Vault is away", async || {
        let (status, health) = get(&mutt, "/health", "").await;
        assert_eq!(status, 200, "the last known secrets hold: {health}");
        health.contains("away since") && health.contains("sealed")
    })
    .await;
    assert_eq!(post(&mutt, "vault-key-two").await, 200);
    let (_, page) = get(&mutt, "/admin/config", "vault-key-two").await;
    assert!(
        page.contains("Vault") && page.contains("away since"),
        "{page}"
    );
    bao.unseal();
    until("health says that all is well", async || {
        get(&mutt, "/health", "").await.1.contains("is in force")
    })
    .await;

    let shown = format!("{page}{doctor}{}", mutt.log());
    let secret_id = std::fs::read_to_string(&id_file).unwrap();
    for secret in ["vault-key-one", "vault-key-two", KEY, &secret_id, &role_id] {
        assert!(!shown.contains(secret), "{secret} is shown");
    }
    assert_eq!(mutt.stop(), Some(0));
    assert!(mutt.log().contains("logged in to Vault"), "{}", mutt.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_that_vault_refuses_says_why_and_ends() {
    let bao = OpenBao::start();
    let dir = tempfile::tempdir().unwrap();
    let id_file = dir.path().join("secret_id");
    let role_id = set_up(&bao, &id_file);
    std::fs::write(&id_file, "d3adbeef-0000").unwrap();
    let mutt = Mutt::new(&[
        ("VAULT_ADDR", &bao.addr()),
        ("VAULT_ROLE_ID", &role_id),
        ("VAULT_SECRET_ID_FILE", &id_file.display().to_string()),
    ]);
    let output = mutt.run(&["serve"]);
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{error}");
    assert!(
        error.contains("invalid role or secret ID") && !error.contains("d3adbeef"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_that_waits_for_vault_asks_systemd_for_time() {
    let bao = OpenBao::start();
    let dir = tempfile::tempdir().unwrap();
    let id_file = dir.path().join("secret_id");
    let role_id = set_up(&bao, &id_file);
    write(&bao, &json!({"INGEST_API_KEY": KEY}));
    bao.seal();
    let socket = dir.path().join("notify");
    let systemd = UnixDatagram::bind(&socket).unwrap();
    systemd.set_read_timeout(Some(support::PATIENCE)).unwrap();
    let heard = || {
        let mut text = [0; 256];
        let length = systemd.recv(&mut text).expect("a sign of life");
        String::from_utf8_lossy(&text[..length]).into_owned()
    };
    let mut mutt = Mutt::new(&[
        ("VAULT_ADDR", &bao.addr()),
        ("VAULT_ROLE_ID", &role_id),
        ("VAULT_SECRET_ID_FILE", &id_file.display().to_string()),
        ("VAULT_RENEW_CHECK_INTERVAL", "2"),
        ("NOTIFY_SOCKET", &socket.display().to_string()),
    ]);
    mutt.spawn();
    // Before systemd's patience (90 s) is over, and again and again.
    for _ in 0..2 {
        let text = heard();
        assert!(text.starts_with("EXTEND_TIMEOUT_USEC=60000000\n"), "{text}");
        assert!(text.contains("STATUS=waits for the secrets"), "{text}");
    }
    bao.unseal();
    mutt.wait_ready().await;
    let text = std::iter::repeat_with(heard).find(|text| !text.starts_with("EXTEND"));
    assert_eq!(text.as_deref(), Some("READY=1\nSTATUS="));
    assert_eq!(mutt.stop(), Some(0));
    assert_eq!(heard(), "STOPPING=1");
}

/// Starts a program where core dumps are allowed.
fn with_cores(dir: &std::path::Path, program: &Command) -> Child {
    let mut command = Command::new("sh");
    command
        .args(["-c", "ulimit -c unlimited; exec \"$0\" \"$@\""])
        .arg(program.get_program())
        .args(program.get_args())
        .current_dir(dir)
        .stderr(Stdio::null());
    for (name, value) in program.get_envs() {
        command.env(name, value.unwrap());
    }
    command.spawn().unwrap()
}

/// Lets it die of a fault; whether it left a core dump.
fn dumps(mut child: Child) -> bool {
    let pid = child.id().to_string();
    let sent = Command::new("kill").args(["-ABRT", &pid]).status();
    assert!(sent.unwrap().success());
    let status = child.wait().unwrap();
    assert_eq!(status.signal(), Some(6), "{status}");
    status.core_dumped()
}

#[tokio::test]
async fn a_process_that_dies_leaves_no_secrets_behind() {
    let dir = tempfile::tempdir().unwrap();
    let mut control = Command::new("sleep");
    control.arg("600");
    if !dumps(with_cores(dir.path(), &control)) {
        eprintln!("this machine makes no core dumps: nothing can be seen");
    }
    let mutt = Mutt::new(&[]);
    let child = with_cores(dir.path(), &mutt.command(&["serve"]));
    until("it is ready", async || {
        reqwest::get(mutt.url("/")).await.is_ok()
    })
    .await;
    assert!(!dumps(child), "a core dump holds every secret");
}

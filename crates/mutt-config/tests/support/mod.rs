//! An OpenBao server with a role for MUTT, and what a test wants to know about it.

#![allow(dead_code, reason = "each test file uses a part of it")]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use mutt_config::secrets::ExposeSecret as _;
use mutt_config::{Home, Secret, SecretStore, Secrets, SecretsError, Settings, Sources};
use mutt_testbed::OpenBao;
use serde_json::{Value, json};
use tempfile::TempDir;

/// What docs/secrets.md tells people to write.
pub const POLICY: &str = r#"path "secret/data/mutt" { capabilities = ["read"] }"#;

/// How long a condition may take to hold.
const LONG: Duration = Duration::from_secs(90);

pub struct Vault {
    pub bao: OpenBao,
    dir: TempDir,
    environment: BTreeMap<String, String>,
}

impl Vault {
    /// A server with secrets, the policy and a role for `AppRole`, whose tokens are valid for
    /// `ttl`, renewed up to `max_ttl`.
    pub fn with_approle(bao: OpenBao, ttl: &str, max_ttl: &str) -> Self {
        let vault = Self::new(bao);
        vault
            .bao
            .api("POST", "sys/auth/approle", &json!({"type": "approle"}));
        let role = json!({
            "token_policies": "mutt", "token_ttl": ttl, "token_max_ttl": max_ttl,
        });
        vault.bao.api("POST", "auth/approle/role/mutt", &role);
        vault.new_secret_id();
        let role_id = vault
            .bao
            .api("GET", "auth/approle/role/mutt/role-id", &Value::Null);
        let role_id = role_id["data"]["role_id"]
            .as_str()
            .expect("a role id")
            .to_owned();
        let file = vault.secret_id_file().display().to_string();
        vault
            .with("VAULT_ROLE_ID", &role_id)
            .with("VAULT_SECRET_ID_FILE", &file)
    }

    /// A server with secrets and the policy.
    pub fn new(bao: OpenBao) -> Self {
        bao.enable_kv2("secret");
        bao.api("PUT", "sys/policies/acl/mutt", &json!({"policy": POLICY}));
        let environment = BTreeMap::from([("VAULT_ADDR".to_owned(), bao.addr())]);
        let vault = Self {
            bao,
            dir: TempDir::new().expect("a directory"),
            environment,
        };
        vault.write(&json!({"REDIS_PASS_CURRENT": "redis-one", "INGEST_API_KEY": "ingest-one"}));
        vault
    }

    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.environment.insert(name.to_owned(), value.to_owned());
        self
    }

    pub fn dir(&self) -> &std::path::Path {
        self.dir.path()
    }

    pub fn secret_id_file(&self) -> PathBuf {
        self.dir.path().join("secret_id")
    }

    /// Makes a secret id and writes it where MUTT looks for it.
    pub fn new_secret_id(&self) -> String {
        let answer = self
            .bao
            .api("POST", "auth/approle/role/mutt/secret-id", &json!({}));
        let id = answer["data"]["secret_id"].as_str().expect("a secret id");
        std::fs::write(self.secret_id_file(), format!("{id}\n")).expect("written");
        id.to_owned()
    }

    /// A new version of the secrets.
    pub fn write(&self, secrets: &Value) {
        self.bao
            .api("POST", "secret/data/mutt", &json!({"data": secrets}));
    }

    pub fn settings(&self) -> Settings {
        let sources = Sources {
            environment: self.environment.clone(),
            file: None,
        };
        mutt_config::load(&sources)
            .expect("the settings fit")
            .settings
    }

    pub async fn start(&self) -> Result<SecretStore, SecretsError> {
        SecretStore::start(&self.settings(), &self.environment, Home::None).await
    }

    /// Why the secrets cannot be had.
    pub async fn refusal(&self) -> String {
        Secrets::fetch(&self.settings(), &self.environment, Home::None)
            .await
            .expect_err("it must be refused")
            .to_string()
    }

    /// The accessors of the tokens of MUTT's role.
    pub fn tokens(&self) -> Vec<String> {
        let list = self.bao.api("LIST", "auth/token/accessors", &Value::Null);
        let accessors = list["data"]["keys"].as_array().expect("accessors");
        let mut ours: Vec<String> = accessors
            .iter()
            .filter_map(Value::as_str)
            .filter(|accessor| {
                let about = json!({"accessor": accessor});
                // It may have ended since the list was made.
                self.bao
                    .try_api("POST", "auth/token/lookup-accessor", &about)
                    .is_ok_and(|answer| {
                        answer["data"]["policies"]
                            .as_array()
                            .is_some_and(|policies| policies.iter().any(|name| name == "mutt"))
                    })
            })
            .map(str::to_owned)
            .collect();
        ours.sort();
        ours
    }

    pub fn revoke(&self, accessor: &str) {
        let about = json!({"accessor": accessor});
        self.bao.api("POST", "auth/token/revoke-accessor", &about);
    }
}

/// The values of a secret.
pub fn values(store: &SecretStore, secret: Secret) -> Vec<String> {
    let secrets = store.current();
    let values = secrets.get(secret).iter();
    values
        .map(|value| value.expose_secret().to_owned())
        .collect()
}

/// Waits until something holds.
pub async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < LONG, "still not: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

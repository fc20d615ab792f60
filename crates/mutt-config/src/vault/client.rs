//! The calls to Vault's API: log-in, renewal, revocation, one read. Each has a time-out, a limit for
//! its answer, and an error that says what was tried.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use reqwest::header::HeaderValue;
use reqwest::{Method, Url};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::{Value, json};

use super::error::VaultError;
use super::kept::Kept;
use crate::server::{VaultAuth, VaultPath};
use crate::settings::Settings;

/// How long one call may take.
const CALL: Duration = Duration::from_secs(10);
/// How long a connection may take to be there.
const CONNECT: Duration = Duration::from_secs(5);
/// The longest answer: secrets of one path are far shorter.
const LONGEST: usize = 1 << 20;
/// The longest part of what Vault says that is repeated in errors.
const REASON: usize = 200;

/// What MUTT shows at log-in; read from its file each time, for it changes under way.
#[derive(Debug)]
enum Credential {
    AppRole {
        role_id: SecretString,
        secret_id_file: PathBuf,
        /// `VAULT_SECRET_ID`, where there is no file.
        secret_id: Option<SecretString>,
    },
    Kubernetes {
        role: String,
        token_file: PathBuf,
    },
}

/// A token and how long it is valid.
#[derive(Debug)]
pub(super) struct Token {
    secret: SecretString,
    pub(super) renewable: bool,
    /// How long it was valid when it was given; nothing is for ever.
    pub(super) lease: Option<Duration>,
    given: Instant,
}

impl Token {
    /// How long it is still valid; nothing is for ever.
    pub(super) fn left(&self) -> Option<Duration> {
        Some(self.lease?.saturating_sub(self.given.elapsed()))
    }

    /// When it ends, by the clock on the wall.
    pub(super) fn expires(&self) -> Option<Timestamp> {
        let left = SignedDuration::try_from(self.left()?).ok()?;
        Timestamp::now().checked_add(left).ok()
    }
}

#[derive(Deserialize)]
struct LogIn {
    auth: Auth,
}

#[derive(Deserialize)]
struct Auth {
    client_token: String,
    lease_duration: u64,
    renewable: bool,
}

impl LogIn {
    fn token(self) -> Token {
        let lease = Duration::from_secs(self.auth.lease_duration);
        Token {
            secret: SecretString::from(self.auth.client_token),
            renewable: self.auth.renewable,
            lease: (!lease.is_zero()).then_some(lease),
            given: Instant::now(),
        }
    }
}

#[derive(Deserialize)]
struct Refusal {
    #[serde(default)]
    errors: Vec<String>,
}

/// Speaks to one Vault.
#[derive(Debug)]
pub(super) struct Client {
    http: reqwest::Client,
    addr: Url,
    namespace: Option<String>,
    credential: Credential,
    /// Where the auth method is mounted.
    mount: String,
    place: VaultPath,
}

/// What a call does, with the hint for the case that it is refused.
struct Doing {
    what: String,
    hint: String,
}

impl Client {
    /// From settings that were checked; nothing where no Vault is set.
    pub(super) fn new(
        settings: &Settings,
        secret_id: Option<SecretString>,
    ) -> Result<Option<Self>, VaultError> {
        let Some(addr) = &settings.vault_addr else {
            return Ok(None);
        };
        let missing = |name| VaultError::Setup(format!("{name} is not set"));
        let (method, credential) = match settings.vault_auth {
            VaultAuth::AppRole => {
                let role_id = settings.vault_role_id.clone();
                let credential = Credential::AppRole {
                    role_id: role_id.ok_or_else(|| missing("VAULT_ROLE_ID"))?,
                    secret_id_file: settings.vault_secret_id_file.clone(),
                    secret_id,
                };
                ("approle", credential)
            }
            VaultAuth::Kubernetes => {
                let role = settings.vault_k8s_role.clone();
                let credential = Credential::Kubernetes {
                    role: role.ok_or_else(|| missing("VAULT_K8S_ROLE"))?,
                    token_file: settings.vault_k8s_token_file.clone(),
                };
                ("kubernetes", credential)
            }
        };
        let mount = settings.vault_auth_mount.as_deref().unwrap_or(method);
        Ok(Some(Self {
            http: http(settings, &addr.0)?,
            addr: addr.0.clone(),
            namespace: settings.vault_namespace.clone(),
            credential,
            mount: mount.trim_matches('/').to_owned(),
            place: settings.vault_secrets_path.clone(),
        }))
    }

    /// The address, for people.
    pub(super) fn addr(&self) -> &str {
        self.addr.as_str().trim_end_matches('/')
    }

    /// What MUTT shows at log-in, besides its role.
    pub(super) fn credential(&self) -> Result<SecretString, VaultError> {
        match &self.credential {
            Credential::AppRole {
                secret_id_file,
                secret_id,
                ..
            } => match secret_id {
                Some(id) if !secret_id_file.exists() => Ok(id.clone()),
                _ => read("secret id", "VAULT_SECRET_ID_FILE", secret_id_file),
            },
            Credential::Kubernetes { token_file, .. } => {
                read("service account token", "VAULT_K8S_TOKEN_FILE", token_file)
            }
        }
    }

    /// A new token for a [`Client::credential`].
    pub(super) async fn log_in(&self, shown: &SecretString) -> Result<Token, VaultError> {
        let shown = shown.expose_secret();
        let (method, body, hint) = match &self.credential {
            Credential::AppRole {
                role_id,
                secret_id_file,
                ..
            } => {
                let body = json!({"role_id": role_id.expose_secret(), "secret_id": shown});
                let hint = format!(
                    "VAULT_ROLE_ID or the secret id in {} is wrong, expired or used up; a new one: \
                     `vault write -f auth/{}/role/NAME/secret-id` (after some wrong log-ins Vault \
                     refuses right ones too, for 15 minutes)",
                    secret_id_file.display(),
                    self.mount
                );
                ("AppRole", body, hint)
            }
            Credential::Kubernetes { role, .. } => {
                let body = json!({"role": role, "jwt": shown});
                let hint = format!(
                    "the role {role} (VAULT_K8S_ROLE) must be there and name this pod's service \
                     account and namespace: `vault read auth/{}/role/{role}`",
                    self.mount
                );
                ("Kubernetes", body, hint)
            }
        };
        let doing = Doing {
            what: format!("log-in by {method} at auth/{}", self.mount),
            hint,
        };
        let path = format!("auth/{}/login", self.mount);
        let answer = self
            .call(Method::POST, &path, None, Some(body), &doing)
            .await
            // Vault may repeat what it was shown.
            .map_err(|error| without(error, shown))?;
        self.parsed::<LogIn>(&answer, &doing).map(LogIn::token)
    }

    /// The same token, valid for longer.
    pub(super) async fn renew(&self, token: &Token) -> Result<Token, VaultError> {
        let doing = Doing {
            what: "renewal of the token".into(),
            hint: "MUTT logs in again".into(),
        };
        let path = "auth/token/renew-self";
        let answer = self
            .call(Method::POST, path, Some(token), Some(json!({})), &doing)
            .await?;
        self.parsed::<LogIn>(&answer, &doing).map(LogIn::token)
    }

    /// Ends a token that is needed no more.
    pub(super) async fn revoke(&self, token: &Token) -> Result<(), VaultError> {
        let doing = Doing {
            what: "revocation of the token".into(),
            hint: "it ends by itself".into(),
        };
        let path = "auth/token/revoke-self";
        self.call(Method::POST, path, Some(token), None, &doing)
            .await
            .map(drop)
    }

    /// The secrets.
    pub(super) async fn read(&self, token: &Token) -> Result<Kept, VaultError> {
        let VaultPath { mount, path } = &self.place;
        let doing = Doing {
            what: format!("reading {}", self.place),
            hint: format!(
                "VAULT_SECRETS_PATH is a secret of a KV engine of version 2 (`vault kv put -mount={mount} \
                 {path} …`), and the role's policy allows to read {mount}/data/{path}"
            ),
        };
        let path = format!("{mount}/data/{path}");
        let answer = self
            .call(Method::GET, &path, Some(token), None, &doing)
            .await?;
        Kept::parse(&answer).map_err(|why| self.strange(&doing, why))
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        token: Option<&Token>,
        body: Option<Value>,
        doing: &Doing,
    ) -> Result<Vec<u8>, VaultError> {
        let url = format!("{}/v1/{path}", self.addr());
        // Vault's protection against forged requests.
        let mut request = self
            .http
            .request(method, url)
            .header("x-vault-request", "true");
        if let Some(namespace) = &self.namespace {
            request = request.header("x-vault-namespace", namespace);
        }
        if let Some(token) = token {
            let mut value = HeaderValue::from_str(token.secret.expose_secret())
                .map_err(|_| self.strange(doing, "its token is no proper text".into()))?;
            value.set_sensitive(true);
            request = request.header("x-vault-token", value);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        let unreachable = |error: reqwest::Error| VaultError::Unreachable {
            addr: self.addr().to_owned(),
            doing: doing.what.clone(),
            cause: causes(&error.without_url()),
        };
        let mut answer = request.send().await.map_err(unreachable)?;
        let status = answer.status();
        let mut body = Vec::new();
        while let Some(part) = answer.chunk().await.map_err(unreachable)? {
            if body.len() + part.len() > LONGEST {
                return Err(self.strange(doing, format!("it is longer than {LONGEST} bytes")));
            }
            body.extend_from_slice(&part);
        }
        if status.is_success() {
            return Ok(body);
        }
        let reason = reason(&body, status);
        let (addr, what) = (self.addr().to_owned(), doing.what.clone());
        let status = status.as_u16();
        Err(match status {
            // 412 and 429 pass by themselves, 472 and 473 are standby states.
            412 | 429 | 472 | 473 | 500..=599 => VaultError::Unavailable {
                addr,
                doing: what,
                status,
                reason,
            },
            _ => VaultError::Refused {
                addr,
                doing: what,
                status,
                reason,
                hint: doing.hint.clone(),
            },
        })
    }

    fn parsed<'a, T: Deserialize<'a>>(
        &self,
        answer: &'a [u8],
        doing: &Doing,
    ) -> Result<T, VaultError> {
        // The error of the parser would repeat texts of the answer, among them a token.
        serde_json::from_slice(answer)
            .map_err(|error| self.strange(doing, format!("{:?}", error.classify())))
    }

    fn strange(&self, doing: &Doing, why: String) -> VaultError {
        VaultError::Answer {
            addr: self.addr().to_owned(),
            doing: doing.what.clone(),
            why,
        }
    }
}

fn http(settings: &Settings, addr: &Url) -> Result<reqwest::Client, VaultError> {
    let follow = reqwest::redirect::Policy::custom(|attempt| {
        // A standby sends to the active node, which is one step; never out of TLS.
        let from_tls = attempt.previous().iter().any(|url| url.scheme() == "https");
        if attempt.previous().len() > 2 {
            attempt.error("it sends from one address to the next")
        } else if from_tls && attempt.url().scheme() != "https" {
            attempt.error("it sends from https to http")
        } else {
            attempt.follow()
        }
    });
    let mut http = reqwest::Client::builder()
        .timeout(CALL)
        .connect_timeout(CONNECT)
        .redirect(follow)
        .user_agent(concat!("MUTT/", env!("CARGO_PKG_VERSION")));
    if let Some(path) = &settings.vault_cacert {
        let refused = |why: String| {
            VaultError::Setup(format!("VAULT_CACERT names {}, {why}", path.display()))
        };
        let pem = std::fs::read(path)
            .map_err(|error| refused(format!("which cannot be read: {error}")))?;
        let certificates = reqwest::Certificate::from_pem_bundle(&pem)
            .map_err(|error| refused(format!("which holds no certificates: {error}")))?;
        if certificates.is_empty() {
            return Err(refused("which holds no certificates".into()));
        }
        http = http.tls_certs_only(certificates);
    } else if addr.scheme() == "http" {
        // Nothing to verify: a system without any authority is no obstacle.
        http = http.tls_certs_only([]);
    }
    http.build()
        .map_err(|error| VaultError::Setup(format!("no client for Vault: {}", causes(&error))))
}

fn read(
    what: &'static str,
    setting: &'static str,
    path: &std::path::Path,
) -> Result<SecretString, VaultError> {
    let failed = |error: &dyn std::fmt::Display| VaultError::Credential {
        what,
        setting,
        path: path.to_owned(),
        error: error.to_string(),
    };
    let text = std::fs::read_to_string(path).map_err(|error| failed(&error))?;
    match text.trim() {
        "" => Err(failed(&"it is empty")),
        text => Ok(SecretString::from(text)),
    }
}

/// What Vault said, in one short line.
fn reason(body: &[u8], status: reqwest::StatusCode) -> String {
    let said = serde_json::from_slice::<Refusal>(body)
        .map(|refusal| refusal.errors.join("; "))
        .unwrap_or_default();
    let said: String = said
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .chars()
        .take(REASON)
        .collect();
    if said.is_empty() {
        status.canonical_reason().unwrap_or("refused").to_owned()
    } else {
        said
    }
}

fn without(error: VaultError, secret: &str) -> VaultError {
    let clean = |text: String| text.replace(secret, "***");
    match error {
        VaultError::Refused {
            addr,
            doing,
            status,
            reason,
            hint,
        } => VaultError::Refused {
            addr,
            doing,
            status,
            reason: clean(reason),
            hint,
        },
        VaultError::Unavailable {
            addr,
            doing,
            status,
            reason,
        } => VaultError::Unavailable {
            addr,
            doing,
            status,
            reason: clean(reason),
        },
        other => other,
    }
}

fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let part = error.to_string();
        if !text.ends_with(&part) {
            text = format!("{text}: {part}");
        }
        cause = error.source();
    }
    text
}

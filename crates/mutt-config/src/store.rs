//! The secrets of a running process: read once at start, kept fresh from then on.
//!
//! Promises that nothing which happens to Vault or to a file after the start takes a secret away: the
//! last known values hold until better ones are there. Whoever uses secrets watches them here and
//! never learns where they come from.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::AbortHandle;

use crate::secrets::{Home, Secret, Secrets, SecretsError};
use crate::settings::Settings;
use crate::vault::{Kept, Session, VaultError};

/// The pause after the first failure; it doubles with each.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause between attempts while Vault is away.
const LONGEST_PAUSE: Duration = Duration::from_mins(1);
/// The least time between two readings that were asked for by [`SecretStore::suspect`].
const SUSPECT_PAUSE: Duration = Duration::from_secs(5);
/// How long the end waits for Vault to take the token back.
const END: Duration = Duration::from_secs(3);

/// How it stands with Vault; for health and doctor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VaultStatus {
    /// None is set.
    Off,
    /// Its secrets are known and fresh.
    Ok {
        /// Since when.
        since: Timestamp,
        /// When the token ends, unless it is renewed.
        token_expires: Option<Timestamp>,
        /// The version of the secret, as the KV engine counts.
        version: u64,
        /// Why the token can be neither renewed nor replaced, where it ends soon.
        trouble: Option<String>,
    },
    /// It does not give its secrets; those that were known hold.
    Away {
        /// Why.
        why: String,
        /// Since when.
        since: Timestamp,
    },
}

impl fmt::Display for VaultStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("not used"),
            Self::Ok {
                version,
                token_expires,
                trouble,
                ..
            } => {
                write!(f, "version {version} of the secrets is in force")?;
                match (trouble, token_expires) {
                    (Some(trouble), Some(end)) => {
                        write!(
                            f,
                            "; the token ends at {end:.0} and cannot be replaced: {trouble}"
                        )
                    }
                    _ => Ok(()),
                }
            }
            Self::Away { why, since } => {
                write!(
                    f,
                    "away since {since:.0}, the last known secrets hold: {why}"
                )
            }
        }
    }
}

/// The secrets of this process. Clones share them; with the last one, keeping them fresh ends.
#[derive(Clone, Debug)]
pub struct SecretStore(Arc<Handle>);

#[derive(Debug)]
struct Handle {
    secrets: watch::Receiver<Arc<Secrets>>,
    status: watch::Receiver<VaultStatus>,
    asked: mpsc::Sender<Ask>,
    keeper: AbortHandle,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

#[derive(Debug)]
enum Ask {
    Reload(oneshot::Sender<Result<(), SecretsError>>),
    Suspect,
    End(oneshot::Sender<()>),
}

impl SecretStore {
    /// Reads everything once, waiting for Vault where one is set, then keeps it fresh in the
    /// background: everything is read again every `VAULT_RENEW_CHECK_INTERVAL`.
    ///
    /// Cancelling it leaves nothing behind but perhaps a token that ends by itself.
    ///
    /// # Errors
    /// A file that cannot be read or written, an empty secret, or a Vault that refuses; never with a
    /// secret in it. A Vault that cannot be reached or is sealed is waited for.
    pub async fn start(
        settings: &Settings,
        environment: &BTreeMap<String, String>,
        home: Home<'_>,
    ) -> Result<Self, SecretsError> {
        let mut keeper = Keeper::new(settings, environment, home)?;
        let first = keeper.first().await?;
        let (secrets, secrets_watch) = watch::channel(Arc::new(first));
        let (status, status_watch) = watch::channel(keeper.status_now());
        let (asked, asks) = mpsc::channel(16);
        let task = tokio::spawn(keeper.keep(secrets, status, asks));
        Ok(Self(Arc::new(Handle {
            secrets: secrets_watch,
            status: status_watch,
            asked,
            keeper: task.abort_handle(),
        })))
    }

    /// The secrets, and each change of them.
    pub fn watch(&self) -> watch::Receiver<Arc<Secrets>> {
        self.0.secrets.clone()
    }

    /// The secrets of the moment.
    pub fn current(&self) -> Arc<Secrets> {
        self.0.secrets.borrow().clone()
    }

    /// Reads everything again, now. When it returns, [`SecretStore::current`] has what is new, also
    /// where Vault is away and only files changed.
    ///
    /// # Errors
    /// Something cannot be read; what was known of it holds.
    pub async fn reload(&self) -> Result<(), SecretsError> {
        let (reply, answer) = oneshot::channel();
        let _ = self.0.asked.send(Ask::Reload(reply)).await;
        answer.await.unwrap_or(Err(SecretsError::Ended))
    }

    /// Says that a server refused every known value of a secret, so that reading again soon may
    /// help. Cheap, never waits, and may be called for every refusal.
    pub fn suspect(&self) {
        let _ = self.0.asked.try_send(Ask::Suspect);
    }

    /// How it stands with Vault.
    pub fn status(&self) -> VaultStatus {
        self.0.status.borrow().clone()
    }

    /// Ends keeping secrets fresh and gives the token back to Vault; waits a few seconds at most.
    pub async fn end(&self) {
        let (reply, answer) = oneshot::channel();
        if self.0.asked.send(Ask::End(reply)).await.is_ok() {
            let _ = tokio::time::timeout(END, answer).await;
        }
        self.0.keeper.abort();
    }
}

impl Secrets {
    /// Reads everything once, from Vault too where one is set; for commands, which keep nothing.
    ///
    /// # Errors
    /// As [`SecretStore::start`], and where Vault is away.
    pub async fn fetch(
        settings: &Settings,
        environment: &BTreeMap<String, String>,
        home: Home<'_>,
    ) -> Result<Self, SecretsError> {
        let mut keeper = Keeper::new(settings, environment, home)?;
        let vault = keeper.ask_vault().await;
        if let Some(session) = &mut keeper.session {
            let _ = tokio::time::timeout(END, session.end()).await;
        }
        vault?;
        keeper.gather()
    }
}

#[derive(Debug)]
enum Dir {
    None,
    Read(PathBuf),
    Make(PathBuf),
}

impl Dir {
    fn home(&self) -> Home<'_> {
        match self {
            Self::None => Home::None,
            Self::Read(dir) => Home::Read(dir),
            Self::Make(dir) => Home::Make(dir),
        }
    }
}

/// What the background task knows.
struct Keeper {
    environment: BTreeMap<String, String>,
    dir: Dir,
    session: Option<Session>,
    /// What Vault said last.
    kept: Option<Kept>,
    interval: Duration,
    /// Failures of Vault in a row.
    failures: u32,
    since: Timestamp,
    away: Option<String>,
    /// The last thing that was wrong with files, so that it is said once.
    wrong: Option<String>,
    looked: Instant,
}

impl Keeper {
    fn new(
        settings: &Settings,
        environment: &BTreeMap<String, String>,
        home: Home<'_>,
    ) -> Result<Self, SecretsError> {
        // Before Vault has spoken no key is made; what is wrong with files is said at once.
        let local = Secrets::read(environment, Home::None)?;
        let secret_id = local.get(Secret::VaultSecretId).first().cloned();
        Ok(Self {
            environment: environment.clone(),
            dir: match home {
                Home::None => Dir::None,
                Home::Read(dir) => Dir::Read(Path::to_owned(dir)),
                Home::Make(dir) => Dir::Make(Path::to_owned(dir)),
            },
            session: Session::new(settings, secret_id)?,
            kept: None,
            interval: Duration::from_secs(settings.vault_renew_check_interval),
            failures: 0,
            since: Timestamp::now(),
            away: None,
            wrong: None,
            looked: Instant::now(),
        })
    }

    async fn first(&mut self) -> Result<Secrets, SecretsError> {
        while let Err(error) = self.ask_vault().await {
            if !error.may_pass() {
                return Err(error.into());
            }
            let pause = self.pause();
            tracing::warn!(
                next_attempt_s = pause.as_secs(),
                "waiting for the secrets before anything starts: {error}"
            );
            tokio::time::sleep(pause).await;
        }
        self.gather()
    }

    async fn ask_vault(&mut self) -> Result<(), VaultError> {
        self.looked = Instant::now();
        let Some(session) = &mut self.session else {
            return Ok(());
        };
        match session.read().await {
            Ok(kept) => {
                self.kept = Some(kept);
                self.failures = 0;
                Ok(())
            }
            Err(error) => {
                self.failures = self.failures.saturating_add(1);
                Err(error)
            }
        }
    }

    fn gather(&self) -> Result<Secrets, SecretsError> {
        let secrets = Secrets::gather(&self.environment, self.dir.home(), self.kept.as_ref())?;
        for file in &secrets.made {
            tracing::info!(file = %file.display(), "a key was made");
        }
        Ok(secrets)
    }

    /// The pause after a failure: doubling, and never the same for two processes.
    fn pause(&self) -> Duration {
        let doubled = FIRST_PAUSE.saturating_mul(1 << self.failures.saturating_sub(1).min(10));
        doubled
            .min(LONGEST_PAUSE)
            .min(self.interval.max(FIRST_PAUSE))
            .mul_f64(rand::random_range(0.5..1.0))
    }

    /// How long until everything is looked at again.
    fn next(&self) -> Duration {
        if self.failures > 0 {
            return self.pause();
        }
        let due = self.session.as_ref().and_then(Session::due);
        due.map_or(self.interval, |due| due.clamp(FIRST_PAUSE, self.interval))
    }

    fn status_now(&self) -> VaultStatus {
        let (Some(session), Some(kept)) = (&self.session, &self.kept) else {
            return VaultStatus::Off;
        };
        match &self.away {
            Some(why) => VaultStatus::Away {
                why: why.clone(),
                since: self.since,
            },
            None => VaultStatus::Ok {
                since: self.since,
                token_expires: session.token_expires(),
                version: kept.version,
                trouble: session.trouble().map(ToString::to_string),
            },
        }
    }

    async fn keep(
        mut self,
        secrets: watch::Sender<Arc<Secrets>>,
        status: watch::Sender<VaultStatus>,
        mut asks: mpsc::Receiver<Ask>,
    ) {
        loop {
            let reply = tokio::select! {
                () = tokio::time::sleep(self.next()) => None,
                ask = asks.recv() => match ask {
                    None => return,
                    Some(Ask::Suspect) if self.looked.elapsed() < SUSPECT_PAUSE => continue,
                    Some(Ask::Suspect) => None,
                    Some(Ask::Reload(reply)) => Some(reply),
                    Some(Ask::End(reply)) => {
                        if let Some(session) = &mut self.session {
                            session.end().await;
                        }
                        let _ = reply.send(());
                        return;
                    }
                },
            };
            if let (Some(_), Some(session)) = (&reply, &mut self.session) {
                session.forgive();
            }
            let result = self.look(&secrets).await;
            status.send_replace(self.status_now());
            if let Some(reply) = reply {
                let _ = reply.send(result);
            }
        }
    }

    /// Looks at everything and publishes what changed. What is wrong is logged when it is new.
    async fn look(&mut self, secrets: &watch::Sender<Arc<Secrets>>) -> Result<(), SecretsError> {
        let before = self.kept.as_ref().map(|kept| kept.version);
        let trouble = self.trouble();
        let vault = self.ask_vault().await;
        match &vault {
            Ok(()) => {
                if self.away.take().is_some() {
                    self.since = Timestamp::now();
                    tracing::info!("Vault gives its secrets again");
                }
                let version = self.kept.as_ref().map(|kept| kept.version);
                if version != before {
                    tracing::info!(version, "Vault has a new version of the secrets");
                }
                if let Some(now) = self.trouble()
                    && Some(&now) != trouble.as_ref()
                {
                    tracing::warn!("the token of Vault ends soon and cannot be replaced: {now}");
                }
            }
            Err(error) => {
                let why = error.to_string();
                if self.away.as_ref() != Some(&why) {
                    tracing::warn!("the last known secrets hold: {why}");
                }
                if self.away.is_none() {
                    self.since = Timestamp::now();
                }
                self.away = Some(why);
            }
        }
        let gathered = self.gather();
        match gathered {
            Ok(now) => {
                self.wrong = None;
                secrets.send_if_modified(|known| {
                    let changed = !now.same_as(known);
                    if changed {
                        *known = Arc::new(now);
                    }
                    changed
                });
                vault.map_err(SecretsError::from)
            }
            Err(error) => {
                let wrong = error.to_string();
                if self.wrong.as_ref() != Some(&wrong) {
                    tracing::warn!("the last known secrets hold: {wrong}");
                }
                self.wrong = Some(wrong);
                Err(error)
            }
        }
    }

    fn trouble(&self) -> Option<String> {
        let trouble = self.session.as_ref()?.trouble()?;
        Some(trouble.to_string())
    }
}

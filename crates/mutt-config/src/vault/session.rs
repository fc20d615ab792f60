//! A log-in that lasts: the token is renewed in time, and replaced where that does not help.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};

use super::client::{Client, Token};
use super::error::VaultError;
use super::kept::Kept;
use crate::settings::Settings;

/// How long a log-in that was refused is not tried again with the same credential. Vault locks a role
/// for a quarter of an hour after five wrong log-ins, for every pod that has it.
const REFUSED_PAUSE: Duration = Duration::from_mins(16);

/// A credential that was refused.
#[derive(Debug)]
struct Refused {
    shown: SecretString,
    when: Instant,
    error: VaultError,
}

/// A log-in at one Vault.
#[derive(Debug)]
pub(crate) struct Session {
    client: Client,
    threshold: Duration,
    token: Option<Token>,
    trouble: Option<VaultError>,
    refused: Option<Refused>,
}

impl Session {
    /// A session that has not logged in yet; nothing where no Vault is set.
    ///
    /// # Errors
    /// [`VaultError::Setup`].
    pub(crate) fn new(
        settings: &Settings,
        secret_id: Option<SecretString>,
    ) -> Result<Option<Self>, VaultError> {
        Ok(Client::new(settings, secret_id)?.map(|client| Self {
            client,
            threshold: Duration::from_secs(settings.vault_token_renew_threshold),
            token: None,
            trouble: None,
            refused: None,
        }))
    }

    /// The address, for people.
    pub(crate) fn addr(&self) -> &str {
        self.client.addr()
    }

    /// When the token ends; nothing where there is none or it is for ever.
    pub(crate) fn token_expires(&self) -> Option<Timestamp> {
        self.token.as_ref()?.expires()
    }

    /// Why the token could be neither renewed nor replaced, while it is still valid.
    pub(crate) fn trouble(&self) -> Option<&VaultError> {
        self.trouble.as_ref()
    }

    /// How long until the token has to be seen to; nothing where it never has to.
    pub(crate) fn due(&self) -> Option<Duration> {
        let token = self.token.as_ref()?;
        let left = token.left()?;
        Some(if self.trouble.is_some() {
            // Somebody has to change something: rarely at first, often as the end comes near.
            left / 10
        } else {
            left.saturating_sub(self.enough(token))
        })
    }

    /// Reads the secrets with a valid token, whatever that takes.
    ///
    /// # Errors
    /// Vault is away, or refuses log-in or reading.
    pub(crate) async fn read(&mut self) -> Result<Kept, VaultError> {
        let mut fresh = self.have_token().await?;
        loop {
            let token = self.token.as_ref().expect("it was just got");
            let result = self.client.read(token).await;
            match &result {
                // Revoked, or forgotten by a Vault that was restored.
                Err(error) if error.is_denied() => self.end().await,
                _ => return result,
            }
            if fresh {
                return result;
            }
            tracing::info!(
                vault = self.addr(),
                "the token is valid no more; logging in again"
            );
            self.log_in().await?;
            fresh = true;
        }
    }

    /// Somebody says that things changed: what was refused is tried again.
    pub(crate) fn forgive(&mut self) {
        self.refused = None;
    }

    /// Ends the token, so that Vault need not remember it.
    pub(crate) async fn end(&mut self) {
        if let Some(token) = self.token.take()
            && let Err(error) = self.client.revoke(&token).await
        {
            tracing::debug!(%error, "the token of Vault was not revoked; it ends by itself");
        }
    }

    /// What must be left of a token: the threshold, or half of a short one's time.
    fn enough(&self, token: &Token) -> Duration {
        token
            .lease
            .map_or(self.threshold, |lease| self.threshold.min(lease / 2))
    }

    /// Sees to a token that is valid for long enough. Whether it is a new one.
    async fn have_token(&mut self) -> Result<bool, VaultError> {
        let Some(token) = &self.token else {
            self.log_in().await?;
            return Ok(true);
        };
        if token.left().is_none_or(|left| left > self.enough(token)) {
            self.trouble = None;
            return Ok(false);
        }
        if token.renewable {
            let enough = self.enough(token);
            match self.client.renew(token).await {
                // Close to the longest time that Vault allows it, a renewal brings next to nothing.
                Ok(renewed) if renewed.lease.is_none_or(|lease| lease > enough) => {
                    tracing::debug!(vault = self.addr(), "the token was renewed");
                    self.token = Some(renewed);
                    self.trouble = None;
                    return Ok(false);
                }
                Ok(_) => {}
                Err(error) if error.may_pass() => return Err(error),
                Err(error) => {
                    tracing::info!(%error, "the token cannot be renewed");
                }
            }
        }
        match self.log_in().await {
            Ok(()) => Ok(true),
            // The old token still opens everything; its end is what has to be warned of.
            Err(error) if self.is_valid() => {
                self.trouble = Some(error);
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    fn is_valid(&self) -> bool {
        self.token
            .as_ref()
            .is_some_and(|token| token.left().is_none_or(|left| !left.is_zero()))
    }

    async fn log_in(&mut self) -> Result<(), VaultError> {
        let shown = self.client.credential()?;
        if let Some(refused) = &self.refused
            && refused.shown.expose_secret() == shown.expose_secret()
            && refused.when.elapsed() < REFUSED_PAUSE
        {
            return Err(refused.error.clone());
        }
        self.refused = None;
        let token = match self.client.log_in(&shown).await {
            Ok(token) => token,
            Err(error) => {
                if !error.may_pass() {
                    self.refused = Some(Refused {
                        shown,
                        when: Instant::now(),
                        error: error.clone(),
                    });
                }
                return Err(error);
            }
        };
        tracing::info!(
            vault = self.addr(),
            valid_s = token.lease.map(|lease| lease.as_secs()),
            "logged in to Vault"
        );
        self.token = Some(token);
        self.trouble = None;
        Ok(())
    }
}

//! What every command needs to know: settings, the data directory, how to reach engine and API.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use mutt_config::{Backend, Home, Loaded, Secret, Secrets, Sources};
use mutt_engine::embedded::{Embedded, Mode};
use mutt_engine::{Change, Engine};

use crate::backend;
use crate::cli::Global;
use crate::exit::{Failure, Outcome};

/// Settings and where they came from.
pub struct Context {
    /// Settings, typed, with origins.
    pub loaded: Loaded,
    /// The environment, for secrets and for reading everything again.
    pub environment: BTreeMap<String, String>,
    /// `--json`.
    pub json: bool,
}

/// Without the environment, for secrets are in it.
impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("loaded", &self.loaded)
            .field("json", &self.json)
            .finish_non_exhaustive()
    }
}

impl Context {
    /// Reads environment, file and the options that every command has.
    pub fn new(global: &Global) -> Outcome<Self> {
        let mut sources = Sources::of_process(global.config.as_deref())?;
        if let Some(dir) = &global.data_dir {
            sources
                .environment
                .insert("MUTT_DATA_DIR".into(), dir.display().to_string());
        }
        Self::from_sources(&sources, global.json)
    }

    /// From given sources; the demo sets its own.
    pub fn from_sources(sources: &Sources, json: bool) -> Outcome<Self> {
        let loaded = mutt_config::load(sources)?;
        Ok(Self {
            loaded,
            environment: sources.environment.clone(),
            json,
        })
    }

    /// The data directory.
    pub fn data_dir(&self) -> &Path {
        &self.loaded.settings.data_dir
    }

    /// The engine, beside a running server or without one. Nothing is claimed through it.
    pub async fn tool(&self) -> Outcome<Arc<dyn Engine>> {
        let dir = self.data_dir();
        if self.backend() == Backend::Embedded && !dir.join("mutt.db").exists() {
            return Err(Failure::failed(format!(
                "there is no MUTT data in {}; name its directory with --data-dir or MUTT_DATA_DIR, \
                 or start with `mutt serve`",
                dir.display()
            )));
        }
        self.tool_or_new().await
    }

    /// As [`Context::tool`], and makes the data directory where there is none.
    pub async fn tool_or_new(&self) -> Outcome<Arc<dyn Engine>> {
        match self.backend() {
            Backend::Embedded => Ok(Embedded::open(self.data_dir(), Mode::Tool)?),
            Backend::Distributed => {
                backend::tool(&self.loaded.settings, self.secrets().await?).await
            }
        }
    }

    fn backend(&self) -> Backend {
        self.loaded.settings.backend
    }

    /// The secrets, from wherever they are, Vault too; none is made.
    pub async fn secrets(&self) -> Outcome<Secrets> {
        let home = Home::Read(self.data_dir());
        // Boxed, for it is the largest part of commands that mostly do something else.
        let secrets = Secrets::fetch(&self.loaded.settings, &self.environment, home);
        Ok(Box::pin(secrets).await?)
    }

    /// A secret to be shown to a running server.
    pub async fn key(&self, secret: Secret) -> Outcome<Option<mutt_config::secrets::SecretString>> {
        Ok(self.secrets().await?.get(secret).first().cloned())
    }

    /// Who changes something from this command line, and why.
    pub fn change(reason: Option<String>) -> Change {
        let user = std::env::var("SUDO_USER")
            .or_else(|_| std::env::var("USER"))
            .unwrap_or_else(|_| "unknown".into());
        Change {
            by: format!("cli:{user}"),
            reason,
            correlation_id: Some(uuid::Uuid::now_v7().to_string()),
        }
    }
}

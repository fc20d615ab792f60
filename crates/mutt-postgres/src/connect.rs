//! Opening connections: the host that can be written to, the password that is right, the session's
//! settings.
//!
//! Knows nothing of pools and tables. Each host is given `connect_timeout`; where all fail, the
//! error says what was tried on each.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use deadpool_postgres::ClientWrapper;
use mutt_engine::{EngineError, Result};
use secrecy::{ExposeSecret as _, SecretString};
use tokio_postgres::config::SslMode as Tls;
use tokio_postgres::{Config, NoTls, SimpleQueryMessage};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::error::{advice, is_wrong_password, words};
use crate::options::{PostgresOptions, SslMode, address, application_name};
use crate::tls;

/// How long an idle transaction keeps its locks where its owner went silent.
const IDLE_IN_TRANSACTION: Duration = Duration::from_secs(30);
/// How long a statement waits for a lock.
pub(crate) const LOCK_TIMEOUT: Duration = Duration::from_secs(5);

/// Opens connections.
pub(crate) struct Dial {
    options: PostgresOptions,
    tls: Option<MakeRustlsConnect>,
    lock_timeout: Duration,
    /// The host that worked last.
    preferred: AtomicUsize,
}

/// A connection that was opened.
pub(crate) struct Opened {
    pub(crate) client: ClientWrapper,
    /// The server in words: address, database, user.
    pub(crate) server: Arc<str>,
}

impl Dial {
    /// # Errors
    /// `Unusable` where the options cannot work.
    pub(crate) fn new(options: PostgresOptions, lock_timeout: Duration) -> Result<Self> {
        if options.hosts.is_empty() {
            return Err(EngineError::Unusable(
                "no PostgreSQL server is named: set DB_HOST".to_owned(),
            ));
        }
        let tls = match options.ssl_mode {
            SslMode::Disable => None,
            _ => Some(tls::connector(&options)?),
        };
        Ok(Self {
            options,
            tls,
            lock_timeout,
            preferred: AtomicUsize::new(0),
        })
    }

    pub(crate) fn options(&self) -> &PostgresOptions {
        &self.options
    }

    /// Opens a connection to the first host that can be written to, beginning with the one that
    /// worked last.
    ///
    /// # Errors
    /// `Unavailable` says what was tried.
    pub(crate) async fn open(&self) -> Result<Opened> {
        let count = self.options.hosts.len();
        let first = self.preferred.load(Ordering::Relaxed);
        let mut tried = Vec::with_capacity(count);
        for index in (0..count).map(|step| (first + step) % count) {
            let (host, port) = &self.options.hosts[index];
            let server = self.server(host, *port);
            match tokio::time::timeout(self.options.connect_timeout, self.log_in(host, *port)).await
            {
                Ok(Ok(client)) => {
                    self.preferred.store(index, Ordering::Relaxed);
                    let server = server.into();
                    return Ok(Opened { client, server });
                }
                Ok(Err(reason)) => tried.push(format!("{server} is not available: {reason}")),
                Err(_) => tried.push(format!(
                    "{server} is not available: no answer within {:?}; check DB_HOST, DB_PORT and \
                     the network between",
                    self.options.connect_timeout
                )),
            }
        }
        Err(EngineError::Unavailable(tried.join("; ")))
    }

    fn server(&self, host: &str, port: u16) -> String {
        format!(
            "PostgreSQL at {} (database {}, user {})",
            address(host, port),
            self.options.database,
            self.options.user
        )
    }

    /// Tries the passwords in turn, a next one only where one was refused.
    async fn log_in(&self, host: &str, port: u16) -> std::result::Result<ClientWrapper, String> {
        let passwords = (self.options.passwords)();
        let count = passwords.len();
        let mut passwords = passwords.into_iter();
        let mut password = passwords.next();
        loop {
            let error = match self.connect(host, port, password.as_ref()).await {
                Ok(client) => return self.set_up(client).await,
                Err(error) => error,
            };
            password = passwords.next();
            if password.is_none() || !is_wrong_password(&error) {
                if is_wrong_password(&error)
                    && let Some(tell) = &self.options.on_refused
                {
                    tell();
                }
                let tried = match count {
                    0 => " (no password was given)",
                    1 => "",
                    _ if is_wrong_password(&error) => " (every password was tried)",
                    _ => "",
                };
                return Err(format!("{}{tried}; {}", words(&error), advice(&error)));
            }
        }
    }

    async fn connect(
        &self,
        host: &str,
        port: u16,
        password: Option<&SecretString>,
    ) -> std::result::Result<ClientWrapper, tokio_postgres::Error> {
        let mut config = Config::new();
        config
            .host(host)
            .port(port)
            .dbname(&self.options.database)
            .user(&self.options.user)
            .application_name(application_name(&self.options.pod))
            .connect_timeout(self.options.connect_timeout)
            .keepalives_idle(Duration::from_secs(20))
            .keepalives_interval(Duration::from_secs(5))
            .keepalives_retries(3)
            .tcp_user_timeout(Duration::from_secs(20));
        if let Some(password) = password {
            config.password(password.expose_secret());
        }
        // As libpq: no TLS on a socket of the same machine.
        match &self.tls {
            Some(tls) if !host.starts_with('/') => {
                config.ssl_mode(match self.options.ssl_mode {
                    SslMode::Prefer => Tls::Prefer,
                    _ => Tls::Require,
                });
                let (client, connection) = config.connect(tls.clone()).await?;
                Ok(ClientWrapper::new(client, tokio::spawn(drive(connection))))
            }
            _ => {
                config.ssl_mode(Tls::Disable);
                let (client, connection) = config.connect(NoTls).await?;
                Ok(ClientWrapper::new(client, tokio::spawn(drive(connection))))
            }
        }
    }

    /// Settings of the session, and whether the server can be written to, in one round trip.
    async fn set_up(&self, client: ClientWrapper) -> std::result::Result<ClientWrapper, String> {
        // JIT costs more than these queries. A commit must be on the disk before it is believed.
        let settings = format!(
            "SET statement_timeout = {}; SET lock_timeout = {};
             SET idle_in_transaction_session_timeout = {};
             SET search_path = public; SET timezone = 'UTC'; SET jit = off;
             SET client_min_messages = warning;
             SELECT set_config('synchronous_commit', 'on', false)
             WHERE current_setting('synchronous_commit') = 'off';
             SHOW transaction_read_only",
            self.options.statement_timeout.as_millis(),
            self.lock_timeout.as_millis(),
            IDLE_IN_TRANSACTION.as_millis(),
        );
        let answers = client
            .simple_query(&settings)
            .await
            .map_err(|error| format!("{}; {}", words(&error), advice(&error)))?;
        let last = answers.iter().rev().find_map(|answer| match answer {
            SimpleQueryMessage::Row(row) => row.get(0),
            _ => None,
        });
        if last == Some("on") {
            return Err(
                "it can only be read: it is a standby, or read-only by configuration; name the \
                 primary in DB_HOST (several, separated by commas, are searched)"
                    .to_owned(),
            );
        }
        Ok(client)
    }
}

/// Moves bytes for a connection until it ends. Whoever uses it is told of the error.
async fn drive<C>(connection: C)
where
    C: Future<Output = std::result::Result<(), tokio_postgres::Error>>,
{
    if let Err(error) = connection.await {
        tracing::debug!(error = %words(&error), "a connection to PostgreSQL ended");
    }
}

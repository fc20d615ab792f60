//! What PostgreSQL remembers: which claims took effect, the audit trail of events, deliveries and
//! changes, rules, hosts, teams and dynamic configuration; and the schema of all that with its
//! migrations.
//!
//! [`Postgres`] promises what the engine's traits promise for these parts, and for claims that a
//! number takes effect once or never. It knows nothing of queues, Redis and stages.

mod audit;
mod catalog;
mod claims;
mod config_audit;
mod connect;
mod error;
mod hosts;
mod keys;
pub mod migrate;
mod options;
mod partitions;
mod pool;
mod rows;
mod rules;
mod text;
mod time;
mod tls;

use mutt_engine::Result;

pub use claims::{Applied, Standing};
pub use options::{OnRefused, Passwords, PostgresOptions, SslMode, application_name};
pub use pool::PoolStatus;

use connect::{Dial, LOCK_TIMEOUT};
use pool::{Checkout, Sessions};

/// PostgreSQL, as one role of one database. Clones share their connections.
#[derive(Clone)]
pub struct Postgres {
    sessions: Sessions,
}

impl Postgres {
    /// Gets ready to connect; connects to nothing yet.
    ///
    /// # Errors
    /// `Unusable` where the options cannot work: no host, or a root certificate that cannot be read.
    pub fn open(options: PostgresOptions) -> Result<Self> {
        let dial = Dial::new(options, LOCK_TIMEOUT)?;
        Ok(Self {
            sessions: Sessions::new(dial)?,
        })
    }

    async fn checkout(&self) -> Result<Checkout> {
        self.sessions.checkout().await
    }

    /// Whether the server is there, can be written to and has the schema of this program.
    ///
    /// # Errors
    /// `Unavailable`; `Unusable` where the schema does not fit.
    pub async fn ready(&self) -> Result<()> {
        let session = self.checkout().await?;
        let version = session.limited(migrate::version(&session)).await;
        let version = session.settle(version).await?;
        migrate::check(version)
    }

    /// Lets connections that were opened with earlier passwords go: idle ones at once, others when
    /// they are free. New ones ask for passwords anew, as always.
    pub fn renew(&self) {
        self.sessions.renew();
    }

    /// Closes connections that ended, and those that nobody has needed for minutes, and opens some
    /// ahead where there are fewer than `pool_min`. Meant to be called every second or so.
    ///
    /// # Errors
    /// `Unavailable` where none can be opened.
    pub async fn tend(&self) -> Result<()> {
        self.sessions.tend().await
    }

    /// Closes idle connections, and others when they are free; waits for those for a few seconds. No
    /// call works after that.
    pub async fn close(&self) {
        self.sessions.close().await;
    }

    /// The connections there are.
    pub fn pool_status(&self) -> PoolStatus {
        self.sessions.status()
    }
}

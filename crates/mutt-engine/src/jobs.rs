//! Jobs that people ordered, as they stand: kept so that every process shows them all and can have one
//! stopped that runs in another.
//!
//! What a job does is its process's business; here is only what it says of itself. A job that is not
//! saved again for a while, although it has not ended, went down with its process.

use std::time::Duration;

use async_trait::async_trait;

use crate::error::Result;

/// Jobs that are remembered after their end.
pub const JOBS_REMEMBERED: usize = 200;

/// A job that nobody saved for so long is forgotten, ended or not.
pub const JOBS_FORGOTTEN: Duration = Duration::from_hours(7 * 24);

/// A job as it was saved last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedJob {
    /// Its id: a `UUIDv7`, so that a later job sorts behind an earlier one.
    pub id: String,
    /// What it said of itself.
    pub says: String,
    /// How long ago, by the store's clock.
    pub age: Duration,
    /// Whether somebody asked it to stop.
    pub stopping: bool,
}

/// The jobs of every process on this store.
#[async_trait]
pub trait Jobs: Send + Sync {
    /// Saves what a job says of itself, in the place of what it said before; returns whether somebody
    /// asked it to stop. Of jobs that have `ended`, the [`JOBS_REMEMBERED`] newest are kept.
    ///
    /// # Errors
    /// `Unavailable`.
    async fn save_job(&self, id: &str, says: &str, ended: bool) -> Result<bool>;

    /// The jobs, the newest first.
    ///
    /// # Errors
    /// `Unavailable`.
    async fn saved_jobs(&self) -> Result<Vec<SavedJob>>;

    /// Asks a job to stop; it hears of it when it is saved next. False where there is none.
    ///
    /// # Errors
    /// `Unavailable`.
    async fn stop_job(&self, id: &str) -> Result<bool>;
}

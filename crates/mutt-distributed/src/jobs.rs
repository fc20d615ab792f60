//! Jobs that people ordered, in Redis: one hash, a field each. Where Redis loses them, what they did
//! still stands in the record of changes.

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;
use mutt_engine::jobs::{JOBS_FORGOTTEN, JOBS_REMEMBERED};
use mutt_engine::{Jobs, Result, SavedJob};
use mutt_redis::redis;

use crate::engine::Distributed;
use crate::names::JOBS;
use crate::scripts;

/// A job as it stands in its field: `<saved at in µs> <ended> <stopping> <what it says>`.
fn read(id: String, field: &str, now: u64) -> Option<SavedJob> {
    let mut words = field.splitn(4, ' ');
    let saved_at: u64 = words.next()?.parse().ok()?;
    let _ended = words.next()?;
    let stopping = words.next()? == "1";
    Some(SavedJob {
        id,
        says: words.next()?.to_owned(),
        age: Duration::from_micros(now.saturating_sub(saved_at)),
        stopping,
    })
}

#[async_trait]
impl Jobs for Distributed {
    async fn save_job(&self, id: &str, says: &str, ended: bool) -> Result<bool> {
        let forgotten = u64::try_from(JOBS_FORGOTTEN.as_micros()).unwrap_or(u64::MAX);
        let mut call = scripts::SAVE_JOB.call(&[JOBS]);
        call.arg(id)
            .arg(says)
            .arg(u8::from(ended))
            .arg(JOBS_REMEMBERED)
            .arg(forgotten);
        let stopping: u8 = self.shared.run(&scripts::SAVE_JOB, &call).await?;
        Ok(stopping == 1)
    }

    async fn saved_jobs(&self) -> Result<Vec<SavedJob>> {
        let mut pipeline = redis::pipe();
        pipeline.cmd("TIME").cmd("HGETALL").arg(JOBS);
        let ((seconds, micros), fields): ((u64, u64), HashMap<String, String>) =
            self.shared.pipe(&pipeline).await?;
        let now = seconds * 1_000_000 + micros;
        let mut jobs: Vec<_> = fields
            .into_iter()
            .filter_map(|(id, field)| read(id, &field, now))
            .collect();
        jobs.sort_unstable_by(|one, other| other.id.cmp(&one.id));
        Ok(jobs)
    }

    async fn stop_job(&self, id: &str) -> Result<bool> {
        let mut call = scripts::STOP_JOB.call(&[JOBS]);
        call.arg(id);
        let found: u8 = self.shared.run(&scripts::STOP_JOB, &call).await?;
        Ok(found == 1)
    }
}

//! Claims: numbers that are never given twice, and which of them took effect.
//!
//! A row of `applied_claims` decides: whoever inserts a claim's number first, as *applied* or as
//! *revoked*, has decided for ever. The rows of an applied claim count as audit rows of
//! `event_audit_log`; when the claim is forgotten its number of rows moves to `audit_total`, so the
//! exact count is kept without a counter that all workers would wait for.

use std::time::Duration;

use bytes::Bytes;
use deadpool_postgres::ClientWrapper;
use futures_util::SinkExt as _;
use futures_util::future::{join, join3};
use mutt_engine::{AuditRow, EngineError, EventClaim, Result};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{ToSql, Type};

use crate::Postgres;
use crate::error::{Failure, Step};
use crate::options::application_name;
use crate::rows::{self, Arrays};

/// A block of claim numbers: 2^24 of them.
const BLOCK_BITS: u32 = 24;

const INSERT_APPLIED: &str = "INSERT INTO applied_claims (claim, pod, state, effects, rows) \
     VALUES ($1, $2, 'applied', $3, $4) ON CONFLICT (claim) DO NOTHING";

/// How long the insert of a revocation waits for a transaction of the owner.
const REVOKE_LOCK_MS: u32 = 1000;
/// How often a revocation is tried before it is given up.
const REVOKE_ATTEMPTS: usize = 5;
/// The most claims that one statement forgets; the LIMIT of [`forget!`].
const FORGET_BATCH: usize = 10_000;

/// Deletes what `which` chooses and adds its rows to the total, in one statement. Rows that
/// somebody else is working on are left to them.
macro_rules! forget {
    ($which:literal) => {
        concat!(
            "WITH gone AS (
                 DELETE FROM applied_claims WHERE claim IN (
                     SELECT claim FROM applied_claims WHERE ",
            $which,
            " ORDER BY claim LIMIT 10000 FOR UPDATE SKIP LOCKED)
                 RETURNING rows),
             added AS (
                 UPDATE audit_total SET rows = audit_total.rows + sum.rows
                 FROM (SELECT coalesce(sum(rows), 0)::bigint AS rows FROM gone) AS sum
                 WHERE sum.rows <> 0)
             SELECT count(*) FROM gone"
        )
    };
}

const FORGET: &str = forget!("claim = ANY($1) AND state = 'applied'");
const PRUNE: &str = forget!(
    "(state = 'applied' AND at < now() - interval '1 day')
     OR (state = 'revoked' AND at < now() - interval '30 days')"
);

/// What [`Postgres::apply`] did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Applied {
    /// The claim took effect with this call.
    Now,
    /// It had taken effect before, with these effects.
    Before(Vec<u8>),
}

/// What became of a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It took effect, with these effects.
    Applied(Vec<u8>),
    /// It was taken from its owner and can never take effect.
    Revoked,
}

/// How an attempt to apply a claim ended.
enum Attempt {
    Done,
    /// The claim's number is there.
    Decided,
    /// An event's id is there.
    Repeated,
}

fn number(claim: u64) -> Result<i64> {
    i64::try_from(claim)
        .map_err(|_| EngineError::Invalid(format!("{claim} is no number of a claim")))
}

fn numbers(claims: &[u64]) -> Vec<i64> {
    // What no block can have given is not there.
    claims
        .iter()
        .filter_map(|claim| i64::try_from(*claim).ok())
        .collect()
}

/// A claim that is to be applied.
struct Application<'a> {
    claim: i64,
    pod: &'a str,
    effects: &'a [u8],
    rows: i32,
}

impl Application<'_> {
    /// Inserts number and rows in one transaction of two round trips: everything up to the start of
    /// COPY, then the rows with the COMMIT behind them. Where COPY fails the server makes the
    /// COMMIT a ROLLBACK.
    async fn by_copy(&self, client: &ClientWrapper, chunks: Vec<Bytes>) -> Step<Attempt> {
        let insert = client.prepare_cached(INSERT_APPLIED).await?;
        let copy = client.prepare_cached(rows::COPY).await?;
        let parameters: [&(dyn ToSql + Sync); 4] =
            [&self.claim, &self.pod, &self.effects, &self.rows];
        // Polled in this order, so sent in this order.
        let (begun, inserted, copying) = join3(
            client.batch_execute("BEGIN"),
            client.execute(&insert, &parameters),
            client.copy_in::<_, Bytes>(&copy),
        )
        .await;
        // The driver takes the answers of a COPY that does not start for those of the next request.
        begun.map_err(Failure::Broken)?;
        let inserted = inserted.map_err(Failure::Broken)?;
        let copying = copying.map_err(Failure::Broken)?;
        if inserted == 0 {
            drop(copying);
            client.batch_execute("ROLLBACK").await?;
            return Ok(Attempt::Decided);
        }
        let mut sink = std::pin::pin!(copying);
        let copied = async {
            for chunk in chunks {
                sink.feed(chunk).await?;
            }
            sink.as_mut().finish().await
        };
        let (copied, committed) = join(copied, client.batch_execute("COMMIT")).await;
        match copied {
            Ok(_) => {
                committed?;
                Ok(Attempt::Done)
            }
            Err(error) if error.code() == Some(&SqlState::UNIQUE_VIOLATION) => {
                committed?;
                Ok(Attempt::Repeated)
            }
            Err(error) => Err(Failure::Broken(error)),
        }
    }

    /// The same where events may have been written before: slower, and those are left out.
    async fn by_insert(&self, client: &ClientWrapper, arrays: &Arrays) -> Step<Attempt> {
        let insert = client.prepare_cached(INSERT_APPLIED).await?;
        let parameters: [&(dyn ToSql + Sync); 4] = [&self.claim, &self.pod, &self.effects, &0_i32];
        let (begun, inserted) = join(
            client.batch_execute("BEGIN"),
            client.execute(&insert, &parameters),
        )
        .await;
        begun?;
        if inserted? == 0 {
            client.batch_execute("ROLLBACK").await?;
            return Ok(Attempt::Decided);
        }
        let written = client
            .execute_typed(rows::INSERT, &arrays.parameters())
            .await?;
        let written = i32::try_from(written).unwrap_or(self.rows);
        client
            .execute_typed(
                "UPDATE applied_claims SET rows = $2 WHERE claim = $1",
                &[(&self.claim, Type::INT8), (&written, Type::INT4)],
            )
            .await?;
        client.batch_execute("COMMIT").await?;
        Ok(Attempt::Done)
    }

    /// A claim without audit rows: one statement.
    async fn alone(&self, client: &ClientWrapper) -> Step<Attempt> {
        let insert = client.prepare_cached(INSERT_APPLIED).await?;
        let parameters: [&(dyn ToSql + Sync); 4] =
            [&self.claim, &self.pod, &self.effects, &self.rows];
        match client.execute(&insert, &parameters).await? {
            0 => Ok(Attempt::Decided),
            _ => Ok(Attempt::Done),
        }
    }
}

async fn read(client: &ClientWrapper, claim: i64) -> Step<Option<Standing>> {
    let statement = client
        .prepare_cached("SELECT state, effects FROM applied_claims WHERE claim = $1")
        .await?;
    let row = client.query_opt(&statement, &[&claim]).await?;
    Ok(row
        .map(|row| {
            Ok::<_, tokio_postgres::Error>(match row.try_get::<_, &str>(0)? {
                "applied" => {
                    Standing::Applied(row.try_get::<_, Option<Vec<u8>>>(1)?.unwrap_or_default())
                }
                _ => Standing::Revoked,
            })
        })
        .transpose()?)
}

/// Tries to insert the claim's number as revoked, waiting for a second at most; says what stands.
async fn try_revoke(client: &ClientWrapper, claim: i64, owner: &str) -> Step<Option<Standing>> {
    let insert = client
        .prepare_cached(
            "INSERT INTO applied_claims (claim, pod, state, rows) VALUES ($1, $2, 'revoked', 0)
             ON CONFLICT (claim) DO NOTHING",
        )
        .await?;
    let begin = format!("BEGIN; SET LOCAL lock_timeout = {REVOKE_LOCK_MS}");
    let parameters: [&(dyn ToSql + Sync); 2] = [&claim, &owner];
    let (begun, inserted) = join(
        client.batch_execute(&begin),
        client.execute(&insert, &parameters),
    )
    .await;
    begun?;
    inserted?;
    let standing = read(client, claim).await?;
    client.batch_execute("COMMIT").await?;
    Ok(standing)
}

impl Postgres {
    /// The first number of a block of 2^24 claims that nobody was given before, nor will be.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn claim_block(&self) -> Result<u64> {
        let session = self.checkout().await?;
        let step = session.limited(async {
            let row = session
                .query_typed_one("SELECT nextval('claim_block_seq')", &[])
                .await?;
            Ok(row.try_get::<_, i64>(0)?)
        });
        let block = step.await;
        let block = session.settle(block).await?;
        Ok(block.cast_unsigned() << BLOCK_BITS)
    }

    /// Makes a claim take effect: its number, its effects and its audit rows, in one transaction.
    /// `raw_message` of a row is the event at its index of the claim. A row whose event was written
    /// before (same id and time) is left out.
    ///
    /// # Errors
    /// `Invalid` where a row is about an event that the claim does not have: nothing was written.
    /// `Fenced` where the claim was revoked. `Unavailable` where it is open whether the claim took
    /// effect; the same call again finds out.
    pub async fn apply(
        &self,
        claim: u64,
        pod: &str,
        events: &EventClaim,
        rows: &[AuditRow],
        effects: &[u8],
    ) -> Result<Applied> {
        let application = Application {
            claim: number(claim)?,
            pod,
            effects,
            rows: i32::try_from(rows.len())
                .map_err(|_| EngineError::Invalid("too many audit rows".to_owned()))?,
        };
        let chunks = rows::copy(events, rows)?;
        let session = self.checkout().await?;
        let step = session.limited(async {
            let first = if rows.is_empty() {
                application.alone(&session).await?
            } else {
                application.by_copy(&session, chunks).await?
            };
            let attempt = match first {
                Attempt::Repeated => {
                    let arrays = Arrays::new(events, rows)?;
                    application.by_insert(&session, &arrays).await?
                }
                other => other,
            };
            match attempt {
                Attempt::Done => Ok(Applied::Now),
                Attempt::Decided | Attempt::Repeated => {
                    match read(&session, application.claim).await? {
                        Some(Standing::Applied(effects)) => Ok(Applied::Before(effects)),
                        // `None`: it was finished and forgotten meanwhile; nothing is left to do.
                        Some(Standing::Revoked) | None => Err(EngineError::Fenced.into()),
                    }
                }
            }
        });
        let applied = step.await;
        session.settle(applied).await
    }

    /// Takes a claim from its owner (a pod), so that it can never take effect, unless it has: says
    /// which. A transaction of the owner that is open for longer than a second is ended with the
    /// session it is in.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn revoke(&self, claim: u64, owner: &str) -> Result<Standing> {
        let claim = number(claim)?;
        for _ in 0..REVOKE_ATTEMPTS {
            let session = self.checkout().await?;
            let standing = session.limited(try_revoke(&session, claim, owner)).await;
            let waited = matches!(
                &standing,
                Err(failure) if failure.code() == Some(&SqlState::LOCK_NOT_AVAILABLE)
            );
            match session.settle(standing).await {
                Ok(Some(standing)) => return Ok(standing),
                // The row was there and is forgotten already: once more.
                Ok(None) => {}
                Err(_) if waited => self.end_transactions(owner).await?,
                Err(error) => return Err(error),
            }
        }
        Err(EngineError::Unavailable(format!(
            "claim {claim} of {owner} could not be revoked in {REVOKE_ATTEMPTS} attempts: its \
             transaction stays open; end it (pg_stat_activity, application_name '{}')",
            application_name(owner)
        )))
    }

    /// Ends the sessions of a pod that are in a transaction for about as long as a revocation waited.
    async fn end_transactions(&self, owner: &str) -> Result<()> {
        let session = self.checkout().await?;
        let name = application_name(owner);
        let old = Duration::from_millis(u64::from(REVOKE_LOCK_MS / 2)).as_secs_f64();
        let step = session.limited(async {
            let row = session
                .query_typed_one(
                    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                     WHERE application_name = $1 AND usename = current_user
                         AND datname = current_database() AND pid <> pg_backend_pid()
                         AND xact_start <= clock_timestamp() - make_interval(secs => $2)",
                    &[(&name, Type::TEXT), (&old, Type::FLOAT8)],
                )
                .await?;
            Ok(row.try_get::<_, i64>(0)?)
        });
        let ended = step.await;
        let ended = session.settle(ended).await?;
        tracing::warn!(
            pod = owner,
            sessions = ended,
            "ended the PostgreSQL sessions of a pod that holds a claim in an open transaction"
        );
        Ok(())
    }

    /// What became of a claim; `None` where it is open, or finished and forgotten.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn standing(&self, claim: u64) -> Result<Option<Standing>> {
        let claim = number(claim)?;
        let session = self.checkout().await?;
        let standing = session.limited(read(&session, claim)).await;
        session.settle(standing).await
    }

    /// Removes what is known of claims that took effect and are finished. Revoked ones stay: their
    /// owner may come late.
    ///
    /// # Errors
    /// `Unavailable`; some may be forgotten then.
    pub async fn forget(&self, claims: &[u64]) -> Result<()> {
        for batch in claims.chunks(FORGET_BATCH) {
            let batch = numbers(batch);
            let session = self.checkout().await?;
            let step = session.limited(async {
                let statement = session.prepare_cached(FORGET).await?;
                session.query_one(&statement, &[&batch]).await?;
                Ok(())
            });
            let forgotten = step.await;
            session.settle(forgotten).await?;
        }
        Ok(())
    }

    /// Removes applied claims older than a day and revoked ones older than 30 days; says how many.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn prune(&self) -> Result<u64> {
        let mut all = 0;
        loop {
            let session = self.checkout().await?;
            let step = session.limited(async {
                let row = session.query_typed_one(PRUNE, &[]).await?;
                Ok(row.try_get::<_, i64>(0)?)
            });
            let pruned = step.await;
            let pruned = session.settle(pruned).await?.cast_unsigned();
            all += pruned;
            if pruned < FORGET_BATCH as u64 {
                return Ok(all);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_numbers_of_blocks_are_numbers() {
        assert_eq!(number(1 << BLOCK_BITS).unwrap(), 1 << 24);
        assert!(matches!(number(u64::MAX), Err(EngineError::Invalid(_))));
        assert_eq!(numbers(&[7, u64::MAX]), [7]);
    }
}

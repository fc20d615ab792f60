//! Partitions of `event_audit_log`, made ahead by whoever runs.

use deadpool_postgres::ClientWrapper;
use mutt_engine::Result;
use tokio_postgres::types::Type;

use crate::Postgres;
use crate::error::Step;

/// How far rows of the default partition are counted.
const COUNTED: i64 = 100_000;

/// Makes this month's partition and those of so many months behind it; says how many were missing.
///
/// Each is made in a transaction of its own: a month whose partition somebody holds a lock on does
/// not keep the others from being there.
pub(crate) async fn ensure(client: &ClientWrapper, months: u32) -> Step<u32> {
    let rows = client
        .query_typed(
            "SELECT month::date::text
             FROM generate_series(date_trunc('month', now()),
                 date_trunc('month', now()) + make_interval(months => $1::integer),
                 interval '1 month') AS month
             WHERE to_regclass('public.event_audit_log_' || to_char(month, 'YYYY_MM')) IS NULL",
            &[(&i32::try_from(months).unwrap_or(i32::MAX), Type::INT4)],
        )
        .await?;
    let mut made = 0;
    for row in rows {
        let month: String = row.try_get(0)?;
        client
            .query_typed(
                "SELECT public.create_monthly_partition($1::text::date)",
                &[(&month, Type::TEXT)],
            )
            .await?;
        made += 1;
    }
    Ok(made)
}

impl Postgres {
    /// Makes sure that this month and so many (up to 119) coming ones have partitions; says how
    /// many were missing. What the default partition holds of such a month moves into it.
    ///
    /// # Errors
    /// `Unavailable`; some may be there then.
    pub async fn ensure_partitions(&self, months: u32) -> Result<u32> {
        let session = self.checkout().await?;
        let made = session.limited(ensure(&session, months)).await;
        session.settle(made).await
    }

    /// Rows in the default partition, which takes what no month covers; counted up to 100,000.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn default_partition_rows(&self) -> Result<u64> {
        let session = self.checkout().await?;
        let step = session.limited(async {
            let row = session
                .query_typed_one(
                    "SELECT count(*) FROM (SELECT FROM event_audit_log_default LIMIT $1) AS counted",
                    &[(&COUNTED, Type::INT8)],
                )
                .await?;
            Ok(row.try_get::<_, i64>(0)?)
        });
        let rows = step.await;
        Ok(session.settle(rows).await?.cast_unsigned())
    }
}

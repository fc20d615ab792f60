//! What adopting a database of MUTT 2 needs beyond SQL.

use deadpool_postgres::ClientWrapper;
use tokio_postgres::types::Type;

use super::Report;
use crate::config_audit;
use crate::error::{Failure, Step};
use crate::rules;

/// Whether MUTT 2 was here.
pub(super) async fn is_there(client: &ClientWrapper) -> Step<bool> {
    let row = client
        .query_typed_one(
            "SELECT to_regclass('public.alert_rules') IS NOT NULL
                 OR to_regclass('public.event_audit_log') IS NOT NULL
                 OR to_regclass('public.config_audit_log') IS NOT NULL",
            &[],
        )
        .await?;
    Ok(row.try_get(0)?)
}

/// Chains the rows that are there, oldest first, and notes the end; says how many. What was changed
/// before nobody can see; from here on it shows.
pub(super) async fn hash_chain(client: &ClientWrapper) -> Step<u64> {
    let (mut last, mut hash, mut hashed) = (0, String::new(), 0);
    loop {
        let sql = format!(
            "SELECT {} FROM public.config_audit_log WHERE id > $1 ORDER BY id LIMIT 1000",
            config_audit::COLUMNS
        );
        let rows = client.query_typed(&sql, &[(&last, Type::INT8)]).await?;
        if rows.is_empty() {
            break;
        }
        let (mut ids, mut hashes) = (Vec::new(), Vec::new());
        for row in &rows {
            let row = config_audit::read(row)?;
            hash = row.chained_hash(&hash);
            last = row.id;
            ids.push(row.id);
            hashes.push(hash.clone());
        }
        hashed += rows.len() as u64;
        client
            .execute_typed(
                "UPDATE public.config_audit_log AS log SET row_hash = new.row_hash
                 FROM unnest($1, $2) AS new (id, row_hash) WHERE log.id = new.id",
                &[(&ids, Type::INT8_ARRAY), (&hashes, Type::TEXT_ARRAY)],
            )
            .await?;
    }
    client
        .execute_typed(
            "UPDATE public.config_audit_head SET id = $1, row_hash = $2",
            &[(&last, Type::INT8), (&hash, Type::TEXT)],
        )
        .await?;
    Ok(hashed)
}

/// Says what was adopted, and what somebody should look at.
pub(super) async fn report(client: &ClientWrapper, hashed: u64, report: &mut Report) -> Step<()> {
    let row = client
        .query_typed_one("SELECT rows FROM public.audit_total", &[])
        .await?;
    let events: i64 = row.try_get(0)?;
    report.done.push(format!(
        "adopted a database of MUTT 2 with {events} rows of event_audit_log and {hashed} of \
         config_audit_log, which are hashed from now on"
    ));
    if let Err(Failure::Engine(error)) = rules::list(client).await {
        report.warnings.push(error.to_string());
    }
    Ok(())
}

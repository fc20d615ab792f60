//! Delivery attempts on their way from `mutt:delivery_log` in Redis to the table of that name.
//!
//! An attempt is put into the list by the script that settles it, under a number of its own, so that
//! writing it twice changes nothing and delivery goes on while PostgreSQL is away.

use mutt_engine::{DeliveryRow, Result};
use mutt_redis::redis;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::engine::Shared;
use crate::{names, scripts};

/// Rows written at once.
const ROWS: isize = 500;

#[derive(Serialize)]
struct Written<'a> {
    id: Uuid,
    row: &'a DeliveryRow,
}

#[derive(Deserialize)]
struct Read {
    id: Uuid,
    row: DeliveryRow,
}

/// The element for one attempt.
pub fn encode(row: &DeliveryRow) -> Vec<u8> {
    let id = Uuid::now_v7();
    serde_json::to_vec(&Written { id, row }).expect("a row is plain data")
}

/// Moves what waits into the table.
pub async fn flush(shared: &Shared) -> Result<()> {
    let _one_at_a_time = shared.moving_deliveries.lock().await;
    loop {
        let mut command = redis::cmd("LRANGE");
        command.arg(names::DELIVERY_LOG).arg(-ROWS).arg(-1);
        let waiting: Vec<Vec<u8>> = shared.call(&command).await?;
        let (Some(newest), Some(oldest)) = (waiting.first(), waiting.last()) else {
            return Ok(());
        };
        let mut rows = Vec::with_capacity(waiting.len());
        for element in waiting.iter().rev() {
            match serde_json::from_slice::<Read>(element) {
                Ok(read) => rows.push((read.id, read.row)),
                Err(error) => {
                    tracing::error!(%error, "an element of mutt:delivery_log is no delivery attempt");
                }
            }
        }
        shared.postgres.log_deliveries(&rows).await?;
        let mut call = scripts::TRIM_DELIVERIES.call(&[names::DELIVERY_LOG]);
        call.arg(waiting.len()).arg(oldest).arg(newest);
        let _: u64 = shared.run(&scripts::TRIM_DELIVERIES, &call).await?;
        if waiting.len() < ROWS.unsigned_abs() {
            return Ok(());
        }
    }
}

//! Decided events as server-sent events. A slow reader loses samples and never slows the pipeline.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::response::Sse;
use axum::response::sse::{Event, KeepAlive};
use tokio_stream::wrappers::BroadcastStream;
use tokio_stream::{Stream, StreamExt as _};

use crate::Api;

/// `GET /api/v2/events/stream`: one message per claim, with a sample of its events and how many
/// decided events it stands for.
pub async fn events(
    State(api): State<Api>,
) -> Sse<impl Stream<Item = Result<Event, Infallible>> + use<>> {
    let batches = BroadcastStream::new(api.engine.watch()).filter_map(|batch| {
        // A lagging reader goes on with what is new.
        let batch = batch.ok()?;
        Event::default().json_data(&*batch).ok().map(Ok)
    });
    Sse::new(batches).keep_alive(KeepAlive::new().interval(Duration::from_secs(15)))
}

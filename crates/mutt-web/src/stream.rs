//! What happens now, as server-sent events. A slow reader loses samples and never slows the pipeline.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use mutt_engine::live::{LiveBatch, LiveEvent};
use serde::Deserialize;
use tokio_stream::wrappers::BroadcastStream;
use tokio_stream::{Stream, StreamExt as _};
use utoipa::IntoParams;

use crate::Api;
use crate::error::{ApiError, Result};
use crate::request::{Params, Viewer};

/// The most characters of a message that a list is sent.
const MESSAGE_CHARS: usize = 500;

/// Which events; unset filters do not restrict.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub struct LiveQuery {
    /// Text that the message contains (any case).
    text: Option<String>,
    /// This host (any case).
    hostname: Option<String>,
    /// This door.
    source: Option<String>,
    /// This severity or a more urgent one, 0 to 7.
    severity: Option<u8>,
    /// This rule.
    rule_id: Option<i64>,
    /// This decision, such as `Page_only` or `Unhandled`.
    handling: Option<String>,
    /// `production` or `development`.
    environment: Option<String>,
}

impl LiveQuery {
    pub fn checked(mut self) -> Result<Self> {
        if self.severity.is_some_and(|severity| severity > 7) {
            return Err(ApiError::field("severity", "0 to 7 is allowed"));
        }
        for text in [&mut self.text, &mut self.hostname] {
            *text = text
                .take()
                .filter(|text| !text.is_empty())
                .map(|text| text.to_lowercase());
        }
        Ok(self)
    }

    pub fn chooses(&self, event: &LiveEvent) -> bool {
        let is = |wanted: &Option<String>, got: Option<&str>| {
            wanted.as_deref().is_none_or(|wanted| Some(wanted) == got)
        };
        self.text
            .as_deref()
            .is_none_or(|text| event.message.to_lowercase().contains(text))
            && is(&self.hostname, Some(&event.hostname.to_lowercase()))
            && is(&self.source, event.source.as_deref())
            && is(&self.handling, Some(&event.handling))
            && is(&self.environment, Some(&event.environment))
            && self.rule_id.is_none_or(|rule| event.rule_id == Some(rule))
            && self
                .severity
                .is_none_or(|most| event.severity.is_some_and(|severity| severity <= most))
    }
}

/// The event as a list shows it.
fn shortened(event: &LiveEvent) -> LiveEvent {
    let mut event = event.clone();
    if let Some((end, _)) = event.message.char_indices().nth(MESSAGE_CHARS) {
        event.message.truncate(end);
        event.cut = true;
    }
    event
}

pub fn sse(stream: impl Stream<Item = Event> + Send + 'static) -> Response {
    let stream = stream.map(Ok::<_, Infallible>);
    let keep_alive = KeepAlive::new().interval(Duration::from_secs(15));
    let mut response = Sse::new(stream).keep_alive(keep_alive).into_response();
    // A proxy that collects answers would show nothing for minutes.
    response.headers_mut().insert(
        "x-accel-buffering",
        axum::http::HeaderValue::from_static("no"),
    );
    response
}

/// Watch events as they are decided
///
/// Server-sent events: one message per batch, `{"events":[…],"total":n}`, with a sample of its events
/// that the filters choose (messages of at most 500 characters; `cut` where one goes on) and how many
/// decided events it stands for.
#[utoipa::path(get, path = "/events/stream", tag = "Events", params(LiveQuery),
    responses((status = 200, body = String, content_type = "text/event-stream")))]
pub async fn watch(
    State(api): State<Api>,
    _: Viewer,
    Params(query): Params<LiveQuery>,
) -> Result<Response> {
    let query = query.checked()?;
    let batches = BroadcastStream::new(api.engine.watch()).filter_map(move |batch| {
        // A lagging reader goes on with what is new.
        let batch = batch.ok()?;
        let chosen = LiveBatch {
            events: batch
                .events
                .iter()
                .filter(|event| query.chooses(event))
                .map(shortened)
                .collect(),
            total: batch.total,
            every: batch.every,
        };
        Event::default().json_data(&chosen).ok()
    });
    Ok(sse(batches))
}

/// Watch the status
///
/// Server-sent events: what `GET /status` answers, at once and then once a second. It is put together
/// once for everybody who watches; a slow reader misses some.
#[utoipa::path(get, path = "/status/stream", tag = "Status",
    responses((status = 200, body = String, content_type = "text/event-stream")))]
pub async fn watch_status(State(api): State<Api>, _: Viewer) -> Response {
    let (now, later) = api.hub.watch().await;
    // A lagging reader goes on with what is new.
    let later = BroadcastStream::new(later).filter_map(std::result::Result::ok);
    let all = tokio_stream::once(now).chain(later);
    sse(all.map(|text| Event::default().data(&*text)))
}

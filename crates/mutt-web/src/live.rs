//! One stream for a whole browser: the status and any number of filtered views of what is decided.
//!
//! A browser has six connections to a server over HTTP/1.1, and a stream keeps one; so a browser's
//! tabs share one. Filters run here, and each view has a bounded number of rows a second: nobody
//! reads ten thousand lines a second, but the numbers say how many there were.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Query, State};
use axum::http::Uri;
use axum::response::Response;
use axum::response::sse::Event;
use futures_util::stream;
use jiff::Timestamp;
use mutt_engine::live::{LiveBatch, LiveEvent};
use serde::Serialize;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Interval, MissedTickBehavior};
use utoipa::ToSchema;

use crate::Api;
use crate::error::{ApiError, Result};
use crate::request::{Params, Viewer};
use crate::stream::{LiveQuery, sse};

/// How often a view is told.
const TICK: Duration = Duration::from_millis(250);
/// Rows that a view is shown at most with each tick: 52 a second.
const ROWS: usize = 13;
/// Characters of a message that are shown.
const MESSAGE_MAX: usize = 500;
/// Views on one stream.
const VIEWS: usize = 12;

/// One decided event, for people who watch.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct LiveRow {
    event_id: String,
    #[schema(value_type = String, format = DateTime)]
    received_at: Timestamp,
    hostname: String,
    /// Shortened to 500 characters.
    message: String,
    /// 0 to 7 (RFC 5424).
    severity: Option<u8>,
    /// The door: `syslog`, `snmp` or `http`.
    source: Option<String>,
    /// `production` or `development`.
    environment: String,
    /// The rule that won.
    rule_id: Option<i64>,
    /// The decision, `Unhandled` without a rule.
    handling: String,
    team: Option<String>,
}

impl From<&LiveEvent> for LiveRow {
    fn from(event: &LiveEvent) -> Self {
        Self {
            event_id: event.event_id.to_string(),
            received_at: event.received_at,
            hostname: event.hostname.clone(),
            message: event.message.chars().take(MESSAGE_MAX).collect(),
            severity: event.severity,
            source: event.source.clone(),
            environment: event.environment.clone(),
            rule_id: event.rule_id,
            handling: event.handling.clone(),
            team: event.team.clone(),
        }
    }
}

/// What one view saw within a moment.
#[derive(Serialize, ToSchema)]
pub struct Moment {
    /// The filter as it was given.
    filter: String,
    /// Some of the events that the filter chose, oldest first.
    events: Vec<LiveRow>,
    /// Events that the filter chose, shown or not.
    matched: u64,
    /// Events that the filter looked at.
    sampled: u64,
    /// Decided events in all.
    total: u64,
    /// Why there will be nothing for this filter.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

struct View {
    filter: String,
    query: LiveQuery,
    moment: Moment,
}

impl View {
    fn new(filter: String) -> Result<Self> {
        let uri: Uri = format!("/?{filter}")
            .parse()
            .map_err(|_| ApiError::field("events", "a query string is expected"))?;
        let Query(query) = Query::<LiveQuery>::try_from_uri(&uri)
            .map_err(|error| ApiError::field("events", error.body_text()))?;
        Ok(Self {
            query: query.checked().map_err(|error| error.within("events"))?,
            moment: Moment::empty(filter.clone()),
            filter,
        })
    }

    fn look(&mut self, batch: &LiveBatch) {
        let moment = &mut self.moment;
        moment.total += batch.total;
        moment.sampled += batch.events.len() as u64;
        for event in batch
            .events
            .iter()
            .filter(|event| self.query.chooses(event))
        {
            moment.matched += 1;
            if moment.events.len() < ROWS {
                moment.events.push(event.into());
            }
        }
    }

    fn take(&mut self) -> Option<Moment> {
        let seen = self.moment.total > 0;
        seen.then(|| std::mem::replace(&mut self.moment, Moment::empty(self.filter.clone())))
    }
}

impl Moment {
    fn empty(filter: String) -> Self {
        Self {
            filter,
            events: Vec::new(),
            matched: 0,
            sampled: 0,
            total: 0,
            error: None,
        }
    }

    fn refused(filter: String, error: String) -> Self {
        Self {
            error: Some(error),
            ..Self::empty(filter)
        }
    }
}

/// What is to be streamed.
#[derive(Default)]
struct Asked {
    status: bool,
    views: Vec<View>,
    /// Views that are not possible. Several tabs share a stream: one that asks for nonsense must not
    /// blind the others.
    refused: Vec<Moment>,
}

/// What is asked for: `status=true`, and `events=…` as often as there are views.
fn asked(parameters: Vec<(String, String)>) -> Result<Asked> {
    let mut asked = Asked::default();
    for (name, value) in parameters {
        match name.as_str() {
            "status" => {
                asked.status = match value.as_str() {
                    "true" => true,
                    "false" => false,
                    _ => return Err(ApiError::field("status", "true or false is allowed")),
                }
            }
            "events" if asked.views.len() >= VIEWS => {
                let text = format!("at most {VIEWS} filters at a time: close a tab");
                asked.refused.push(Moment::refused(value, text));
            }
            "events" => match View::new(value.clone()) {
                Ok(view) => asked.views.push(view),
                Err(error) => asked.refused.push(Moment::refused(value, error.text())),
            },
            _ => {}
        }
    }
    if !asked.status && asked.views.is_empty() && asked.refused.is_empty() {
        return Err(ApiError::field(
            "status",
            "status=true or events=… is needed: what to stream",
        ));
    }
    Ok(asked)
}

/// One open stream.
struct Viewing {
    views: Vec<View>,
    /// Heard only where there is a view: samples are made for whoever watches.
    batches: Option<Receiver<Arc<LiveBatch>>>,
    /// The status, put together once for everybody.
    statuses: Option<Receiver<Arc<str>>>,
    ticks: Interval,
    /// What is to be sent next, last first.
    ready: Vec<Event>,
}

impl Viewing {
    /// The next message; `None` when MUTT ends.
    async fn next(mut self) -> Option<(Event, Self)> {
        loop {
            if let Some(event) = self.ready.pop() {
                return Some((event, self));
            }
            let batch = async {
                match &mut self.batches {
                    Some(batches) => batches.recv().await,
                    None => std::future::pending().await,
                }
            };
            let status = async {
                match &mut self.statuses {
                    Some(statuses) => statuses.recv().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                batch = batch => match batch {
                    Ok(batch) => self.views.iter_mut().for_each(|view| view.look(&batch)),
                    // A lagging reader goes on with what is new.
                    Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return None,
                },
                _ = self.ticks.tick() => {
                    let moments = self.views.iter_mut().filter_map(View::take);
                    self.ready.extend(moments.filter_map(|moment| message("events", &moment)));
                }
                status = status => match status {
                    Ok(text) => self.ready.push(status_message(&text)),
                    Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return None,
                },
            }
        }
    }
}

fn message(kind: &str, data: &impl Serialize) -> Option<Event> {
    Event::default().event(kind).json_data(data).ok()
}

fn status_message(text: &str) -> Event {
    Event::default().event("status").data(text)
}

fn every(period: Duration) -> Interval {
    let mut interval = tokio::time::interval(period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}

/// Watch the status and events on one connection
///
/// Server-sent events for all tabs of a browser. With `status=true`, messages `status`: the status
/// once a second. For each `events=` (the parameters of `/events/stream` as one encoded query string;
/// at most 12), messages `events`: what its filter chose within a quarter of a second, at most
/// 13 rows, with how many there were; or, once, `error`: why the filter is not possible.
#[utoipa::path(get, path = "/stream", tag = "Status",
    params(
        ("status" = Option<bool>, Query, description = "Whether the status is sent"),
        ("events" = Option<Vec<String>>, Query, description = "A filter; may be given repeatedly")),
    responses((status = 200, body = Moment, content_type = "text/event-stream")))]
pub async fn all(
    State(api): State<Api>,
    _: Viewer,
    Params(parameters): Params<Vec<(String, String)>>,
) -> Result<Response> {
    let Asked {
        status,
        views,
        refused,
    } = asked(parameters)?;
    let refused = refused
        .iter()
        .filter_map(|moment| message("events", moment));
    let (mut ready, mut statuses): (Vec<_>, _) = (refused.collect(), None);
    if status {
        let (now, later) = api.hub.watch().await;
        ready.push(status_message(&now));
        statuses = Some(later);
    }
    let viewing = Viewing {
        batches: (!views.is_empty()).then(|| api.engine.watch()),
        views,
        statuses,
        ticks: every(TICK),
        ready,
    };
    let events = stream::unfold(viewing, Viewing::next);
    Ok(sse(events))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(host: &str) -> LiveEvent {
        serde_json::from_value(serde_json::json!({
            "event_id": "01a1ff43-18b8-7436-a33e-2f1c8ffe7f19", "received_at": "2026-11-20T10:00:00Z",
            "hostname": host, "message": "link down", "environment": "production", "handling": "Unhandled",
        }))
        .unwrap()
    }

    #[test]
    fn a_view_counts_what_it_does_not_show() {
        let mut view = View::new("hostname=SW1&text=link".to_owned()).unwrap();
        let events = (0..40).map(|number| event(if number % 2 == 0 { "sw1" } else { "sw2" }));
        view.look(&LiveBatch {
            events: events.collect(),
            total: 500,
            every: 13,
        });
        let moment = view.take().unwrap();
        assert_eq!(moment.events.len(), ROWS);
        assert_eq!(
            (moment.matched, moment.sampled, moment.total),
            (20, 40, 500)
        );
        assert!(view.take().is_none());
    }

    #[test]
    fn what_to_stream_is_checked() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert!(asked(vec![]).is_err());
        assert!(asked(vec![pair("status", "yes")]).is_err());
        let all = (0..13).map(|_| pair("events", ""));
        let odd = ["severity=9", "severity=many"].map(|filter| pair("events", filter));
        let asked = asked(
            odd.into_iter()
                .chain(all)
                .chain([pair("status", "true")])
                .collect(),
        );
        let asked = asked.unwrap();
        assert!(asked.status);
        assert_eq!((asked.views.len(), asked.refused.len()), (12, 3));
        assert!(asked.refused.iter().all(|moment| moment.error.is_some()));
    }
}

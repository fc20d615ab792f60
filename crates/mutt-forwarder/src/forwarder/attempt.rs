//! One attempt, in a task of its own: read the element, send it, say how it ended.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use mutt_engine::ClaimedAlert;
use mutt_event::EventId;
use tokio::time::Instant;

use crate::pace::Wire;
use crate::sink::{Call, Delivery, KeySlot, Outgoing, Sink};

/// How an attempt ended.
#[derive(Debug)]
pub(super) enum End {
    /// There was an answer, or none came.
    Called {
        delivery: Delivery,
        event_id: EventId,
        received_at: Option<Timestamp>,
        at: Timestamp,
        latency: Duration,
        key: KeySlot,
    },
    /// The queue element is no alert: nothing was sent.
    Malformed(String),
}

/// A finished attempt.
#[derive(Debug)]
pub(super) struct Finished {
    pub alert: ClaimedAlert,
    pub end: End,
}

/// Gives the request's place in the window back, also where the attempt ends in disorder: a place that
/// nobody gives back would be missing for good.
struct OverOnDrop(Wire);

impl Drop for OverOnDrop {
    fn drop(&mut self) {
        self.0.over();
    }
}

pub(super) async fn run(
    sink: Arc<dyn Sink>,
    alert: ClaimedAlert,
    key: KeySlot,
    wire: Wire,
) -> Finished {
    let wire = OverOnDrop(wire);
    let end = match Outgoing::read(&alert.element) {
        Ok(outgoing) => {
            let call = Call {
                attempt: alert.attempts.saturating_add(1),
                key,
                wire: wire.0.clone(),
            };
            let begin = Instant::now();
            let delivery = sink.deliver(&outgoing, call).await;
            End::Called {
                delivery,
                event_id: outgoing.event_id,
                received_at: outgoing.event.received_at,
                at: Timestamp::now(),
                latency: begin.elapsed(),
                key,
            }
        }
        Err(why) => End::Malformed(why),
    };
    Finished { alert, end }
}

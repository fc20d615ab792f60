//! From one syslog message to one event in the forming batch, with its counters.
//!
//! What every syslog listener does alike. What a message means is `mutt_event::syslog`'s business.

use std::net::IpAddr;
use std::sync::Arc;

use jiff::Timestamp;
use mutt_event::EventId;
use mutt_event::syslog::{Note, Notes, Origin, parse_into};
use prometheus_client::metrics::counter::Counter;

use crate::metrics::{IngestMetrics, Listener, ListenerMetrics};
use crate::pump::Forming;

/// Makes events of syslog messages. Cloning it is cheap.
#[derive(Clone, Debug)]
pub(crate) struct SyslogLines {
    counters: Arc<Counters>,
    max_line: usize,
}

#[derive(Debug)]
struct Counters {
    listener: ListenerMetrics,
    /// By position in [`Note::ALL`].
    notes: [Counter; Note::ALL.len()],
}

impl SyslogLines {
    /// Counts for `listener`; messages are cut at `max_line` bytes.
    pub(crate) fn new(metrics: &IngestMetrics, listener: Listener, max_line: usize) -> Self {
        let counters = Counters {
            listener: metrics.listener(listener).clone(),
            notes: Note::ALL.map(|note| metrics.note(note.name())),
        };
        Self {
            counters: Arc::new(counters),
            max_line,
        }
    }

    /// Adds the event that `line` is. `frame` is what was odd about its frame.
    pub(crate) fn add(
        &self,
        line: &[u8],
        frame: Notes,
        peer: IpAddr,
        receipt: &Receipt,
        forming: &mut Forming,
    ) {
        let origin = Origin {
            correlation_id: receipt.correlation(),
            frame,
            ..Origin::new(peer, receipt.at, self.max_line)
        };
        let notes = forming
            .batch()
            .push_with(|out| parse_into(line, &origin, out).notes);
        self.counters.listener.received.inc();
        // Neither priority, time nor host: text that nothing but its receipt makes an event.
        let understood = ![Note::NoPri, Note::NoTimestamp, Note::NoHost]
            .into_iter()
            .all(|note| notes.has(note));
        if understood {
            self.counters.listener.parsed.inc();
        }
        if !notes.is_empty() {
            for note in notes.iter() {
                self.counters.notes[note as usize].inc();
            }
        }
    }
}

/// When and how messages came: what all messages of one read have in common.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Receipt {
    at: Timestamp,
    correlation: [u8; 36],
}

impl Receipt {
    /// A read that happens now.
    pub(crate) fn now() -> Self {
        let mut correlation = [0; 36];
        EventId::new().encode(&mut correlation);
        Self {
            at: Timestamp::now(),
            correlation,
        }
    }

    fn correlation(&self) -> &str {
        std::str::from_utf8(&self.correlation).expect("an id is ASCII")
    }
}

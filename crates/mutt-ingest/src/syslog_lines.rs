//! From one syslog message to one event in the forming batch, with its counters.
//!
//! What every syslog listener does alike. What a message means is `mutt_event::syslog`'s business, who
//! sent it and whether it is taken the door's.

use std::net::IpAddr;
use std::sync::Arc;

use mutt_event::EventId;
use mutt_event::syslog::{Note, Notes, Origin, parse_into};
use prometheus_client::metrics::counter::Counter;

use crate::admission::Admission;
use crate::door::{Gate, Moment};
use crate::metrics::Listener;
use crate::pump::Forming;

/// Makes events of syslog messages. Cloning it is cheap.
#[derive(Clone, Debug)]
pub(crate) struct SyslogLines {
    gate: Gate,
    counters: Arc<Counters>,
    max_line: usize,
    /// Whether repeats may count as one event.
    folds: bool,
}

#[derive(Debug)]
struct Counters {
    parsed: Counter,
    /// By position in [`Note::ALL`].
    notes: [Counter; Note::ALL.len()],
}

impl SyslogLines {
    /// Counts for `listener`; messages are cut at `max_line` bytes.
    pub(crate) fn new(admission: &Admission, listener: Listener, max_line: usize) -> Self {
        let metrics = admission.metrics();
        let counters = Counters {
            parsed: metrics.listener(listener).parsed.clone(),
            notes: Note::ALL.map(|note| metrics.note(note.name())),
        };
        Self {
            gate: admission.door().gate(listener),
            counters: Arc::new(counters),
            max_line,
            // What is acknowledged one by one is stored one by one.
            folds: listener != Listener::Relp,
        }
    }

    /// Adds the event that `line` is, unless its sender sends too many. `frame` is what was odd about
    /// its frame.
    pub(crate) fn add(
        &self,
        line: &[u8],
        frame: Notes,
        peer: IpAddr,
        receipt: &Receipt,
        forming: &mut Forming,
    ) {
        let (moment, batch) = (receipt.moment, forming.batch());
        let notes = self
            .gate
            .pass(peer, moment, self.folds, batch, |known, out| {
                let origin = Origin {
                    correlation_id: receipt.correlation(),
                    frame,
                    zone: &known.sender.zone,
                    host: known.name,
                    believed: known.sender.is_believed(),
                    tags: &known.sender.tags,
                    ..Origin::new(peer, moment.at, self.max_line)
                };
                parse_into(line, &origin, out).notes
            });
        let Some(notes) = notes else { return };
        // Neither priority, time nor host: text that nothing but its receipt makes an event.
        let understood = ![Note::NoPri, Note::NoTimestamp, Note::NoHost]
            .into_iter()
            .all(|note| notes.has(note));
        if understood {
            self.counters.parsed.inc();
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
    moment: Moment,
    correlation: [u8; 36],
}

impl Receipt {
    /// A read that happens now.
    pub(crate) fn now() -> Self {
        let mut correlation = [0; 36];
        EventId::new().encode(&mut correlation);
        Self {
            moment: Moment::now(),
            correlation,
        }
    }

    pub(crate) fn moment(&self) -> Moment {
        self.moment
    }

    pub(crate) fn correlation(&self) -> &str {
        std::str::from_utf8(&self.correlation).expect("an id is ASCII")
    }
}

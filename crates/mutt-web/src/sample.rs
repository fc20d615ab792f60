//! A sample of the last hour's decided events, kept by every process that serves the API, whoever
//! looks. Rules are tried on it; it knows nothing of rules itself.
//!
//! Of each minute at most [`MINUTE_EVENTS`] events and [`MINUTE_BYTES`] bytes, so at most 48 MB in
//! all, which holds 2,000 messages of 200 bytes, and the true number of events decided. A minute is a
//! stratum: a storm fills its own minutes and pushes nothing out of others. It is the minute of the
//! decision, which is when an alert goes out.

use std::collections::{BinaryHeap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use jiff::Timestamp;
use mutt_engine::live::{LiveBatch, LiveEvent};
use mutt_event::{EventId, Severity};
use mutt_rules::{Environment, Subject};
use parking_lot::Mutex;
use rand::RngExt as _;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use crate::findings::Events;

/// The most events that are kept of a minute.
pub const MINUTE_EVENTS: usize = 2_000;

/// The most memory that a minute's events may take.
pub const MINUTE_BYTES: usize = 800_000;

/// So many minutes are kept, the running one among them.
pub const MINUTES: i64 = 60;

/// What an event costs beside its texts: itself, its counter and its place in the list.
const OVERHEAD: usize = size_of::<Sampled>() + 40;

/// Sets of rules whose verdict an event can remember.
pub const SLOTS: usize = 4;

/// One event that rules can be tried on.
#[derive(Debug)]
pub struct Sampled {
    pub event_id: EventId,
    pub received_at: Timestamp,
    pub hostname: Box<str>,
    pub message: Box<str>,
    /// The message goes on: that it has something can be told, that it has not cannot.
    pub cut: bool,
    pub trap_oid: Option<Box<str>>,
    pub severity: Option<Severity>,
    pub environment: Environment,
    /// So many events each stood for when it was drawn.
    drawn: f64,
    /// Chance's place among all events of the minute: the smallest are kept.
    pub place: f64,
    /// Who decides it, for each of some sets of rules; the judge knows how to read it.
    pub judged: [AtomicU64; SLOTS],
}

impl Sampled {
    /// An event of a list that leaves nothing out.
    pub fn whole(
        event_id: EventId,
        received_at: Timestamp,
        hostname: &str,
        environment: &str,
        subject: &Subject<'_>,
    ) -> Self {
        Self {
            event_id,
            received_at,
            hostname: hostname.into(),
            message: subject.message.into(),
            cut: false,
            trap_oid: subject.trap_oid.map(Box::from),
            severity: subject.severity,
            environment: environment_named(environment),
            drawn: 1.0,
            place: rand::rng().random(),
            judged: Default::default(),
        }
    }

    fn drawn(event: &LiveEvent, every: u64, chance: f64) -> Self {
        let drawn = every.max(1) as f64;
        Self {
            event_id: event.event_id,
            received_at: event.received_at,
            hostname: event.hostname.as_str().into(),
            message: event.message.as_str().into(),
            cut: event.cut,
            trap_oid: event.trap_oid.as_deref().map(Box::from),
            severity: event.severity.and_then(Severity::new),
            environment: environment_named(&event.environment),
            drawn,
            // Exponential with rate `drawn`: who stands for more is kept more often.
            place: -(1.0 - chance).ln() / drawn,
            judged: Default::default(),
        }
    }

    pub fn subject(&self) -> Subject<'_> {
        Subject {
            message: &self.message,
            trap_oid: self.trap_oid.as_deref(),
            severity: self.severity,
        }
    }

    fn bytes(&self) -> usize {
        let oid = self.trap_oid.as_deref().map_or(0, str::len);
        OVERHEAD + self.hostname.len() + self.message.len() + oid
    }
}

pub fn environment_named(name: &str) -> Environment {
    if name == Environment::Development.name() {
        Environment::Development
    } else {
        Environment::Production
    }
}

/// One minute, or another span of time.
#[derive(Debug)]
pub struct Span {
    /// When it begins.
    pub start: Timestamp,
    /// How many events there were.
    pub total: u64,
    /// Every place at or beyond this was left out; infinite where none was.
    beyond: f64,
    pub events: Vec<Arc<Sampled>>,
}

impl Span {
    /// A span of which every event is there.
    pub fn whole(start: Timestamp, events: Vec<Arc<Sampled>>) -> Self {
        Self {
            start,
            total: events.len() as u64,
            beyond: f64::INFINITY,
            events,
        }
    }

    /// How many events of the span this one stands for, at least 1: what it stood for when it was
    /// drawn, over the chance to be kept (Cohen and Kaplan 2007, rank conditioning).
    pub fn weight(&self, event: &Sampled) -> f64 {
        if self.beyond.is_infinite() {
            return event.drawn;
        }
        event.drawn / -(-event.drawn * self.beyond).exp_m1()
    }
}

/// An event in the order of its place.
struct Placed(Arc<Sampled>);

impl PartialEq for Placed {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Placed {}

impl PartialOrd for Placed {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Placed {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.place.total_cmp(&other.0.place)
    }
}

/// The running minute.
struct Running {
    minute: i64,
    total: u64,
    beyond: f64,
    bytes: usize,
    /// The largest place first: it is the next to go.
    events: BinaryHeap<Placed>,
}

impl Running {
    fn new(minute: i64) -> Self {
        Self {
            minute,
            total: 0,
            beyond: f64::INFINITY,
            bytes: 0,
            events: BinaryHeap::new(),
        }
    }

    fn offer(&mut self, event: Sampled) {
        if event.place >= self.beyond {
            return;
        }
        self.bytes += event.bytes();
        self.events.push(Placed(Arc::new(event)));
        while self.events.len() > MINUTE_EVENTS || self.bytes > MINUTE_BYTES {
            let Some(Placed(gone)) = self.events.pop() else {
                return;
            };
            self.bytes -= gone.bytes();
            self.beyond = gone.place;
        }
    }

    fn span(&self) -> Span {
        Span {
            start: Timestamp::from_second(self.minute * 60).unwrap_or_default(),
            total: self.total,
            beyond: self.beyond,
            events: self.events.iter().map(|it| Arc::clone(&it.0)).collect(),
        }
    }
}

struct Kept {
    /// Watching began.
    since: Timestamp,
    /// Full minutes, oldest first; one in which nothing was decided may be missing.
    full: VecDeque<Arc<Span>>,
    running: Running,
    /// The last minute in which batches went by unseen because this process was too slow.
    missed: Option<i64>,
}

/// The sample of this process.
pub struct Sample {
    kept: Mutex<Kept>,
}

/// The sample at one moment.
pub struct Snapshot {
    /// From here on it has everything, or a sample of it.
    pub since: Timestamp,
    /// When it was taken.
    pub now: Timestamp,
    /// The minutes that saw events, oldest first.
    pub spans: Vec<Arc<Span>>,
    /// Some events were never counted.
    pub missed: bool,
}

impl Snapshot {
    /// As events that rules can be tried on.
    pub fn events(self) -> Events {
        let mut about =
            "A sample of everything that was decided, by the minute of the decision: at \
                         most 2,000 events a minute, and all where there were fewer."
                .to_owned();
        if self.now.duration_since(self.since).as_mins() < MINUTES - 2 {
            about += " This process has not watched for an hour yet.";
        }
        if self.missed {
            about += " Some events went by unseen while this process was too busy.";
        }
        Events {
            from: self.since,
            to: self.now,
            seconds: 60,
            spans: self.spans,
            partial: self.missed,
            about,
        }
    }
}

impl Sample {
    /// An empty sample that begins now.
    pub fn new(now: Timestamp) -> Self {
        Self {
            kept: Mutex::new(Kept {
                since: now,
                full: VecDeque::new(),
                running: Running::new(minute(now)),
                missed: None,
            }),
        }
    }

    /// Fills the sample until the engine ends. The task holds the engine's receiver and not the
    /// engine, so that it keeps nothing alive.
    pub fn follow(self: &Arc<Self>, mut shown: Receiver<Arc<LiveBatch>>) {
        let sample = Arc::clone(self);
        tokio::spawn(async move {
            loop {
                match shown.recv().await {
                    Ok(batch) => sample.add(&batch, Timestamp::now()),
                    Err(RecvError::Lagged(_)) => sample.missed(Timestamp::now()),
                    Err(RecvError::Closed) => return,
                }
            }
        });
    }

    /// Takes in what was decided just now.
    pub fn add(&self, batch: &LiveBatch, now: Timestamp) {
        let mut random = rand::rng();
        self.add_with(batch, now, || random.random());
    }

    fn add_with(&self, batch: &LiveBatch, now: Timestamp, mut chance: impl FnMut() -> f64) {
        let mut kept = self.kept.lock();
        kept.roll(now);
        kept.running.total += batch.total;
        for event in &batch.events {
            kept.running
                .offer(Sampled::drawn(event, batch.every, chance()));
        }
    }

    fn missed(&self, now: Timestamp) {
        self.kept.lock().missed = Some(minute(now));
    }

    /// The last hour.
    pub fn snapshot(&self, now: Timestamp) -> Snapshot {
        let mut kept = self.kept.lock();
        kept.roll(now);
        let first = kept.running.minute - MINUTES + 1;
        let mut spans: Vec<_> = kept.full.iter().cloned().collect();
        if kept.running.total > 0 {
            spans.push(Arc::new(kept.running.span()));
        }
        let hour_ago = Timestamp::from_second(first * 60).unwrap_or_default();
        Snapshot {
            since: kept.since.max(hour_ago),
            now,
            spans,
            missed: kept.missed.is_some_and(|minute| minute >= first),
        }
    }
}

impl Kept {
    /// Ends the running minute when it is over, and forgets what is older than an hour.
    fn roll(&mut self, now: Timestamp) {
        // A clock that goes back changes nothing.
        let now = minute(now).max(self.running.minute);
        if now > self.running.minute {
            let ended = std::mem::replace(&mut self.running, Running::new(now));
            if ended.total > 0 {
                self.full.push_back(Arc::new(ended.span()));
            }
        }
        let oldest = (now - MINUTES + 1) * 60;
        while self
            .full
            .front()
            .is_some_and(|span| span.start.as_second() < oldest)
        {
            self.full.pop_front();
        }
    }
}

fn minute(at: Timestamp) -> i64 {
    at.as_second().div_euclid(60)
}

#[cfg(test)]
#[path = "sample_tests.rs"]
mod tests;

//! The window in which repeats of a message count as one event.
//!
//! The first of a kind goes through at once; what repeats it within the window is counted here, and at
//! the window's end the last of them goes through and says for how many it stands. Bounded in windows
//! and bytes; where it is full the oldest window ends early. Knows neither sockets nor the queue.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher as _, RandomState};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use mutt_engine::Dynamic;
use mutt_event::element::ElementWriter;
use mutt_event::{json, mask};

/// The most windows that are open at a time, and the most bytes of events that they hold.
const MAX_WINDOWS: usize = 16_384;
const MAX_BYTES: usize = 32 << 20;

/// The most events and bytes of ended windows that are handed out at once: a batch's worth.
const BATCH: (usize, usize) = (1_000, 1 << 20);

/// Whether and how repeats are recognized.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Repeats {
    pub(super) window: Duration,
    /// Whether only the very same text is a repeat; else what has the same signature is one.
    pub(super) same_text: bool,
}

impl Repeats {
    /// As the settings have it; `None` while it is off.
    pub(super) fn of(dynamic: &Dynamic) -> Option<Self> {
        let window = dynamic.seconds("dedup_window_seconds");
        (!window.is_zero()).then(|| Self {
            window,
            same_text: dynamic.text("dedup_match") == "message",
        })
    }
}

/// Which host, and what kind of message. Both hashes: whoever can make them collide can send as that
/// host anyway.
pub(super) type Kind = (u64, u64);

/// The kind of an event; `None` for what is none. `hash` stays the same as long as the process runs.
pub(super) fn kind(hash: &RandomState, element: &[u8], how: &Repeats) -> Option<Kind> {
    let event = json::view(element).ok()?;
    let text = if how.same_text {
        hash.hash_one(&event.message)
    } else {
        mask::signature(&event.message).hash
    };
    Some((hash.hash_one(&event.hostname), text))
}

/// The open windows of one listener.
#[derive(Default)]
pub(super) struct Windows {
    open: HashMap<Kind, Window>,
    /// In the order in which they began, with their numbers; what is no longer open is passed over.
    order: VecDeque<(Kind, u64)>,
    next: u64,
    bytes: usize,
    repeats: u64,
}

struct Window {
    number: u64,
    until: Instant,
    first_at: Timestamp,
    last_at: Timestamp,
    repeats: u64,
    /// The last repeat.
    element: Vec<u8>,
}

/// A window that ended with repeats: one event that stands for them.
#[derive(Debug, PartialEq)]
pub(super) struct Folded {
    /// The queue element.
    pub(super) element: Vec<u8>,
    /// The messages that it stands for, at least 1; the first of the window is not among them.
    pub(super) repeats: u64,
}

impl Windows {
    /// Messages that are counted here and stand in no event yet.
    pub(super) fn held(&self) -> u64 {
        self.repeats
    }

    /// Shows it an event. `true`: it repeats one of an open window and is counted there. What `ended`
    /// gets must go into the queue.
    pub(super) fn repeats(
        &mut self,
        kind: Kind,
        element: &[u8],
        (received_at, now): (Timestamp, Instant),
        window: Duration,
        ended: &mut Vec<Folded>,
    ) -> bool {
        if self
            .open
            .get(&kind)
            .is_some_and(|window| window.until <= now)
        {
            self.end(kind, ended);
        }
        if let Some(window) = self.open.get_mut(&kind) {
            self.bytes = self.bytes + element.len() - window.element.len();
            window.element.clear();
            window.element.extend_from_slice(element);
            window.last_at = received_at;
            window.repeats += 1;
            self.repeats += 1;
            while self.bytes > MAX_BYTES && self.end_oldest(ended) {}
            return true;
        }
        while self.open.len() >= MAX_WINDOWS && self.end_oldest(ended) {}
        let number = self.next;
        self.next += 1;
        self.open.insert(
            kind,
            Window {
                number,
                until: now + window,
                first_at: received_at,
                last_at: received_at,
                repeats: 0,
                element: Vec::new(),
            },
        );
        self.order.push_back((kind, number));
        false
    }

    /// Ends windows whose time is over, oldest first, a batch's worth at most.
    pub(super) fn over(&mut self, now: Instant) -> Vec<Folded> {
        let mut ended = Vec::new();
        while is_room(&ended)
            && let Some(&(kind, number)) = self.order.front()
        {
            match self.open.get(&kind) {
                Some(window) if window.number == number && window.until > now => break,
                _ => self.end_oldest(&mut ended),
            };
        }
        ended
    }

    /// Ends windows whether their time is over or not, a batch's worth at most.
    pub(super) fn all(&mut self) -> Vec<Folded> {
        let mut ended = Vec::new();
        while is_room(&ended) && self.end_oldest(&mut ended) {}
        ended
    }

    /// Ends the oldest; `false` where none is open.
    fn end_oldest(&mut self, ended: &mut Vec<Folded>) -> bool {
        let Some((kind, number)) = self.order.pop_front() else {
            return false;
        };
        if self
            .open
            .get(&kind)
            .is_some_and(|window| window.number == number)
        {
            self.end(kind, ended);
        }
        true
    }

    fn end(&mut self, kind: Kind, ended: &mut Vec<Folded>) {
        let Some(window) = self.open.remove(&kind) else {
            return;
        };
        self.bytes -= window.element.len();
        self.repeats -= window.repeats;
        if window.repeats > 0 {
            ended.push(Folded {
                repeats: window.repeats,
                element: window.into_element(),
            });
        }
    }
}

/// Whether a batch has room for one more.
fn is_room(ended: &[Folded]) -> bool {
    // Events are counted first: adding up bytes for each would be quadratic.
    ended.len() < BATCH.0
        && ended
            .iter()
            .map(|folded| folded.element.len())
            .sum::<usize>()
            < BATCH.1
}

impl Window {
    fn into_element(self) -> Vec<u8> {
        let mut element = self.element;
        let mut writer = ElementWriter::reopen(&mut element);
        writer.number("repeat_count", self.repeats);
        writer.time("first_received_at", self.first_at);
        writer.time("last_received_at", self.last_at);
        writer.finish();
        element
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOW: Repeats = Repeats {
        window: Duration::from_secs(10),
        same_text: false,
    };

    fn element(host: &str, message: &str) -> Vec<u8> {
        serde_json::to_vec(&serde_json::json!({ "hostname": host, "message": message })).unwrap()
    }

    /// Shows an event that came `second` seconds after `start`.
    fn show(
        windows: &mut Windows,
        element: &[u8],
        (start, second): (Instant, u32),
        ended: &mut Vec<Folded>,
    ) -> bool {
        let kind = super::kind(&hash(), element, &HOW).unwrap();
        let now = (
            at(second.into()),
            start + Duration::from_secs(second.into()),
        );
        windows.repeats(kind, element, now, HOW.window, ended)
    }

    fn hash() -> RandomState {
        static HASH: std::sync::OnceLock<RandomState> = std::sync::OnceLock::new();
        HASH.get_or_init(RandomState::new).clone()
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    #[test]
    fn the_first_goes_through_and_the_repeats_come_out_as_one() {
        let start = Instant::now();
        let mut windows = Windows::default();
        let mut ended = Vec::new();
        let mut repeats = |windows: &mut Windows, second: u32, host: &str, message: &str| {
            show(
                windows,
                &element(host, message),
                (start, second),
                &mut ended,
            )
        };
        assert!(!repeats(&mut windows, 0, "sw1", "fan 1 failed"));
        assert!(repeats(&mut windows, 3, "sw1", "fan 2 failed"));
        assert!(repeats(&mut windows, 4, "sw1", "fan 3 failed"));
        assert!(!repeats(&mut windows, 4, "sw2", "fan 3 failed"));
        assert!(!repeats(&mut windows, 5, "sw1", "fan failed"));
        assert!(ended.is_empty());
        assert_eq!(windows.held(), 2);

        assert!(windows.over(start + Duration::from_secs(9)).is_empty());
        let over = windows.over(start + Duration::from_secs(10));
        assert_eq!((over.len(), over[0].repeats, windows.held()), (1, 2, 0));
        let event: serde_json::Value = serde_json::from_slice(&over[0].element).unwrap();
        assert_eq!(event["message"], "fan 3 failed");
        assert_eq!(event["repeat_count"], 2);
        assert_eq!(event["first_received_at"], "2027-01-15T08:00:00.000000Z");
        assert_eq!(event["last_received_at"], "2027-01-15T08:00:04.000000Z");
        // A window without repeats ends without an event.
        assert!(windows.over(start + Duration::from_mins(1)).is_empty());
        assert!(windows.open.is_empty() && windows.order.is_empty() && windows.bytes == 0);
    }

    #[test]
    fn a_window_that_nobody_ended_in_time_is_ended_by_the_next_message() {
        let start = Instant::now();
        let mut windows = Windows::default();
        let mut ended = Vec::new();
        let message = element("sw1", "link down");
        for (second, repeated) in [(0, false), (1, true), (11, false), (12, true)] {
            let found = show(&mut windows, &message, (start, second), &mut ended);
            assert_eq!(found, repeated, "{second}");
        }
        assert_eq!(ended.len(), 1);
        assert_eq!(windows.all().len(), 1);
        assert_eq!((windows.held(), windows.bytes), (0, 0));
    }

    #[test]
    fn only_the_same_text_repeats_where_that_is_wanted() {
        let how = Repeats {
            same_text: true,
            ..HOW
        };
        let kinds = ["Gi1/0/1 down", "Gi1/0/2 down", "Gi1/0/1 down"]
            .map(|message| kind(&hash(), &element("sw1", message), &how).unwrap());
        assert_ne!(kinds[0], kinds[1]);
        assert_eq!(kinds[0], kinds[2]);
        let by_signature = ["Gi1/0/1 down", "Gi1/0/2 down"]
            .map(|message| kind(&hash(), &element("sw1", message), &HOW));
        assert_eq!(by_signature[0], by_signature[1]);
    }

    #[test]
    fn a_full_table_ends_its_oldest_window_and_loses_nothing() {
        let start = Instant::now();
        let mut windows = Windows::default();
        let mut ended = Vec::new();
        let (mut first, mut repeated) = (0, 0);
        for host in 0..MAX_WINDOWS + 100 {
            for _ in 0..3 {
                let element = element(&format!("h{host}"), "down");
                if show(&mut windows, &element, (start, 0), &mut ended) {
                    repeated += 1;
                } else {
                    first += 1;
                }
            }
        }
        assert!(windows.open.len() <= MAX_WINDOWS);
        assert_eq!(ended.len(), 100);
        while windows.held() > 0 {
            ended.extend(windows.all());
        }
        let folded: u64 = ended.iter().map(|folded| folded.repeats).sum();
        assert_eq!((first, folded), (MAX_WINDOWS + 100, repeated));
    }

    #[test]
    fn large_events_end_windows_before_memory_does() {
        let start = Instant::now();
        let mut windows = Windows::default();
        let mut ended = Vec::new();
        let long = "x".repeat(60_000);
        for host in 0..1_000 {
            for _ in 0..2 {
                let element = element(&format!("h{host}"), &long);
                show(&mut windows, &element, (start, 0), &mut ended);
                assert!(windows.bytes <= MAX_BYTES);
            }
        }
        assert!(!ended.is_empty());
    }
}

//! Names of addresses from reverse DNS, asked for in the background.
//!
//! Nothing ever waits: an address that is not known yet has no name. A few threads ask the system's
//! resolver; questions under way and answers kept are bounded, so that whoever invents addresses can
//! make names come late, and nothing else. Does not know what a name is used for.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::senders::is_name;
use crate::metrics::NameMetrics;

/// The most addresses whose answers are kept.
const MAX_KEPT: usize = 65_536;
/// The most questions that wait or are under way.
const MAX_OUTSTANDING: usize = 256;
/// Threads that ask: while a resolver does not answer, each is stuck for seconds.
const THREADS: usize = 8;
/// How long a name holds, and how long it holds that there is none.
const HOLDS: (Duration, Duration) = (Duration::from_hours(1), Duration::from_mins(5));

/// Answers with the name of an address, where it has one. May take its time.
pub(crate) type Resolve = Arc<dyn Fn(IpAddr) -> Option<String> + Send + Sync>;

/// Names by address.
pub(crate) struct ReverseDns {
    answers: Arc<Mutex<Answers>>,
    questions: SyncSender<IpAddr>,
    metrics: NameMetrics,
}

#[derive(Default)]
struct Answers {
    kept: HashMap<IpAddr, Answer>,
    /// In the order in which they were asked for first.
    order: VecDeque<IpAddr>,
}

struct Answer {
    name: Option<Arc<str>>,
    until: Instant,
    asked: bool,
}

impl ReverseDns {
    /// Starts the threads that ask. They end with this.
    ///
    /// # Errors
    /// No thread can be started.
    pub(crate) fn start(resolve: &Resolve, metrics: NameMetrics) -> std::io::Result<Self> {
        let answers = Arc::<Mutex<Answers>>::default();
        let (questions, asked) = sync_channel(MAX_OUTSTANDING);
        let asked = Arc::new(Mutex::new(asked));
        for _ in 0..THREADS {
            let (resolve, asked) = (Arc::clone(resolve), Arc::clone(&asked));
            let (answers, metrics) = (Arc::clone(&answers), metrics.clone());
            thread::Builder::new()
                .name("reverse-dns".into())
                .spawn(move || answer(&resolve, &asked, &answers, &metrics))?;
        }
        Ok(Self {
            answers,
            questions,
            metrics,
        })
    }

    /// The name of this address as far as it is known; otherwise it is asked for. A name that is too
    /// old holds until there is another.
    pub(crate) fn of(&self, address: IpAddr, now: Instant) -> Option<Arc<str>> {
        let mut answers = self.answers.lock();
        let (name, ask) = match answers.kept.get_mut(&address) {
            Some(answer) => {
                let ask = !answer.asked && answer.until <= now;
                answer.asked |= ask;
                (answer.name.clone(), ask)
            }
            None => (None, true),
        };
        let known = if name.is_some() {
            &self.metrics.hits
        } else {
            &self.metrics.misses
        };
        known.inc();
        if ask {
            self.metrics.outstanding.inc();
            match self.questions.try_send(address) {
                Ok(()) => answers.asked(address, now),
                Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                    self.metrics.outstanding.dec();
                    if let Some(answer) = answers.kept.get_mut(&address) {
                        answer.asked = false;
                    }
                }
            }
        }
        name
    }
}

impl Answers {
    /// Notes that an address was asked for.
    fn asked(&mut self, address: IpAddr, now: Instant) {
        if self.kept.contains_key(&address) {
            return;
        }
        if self.kept.len() >= MAX_KEPT
            && let Some(oldest) = self.order.pop_front()
        {
            self.kept.remove(&oldest);
        }
        self.order.push_back(address);
        self.kept.insert(
            address,
            Answer {
                name: None,
                until: now,
                asked: true,
            },
        );
    }
}

/// Asks until nobody wants to know any more.
fn answer(
    resolve: &Resolve,
    questions: &Mutex<Receiver<IpAddr>>,
    answers: &Mutex<Answers>,
    metrics: &NameMetrics,
) {
    loop {
        let Ok(address) = questions.lock().recv() else {
            return;
        };
        let name = resolve(address).filter(|name| is_name(name) && name.parse::<IpAddr>().is_err());
        let name: Option<Arc<str>> = name.map(|name| name.trim_end_matches('.').into());
        let holds = if name.is_some() { HOLDS.0 } else { HOLDS.1 };
        if let Some(answer) = answers.lock().kept.get_mut(&address) {
            answer.name = name;
            answer.until = Instant::now() + holds;
            answer.asked = false;
        }
        metrics.outstanding.dec();
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn address(number: u32) -> IpAddr {
        Ipv4Addr::from(0x0a00_0000 + number).into()
    }

    /// The name, once the answer is there.
    fn wait_for(names: &ReverseDns, address: IpAddr, now: Instant) -> Option<Arc<str>> {
        names.of(address, now);
        while names.metrics.outstanding.get() > 0 {
            thread::yield_now();
        }
        // Not asked for: that would ask again where it is too old.
        names.answers.lock().kept[&address].name.clone()
    }

    #[test]
    fn a_name_is_there_from_the_second_event_on_and_is_renewed() {
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        let resolve: Resolve = Arc::new(move |address| {
            let number = count.fetch_add(1, Ordering::SeqCst);
            (address != self::address(2)).then(|| format!("sw{number}.example.net."))
        });
        let names = ReverseDns::start(&resolve, NameMetrics::default()).unwrap();
        let now = Instant::now();
        assert_eq!(
            wait_for(&names, address(1), now).as_deref(),
            Some("sw0.example.net")
        );
        assert_eq!(wait_for(&names, address(2), now), None);
        assert_eq!(asked.load(Ordering::SeqCst), 2);
        // The old one holds until the new one is there; that there was none is forgotten earlier.
        let later = now + HOLDS.1 + Duration::from_mins(1);
        assert_eq!(wait_for(&names, address(2), later), None);
        assert!(names.of(address(1), later).is_some());
        assert_eq!(asked.load(Ordering::SeqCst), 3);
        let expired = now + HOLDS.0 + Duration::from_mins(1);
        assert_eq!(
            names.of(address(1), expired).as_deref(),
            Some("sw0.example.net")
        );
        assert_eq!(
            wait_for(&names, address(1), expired).as_deref(),
            Some("sw3.example.net")
        );
    }

    #[test]
    fn while_the_resolver_is_stuck_nothing_waits_and_nothing_grows() {
        let (release, stuck) = std::sync::mpsc::channel::<()>();
        let stuck = Mutex::new(stuck);
        let resolve: Resolve = Arc::new(move |_| {
            let _ = stuck.lock().recv();
            None
        });
        let names = ReverseDns::start(&resolve, NameMetrics::default()).unwrap();
        let now = Instant::now();
        for number in 0..10_000 {
            assert_eq!(names.of(address(number), now), None);
        }
        assert!(names.answers.lock().kept.len() <= MAX_OUTSTANDING + THREADS);
        let outstanding = names.metrics.outstanding.get();
        assert!(
            (1..=i64::try_from(MAX_OUTSTANDING + THREADS).unwrap()).contains(&outstanding),
            "{outstanding}"
        );
        drop(release);
    }

    #[test]
    fn a_name_that_is_an_address_or_no_name_at_all_is_none() {
        for bad in ["10.0.0.1", "two words", ""] {
            let resolve: Resolve = Arc::new(move |_| Some(bad.to_owned()));
            let names = ReverseDns::start(&resolve, NameMetrics::default()).unwrap();
            assert_eq!(wait_for(&names, address(1), Instant::now()), None, "{bad}");
        }
    }
}

//! What happens to every message at the door, whichever listener read it: who its sender is, whether
//! there are too many of its kind, and what is known about it that it does not say itself.
//!
//! [`Gate::pass`] is the one way from a listener into a batch. All that can be configured is in one
//! [`Setup`], replaced whole, so that a message that nothing is configured for costs a look at it.
//! Knows neither how a message is parsed nor how a batch is stored.

mod dedup;
mod files;
mod flood;
mod hosts;
mod notices;
mod resolver;
mod reverse;
mod senders;
mod tags;
mod work;

use std::hash::RandomState;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use arc_swap::ArcSwap;
use jiff::Timestamp;
use mutt_engine::Dynamic;
use mutt_engine::reports::FloodReport;
use mutt_event::{Batch, json};
use parking_lot::Mutex;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use self::dedup::{Folded, Repeats, Windows};
use self::files::{Kept, WatchedFile};
use self::flood::{Floods, Limits, Verdict};
use self::hosts::Hosts;
use self::notices::Notice;
use self::reverse::{Resolve, ReverseDns};
pub(crate) use self::tags::tag;
use crate::metrics::{IngestMetrics, Listener, ListenerMetrics, RejectReason};

pub use files::DoorError;
pub use flood::FloodAction;
pub use hosts::HostsError;
pub use senders::{MAX_SENDERS, OwnLimits, Sender, Senders, SendersError};

/// Notices that wait to be stored; further ones are only logged.
const MAX_NOTICES: usize = 4_096;

/// What can be set about the door and stays as long as the process runs.
#[derive(Clone, Debug, Default)]
pub struct DoorOptions {
    /// What is known of the networks that events come from.
    pub senders_file: Option<PathBuf>,
    /// Names of addresses.
    pub hosts_file: Option<PathBuf>,
    /// Whether addresses without a name are asked for in DNS.
    pub reverse_dns: bool,
}

/// Reads the files once, and tells how many entries they have.
///
/// # Errors
/// As [`Door::open`].
pub fn check(options: &DoorOptions) -> Result<usize, DoorError> {
    let files = Files::open(options)?;
    let hosts = files.hosts.map_or(0, |(_, hosts)| hosts.len());
    let senders = files.senders.map_or(0, |(_, senders)| senders.len());
    Ok(hosts + senders)
}

/// Both files with what they say.
#[derive(Default)]
struct Files {
    senders: Option<(WatchedFile<Senders>, Senders)>,
    hosts: Option<(WatchedFile<Hosts>, Hosts)>,
}

impl Files {
    fn open(options: &DoorOptions) -> Result<Self, DoorError> {
        let mut files = Self::default();
        if let Some(path) = &options.senders_file {
            let parse = |text: &str| Senders::parse(text).map_err(|error| error.to_string());
            files.senders = Some(WatchedFile::open("SENDERS_FILE", path.clone(), parse)?);
        }
        if let Some(path) = &options.hosts_file {
            let parse = |text: &str| Hosts::parse(text).map_err(|error| error.to_string());
            files.hosts = Some(WatchedFile::open("HOSTS_FILE", path.clone(), parse)?);
        }
        Ok(files)
    }
}

/// The door of one process, shared by its listeners. Cloning clones a handle.
#[derive(Clone)]
pub struct Door(Arc<Inner>);

struct Inner {
    /// Whether there is nothing to do for any message. Asked for each, so that it must be cheap.
    idle: AtomicBool,
    setup: ArcSwap<Setup>,
    changes: Mutex<()>,
    senders: Option<Mutex<WatchedFile<Senders>>>,
    hosts: Option<Mutex<WatchedFile<Hosts>>>,
    reverse: Option<ReverseDns>,
    floods: Floods,
    notices: Mutex<Vec<Notice>>,
    /// What makes two events of one kind look alike.
    hash: RandomState,
    /// By position in [`Listener::ALL`].
    windows: [Mutex<Windows>; Listener::ALL.len()],
    metrics: IngestMetrics,
    /// Who may still bring messages.
    gates: TaskTracker,
}

/// What holds at the moment.
#[derive(Clone, Default)]
struct Setup {
    senders: Arc<Senders>,
    hosts: Option<Arc<Hosts>>,
    limits: Option<Limits>,
    repeats: Option<Repeats>,
    /// Whether any sender has a limit of its own.
    own_limits: bool,
    /// Whether any sender has tags.
    tagged: bool,
}

impl Setup {
    /// Whether it asks for nothing.
    fn is_idle(&self) -> bool {
        self.senders.is_empty()
            && self.hosts.is_none()
            && self.limits.is_none_or(|limits| limits.is_none())
            && self.repeats.is_none()
    }
}

impl Door {
    /// A door with these settings. The dynamic ones come with [`Door::run`].
    ///
    /// # Errors
    /// A file cannot be read, or has a mistake; the text says which and where.
    pub fn open(options: &DoorOptions, metrics: IngestMetrics) -> Result<Self, DoorError> {
        Self::open_with(options, metrics, &(Arc::new(resolver::name_of) as Resolve))
    }

    fn open_with(
        options: &DoorOptions,
        metrics: IngestMetrics,
        resolve: &Resolve,
    ) -> Result<Self, DoorError> {
        let files = Files::open(options)?;
        let (senders_file, senders) = files.senders.unzip();
        let (hosts_file, hosts) = files.hosts.unzip();
        let senders = senders.unwrap_or_default();
        let reverse = if options.reverse_dns {
            let names = metrics.names.clone();
            Some(ReverseDns::start(resolve, names).map_err(DoorError::Threads)?)
        } else {
            None
        };
        let setup = Setup {
            own_limits: senders.have_limits(),
            tagged: senders.have_tags(),
            senders: Arc::new(senders),
            hosts: hosts.map(Arc::new),
            ..Setup::default()
        };
        Ok(Self(Arc::new(Inner {
            idle: AtomicBool::new(reverse.is_none() && setup.is_idle()),
            setup: ArcSwap::from_pointee(setup),
            changes: Mutex::default(),
            senders: senders_file.map(Mutex::new),
            hosts: hosts_file.map(Mutex::new),
            reverse,
            floods: Floods::new(Instant::now()),
            notices: Mutex::default(),
            hash: RandomState::new(),
            windows: Default::default(),
            metrics,
            gates: TaskTracker::new(),
        })))
    }

    /// A door that lets everything pass as it is.
    pub fn plain(metrics: IngestMetrics) -> Self {
        Self::open(&DoorOptions::default(), metrics).expect("nothing is read")
    }

    /// Reads the files again where they changed. Where one has a mistake, what it said before holds.
    pub fn reload(&self) {
        self.reload_if(true);
    }

    fn reload_if(&self, always: bool) {
        let inner = &*self.0;
        if let Some(file) = &inner.senders
            && let Kept::New(senders) = file.lock().read(always)
        {
            tracing::info!(networks = senders.len(), "the senders file was read");
            let senders = Arc::new(senders);
            self.change(|setup| {
                setup.own_limits = senders.have_limits();
                setup.tagged = senders.have_tags();
                setup.senders = Arc::clone(&senders);
            });
        }
        if let Some(file) = &inner.hosts
            && let Kept::New(hosts) = file.lock().read(always)
        {
            tracing::info!(names = hosts.len(), "the hosts file was read");
            let hosts = Arc::new(hosts);
            self.change(|setup| setup.hosts = Some(Arc::clone(&hosts)));
        }
    }

    fn apply(&self, dynamic: &Dynamic) {
        let limits = Limits::of(dynamic);
        let repeats = Repeats::of(dynamic);
        self.change(|setup| {
            setup.limits = Some(limits);
            setup.repeats = repeats;
        });
    }

    fn change(&self, change: impl FnOnce(&mut Setup)) {
        let inner = &*self.0;
        // The door's task and SIGHUP change it at the same time, each its own part.
        let _one = inner.changes.lock();
        let mut setup = Setup::clone(&inner.setup.load());
        change(&mut setup);
        let idle = inner.reverse.is_none() && setup.is_idle();
        inner.setup.store(Arc::new(setup));
        inner.idle.store(idle, Ordering::Release);
    }

    /// The senders that send more than their limit now, the worst first.
    pub fn floods(&self, most: usize) -> Vec<FloodReport> {
        self.0.floods.worst(most)
    }

    /// The senders, where any of them has tags.
    pub(crate) fn tagged(&self) -> Option<Arc<Senders>> {
        let setup = self.0.setup.load();
        setup.tagged.then(|| Arc::clone(&setup.senders))
    }

    /// The way in for one listener.
    pub fn gate(&self, listener: Listener) -> Gate {
        Gate {
            listener,
            counters: self.0.metrics.listener(listener).clone(),
            _open: self.0.gates.token(),
            door: self.clone(),
        }
    }
}

impl Inner {
    /// The name of an address, as far as something other than its messages tells it.
    fn name(&self, setup: &Setup, address: IpAddr, now: Instant) -> Option<Arc<str>> {
        if let Some(hosts) = &setup.hosts
            && let Some(name) = hosts.of(address)
        {
            return Some(Arc::clone(name));
        }
        self.reverse.as_ref()?.of(address, now)
    }

    fn notify(&self, notice: Notice) {
        let mut notices = self.notices.lock();
        if notices.len() < MAX_NOTICES {
            notices.push(notice);
        } else {
            tracing::warn!(
                ?notice,
                "too many notices wait to be stored; this one is not"
            );
        }
    }
}

/// The way in for one listener, or for one of its connections. Cloning it is cheap. As long as one is
/// there, repeats may still come: drop it when nothing does.
#[derive(Clone)]
pub struct Gate {
    door: Door,
    listener: Listener,
    counters: ListenerMetrics,
    _open: TaskTrackerToken,
}

/// What is known of a message's sender.
pub struct Known<'a> {
    /// What the senders file says.
    pub sender: &'a Sender,
    /// Its name, for messages that name no host.
    pub name: Option<&'a str>,
    /// Who knows other names; nobody where nothing is configured.
    door: Option<(&'a Inner, &'a Setup, Instant)>,
}

impl Known<'_> {
    /// The name of another address, which a message of this sender names.
    pub fn name_of(&self, address: IpAddr) -> Option<Arc<str>> {
        let (inner, setup, now) = self.door?;
        match &setup.senders.of(address).name {
            Some(name) => Some(Arc::from(&**name)),
            None => inner.name(setup, address, now),
        }
    }
}

/// When a message came, by both clocks.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// By the clock on the wall.
    pub at: Timestamp,
    /// By the one that only goes forward.
    pub monotonic: Instant,
}

impl Moment {
    /// This one.
    pub fn now() -> Self {
        Self {
            at: Timestamp::now(),
            monotonic: Instant::now(),
        }
    }
}

impl Gate {
    /// Counts one message that was read, and adds the event that `write` makes of it, a JSON object,
    /// to the batch, unless it is one too many. `folds` says whether it may count as a repeat of
    /// another: not where its sender waits for an acknowledgement. Returns what `write` returned,
    /// `None` where it was not called. May also add events that stand for earlier messages.
    pub fn pass<T>(
        &self,
        peer: IpAddr,
        moment: Moment,
        folds: bool,
        batch: &mut Batch,
        write: impl FnOnce(&Known<'_>, &mut Vec<u8>) -> T,
    ) -> Option<T> {
        let inner = &*self.door.0;
        self.counters.received.inc();
        if inner.idle.load(Ordering::Acquire) {
            static ANYBODY: Sender = Sender::anybody();
            let known = Known {
                sender: &ANYBODY,
                name: None,
                door: None,
            };
            return Some(batch.push_with(|out| write(&known, out)));
        }
        let setup = inner.setup.load();
        let sender = setup.senders.of(peer);
        let (verdict, limits) = self.judge(&setup, sender, peer, moment.monotonic);
        if !verdict.keep && !verdict.begins {
            self.counters.rejected(RejectReason::Flood).inc();
            return None;
        }
        let looked_up = match sender.name {
            Some(_) => None,
            None => inner.name(&setup, peer, moment.monotonic),
        };
        let known = Known {
            sender,
            name: sender.name.as_deref().or(looked_up.as_deref()),
            door: Some((inner, &setup, moment.monotonic)),
        };
        let repeats = setup.repeats.filter(|_| folds);
        if verdict == Verdict::PASS && repeats.is_none() {
            return Some(batch.push_with(|out| write(&known, out)));
        }
        let mut ended = Vec::new();
        let mut written = None;
        // Whether it is kept is known only when it is written: a repeat is told by its text.
        let _ = batch.try_push_with(|out| {
            let start = out.len();
            written = Some(write(&known, out));
            if let Some(limits) = limits.filter(|_| verdict.begins) {
                self.announce(&known, peer, &out[start..], &limits, moment.monotonic);
            }
            if !verdict.keep {
                self.counters.rejected(RejectReason::Flood).inc();
                return Err(());
            }
            if verdict.mark {
                self.counters.flood_marked.inc();
                let mut element = mutt_event::element::ElementWriter::reopen(out);
                element.raw("flood", b"true");
                element.finish();
            }
            let Some(how) = repeats else { return Ok(()) };
            if self.is_repeat(&out[start..], moment, &how, &mut ended) {
                Err(())
            } else {
                Ok(())
            }
        });
        for folded in ended {
            add_folded(&self.counters, batch, &folded);
        }
        written
    }

    fn judge(
        &self,
        setup: &Setup,
        sender: &Sender,
        peer: IpAddr,
        now: Instant,
    ) -> (Verdict, Option<Limits>) {
        let everybody = setup.limits.unwrap_or(Limits::NONE);
        if everybody.is_none() && !setup.own_limits {
            return (Verdict::PASS, None);
        }
        match flood::limits_of(&everybody, sender) {
            Some(limits) => {
                let verdict = self.door.0.floods.judge(peer, &limits, now);
                (verdict, Some(limits))
            }
            None => (Verdict::PASS, None),
        }
    }

    /// Says that a sender began to flood, under the host name that its events have.
    fn announce(
        &self,
        known: &Known<'_>,
        peer: IpAddr,
        element: &[u8],
        limits: &Limits,
        now: Instant,
    ) {
        let address = peer.to_string();
        let event = json::view(element).ok();
        // The events of a relay have many hosts; it is none of them.
        let host = match &event {
            Some(event) if known.sender.relay != Some(true) => &event.hostname,
            _ => known.name.unwrap_or(&address),
        };
        let inner = &*self.door.0;
        if let Some(notice) = inner.floods.begun(peer, host, self.listener, limits, now) {
            inner.notify(notice);
        }
    }

    fn is_repeat(
        &self,
        element: &[u8],
        moment: Moment,
        how: &Repeats,
        ended: &mut Vec<Folded>,
    ) -> bool {
        let inner = &*self.door.0;
        let Some(kind) = dedup::kind(&inner.hash, element, how) else {
            return false;
        };
        let mut windows = inner.windows[self.listener as usize].lock();
        windows.repeats(
            kind,
            element,
            (moment.at, moment.monotonic),
            how.window,
            ended,
        )
    }
}

/// Adds an event that stands for repeats.
fn add_folded(counters: &ListenerMetrics, batch: &mut Batch, folded: &Folded) {
    batch.push(&folded.element);
    // One of them is the event itself.
    counters.deduplicated.inc_by(folded.repeats - 1);
}

impl std::fmt::Debug for Door {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Door").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Gate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gate")
            .field("listener", &self.listener)
            .finish_non_exhaustive()
    }
}

//! How far a connection is, and how long it may stay there.
//!
//! Whoever reads, handles and writes notes the phase here with one store; a single timer per
//! connection looks at the notes now and then, so that a request costs no timer of its own.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed};
use std::task::{Poll, ready};
use std::time::Duration;

use tokio::time::Instant;

/// What a peer may cost. Every limit that is passed closes that connection alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections open at once; more wait in the kernel's backlog.
    pub connections: usize,
    /// From the first byte of a request's head (or the connection's start) to the head's end.
    pub header: Duration,
    /// The longest head, in bytes; at least 8192.
    pub header_bytes: usize,
    /// Between two requests.
    pub keep_alive: Duration,
    /// Between two pieces of a request's body; and in all, a body may keep the server waiting for
    /// this long plus one second for every `body_rate` bytes of it.
    pub body: Duration,
    /// The least rate of a request's body, in bytes per second; at least 1.
    pub body_rate: u64,
    /// Without the peer taking one byte of a response.
    pub write: Duration,
    /// A TLS handshake, in all.
    pub handshake: Duration,
    /// After the last response, for the peer to read it and close.
    pub linger: Duration,
    /// After the shutdown began, for requests under way.
    pub grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 4096,
            header: Duration::from_secs(10),
            header_bytes: 16 * 1024,
            keep_alive: Duration::from_secs(75),
            body: Duration::from_secs(15),
            body_rate: 1024,
            write: Duration::from_secs(30),
            handshake: Duration::from_secs(10),
            linger: Duration::from_secs(2),
            grace: Duration::from_secs(10),
        }
    }
}

impl Limits {
    /// How often a timer looks, in milliseconds: no phase that a peer can be slow in ends sooner
    /// than this after it began.
    fn step(&self) -> u64 {
        let shortest = self
            .header
            .min(self.keep_alive)
            .min(self.body)
            .min(self.write);
        millis(shortest).max(1)
    }
}

/// What a peer was too slow at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Expired {
    /// Sending the next request.
    Idle,
    /// Sending a request's head.
    Header,
    /// Sending a request's body.
    Body,
    /// Reading a response.
    Write,
    /// Closing after the last response.
    Linger,
}

impl Expired {
    /// Every kind.
    pub const ALL: [Self; 5] = [
        Self::Idle,
        Self::Header,
        Self::Body,
        Self::Write,
        Self::Linger,
    ];

    /// The value of the `phase` label.
    pub fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Header => "header",
            Self::Body => "body",
            Self::Write => "write",
            Self::Linger => "linger",
        }
    }
}

const IDLE: u8 = 0;
const HEADER: u8 = 1;
const BODY: u8 = 2;
const HANDLING: u8 = 3;
const LINGER: u8 = 4;

/// One connection: who is at the other end, and how far it is.
#[derive(Debug)]
pub struct Connection {
    peer: SocketAddr,
    tls: bool,
    started: Instant,
    phase: AtomicU8,
    /// Milliseconds after `started` at which the phase began, or its last byte came.
    since: AtomicU64,
    /// Milliseconds that this request's body kept the server waiting before `since`.
    body_waited: AtomicU64,
    body_bytes: AtomicU64,
    body_expired: AtomicBool,
    /// Milliseconds after `started`, plus 1, at which writing began to stall; 0 while it does not.
    stalled: AtomicU64,
}

impl Connection {
    pub(crate) fn new(peer: SocketAddr, tls: bool) -> Self {
        Self {
            peer,
            tls,
            started: Instant::now(),
            phase: AtomicU8::new(HEADER),
            since: AtomicU64::new(0),
            body_waited: AtomicU64::new(0),
            body_bytes: AtomicU64::new(0),
            body_expired: AtomicBool::new(false),
            stalled: AtomicU64::new(0),
        }
    }

    /// The other end.
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Whether the connection is encrypted.
    pub fn is_tls(&self) -> bool {
        self.tls
    }

    fn now(&self) -> u64 {
        millis(self.started.elapsed())
    }

    fn enter(&self, phase: u8) {
        self.since.store(self.now(), Relaxed);
        self.phase.store(phase, Relaxed);
    }

    pub(crate) fn bytes_came(&self) {
        if self.phase.load(Relaxed) == IDLE {
            self.enter(HEADER);
        }
    }

    pub(crate) fn request_began(&self) {
        self.body_waited.store(0, Relaxed);
        self.body_bytes.store(0, Relaxed);
        self.phase.store(HANDLING, Relaxed);
    }

    pub(crate) fn body_awaited(&self) {
        if self.phase.load(Relaxed) == HANDLING {
            self.enter(BODY);
        }
    }

    pub(crate) fn body_came(&self, bytes: usize) {
        if self.phase.load(Relaxed) == BODY {
            let waited = self.now().saturating_sub(self.since.load(Relaxed));
            self.body_waited.fetch_add(waited, Relaxed);
            self.phase.store(HANDLING, Relaxed);
        }
        self.body_bytes.fetch_add(bytes as u64, Relaxed);
    }

    /// Lets whoever reads the body know that it will not come; returns whether somebody reads it.
    pub(crate) fn give_body_up(&self) -> bool {
        self.phase.store(HANDLING, Relaxed);
        !self.body_expired.swap(true, Relaxed)
    }

    pub(crate) fn is_body_given_up(&self) -> bool {
        self.body_expired.load(Relaxed)
    }

    pub(crate) fn response_ended(&self) {
        if self.phase.load(Relaxed) != LINGER {
            self.enter(IDLE);
        }
    }

    pub(crate) fn closing(&self) {
        if self.phase.load(Relaxed) != LINGER {
            self.enter(LINGER);
        }
    }

    pub(crate) fn write_stalls(&self, stalls: bool) {
        let stalled = self.stalled.load(Relaxed) != 0;
        if stalls && !stalled {
            self.stalled.store(self.now() + 1, Relaxed);
        } else if stalled && !stalls {
            self.stalled.store(0, Relaxed);
        }
    }

    /// When the connection has to go on, in milliseconds after its start, and with what.
    fn deadline(&self, limits: &Limits) -> Option<(u64, Expired)> {
        let since = self.since.load(Relaxed);
        let phase = match self.phase.load(Relaxed) {
            IDLE => Some((since + millis(limits.keep_alive), Expired::Idle)),
            HEADER => Some((since + millis(limits.header), Expired::Header)),
            BODY => {
                let idle = millis(limits.body);
                let earned =
                    self.body_bytes.load(Relaxed).saturating_mul(1000) / limits.body_rate.max(1);
                let left = (idle + earned).saturating_sub(self.body_waited.load(Relaxed));
                Some((since + left.min(idle), Expired::Body))
            }
            LINGER => Some((since + millis(limits.linger), Expired::Linger)),
            _ => None,
        };
        let stalled = self.stalled.load(Relaxed);
        let write = (stalled != 0).then(|| (stalled - 1 + millis(limits.write), Expired::Write));
        match (phase, write) {
            (Some(phase), Some(write)) => Some(if write.0 < phase.0 { write } else { phase }),
            (phase, write) => phase.or(write),
        }
    }

    /// Waits until a limit is passed. Polled whenever the connection is, it follows a phase that
    /// begins meanwhile; one that begins unseen is noticed in time by looking every `step`.
    pub(crate) async fn expired(&self, limits: &Limits) -> Expired {
        let step = limits.step();
        let mut armed = self.now() + step;
        let mut timer = pin!(tokio::time::sleep_until(self.at(armed)));
        poll_fn(|cx| {
            loop {
                if let Some((at, _)) = self.deadline(limits)
                    && at < armed
                {
                    armed = at;
                    timer.as_mut().reset(self.at(armed));
                }
                ready!(timer.as_mut().poll(cx));
                let now = self.now();
                armed = match self.deadline(limits) {
                    Some((at, what)) if at <= now => return Poll::Ready(what),
                    Some((at, _)) => at.min(now + step),
                    None => now + step,
                };
                timer.as_mut().reset(self.at(armed));
            }
        })
        .await
    }

    fn at(&self, millis: u64) -> Instant {
        self.started + Duration::from_millis(millis)
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX / 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connection() -> Connection {
        Connection::new(SocketAddr::from(([127, 0, 0, 1], 1)), false)
    }

    async fn sleep(seconds: u64) {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn each_phase_has_its_own_limit() {
        let limits = Limits::default();
        let connection = connection();
        let began = Instant::now();
        assert_eq!(connection.expired(&limits).await, Expired::Header);
        assert_eq!(began.elapsed(), limits.header);

        connection.request_began();
        connection.response_ended();
        let began = Instant::now();
        assert_eq!(connection.expired(&limits).await, Expired::Idle);
        assert_eq!(began.elapsed(), limits.keep_alive);

        connection.closing();
        let began = Instant::now();
        assert_eq!(connection.expired(&limits).await, Expired::Linger);
        assert_eq!(began.elapsed(), limits.linger);
    }

    #[tokio::test(start_paused = true)]
    async fn a_phase_that_begins_unseen_still_ends_on_time() {
        let limits = Limits::default();
        let connection = connection();
        connection.request_began();
        connection.response_ended();
        let watched = connection.expired(&limits);
        let began = Instant::now();
        let peer = async {
            sleep(61).await;
            connection.bytes_came();
            sleep(1_000_000).await;
        };
        tokio::select! {
            what = watched => assert_eq!(what, Expired::Header),
            () = peer => panic!("the head may not take for ever"),
        }
        assert_eq!(began.elapsed(), Duration::from_secs(61) + limits.header);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_drips_is_given_up_and_a_steady_one_is_not() {
        let limits = Limits::default();
        for (bytes, expected) in [(1, Some(Expired::Body)), (1024, None)] {
            let connection = connection();
            connection.request_began();
            let body = async {
                for _ in 0..100 {
                    connection.body_awaited();
                    sleep(1).await;
                    connection.body_came(bytes);
                }
            };
            let what = tokio::select! {
                what = connection.expired(&limits) => Some(what),
                () = body => None,
            };
            assert_eq!(what, expected, "{bytes} bytes per second");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn handling_may_take_its_time_but_a_reader_may_not_stall() {
        let limits = Limits::default();
        let connection = connection();
        connection.request_began();
        tokio::select! {
            what = connection.expired(&limits) => panic!("{what:?}"),
            () = sleep(100_000) => {}
        }
        connection.write_stalls(true);
        assert_eq!(connection.expired(&limits).await, Expired::Write);
        connection.write_stalls(false);
        tokio::select! {
            what = connection.expired(&limits) => panic!("{what:?}"),
            () = sleep(100_000) => {}
        }
    }
}

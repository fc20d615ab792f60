//! The TLS handshakes of one listener that are not finished yet.
//!
//! They are bounded in time and number. Where there are too many, the client with the most of them
//! loses its oldest one, so that one that opens connections and says nothing stands only in its own
//! way. Failures are counted by reason, and logged once per client and minute.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mutt_http::{HandshakeError, HandshakeFailure, PeerNames, Tls, TlsStream};
use parking_lot::Mutex;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::metrics::{Listener, ListenerMetrics};

/// The most unfinished handshakes at a time.
const MAX_UNFINISHED: usize = 256;

/// How long one may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// How often the failures of one client are logged.
const LOG_INTERVAL: Duration = Duration::from_mins(1);

/// Clients whose last logged failure is remembered; those of more clients are logged less often.
const MAX_LOGGED: usize = 1_024;

#[derive(Clone, Debug)]
pub(crate) struct Handshakes(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    listener: Listener,
    metrics: ListenerMetrics,
    unfinished: Mutex<Unfinished>,
    logged: Mutex<HashMap<IpAddr, Instant>>,
}

/// In the order of their arrival.
#[derive(Debug, Default)]
struct Unfinished {
    entries: Vec<Entry>,
    next: u64,
}

#[derive(Debug)]
struct Entry {
    id: u64,
    owner: IpAddr,
    give_way: CancellationToken,
}

/// A handshake that may take place; it is finished when this is dropped.
pub(crate) struct Turn {
    handshakes: Handshakes,
    id: u64,
    ip: IpAddr,
    give_way: CancellationToken,
}

impl Handshakes {
    pub(crate) fn new(listener: Listener, metrics: &ListenerMetrics) -> Self {
        Self(Arc::new(Inner {
            listener,
            metrics: metrics.clone(),
            unfinished: Mutex::default(),
            logged: Mutex::default(),
        }))
    }

    /// A turn for a client that has just connected. Never waits: somebody else's may end for it.
    pub(crate) fn enter(&self, ip: IpAddr) -> Turn {
        let give_way = CancellationToken::new();
        let id = self
            .0
            .unfinished
            .lock()
            .enter(owner(ip), give_way.clone(), MAX_UNFINISHED);
        Turn {
            handshakes: self.clone(),
            id,
            ip,
            give_way,
        }
    }

    fn failed(&self, ip: IpAddr, error: &HandshakeError) {
        self.0.metrics.handshake_failed(error.reason).inc();
        let listener = self.0.listener.name();
        // Port scans and health checks of load balancers do this all day.
        let usual = error.reason == HandshakeFailure::Disconnected;
        if usual || !self.is_due(ip, Instant::now()) {
            tracing::debug!(listener, peer = %ip, %error, "no TLS with a client");
        } else {
            tracing::warn!(listener, peer = %ip, reason = error.reason.name(), "{error}");
        }
    }

    /// Whether a failure of this client is logged; it is then not due for a while.
    fn is_due(&self, ip: IpAddr, now: Instant) -> bool {
        let mut logged = self.0.logged.lock();
        let recent = |at: &Instant| now.saturating_duration_since(*at) < LOG_INTERVAL;
        if logged.get(&ip).is_some_and(recent) {
            return false;
        }
        if logged.len() >= MAX_LOGGED {
            logged.retain(|_, at| recent(at));
            if logged.len() >= MAX_LOGGED {
                return false;
            }
        }
        logged.insert(ip, now);
        true
    }
}

impl Unfinished {
    /// Enters one more, and asks one to give way where that is more than `limit`.
    fn enter(&mut self, owner: IpAddr, give_way: CancellationToken, limit: usize) -> u64 {
        if self.entries.len() >= limit {
            self.make_room();
        }
        let id = self.next;
        self.next += 1;
        self.entries.push(Entry {
            id,
            owner,
            give_way,
        });
        id
    }

    fn make_room(&mut self) {
        let mut counts = HashMap::<IpAddr, usize>::new();
        for entry in &self.entries {
            *counts.entry(entry.owner).or_default() += 1;
        }
        let most = counts.values().copied().max().unwrap_or(0);
        let oldest = self
            .entries
            .iter()
            .position(|entry| counts[&entry.owner] == most);
        if let Some(oldest) = oldest {
            self.entries.remove(oldest).give_way.cancel();
        }
    }
}

/// Whom a handshake is counted for. Who has one IPv6 address has all of its network.
fn owner(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => ip,
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX)).into(),
    }
}

impl Turn {
    /// Does the handshake; `None` where it failed, which is counted and logged.
    pub(crate) async fn shake(
        &self,
        tls: &Tls,
        stream: TcpStream,
    ) -> Option<(TlsStream<TcpStream>, Option<PeerNames>)> {
        let result = tokio::select! {
            result = timeout(TIMEOUT, tls.accept(stream)) => {
                result.unwrap_or_else(|_| Err(HandshakeError::timeout(TIMEOUT)))
            }
            () = self.give_way.cancelled() => Err(HandshakeError::crowded()),
        };
        result
            .inspect_err(|error| self.handshakes.failed(self.ip, error))
            .ok()
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut unfinished = self.handshakes.0.unfinished.lock();
        unfinished.entries.retain(|entry| entry.id != self.id);
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::registry::Registry;

    use super::*;
    use crate::metrics::IngestMetrics;

    #[test]
    fn the_client_with_the_most_unfinished_handshakes_gives_way() {
        let mut unfinished = Unfinished::default();
        let mut enter = |ip: &str| {
            let give_way = CancellationToken::new();
            unfinished.enter(owner(ip.parse().unwrap()), give_way.clone(), 4);
            give_way
        };
        let good = enter("192.0.2.1");
        let flood: Vec<_> = (0..10).map(|_| enter("192.0.2.66")).collect();
        let other = enter("192.0.2.2");
        assert!(!good.is_cancelled() && !other.is_cancelled());
        let ended: Vec<_> = flood.iter().map(CancellationToken::is_cancelled).collect();
        assert_eq!(ended, [[true; 8].as_slice(), &[false; 2]].concat());
    }

    #[test]
    fn one_ipv6_network_is_one_client() {
        let of = |ip: &str| owner(ip.parse().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:2"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
    }

    #[test]
    fn failures_are_logged_once_per_client_and_minute_and_memory_is_bounded() {
        let metrics = IngestMetrics::register(&mut Registry::default());
        let listener = Listener::SyslogTls;
        let handshakes = Handshakes::new(listener, metrics.listener(listener));
        let start = Instant::now();
        let ip = |number: u32| IpAddr::from(number.to_be_bytes());
        assert!(handshakes.is_due(ip(1), start) && handshakes.is_due(ip(2), start));
        assert!(!handshakes.is_due(ip(1), start + Duration::from_secs(59)));
        assert!(handshakes.is_due(ip(1), start + LOG_INTERVAL));
        for number in 0..5_000 {
            handshakes.is_due(ip(number), start + Duration::from_secs(61));
        }
        assert_eq!(handshakes.0.logged.lock().len(), MAX_LOGGED);
        assert!(handshakes.is_due(ip(9_999), start + Duration::from_secs(200)));
        assert!(handshakes.0.logged.lock().len() < MAX_LOGGED);
    }
}

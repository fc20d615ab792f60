//! A pretend Moogsoft: takes what is posted to it, remembers it in bounded memory, and fails on
//! demand. For the demo, for tests and for trying a configuration; it prints nothing.

mod faults;
mod http;
mod ledger;

use std::net::SocketAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

pub use self::faults::{Fault, RateLimit};
pub use self::ledger::{Received, Stats};

use self::faults::Faults;
use self::ledger::Ledger;

/// A running receiver; ends when it is dropped.
pub struct MockMoog {
    address: SocketAddr,
    shared: Arc<Shared>,
    _end: DropGuard,
}

/// What connections and owner share.
struct Shared {
    state: Mutex<State>,
    /// Requests received so far.
    received: watch::Sender<u64>,
}

struct State {
    ledger: Ledger,
    faults: Faults,
    /// Accepted keys; empty: none is asked for.
    keys: Vec<String>,
    /// What `GET` answers: the sink's health.
    health: u16,
}

impl MockMoog {
    /// Listens on `address` (port 0: any free one).
    ///
    /// # Errors
    /// The address cannot be bound.
    pub async fn start(address: SocketAddr) -> std::io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                ledger: Ledger::default(),
                faults: Faults::default(),
                keys: Vec::new(),
                health: 200,
            }),
            received: watch::Sender::new(0),
        });
        let end = CancellationToken::new();
        tokio::spawn(http::serve(listener, shared.clone(), end.clone()));
        Ok(Self {
            address,
            shared,
            _end: end.drop_guard(),
        })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// The address to give to a forwarder.
    pub fn url(&self) -> String {
        format!("http://{}/events", self.address)
    }

    /// The figures so far; `period` is the window of [`Stats::most_in_window`].
    pub fn stats(&self, period: std::time::Duration) -> Stats {
        self.shared.state.lock().ledger.stats(period)
    }

    /// The last requests, oldest first, at most `limit`.
    pub fn received(&self, limit: usize) -> Vec<Received> {
        self.shared.state.lock().ledger.received(limit)
    }

    /// How often a request with this `external_id` was answered with 2xx.
    pub fn delivered(&self, external_id: &str) -> u32 {
        self.shared.state.lock().ledger.delivered(external_id)
    }

    /// Replaces all faults. For each request the first fault that applies is taken.
    pub fn set_faults(&self, faults: impl IntoIterator<Item = Fault>) {
        self.shared.state.lock().faults.set(faults);
    }

    /// The keys to accept from now on; with none, every request is.
    pub fn set_keys(&self, keys: impl IntoIterator<Item = impl Into<String>>) {
        self.shared.state.lock().keys = keys.into_iter().map(Into::into).collect();
    }

    /// What `GET /health` answers from now on.
    pub fn set_health(&self, status: u16) {
        self.shared.state.lock().health = status;
    }

    /// Tells how many requests were received, now and whenever there is another one.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.shared.received.subscribe()
    }
}

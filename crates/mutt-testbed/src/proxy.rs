//! A TCP proxy in this process that makes trouble on demand: delays, cut lines, silence.
//!
//! Forwards bytes without looking at them, so it serves TLS as well.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::process::wait_until;
use crate::workspace::Port;

/// How long the proxy tries to reach the server for one connection.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// What happens to bytes that arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flow {
    Forward,
    /// Nothing moves, connections stay.
    Freeze,
    /// Requests reach the server, its answers vanish.
    LoseAnswers,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    ToServer,
    ToClient,
}

#[derive(Debug)]
struct State {
    target: SocketAddr,
    delay: Duration,
    flow: Flow,
    /// False while the listener is to close.
    accepting: bool,
    next_id: u64,
    connections: Vec<Connection>,
    accepted: u64,
}

#[derive(Debug)]
struct Connection {
    id: u64,
    client: TcpStream,
    server: TcpStream,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
        self.changed.notify_all();
    }
}

/// A proxy in front of one server; its connections end when it is dropped.
#[derive(Debug)]
pub struct Proxy {
    port: Port,
    shared: Arc<Shared>,
    listener: Mutex<Option<JoinHandle<()>>>,
}

impl Proxy {
    /// Starts a proxy to `target`, which need not listen yet.
    ///
    /// # Panics
    /// No port is free.
    pub fn start(target: SocketAddr) -> Self {
        Self::try_start(target).unwrap_or_else(|error| panic!("{error:#}"))
    }

    /// Starts a proxy to a port on 127.0.0.1.
    ///
    /// # Panics
    /// No port is free.
    pub fn to_port(port: u16) -> Self {
        Self::start(SocketAddr::from(([127, 0, 0, 1], port)))
    }

    fn try_start(target: SocketAddr) -> Result<Self> {
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                target,
                delay: Duration::ZERO,
                flow: Flow::Forward,
                accepting: true,
                next_id: 0,
                connections: Vec::new(),
                accepted: 0,
            }),
            changed: Condvar::new(),
        });
        let proxy = Self {
            port: Port::free()?,
            shared,
            listener: Mutex::new(None),
        };
        proxy.listen()?;
        Ok(proxy)
    }

    fn listen(&self) -> Result<()> {
        let mut slot = self.listener.lock().unwrap_or_else(PoisonError::into_inner);
        if slot.is_some() {
            return Ok(());
        }
        let listener = TcpListener::bind(("127.0.0.1", self.port()))
            .with_context(|| format!("the proxy cannot listen on port {}", self.port()))?;
        let shared = Arc::clone(&self.shared);
        shared.state().accepting = true;
        *slot = Some(thread::spawn(move || accept(&listener, &shared)));
        Ok(())
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port()))
    }

    /// The port of [`address`](Self::address).
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// Connections that are open now.
    pub fn connections(&self) -> usize {
        self.shared.state().connections.len()
    }

    /// Connections that were accepted since the start.
    pub fn accepted(&self) -> u64 {
        self.shared.state().accepted
    }

    /// From now on each piece of data waits this long before it goes on, in both directions.
    pub fn delay(&self, delay: Duration) {
        self.shared.change(|state| state.delay = delay);
    }

    /// Sends new connections to another server.
    pub fn retarget(&self, target: SocketAddr) {
        self.shared.change(|state| state.target = target);
    }

    /// Closes all connections; new ones are accepted.
    pub fn cut(&self) {
        self.shared.change(|state| {
            for connection in state.connections.drain(..) {
                let _ = connection.client.shutdown(Shutdown::Both);
                let _ = connection.server.shutdown(Shutdown::Both);
            }
        });
    }

    /// New connections are refused from now on; open ones stay.
    pub fn refuse(&self) {
        let mut slot = self.listener.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(thread) = slot.take() else {
            return;
        };
        self.shared.change(|state| state.accepting = false);
        // Wakes the thread, which then closes the listener.
        let _ = TcpStream::connect(self.address());
        let _ = thread.join();
    }

    /// New connections are accepted again after [`refuse`](Self::refuse).
    ///
    /// # Panics
    /// The port cannot be bound again.
    pub fn accept(&self) {
        let mut result = Ok(());
        wait_until(Duration::from_secs(10), || {
            result = self.listen();
            result.is_ok()
        });
        result.unwrap_or_else(|error| panic!("{error:#}"));
    }

    /// Nothing moves any more, and nobody is told: a half-open network. New connections are
    /// accepted and get no answer.
    pub fn freeze(&self) {
        self.shared.change(|state| state.flow = Flow::Freeze);
    }

    /// Requests reach the server, but its answers are thrown away. Such connections are of no use
    /// later: [`cut`](Self::cut) them before [`thaw`](Self::thaw).
    pub fn lose_answers(&self) {
        self.shared.change(|state| state.flow = Flow::LoseAnswers);
    }

    /// Ends [`freeze`](Self::freeze) and [`lose_answers`](Self::lose_answers): what was held goes
    /// on.
    pub fn thaw(&self) {
        self.shared.change(|state| state.flow = Flow::Forward);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.refuse();
        self.cut();
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for client in listener.incoming() {
        if !shared.state().accepting {
            return;
        }
        let Ok(client) = client else {
            continue;
        };
        shared.state().accepted += 1;
        let shared = Arc::clone(shared);
        // Not here: a server that does not answer must not stop others from connecting.
        thread::spawn(move || connect(client, &shared));
    }
}

fn connect(client: TcpStream, shared: &Arc<Shared>) {
    let target = shared.state().target;
    // A client whose server is away sees its connection end.
    let Ok(server) = TcpStream::connect_timeout(&target, CONNECT_LIMIT) else {
        return;
    };
    let _ = client.set_nodelay(true);
    let _ = server.set_nodelay(true);
    let (Ok(from_client), Ok(from_server)) = (client.try_clone(), server.try_clone()) else {
        return;
    };
    let (Ok(to_client), Ok(to_server)) = (client.try_clone(), server.try_clone()) else {
        return;
    };
    let id = {
        let mut state = shared.state();
        state.next_id += 1;
        let id = state.next_id;
        state.connections.push(Connection { id, client, server });
        id
    };
    let back = {
        let shared = Arc::clone(shared);
        thread::spawn(move || pump(id, from_server, to_client, Direction::ToClient, &shared))
    };
    pump(id, from_client, to_server, Direction::ToServer, shared);
    let _ = back.join();
    shared.change(|state| state.connections.retain(|connection| connection.id != id));
}

/// Moves bytes until either side ends.
fn pump(
    id: u64,
    mut from: TcpStream,
    mut to: TcpStream,
    direction: Direction,
    shared: &Arc<Shared>,
) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let length = match from.read(&mut buffer) {
            Ok(0) | Err(_) => break,
            Ok(length) => length,
        };
        let Some((delay, flow)) = released(id, shared) else {
            break;
        };
        if flow == Flow::LoseAnswers && direction == Direction::ToClient {
            continue;
        }
        if !delay.is_zero() {
            thread::sleep(delay);
            // It may have been frozen or cut while the bytes were under way.
            if released(id, shared).is_none() {
                break;
            }
        }
        if to.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    // The news of an end is held as well.
    if released(id, shared).is_some() {
        let _ = to.shutdown(Shutdown::Write);
        let _ = from.shutdown(Shutdown::Read);
    }
}

/// Waits while the proxy is frozen; none where the connection was cut.
fn released(id: u64, shared: &Shared) -> Option<(Duration, Flow)> {
    let mut state = shared.state();
    loop {
        if !state
            .connections
            .iter()
            .any(|connection| connection.id == id)
        {
            return None;
        }
        if state.flow != Flow::Freeze {
            return Some((state.delay, state.flow));
        }
        state = shared
            .changed
            .wait(state)
            .unwrap_or_else(PoisonError::into_inner);
    }
}

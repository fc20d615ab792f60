//! Listening for connections, plain or over TLS, for every protocol that comes in a stream.
//!
//! Accepting never stops: some firewalls stop passing traffic when their syslog server does not
//! answer. Owns the number of connections, their share of memory, TLS handshakes and an end in order.
//! Knows nothing of what is said over a connection: that is the [`Conversation`]'s.

use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use mutt_http::{PeerNames, Tls};
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::task::coop::unconstrained;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::handshakes::Handshakes;
use crate::metrics::{IngestMetrics, Listener, ListenerMetrics};
use crate::sockets::{ListenError, bind_tcp};

/// Bytes of events at which one connection's batch is full: at most (within 1 MiB also with the event
/// that fills it, unless that is a giant) and at least.
const BATCH_BYTES: (usize, usize) = ((1 << 20) - (64 << 10), 16 << 10);

/// The pause after a failed accept (no file descriptors, no memory).
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(100);

/// How often a failing accept is logged.
const WARNING_INTERVAL: Duration = Duration::from_secs(10);

/// When a silent peer is asked whether it is still there, and how often before it is not.
const KEEPALIVE: (Duration, Duration, u32) = (Duration::from_mins(1), Duration::from_secs(15), 4);

/// How long a peer may take to read what was left to say when its connection ends.
const FAREWELL: Duration = Duration::from_secs(1);

/// How connections are listened for.
#[derive(Clone, Debug)]
pub(crate) struct StreamOptions {
    /// Whose connections these are: where they are counted.
    pub(crate) listener: Listener,
    /// Where to listen; port 0 takes a free one.
    pub(crate) addr: SocketAddr,
    /// The setting that names the address, for error messages.
    pub(crate) setting: &'static str,
    /// Connections at a time, at least 1; a further one is accepted and closed, and counted.
    pub(crate) max_connections: usize,
    /// What all connections together may hold in batches, in bytes: see [`Client::batch_bytes`].
    pub(crate) memory: usize,
    /// TLS and nothing else, where it is set.
    pub(crate) tls: Option<Arc<Tls>>,
}

/// What is said over each connection of a listener.
pub(crate) trait Conversation: Send + Sync + 'static {
    /// Serves one connection until it ends; after `stop` is cancelled, brings what was read already to
    /// its end and returns soon. The stream is closed afterwards. Never dropped before it returns.
    ///
    /// # Errors
    /// The connection broke; it is only logged.
    fn hold<S>(
        &self,
        stream: &mut S,
        client: &Client,
        stop: &CancellationToken,
    ) -> impl Future<Output = io::Result<()>> + Send
    where
        S: AsyncRead + AsyncWrite + Unpin + Send;
}

/// Who is at the other end of a connection, and what the connection may take.
pub(crate) struct Client {
    /// Where the connection comes from.
    pub(crate) ip: IpAddr,
    /// What its certificate says, where the listener asks for one: genuine and permitted.
    pub(crate) names: Option<PeerNames>,
    place: Place,
}

impl Client {
    /// The batch size, in bytes, at which all connections together stay within their memory where
    /// each holds one batch that forms and one under way, of which the engine has a copy. It changes
    /// with the number of connections: ask again for each batch.
    pub(crate) fn batch_bytes(&self) -> usize {
        let shared = &self.place.0;
        let connections = shared.connections.load(Ordering::Relaxed).max(1);
        (shared.memory / connections / 3).clamp(BATCH_BYTES.1, BATCH_BYTES.0)
    }
}

/// A socket that listens; its connections are not accepted yet.
#[derive(Debug)]
pub(crate) struct Streams {
    socket: TcpListener,
    addr: SocketAddr,
    tls: Option<Arc<Tls>>,
    shared: Arc<Shared>,
}

/// What the connections of one listener have in common.
#[derive(Debug)]
struct Shared {
    listener: Listener,
    metrics: ListenerMetrics,
    connections: AtomicUsize,
    max_connections: usize,
    memory: usize,
    handshakes: Handshakes,
}

/// One of the connections; it ends when this is dropped.
struct Place(Arc<Shared>);

impl Place {
    /// A place for one more connection, if there is one.
    fn take(shared: &Arc<Shared>) -> Option<Self> {
        let more = |open| (open < shared.max_connections.max(1)).then_some(open + 1);
        let taken = shared
            .connections
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        if taken.is_err() {
            shared.metrics.refused.inc();
            return None;
        }
        shared.metrics.connections.inc();
        Some(Self(Arc::clone(shared)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
        self.0.metrics.connections.dec();
    }
}

impl Streams {
    /// Opens the socket. From here on the kernel accepts connections. Needs a tokio runtime.
    ///
    /// # Errors
    /// The address cannot be listened on; the text says what to do.
    pub(crate) fn bind(
        options: StreamOptions,
        metrics: &IngestMetrics,
    ) -> Result<Self, ListenError> {
        let (addr, setting) = (options.addr, options.setting);
        let other = |source| ListenError::Other {
            protocol: "TCP",
            addr,
            setting,
            source,
        };
        let socket = TcpListener::from_std(bind_tcp(addr, setting)?).map_err(other)?;
        let addr = socket.local_addr().map_err(other)?;
        let metrics = metrics.listener(options.listener).clone();
        let shared = Arc::new(Shared {
            listener: options.listener,
            handshakes: Handshakes::new(options.listener, &metrics),
            metrics,
            connections: AtomicUsize::new(0),
            max_connections: options.max_connections,
            memory: options.memory,
        });
        Ok(Self {
            socket,
            addr,
            tls: options.tls,
            shared,
        })
    }

    /// Where it listens; the port is the real one.
    pub(crate) fn local_addr(&self) -> SocketAddr {
        self.addr
    }

    /// Accepts until `stop` is cancelled, then waits until every conversation returned.
    pub(crate) async fn run<C: Conversation>(self, conversation: Arc<C>, stop: CancellationToken) {
        let mut connections = JoinSet::new();
        let mut warned = None;
        loop {
            tokio::select! {
                accepted = self.socket.accept() => match accepted {
                    Ok((stream, peer)) => {
                        self.begin(stream, peer, &conversation, &stop, &mut connections);
                    }
                    // The peer was gone already: its own affair.
                    Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                    Err(error) => {
                        if warned.is_none_or(|at: Instant| at.elapsed() > WARNING_INTERVAL) {
                            warned = Some(Instant::now());
                            let listener = self.shared.listener.name();
                            tracing::warn!(listener, %error, "cannot accept connections; trying again");
                        }
                        tokio::time::sleep(PAUSE_AFTER_ERROR).await;
                    }
                },
                // Ended connections are forgotten; a panic in one does not end the others.
                Some(_) = connections.join_next() => {}
                () = stop.cancelled() => break,
            }
        }
        // Closing the listener resets connections that the kernel completed already; their first
        // messages may be in, and their senders count them as sent. Over TLS none can be.
        if self.tls.is_none() {
            while let Some((stream, peer)) = self.accept_now().await {
                self.begin(stream, peer, &conversation, &stop, &mut connections);
            }
        }
        drop(self.socket);
        while connections.join_next().await.is_some() {}
    }

    /// A connection that waits already.
    async fn accept_now(&self) -> Option<(TcpStream, SocketAddr)> {
        // Not held to a task's budget: its end would look like an empty queue.
        unconstrained(poll_fn(|cx| match self.socket.poll_accept(cx) {
            Poll::Ready(accepted) => Poll::Ready(accepted.ok()),
            Poll::Pending => Poll::Ready(None),
        }))
        .await
    }

    fn begin<C: Conversation>(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        conversation: &Arc<C>,
        stop: &CancellationToken,
        connections: &mut JoinSet<()>,
    ) {
        let listener = self.shared.listener.name();
        let keepalive = TcpKeepalive::new()
            .with_time(KEEPALIVE.0)
            .with_interval(KEEPALIVE.1)
            .with_retries(KEEPALIVE.2);
        if let Err(error) = SockRef::from(&stream).set_tcp_keepalive(&keepalive) {
            tracing::debug!(listener, %peer, %error, "no keep-alive on this connection");
        }
        let shared = Arc::clone(&self.shared);
        let (conversation, stop) = (Arc::clone(conversation), stop.clone());
        let ip = peer.ip().to_canonical();
        let Some(tls) = &self.tls else {
            if let Some(client) = admit(&shared, ip, None) {
                connections.spawn(serve(stream, client, conversation, stop));
            }
            return;
        };
        // A client that does not finish its handshake takes nobody's place.
        let tls = Arc::clone(tls);
        let turn = shared.handshakes.enter(ip);
        connections.spawn(async move {
            let shaken = tokio::select! {
                shaken = turn.shake(&tls, stream) => shaken,
                () = stop.cancelled() => return,
            };
            drop(turn);
            if let Some((stream, names)) = shaken
                && let Some(client) = admit(&shared, ip, names)
            {
                serve(stream, client, conversation, stop).await;
            }
        });
    }
}

/// Gives a client a place; `None` where there are too many.
fn admit(shared: &Arc<Shared>, ip: IpAddr, names: Option<PeerNames>) -> Option<Client> {
    let place = Place::take(shared);
    if place.is_none() {
        let (listener, limit) = (shared.listener.name(), shared.max_connections);
        tracing::debug!(listener, peer = %ip, limit, "too many connections; this one is closed");
    }
    Some(Client {
        ip,
        names,
        place: place?,
    })
}

async fn serve<S, C>(mut stream: S, client: Client, conversation: Arc<C>, stop: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
    C: Conversation,
{
    let (listener, peer) = (client.place.0.listener.name(), client.ip);
    if let Some(names) = &client.names {
        tracing::debug!(listener, %peer, %names, "a client is known by its certificate");
    }
    if let Err(error) = conversation.hold(&mut stream, &client, &stop).await {
        tracing::debug!(listener, %peer, %error, "a connection broke");
    }
    // Over TLS the peer is told that this is the end and no attack. Whether it listens is its own
    // affair.
    let _ = timeout(FAREWELL, stream.shutdown()).await;
}

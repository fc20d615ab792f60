//! Syslog over TCP (RFC 6587): a stream of messages, framed by count or by newline.
//!
//! Accepting never stops: some firewalls stop passing traffic when their syslog server does not
//! answer. A connection may be silent for ever; it then holds no buffers. One that sends holds at
//! most one message of the greatest length, one read, and two batches of a size that all connections
//! together keep within a bound. What a connection sent is stored in its order. While the engine
//! refuses, the connection is not read, so that TCP holds the sender back, or by option its events
//! are shed and counted. Does not know how a message is parsed or stored.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use mutt_event::syslog::{Framer, Step};
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::task::coop::unconstrained;
use tokio_util::sync::CancellationToken;

use crate::admission::Admission;
use crate::metrics::Listener;
use crate::pump::{Filled, Forming, Intake, Outbox, Overflow, pump};
use crate::sockets::{ListenError, bind_tcp};
use crate::syslog_lines::{Receipt, SyslogLines};

/// Bytes taken from a connection in one read.
const READ_BYTES: usize = 64 << 10;

/// Bytes of events at which one connection's batch is full: at most (within 1 MiB also with the event
/// that fills it, unless that is a giant) and at least.
const BATCH_BYTES: (usize, usize) = ((1 << 20) - (64 << 10), 16 << 10);

/// The pause after a failed accept (no file descriptors, no memory).
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(100);

/// How often a failing accept is logged.
const WARNING_INTERVAL: Duration = Duration::from_secs(10);

/// When a silent peer is asked whether it is still there, and how often before it is not.
const KEEPALIVE: (Duration, Duration, u32) = (Duration::from_mins(1), Duration::from_secs(15), 4);

/// How syslog is received over TCP.
#[derive(Clone, Debug)]
pub struct SyslogTcpOptions {
    /// Where to listen; port 0 takes a free one.
    pub addr: SocketAddr,
    /// The longest message in bytes; a longer one is cut and marked. Default 64 KiB.
    pub max_line: usize,
    /// Connections at a time, at least 1; a further one is accepted and closed, and counted.
    /// Default 4,096.
    pub max_connections: usize,
    /// What becomes of events while the queue is full or nothing can be stored. Default
    /// [`Overflow::Backpressure`].
    pub overflow: Overflow,
    /// What the batches of all connections together may hold, in bytes, as long as that leaves each
    /// of them 16 KiB per batch. Default 64 MiB.
    pub memory: usize,
    /// How long messages that were read already may take to become durable after the order to stop.
    /// Default 5 s.
    pub grace: Duration,
}

impl SyslogTcpOptions {
    /// The defaults, at this address.
    pub fn new(addr: SocketAddr) -> Self {
        Self {
            addr,
            max_line: 64 << 10,
            max_connections: 4_096,
            overflow: Overflow::default(),
            memory: 64 << 20,
            grace: Duration::from_secs(5),
        }
    }
}

/// Syslog over TCP, bound and not running yet.
#[derive(Debug)]
pub struct SyslogTcp {
    listener: TcpListener,
    addr: SocketAddr,
    shared: Arc<Shared>,
}

/// What the connections of one listener have in common.
#[derive(Debug)]
struct Shared {
    admission: Admission,
    options: SyslogTcpOptions,
    lines: SyslogLines,
    connections: AtomicUsize,
}

impl Shared {
    /// The batch size at which all connections together stay within their memory: each holds one
    /// batch that forms and one under way, of which the engine has a copy.
    fn batch_bytes(&self) -> usize {
        let connections = self.connections.load(Ordering::Relaxed).max(1);
        (self.options.memory / connections / 3).clamp(BATCH_BYTES.1, BATCH_BYTES.0)
    }
}

/// One of the connections; it ends when this is dropped.
struct Place(Arc<Shared>);

impl Place {
    /// A place for one more connection, if there is one.
    fn take(shared: &Arc<Shared>) -> Option<Self> {
        // Only the accepting task adds, so that nobody can pass the limit in between.
        if shared.connections.load(Ordering::Relaxed) >= shared.options.max_connections {
            return None;
        }
        shared.connections.fetch_add(1, Ordering::Relaxed);
        shared
            .admission
            .metrics()
            .listener(Listener::SyslogTcp)
            .connections
            .inc();
        Some(Self(Arc::clone(shared)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
        self.0
            .admission
            .metrics()
            .listener(Listener::SyslogTcp)
            .connections
            .dec();
    }
}

impl SyslogTcp {
    /// Opens the socket. From here on the kernel accepts connections. Needs a tokio runtime.
    ///
    /// # Errors
    /// The address cannot be listened on; the text says what to do.
    pub fn bind(options: SyslogTcpOptions, admission: Admission) -> Result<Self, ListenError> {
        const SETTING: &str = "SYSLOG_TCP_ADDR";
        let other = |source| ListenError::Other {
            protocol: "TCP",
            addr: options.addr,
            setting: SETTING,
            source,
        };
        let listener = bind_tcp(options.addr, SETTING)?;
        let listener = TcpListener::from_std(listener).map_err(other)?;
        let addr = listener.local_addr().map_err(other)?;
        let lines = SyslogLines::new(admission.metrics(), Listener::SyslogTcp, options.max_line);
        let connections = AtomicUsize::new(0);
        let shared = Arc::new(Shared {
            admission,
            options,
            lines,
            connections,
        });
        Ok(Self {
            listener,
            addr,
            shared,
        })
    }

    /// Where it listens; the port is the real one.
    pub fn local_addr(&self) -> SocketAddr {
        self.addr
    }

    /// Accepts and receives until `stop` is cancelled, then stores what was received and returns.
    pub async fn run(self, stop: CancellationToken) {
        let mut connections = JoinSet::new();
        let mut warned = None;
        loop {
            tokio::select! {
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, peer)) => self.serve(stream, peer, &stop, &mut connections),
                    Err(error) => {
                        if warned.is_none_or(|at: Instant| at.elapsed() > WARNING_INTERVAL) {
                            warned = Some(Instant::now());
                            tracing::warn!(%error, "cannot accept syslog connections; trying again");
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
        // messages may be in, and their senders count them as sent.
        while let Some((stream, peer)) = self.accept_now().await {
            self.serve(stream, peer, &stop, &mut connections);
        }
        drop(self.listener);
        while connections.join_next().await.is_some() {}
    }

    /// A connection that waits already.
    async fn accept_now(&self) -> Option<(TcpStream, SocketAddr)> {
        // Not held to a task's budget: its end would look like an empty queue.
        unconstrained(poll_fn(|cx| match self.listener.poll_accept(cx) {
            Poll::Ready(accepted) => Poll::Ready(accepted.ok()),
            Poll::Pending => Poll::Ready(None),
        }))
        .await
    }

    fn serve(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        stop: &CancellationToken,
        connections: &mut JoinSet<()>,
    ) {
        let Some(place) = Place::take(&self.shared) else {
            self.shared
                .admission
                .metrics()
                .listener(Listener::SyslogTcp)
                .refused
                .inc();
            tracing::debug!(%peer, "too many syslog connections; this one is closed");
            return;
        };
        let keepalive = TcpKeepalive::new()
            .with_time(KEEPALIVE.0)
            .with_interval(KEEPALIVE.1)
            .with_retries(KEEPALIVE.2);
        if let Err(error) = SockRef::from(&stream).set_tcp_keepalive(&keepalive) {
            tracing::debug!(%peer, %error, "no keep-alive on this syslog connection");
        }
        connections.spawn(receive(stream, peer.ip(), place, stop.clone()));
    }
}

/// Receives one connection's messages until it ends or `stop` is cancelled.
async fn receive<S: AsyncRead + Unpin + Send>(
    stream: S,
    peer: IpAddr,
    place: Place,
    stop: CancellationToken,
) {
    let Shared {
        admission, options, ..
    } = &*place.0;
    let mut intake = StreamIntake {
        stream,
        peer: peer.to_canonical(),
        framer: Framer::new(options.max_line),
        buffer: Vec::new(),
        done: 0,
        receipt: Receipt::now(),
        lines: place.0.lines.clone(),
    };
    // One batch under way at a time: a refused one is never overtaken by the next.
    let mut outbox = Outbox::new(admission.clone(), Listener::SyslogTcp, options.overflow, 1);
    let batch_bytes = || place.0.batch_bytes();
    let result = pump(&mut intake, &mut outbox, &stop, options.grace, batch_bytes).await;
    if let Err(error) = result {
        tracing::debug!(%peer, %error, "a syslog connection broke");
    }
}

struct StreamIntake<S> {
    stream: S,
    peer: IpAddr,
    framer: Framer,
    /// What was read and is not a whole message yet, or did not fit into the last batch.
    buffer: Vec<u8>,
    /// How much of the buffer is done with.
    done: usize,
    receipt: Receipt,
    lines: SyslogLines,
}

impl<S> StreamIntake<S> {
    /// Makes events of the whole messages in the buffer. Returns whether all of them fitted.
    fn split(&mut self, until_full: bool, forming: &mut Forming) -> bool {
        loop {
            if until_full && forming.is_full() {
                return false;
            }
            match self.framer.next(&self.buffer[self.done..]) {
                Step::Line {
                    range,
                    consumed,
                    notes,
                } => {
                    let line = &self.buffer[self.done..][range];
                    self.lines
                        .add(line, notes, self.peer, &self.receipt, forming);
                    self.done += consumed;
                }
                Step::Skip(bytes) => self.done += bytes,
                Step::NeedMore => return true,
            }
        }
    }

    /// Forgets what is done with. A connection from which nothing is left holds no memory.
    fn compact(&mut self) {
        if self.done == self.buffer.len() {
            self.buffer = Vec::new();
        } else {
            self.buffer.drain(..self.done);
        }
        self.done = 0;
    }
}

impl<S: AsyncRead + Unpin> StreamIntake<S> {
    /// Reads once; `false` at the end of the stream.
    fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<io::Result<bool>> {
        thread_local! {
            // Where reads go, so that a connection needs a buffer of its own only for what it sent.
            static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BYTES].into());
        }
        SCRATCH.with_borrow_mut(|scratch| {
            let mut read = ReadBuf::new(scratch);
            ready!(Pin::new(&mut self.stream).poll_read(context, &mut read))?;
            self.buffer.extend_from_slice(read.filled());
            Poll::Ready(Ok(!read.filled().is_empty()))
        })
    }
}

impl<S: AsyncRead + Unpin + Send> Intake for StreamIntake<S> {
    fn poll_fill(
        &mut self,
        context: &mut Context<'_>,
        forming: &mut Forming,
    ) -> Poll<io::Result<Filled>> {
        let mut any = false;
        loop {
            if !self.split(true, forming) {
                return Poll::Ready(Ok(Filled::Full));
            }
            self.compact();
            match self.poll_read(context) {
                Poll::Ready(Ok(true)) => {
                    self.receipt = Receipt::now();
                    any = true;
                }
                Poll::Ready(Ok(false)) => return Poll::Ready(Ok(Filled::End)),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending if any => return Poll::Ready(Ok(Filled::Some)),
                Poll::Pending => {
                    // The sender may stay silent for hours in the middle of a message.
                    self.buffer.shrink_to_fit();
                    return Poll::Pending;
                }
            }
        }
    }

    fn finish(&mut self, forming: &mut Forming) {
        self.split(false, forming);
        let rest = &self.buffer[self.done..];
        if let Some((range, notes)) = self.framer.finish(rest) {
            self.lines
                .add(&rest[range], notes, self.peer, &self.receipt, forming);
        }
        self.buffer = Vec::new();
        self.done = 0;
    }
}

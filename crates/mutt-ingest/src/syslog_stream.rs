//! Syslog over TCP (RFC 6587) and TLS (RFC 5425): a stream of messages, framed by count or by newline.
//!
//! A connection may be silent for ever; it then holds no buffers. One that sends holds at
//! most one message of the greatest length, one read, and two batches of a size that all connections
//! together keep within a bound. What a connection sent is stored in its order. While the engine
//! refuses, the connection is not read, so that TCP holds the sender back, or by option its events
//! are shed and counted. Does not know how a message is parsed or stored.

use std::cell::RefCell;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use mutt_event::syslog::{Framer, Step};
use mutt_http::Tls;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::sync::CancellationToken;

use crate::admission::Admission;
use crate::metrics::Listener;
use crate::pump::{Filled, Forming, Intake, Outbox, Overflow, pump};
use crate::sockets::ListenError;
use crate::streams::{Client, Conversation, StreamOptions, Streams};
use crate::syslog_lines::{Receipt, SyslogLines};

/// Bytes taken from a connection in one read.
const READ_BYTES: usize = 64 << 10;

/// How syslog is received over TCP or TLS.
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
    /// TLS and nothing else, where it is set. Default none.
    pub tls: Option<Arc<Tls>>,
}

impl SyslogTcpOptions {
    /// The defaults, at this address, without TLS.
    pub fn new(addr: SocketAddr) -> Self {
        Self {
            addr,
            max_line: 64 << 10,
            max_connections: 4_096,
            overflow: Overflow::default(),
            memory: 64 << 20,
            grace: Duration::from_secs(5),
            tls: None,
        }
    }
}

/// Syslog over TCP or TLS, bound and not running yet.
#[derive(Debug)]
pub struct SyslogTcp {
    streams: Streams,
    syslog: Arc<Syslog>,
}

/// What all connections of one listener do alike.
#[derive(Debug)]
struct Syslog {
    admission: Admission,
    listener: Listener,
    lines: SyslogLines,
    max_line: usize,
    overflow: Overflow,
    grace: Duration,
}

impl SyslogTcp {
    /// Opens the socket. From here on the kernel accepts connections. Needs a tokio runtime.
    ///
    /// # Errors
    /// The address cannot be listened on; the text says what to do.
    pub fn bind(options: SyslogTcpOptions, admission: Admission) -> Result<Self, ListenError> {
        let (listener, setting) = match options.tls {
            Some(_) => (Listener::SyslogTls, "SYSLOG_TLS_ADDR"),
            None => (Listener::SyslogTcp, "SYSLOG_TCP_ADDR"),
        };
        let streams = StreamOptions {
            listener,
            addr: options.addr,
            setting,
            max_connections: options.max_connections,
            memory: options.memory,
            tls: options.tls,
        };
        let streams = Streams::bind(streams, admission.metrics())?;
        let lines = SyslogLines::new(&admission, listener, options.max_line);
        let syslog = Arc::new(Syslog {
            admission,
            listener,
            lines,
            max_line: options.max_line,
            overflow: options.overflow,
            grace: options.grace,
        });
        Ok(Self { streams, syslog })
    }

    /// Where it listens; the port is the real one.
    pub fn local_addr(&self) -> SocketAddr {
        self.streams.local_addr()
    }

    /// Accepts and receives until `stop` is cancelled, then stores what was received and returns.
    pub async fn run(self, stop: CancellationToken) {
        self.streams.run(self.syslog, stop).await;
    }
}

impl Conversation for Syslog {
    async fn hold<S>(
        &self,
        stream: &mut S,
        client: &Client,
        stop: &CancellationToken,
    ) -> io::Result<()>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
    {
        let mut intake = StreamIntake {
            stream,
            peer: client.ip,
            framer: Framer::new(self.max_line),
            buffer: Vec::new(),
            done: 0,
            receipt: Receipt::now(),
            lines: self.lines.clone(),
        };
        // One batch under way at a time: a refused one is never overtaken by the next.
        let mut outbox = Outbox::new(self.admission.clone(), self.listener, self.overflow, 1);
        let batch_bytes = || client.batch_bytes();
        pump(&mut intake, &mut outbox, stop, self.grace, batch_bytes).await
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
        let before = forming.len();
        let mut any = false;
        loop {
            // What the last batch had no room for may be all there is, with nothing to read behind it.
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
                Poll::Pending if any || forming.len() > before => {
                    return Poll::Ready(Ok(Filled::Some));
                }
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

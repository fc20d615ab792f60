//! RELP, rsyslog's reliable event logging protocol, as a server, plain or over TLS.
//!
//! A message is acknowledged once it is durable, and not before. Knows the protocol; how streams are
//! listened for is `streams`' business, what a message means `SyslogLines`'.
//!
//! # What is lost and what comes twice
//!
//! The sender keeps each message until its response, and sends those without one again over its next
//! connection. When MUTT, its machine or the network dies:
//!
//! | between | the sender | afterwards |
//! |---|---|---|
//! | receipt and commit | got no response | it sends again: once |
//! | commit and response | got no response | it sends again: twice |
//! | response and its arrival | got no response | it sends again: twice |
//! | arrival | has its response | once |
//!
//! Nothing is lost that the sender still has. What can come twice are messages that were committed
//! and whose response did not arrive, of one connection at most its sender's window (librelp: 128).
//! RELP gives a message no identity that outlives the connection, so no server can tell the repeat
//! from a second message of the same text. Two things would make repeats without any crash, and are
//! avoided: a response that waits for other messages than its own (a batch that the queue has room
//! for in part is acknowledged in part), and frames of a connection that is gone, whose sender is
//! sending them again already (what the engine refuses is then dropped, not offered until it is
//! taken).
//!
//! A message is refused (500) only where sending it again can never help, because librelp forgets
//! what was refused. While MUTT cannot store it says nothing, and the sender waits; after its
//! time-out (rsyslog: 90 s) it connects anew.

mod answers;
pub mod frame;
mod inbox;
mod session;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mutt_http::Tls;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;

use self::session::Terms;
use crate::admission::Admission;
use crate::metrics::Listener;
use crate::sockets::ListenError;
use crate::streams::{Client, Conversation, StreamOptions, Streams};
use crate::syslog_lines::SyslogLines;

/// How RELP is received.
#[derive(Clone, Debug)]
pub struct RelpOptions {
    /// Where to listen; port 0 takes a free one.
    pub addr: SocketAddr,
    /// The longest message in bytes; a longer one is cut, marked and acknowledged. Default 64 KiB.
    pub max_line: usize,
    /// Connections at a time, at least 1; a further one is accepted and closed, and counted.
    /// Default 4,096.
    pub max_connections: usize,
    /// What the batches of all connections together may hold, in bytes, as long as that leaves each
    /// of them 16 KiB per batch. Default 64 MiB.
    pub memory: usize,
    /// How long messages that were read already may take to become durable after the order to stop.
    /// What is not durable then is not acknowledged. Default 5 s.
    pub grace: Duration,
    /// TLS and nothing else, where it is set. Default none.
    pub tls: Option<Arc<Tls>>,
}

impl RelpOptions {
    /// The defaults, at this address, without TLS.
    pub fn new(addr: SocketAddr) -> Self {
        Self {
            addr,
            max_line: 64 << 10,
            max_connections: 4_096,
            memory: 64 << 20,
            grace: Duration::from_secs(5),
            tls: None,
        }
    }
}

/// A RELP server, bound and not running yet.
#[derive(Debug)]
pub struct Relp {
    streams: Streams,
    terms: Arc<Terms>,
}

impl Relp {
    /// Opens the socket. From here on the kernel accepts connections. Needs a tokio runtime.
    ///
    /// # Errors
    /// The address cannot be listened on; the text says what to do.
    pub fn bind(options: RelpOptions, admission: Admission) -> Result<Self, ListenError> {
        let setting = match options.tls {
            Some(_) => "RELP_TLS_ADDR",
            None => "RELP_ADDR",
        };
        let streams = StreamOptions {
            listener: Listener::Relp,
            addr: options.addr,
            setting,
            max_connections: options.max_connections,
            memory: options.memory,
            tls: options.tls,
        };
        let streams = Streams::bind(streams, admission.metrics())?;
        let terms = Arc::new(Terms {
            lines: SyslogLines::new(&admission, Listener::Relp, options.max_line),
            admission,
            max_line: options.max_line,
            grace: options.grace,
        });
        Ok(Self { streams, terms })
    }

    /// Where it listens; the port is the real one.
    pub fn local_addr(&self) -> SocketAddr {
        self.streams.local_addr()
    }

    /// Accepts and receives until `stop` is cancelled, then stores and acknowledges what was
    /// received, tells the senders that it ends, and returns.
    pub async fn run(self, stop: CancellationToken) {
        self.streams.run(self.terms, stop).await;
    }
}

impl Conversation for Terms {
    async fn hold<S>(
        &self,
        stream: &mut S,
        client: &Client,
        stop: &CancellationToken,
    ) -> io::Result<()>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
    {
        session::serve(stream, client.ip, self, || client.batch_bytes(), stop).await
    }
}

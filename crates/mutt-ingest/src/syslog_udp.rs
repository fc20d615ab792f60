//! Syslog over UDP (RFC 5426): one datagram is one message.
//!
//! Does not know how a message is parsed or stored, nor how datagrams are received.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mutt_event::syslog::Notes;
use tokio::net::UdpSocket;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::admission::Admission;
use crate::metrics::Listener;
use crate::pump::Forming;
use crate::sockets::{ListenError, bind_udp};
use crate::syslog_lines::{Receipt, SyslogLines};
use crate::udp::{RECEIVE_BUFFER, Reader, receive};

/// How syslog is received over UDP.
#[derive(Clone, Debug)]
pub struct SyslogUdpOptions {
    /// Where to listen; port 0 takes a free one.
    pub addr: SocketAddr,
    /// Sockets that share the port, at least 1; the kernel divides senders (not datagrams of one
    /// sender) among them. Default 1: it outruns what two cores can store.
    pub sockets: usize,
    /// The receive buffer of each socket, in bytes: what a burst may pile up. Default 32 MiB.
    pub receive_buffer: usize,
    /// The longest message in bytes; a longer one is cut and marked. Default 64 KiB, all that a
    /// datagram can carry.
    pub max_line: usize,
    /// How long messages that were read already may take to become durable after the order to stop.
    /// Default 5 s.
    pub grace: Duration,
}

impl SyslogUdpOptions {
    /// The defaults, at this address.
    pub fn new(addr: SocketAddr) -> Self {
        Self {
            addr,
            sockets: 1,
            receive_buffer: RECEIVE_BUFFER,
            max_line: 64 << 10,
            grace: Duration::from_secs(5),
        }
    }
}

/// Syslog over UDP, bound and not running yet.
#[derive(Debug)]
pub struct SyslogUdp {
    sockets: Vec<UdpSocket>,
    addr: SocketAddr,
    admission: Admission,
    options: SyslogUdpOptions,
}

impl SyslogUdp {
    /// Opens the sockets. From here on the kernel collects what comes. Needs a tokio runtime.
    ///
    /// # Errors
    /// The address cannot be listened on; the text says what to do.
    pub fn bind(options: SyslogUdpOptions, admission: Admission) -> Result<Self, ListenError> {
        const SETTING: &str = "SYSLOG_UDP_ADDR";
        let other = |source| ListenError::Other {
            protocol: "UDP",
            addr: options.addr,
            setting: SETTING,
            source,
        };
        let sockets = bind_udp(
            options.addr,
            options.sockets,
            options.receive_buffer,
            SETTING,
        )?;
        let sockets: Vec<UdpSocket> = sockets
            .into_iter()
            .map(UdpSocket::from_std)
            .collect::<io::Result<_>>()
            .map_err(other)?;
        let addr = match sockets.first() {
            Some(socket) => socket.local_addr().map_err(other)?,
            None => options.addr,
        };
        Ok(Self {
            sockets,
            addr,
            admission,
            options,
        })
    }

    /// Where it listens; the port is the real one.
    pub fn local_addr(&self) -> SocketAddr {
        self.addr
    }

    /// Receives until `stop` is cancelled, then stores what was received and returns.
    pub async fn run(self, stop: CancellationToken) {
        let mut tasks = JoinSet::new();
        for socket in self.sockets {
            let (admission, max_line) = (self.admission.clone(), self.options.max_line);
            let reader = UdpLines {
                receipt: Receipt::now(),
                lines: SyslogLines::new(&admission, Listener::SyslogUdp, max_line),
            };
            tasks.spawn(receive(
                Arc::new(socket),
                reader,
                Listener::SyslogUdp,
                // One byte more than a message may have tells the parser that it is too long.
                max_line + 1,
                admission,
                self.options.grace,
                stop.clone(),
            ));
        }
        // A task that ends before the others panicked; the panic is not swallowed.
        tasks.join_all().await;
    }
}

struct UdpLines {
    receipt: Receipt,
    lines: SyslogLines,
}

impl Reader for UdpLines {
    fn begin_read(&mut self) {
        self.receipt = Receipt::now();
    }

    fn read(&mut self, from: SocketAddr, message: &[u8], forming: &mut Forming) {
        let peer = from.ip().to_canonical();
        self.lines
            .add(message, Notes::NONE, peer, &self.receipt, forming);
    }
}

//! Syslog over UDP (RFC 5426): one datagram is one message.
//!
//! Best effort by nature, and honest about it: a large receive buffer is asked for, the socket is
//! drained many datagrams at a time, and what the kernel drops is counted. While the engine refuses,
//! what was read is kept and the kernel's buffer takes the rest. Does not know how a message is
//! parsed or stored.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use mutt_event::syslog::Notes;
use prometheus_client::metrics::counter::Counter;
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::admission::Admission;
use crate::datagrams::{Datagrams, kernel_drops};
use crate::metrics::Listener;
use crate::pump::{Filled, Forming, Intake, Outbox, Overflow, pump};
use crate::sockets::{ListenError, bind_udp};
use crate::syslog_lines::{Receipt, SyslogLines};

/// The longest payload that UDP can carry over IPv4 or IPv6, rounded up.
const MAX_DATAGRAM: usize = 65_536;

/// Bytes of events at which a batch is full: within 1 MiB also with the event that fills it, unless
/// that is a giant.
const MAX_BATCH_BYTES: usize = (1 << 20) - (64 << 10);

/// Batches of one socket under way at a time. With the one that forms, what a socket keeps in MUTT
/// while the engine refuses is at most five batches.
const BATCHES_UNDER_WAY: usize = 4;

/// How often the kernel is asked what it dropped. It tells also while the socket is not read.
const DROPS_INTERVAL: Duration = Duration::from_secs(1);

/// The pause after an error that the kernel reports for the socket.
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(500);

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
            receive_buffer: 32 << 20,
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
            let (admission, options) = (self.admission.clone(), self.options.clone());
            tasks.spawn(receive(socket, admission, options, stop.clone()));
        }
        // A task that ends before the others panicked; the panic is not swallowed.
        tasks.join_all().await;
    }
}

async fn receive(
    socket: UdpSocket,
    admission: Admission,
    options: SyslogUdpOptions,
    stop: CancellationToken,
) {
    let socket = Arc::new(socket);
    let mut drops = KernelDrops::new(Arc::clone(&socket), &admission);
    let mut intake = UdpIntake::new(socket, &admission, &options);
    let mut outbox = Outbox::new(
        admission,
        Listener::SyslogUdp,
        Overflow::Backpressure,
        BATCHES_UNDER_WAY,
    );
    let batch_bytes = || MAX_BATCH_BYTES;
    loop {
        let result = tokio::select! {
            result = pump(&mut intake, &mut outbox, &stop, options.grace, batch_bytes) => result,
            never = drops.watch() => match never {},
        };
        let Err(error) = result else { break };
        // Nothing of the kind is known of a bound socket; if it happens, it may pass.
        tracing::warn!(%error, "cannot receive syslog over UDP; trying again");
        tokio::time::sleep(PAUSE_AFTER_ERROR).await;
    }
    drops.count();
}

/// Counts what the kernel drops at one socket.
struct KernelDrops {
    socket: Arc<UdpSocket>,
    counter: Counter,
    seen: u32,
}

impl KernelDrops {
    fn new(socket: Arc<UdpSocket>, admission: &Admission) -> Self {
        let counter = admission
            .metrics()
            .listener(Listener::SyslogUdp)
            .kernel_drops
            .clone();
        Self {
            socket,
            counter,
            seen: 0,
        }
    }

    fn count(&mut self) {
        if let Ok(drops) = kernel_drops(self.socket.as_fd()) {
            self.counter
                .inc_by(u64::from(drops.wrapping_sub(self.seen)));
            self.seen = drops;
        }
    }

    async fn watch(&mut self) -> Infallible {
        let mut interval = tokio::time::interval(DROPS_INTERVAL);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            interval.tick().await;
            self.count();
        }
    }
}

struct UdpIntake {
    socket: Arc<UdpSocket>,
    datagrams: Datagrams,
    receipt: Receipt,
    lines: SyslogLines,
}

impl UdpIntake {
    fn new(socket: Arc<UdpSocket>, admission: &Admission, options: &SyslogUdpOptions) -> Self {
        Self {
            socket,
            // One byte more than a message may have tells the parser that it is too long.
            datagrams: Datagrams::new((options.max_line + 1).min(MAX_DATAGRAM)),
            receipt: Receipt::now(),
            lines: SyslogLines::new(admission, Listener::SyslogUdp, options.max_line),
        }
    }
}

impl Intake for UdpIntake {
    fn poll_fill(
        &mut self,
        context: &mut Context<'_>,
        forming: &mut Forming,
    ) -> Poll<io::Result<Filled>> {
        let mut any = false;
        loop {
            while let Some((peer, message)) = self.datagrams.next() {
                any = true;
                self.lines
                    .add(message, Notes::NONE, peer, &self.receipt, forming);
                if forming.is_full() {
                    return Poll::Ready(Ok(Filled::Full));
                }
            }
            match self.socket.poll_recv_ready(context) {
                Poll::Ready(ready) => ready?,
                Poll::Pending if any => return Poll::Ready(Ok(Filled::Some)),
                Poll::Pending => return Poll::Pending,
            }
            let (socket, datagrams) = (&self.socket, &mut self.datagrams);
            match socket.try_io(Interest::READABLE, || datagrams.receive(socket.as_fd())) {
                Ok(_) => self.receipt = Receipt::now(),
                // The readiness was stale, and is forgotten by now: asking again waits.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    fn finish(&mut self, _forming: &mut Forming) {}
}

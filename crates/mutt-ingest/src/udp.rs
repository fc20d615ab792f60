//! Listening for datagrams: the part that every protocol over UDP has in common.
//!
//! Best effort by nature, and honest about it: a large receive buffer is asked for, the socket is
//! drained many datagrams at a time, and what the kernel drops is counted. While the engine refuses,
//! what was read is kept and the kernel's buffer takes the rest. Knows nothing of what a datagram
//! says: that is the [`Reader`]'s.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::admission::Admission;
use crate::datagrams::{Datagrams, kernel_drops};
use crate::metrics::Listener;
use crate::pump::{Filled, Forming, Intake, Outbox, Overflow, pump};

/// The longest payload that UDP can carry over IPv4 or IPv6, rounded up.
pub(crate) const MAX_DATAGRAM: usize = 65_536;

/// The receive buffer that is asked for, in bytes: what a burst may pile up.
pub(crate) const RECEIVE_BUFFER: usize = 32 << 20;

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

/// What makes events of datagrams.
pub(crate) trait Reader: Send {
    /// Further datagrams were taken from the socket just now.
    fn begin_read(&mut self);

    /// One of them. What it is to the batch is added to it, if anything.
    fn read(&mut self, from: SocketAddr, datagram: &[u8], forming: &mut Forming);
}

/// Receives from one socket until `stop` is cancelled, then stores what was received, within
/// `grace`, and returns. Of datagrams longer than `max_len` bytes the rest is lost.
pub(crate) async fn receive<R: Reader>(
    socket: Arc<UdpSocket>,
    reader: R,
    listener: Listener,
    max_len: usize,
    admission: Admission,
    grace: Duration,
    stop: CancellationToken,
) {
    let counter = admission.metrics().listener(listener).kernel_drops.clone();
    let mut drops = KernelDrops::new(Arc::clone(&socket), counter);
    let mut intake = UdpIntake {
        socket,
        datagrams: Datagrams::new(max_len.min(MAX_DATAGRAM)),
        reader,
    };
    let mut outbox = Outbox::new(
        admission,
        listener,
        Overflow::Backpressure,
        BATCHES_UNDER_WAY,
    );
    let batch_bytes = || MAX_BATCH_BYTES;
    loop {
        let result = tokio::select! {
            result = pump(&mut intake, &mut outbox, &stop, grace, batch_bytes) => result,
            never = drops.watch() => match never {},
        };
        let Err(error) = result else { break };
        // Nothing of the kind is known of a bound socket; if it happens, it may pass.
        let listener = listener.name();
        tracing::warn!(listener, %error, "cannot receive over UDP; trying again");
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
    fn new(socket: Arc<UdpSocket>, counter: Counter) -> Self {
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

struct UdpIntake<R> {
    socket: Arc<UdpSocket>,
    datagrams: Datagrams,
    reader: R,
}

impl<R: Reader> Intake for UdpIntake<R> {
    fn poll_fill(
        &mut self,
        context: &mut Context<'_>,
        forming: &mut Forming,
    ) -> Poll<io::Result<Filled>> {
        let mut any = false;
        loop {
            while let Some((from, datagram)) = self.datagrams.next() {
                any = true;
                self.reader.read(from, datagram, forming);
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
                Ok(_) => self.reader.begin_read(),
                // The readiness was stale, and is forgotten by now: asking again waits.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    fn finish(&mut self, _forming: &mut Forming) {}
}

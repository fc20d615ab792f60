//! SNMP traps and informs over UDP, versions 1, 2c and 3 on one port.
//!
//! A trap is best effort by nature, as syslog over UDP is. An inform is answered when its event is
//! durable and not before: while the engine refuses, its sender gets no answer and sends it again.
//! What a datagram means and whether it may be believed is `mutt_snmp`'s business.

mod reader;
mod users;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use mutt_snmp::names::Names;
use mutt_snmp::{EngineFile, EngineFileError, LocalEngine, Receiver};
use tokio::net::UdpSocket;
use tokio_util::sync::CancellationToken;

pub use users::{SnmpUsers, SnmpUsersError};

use crate::admission::Admission;
use crate::metrics::Listener;
use crate::sockets::{ListenError, bind_udp};
use crate::udp::{MAX_DATAGRAM, RECEIVE_BUFFER, receive};

/// The setting that names the address.
const SETTING: &str = "SNMP_TRAP_ADDR";

/// How traps are received.
#[derive(Clone, Debug)]
pub struct SnmpOptions {
    /// Where to listen; port 0 takes a free one.
    pub addr: SocketAddr,
    /// Where the identity towards senders of informs is kept. The directory must exist.
    pub engine_file: PathBuf,
    /// The names that OIDs have; may be replaced while traps come. Default: those that MUTT knows.
    pub names: Arc<ArcSwap<Names>>,
    /// The receive buffer in bytes: what a burst may pile up. Default 32 MiB.
    pub receive_buffer: usize,
    /// How long traps that were read already may take to become durable after the order to stop.
    /// Default 5 s.
    pub grace: Duration,
}

impl SnmpOptions {
    /// The defaults, at this address.
    pub fn new(addr: SocketAddr, engine_file: PathBuf) -> Self {
        Self {
            addr,
            engine_file,
            names: Arc::new(ArcSwap::new(Names::builtin())),
            receive_buffer: RECEIVE_BUFFER,
            grace: Duration::from_secs(5),
        }
    }
}

/// Why traps cannot be received.
#[derive(Debug, thiserror::Error)]
pub enum SnmpError {
    /// The address cannot be listened on.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// There is no identity.
    #[error("the identity as an SNMP engine: {0}")]
    Engine(#[from] EngineFileError),
    /// The system has no random numbers.
    #[error("no random numbers: {0}")]
    Random(String),
}

/// SNMP traps and informs, bound and not running yet.
#[derive(Debug)]
pub struct SnmpTraps {
    socket: Arc<UdpSocket>,
    addr: SocketAddr,
    receiver: Receiver,
    users: Arc<SnmpUsers>,
    admission: Admission,
    options: SnmpOptions,
}

impl SnmpTraps {
    /// Counts this start in the engine file and opens the socket. From here on the kernel collects
    /// what comes. Needs a tokio runtime; blocks for one small synchronised write.
    ///
    /// # Errors
    /// The text says what to do.
    pub fn bind(
        options: SnmpOptions,
        users: Arc<SnmpUsers>,
        admission: Admission,
    ) -> Result<Self, SnmpError> {
        let engine = EngineFile::new(options.engine_file.clone()).start(Instant::now())?;
        let sockets = bind_udp(options.addr, 1, options.receive_buffer, SETTING)?;
        let other = |source| ListenError::Other {
            protocol: "UDP",
            addr: options.addr,
            setting: SETTING,
            source,
        };
        let socket = sockets.into_iter().next();
        let socket = socket.ok_or_else(|| other(std::io::ErrorKind::NotFound.into()))?;
        let socket = UdpSocket::from_std(socket).map_err(other)?;
        let addr = socket.local_addr().map_err(other)?;
        let receiver = Receiver::new(users.access(), engine)
            .map_err(|error| SnmpError::Random(error.to_string()))?;
        Ok(Self {
            socket: Arc::new(socket),
            addr,
            receiver,
            users,
            admission,
            options,
        })
    }

    /// Where it listens; the port is the real one.
    pub fn local_addr(&self) -> SocketAddr {
        self.addr
    }

    /// The identity towards senders of informs.
    pub fn engine(&self) -> &LocalEngine {
        self.receiver.engine()
    }

    /// Receives until `stop` is cancelled, then stores what was received and returns.
    pub async fn run(self, stop: CancellationToken) {
        let reader = reader::Traps::new(
            self.receiver,
            self.users.watch(),
            self.options.names,
            Arc::clone(&self.socket),
            &self.admission,
        );
        receive(
            self.socket,
            reader,
            Listener::SnmpTrap,
            MAX_DATAGRAM,
            self.admission,
            self.options.grace,
            stop,
        )
        .await;
    }
}

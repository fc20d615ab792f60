//! One connection from name look-up to log-in.
//!
//! Opens the socket and speaks TLS and the log-in itself, because the options of the socket, the
//! address that was reached and the server's own words matter here. It knows one address and
//! nothing of primaries. Errors are words without the address, which the caller adds.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use parking_lot::Mutex;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Cmd, ProtocolVersion, PushInfo, RedisConnectionInfo};
use rustls_pki_types::ServerName;
use secrecy::{ExposeSecret as _, SecretString};
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_util::sync::CancellationToken;

use crate::options::RedisOptions;
use crate::tls;

/// How long a peer may leave what was sent to it without acknowledgement.
const UNACKNOWLEDGED: Duration = Duration::from_secs(10);
/// A line of a reply during log-in is never longer.
const LONGEST_LINE: usize = 4096;
/// How many requests may wait for the writer of a connection before callers wait.
const WRITE_QUEUE: usize = 256;

/// Where to connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl Target {
    pub(crate) fn new(host: impl Into<String>, port: u16) -> Self {
        Self {
            host: host.into(),
            port,
        }
    }

    /// Takes `host:port`, also `[::1]:6379`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (host, port) = text.trim().rsplit_once(':')?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let port = port.parse().ok().filter(|port| *port != 0)?;
        (!host.is_empty()).then(|| Self::new(host, port))
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// Whose log-in it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    /// A Redis server: it has to take one of the passwords.
    Server,
    /// A Sentinel, which may share the servers' password or have none.
    Sentinel,
}

/// What is done with messages that nobody asked for (pub/sub). Makes the connection a RESP3 one.
pub(crate) type OnPush = Box<dyn Fn(PushInfo) + Send + Sync>;

/// An open connection. Dropping it closes it at once.
pub(crate) struct Wire {
    connection: MultiplexedConnection,
    driver: JoinHandle<()>,
    /// A second handle of the socket, to say how it is to be closed.
    socket: socket2::Socket,
    peer: SocketAddr,
    /// Cancelled when the server closed the connection.
    ended: CancellationToken,
}

impl Wire {
    /// Connects and logs in; to `known` instead of what the name resolves to.
    ///
    /// # Errors
    /// What was tried and how it ended, in words.
    pub(crate) async fn open(
        options: &RedisOptions,
        target: &Target,
        known: Option<SocketAddr>,
        peer: Peer,
        on_push: Option<OnPush>,
    ) -> Result<Self, String> {
        let limit = options.connect_timeout;
        let phase = Mutex::new("");
        let opening = Self::open_without_limit(options, target, known, peer, on_push, &phase);
        timeout(limit, opening)
            .await
            .unwrap_or_else(|_| Err(format!("no connection within {limit:?}: {}", phase.lock())))
    }

    async fn open_without_limit(
        options: &RedisOptions,
        target: &Target,
        known: Option<SocketAddr>,
        peer: Peer,
        on_push: Option<OnPush>,
        phase: &Mutex<&'static str>,
    ) -> Result<Self, String> {
        let tls = if options.tls {
            Some(tls::client_config(options.tls_ca_cert.as_deref())?)
        } else {
            None
        };
        *phase.lock() = "the name was looked up and TCP tried";
        let stream = connect(target, known, options.connect_timeout).await?;
        let peer_address = stream.peer_addr().map_err(|error| error.to_string())?;
        let socket = tune(&stream).map_err(|error| format!("socket options: {error}"))?;
        let ended = CancellationToken::new();
        let (connection, driver) = if let Some(config) = tls {
            *phase.lock() = "TCP is connected, TLS gets no answer: does this port speak TLS?";
            let name = ServerName::try_from(target.host.clone())
                .map_err(|_| format!("`{}` is not a name TLS can verify", target.host))?;
            let stream = TlsConnector::from(config)
                .connect(name, stream)
                .await
                .map_err(|error| tls_failure(&error))?;
            *phase.lock() = "TLS is connected, the log-in gets no answer: is the server frozen?";
            log_in_and_run(options, stream, peer, on_push, &ended).await?
        } else {
            *phase.lock() = "TCP is connected, the log-in gets no answer: is the server frozen?";
            log_in_and_run(options, stream, peer, on_push, &ended).await?
        };
        Ok(Self {
            connection,
            driver,
            socket,
            peer: peer_address,
            ended,
        })
    }

    /// The address that was reached.
    pub(crate) fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// For calls; without a time limit of its own.
    pub(crate) fn connection(&self) -> MultiplexedConnection {
        self.connection.clone()
    }

    /// Returns when the connection has ended from the other side.
    pub(crate) async fn ended(&self) {
        self.ended.cancelled().await;
    }

    /// Throws away what was not sent yet: a call that was given up must not reach the server
    /// minutes later, when the network is back.
    pub(crate) fn abandon(&self) {
        // Fails where the socket is closed already.
        let _ = self.socket.set_linger(Some(Duration::ZERO));
        self.driver.abort();
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

async fn connect(
    target: &Target,
    known: Option<SocketAddr>,
    limit: Duration,
) -> Result<TcpStream, String> {
    let addresses = match known {
        Some(address) => vec![address],
        None => tokio::net::lookup_host((target.host.as_str(), target.port))
            .await
            .map_err(|error| format!("the name `{}` does not resolve: {error}", target.host))?
            .collect(),
    };
    // The first address of several must not use up the time of the others.
    let share = limit / u32::try_from(addresses.len().max(1)).unwrap_or(u32::MAX);
    let mut failures = Vec::new();
    for address in addresses {
        match timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => failures.push(format!("connect to {address}: {error}")),
            Err(_) => failures.push(format!("connect to {address}: no answer within {share:?}")),
        }
    }
    if failures.is_empty() {
        return Err(format!("the name `{}` has no address", target.host));
    }
    Err(failures.join("; "))
}

fn tune(stream: &TcpStream) -> io::Result<socket2::Socket> {
    // With Nagle's algorithm on, a request behind another waits for a delayed ACK: 40 ms.
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    let keepalive = TcpKeepalive::new()
        .with_time(Duration::from_secs(15))
        .with_interval(Duration::from_secs(5));
    socket.set_tcp_keepalive(&keepalive)?;
    #[cfg(any(target_os = "linux", target_os = "android"))]
    socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED))?;
    socket.try_clone()
}

fn tls_failure(error: &io::Error) -> String {
    let inner = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match inner {
        Some(rustls::Error::InvalidMessage(_)) => {
            format!("TLS: {error}: does this port speak TLS?")
        }
        Some(rustls::Error::InvalidCertificate(_)) => {
            format!("TLS: {error}: is the certificate for this name and signed by the trusted CA?")
        }
        _ if error.kind() == io::ErrorKind::UnexpectedEof => {
            format!("TLS: {error}: does this port speak TLS?")
        }
        _ => format!("TLS: {error}"),
    }
}

async fn log_in_and_run<S>(
    options: &RedisOptions,
    mut stream: S,
    peer: Peer,
    on_push: Option<OnPush>,
    ended: &CancellationToken,
) -> Result<(MultiplexedConnection, JoinHandle<()>), String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    log_in(options, &mut stream, peer).await?;
    set_name(&mut stream, &options.client_name).await?;
    let mut info = RedisConnectionInfo::default().set_skip_set_lib_name();
    if peer == Peer::Server {
        info = info.set_db(options.db);
    }
    let mut config = AsyncConnectionConfig::new()
        .set_response_timeout(None)
        .set_pipeline_buffer_size(WRITE_QUEUE);
    if let Some(on_push) = on_push {
        info = info.set_protocol(ProtocolVersion::RESP3);
        config = config.set_push_sender(move |push: PushInfo| {
            on_push(push);
            Ok::<(), redis::aio::SendError>(())
        });
    }
    let (connection, driver) = MultiplexedConnection::new_with_config(&info, stream, config)
        .await
        .map_err(|error| crate::error::meaning(error).1)?;
    let ended = ended.clone();
    let driver = tokio::spawn(async move {
        driver.await;
        ended.cancel();
    });
    Ok((connection, driver))
}

/// Also the first command of all: a server that takes no more clients says so in its answer.
async fn set_name<S>(stream: &mut S, name: &str) -> Result<(), String>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut command = redis::cmd("CLIENT");
    command.arg("SETNAME").arg(connection_name(name));
    match simple(stream, &command).await? {
        // A user whose ACL forbids it works all the same.
        Err(reply) if !reply.starts_with("NOPERM") => Err(format!("log-in: {reply}")),
        _ => Ok(()),
    }
}

/// Redis takes printable characters without spaces.
fn connection_name(name: &str) -> String {
    name.chars()
        .map(|c| if c.is_ascii_graphic() { c } else { '-' })
        .collect()
}

/// Tries the passwords in their order; only a refused password goes on to the next.
async fn log_in<S>(options: &RedisOptions, stream: &mut S, peer: Peer) -> Result<(), String>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let passwords = (options.passwords)();
    let mut refused = None;
    for password in &passwords {
        let users: &[Option<&str>] = match (peer, options.username.as_deref()) {
            (Peer::Server, user) => &[user],
            (Peer::Sentinel, Some(user)) => &[Some(user), None],
            (Peer::Sentinel, None) => &[None],
        };
        for user in users {
            let Err(reply) = simple(stream, &auth(*user, password)).await? else {
                return Ok(());
            };
            let reply = reply.replace(password.expose_secret(), "***");
            if peer == Peer::Sentinel && reply.contains("without any password configured") {
                return Ok(());
            }
            if !is_refused_password(&reply) {
                return Err(format!("log-in: {reply}"));
            }
            refused = Some(reply);
        }
    }
    match refused {
        None => Ok(()),
        Some(reply) => {
            if let Some(tell) = &options.on_refused {
                tell();
            }
            let user = options.username.as_deref().unwrap_or("default");
            let tried = match passwords.len() {
                1 => "the password".to_owned(),
                count => format!("each of the {count} passwords"),
            };
            Err(format!("log-in of user `{user}` with {tried}: {reply}"))
        }
    }
}

fn auth(user: Option<&str>, password: &SecretString) -> Cmd {
    let mut command = redis::cmd("AUTH");
    if let Some(user) = user {
        command.arg(user);
    }
    command.arg(password.expose_secret());
    command
}

fn is_refused_password(reply: &str) -> bool {
    reply.starts_with("WRONGPASS")
        || reply.contains("invalid password")
        || reply.contains("without any password configured")
}

/// Sends a command whose answer is one line, and returns that or the server's error.
async fn simple<S>(stream: &mut S, command: &Cmd) -> Result<Result<String, String>, String>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let lost = |error: io::Error| match error.kind() {
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => {
            "closed by the server during log-in: does this port expect TLS?".to_owned()
        }
        _ => format!("log-in: {error}"),
    };
    // A server that closed the connection at once may have said why.
    let _ = stream.write_all(&command.get_packed_command()).await;
    let _ = stream.flush().await;
    let mut line = Vec::with_capacity(64);
    while !line.ends_with(b"\r\n") {
        if line.len() == LONGEST_LINE {
            return Err("log-in: this is not a Redis server".to_owned());
        }
        line.push(stream.read_u8().await.map_err(lost)?);
    }
    let text = String::from_utf8_lossy(&line[..line.len() - 2]).into_owned();
    match text.split_at_checked(1) {
        Some(("+", answer)) => Ok(Ok(answer.to_owned())),
        Some(("-", error)) => Ok(Err(error.to_owned())),
        _ => Err("log-in: this is not a Redis server".to_owned()),
    }
}

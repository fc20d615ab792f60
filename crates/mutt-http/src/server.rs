//! The accept loop, and one task per connection.
//!
//! A connection holds its permit from accept to close, so that there are never more than allowed;
//! whatever a peer can be slow at has a limit ([`Limits`]). Shutdown is a protocol: the token is
//! cancelled, no more connections are taken, idle ones close, requests under way are answered
//! within the grace period, the rest is dropped, `run` returns.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::extract::ConnectInfo;
use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use pin_project_lite::pin_project;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::util::Oneshot;
use tower::{Service, ServiceExt as _};

use crate::body::RequestBody;
use crate::connection::{Connection, Expired, Limits};
use crate::error::HttpError;
use crate::metrics::ServerMetrics;
use crate::tls::Tls;

/// Connections that the kernel completes for us while all permits are taken.
const BACKLOG: u32 = 1024;
/// The read buffer of a connection, in bytes: with thousands of connections the product counts.
const BUFFER: usize = 64 * 1024;
/// The wait after an error of `accept`, which is mostly a lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// What is read and thrown away at most after the last response, in bytes.
const LINGER_BYTES: usize = 16 * 1024 * 1024;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// An HTTP/1.1 server on one address.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    limits: Limits,
    tls: Option<Arc<Tls>>,
    metrics: ServerMetrics,
}

impl Server {
    /// Listens; connections wait until [`Server::run`]. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// [`HttpError::Bind`] names the address and what to do.
    pub fn bind(address: SocketAddr, limits: Limits) -> Result<Self, HttpError> {
        let listener = listen(address).map_err(|error| HttpError::Bind { address, error })?;
        Self::on(listener, limits).map_err(|error| HttpError::Bind { address, error })
    }

    /// Serves a listener that somebody else made (one that was handed over at a restart, say).
    ///
    /// # Errors
    /// The listener's address cannot be read.
    pub fn on(listener: TcpListener, limits: Limits) -> io::Result<Self> {
        let address = listener.local_addr()?;
        Ok(Self {
            listener,
            address,
            limits,
            tls: None,
            metrics: ServerMetrics::default(),
        })
    }

    /// Speaks HTTPS and nothing else.
    #[must_use]
    pub fn with_tls(mut self, tls: Arc<Tls>) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Counts connections here.
    #[must_use]
    pub fn with_metrics(mut self, metrics: ServerMetrics) -> Self {
        self.metrics = metrics;
        self
    }

    /// The address in use, with the port that the kernel chose where 0 was asked for.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `shutdown` is cancelled and the last connection is closed, which takes the grace
    /// period at most. For an axum router pass [`WithPeer`] where handlers want the peer's address.
    ///
    /// Dropping the future stops accepting; connections that are open go on.
    pub async fn run<S, B>(self, service: S, shutdown: CancellationToken)
    where
        S: Service<Request<RequestBody>, Response = Response<B>, Error = Infallible>
            + Clone
            + Send
            + Sync
            + 'static,
        S::Future: Send + 'static,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let permits = Arc::new(Semaphore::new(self.limits.connections.max(1)));
        let tasks = TaskTracker::new();
        let abort = CancellationToken::new();
        let context = Arc::new(Shared {
            limits: self.limits,
            tls: self.tls,
            metrics: self.metrics,
            http: http(&self.limits),
        });
        loop {
            if permits.available_permits() == 0 {
                context.metrics.at_limit.inc();
            }
            let permit = tokio::select! {
                () = shutdown.cancelled() => break,
                permit = permits.clone().acquire_owned() => permit.expect("it is never closed"),
            };
            let (stream, peer) = tokio::select! {
                () = shutdown.cancelled() => break,
                accepted = accept(&self.listener) => accepted,
            };
            let (context, service) = (context.clone(), service.clone());
            let (shutdown, abort) = (shutdown.child_token(), abort.child_token());
            tasks.spawn(async move {
                let _permit = permit;
                let _open = Open::count(&context.metrics);
                tokio::select! {
                    () = context.serve(stream, peer, service, shutdown) => {}
                    () = abort.cancelled() => {}
                }
            });
        }
        drop(self.listener);
        tasks.close();
        if tokio::time::timeout(context.limits.grace, tasks.wait())
            .await
            .is_err()
        {
            tracing::warn!(
                address = %self.address,
                connections = tasks.len(),
                "the grace period is over: connections are dropped in the middle of a request"
            );
            abort.cancel();
            tasks.wait().await;
        }
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()
    } else {
        TcpSocket::new_v6()
    }?;
    // A restart must not wait for connections of the last run to be forgotten.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            // The peer was gone already: its own affair.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::ConnectionAborted
                        | io::ErrorKind::ConnectionReset
                        | io::ErrorKind::Interrupted
                ) => {}
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn http(limits: &Limits) -> http1::Builder {
    let mut http = http1::Builder::new();
    // Time limits are kept by `Connection`, which tells an idle connection from a slow head and
    // needs no timer per request; hyper's own would end both alike.
    http.header_read_timeout(None)
        .max_header_size(limits.header_bytes.max(8192))
        .max_buf_size(BUFFER.max(limits.header_bytes));
    http
}

struct Open<'a>(&'a ServerMetrics);

impl<'a> Open<'a> {
    fn count(metrics: &'a ServerMetrics) -> Self {
        metrics.connections.inc();
        Self(metrics)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.connections.dec();
    }
}

struct Shared {
    limits: Limits,
    tls: Option<Arc<Tls>>,
    metrics: ServerMetrics,
    http: http1::Builder,
}

impl Shared {
    async fn serve<S, B>(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        service: S,
        shutdown: CancellationToken,
    ) where
        S: Service<Request<RequestBody>, Response = Response<B>, Error = Infallible> + Clone,
        B: Body<Data = Bytes> + 'static,
        B::Error: Into<BoxError>,
    {
        // Answers are written whole; waiting for more to send would only delay them.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%peer, %error, "TCP_NODELAY could not be set");
        }
        let Some(tls) = &self.tls else {
            let connection = Arc::new(Connection::new(peer, false));
            return self.converse(stream, connection, service, shutdown).await;
        };
        let handshake = tokio::time::timeout(self.limits.handshake, tls.accept(stream));
        let stream = tokio::select! {
            () = shutdown.cancelled() => return,
            stream = handshake => stream,
        };
        match stream {
            Ok(Ok((stream, _))) => {
                let connection = Arc::new(Connection::new(peer, true));
                self.converse(stream, connection, service, shutdown).await;
            }
            Ok(Err(error)) => {
                self.metrics.handshakes_failed.inc();
                tracing::debug!(%peer, %error, "TLS handshake failed");
            }
            Err(_) => {
                self.metrics.handshakes_failed.inc();
                tracing::debug!(%peer, "TLS handshake took too long");
            }
        }
    }

    async fn converse<IO, S, B>(
        &self,
        stream: IO,
        connection: Arc<Connection>,
        service: S,
        shutdown: CancellationToken,
    ) where
        IO: AsyncRead + AsyncWrite + Unpin,
        S: Service<Request<RequestBody>, Response = Response<B>, Error = Infallible> + Clone,
        B: Body<Data = Bytes> + 'static,
        B::Error: Into<BoxError>,
    {
        let stream = Observed {
            stream,
            connection: connection.clone(),
            shut: false,
            thrown_away: 0,
        };
        let adapter = Adapter {
            service,
            connection: connection.clone(),
        };
        let mut http = pin!(self.http.serve_connection(TokioIo::new(stream), adapter));
        let mut expired = pin!(connection.expired(&self.limits));
        let mut ending = false;
        loop {
            tokio::select! {
                biased;
                result = http.as_mut() => {
                    if let Err(error) = result {
                        tracing::debug!(peer = %connection.peer(), %error, "connection ended");
                    }
                    return;
                }
                what = expired.as_mut() => {
                    self.metrics.expired(what).inc();
                    tracing::debug!(peer = %connection.peer(), phase = what.name(), "peer too slow");
                    // Whoever reads the body learns that it will not come, and can say so.
                    if what != Expired::Body || !connection.give_body_up() {
                        return;
                    }
                    expired.set(connection.expired(&self.limits));
                }
                () = shutdown.cancelled(), if !ending => {
                    ending = true;
                    http.as_mut().graceful_shutdown();
                }
            }
        }
    }
}

/// A stream that notes on its connection what moves.
struct Observed<IO> {
    stream: IO,
    connection: Arc<Connection>,
    shut: bool,
    thrown_away: usize,
}

impl<IO: AsyncRead + Unpin> AsyncRead for Observed<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if polled.is_ready() && buffer.filled().len() > before {
            self.connection.bytes_came();
        }
        polled
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Observed<IO> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.connection.write_stalls(polled.is_pending());
        polled
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, bytes);
        self.connection.write_stalls(polled.is_pending());
        polled
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_flush(cx);
        self.connection.write_stalls(polled.is_pending());
        polled
    }

    /// Closes our side, then reads on until the peer closes its own: a socket that is closed with
    /// unread data in it sends a reset, and the peer would lose the answer that told it to stop.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.connection.closing();
        if !self.shut {
            ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
            self.shut = true;
        }
        let mut space = [0; 4096];
        while self.thrown_away < LINGER_BYTES {
            let mut buffer = ReadBuf::new(&mut space);
            match ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer)) {
                Ok(()) if !buffer.filled().is_empty() => self.thrown_away += buffer.filled().len(),
                _ => break,
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// A tower service as hyper wants it: notes where a request begins and where its response ends.
struct Adapter<S> {
    service: S,
    connection: Arc<Connection>,
}

impl<S, B> hyper::service::Service<Request<Incoming>> for Adapter<S>
where
    S: Service<Request<RequestBody>, Response = Response<B>, Error = Infallible> + Clone,
    B: Body<Data = Bytes>,
{
    type Response = Response<ResponseBody<B>>;
    type Error = Infallible;
    type Future = Answer<S>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        self.connection.request_began();
        let connection = self.connection.clone();
        let request = request.map(|body| RequestBody::new(body, connection.clone()));
        Answer {
            answer: self.service.clone().oneshot(request),
            connection,
        }
    }
}

pin_project! {
    struct Answer<S: Service<Request<RequestBody>>> {
        #[pin]
        answer: Oneshot<S, Request<RequestBody>>,
        connection: Arc<Connection>,
    }
}

impl<S, B> Future for Answer<S>
where
    S: Service<Request<RequestBody>, Response = Response<B>, Error = Infallible>,
{
    type Output = Result<Response<ResponseBody<B>>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let response = ready!(this.answer.poll(cx))?;
        let connection = this.connection.clone();
        Poll::Ready(Ok(response.map(|body| ResponseBody { body, connection })))
    }
}

pin_project! {
    /// A response's body; its end is the end of the request.
    #[derive(Debug)]
    pub struct ResponseBody<B> {
        #[pin]
        body: B,
        connection: Arc<Connection>,
    }

    impl<B> PinnedDrop for ResponseBody<B> {
        fn drop(this: Pin<&mut Self>) {
            this.connection.response_ended();
        }
    }
}

impl<B: Body> Body for ResponseBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        self.project().body.poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A service whose requests carry the peer's address as axum's `ConnectInfo<SocketAddr>`.
#[derive(Clone, Debug)]
pub struct WithPeer<S>(pub S);

impl<S: Service<Request<RequestBody>>> Service<Request<RequestBody>> for WithPeer<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<RequestBody>) -> Self::Future {
        let peer = request.body().connection().peer();
        request.extensions_mut().insert(ConnectInfo(peer));
        self.0.call(request)
    }
}

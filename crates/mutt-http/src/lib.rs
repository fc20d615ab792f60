//! The HTTP server that every role uses: time limits for whatever a peer may be slow at, a
//! connection limit, TLS whose files may be replaced at any time, orderly shutdown, and the pages
//! every role has.
//!
//! Knows nothing of events, engines or configuration: whoever wires it passes options.

mod body;
mod connection;
mod error;
mod handshake;
mod keys;
mod metrics;
mod pages;
mod peers;
mod server;
mod tls;

pub use body::{BodyError, Budget, Held, RequestBody};
pub use connection::{Connection, Expired, Limits};
pub use error::HttpError;
pub use handshake::{HandshakeError, HandshakeFailure};
pub use keys::Keys;
pub use metrics::{HttpMetrics, ServerMetrics};
pub use pages::{
    About, Check, Health, HealthReport, fallbacks, fallbacks_or, role_router, state_router,
};
pub use peers::{PeerNames, PermittedPeer};
pub use server::{ResponseBody, Server, WithPeer};
pub use tls::{ALPN_HTTP1, Tls, TlsOptions};
pub use tokio_rustls::server::TlsStream;

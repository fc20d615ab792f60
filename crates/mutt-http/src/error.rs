//! What can go wrong before a server runs, in words that say what to do.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Why a server cannot listen, or its certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {}", advice(*.address, .error))]
    Bind {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// A file of the TLS set-up cannot be read.
    #[error("the TLS file {path} cannot be read: {error}")]
    TlsFile {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// A file of the TLS set-up holds something else than it should.
    #[error("the TLS file {path} cannot be used: {problem}")]
    TlsContent {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
}

fn advice(address: SocketAddr, error: &io::Error) -> String {
    let port = address.port();
    match error.kind() {
        io::ErrorKind::AddrInUse => format!(
            "another process has this port; find it with `ss -ltnp 'sport = :{port}'` and stop it, \
             or choose another port"
        ),
        io::ErrorKind::PermissionDenied => format!(
            "{error}; ports below 1024 need the capability CAP_NET_BIND_SERVICE: choose a higher \
             port or grant it"
        ),
        io::ErrorKind::AddrNotAvailable => format!(
            "this machine has no address {}; 127.0.0.1 is this machine alone, 0.0.0.0 every address",
            address.ip()
        ),
        _ => error.to_string(),
    }
}

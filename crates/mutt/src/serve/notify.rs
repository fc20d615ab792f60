//! Tells systemd how far the service is (`Type=notify`); does nothing elsewhere. The protocol is one
//! datagram to `$NOTIFY_SOCKET` (`sd_notify(3)`).

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// The listeners listen.
pub fn ready() {
    send("READY=1");
}

/// SIGTERM was heard.
pub fn stopping() {
    send("STOPPING=1");
}

fn send(state: &str) {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else {
        return;
    };
    let bytes = path.as_encoded_bytes();
    let addr = match bytes.strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(&path),
    };
    if let (Ok(socket), Ok(addr)) = (UnixDatagram::unbound(), addr) {
        // Nobody to tell is no reason to fail.
        let _ = socket.send_to_addr(state.as_bytes(), &addr);
    }
}

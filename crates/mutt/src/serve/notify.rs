//! Tells systemd how far the service is (`Type=notify`); does nothing elsewhere. The protocol is one
//! datagram to `$NOTIFY_SOCKET` (`sd_notify(3)`).

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// Between two signs of life while the start waits.
const SIGN: Duration = Duration::from_secs(10);
/// How long systemd is asked to wait for the next one.
const EXTENSION: Duration = Duration::from_mins(1);

/// The listeners listen.
pub fn ready() {
    send("READY=1\nSTATUS=");
}

/// Waits for something that the start needs and that may take long, such as a Vault that is away:
/// the start does not time out meanwhile.
pub async fn while_waiting<T>(status: &str, work: impl Future<Output = T>) -> T {
    let mut work = std::pin::pin!(work);
    let mut sign = tokio::time::interval(SIGN);
    let text = format!(
        "EXTEND_TIMEOUT_USEC={}\nSTATUS={status}",
        EXTENSION.as_micros()
    );
    loop {
        tokio::select! {
            biased;
            done = &mut work => return done,
            _ = sign.tick() => send(&text),
        }
    }
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

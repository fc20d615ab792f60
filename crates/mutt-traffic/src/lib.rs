//! A small network that never sleeps: sites, devices and what happens to them, as the bytes that
//! such devices send.
//!
//! Seeded and on a virtual clock: the same seed gives the same messages on every machine. What
//! belongs together comes together (a link that flaps takes its protocol and its neighbours with
//! it), and severities agree with mnemonics. The demo, `mutt send --storm` and the load tests use it.

mod catalogue;
mod chance;
pub mod load;
mod scenario;
mod send;
mod world;

pub use scenario::{Storm, Tour, Traffic};
pub use send::{SendError, Sender, Sent, Targets};
pub use world::{Device, Vendor, World};

use jiff::Timestamp;

/// One message on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// When it is sent, on the virtual clock.
    pub at: Timestamp,
    /// How it travels.
    pub wire: Wire,
}

/// What goes over which socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wire {
    /// One syslog datagram.
    Udp(Vec<u8>),
    /// One syslog message on a stream; the sender adds the line feed.
    Tcp(Vec<u8>),
    /// One JSON object posted to `/ingest`.
    Http(Vec<u8>),
}

//! How events get in: every listener turns what it receives into batches of queue elements and
//! hands them to [`Admission`], which makes them durable.
//!
//! Nothing here is acknowledged before the engine has it. The crate knows neither rules nor what
//! becomes of an event, and no environment variables: whoever wires it passes options.

pub mod admission;
mod datagrams;
pub mod door;
mod handshakes;
pub mod http;
pub mod metrics;
mod pump;
pub mod relp;
pub mod snmp;
mod sockets;
mod streams;
mod syslog_lines;
pub mod syslog_stream;
pub mod syslog_udp;
pub mod trap_names;
mod udp;

pub use crate::http::{AdminConfig, HttpIngest, HttpOptions};
pub use admission::Admission;
pub use door::{Door, DoorOptions};
pub use metrics::{IngestMetrics, Listener, ListenerMetrics, RejectReason};
pub use pump::Overflow;
pub use sockets::ListenError;

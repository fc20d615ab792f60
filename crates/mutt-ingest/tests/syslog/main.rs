//! The syslog listeners, RELP among them, over real sockets, into the real embedded engine.
#![allow(clippy::unwrap_used)] // helpers of tests are tests

mod clients;
mod door;
mod pki;
mod relp;
mod snmp;
mod support;
mod tcp;
mod tls;
mod tls_daemons;
mod udp;

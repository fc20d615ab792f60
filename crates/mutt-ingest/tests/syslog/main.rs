//! The syslog listeners over real sockets, into the real embedded engine.
#![allow(clippy::unwrap_used)] // helpers of tests are tests

mod clients;
mod support;
mod tcp;
mod udp;

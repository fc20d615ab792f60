//! The server over real sockets: slow peers, limits, TLS, shutdown, pages.
#![allow(clippy::unwrap_used)] // helpers of tests are tests

mod limits;
mod pages;
mod shutdown;
mod support;
mod tls;

//! HTTP ingest over real sockets into the embedded engine: every row of the table in
//! "HTTP ingest", and what senders get wrong.
#![allow(clippy::unwrap_used)] // helpers of tests are tests

mod accepted;
mod elastic;
mod pages;
mod refused;
mod support;

//! The API from outside: HTTP against the real router on the embedded engine.
#![allow(clippy::unwrap_used, reason = "a test ends where something is missing")]

mod audit;
mod bench;
mod catalog;
mod configuration;
mod contract;
mod dead_letters;
mod hostile;
mod rules;
mod sessions;
mod smuggling;
mod status;
mod store;
mod support;

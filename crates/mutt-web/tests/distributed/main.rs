//! The API on Redis and PostgreSQL: the same checks as on the embedded engine, of everything that asks
//! the engine something of its own.
#![allow(clippy::unwrap_used, reason = "a test ends where something is missing")]

#[path = "../api/audit.rs"]
mod audit;
mod away;
#[path = "../api/bench.rs"]
mod bench;
#[path = "../api/catalog.rs"]
mod catalog;
#[path = "../api/configuration.rs"]
mod configuration;
#[path = "../api/dead_letters.rs"]
mod dead_letters;
#[path = "../api/delivery.rs"]
mod delivery;
mod processes;
#[path = "../api/rules.rs"]
mod rules;
#[path = "../api/sessions.rs"]
mod sessions;
#[path = "../api/status.rs"]
mod status;
mod store;
#[path = "../api/support.rs"]
mod support;

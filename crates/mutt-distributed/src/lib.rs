//! The engine over Redis and PostgreSQL: many processes on many hosts, the promises of
//! [`mutt_engine`].
//!
//! What waits is in Redis, what is remembered in PostgreSQL. `docs/adr/0007-the-distributed-engine.md`
//! says how a claim, its decision and a takeover go, and what happens when anybody dies in between.

mod alerts;
mod catalog;
mod claims;
mod config;
mod counters;
mod dead_letters;
mod decide;
mod deliveries;
mod effects;
mod engine;
mod enqueue;
mod envelope;
mod events;
mod flow;
mod jobs;
mod live;
mod names;
mod remediation;
mod reports;
mod scripts;
mod sessions;
mod takeover;
mod tally;
mod unhandled;
mod upkeep;
mod workers;

pub use engine::{Distributed, Options, SpoolOptions, Spooled};
pub use names::Names;
pub use tally::{Counts, Takeovers};

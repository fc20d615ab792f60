//! Decides: claims events, matches rules, and makes audit rows, alerts and the end of the claim
//! take effect in one step.
//!
//! The road of a claim: `pressure` (may we?) → `worker` (claim) → [`decide`] (what is to happen,
//! a pure function) → `commit` (make it happen, whatever the store does). Beside it run `reload`
//! (rules, hosts and teams) and `housekeeping` (signs of life, claims of dead workers, gauges).
//! Everything durable is the engine's business; nothing is remembered here that a restart may not
//! forget.

mod alerter;
mod backoff;
mod busy;
pub mod catalog;
mod commit;
pub mod decide;
mod groups;
pub mod health;
mod housekeeping;
pub mod metrics;
mod options;
mod pressure;
mod reload;
#[cfg(test)]
mod sample;
pub mod sampling;
mod shared;
mod worker;

pub use alerter::{Alerter, AlerterHandle};
pub use health::{AlerterHealth, Check};
pub use metrics::AlerterMetrics;
pub use options::AlerterOptions;

//! Delivers alerts to the sink, and sends dead letters round again once the sink is well.
//!
//! [`Forwarder`] claims alerts, holds to one limit and one circuit breaker that all pods share, and
//! settles every attempt; [`Remediation`] replays dead letters; [`MoogSink`] knows Moogsoft and
//! nothing of queues; [`MockMoog`] is a receiver for the demo and for tests.

pub mod backoff;
pub mod error;
pub mod forwarder;
pub mod health;
pub mod metrics;
pub mod mock;
mod pace;
pub mod remediation;
mod settle;
pub mod sink;

pub use backoff::Backoff;
pub use error::ForwarderError;
pub use forwarder::{Forwarder, ForwarderOptions};
pub use health::{Health, HealthReport};
pub use metrics::{ForwarderMetrics, RemediationMetrics, Tally};
pub use mock::MockMoog;
pub use remediation::{Remediation, RemediationOptions};
pub use sink::{Delivery, Fault, Keys, MoogOptions, MoogSink, Outgoing, Shape, Sink};

//! What flows through MUTT: events, alerts, their ids and severities.
//!
//! Text and packets become events here and nowhere else. Everything in this crate is pure: no I/O,
//! no clock of its own (callers pass the time of receipt), no knowledge of queues or rules.

pub mod alert;
pub mod batch;
pub mod element;
pub mod id;
pub mod json;
pub mod mask;
pub mod severity;
pub mod syslog;
pub mod time;
pub mod view;

pub use alert::Alert;
pub use batch::Batch;
pub use id::EventId;
pub use severity::Severity;
pub use view::{EventView, Source};

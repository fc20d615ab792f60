//! Where events and alerts wait, and what is remembered.
//!
//! A stage asks the [`Engine`] for what it means (claim, decide, settle), never for list or table
//! operations, because a guarantee has to live in one place. [`conformance`] says in tests what
//! every implementation must hold; [`embedded`] is the one that needs no server.

pub mod alerts;
pub mod audit;
pub mod catalog;
pub mod changes;
pub mod conformance;
pub mod dead_letters;
pub mod dynamic;
pub mod embedded;
pub mod error;
pub mod events;
pub mod flow;
pub mod jobs;
pub mod keys;
pub mod live;
pub mod redecision;
pub mod reports;
pub mod sessions;
pub mod status;
pub mod unhandled;

pub use alerts::{AlertQueue, Attempt, ClaimedAlert, Retrying, Settlement};
pub use audit::{Audit, AuditFilter, AuditRow, DeliveryRow, StoredAuditRow};
pub use catalog::{Catalog, Change, ConfigAuditRow, Imported, Names, Note};
pub use dead_letters::{DeadLetter, DeadLetterFilter, DeadLetters, Dlq, LetterGroup, Reason};
pub use dynamic::{Dynamic, DynamicConfig};
pub use error::{EngineError, Result};
pub use events::{Decision, EventClaim, EventQueue, NewAlert, Outcome, Settled};
pub use flow::{Circuit, CircuitPolicy, CircuitState, Flow, Limit, Permit};
pub use jobs::{Jobs, SavedJob};
pub use keys::{ApiKey, ApiKeys, KeyRole, NewApiKey};
pub use live::{Changed, Live};
pub use reports::{FlowCounts, ProcessReport, Reported, StoreStatus};
pub use sessions::{NewSession, Session, Sessions};
pub use status::{
    Component, Counters, Outcomes, QueueStatus, Span, Status, WorkerKind, WorkerStatus, Workers,
};
pub use unhandled::{Unhandled, UnhandledPolicy, UnhandledScope};

/// Everything an engine does. Implemented by whatever implements the parts.
pub trait Engine:
    EventQueue
    + AlertQueue
    + DeadLetters
    + Catalog
    + ApiKeys
    + Sessions
    + Jobs
    + Audit
    + DynamicConfig
    + Flow
    + Workers
    + Counters
    + Live
    + 'static
{
}

impl<T> Engine for T where
    T: EventQueue
        + AlertQueue
        + DeadLetters
        + Catalog
        + ApiKeys
        + Sessions
        + Jobs
        + Audit
        + DynamicConfig
        + Flow
        + Workers
        + Counters
        + Live
        + 'static
{
}

//! SNMP traps and informs: what a datagram says, whether it may be believed, and what is answered.
//!
//! No sockets, no engine, no clock: functions from bytes to a [`Trap`], and the little state that
//! version 3 needs. All parts of a trap are borrowed from its datagram.

mod answer;
mod ber;
mod event;
mod identity;
mod informs;
mod keys;
mod message;
pub mod mibs;
pub mod names;
pub mod oid;
mod outcome;
mod receiver;
mod remote;
pub mod render;
pub mod trap;
mod users;

pub use event::{EventOrigin, write_event};
pub use identity::{EngineFile, EngineFileError, EngineId, LocalEngine};
pub use informs::{Answer, Arrival, InformKey, Informs};
pub use oid::{Oid, OidError};
pub use outcome::{Received, Refusal, UsmStat};
pub use receiver::Receiver;
pub use trap::{Missing, SecurityLevel, Trap, Value, Varbind, Version};
pub use users::{Access, AccessError};

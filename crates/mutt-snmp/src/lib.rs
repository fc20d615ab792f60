//! SNMP traps and informs: what a datagram says, whether it may be believed, and what is answered.
//!
//! No sockets, no engine, no clock: functions from bytes to a [`Trap`], and the little state that
//! version 3 needs. All parts of a trap are borrowed from its datagram.

pub mod oid;
pub mod trap;

pub use oid::{Oid, OidError};
pub use trap::{Missing, SecurityLevel, Trap, Value, Varbind, Version};

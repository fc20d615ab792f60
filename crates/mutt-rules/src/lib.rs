//! What an event means: rules, the compiled matcher over all of them, and explanations.
//!
//! Pure: no I/O, no clock, no knowledge of queues or tables. A [`RuleSet`] is built once from the
//! stored rules, shared by all workers and swapped whole when rules change.

mod explain;
mod handling;
mod matcher;
mod oid;
mod rule;
mod validate;

pub use explain::{Explanation, Found, Group, Matched, Verdict};
pub use handling::{Environment, Handling};
pub use matcher::{RuleSet, Scratch, Skipped, Subject};
pub use oid::{Oid, OidError};
pub use rule::{MatchType, Mode, Rule, RuleChange, RuleDraft};
pub use validate::{FieldError, Invalid};

//! Events that arrive as JSON, and queue elements read back.
//!
//! A record is validated in one pass that borrows what matters and builds no value tree; its own
//! text goes into the queue with MUTT's fields appended. What [`accept`] lets through, [`view`] and
//! every other JSON reader can read: numbers in range, no half surrogate pairs, depth limited, no
//! key that means anything to MUTT twice.

mod accept;
mod bulk;
mod checks;
mod documents;
mod fields;
mod records;
mod view;

pub use accept::{Accept, RequiredFields, accept};
pub use bulk::{Action, Bulk, BulkItem};
pub use documents::accept_document;
pub use records::{Records, records};
pub use view::view;

/// Why a record is no event. `message` names the field, what is wrong with it and what is allowed,
/// and is written for the person at the sending end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Rejected {
    /// The field at fault, where it is one.
    pub field: Option<String>,
    /// The reason, for people.
    pub message: String,
    /// The reason, for counters.
    pub kind: RejectKind,
}

/// The classes of rejection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RejectKind {
    /// Not JSON, or not UTF-8.
    NotJson,
    /// JSON, but not an object.
    NotObject,
    /// An object with a field missing or of a value that is not allowed.
    Field,
}

impl RejectKind {
    /// The stable name in metrics and dead letters.
    pub fn name(self) -> &'static str {
        match self {
            Self::NotJson => "not_json",
            Self::NotObject => "not_object",
            Self::Field => "field",
        }
    }
}

impl Rejected {
    fn not_json(message: impl Into<String>) -> Self {
        Self {
            field: None,
            message: message.into(),
            kind: RejectKind::NotJson,
        }
    }

    fn not_object(message: impl Into<String>) -> Self {
        Self {
            field: None,
            message: message.into(),
            kind: RejectKind::NotObject,
        }
    }

    fn field(field: &str, message: impl Into<String>) -> Self {
        Self {
            field: Some(field.to_owned()),
            message: message.into(),
            kind: RejectKind::Field,
        }
    }
}

#[cfg(test)]
mod tests;

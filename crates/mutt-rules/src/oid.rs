//! Object identifiers as people and traps write them, parsed into arcs.
//!
//! Promises that OIDs are compared arc by arc: `.1.3.6.1.4.1.9` is no ancestor of
//! `.1.3.6.1.4.1.99`. Knows nothing of rules.

use std::fmt;
use std::str::FromStr;

/// An object identifier. Written with or without a leading dot; a trailing `.` or `.*` is taken
/// to mean "and everything below" and dropped.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Oid(Box<[u32]>);

/// Why a text is no object identifier.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{reason}; allowed are numbers from 0 to 4294967295 with dots between, such as .1.3.6.1.4.1.9"
)]
pub struct OidError {
    /// What is wrong.
    pub reason: String,
    /// Where, in characters from 0.
    pub position: usize,
}

impl OidError {
    fn new(text: &str, byte: usize, reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            position: text[..byte].chars().count(),
        }
    }
}

impl Oid {
    /// The arcs, from the root.
    pub fn arcs(&self) -> &[u32] {
        &self.0
    }

    /// Whether `other` equals this OID or lies below it.
    pub fn is_prefix_of(&self, other: &Self) -> bool {
        other.0.starts_with(&self.0)
    }

    /// Replaces what is in `arcs` with the arcs of `text`, so that a worker parses the OID of
    /// each trap without an allocation.
    ///
    /// # Errors
    /// When `text` is no OID; `arcs` then holds what came before the error.
    pub(crate) fn parse_into(text: &str, arcs: &mut Vec<u32>) -> Result<(), OidError> {
        arcs.clear();
        let trimmed = text
            .strip_suffix(".*")
            .or_else(|| text.strip_suffix('.'))
            .unwrap_or(text);
        let start = usize::from(trimmed.starts_with('.'));
        if trimmed.len() == start {
            return Err(OidError::new(text, 0, "it has no numbers"));
        }
        let mut at = start;
        for part in trimmed[start..].split('.') {
            if part.is_empty() {
                return Err(OidError::new(
                    text,
                    at,
                    "a number is missing between two dots",
                ));
            }
            if let Some(wrong) = part.find(|c: char| !c.is_ascii_digit()) {
                let found = part[wrong..].chars().next().unwrap_or_default();
                return Err(OidError::new(
                    text,
                    at + wrong,
                    format!("'{found}' is no digit"),
                ));
            }
            let Ok(arc) = part.parse() else {
                return Err(OidError::new(text, at, format!("{part} is too large")));
            };
            arcs.push(arc);
            at += part.len() + 1;
        }
        Ok(())
    }
}

impl FromStr for Oid {
    type Err = OidError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut arcs = Vec::new();
        Self::parse_into(text, &mut arcs)?;
        Ok(Self(arcs.into()))
    }
}

impl fmt::Display for Oid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|arc| write!(f, ".{arc}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_usual_spelling() {
        for text in ["1.3.6", ".1.3.6", ".1.3.6.", ".1.3.6.*", "1.3.6.*"] {
            assert_eq!(text.parse::<Oid>().unwrap().arcs(), [1, 3, 6], "{text}");
        }
        assert_eq!(
            "0.4294967295".parse::<Oid>().unwrap().to_string(),
            ".0.4294967295"
        );
    }

    #[test]
    fn refuses_with_the_position() {
        for (text, position) in [
            ("", 0),
            (".", 0),
            (".*", 0),
            ("1..3", 2),
            ("1.3.x", 4),
            ("1.é", 2),
            ("é1.3", 0),
            ("1.4294967296", 2),
            ("1.*.3", 2),
            ("..1", 1),
            ("1.-3", 2),
            ("1.3 ", 3),
        ] {
            assert_eq!(
                text.parse::<Oid>().unwrap_err().position,
                position,
                "{text}"
            );
        }
    }

    #[test]
    fn compares_arc_by_arc() {
        let cisco: Oid = ".1.3.6.1.4.1.9".parse().unwrap();
        assert!(cisco.is_prefix_of(&cisco));
        assert!(cisco.is_prefix_of(&"1.3.6.1.4.1.9.9.41.2".parse().unwrap()));
        assert!(!cisco.is_prefix_of(&".1.3.6.1.4.1.99".parse().unwrap()));
        assert!(!cisco.is_prefix_of(&".1.3.6".parse().unwrap()));
    }
}

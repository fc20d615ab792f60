//! Object identifiers as people and traps write them, parsed into arcs.
//!
//! Promises that OIDs are compared arc by arc: `.1.3.6.1.4.1.9` is no ancestor of
//! `.1.3.6.1.4.1.99`; and that the OID of a trap is found with and without the 0 before its last
//! number. Knows nothing of rules.
//!
//! That 0 comes and goes. An `SNMPv1` trap `specific` of an `enterprise` becomes
//! `enterprise.0.specific` (RFC 3584), while many devices send and many MIBs define
//! `enterprise.specific` in `SNMPv2`; an `SNMPv1` enterprise that itself ends in 0 gives two zeros.

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

    /// Whether a trap with the OID `trap` is meant by this OID: it is the same, or lies below it.
    /// Zeros before the last number of the trap's OID may be there or not: `.1.3.6.1.4.1.318.5`,
    /// `.1.3.6.1.4.1.318.0.5` and `.1.3.6.1.4.1.318.0.0.5` are the same trap, and all three lie
    /// below `.1.3.6.1.4.1.318.0`.
    pub fn matches_trap(&self, trap: &[u32]) -> bool {
        trap.starts_with(&self.0)
            || Split::of(trap).is_some_and(|trap| self.means_or_is_above(&trap))
    }

    /// Whether every trap that `other` means is meant by this OID too.
    pub fn covers(&self, other: &Self) -> bool {
        // Being above `other` is not enough: this OID might miss other spellings of it.
        other.0.starts_with(&self.0)
            && Split::of(&other.0).is_none_or(|other| {
                other.above.starts_with(&self.0) || self.means_or_is_above(&other)
            })
    }

    /// Whether this OID is another spelling of `trap`, or ends in the 0 that may stand before the
    /// last number of `trap`.
    fn means_or_is_above(&self, trap: &Split<'_>) -> bool {
        Split::of(&self.0).is_some_and(|own| own.above == trap.above && own.last == trap.last)
            || self
                .0
                .strip_prefix(trap.above)
                .is_some_and(|rest| rest == [0])
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

/// The OID of a trap, apart from the zeros before its last number.
pub(crate) struct Split<'a> {
    /// What stands before those zeros; not empty.
    pub(crate) above: &'a [u32],
    /// How many zeros.
    pub(crate) zeros: usize,
    pub(crate) last: u32,
}

impl<'a> Split<'a> {
    /// `None` where nothing stands before the zeros.
    pub(crate) fn of(arcs: &'a [u32]) -> Option<Self> {
        let (&last, before) = arcs.split_last()?;
        let end = before.iter().rposition(|&arc| arc != 0)? + 1;
        Some(Self {
            above: &before[..end],
            zeros: before.len() - end,
            last,
        })
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

    fn oid(text: &str) -> Oid {
        text.parse().unwrap()
    }

    #[test]
    fn compares_arc_by_arc() {
        let cisco = oid(".1.3.6.1.4.1.9");
        assert!(cisco.matches_trap(cisco.arcs()));
        assert!(cisco.matches_trap(oid("1.3.6.1.4.1.9.9.41.2").arcs()));
        assert!(!cisco.matches_trap(oid(".1.3.6.1.4.1.99").arcs()));
        assert!(!cisco.matches_trap(oid(".1.3.6").arcs()));
    }

    #[test]
    fn zeros_before_the_last_number_of_a_trap_come_and_go() {
        let spellings = ["1.3.318.5", "1.3.318.0.5", "1.3.318.0.0.5"];
        for rule in spellings {
            for trap in spellings {
                assert!(
                    oid(rule).matches_trap(oid(trap).arcs()),
                    "rule {rule}, trap {trap}"
                );
            }
        }
        for rule in ["1.3", "1.3.318", "1.3.318.0"] {
            for trap in spellings {
                assert!(
                    oid(rule).matches_trap(oid(trap).arcs()),
                    "rule {rule}, trap {trap}"
                );
            }
        }
        for (rule, trap) in [
            // Cisco's reload is trap 0; trap 1 is another.
            ("1.3.9.0.0", "1.3.9.0.1"),
            ("1.3.9.0.0", "1.3.9.1"),
            ("1.3.9.0.1", "1.3.9.0.0"),
            // Only zeros before the last number: elsewhere a 0 means something.
            ("1.3.0.9.5", "1.3.9.5"),
            ("1.3.9.5", "1.3.0.9.5"),
            ("1.3.318.0.5", "1.3.318.5.1"),
            ("1.3.318.5", "1.3.318.0.50"),
            ("0.0", "1.0"),
            ("1.0.5", "2.5"),
        ] {
            assert!(
                !oid(rule).matches_trap(oid(trap).arcs()),
                "rule {rule}, trap {trap}"
            );
        }
        assert!(oid("1.3.9.0.0").matches_trap(oid("1.3.9.0").arcs()));
        assert!(oid("1.3.9.0").matches_trap(oid("1.3.9.0.0").arcs()));
    }

    /// What `covers` says holds for every pair of short OIDs and every trap.
    #[test]
    fn covers_is_true_of_every_trap() {
        let mut all = vec![vec![]];
        let mut from = 0;
        for _ in 0..6 {
            let to = all.len();
            for at in from..to {
                for arc in 0..2 {
                    let mut longer: Vec<u32> = all[at].clone();
                    longer.push(arc);
                    all.push(longer);
                }
            }
            from = to;
        }
        all.remove(0);
        let short: Vec<Oid> = all
            .iter()
            .filter(|arcs| arcs.len() < 5)
            .map(|arcs| Oid(arcs.clone().into()))
            .collect();
        for one in &short {
            for other in &short {
                let truly = all
                    .iter()
                    .filter(|trap| other.matches_trap(trap))
                    .all(|trap| one.matches_trap(trap));
                assert_eq!(one.covers(other), truly, "{one} and {other}");
            }
        }
    }
}

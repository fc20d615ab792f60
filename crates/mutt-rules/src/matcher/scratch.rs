//! What one worker needs to remember while it matches, kept from event to event so that matching
//! allocates nothing.

use super::index::{Index, Marks};

/// A worker's memory for [`RuleSet::find`](crate::RuleSet::find). Serves any rule set, one after
/// the other.
#[derive(Debug, Default)]
pub struct Scratch {
    /// The set that `marks` fits.
    set: u64,
    pub(super) lowered: String,
    pub(super) folded: String,
    pub(super) arcs: Vec<u32>,
    pub(super) marks: Marks,
    pub(super) observed_ranks: Vec<u32>,
    pub(super) observed: Vec<i64>,
}

impl Scratch {
    /// An empty scratch; it grows with its first event.
    pub fn new() -> Self {
        Self::default()
    }

    /// The ids of the rules in mode `observe` that matched the last event, by priority, then id.
    pub fn observed(&self) -> &[i64] {
        &self.observed
    }

    pub(super) fn begin(&mut self, set: u64, index: Option<&Index>) {
        if self.set != set {
            self.set = set;
            self.marks = index.map(Index::marks).unwrap_or_default();
        }
        self.observed_ranks.clear();
        self.observed.clear();
    }
}

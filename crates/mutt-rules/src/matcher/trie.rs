//! The trap OIDs of all rules in one tree, a level per arc: a trap walks down its own OID once,
//! however many rules there are.

use crate::Oid;
use crate::oid::Split;

/// A tree of OIDs with the ranks of the rules that ask for them.
#[derive(Debug, Default)]
pub(super) struct OidTrie {
    root: Node,
}

#[derive(Debug, Default)]
struct Node {
    /// Sorted by arc.
    children: Vec<(u32, Node)>,
    /// Rank, and whether the rule only watches.
    rules: Vec<(u32, bool)>,
}

impl OidTrie {
    pub(super) fn insert(&mut self, oid: &Oid, rank: u32, observe: bool) {
        let mut node = &mut self.root;
        for &arc in oid.arcs() {
            let at = match node.children.binary_search_by_key(&arc, |child| child.0) {
                Ok(at) => at,
                Err(at) => {
                    node.children.insert(at, (arc, Node::default()));
                    at
                }
            };
            node = &mut node.children[at].1;
        }
        node.rules.push((rank, observe));
    }

    /// Calls `found` once for every rule whose OID means the trap `arcs`, as
    /// [`Oid::matches_trap`] says it.
    pub(super) fn search(&self, arcs: &[u32], mut found: impl FnMut(u32, bool)) {
        let split = Split::of(arcs);
        let mut above = None;
        let mut node = &self.root;
        for (depth, &arc) in (1..).zip(arcs) {
            let Some(child) = node.child(arc) else {
                break;
            };
            node = child;
            node.report(&mut found);
            if split
                .as_ref()
                .is_some_and(|split| split.above.len() == depth)
            {
                above = Some(node);
            }
        }
        if let (Some(split), Some(above)) = (split, above) {
            above.search_spellings(&split, &mut found);
        }
    }
}

impl Node {
    fn child(&self, arc: u32) -> Option<&Self> {
        let at = self
            .children
            .binary_search_by_key(&arc, |child| child.0)
            .ok()?;
        Some(&self.children[at].1)
    }

    fn report(&self, found: &mut impl FnMut(u32, bool)) {
        for &(rank, observe) in &self.rules {
            found(rank, observe);
        }
    }

    /// Reports what the walk down the trap's own OID did not pass: from what stands above its
    /// zeros, every other number of zeros and then the last number.
    fn search_spellings(&self, split: &Split<'_>, found: &mut impl FnMut(u32, bool)) {
        let mut node = self;
        for zeros in 0.. {
            // Where the last number is a 0 too, the walk has seen all with fewer zeros.
            let passed = zeros == split.zeros || (split.last == 0 && zeros < split.zeros);
            if !passed && let Some(child) = node.child(split.last) {
                child.report(found);
            }
            let Some(child) = node.child(0) else { return };
            node = child;
            if zeros == 0 && split.zeros == 0 && split.last != 0 {
                node.report(found);
            }
        }
    }
}

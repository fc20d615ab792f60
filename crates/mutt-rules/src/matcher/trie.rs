//! The trap OIDs of all rules in one tree, a level per arc: a trap walks down its own OID once,
//! however many rules there are.

use crate::Oid;

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

    /// Calls `found` for every rule whose OID equals `arcs` or lies above it.
    pub(super) fn search(&self, arcs: &[u32], mut found: impl FnMut(u32, bool)) {
        let mut node = &self.root;
        for arc in arcs {
            let Ok(at) = node.children.binary_search_by_key(arc, |child| child.0) else {
                return;
            };
            node = &node.children[at].1;
            for &(rank, observe) in &node.rules {
                found(rank, observe);
            }
        }
    }
}

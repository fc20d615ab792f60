//! What the numbers of a trap are called: one immutable table from object identifiers to names, made
//! of MUTT's own table, the operator's MIB files and the operator's names file, in the order in which
//! the later ones win.
//!
//! Promises that a look-up allocates nothing, and that whatever the table lacks is still told by its
//! longest known part (`ifDescr.3`, `cisco.9.41.2`). Knows nothing of files being watched, and never
//! replaces a number: names stand beside it.

mod builtin;
mod file;

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::{Arc, LazyLock};

pub use file::{Line, LineError, parse as parse_names_file};

use crate::oid::Oid;
use crate::render::{Role, Sentence};

/// The longest name that is taken from a file, in bytes.
pub const MAX_NAME: usize = 128;

/// What an object identifier stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A branch of the tree.
    Node,
    /// A notification.
    Trap,
    /// A variable.
    Object,
}

/// How the octets or the number of a variable are to be read.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum Display {
    /// Nothing is known: by its looks.
    #[default]
    Looks,
    /// Text.
    Text,
    /// A hardware address, or whatever is usually written in pairs of digits with colons.
    Mac,
    /// An IPv4 or IPv6 address, told apart by length.
    Address,
    /// RFC 2579's `DateAndTime`.
    DateAndTime,
    /// BITS with these labels.
    Bits(Labels),
    /// By an RFC 2579 DISPLAY-HINT of octets.
    Octets(Box<str>),
    /// An integer with so many digits behind the point (`d-2`).
    Decimals(u8),
    /// An integer in hexadecimal digits (`x`).
    Hex,
}

/// The labels of an enumeration or of bits, by number.
pub type Labels = Arc<[(i64, Box<str>)]>;

/// Where a name is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// MUTT's own table.
    BuiltIn,
    /// A MIB file of the operator.
    Mib,
    /// The names file of the operator.
    NamesFile,
}

/// One name.
#[derive(Clone, Debug)]
pub struct Entry {
    /// What it names.
    pub oid: Oid<'static>,
    /// The name.
    pub name: Arc<str>,
    /// What it stands for.
    pub kind: Kind,
    /// How its values are to be read.
    pub display: Display,
    /// The labels of an enumeration.
    pub labels: Option<Labels>,
    /// Where the name is from.
    pub origin: Origin,
    /// The module that defines it, for a name of a MIB file.
    pub module: Option<Arc<str>>,
    /// What a variable says in the sentences of well-known traps.
    pub(crate) role: Role,
    /// The sentence of a well-known trap.
    pub(crate) sentence: Sentence,
}

impl Entry {
    /// A name of which nothing else is known.
    pub fn new(oid: Oid<'static>, name: impl Into<Arc<str>>, kind: Kind, origin: Origin) -> Self {
        Self {
            oid,
            name: name.into(),
            kind,
            display: Display::default(),
            labels: None,
            origin,
            module: None,
            role: Role::None,
            sentence: Sentence::None,
        }
    }

    /// The label of an enumerated value.
    pub fn label(&self, value: i64) -> Option<&str> {
        self.labels
            .as_ref()?
            .iter()
            .find(|(number, _)| *number == value)
            .map(|(_, label)| &**label)
    }
}

/// The table.
#[derive(Debug)]
pub struct Names {
    /// Sorted by the octets of the identifier, each once.
    entries: Vec<Entry>,
    /// For each entry the nearest one above it in the tree.
    above: Vec<u32>,
}

/// "No entry" in [`Names::above`].
const NONE: u32 = u32::MAX;

/// What the table says of an identifier: the entry of its longest known part.
#[derive(Clone, Copy, Debug)]
pub struct Found<'n> {
    /// The entry.
    pub entry: &'n Entry,
    /// Whether it is the whole identifier.
    pub exact: bool,
}

impl Names {
    /// MUTT's own names.
    pub fn builtin() -> Arc<Self> {
        static BUILTIN: LazyLock<Arc<Names>> = LazyLock::new(|| Arc::new(Names::new([])));
        BUILTIN.clone()
    }

    /// MUTT's own names and these: a later entry for the same identifier replaces the name of an
    /// earlier one, and what it knows of its values.
    pub fn new(more: impl IntoIterator<Item = Entry>) -> Self {
        let mut entries: Vec<Entry> = builtin::entries().to_vec();
        let mut at: HashMap<Oid<'static>, usize> = entries
            .iter()
            .enumerate()
            .map(|(index, entry)| (entry.oid.clone(), index))
            .collect();
        for entry in more {
            if let Some(&index) = at.get(&entry.oid) {
                overlay(&mut entries[index], entry);
            } else {
                at.insert(entry.oid.clone(), entries.len());
                entries.push(entry);
            }
        }
        entries.sort_unstable_by(|one, other| one.oid.as_ber().cmp(other.oid.as_ber()));
        let above = above(&entries);
        Self { entries, above }
    }

    /// All entries, in the order of their identifiers' octets.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The entry of exactly this identifier.
    pub fn get(&self, oid: &Oid<'_>) -> Option<&Entry> {
        self.find(oid)
            .filter(|found| found.exact)
            .map(|found| found.entry)
    }

    /// The entry of this identifier or of the nearest one above it that has a name.
    pub fn find(&self, oid: &Oid<'_>) -> Option<Found<'_>> {
        let key = oid.as_ber();
        let after = self
            .entries
            .partition_point(|entry| entry.oid.as_ber() <= key);
        let mut at = after.checked_sub(1)?;
        // Whatever is a prefix of the key is the entry before it or stands above that entry.
        loop {
            let entry = &self.entries[at];
            if key.starts_with(entry.oid.as_ber()) {
                return Some(Found {
                    entry,
                    exact: key.len() == entry.oid.as_ber().len(),
                });
            }
            at = match self.above[at] {
                NONE => return None,
                above => above as usize,
            };
        }
    }

    /// The entry of a trap's identifier. A notification is found with and without zeros before its
    /// last number: an SNMPv1 trap has one more than many MIBs say.
    pub fn find_trap(&self, oid: &Oid<'_>) -> Option<Found<'_>> {
        let found = self.find(oid)?;
        if found.exact && found.entry.kind == Kind::Trap {
            return Some(found);
        }
        let arcs: Vec<u32> = oid.arcs().collect();
        let spelled = arcs.split_last().and_then(|(&last, before)| {
            let end = before.iter().rposition(|&arc| arc != 0)? + 1;
            (0..=2)
                .filter(|&zeros| zeros != before.len() - end)
                .find_map(|zeros| {
                    let arcs = before[..end].iter().copied();
                    let oid = arcs
                        .chain(std::iter::repeat_n(0, zeros))
                        .chain(std::iter::once(last));
                    let oid = Oid::from_arcs(oid).ok()?;
                    self.get(&oid).filter(|entry| entry.kind == Kind::Trap)
                })
        });
        match spelled {
            Some(entry) => Some(Found { entry, exact: true }),
            None => Some(found),
        }
    }

    /// The name of an identifier, with the numbers that have none behind it. `None` where not even a
    /// part is known.
    pub fn name(&self, oid: &Oid<'_>) -> Option<String> {
        let mut name = String::new();
        self.find(oid)?.write_name(oid, &mut name);
        Some(name)
    }

    /// The name of a trap's identifier, as [`Names::find_trap`] finds it.
    pub fn trap_name(&self, oid: &Oid<'_>) -> Option<String> {
        let mut name = String::new();
        self.find_trap(oid)?.write_name(oid, &mut name);
        Some(name)
    }

    /// The identifier that a name stands for, with numbers behind it or not (`ifDescr.3`), and with
    /// the module in front or not (`IF-MIB::ifDescr`). Looks at every entry: for people only.
    pub fn oid(&self, name: &str) -> Option<Oid<'static>> {
        let name = name.rsplit("::").next().unwrap_or(name);
        let (name, rest) = match name.split_once('.') {
            Some((name, rest)) => (name, Some(rest)),
            None => (name, None),
        };
        let entry = self
            .entries
            .iter()
            .filter(|entry| &*entry.name == name)
            .max_by_key(|entry| entry.kind != Kind::Node)?;
        match rest {
            None => Some(entry.oid.clone()),
            Some(rest) => format!("{}.{rest}", entry.oid).parse().ok(),
        }
    }
}

impl Found<'_> {
    /// Appends the entry's name and the numbers of `oid` that lie below it.
    pub fn write_name(&self, oid: &Oid<'_>, out: &mut String) {
        out.push_str(&self.entry.name);
        if self.exact {
            return;
        }
        for arc in oid.below(&self.entry.oid).into_iter().flatten() {
            let _ = write!(out, ".{arc}");
        }
    }
}

/// Adds to an entry what a later source knows of it.
fn overlay(entry: &mut Entry, later: Entry) {
    entry.name = later.name;
    entry.origin = later.origin;
    if later.origin == Origin::NamesFile {
        return;
    }
    entry.kind = later.kind;
    entry.module = later.module;
    if later.labels.is_some() {
        entry.labels = later.labels;
    }
    if later.display != Display::Looks {
        entry.display = later.display;
    }
}

/// For each of the sorted entries the index of the nearest one above it.
fn above(entries: &[Entry]) -> Vec<u32> {
    let mut above = Vec::with_capacity(entries.len());
    let mut branch: Vec<u32> = Vec::new();
    for (index, entry) in (0_u32..).zip(entries) {
        while let Some(&last) = branch.last() {
            if entry.oid.starts_with(&entries[last as usize].oid) {
                break;
            }
            branch.pop();
        }
        above.push(branch.last().copied().unwrap_or(NONE));
        branch.push(index);
    }
    above
}

#[cfg(test)]
mod tests;

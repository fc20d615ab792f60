//! MUTT's own names: read once from a text of numbers that is part of the program.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::{Display, Entry, Kind, Labels, Origin};
use crate::oid::Oid;
use crate::render::{Role, Sentence};

const TEXT: &str = include_str!("builtin.txt");

/// The entries, in the order of the text.
pub(super) fn entries() -> &'static [Entry] {
    static ENTRIES: LazyLock<Vec<Entry>> = LazyLock::new(|| {
        let (entries, wrong) = read(TEXT);
        debug_assert!(wrong.is_empty(), "{wrong:?}");
        entries
    });
    &ENTRIES
}

/// The entries of a text in the form of `builtin.txt`, and the lines that say nothing. A place may
/// only name what stands further up.
pub(super) fn read(text: &'static str) -> (Vec<Entry>, Vec<&'static str>) {
    let mut places: HashMap<&str, Vec<u32>> = HashMap::new();
    let mut entries = Vec::new();
    let mut wrong = Vec::new();
    for line in text.lines() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match entry(line, &mut places) {
            Some(entry) => entries.push(entry),
            None => wrong.push(line),
        }
    }
    (entries, wrong)
}

/// The entry of one line.
fn entry(line: &'static str, places: &mut HashMap<&'static str, Vec<u32>>) -> Option<Entry> {
    let mut words = line.split_ascii_whitespace();
    let (kind, name, place) = (words.next()?, words.next()?, words.next()?);
    let (parent, rest) = match place.split_once('.') {
        Some((parent, rest)) if parent.parse::<u32>().is_err() => {
            (places.get(parent)?.as_slice(), rest)
        }
        _ => (&[][..], place),
    };
    let mut arcs = parent.to_vec();
    for arc in rest.split('.') {
        arcs.push(arc.parse().ok()?);
    }
    if places.insert(name, arcs.clone()).is_some() {
        return None;
    }
    let (kind, display) = match kind {
        "node" | "vendor" => (Kind::Node, Display::Looks),
        "trap" => (Kind::Trap, Display::Looks),
        "object" => (Kind::Object, Display::Looks),
        "text" => (Kind::Object, Display::Text),
        "mac" => (Kind::Object, Display::Mac),
        "ip" => (Kind::Object, Display::Address),
        "date" => (Kind::Object, Display::DateAndTime),
        _ => return None,
    };
    let mut labels = Vec::new();
    for word in words {
        let (label, number) = word.strip_suffix(')')?.split_once('(')?;
        labels.push((number.parse().ok()?, label.into()));
    }
    let mut entry = Entry::new(Oid::from_arcs(arcs).ok()?, name, kind, Origin::BuiltIn);
    entry.display = display;
    entry.labels = (!labels.is_empty()).then(|| Labels::from(labels));
    entry.role = Role::of(name);
    entry.sentence = Sentence::of(name);
    Some(entry)
}

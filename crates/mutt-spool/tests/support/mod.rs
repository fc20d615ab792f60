//! Events that are nothing but an id.
#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(
    clippy::unwrap_used,
    reason = "a test ends where something is not as it must be"
)]

use std::path::{Path, PathBuf};

use mutt_engine::{DeadLetter, Reason};
use mutt_event::Batch;
use mutt_spool::Spooled;

pub fn batch<T: AsRef<str>>(ids: &[T]) -> Batch {
    ids.iter().map(|id| id.as_ref().as_bytes()).collect()
}

pub fn letter(id: &str) -> DeadLetter {
    DeadLetter {
        reason: Reason::Malformed,
        detail: format!("detail of {id}"),
        element: id.into(),
    }
}

pub fn event_ids(spooled: &Spooled) -> Vec<String> {
    let events = spooled.events.iter().flat_map(|batch| batch.iter());
    events
        .map(|event| String::from_utf8(event.to_vec()).unwrap())
        .collect()
}

/// The ids of events, then those of rejects.
pub fn ids(spooled: &Spooled) -> Vec<String> {
    let mut ids = event_ids(spooled);
    for letter in &spooled.rejects {
        let id = String::from_utf8(letter.element.clone()).unwrap();
        assert_eq!(letter.detail, format!("detail of {id}"));
        ids.push(id);
    }
    ids
}

/// The files with records, oldest first.
pub fn files(directory: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|suffix| suffix == "segment"))
        .collect();
    files.sort();
    files
}

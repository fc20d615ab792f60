//! A number that only goes up, kept in a file of its own: how far the spool was drained, and which
//! record numbers may have been given.
//!
//! It is overwritten in place, so that it can be written on a full disk too. Two slots are written in
//! turn: what tears the one leaves the other.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use mutt_engine::Result;

use crate::directory;

/// Each slot has a sector of its own.
const SLOT: usize = 512;
const FIELD: usize = 12;

#[derive(Debug)]
pub(crate) struct Mark {
    file: File,
    number: u64,
    slot: usize,
}

impl Mark {
    /// Opens the file with this name in `directory`, or makes it. One that is damaged counts as 0.
    ///
    /// # Errors
    /// `Unusable`.
    pub(crate) fn open(directory: &Path, name: &str) -> Result<Self> {
        let path = directory.join(name);
        Self::read_or_make(directory, &path).map_err(|error| directory::unusable(&path, &error))
    }

    fn read_or_make(directory: &Path, path: &Path) -> io::Result<Self> {
        let file = directory::private_file(path)?;
        let mut bytes = [0; 2 * SLOT];
        if file.metadata()?.len() < bytes.len() as u64 {
            let first = encode(0);
            bytes[..FIELD].copy_from_slice(&first);
            bytes[SLOT..SLOT + FIELD].copy_from_slice(&first);
            file.write_all_at(&bytes, 0)?;
            file.sync_all()?;
            directory::sync(directory)?;
        }
        file.read_exact_at(&mut bytes, 0)?;
        let slots = [decode(&bytes[..FIELD]), decode(&bytes[SLOT..SLOT + FIELD])];
        if slots == [None, None] {
            tracing::warn!(path = %path.display(), "damaged; what was drained may be offered once more");
        }
        let slot = usize::from(slots[1] > slots[0]);
        Ok(Self {
            file,
            number: slots[slot].unwrap_or(0),
            slot,
        })
    }

    /// The number; 0 before the first.
    pub(crate) fn get(&self) -> u64 {
        self.number
    }

    /// Raises it. Durable when it returns.
    pub(crate) fn set(&mut self, number: u64) -> io::Result<()> {
        let slot = 1 - self.slot;
        self.file
            .write_all_at(&encode(number), (slot * SLOT) as u64)?;
        self.file.sync_data()?;
        self.slot = slot;
        self.number = number;
        Ok(())
    }
}

fn encode(number: u64) -> [u8; FIELD] {
    let mut bytes = [0; FIELD];
    bytes[..8].copy_from_slice(&number.to_le_bytes());
    let crc = crc32fast::hash(&bytes[..8]);
    bytes[8..].copy_from_slice(&crc.to_le_bytes());
    bytes
}

fn decode(bytes: &[u8]) -> Option<u64> {
    let (number, crc) = bytes.split_first_chunk::<8>()?;
    (crc32fast::hash(number).to_le_bytes() == *crc).then(|| u64::from_le_bytes(*number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_slot_leaves_the_one_before() {
        let directory = tempfile::tempdir().unwrap();
        let mut mark = Mark::open(directory.path(), "mark").unwrap();
        assert_eq!(mark.get(), 0);
        for number in [5, 6, 1 << 52] {
            mark.set(number).unwrap();
        }
        drop(mark);
        let mark = Mark::open(directory.path(), "mark").unwrap();
        assert_eq!(mark.get(), 1 << 52);
        mark.file
            .write_all_at(&[0xff; 4], (mark.slot * SLOT) as u64)
            .unwrap();
        let mut mark = Mark::open(directory.path(), "mark").unwrap();
        assert_eq!(mark.get(), 6);
        mark.set(7).unwrap();
        assert_eq!(Mark::open(directory.path(), "mark").unwrap().get(), 7);
        for slot in 0..2 {
            mark.file.write_all_at(&[0xff; 4], slot * 512).unwrap();
        }
        assert_eq!(Mark::open(directory.path(), "mark").unwrap().get(), 0);
    }
}

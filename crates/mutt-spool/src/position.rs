//! How far the spool was drained: one number, overwritten in place, so that it can be written on a
//! full disk too.
//!
//! Two slots are written in turn: what tears the one leaves the other.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use mutt_engine::Result;

use crate::directory;

const FILE: &str = "spool.settled";
/// Each slot has a sector of its own.
const SLOT: usize = 512;
const FIELD: usize = 12;

#[derive(Debug)]
pub(crate) struct Position {
    file: File,
    settled: u64,
    slot: usize,
}

impl Position {
    /// Opens the file in `directory`, or makes it. A file that holds no position counts as one that
    /// says that nothing was settled: then records are offered again, and whoever pushes them
    /// recognises their numbers.
    ///
    /// # Errors
    /// `Unusable`.
    pub(crate) fn open(directory: &Path) -> Result<Self> {
        let path = directory.join(FILE);
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
            tracing::warn!(path = %path.display(), "damaged: spooled events are offered once more");
        }
        let slot = usize::from(slots[1] > slots[0]);
        Ok(Self {
            file,
            settled: slots[slot].unwrap_or(0),
            slot,
        })
    }

    /// The last record that was settled; 0 before the first.
    pub(crate) fn settled(&self) -> u64 {
        self.settled
    }

    /// Notes that everything up to this number is settled. Durable when it returns.
    pub(crate) fn settle(&mut self, number: u64) -> io::Result<()> {
        let slot = 1 - self.slot;
        self.file
            .write_all_at(&encode(number), (slot * SLOT) as u64)?;
        self.file.sync_data()?;
        self.slot = slot;
        self.settled = number;
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
        let mut position = Position::open(directory.path()).unwrap();
        assert_eq!(position.settled(), 0);
        for number in [5, 6, 1 << 52] {
            position.settle(number).unwrap();
        }
        drop(position);
        let position = Position::open(directory.path()).unwrap();
        assert_eq!(position.settled(), 1 << 52);
        position
            .file
            .write_all_at(&[0xff; 4], (position.slot * SLOT) as u64)
            .unwrap();
        let mut position = Position::open(directory.path()).unwrap();
        assert_eq!(position.settled(), 6);
        position.settle(7).unwrap();
        assert_eq!(Position::open(directory.path()).unwrap().settled(), 7);
        for slot in 0..2 {
            position.file.write_all_at(&[0xff; 4], slot * 512).unwrap();
        }
        assert_eq!(Position::open(directory.path()).unwrap().settled(), 0);
    }
}

//! One file of the log: a head, then records back to back.
//!
//! A file says in its head which record came before it. So what a failed or torn write left behind
//! the last good record of the file before is known for what it is, and a file in which acknowledged
//! records are missing is noticed.

use std::fs::File;
use std::io::{self, BufReader, Read as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use mutt_engine::{EngineError, Result};

use crate::directory;
use crate::record::{self, HEADER, Header};

const MAGIC: &[u8; 8] = b"MUTTSPL1";
/// Magic, the number of the record before this file, checksum.
const HEAD: usize = 20;
const SUFFIX: &str = "segment";

/// A file of the log, as far as it may be read.
#[derive(Clone, Debug)]
pub(crate) struct Segment {
    pub(crate) path: PathBuf,
    /// Where the last good record ends.
    pub(crate) end: u64,
}

/// Where the records of a file begin.
pub(crate) const START: u64 = HEAD as u64;

/// Makes the file with this index, durable in its directory.
pub(crate) fn create(directory: &Path, index: u64, follows: u64) -> io::Result<(File, PathBuf)> {
    let path = directory.join(format!("{index:016x}.{SUFFIX}"));
    let make = || {
        let file = directory::new_private_file(&path)?;
        let mut head = [0; HEAD];
        head[..8].copy_from_slice(MAGIC);
        head[8..16].copy_from_slice(&follows.to_le_bytes());
        let crc = crc32fast::hash(&head[..16]);
        head[16..].copy_from_slice(&crc.to_le_bytes());
        file.write_all_at(&head, 0)?;
        file.sync_all()?;
        directory::sync(directory)?;
        Ok(file)
    };
    match make() {
        Ok(file) => Ok((file, path)),
        Err(error) => {
            // A file without a whole head is removed at the next start at the latest.
            let _ = std::fs::remove_file(&path);
            Err(error)
        }
    }
}

/// The files of a directory with their indices, oldest first.
pub(crate) fn list(directory: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        let is_segment = path.extension().is_some_and(|suffix| suffix == SUFFIX);
        let index = path
            .file_stem()
            .and_then(|stem| u64::from_str_radix(stem.to_str()?, 16).ok());
        if let Some(index) = index.filter(|_| is_segment) {
            found.push((index, path));
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// The number of the record before this file; `None` where the head is not whole.
pub(crate) fn follows(path: &Path) -> io::Result<Option<u64>> {
    let mut head = [0; HEAD];
    match File::open(path)?.read_exact(&mut head) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    }
    let is_whole =
        head.starts_with(MAGIC) && crc32fast::hash(&head[..16]).to_le_bytes() == head[16..];
    let number = u64::from_le_bytes(head[8..16].try_into().expect("a range of eight bytes"));
    Ok(is_whole.then_some(number))
}

/// What a file holds.
#[derive(Debug, Default)]
pub(crate) struct Survey {
    /// Where the last good record ends.
    pub(crate) end: u64,
    /// The number of the last good record.
    pub(crate) last: Option<u64>,
    /// Where the first record begins that is not settled.
    pub(crate) waiting_from: Option<u64>,
    /// When it was written.
    pub(crate) oldest: Option<Timestamp>,
    /// Events that are not settled.
    pub(crate) events: u64,
    /// Their records' bytes.
    pub(crate) bytes: u64,
}

/// Walks over a file's records as far as they are good: to `through`, or, in the last file, to
/// where a write was torn off.
pub(crate) fn survey(path: &Path, settled: u64, through: Option<u64>) -> io::Result<Survey> {
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    let mut file = BufReader::with_capacity(64 << 10, file);
    file.seek_relative(START.cast_signed())?;
    let mut found = Survey {
        end: START,
        ..Survey::default()
    };
    let mut payload = Vec::new();
    while let Some(header) = next_header(&mut file)? {
        let is_past = through.is_some_and(|through| header.number > through);
        if is_past || found.end + header.size() > length {
            break;
        }
        if through.is_some() {
            file.seek_relative(i64::from(header.length))?;
        } else {
            payload.clear();
            (&mut file)
                .take(header.length.into())
                .read_to_end(&mut payload)?;
            if !record::is_intact(&header, &payload) {
                break;
            }
        }
        if header.number > settled {
            found.waiting_from.get_or_insert(found.end);
            found.oldest.get_or_insert(header.at);
            found.events += u64::from(header.events);
            found.bytes += header.size();
        }
        found.end += header.size();
        found.last = Some(header.number);
    }
    Ok(found)
}

fn next_header(file: &mut BufReader<File>) -> io::Result<Option<Header>> {
    let mut bytes = [0; HEADER];
    match file.read_exact(&mut bytes) {
        Ok(()) => Ok(Header::decode(&bytes)),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

/// Reads the header at an offset.
pub(crate) fn header_at(file: &File, path: &Path, offset: u64) -> Result<Header> {
    let mut bytes = [0; HEADER];
    file.read_exact_at(&mut bytes, offset)
        .map_err(|error| read_failed(path, &error))?;
    Header::decode(&bytes).ok_or_else(|| damaged(path, offset))
}

pub(crate) fn read_failed(path: &Path, error: &io::Error) -> EngineError {
    EngineError::Unavailable(format!("reading {} failed: {error}", path.display()))
}

/// What is said about a record that was good once.
pub(crate) fn damaged(path: &Path, offset: u64) -> EngineError {
    EngineError::Unusable(format!(
        "{} is damaged at byte {offset}: events in it that were acknowledged cannot be read; check the \
         disk, stop MUTT, and move that file away to go on without them",
        path.display()
    ))
}

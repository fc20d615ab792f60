//! Files that an operator edits while MUTT runs: read when they change, and only taken when they are
//! good.

use std::fs::{self, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// The largest file that is read, in bytes.
const MAX_BYTES: u64 = 64 << 20;

/// What is wrong with one of the door's files at the start.
#[derive(Debug, thiserror::Error)]
pub enum DoorError {
    /// A file cannot be read.
    #[error("{setting}: {} cannot be read: {source}", path.display())]
    Unreadable {
        /// The setting that names the file.
        setting: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file has a mistake.
    #[error("{setting}: {}, {problem}", path.display())]
    Mistake {
        /// The setting that names the file.
        setting: &'static str,
        /// The file.
        path: PathBuf,
        /// Where and what.
        problem: String,
    },
    /// The threads that ask DNS cannot be started.
    #[error("REVERSE_DNS: no thread can be started: {0}")]
    Threads(io::Error),
}

/// Makes what is kept of a file's text, or says what is wrong.
type Parse<T> = fn(&str) -> Result<T, String>;

/// A file that may change.
pub(super) struct WatchedFile<T> {
    setting: &'static str,
    path: PathBuf,
    parse: Parse<T>,
    seen: Option<Stamp>,
    /// Whether the last look failed: said once.
    failing: bool,
}

/// What tells one state of a file from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    modified: Option<SystemTime>,
    bytes: u64,
    inode: u64,
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        use std::os::unix::fs::MetadataExt as _;
        Self {
            modified: metadata.modified().ok(),
            bytes: metadata.len(),
            inode: metadata.ino(),
        }
    }
}

/// What a look at a file gave.
pub(super) enum Kept<T> {
    /// There is something new, and it is good.
    New(T),
    /// What was there before holds.
    Old,
}

impl<T> WatchedFile<T> {
    /// Reads the file for the first time.
    pub(super) fn open(
        setting: &'static str,
        path: PathBuf,
        parse: Parse<T>,
    ) -> Result<(Self, T), DoorError> {
        let (stamp, text) = read(&path).map_err(|source| DoorError::Unreadable {
            setting,
            path: path.clone(),
            source,
        })?;
        let value = parse(&text).map_err(|problem| DoorError::Mistake {
            setting,
            path: path.clone(),
            problem,
        })?;
        let file = Self {
            setting,
            path,
            parse,
            seen: Some(stamp),
            failing: false,
        };
        Ok((file, value))
    }

    /// Reads it again if it changed, or `always`.
    pub(super) fn read(&mut self, always: bool) -> Kept<T> {
        if !always
            && let Ok(metadata) = fs::metadata(&self.path)
            && self.seen == Some(Stamp::of(&metadata))
        {
            return Kept::Old;
        }
        let (setting, path) = (self.setting, self.path.display());
        let (stamp, text) = match read(&self.path) {
            Ok(read) => read,
            Err(error) => {
                if !self.failing || always {
                    tracing::error!(setting, %path, %error, "the file cannot be read; what it said before holds");
                }
                self.failing = true;
                self.seen = None;
                return Kept::Old;
            }
        };
        self.seen = Some(stamp);
        self.failing = false;
        match (self.parse)(&text) {
            Ok(value) => Kept::New(value),
            Err(problem) => {
                tracing::error!(setting, %path, problem, "the file has a mistake; what it said before holds");
                Kept::Old
            }
        }
    }
}

fn read(path: &Path) -> io::Result<(Stamp, String)> {
    // Before the text: what is written in between is seen as a change.
    let metadata = fs::metadata(path)?;
    if metadata.len() > MAX_BYTES {
        return Err(io::Error::other(format!(
            "it is larger than {} MiB",
            MAX_BYTES >> 20
        )));
    }
    Ok((Stamp::of(&metadata), fs::read_to_string(path)?))
}

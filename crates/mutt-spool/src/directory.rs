//! The spool's directory: who may look into it, the one process that uses it, its identity.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};

use mutt_engine::{EngineError, Result};
use uuid::Uuid;

const LOCK: &str = "spool.lock";
const ID: &str = "spool.id";

/// Makes the directory where it is missing: only its owner may look into it.
pub(crate) fn create(directory: &Path) -> Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(directory).map_err(|error| {
        EngineError::Unusable(format!(
            "the spool directory {} cannot be made: {error}",
            directory.display()
        ))
    })
}

/// Opens a file that only its owner may read, making it where it is missing.
pub(crate) fn private_file(path: &Path) -> io::Result<File> {
    private().create(true).truncate(false).open(path)
}

/// Makes a file that only its owner may read and that must not be there yet.
pub(crate) fn new_private_file(path: &Path) -> io::Result<File> {
    private().create_new(true).open(path)
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// Makes it durable which files are in the directory.
pub(crate) fn sync(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// What an error while opening means: nothing can be tried again later.
pub(crate) fn unusable(path: &Path, error: &io::Error) -> EngineError {
    EngineError::Unusable(format!(
        "{} cannot be used: {error}; the user that runs MUTT must be able to read and write it, and \
         its disk must have space",
        path.display()
    ))
}

/// The right to be the one process on a directory. The operating system takes it back when the
/// process ends, however it ends.
#[derive(Debug)]
pub(crate) struct DirectoryLock {
    _file: File,
}

impl DirectoryLock {
    /// Takes the lock and leaves this process's number for whoever comes second.
    ///
    /// # Errors
    /// `Unusable` says which process holds it, or why it cannot be taken.
    pub(crate) fn take(directory: &Path) -> Result<Self> {
        let path = directory.join(LOCK);
        let mut file = private_file(&path).map_err(|error| unusable(&path, &error))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                // Who it is only makes the message better.
                let _ = file.read_to_string(&mut holder);
                let holder = match holder.trim() {
                    "" => "another process".to_owned(),
                    pid => format!("the process {pid}"),
                };
                return Err(EngineError::Unusable(format!(
                    "the spool directory {} is in use by {holder}; give every ingestor a MUTT_DATA_DIR \
                     of its own",
                    directory.display()
                )));
            }
            Err(TryLockError::Error(error)) => return Err(unusable(&path, &error)),
        }
        let leave_pid = |file: &mut File| {
            file.set_len(0)?;
            file.rewind()?;
            writeln!(file, "{}", std::process::id())
        };
        // On a full disk the lock holds all the same.
        let _ = leave_pid(&mut file);
        Ok(Self { _file: file })
    }
}

/// The directory's identity, made at its first use.
///
/// # Errors
/// `Unusable` where it cannot be read or written.
pub(crate) fn identity(directory: &Path) -> Result<Uuid> {
    let path = directory.join(ID);
    match fs::read_to_string(&path) {
        Ok(text) => text.trim().parse().map_err(|_| {
            EngineError::Unusable(format!(
                "{} is damaged: it should hold a UUID; remove it only where every pod's queue was \
                 drained since",
                path.display()
            ))
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let id = Uuid::new_v4();
            make_identity(directory, &path, id).map_err(|error| unusable(&path, &error))?;
            Ok(id)
        }
        Err(error) => Err(unusable(&path, &error)),
    }
}

/// Whole or not at all: a half-written identity would be a spool that cannot be opened.
fn make_identity(directory: &Path, path: &Path, id: Uuid) -> io::Result<()> {
    let draft: PathBuf = path.with_extension("new");
    let mut file = private_file(&draft)?;
    file.set_len(0)?;
    writeln!(file, "{id}")?;
    file.sync_all()?;
    fs::rename(&draft, path)?;
    sync(directory)
}

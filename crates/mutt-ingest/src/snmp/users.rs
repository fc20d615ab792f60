//! The file that says who may send traps: read at the start, when it changes, and when asked.
//!
//! A file with a mistake changes nothing: whoever could send before still can.

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use mutt_snmp::{Access, AccessError};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// The largest file that is read, in bytes.
const MAX_BYTES: u64 = 16 << 20;

/// The bits of a file's mode that let everybody on the machine at it.
const EVERYBODY: u32 = 0o007;

/// Who may send traps, as it stands now.
#[derive(Debug)]
pub struct SnmpUsers {
    path: Option<PathBuf>,
    /// What was read last, good or not.
    text: Mutex<Option<String>>,
    access: watch::Sender<Arc<Access>>,
}

/// Why a file of users is not taken.
#[derive(Debug, thiserror::Error)]
pub enum SnmpUsersError {
    /// It cannot be read.
    #[error("SNMP_USERS_FILE: {} cannot be read: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// Everybody on the machine can read the passwords in it.
    #[error(
        "SNMP_USERS_FILE: {} is open to everybody on this machine (mode {mode:03o}) and has \
         passwords in it; `chmod o= {}` closes it",
        path.display(), path.display()
    )]
    Open {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// It has a mistake.
    #[error("SNMP_USERS_FILE: {}, {problem}", path.display())]
    Mistake {
        /// The file.
        path: PathBuf,
        /// Where and what.
        problem: AccessError,
    },
}

impl SnmpUsers {
    /// Without a file: versions 1 and 2c from any community, and no version 3 users.
    pub fn open() -> Arc<Self> {
        Arc::new(Self {
            path: None,
            text: Mutex::new(None),
            access: watch::Sender::new(Arc::new(Access::open())),
        })
    }

    /// What this file says. Blocks.
    ///
    /// # Errors
    /// The file cannot be read, may be read by everybody, or has a mistake.
    pub fn load(path: PathBuf) -> Result<Arc<Self>, SnmpUsersError> {
        let text = read(&path)?;
        let access = parse(&path, &text)?;
        Ok(Arc::new(Self {
            path: Some(path),
            text: Mutex::new(Some(text)),
            access: watch::Sender::new(Arc::new(access)),
        }))
    }

    /// Reads the file again; returns whether it says something new. Users that did not change keep
    /// their keys. Blocks.
    ///
    /// # Errors
    /// As [`SnmpUsers::load`]; what held before still holds. A file that has the same mistake as the
    /// last time is not one.
    pub fn reload(&self) -> Result<bool, SnmpUsersError> {
        let Some(path) = &self.path else {
            return Ok(false);
        };
        let text = read(path)?;
        let mut last = self.text.lock();
        if last.as_ref() == Some(&text) {
            return Ok(false);
        }
        let parsed = parse(path, &text);
        *last = Some(text);
        let mut access = parsed?;
        access.take_over_keys(&self.access.borrow());
        self.access.send_replace(Arc::new(access));
        Ok(true)
    }

    /// Looks at the file every `every` until `shutdown`. A mistake is logged once.
    pub async fn follow(self: Arc<Self>, every: Duration, shutdown: CancellationToken) {
        if self.path.is_none() {
            return;
        }
        let mut failing = false;
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(every) => {}
            }
            // The file may lie on a network file system that hangs.
            let this = Arc::clone(&self);
            let Ok(result) = tokio::task::spawn_blocking(move || this.reload()).await else {
                continue;
            };
            let mistake = matches!(result, Err(SnmpUsersError::Mistake { .. }));
            if result.is_ok() || !failing || mistake {
                self.tell(&result);
            }
            failing = result.is_err() && !mistake;
        }
    }

    /// Logs what came of reading the file again.
    pub fn tell(&self, result: &Result<bool, SnmpUsersError>) {
        match result {
            Ok(true) => {
                let access = self.access();
                let (users, communities) = (access.users(), access.communities());
                tracing::info!(users, communities, "the SNMP users file was read");
            }
            Ok(false) => {}
            Err(error) => tracing::error!(%error, "what the SNMP users file said before holds"),
        }
    }

    /// Who may send now.
    pub fn access(&self) -> Arc<Access> {
        Arc::clone(&self.access.borrow())
    }

    pub(super) fn watch(&self) -> watch::Receiver<Arc<Access>> {
        self.access.subscribe()
    }
}

fn read(path: &Path) -> Result<String, SnmpUsersError> {
    let unreadable = |source| SnmpUsersError::Unreadable {
        path: path.to_owned(),
        source,
    };
    let file = fs::File::open(path).map_err(unreadable)?;
    let mode = file.metadata().map_err(unreadable)?.mode();
    if mode & EVERYBODY != 0 {
        return Err(SnmpUsersError::Open {
            path: path.to_owned(),
            mode: mode & 0o777,
        });
    }
    let mut text = String::new();
    file.take(MAX_BYTES)
        .read_to_string(&mut text)
        .map_err(unreadable)?;
    Ok(text)
}

fn parse(path: &Path, text: &str) -> Result<Access, SnmpUsersError> {
    Access::parse(text).map_err(|problem| SnmpUsersError::Mistake {
        path: path.to_owned(),
        problem,
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn write(path: &Path, text: &str, mode: u32) {
        fs::write(path, text).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_file_that_everybody_can_read_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("snmp.toml");
        write(&path, "communities = [\"a\"]", 0o604);
        let error = SnmpUsers::load(path.clone()).unwrap_err().to_string();
        assert!(
            error.contains("mode 604") && error.contains("chmod o="),
            "{error}"
        );
        write(&path, "communities = [\"a\"]", 0o640);
        assert_eq!(SnmpUsers::load(path).unwrap().access().communities(), 1);
    }

    #[test]
    fn a_mistake_changes_nothing_and_is_said_once() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("snmp.toml");
        write(&path, "communities = [\"a\"]", 0o600);
        let users = SnmpUsers::load(path.clone()).unwrap();
        let mut changes = users.watch();
        assert!(!users.reload().unwrap());
        write(&path, "communities = [\"a\", \"\"]", 0o600);
        let error = users.reload().unwrap_err().to_string();
        assert!(error.contains("snmp.toml, line 1: communities"), "{error}");
        assert!(!users.reload().unwrap());
        assert!(!changes.has_changed().unwrap());
        assert_eq!(users.access().communities(), 1);
        write(&path, "communities = [\"a\", \"b\"]", 0o600);
        assert!(users.reload().unwrap());
        assert_eq!(changes.borrow_and_update().communities(), 2);
        fs::remove_file(&path).unwrap();
        assert!(users.reload().is_err());
        assert_eq!(users.access().communities(), 2);
    }
}

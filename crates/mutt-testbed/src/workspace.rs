//! Directories and ports that no other test, in this process or another, uses at the same time.
//!
//! Everything is in `<temporary directory>/mutt-testbed-<user>/`. Whoever uses a directory or a
//! port holds a lock on a file for as long; what a killed process leaves behind is swept away by
//! the next start.

use std::fs::{self, File, OpenOptions};
use std::net::{TcpListener, UdpSocket};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use rand::RngExt as _;
use tempfile::TempDir;

/// Where everything of this user is kept.
pub(crate) fn base() -> Result<PathBuf> {
    let user = rustix::process::geteuid().as_raw();
    let base = std::env::temp_dir().join(format!("mutt-testbed-{user}"));
    fs::create_dir_all(&base).with_context(|| format!("cannot create {}", base.display()))?;
    // A server that runs as another user has to get through to its own directory.
    fs::set_permissions(&base, fs::Permissions::from_mode(0o755))?;
    Ok(base)
}

/// Opens a file for locking.
pub(crate) fn lock_file(path: &Path) -> Result<File> {
    OpenOptions::new()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(path)
        .with_context(|| format!("cannot open {}", path.display()))
}

/// A server's directory: its own and removed with this value, or one the caller keeps.
#[derive(Debug)]
pub(crate) enum Directory {
    Own { dir: TempDir, _lock: File },
    Kept(PathBuf),
}

impl Directory {
    /// A new, empty directory.
    pub(crate) fn new(name: &str) -> Result<Self> {
        let runs = base()?.join("run");
        fs::create_dir_all(&runs)?;
        sweep(&runs);
        // Not between the creation of a directory and its lock: see `sweep`.
        let door = lock_file(&runs.join("sweep.lock"))?;
        door.lock_shared()?;
        let dir = tempfile::Builder::new()
            .prefix(&format!("{name}-"))
            .permissions(fs::Permissions::from_mode(0o755))
            .tempdir_in(&runs)?;
        let lock = lock_file(&dir.path().join("lock"))?;
        lock.lock()?;
        Ok(Self::Own { dir, _lock: lock })
    }

    /// A directory that outlives this value; created where it does not exist.
    pub(crate) fn kept(path: &Path) -> Result<Self> {
        fs::create_dir_all(path).with_context(|| format!("cannot create {}", path.display()))?;
        // Programs that run elsewhere get it as an option.
        Ok(Self::Kept(path.canonicalize()?))
    }

    pub(crate) fn path(&self) -> &Path {
        match self {
            Self::Own { dir, .. } => dir.path(),
            Self::Kept(path) => path,
        }
    }
}

/// Removes the directories of processes that are gone.
fn sweep(runs: &Path) {
    let Ok(door) = lock_file(&runs.join("sweep.lock")) else {
        return;
    };
    if door.try_lock().is_err() {
        return;
    }
    for entry in fs::read_dir(runs).into_iter().flatten().flatten() {
        let path = entry.path();
        if !path.is_dir() {
            continue;
        }
        if let Ok(lock) = lock_file(&path.join("lock"))
            && lock.try_lock().is_ok()
        {
            // What cannot be removed now is removed next time.
            let _ = fs::remove_dir_all(&path);
        }
    }
}

/// A loopback port that nobody else takes while this value lives, also while no server listens.
#[derive(Debug)]
pub struct Port {
    number: u16,
    _lock: Option<File>,
}

impl Port {
    /// A port that is free for TCP and UDP.
    ///
    /// Below the range from which the kernel takes the local ports of outgoing connections: else
    /// a client that tries to reach a server while it is down could take the server's port, or
    /// even connect to itself.
    ///
    /// # Errors
    /// There is none.
    pub fn free() -> Result<Self> {
        let ports = base()?.join("ports");
        fs::create_dir_all(&ports)?;
        let end = first_ephemeral_port();
        let mut random = rand::rng();
        for _ in 0..1_000 {
            let number = random.random_range(10_000..end);
            let lock = lock_file(&ports.join(number.to_string()))?;
            if lock.try_lock().is_err() {
                continue;
            }
            let both = TcpListener::bind(("127.0.0.1", number)).is_ok()
                && UdpSocket::bind(("127.0.0.1", number)).is_ok();
            if both {
                return Ok(Self {
                    number,
                    _lock: Some(lock),
                });
            }
        }
        bail!("no free port on 127.0.0.1 between 10000 and {end}")
    }

    /// The port that the caller asks for.
    pub(crate) fn fixed(number: u16) -> Self {
        Self {
            number,
            _lock: None,
        }
    }

    /// Its number.
    pub fn number(&self) -> u16 {
        self.number
    }
}

fn first_ephemeral_port() -> u16 {
    fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range")
        .ok()
        .and_then(|range| range.split_whitespace().next()?.parse().ok())
        .filter(|first| *first >= 12_000)
        .unwrap_or(32_768)
}

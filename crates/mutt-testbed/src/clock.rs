//! A wall clock of its own for one process, by libfaketime: ahead, behind, and jumping while the
//! process runs. Timers and time-outs, which use the monotonic clock, go on as they are.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// The library for programs with threads, where it is installed.
pub fn faketime() -> Option<PathBuf> {
    let mut dirs = vec![PathBuf::from("/usr/lib64"), PathBuf::from("/usr/lib")];
    // Debian's directory of the machine's kind, such as x86_64-linux-gnu.
    dirs.extend(
        fs::read_dir("/usr/lib")
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path()),
    );
    dirs.into_iter()
        .map(|dir| dir.join("faketime/libfaketimeMT.so.1"))
        .find(|library| library.is_file())
}

/// A wall clock that processes may be given.
#[derive(Debug)]
pub struct Clock {
    library: PathBuf,
    dir: TempDir,
}

impl Clock {
    /// A clock that is right so far; none where libfaketime is not installed.
    ///
    /// # Panics
    /// The temporary directory cannot be written.
    pub fn new() -> Option<Self> {
        let library = faketime()?;
        let dir = tempfile::tempdir().expect("the temporary directory can be written");
        let clock = Self { library, dir };
        clock.set(0);
        Some(clock)
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("offset")
    }

    /// From now on it is so many seconds ahead of the machine's; negative is behind. Processes that
    /// have it see the jump at once.
    ///
    /// # Panics
    /// Its file cannot be written.
    pub fn set(&self, ahead: i64) {
        let beside = self.dir.path().join("next");
        // At once: a reader must not see half of it.
        fs::write(&beside, format!("{ahead:+}\n"))
            .and_then(|()| fs::rename(&beside, self.file()))
            .expect("the clock's file can be written");
    }

    /// The environment that gives a process this clock.
    pub fn environment(&self) -> [(&'static str, String); 4] {
        let text = |path: &Path| path.display().to_string();
        [
            ("LD_PRELOAD", text(&self.library)),
            ("FAKETIME_TIMESTAMP_FILE", text(&self.file())),
            ("FAKETIME_NO_CACHE", "1".to_owned()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
        ]
    }

    /// The time that a process with this clock sees, in seconds since 1970, to try it out.
    ///
    /// # Panics
    /// `date` cannot be run.
    pub fn now(&self) -> i64 {
        let mut command = Command::new("date");
        let output = command.arg("+%s").envs(self.environment()).output();
        let output = output.expect("date runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.trim().parse().expect("date gives seconds")
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    fn real() -> i64 {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        i64::try_from(since.unwrap().as_secs()).unwrap()
    }

    #[test]
    fn it_jumps_in_both_directions() {
        let Some(clock) = Clock::new() else {
            assert!(std::env::var_os("CI").is_none(), "libfaketime is missing");
            eprintln!("skipped: libfaketime is not installed (`cargo muttdev setup`)");
            return;
        };
        for ahead in [0, 3600, -7200] {
            clock.set(ahead);
            let difference = clock.now() - real() - ahead;
            // The machine may be slow between the two looks.
            assert!(difference.abs() < 60, "{ahead}: {difference}");
        }
    }
}

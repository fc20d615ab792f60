//! What was started here: a file per service with its process id.
//!
//! An id alone can come to belong to a stranger, so the file also says when the process began.
//! Only a process that fits both is looked at or signalled.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rustix::process::{Pid, Signal, kill_process};

/// The file of one service.
pub struct Record {
    file: PathBuf,
}

impl Record {
    pub fn new(dir: &Path, service: &str) -> Self {
        Self {
            file: dir.join(format!("{service}.pid")),
        }
    }

    /// Notes the process of the service.
    pub fn write(&self, pid: u32) -> Result<()> {
        let began = began(pid).context("it has ended already")?;
        fs::write(&self.file, format!("{pid} {began}\n"))
            .with_context(|| self.file.display().to_string())
    }

    /// The service's process, if it is the one that was noted and lives.
    pub fn running(&self) -> Option<u32> {
        let text = fs::read_to_string(&self.file).ok()?;
        let (pid, noted) = text.trim().split_once(' ')?;
        let pid = pid.parse().ok()?;
        (began(pid)? == noted.parse::<u64>().ok()?).then_some(pid)
    }

    pub fn signal(&self, signal: Signal) {
        if let Some(pid) = self.running()
            && let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw)
        {
            let _ = kill_process(pid, signal);
        }
    }

    /// Waits for the end; false where it has not come within `limit`.
    pub fn wait_for_end(&self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        while self.running().is_some() {
            if Instant::now() > deadline {
                return false;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        true
    }

    pub fn remove(&self) {
        let _ = fs::remove_file(&self.file);
    }
}

/// When a living process began, in clock ticks since the machine did.
fn began(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The program's name may hold anything, also parentheses.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?;
    if matches!(state, "Z" | "X") {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_process_is_known_until_it_ends() {
        let dir = tempfile::tempdir().unwrap();
        let record = Record::new(dir.path(), "sleeper");
        assert_eq!(record.running(), None);
        let mut child = Command::new("sleep").arg("600").spawn().unwrap();
        record.write(child.id()).unwrap();
        assert_eq!(record.running(), Some(child.id()));
        record.signal(Signal::TERM);
        // Nobody has reaped it yet; it has ended all the same.
        assert!(record.wait_for_end(Duration::from_mins(1)));
        child.wait().unwrap();
        assert_eq!(record.running(), None);
    }

    #[test]
    fn a_stranger_with_the_same_id_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let record = Record::new(dir.path(), "stranger");
        let mut child = Command::new("sleep").arg("600").spawn().unwrap();
        fs::write(
            dir.path().join("stranger.pid"),
            format!("{} 1\n", child.id()),
        )
        .unwrap();
        assert_eq!(record.running(), None);
        record.signal(Signal::KILL);
        assert_eq!(child.try_wait().unwrap(), None);
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

//! One server process: started, watched until it is ready, signalled, and never left behind.
//!
//! Signals go to the process that was started here, by its id, and only while it has not been
//! reaped, so they cannot reach a stranger that got the same id.

use std::ffi::OsStr;
use std::fs::{self, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Sender};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};
use rustix::process::{Pid, Signal, kill_process};

/// How long a server may take to get ready; generous, for a loaded machine.
const START_LIMIT: Duration = Duration::from_mins(1);
/// How long a server may take to stop when it is asked to.
const STOP_LIMIT: Duration = Duration::from_mins(1);
/// Lines of the log that an error shows.
const SHOWN_LINES: usize = 40;

/// Whether a server ends with this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lifetime {
    /// Killed when the value is dropped or this process ends, in whatever way.
    Owned,
    /// Goes on until somebody stops it.
    Detached,
}

/// A user that a server runs as.
#[derive(Debug, Clone, Copy)]
pub(crate) struct User {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// A server process that can be started again after it ended.
#[derive(Debug)]
pub(crate) struct Process {
    name: &'static str,
    log: PathBuf,
    lifetime: Lifetime,
    child: Mutex<Option<Child>>,
}

impl Process {
    pub(crate) fn new(name: &'static str, log: PathBuf, lifetime: Lifetime) -> Self {
        Self {
            name,
            log,
            lifetime,
            child: Mutex::new(None),
        }
    }

    /// A command for `program` that starts it with this lifetime, as `user` where one is given.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>, user: Option<User>) -> Command {
        // setpriv and setsid end by executing the program, so the process id is the server's.
        let mut command = match self.lifetime {
            Lifetime::Owned => {
                let mut command = Command::new("setpriv");
                command.args(["--pdeathsig", "KILL"]);
                command
            }
            Lifetime::Detached => {
                let mut command = Command::new("setsid");
                command.arg("setpriv");
                command
            }
        };
        if let Some(user) = user {
            command
                .args(["--reuid", &user.uid.to_string()])
                .args(["--regid", &user.gid.to_string()])
                .arg("--clear-groups");
        }
        command.arg("--").arg(program);
        command
    }

    /// Starts the server and waits until `ready` says so.
    ///
    /// # Errors
    /// The server cannot be started, ends, or is not ready within a minute; with the end of its
    /// log.
    pub(crate) fn start(&self, mut command: Command, ready: &dyn Fn() -> bool) -> Result<()> {
        let mut slot = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(child) = slot.as_mut()
            && child.try_wait()?.is_none()
        {
            bail!("{} runs already (process {})", self.name, child.id());
        }
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.log)
            .with_context(|| format!("cannot write {}", self.log.display()))?;
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        let mut child = spawn(command)
            .with_context(|| format!("cannot start {}; is it installed?", self.name))?;
        let failure = match wait_ready(&mut child, ready) {
            Ok(()) => {
                *slot = Some(child);
                return Ok(());
            }
            Err(failure) => failure,
        };
        let _ = child.kill();
        let _ = child.wait();
        Err(anyhow!(
            "{} {failure}; the end of its log ({}):\n{}",
            self.name,
            self.log.display(),
            self.log_tail(SHOWN_LINES)
        ))
    }

    /// Whether the server ends with this value.
    pub(crate) fn is_owned(&self) -> bool {
        self.lifetime == Lifetime::Owned
    }

    /// The process id while the process runs.
    pub(crate) fn pid(&self) -> Option<u32> {
        let mut slot = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        let child = slot.as_mut()?;
        matches!(child.try_wait(), Ok(None)).then(|| child.id())
    }

    /// Sends a signal; nothing where the process has ended.
    pub(crate) fn signal(&self, signal: Signal) {
        let mut slot = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(child) = slot.as_mut()
            && matches!(child.try_wait(), Ok(None))
        {
            send(child.id(), signal);
        }
    }

    /// Kills the process with SIGKILL and waits for its end.
    pub(crate) fn kill(&self) {
        let mut slot = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(mut child) = slot.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Asks the process to stop with `signal` and waits for its end.
    ///
    /// # Errors
    /// It has not ended within a minute; with the end of its log.
    pub(crate) fn stop(&self, signal: Signal) -> Result<Option<ExitStatus>> {
        self.signal(signal);
        let mut slot = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(child) = slot.as_mut() else {
            return Ok(None);
        };
        let mut ended = None;
        if !wait_until(STOP_LIMIT, || {
            ended = child.try_wait().ok().flatten();
            ended.is_some()
        }) {
            bail!(
                "{} does not stop; the end of its log:\n{}",
                self.name,
                self.log_tail(SHOWN_LINES)
            );
        }
        *slot = None;
        Ok(ended)
    }

    /// The last lines of the log.
    pub(crate) fn log_tail(&self, lines: usize) -> String {
        tail(&self.log, lines)
    }

    /// Whether the log's last lines say that the port was taken by somebody else.
    pub(crate) fn port_was_taken(&self) -> bool {
        let tail = self.log_tail(SHOWN_LINES).to_lowercase();
        tail.contains("address already in use")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.is_owned() {
            self.kill();
        }
    }
}

fn wait_ready(child: &mut Child, ready: &dyn Fn() -> bool) -> Result<(), String> {
    let mut ended = None;
    let done = wait_until(START_LIMIT, || {
        ended = child.try_wait().ok().flatten();
        ended.is_some() || ready()
    });
    match (done, ended) {
        (_, Some(status)) => Err(format!("did not start ({status})")),
        (true, None) => Ok(()),
        (false, None) => Err(format!("was not ready after {START_LIMIT:?}")),
    }
}

/// Waits until `condition` holds; false where it does not within `limit`.
pub(crate) fn wait_until(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + limit;
    let mut pause = Duration::from_millis(1);
    loop {
        if condition() {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        thread::sleep(pause);
        pause = (pause * 3 / 2).min(Duration::from_millis(25));
    }
}

/// Sends a signal to a process; nothing where it is gone.
pub(crate) fn send(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, signal);
    }
}

/// The last `lines` lines of a file; empty where it cannot be read.
pub(crate) fn tail(path: &Path, lines: usize) -> String {
    let content = fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&content);
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

type Job = (Command, Sender<io::Result<Child>>);

/// Starts a process from a thread that lives as long as this process.
///
/// The kernel sends the parent-death signal when the *thread* that started a child ends, and the
/// thread of a test ends with the test.
fn spawn(command: Command) -> Result<Child> {
    static SPAWNER: OnceLock<Sender<Job>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (jobs, work) = mpsc::channel::<Job>();
        thread::Builder::new()
            .name("testbed-spawner".to_owned())
            .spawn(move || {
                for (mut command, answer) in work {
                    let _ = answer.send(command.spawn());
                }
            })
            .expect("a thread can be started");
        jobs
    });
    let (answer, child) = mpsc::channel();
    spawner
        .send((command, answer))
        .context("the spawner has ended")?;
    Ok(child.recv().context("the spawner has ended")??)
}

/// Runs a program to its end.
///
/// # Errors
/// It cannot be started or fails; with what it printed.
pub(crate) fn run(command: &mut Command) -> Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run {program}; is it installed?"))?;
    if !output.status.success() {
        bail!(
            "{program} failed ({}):\n{}{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

//! A Redis Sentinel of its own, which watches one primary under the name `mutt`.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};
use rustix::process::Signal;

use crate::process::{Lifetime, Process, wait_until};
use crate::redis::{Redis, listen};
use crate::resp::Resp;
use crate::workspace::{Directory, Port};

/// A running Sentinel; killed when dropped. With TLS and the primary's certificates where the
/// primary has them.
#[derive(Debug)]
pub struct Sentinel {
    // Before the directory: the server ends before its files go.
    process: Process,
    port: Port,
    directory: Directory,
}

impl Sentinel {
    /// Starts a Sentinel that watches `primary`: `quorum` Sentinels have to agree that it is down,
    /// each after `down_after_ms` milliseconds without an answer. It knows the primary's replicas
    /// when this returns.
    ///
    /// # Panics
    /// It does not start; with the end of its log.
    pub fn start(primary: &Redis, quorum: u32, down_after_ms: u32) -> Self {
        Self::try_start(primary, quorum, down_after_ms).unwrap_or_else(|error| panic!("{error:#}"))
    }

    /// As [`start`](Self::start).
    ///
    /// # Errors
    /// It does not start; with the end of its log.
    pub fn try_start(primary: &Redis, quorum: u32, down_after_ms: u32) -> Result<Self> {
        let mut attempt = 0;
        loop {
            attempt += 1;
            let sentinel = Self::prepare(primary, quorum, down_after_ms)?;
            match sentinel.launch() {
                Ok(()) => {
                    sentinel.wait_for_replicas(primary)?;
                    return Ok(sentinel);
                }
                Err(_) if attempt < 5 && sentinel.process.port_was_taken() => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn prepare(primary: &Redis, quorum: u32, down_after_ms: u32) -> Result<Self> {
        let directory = Directory::new("sentinel")?;
        let port = Port::free()?;
        let dir = directory.path().display();
        let mut settings = format!(
            "bind 127.0.0.1\n\
             {}\
             dir \"{dir}\"\n\
             unixsocket \"{dir}/redis.sock\"\n\
             sentinel monitor mutt 127.0.0.1 {} {quorum}\n\
             sentinel down-after-milliseconds mutt {down_after_ms}\n\
             sentinel failover-timeout mutt 5000\n\
             sentinel parallel-syncs mutt 1\n",
            listen(port.number(), primary.certificates()),
            primary.port()
        );
        if let Some(password) = primary.password() {
            writeln!(settings, "sentinel auth-pass mutt {password}")?;
        }
        fs::write(directory.path().join("sentinel.conf"), settings)?;
        let log = directory.path().join("sentinel.log");
        Ok(Self {
            process: Process::new("redis-sentinel", log, Lifetime::Owned),
            port,
            directory,
        })
    }

    fn launch(&self) -> Result<()> {
        // `redis-sentinel` is this program under another name.
        let mut command = self.process.command("redis-server", None);
        command
            .arg(self.directory.path().join("sentinel.conf"))
            .arg("--sentinel");
        let _ = fs::remove_file(self.socket());
        self.process.start(command, &|| {
            self.try_command(&["PING"])
                .is_ok_and(|answer| answer == "PONG")
        })
    }

    /// Without replicas that it knows, a Sentinel cannot fail over; it learns of them by polling.
    fn wait_for_replicas(&self, primary: &Redis) -> Result<()> {
        let info = primary.try_command(&["INFO", "replication"])?;
        let expected = info
            .lines()
            .filter(|line| line.starts_with("slave"))
            .count();
        let known = || {
            self.try_command(&["SENTINEL", "REPLICAS", "mutt"])
                .map_or(0, |replicas| {
                    replicas.lines().filter(|line| *line == "name").count()
                })
        };
        if !wait_until(Duration::from_mins(1), || known() >= expected) {
            bail!(
                "the Sentinel knows {} of {expected} replicas; the end of its log:\n{}",
                known(),
                self.log_tail(40)
            );
        }
        Ok(())
    }

    /// The name under which it watches the primary.
    pub fn master_name(&self) -> &'static str {
        "mutt"
    }

    /// Always `127.0.0.1`.
    pub fn host(&self) -> &'static str {
        "127.0.0.1"
    }

    /// The TCP port.
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("redis.sock")
    }

    /// The port of the server that it takes for the primary.
    ///
    /// # Panics
    /// It does not answer.
    pub fn primary_port(&self) -> u16 {
        let answer = self.command(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", "mutt"]);
        answer
            .lines()
            .nth(1)
            .and_then(|port| port.parse().ok())
            .unwrap_or_else(|| panic!("an address was expected, not {answer:?}"))
    }

    /// The last lines of its log.
    pub fn log_tail(&self, lines: usize) -> String {
        self.process.log_tail(lines)
    }

    /// Kills it with SIGKILL.
    pub fn kill(&self) {
        self.process.kill();
    }

    /// Starts it again with its port and what it has learnt; kills it first where it runs.
    ///
    /// # Panics
    /// It does not start; with the end of its log.
    pub fn restart(&self) {
        self.kill();
        self.launch().unwrap_or_else(|error| panic!("{error:#}"));
    }

    /// Stops the process where it stands (SIGSTOP).
    pub fn pause(&self) {
        self.process.signal(Signal::STOP);
    }

    /// Goes on after [`pause`](Self::pause).
    pub fn resume(&self) {
        self.process.signal(Signal::CONT);
    }

    /// Runs a command; an array comes back with one element per line, nil as nothing.
    ///
    /// # Panics
    /// It refuses or does not answer.
    pub fn command(&self, arguments: &[&str]) -> String {
        self.try_command(arguments)
            .unwrap_or_else(|error| panic!("sentinel {}: {error:#}", arguments.join(" ")))
    }

    /// Runs a command; an array comes back with one element per line, nil as nothing.
    ///
    /// # Errors
    /// It refuses or does not answer within 30 s.
    pub fn try_command(&self, arguments: &[&str]) -> Result<String> {
        Resp::connect(&self.socket())?.command(arguments)
    }
}

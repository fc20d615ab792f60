//! A Prometheus server of its own that scrapes given addresses every second.
//!
//! Debian's package `prometheus`; `cargo muttdev setup` installs it. Its data go with it.

use std::fmt::Write as _;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use anyhow::{Result, bail};
use rustix::process::Signal;

use crate::process::{Lifetime, Process};
use crate::workspace::{Directory, Port};

/// How long one answer may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// A running Prometheus; killed when dropped.
#[derive(Debug)]
pub struct Prometheus {
    // Before the directory: the server ends before its files go.
    process: Process,
    port: Port,
    directory: Directory,
}

impl Prometheus {
    /// Starts a server that scrapes `/metrics` of these `host:port` every second, as the job `mutt`.
    ///
    /// # Panics
    /// It is not installed or does not start; with the end of its log.
    pub fn start(targets: &[String]) -> Self {
        Self::try_start(targets).unwrap_or_else(|error| panic!("{error:#}"))
    }

    /// As [`start`](Self::start).
    ///
    /// # Errors
    /// It is not installed or does not start; with the end of its log.
    pub fn try_start(targets: &[String]) -> Result<Self> {
        let mut attempt = 0;
        loop {
            attempt += 1;
            let server = Self::prepare(targets)?;
            match server.launch() {
                Ok(()) => return Ok(server),
                Err(_) if attempt < 5 && server.process.port_was_taken() => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Whether this machine has Prometheus.
    pub fn is_installed() -> bool {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).any(|dir| dir.join("prometheus").is_file())
    }

    fn prepare(targets: &[String]) -> Result<Self> {
        let directory = Directory::new("prometheus")?;
        let mut settings = String::from(
            "global: {scrape_interval: 1s, scrape_timeout: 1s}\n\
             scrape_configs:\n- job_name: mutt\n  static_configs:\n  - targets:\n",
        );
        for target in targets {
            // The names are ours: hosts and ports.
            let _ = writeln!(settings, "    - \"{target}\"");
        }
        fs::write(directory.path().join("prometheus.yml"), settings)?;
        let log = directory.path().join("prometheus.log");
        Ok(Self {
            process: Process::new("prometheus", log, Lifetime::Owned),
            port: Port::free()?,
            directory,
        })
    }

    fn launch(&self) -> Result<()> {
        let directory = self.directory.path();
        let mut command = self.process.command("prometheus", None);
        let option = |name: &str, value: &str| format!("--{name}={value}");
        command.args([
            option(
                "config.file",
                &directory.join("prometheus.yml").to_string_lossy(),
            ),
            option(
                "storage.tsdb.path",
                &directory.join("data").to_string_lossy(),
            ),
            option(
                "web.listen-address",
                &format!("127.0.0.1:{}", self.port.number()),
            ),
            option("log.level", "warn"),
        ]);
        self.process
            .start(command, &|| self.answer("/-/ready").is_ok())
    }

    /// The first line of an answer that is 200.
    fn answer(&self, path: &str) -> Result<String> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port.number()))?;
        stream.set_read_timeout(Some(ANSWER_LIMIT))?;
        write!(stream, "GET {path} HTTP/1.0\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        let line = text.lines().next().unwrap_or_default().to_owned();
        if !line.contains(" 200 ") {
            bail!("Prometheus answers: {line}");
        }
        Ok(line)
    }

    /// `http://127.0.0.1:<port>`: what `PROMETHEUS_URL` takes.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port.number())
    }

    /// The last lines of the server's log.
    pub fn log_tail(&self, lines: usize) -> String {
        self.process.log_tail(lines)
    }

    /// Kills the server with SIGKILL.
    pub fn kill(&self) {
        self.process.kill();
    }

    /// Stops the process where it stands (SIGSTOP): connections stay, answers do not come.
    pub fn pause(&self) {
        self.process.signal(Signal::STOP);
    }

    /// Goes on after [`pause`](Self::pause).
    pub fn resume(&self) {
        self.process.signal(Signal::CONT);
    }
}

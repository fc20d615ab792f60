//! Roles of MUTT as processes, and what processes cost.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::setup::PATIENCE;

/// Linux counts processor time in hundredths of a second, on every machine.
const TICKS_PER_SECOND: f64 = 100.0;

/// A role in a process of its own; killed when dropped.
pub struct Role {
    process: Child,
    /// Health and metrics; of the ingestor `/ingest` as well.
    pub addr: SocketAddr,
    /// Syslog of the ingestor.
    pub syslog: SocketAddr,
}

/// An address of the loopback interface whose port is free now.
fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

impl Role {
    /// Starts `mutt <role>` and waits until it answers; with other ports where somebody else took one.
    pub async fn start(
        role: &'static str,
        name: &str,
        settings: &[(&'static str, String)],
        dir: &Path,
    ) -> Result<Self> {
        let mut attempts = 1;
        loop {
            match Self::try_start(role, name, settings, dir).await {
                Err(_) if attempts < 5 => attempts += 1,
                result => return result,
            }
        }
    }

    async fn try_start(
        role: &'static str,
        name: &str,
        settings: &[(&'static str, String)],
        dir: &Path,
    ) -> Result<Self> {
        let (addr, syslog) = (free_address()?, free_address()?);
        let log: PathBuf = dir.join(format!("{name}.log"));
        let mut command = Command::new(env!("CARGO_BIN_EXE_mutt"));
        command
            .arg(role)
            .env_clear()
            .envs(settings.iter().map(|(name, value)| (name, value)))
            .env("POD_NAME", name)
            .env("MUTT_DATA_DIR", dir.join(name))
            .env("SYSLOG_UDP_ADDR", syslog.port().to_string())
            .env("SYSLOG_TCP_ADDR", syslog.port().to_string())
            .env("SYSLOG_TLS_ADDR", "off")
            .env("RELP_ADDR", "off")
            .env("SNMP_TRAP_ADDR", "off")
            .stdout(Stdio::null())
            .stderr(File::create(&log)?);
        for (variable, of) in [
            ("SERVER_PORT_INGESTOR", "ingestor"),
            ("SERVER_PORT_ALERTER", "alerter"),
            ("SERVER_PORT_ALERTER_METRICS", ""),
        ] {
            let port = if of == role { addr.port() } else { 0 };
            command.env(variable, port.to_string());
        }
        let mut role = Self {
            process: command.spawn()?,
            addr,
            syslog,
        };
        let url = format!("http://{addr}/");
        let start = Instant::now();
        while reqwest::get(&url).await.is_err() {
            if role.process.try_wait()?.is_some() || start.elapsed() > PATIENCE {
                bail!(
                    "{name} does not run:\n{}",
                    fs::read_to_string(&log).unwrap_or_default()
                );
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(role)
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }
}

impl Drop for Role {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The processor time of this process, which sends, and of others over a while.
pub struct Cost {
    since: Instant,
    before: Vec<(&'static str, Vec<u32>, f64)>,
}

/// What this process is called.
const SENDER: &str = "the sender";

impl Cost {
    /// Begins to count for this process, and for these names, each with its processes and all their
    /// descendants.
    pub fn begin(of: impl IntoIterator<Item = (&'static str, Vec<u32>)>) -> Self {
        let since = Instant::now();
        let others = of
            .into_iter()
            .map(|(name, pids)| (name, pids.clone(), seconds(name, &pids)));
        let before = std::iter::once((SENDER, Vec::new(), seconds(SENDER, &[])))
            .chain(others)
            .collect();
        Self { since, before }
    }

    /// The share of one core that each had since then, in percent.
    pub fn end(self) -> Vec<(&'static str, f64)> {
        let elapsed = self.since.elapsed().as_secs_f64();
        self.before
            .into_iter()
            .map(|(name, pids, before)| {
                let used = seconds(name, &pids) - before;
                (name, used / elapsed * 100.0)
            })
            .collect()
    }
}

/// Processor time of processes and their descendants, the dead ones too.
fn seconds(name: &str, pids: &[u32]) -> f64 {
    if name == SENDER {
        // The servers are its children: they have names of their own.
        let own = Stat::read(std::process::id());
        return own.map_or(0, |stat| stat.own) as f64 / TICKS_PER_SECOND;
    }
    let all: Vec<Stat> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| Stat::read(entry.file_name().to_str()?.parse().ok()?))
        .collect();
    let mut ticks = 0;
    let mut next = pids.to_vec();
    while let Some(pid) = next.pop() {
        ticks += all
            .iter()
            .find(|stat| stat.pid == pid)
            .map_or(0, |stat| stat.own + stat.of_dead_children);
        next.extend(
            all.iter()
                .filter(|stat| stat.parent == pid)
                .map(|stat| stat.pid),
        );
    }
    ticks as f64 / TICKS_PER_SECOND
}

/// What `/proc/<pid>/stat` says.
struct Stat {
    pid: u32,
    parent: u32,
    /// In user and kernel.
    own: u64,
    of_dead_children: u64,
}

impl Stat {
    fn read(pid: u32) -> Option<Self> {
        let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
        let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
        Some(Self {
            pid,
            parent: fields.get(1)?.parse().ok()?,
            own: number(11)? + number(12)?,
            of_dead_children: number(13)? + number(14)?,
        })
    }
}

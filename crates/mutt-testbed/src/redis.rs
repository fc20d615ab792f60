//! A Redis server of its own.
//!
//! By default as MUTT wants it in production: append-only file, fsync before each answer, no
//! eviction. Administration goes over a Unix socket, so it works whatever the TCP side is set to.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rustix::process::Signal;

use crate::certificates::Certificates;
use crate::process::{Lifetime, Process, wait_until};
use crate::resp::Resp;
use crate::workspace::{Directory, Port};

/// When Redis brings its append-only file to the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AppendFsync {
    /// Before each answer.
    #[default]
    Always,
    /// Once a second.
    EverySec,
    /// When the kernel likes to.
    No,
}

/// What a replica has to know of its primary.
#[derive(Debug, Clone)]
struct Primary {
    port: u16,
    password: Option<String>,
    certificates: Option<Certificates>,
}

/// Settings of a [`Redis`] to start.
#[must_use]
#[derive(Debug, Clone)]
pub struct RedisBuilder {
    append_only: bool,
    append_fsync: AppendFsync,
    maxmemory: Option<u64>,
    maxmemory_policy: Option<String>,
    password: Option<String>,
    tls: bool,
    replica_of: Option<Primary>,
    dir: Option<PathBuf>,
    port: Option<u16>,
    detached: bool,
    settings: Vec<(String, String)>,
}

impl RedisBuilder {
    /// When the append-only file reaches the disk.
    pub fn appendfsync(mut self, when: AppendFsync) -> Self {
        self.append_fsync = when;
        self
    }

    /// No append-only file: the server forgets everything when it ends.
    pub fn no_aof(mut self) -> Self {
        self.append_only = false;
        self
    }

    /// Memory limit in bytes.
    pub fn maxmemory(mut self, bytes: u64) -> Self {
        self.maxmemory = Some(bytes);
        self
    }

    /// Which keys go when the memory is full, such as `allkeys-lru`.
    pub fn maxmemory_policy(mut self, policy: &str) -> Self {
        self.maxmemory_policy = Some(policy.to_owned());
        self
    }

    /// Password of the default user.
    pub fn password(mut self, password: &str) -> Self {
        self.password = Some(password.to_owned());
        self
    }

    /// A line of `redis.conf`, such as `("aclfile", "/path")`.
    pub fn setting(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// TLS alone, with a certificate of a new authority; see [`Redis::ca_file`].
    pub fn tls(mut self) -> Self {
        self.tls = true;
        self
    }

    /// A replica of `primary`, in step with it when the start returns; with TLS and the same
    /// certificates where the primary has them.
    pub fn replica_of(mut self, primary: &Redis) -> Self {
        self.tls = primary.certificates.is_some();
        self.replica_of = Some(Primary {
            port: primary.port(),
            password: primary.password(),
            certificates: primary.certificates.clone(),
        });
        self
    }

    /// Keeps the files in `dir`, which is not removed, and starts from what is there.
    pub fn dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.dir = Some(dir.into());
        self
    }

    /// This port instead of a free one.
    pub fn port(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }

    /// Goes on after this process, until somebody stops it; only with [`dir`](Self::dir).
    pub fn detached(mut self) -> Self {
        self.detached = true;
        self
    }

    /// Starts the server; it answers when this returns.
    ///
    /// # Panics
    /// It does not start; with the end of its log.
    pub fn start(self) -> Redis {
        self.try_start().unwrap_or_else(|error| panic!("{error:#}"))
    }

    /// Starts the server; it answers when this returns.
    ///
    /// # Errors
    /// It does not start; with the end of its log.
    pub fn try_start(self) -> Result<Redis> {
        if self.detached && self.dir.is_none() {
            bail!("a detached Redis needs a directory that is kept");
        }
        let mut attempt = 0;
        loop {
            attempt += 1;
            let redis = self.prepare()?;
            match redis.launch() {
                Ok(()) => return Ok(redis),
                Err(_) if self.port.is_none() && attempt < 5 && redis.process.port_was_taken() => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn prepare(&self) -> Result<Redis> {
        let directory = match &self.dir {
            Some(dir) => Directory::kept(dir)?,
            None => Directory::new("redis")?,
        };
        let port = self
            .port
            .map_or_else(Port::free, |port| Ok(Port::fixed(port)))?;
        let dir = directory.path();
        let theirs = self
            .replica_of
            .as_ref()
            .and_then(|primary| primary.certificates.as_ref());
        let certificates = match theirs {
            Some(theirs) => Some(theirs.copy(dir)?),
            None => self.tls.then(|| Certificates::write(dir)).transpose()?,
        };
        let lifetime = if self.detached {
            Lifetime::Detached
        } else {
            Lifetime::Owned
        };
        let process = Process::new("redis-server", dir.join("redis.log"), lifetime);
        let settings = self.settings(dir, port.number(), certificates.as_ref())?;
        let file = dir.join("redis.conf");
        fs::write(&file, settings)?;
        // It may hold a password.
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600))?;
        Ok(Redis {
            process,
            port,
            password: Mutex::new(self.password.clone()),
            replica: self.replica_of.is_some(),
            certificates,
            directory,
        })
    }

    fn settings(
        &self,
        dir: &Path,
        port: u16,
        certificates: Option<&Certificates>,
    ) -> Result<String> {
        let mut text = String::new();
        let fsync = match self.append_fsync {
            AppendFsync::Always => "always",
            AppendFsync::EverySec => "everysec",
            AppendFsync::No => "no",
        };
        let append_only = if self.append_only { "yes" } else { "no" };
        let dir = dir.display();
        write!(
            text,
            "bind 127.0.0.1\n\
             dir \"{dir}\"\n\
             unixsocket \"{dir}/redis.sock\"\n\
             save \"\"\n\
             appendonly {append_only}\n\
             appendfsync {fsync}\n\
             repl-diskless-sync-delay 0\n\
             enable-debug-command local\n\
             databases 16\n"
        )?;
        text.push_str(&listen(port, certificates));
        if let Some(bytes) = self.maxmemory {
            writeln!(text, "maxmemory {bytes}")?;
        }
        if let Some(policy) = &self.maxmemory_policy {
            writeln!(text, "maxmemory-policy {policy}")?;
        }
        if let Some(password) = &self.password {
            // The same for both directions, so that roles can change.
            write!(
                text,
                "requirepass \"{password}\"\nmasterauth \"{password}\"\n"
            )?;
        }
        if let Some(primary) = &self.replica_of {
            writeln!(text, "replicaof 127.0.0.1 {}", primary.port)?;
            if let Some(password) = &primary.password {
                writeln!(text, "masterauth \"{password}\"")?;
            }
        }
        for (name, value) in &self.settings {
            writeln!(text, "{name} \"{value}\"")?;
        }
        Ok(text)
    }
}

/// The settings of a port, with TLS alone where there are certificates.
pub(crate) fn listen(port: u16, certificates: Option<&Certificates>) -> String {
    let Some(files) = certificates else {
        return format!("port {port}\n");
    };
    format!(
        "port 0\n\
         tls-port {port}\n\
         tls-cert-file \"{}\"\n\
         tls-key-file \"{}\"\n\
         tls-ca-cert-file \"{}\"\n\
         tls-auth-clients no\n\
         tls-replication yes\n",
        files.certificate_file().display(),
        files.key_file().display(),
        files.ca_file().display()
    )
}

/// A running Redis server; killed when dropped.
#[derive(Debug)]
pub struct Redis {
    // Before the directory: the server ends before its files go.
    process: Process,
    port: Port,
    password: Mutex<Option<String>>,
    replica: bool,
    certificates: Option<Certificates>,
    directory: Directory,
}

impl Redis {
    /// Starts a server with an append-only file that is synced before each answer.
    ///
    /// # Panics
    /// It does not start; with the end of its log.
    pub fn start() -> Self {
        Self::builder().start()
    }

    /// Settings of a server to start.
    pub fn builder() -> RedisBuilder {
        RedisBuilder {
            append_only: true,
            append_fsync: AppendFsync::Always,
            maxmemory: None,
            maxmemory_policy: None,
            password: None,
            tls: false,
            replica_of: None,
            dir: None,
            port: None,
            detached: false,
            settings: Vec::new(),
        }
    }

    fn launch(&self) -> Result<()> {
        let mut command = self.process.command("redis-server", None);
        command.arg(self.dir().join("redis.conf"));
        // A killed server leaves its socket behind.
        let _ = fs::remove_file(self.socket());
        self.process.start(command, &|| {
            self.try_command(&["PING"])
                .is_ok_and(|answer| answer == "PONG")
        })?;
        if self.replica
            && !wait_until(Duration::from_mins(1), || {
                self.try_command(&["INFO", "replication"])
                    .is_ok_and(|info| {
                        info.contains("role:master") || info.contains("master_link_status:up")
                    })
            })
        {
            bail!(
                "the replica is not in step with its primary; the end of its log:\n{}",
                self.log_tail(40)
            );
        }
        Ok(())
    }

    /// Always `127.0.0.1`.
    pub fn host(&self) -> &'static str {
        "127.0.0.1"
    }

    /// The TCP port; with TLS where that was asked for.
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// Where the server keeps its files.
    pub fn dir(&self) -> &Path {
        self.directory.path()
    }

    /// The Unix socket, without TLS.
    pub fn socket(&self) -> PathBuf {
        self.dir().join("redis.sock")
    }

    /// The certificate to trust where the server was started with TLS.
    pub fn ca_file(&self) -> Option<&Path> {
        self.certificates.as_ref().map(Certificates::ca_file)
    }

    pub(crate) fn certificates(&self) -> Option<&Certificates> {
        self.certificates.as_ref()
    }

    /// The password of the default user.
    pub fn password(&self) -> Option<String> {
        self.password
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The process id while the server runs.
    pub fn pid(&self) -> Option<u32> {
        self.process.pid()
    }

    /// The last lines of the server's log.
    pub fn log_tail(&self, lines: usize) -> String {
        self.process.log_tail(lines)
    }

    /// Kills the server with SIGKILL.
    pub fn kill(&self) {
        self.process.kill();
    }

    /// Stops the server in order (SIGTERM).
    ///
    /// # Panics
    /// It does not stop within a minute.
    pub fn terminate(&self) {
        self.resume();
        self.process
            .stop(Signal::TERM)
            .unwrap_or_else(|error| panic!("{error:#}"));
    }

    /// Stops the process where it stands (SIGSTOP): connections stay, answers do not come.
    pub fn pause(&self) {
        self.process.signal(Signal::STOP);
    }

    /// Goes on after [`pause`](Self::pause).
    pub fn resume(&self) {
        self.process.signal(Signal::CONT);
    }

    /// Starts the server again with its port and files, after repairing the append-only file as
    /// an operator would; kills it first where it runs.
    ///
    /// # Panics
    /// It does not start; with the end of its log.
    pub fn restart(&self) {
        self.try_restart(true)
            .unwrap_or_else(|error| panic!("{error:#}"));
    }

    /// [`restart`](Self::restart) without repairing the append-only file: a supervisor's restart.
    ///
    /// # Panics
    /// It does not start; with the end of its log.
    pub fn restart_unrepaired(&self) {
        self.try_restart(false)
            .unwrap_or_else(|error| panic!("{error:#}"));
    }

    fn try_restart(&self, repair: bool) -> Result<()> {
        self.kill();
        if repair {
            self.repair()?;
        }
        self.launch()
    }

    fn repair(&self) -> Result<()> {
        let manifest = self.dir().join("appendonlydir/appendonly.aof.manifest");
        if !manifest.exists() {
            return Ok(());
        }
        let mut check = Command::new("redis-check-aof")
            .arg("--fix")
            .arg(&manifest)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot run redis-check-aof; is it installed?")?;
        if let Some(mut input) = check.stdin.take() {
            // It asks only where there is something to cut off.
            let _ = input.write_all(b"y\n");
        }
        let output = check.wait_with_output()?;
        if !output.status.success() {
            bail!(
                "redis-check-aof failed:\n{}{}",
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr)
            );
        }
        Ok(())
    }

    /// Sets another password of the default user, which also holds after a restart. Open
    /// connections stay.
    ///
    /// # Panics
    /// The server refuses.
    pub fn set_password(&self, password: &str) {
        self.command(&["CONFIG", "SET", "requirepass", password]);
        *self.password.lock().unwrap_or_else(PoisonError::into_inner) = Some(password.to_owned());
        self.command(&["CONFIG", "REWRITE"]);
    }

    /// Runs a command; an array comes back with one element per line, nil as nothing.
    ///
    /// # Panics
    /// The server refuses or does not answer.
    pub fn command(&self, arguments: &[&str]) -> String {
        self.try_command(arguments)
            .unwrap_or_else(|error| panic!("redis {}: {error:#}", arguments.join(" ")))
    }

    /// Runs a command; an array comes back with one element per line, nil as nothing.
    ///
    /// # Errors
    /// The server refuses or does not answer within 30 s.
    pub fn try_command(&self, arguments: &[&str]) -> Result<String> {
        let mut connection = Resp::connect(&self.socket())?;
        if let Some(password) = self.password() {
            connection.command(&["AUTH", &password])?;
        }
        connection.command(arguments)
    }
}

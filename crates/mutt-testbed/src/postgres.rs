//! A PostgreSQL server of its own.
//!
//! `initdb` runs once per machine; each server starts from a copy of what it made. Superuser is
//! `postgres`: without a password on the Unix socket, with SCRAM and the password `postgres` on
//! TCP. PostgreSQL refuses to run as root, so root starts it as `postgres` or `nobody`.

mod installation;

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Result, bail};
use rustix::process::Signal;

use crate::certificates::Certificates;
use crate::process::{Lifetime, Process, User, run, send, wait_until};
use crate::workspace::{Directory, Port};

use installation::{give, programs, server_user, template};

/// The superuser's password over TCP.
const PASSWORD: &str = "postgres";

/// Settings of a [`Postgres`] to start.
#[must_use]
#[derive(Debug, Clone)]
pub struct PostgresBuilder {
    fsync: bool,
    max_connections: u32,
    settings: Vec<(String, String)>,
    tls: bool,
    dir: Option<PathBuf>,
    port: Option<u16>,
    detached: bool,
}

impl PostgresBuilder {
    /// Whether commits reach the disk (default) or only the kernel.
    pub fn fsync(mut self, on: bool) -> Self {
        self.fsync = on;
        self
    }

    /// How many sessions there may be (default 100).
    pub fn max_connections(mut self, count: u32) -> Self {
        self.max_connections = count;
        self
    }

    /// A line of `postgresql.conf`, such as `("lock_timeout", "5s")`.
    pub fn setting(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// TLS as well, with a certificate of a new authority; see [`Postgres::ca_file`].
    pub fn tls(mut self) -> Self {
        self.tls = true;
        self
    }

    /// Keeps the files in `dir`, which is not removed, and starts from what is there. The server's
    /// user must be able to get there.
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

    /// Starts the server; it takes sessions when this returns.
    ///
    /// # Panics
    /// It does not start; with the end of its log.
    pub fn start(self) -> Postgres {
        self.try_start().unwrap_or_else(|error| panic!("{error:#}"))
    }

    /// Starts the server; it takes sessions when this returns.
    ///
    /// # Errors
    /// PostgreSQL is not installed or does not start; with the end of its log.
    pub fn try_start(self) -> Result<Postgres> {
        if self.detached && self.dir.is_none() {
            bail!("a detached PostgreSQL needs a directory that is kept");
        }
        let mut attempt = 0;
        loop {
            attempt += 1;
            let postgres = self.prepare()?;
            match postgres.launch() {
                Ok(()) => return Ok(postgres),
                Err(_)
                    if self.port.is_none() && attempt < 5 && postgres.process.port_was_taken() => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn prepare(&self) -> Result<Postgres> {
        let programs = programs()?;
        let user = server_user()?;
        let directory = match &self.dir {
            Some(dir) => Directory::kept(dir)?,
            None => Directory::new("postgres")?,
        };
        let port = self
            .port
            .map_or_else(Port::free, |port| Ok(Port::fixed(port)))?;
        let dir = directory.path();
        give(dir, user)?;
        let data = dir.join("data");
        if !data.join("PG_VERSION").exists() {
            let template = template(&programs, user)?;
            run(Command::new("cp")
                .args(["-a", "--reflink=auto"])
                .arg(&template)
                .arg(&data))?;
        }
        let certificates = self.tls.then(|| Certificates::write(dir)).transpose()?;
        if let Some(files) = &certificates {
            for file in [files.ca_file(), files.certificate_file(), files.key_file()] {
                give(file, user)?;
            }
        }
        let settings = self.settings(dir, port.number(), certificates.as_ref());
        let file = data.join("testbed.conf");
        fs::write(&file, settings)?;
        give(&file, user)?;
        let lifetime = if self.detached {
            Lifetime::Detached
        } else {
            Lifetime::Owned
        };
        Ok(Postgres {
            process: Process::new("postgres", dir.join("postgres.log"), lifetime),
            programs,
            user,
            port,
            certificates,
            directory,
        })
    }

    fn settings(&self, dir: &Path, port: u16, certificates: Option<&Certificates>) -> String {
        let quoted = |path: &Path| path.display().to_string().replace('\'', "''");
        let on_off = |on| if on { "on" } else { "off" };
        let mut lines = vec![
            "listen_addresses = '127.0.0.1'".to_owned(),
            format!("port = {port}"),
            format!("unix_socket_directories = '{}'", quoted(dir)),
            format!("max_connections = {}", self.max_connections),
            format!("fsync = {}", on_off(self.fsync)),
            format!("full_page_writes = {}", on_off(self.fsync)),
            "shared_buffers = 64MB".to_owned(),
            "log_line_prefix = '%m [%p] %q%u@%d %a '".to_owned(),
            "timezone = 'UTC'".to_owned(),
        ];
        if let Some(files) = certificates {
            lines.push("ssl = on".to_owned());
            for (name, file) in [
                ("ssl_ca_file", files.ca_file()),
                ("ssl_cert_file", files.certificate_file()),
                ("ssl_key_file", files.key_file()),
            ] {
                lines.push(format!("{name} = '{}'", quoted(file)));
            }
        }
        for (name, value) in &self.settings {
            lines.push(format!("{name} = '{}'", value.replace('\'', "''")));
        }
        lines.push(String::new());
        lines.join("\n")
    }
}

/// A running PostgreSQL server; killed when dropped.
#[derive(Debug)]
pub struct Postgres {
    // Before the directory: the server ends before its files go.
    process: Process,
    programs: PathBuf,
    user: Option<User>,
    port: Port,
    certificates: Option<Certificates>,
    directory: Directory,
}

impl Postgres {
    /// Starts a server that syncs each commit.
    ///
    /// # Panics
    /// PostgreSQL is not installed or does not start; with the end of its log.
    pub fn start() -> Self {
        Self::builder().start()
    }

    /// One server for all tests of this process, each in a database of its own
    /// ([`create_database`](Self::create_database)). Do not kill, pause or reconfigure it.
    ///
    /// # Panics
    /// PostgreSQL is not installed or does not start; with the end of its log.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Postgres> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// Settings of a server to start.
    pub fn builder() -> PostgresBuilder {
        PostgresBuilder {
            fsync: true,
            max_connections: 100,
            settings: Vec::new(),
            tls: false,
            dir: None,
            port: None,
            detached: false,
        }
    }

    /// Whether this machine has PostgreSQL.
    pub fn is_installed() -> bool {
        programs().is_ok()
    }

    /// Whether the user that a server would run as can get to `dir`.
    pub fn reaches(dir: &Path) -> bool {
        let Ok(user) = server_user() else {
            return false;
        };
        let process = Process::new("test", PathBuf::new(), Lifetime::Owned);
        run(process.command("test", user).arg("-x").arg(dir)).is_ok()
    }

    fn launch(&self) -> Result<()> {
        let mut command = self
            .process
            .command(self.programs.join("postgres"), self.user);
        command.arg("-D").arg(self.dir().join("data"));
        self.process
            .start(command, &|| takes_sessions(&self.socket()))
    }

    /// Always `127.0.0.1`.
    pub fn host(&self) -> &'static str {
        "127.0.0.1"
    }

    /// The TCP port; with and without TLS where TLS was asked for.
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// Where the server keeps its files; also the directory of its Unix socket.
    pub fn dir(&self) -> &Path {
        self.directory.path()
    }

    fn socket(&self) -> PathBuf {
        self.dir().join(format!(".s.PGSQL.{}", self.port()))
    }

    /// The certificate to trust where the server was started with TLS.
    pub fn ca_file(&self) -> Option<&Path> {
        self.certificates.as_ref().map(Certificates::ca_file)
    }

    /// The superuser's name.
    pub fn superuser(&self) -> &'static str {
        "postgres"
    }

    /// The superuser's password over TCP.
    pub fn password(&self) -> &'static str {
        PASSWORD
    }

    /// A libpq connection string over TCP: with the password for the superuser, without one for
    /// any other user.
    pub fn conninfo(&self, user: &str, database: &str) -> String {
        let mut text = format!(
            "host=127.0.0.1 port={} user={user} dbname={database} connect_timeout=10",
            self.port()
        );
        if user == self.superuser() {
            text.push_str(" password=");
            text.push_str(PASSWORD);
        }
        text
    }

    /// The postmaster's process id while the server runs.
    pub fn pid(&self) -> Option<u32> {
        self.process.pid()
    }

    /// The last lines of the server's log.
    pub fn log_tail(&self, lines: usize) -> String {
        self.process.log_tail(lines)
    }

    /// Creates a database; its owner is the superuser.
    ///
    /// # Panics
    /// The server refuses.
    pub fn create_database(&self, name: &str) {
        self.sql(&format!("CREATE DATABASE \"{name}\""));
    }

    /// Runs SQL as superuser in database `postgres`; see [`sql_in`](Self::sql_in).
    ///
    /// # Panics
    /// The server refuses.
    pub fn sql(&self, sql: &str) -> String {
        self.sql_in("postgres", sql)
    }

    /// Runs SQL as superuser: rows come back as lines, columns separated by `|`.
    ///
    /// # Panics
    /// The server refuses.
    pub fn sql_in(&self, database: &str, sql: &str) -> String {
        self.try_sql_in(database, sql)
            .unwrap_or_else(|error| panic!("{sql}\n{error:#}"))
    }

    /// Runs SQL as superuser: rows come back as lines, columns separated by `|`.
    ///
    /// # Errors
    /// The server refuses or is away.
    pub fn try_sql_in(&self, database: &str, sql: &str) -> Result<String> {
        let output = run(Command::new(self.programs.join("psql"))
            .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"])
            .arg("-h")
            .arg(self.dir())
            .args(["-p", &self.port().to_string()])
            .args(["-U", self.superuser(), "-d", database, "-c", sql])
            .env("PGCONNECT_TIMEOUT", "10"))?;
        Ok(output.trim_end().to_owned())
    }

    /// Kills the server and all its sessions with SIGKILL.
    pub fn kill(&self) {
        let sessions = self.halt();
        self.process.kill();
        for session in &sessions {
            send(*session, Signal::KILL);
        }
        // As long as one of them lives, a new server cannot start.
        wait_until(Duration::from_mins(1), || {
            sessions.iter().all(|pid| !alive(*pid))
        });
    }

    /// Stops the server in order: sessions are ended, what they have not committed is undone
    /// (SIGINT, "fast shutdown").
    ///
    /// # Panics
    /// It does not stop within a minute.
    pub fn terminate(&self) {
        self.resume();
        self.process
            .stop(Signal::INT)
            .unwrap_or_else(|error| panic!("{error:#}"));
    }

    /// Stops the server and its sessions where they stand (SIGSTOP): connections stay, answers do
    /// not come.
    pub fn pause(&self) {
        self.halt();
    }

    /// Goes on after [`pause`](Self::pause).
    pub fn resume(&self) {
        if let Some(postmaster) = self.pid() {
            for child in children(postmaster) {
                send(child, Signal::CONT);
            }
        }
        self.process.signal(Signal::CONT);
    }

    /// Starts the server again with its port and files; kills it first where it runs.
    ///
    /// # Panics
    /// It does not start; with the end of its log.
    pub fn restart(&self) {
        self.kill();
        self.launch().unwrap_or_else(|error| panic!("{error:#}"));
    }

    /// Stops the postmaster, then its children, which then cannot get more; returns them.
    fn halt(&self) -> Vec<u32> {
        let Some(postmaster) = self.pid() else {
            return Vec::new();
        };
        self.process.signal(Signal::STOP);
        wait_until(Duration::from_secs(10), || state(postmaster) == Some('T'));
        let children = children(postmaster);
        for child in &children {
            send(*child, Signal::STOP);
        }
        children
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if self.process.is_owned() {
            self.kill();
        }
    }
}

/// Whether the server takes sessions: the answer to a start-up message is about authentication,
/// not an error.
fn takes_sessions(socket: &Path) -> bool {
    let ask = || -> std::io::Result<bool> {
        let mut stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        let parameters = b"user\0postgres\0database\0postgres\0\0";
        let length = u32::try_from(8 + parameters.len()).expect("a short message");
        let mut message = length.to_be_bytes().to_vec();
        message.extend_from_slice(&0x0003_0000_u32.to_be_bytes());
        message.extend_from_slice(parameters);
        stream.write_all(&message)?;
        let mut kind = [0];
        stream.read_exact(&mut kind)?;
        Ok(kind == *b"R")
    };
    ask().unwrap_or(false)
}

/// State letter of a process, as in `/proc/<pid>/stat`.
fn state(pid: u32) -> Option<char> {
    stat(pid)?.0
}

fn alive(pid: u32) -> bool {
    !matches!(state(pid), None | Some('Z'))
}

/// State and parent of a process.
fn stat(pid: u32) -> Option<(Option<char>, u32)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = text.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?.chars().next();
    Some((state, fields.next()?.parse().ok()?))
}

fn children(parent: u32) -> Vec<u32> {
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| stat(*pid).is_some_and(|(_, of)| of == parent))
        .collect()
}

//! The parts of the local set-up: how each is started, and how one sees that it is well.

use std::fs::{self, OpenOptions};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use mutt_testbed::{Postgres, Redis};

use super::record::Record;
use super::settings::Settings;

/// How long a role may take until it answers well.
const START_LIMIT: Duration = Duration::from_mins(1);
/// How long one look at a role may take.
const LOOK: Duration = Duration::from_secs(5);
/// Lines of the log that an error shows.
const SHOWN_LINES: usize = 20;

/// What a service is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Redis,
    Postgres,
    /// A role of MUTT: its command, the variable of its port, and the page that says it is well.
    Role {
        command: &'static str,
        port: &'static str,
        page: &'static str,
    },
}

/// A part of the set-up.
pub struct Service {
    pub name: &'static str,
    pub kind: Kind,
}

const fn role(name: &'static str, command: &'static str, port: &'static str) -> Service {
    Service {
        name,
        kind: Kind::Role {
            command,
            port,
            page: "/health",
        },
    }
}

/// Every service, in the order in which they start.
pub const SERVICES: [Service; 10] = [
    Service {
        name: "redis",
        kind: Kind::Redis,
    },
    Service {
        name: "postgres",
        kind: Kind::Postgres,
    },
    Service {
        name: "mock-moog",
        kind: Kind::Role {
            command: "mock-moog",
            port: "",
            page: "/mock/stats",
        },
    },
    role("ingestor", "ingestor", "SERVER_PORT_INGESTOR"),
    role("alerter-1", "alerter", "SERVER_PORT_ALERTER"),
    role("alerter-2", "alerter", "SERVER_PORT_ALERTER"),
    role("forwarder-1", "forwarder", "SERVER_PORT_MOOG_FORWARDER"),
    role("forwarder-2", "forwarder", "SERVER_PORT_MOOG_FORWARDER"),
    role("remediation", "remediation", "METRICS_PORT_REMEDIATION"),
    role("webui", "webui", "SERVER_PORT_WEBUI"),
];

/// Second ports of 2.5, which nobody needs here.
const SECOND_PORTS: [&str; 3] = [
    "SERVER_PORT_ALERTER_METRICS",
    "SERVER_PORT_MOOG_METRICS",
    "HEALTH_PORT_REMEDIATION",
];

impl Service {
    /// Whether `word` means this service: its name, or that of all of its kind.
    pub fn is_meant_by(&self, word: &str) -> bool {
        self.name == word
            || self
                .name
                .trim_end_matches(|c: char| c == '-' || c.is_ascii_digit())
                == word
    }

    pub fn is_server(&self) -> bool {
        !matches!(self.kind, Kind::Role { .. })
    }

    pub fn record(&self, dir: &Path) -> Record {
        Record::new(dir, self.name)
    }

    pub fn log(&self, dir: &Path) -> PathBuf {
        match self.kind {
            Kind::Redis => servers_dir(dir).join("redis/redis.log"),
            Kind::Postgres => servers_dir(dir).join("postgres/postgres.log"),
            Kind::Role { .. } => dir.join("logs").join(format!("{}.log", self.name)),
        }
    }

    /// Starts the service; servers answer when this returns, roles need not yet.
    pub fn start(&self, dir: &Path, mutt: &Path, settings: &Settings) -> Result<()> {
        let port = settings
            .port(self.name)
            .with_context(|| format!("{} has no port", self.name))?;
        let pid = match self.kind {
            Kind::Redis => Redis::builder()
                .dir(servers_dir(dir).join("redis"))
                .port(port)
                .password(settings.get("REDIS_PASS_CURRENT"))
                .detached()
                .try_start()?
                .pid(),
            Kind::Postgres => {
                let server = Postgres::builder()
                    .dir(servers_dir(dir).join("postgres"))
                    .port(port)
                    .detached()
                    .try_start()?;
                prepare_database(&server, settings)?;
                server.pid()
            }
            Kind::Role {
                command,
                port: variable,
                ..
            } => Some(self.start_role(dir, mutt, settings, command, variable, port)?),
        };
        let pid = pid.with_context(|| format!("{} has ended already", self.name))?;
        self.record(dir)
            .write(pid)
            .with_context(|| self.failure(dir))
    }

    fn start_role(
        &self,
        dir: &Path,
        mutt: &Path,
        settings: &Settings,
        command: &str,
        variable: &str,
        port: u16,
    ) -> Result<u32> {
        let log = self.log(dir);
        if let Some(parent) = log.parent() {
            fs::create_dir_all(parent)?;
        }
        let data = dir.join("data").join(self.name);
        fs::create_dir_all(&data)?;
        let log = OpenOptions::new().create(true).append(true).open(&log)?;
        // setsid ends by executing the program: it lives on when this terminal is closed.
        let mut process = Command::new("setsid");
        process
            .arg(mutt)
            .arg(command)
            .envs(settings.variables())
            .env("POD_NAME", self.name)
            .env("MUTT_DATA_DIR", &data)
            .envs(SECOND_PORTS.map(|name| (name, "0")))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .current_dir(dir);
        if variable.is_empty() {
            process.arg("--addr").arg(format!("127.0.0.1:{port}"));
        } else {
            process.env(variable, port.to_string());
        }
        let child = process
            .spawn()
            .with_context(|| format!("{} cannot be started", self.name))?;
        Ok(child.id())
    }

    /// Waits until the service is well.
    ///
    /// # Errors
    /// It ends, or is not well within a minute; with what it says and the end of its log.
    pub fn wait(&self, dir: &Path, settings: &Settings) -> Result<()> {
        let Kind::Role { page, .. } = self.kind else {
            return Ok(());
        };
        let port = settings
            .port(self.name)
            .with_context(|| format!("{} has no port", self.name))?;
        let deadline = Instant::now() + START_LIMIT;
        let record = self.record(dir);
        loop {
            let answer = get(port, page);
            if let Ok((200, _)) = answer {
                return Ok(());
            }
            if record.running().is_none() {
                bail!("{} ended; {}", self.name, self.failure(dir));
            }
            if Instant::now() > deadline {
                let said = match answer {
                    Ok((status, body)) => format!("status {status}, {body}"),
                    Err(error) => format!("{error:#}"),
                };
                bail!(
                    "{} is not well after {} s: http://127.0.0.1:{port}{page}: {said}; {}",
                    self.name,
                    START_LIMIT.as_secs(),
                    self.failure(dir)
                );
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Where its log is, and how it ends.
    fn failure(&self, dir: &Path) -> String {
        let log = self.log(dir);
        let content = fs::read(&log).unwrap_or_default();
        let text = String::from_utf8_lossy(&content);
        let lines: Vec<&str> = text.lines().collect();
        let tail = lines[lines.len().saturating_sub(SHOWN_LINES)..].join("\n");
        format!("the end of its log ({}):\n{tail}", log.display())
    }
}

/// Where the servers keep their files: under `dir`, else among the temporary files where the user
/// of PostgreSQL cannot get to `dir`, or its name is too long for a Unix socket.
pub fn servers_dir(dir: &Path) -> PathBuf {
    const LONGEST: usize = 75;
    if dir.as_os_str().len() <= LONGEST && Postgres::reaches(dir) {
        return dir.to_owned();
    }
    let mut hash = DefaultHasher::new();
    dir.hash(&mut hash);
    std::env::temp_dir().join(format!("muttdev-{:016x}", hash.finish()))
}

/// The database and the role that MUTT works as; tables come from `mutt db migrate`.
fn prepare_database(server: &Postgres, settings: &Settings) -> Result<()> {
    let (database, user) = (settings.get("DB_NAME"), settings.get("DB_USER"));
    let password = settings.get("DB_PASS_CURRENT");
    let is_there = |table: &str, column: &str, name: &str| -> Result<bool> {
        let sql = format!("SELECT count(*) FROM {table} WHERE {column} = '{name}'");
        Ok(server.try_sql_in("postgres", &sql)? != "0")
    };
    if !is_there("pg_roles", "rolname", user)? {
        server.try_sql_in("postgres", &format!("CREATE ROLE {user} LOGIN"))?;
    }
    server.try_sql_in(
        "postgres",
        &format!("ALTER ROLE {user} PASSWORD '{password}'"),
    )?;
    if !is_there("pg_database", "datname", database)? {
        server.try_sql_in("postgres", &format!("CREATE DATABASE {database}"))?;
    }
    Ok(())
}

/// A page of a role: status and body.
fn get(port: u16, page: &str) -> Result<(u16, String)> {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let mut stream = TcpStream::connect_timeout(&address, LOOK)?;
    stream.set_read_timeout(Some(LOOK))?;
    stream.set_write_timeout(Some(LOOK))?;
    write!(stream, "GET {page} HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .context("an answer that is not HTTP")?;
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .context("an answer without a status")?;
    Ok((status, body.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_means_one_service_or_all_of_a_kind() {
        let meant = |word| {
            SERVICES
                .iter()
                .filter(|service| service.is_meant_by(word))
                .map(|service| service.name)
                .collect::<Vec<_>>()
        };
        assert_eq!(meant("alerter"), ["alerter-1", "alerter-2"]);
        assert_eq!(meant("alerter-2"), ["alerter-2"]);
        assert_eq!(meant("mock-moog"), ["mock-moog"]);
        assert_eq!(meant("mock"), [""; 0]);
    }
}

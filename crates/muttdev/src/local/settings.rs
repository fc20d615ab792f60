//! Ports and passwords of the local set-up, kept in a file that a shell can read.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::Read as _;
use std::net::{TcpListener, UdpSocket};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

/// Ports by what they are for, with the ones that are taken where they are free.
const PORTS: [(&str, u16); 12] = [
    ("redis", 16_379),
    ("postgres", 15_432),
    ("mock-moog", 18_091),
    ("ingestor", 8080),
    ("syslog", 5514),
    ("relp", 20_514),
    ("alerter-1", 8081),
    ("alerter-2", 8082),
    ("forwarder-1", 8083),
    ("forwarder-2", 8084),
    ("remediation", 8086),
    ("webui", 8090),
];

/// How far from the wanted port a free one is looked for.
const NEAR: u16 = 500;

/// The settings: variables of MUTT, and ports by name.
pub struct Settings {
    variables: BTreeMap<String, String>,
}

impl Settings {
    /// Reads what an earlier start wrote, or makes new ones; `keep_ports` where something of it
    /// runs.
    pub fn read_or_make(dir: &Path, keep_ports: bool) -> Result<Self> {
        let mut settings = Self {
            variables: read(&file(dir)),
        };
        settings.fill(dir, keep_ports)?;
        settings.write(dir)?;
        Ok(settings)
    }

    fn fill(&mut self, dir: &Path, keep_ports: bool) -> Result<()> {
        let mut taken = Vec::new();
        for (name, wanted) in PORTS {
            let known = self.port(name);
            let port = match known {
                Some(port) if keep_ports => port,
                _ => free_port(known.unwrap_or(wanted), &taken)?,
            };
            taken.push(port);
            self.variables.insert(port_name(name), port.to_string());
        }
        for secret in [
            "REDIS_PASS_CURRENT",
            "DB_PASS_CURRENT",
            "INGEST_API_KEY",
            "WEBUI_API_KEY",
        ] {
            if !self.variables.contains_key(secret) {
                self.variables.insert(secret.to_owned(), random()?);
            }
        }
        let port = |name: &str| self.variables[&port_name(name)].clone();
        let derived = [
            ("MUTT_BACKEND", "distributed".to_owned()),
            ("REDIS_HOST", "127.0.0.1".to_owned()),
            ("REDIS_PORT", port("redis")),
            ("REDIS_TLS_ENABLED", "false".to_owned()),
            ("DB_HOST", "127.0.0.1".to_owned()),
            ("DB_PORT", port("postgres")),
            ("DB_NAME", "mutt".to_owned()),
            ("DB_USER", "mutt_app".to_owned()),
            ("DB_SSL_MODE", "disable".to_owned()),
            ("BIND_ADDRESS", "127.0.0.1".to_owned()),
            ("SERVER_PORT_INGESTOR", port("ingestor")),
            ("SERVER_PORT_WEBUI", port("webui")),
            ("SYSLOG_UDP_ADDR", port("syslog")),
            ("SYSLOG_TCP_ADDR", port("syslog")),
            ("SYSLOG_TLS_ADDR", "off".to_owned()),
            ("RELP_ADDR", port("relp")),
            ("SNMP_TRAP_ADDR", "off".to_owned()),
            (
                "MOOG_WEBHOOK_URL",
                format!("http://127.0.0.1:{}/", port("mock-moog")),
            ),
            (
                "MUTT_DATA_DIR",
                dir.join("data/command-line").display().to_string(),
            ),
        ];
        for (name, value) in derived {
            self.variables.insert(name.to_owned(), value);
        }
        Ok(())
    }

    fn write(&self, dir: &Path) -> Result<()> {
        let file = file(dir);
        let mut text = String::from("# Written by `cargo muttdev up`; for a shell: . mutt.env\n");
        for (name, value) in &self.variables {
            let prefix = if name.starts_with(PORT_PREFIX) {
                // For this program alone.
                "# "
            } else {
                "export "
            };
            writeln!(text, "{prefix}{name}='{value}'")?;
        }
        fs::write(&file, text).with_context(|| file.display().to_string())?;
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600))?;
        Ok(())
    }

    /// A port by what it is for.
    pub fn port(&self, name: &str) -> Option<u16> {
        self.variables.get(&port_name(name))?.parse().ok()
    }

    /// A variable of MUTT.
    pub fn get(&self, name: &str) -> &str {
        self.variables.get(name).map_or("", String::as_str)
    }

    /// Every variable of MUTT.
    pub fn variables(&self) -> impl Iterator<Item = (&str, &str)> {
        self.variables
            .iter()
            .filter(|(name, _)| !name.starts_with(PORT_PREFIX))
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

/// The file that a shell can read.
pub fn file(dir: &Path) -> PathBuf {
    dir.join("mutt.env")
}

const PORT_PREFIX: &str = "port ";

fn port_name(name: &str) -> String {
    format!("{PORT_PREFIX}{name}")
}

fn read(file: &Path) -> BTreeMap<String, String> {
    let text = fs::read_to_string(file).unwrap_or_default();
    text.lines()
        .filter_map(|line| {
            let line = line
                .strip_prefix("export ")
                .or_else(|| line.strip_prefix("# "))?;
            let (name, value) = line.split_once('=')?;
            let value = value.strip_prefix('\'')?.strip_suffix('\'')?;
            Some((name.to_owned(), value.to_owned()))
        })
        .collect()
}

/// `wanted`, or the next port that nobody has, over TCP and UDP.
fn free_port(wanted: u16, taken: &[u16]) -> Result<u16> {
    let last = wanted.saturating_add(NEAR);
    for port in wanted..=last {
        let preferred = PORTS.iter().any(|(_, other)| *other == port);
        if taken.contains(&port) || (preferred && port != wanted) {
            continue;
        }
        if TcpListener::bind(("127.0.0.1", port)).is_ok()
            && UdpSocket::bind(("127.0.0.1", port)).is_ok()
        {
            return Ok(port);
        }
    }
    bail!("no free port from {wanted} to {last} on 127.0.0.1")
}

fn random() -> Result<String> {
    let mut bytes = [0_u8; 16];
    fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    let mut text = String::new();
    for byte in bytes {
        write!(text, "{byte:02x}")?;
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let first = Settings::read_or_make(dir.path(), false).unwrap();
        let second = Settings::read_or_make(dir.path(), true).unwrap();
        assert_eq!(first.variables, second.variables);
        assert_eq!(first.get("INGEST_API_KEY").len(), 32);
        let mode = fs::metadata(file(dir.path())).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_port_that_is_taken_is_left_to_its_owner() {
        let dir = tempfile::tempdir().unwrap();
        let first = Settings::read_or_make(dir.path(), false).unwrap();
        let port = first.port("webui").unwrap();
        let _owner = TcpListener::bind(("127.0.0.1", port)).unwrap();
        let second = Settings::read_or_make(dir.path(), false).unwrap();
        assert_ne!(second.port("webui"), Some(port));
        assert_eq!(
            second.get("SERVER_PORT_WEBUI"),
            second.port("webui").unwrap().to_string()
        );
        assert_eq!(second.get("INGEST_API_KEY"), first.get("INGEST_API_KEY"));
    }
}

//! The receivers: MUTT's ingestor, rsyslog and snmptrapd, as processes of their own.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use mutt_testbed::{Certificates, Daemon, Port, Rsyslogd, Snmptrapd};
use tempfile::TempDir;

use crate::{Case, traps};

/// How long a receiver may take to start.
const START_LIMIT: Duration = Duration::from_secs(30);

/// Nothing more comes when nothing came for so long.
const SILENCE: Duration = Duration::from_millis(1_500);

/// A receiver, ready.
pub struct Receiver {
    kind: Kind,
    /// Where the door is.
    pub addr: SocketAddr,
    /// The authority that signed its certificate, where it has one.
    pub ca: Option<PathBuf>,
    /// Held while somebody listens there.
    _port: Option<Port>,
    files: TempDir,
}

enum Kind {
    Mutt(MuttProcess),
    /// With the file that it writes.
    Daemon(Daemon, &'static str),
}

struct MuttProcess {
    child: Child,
    http: SocketAddr,
    listener: &'static str,
    _port: Port,
}

impl Drop for MuttProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Receiver {
    /// The daemon that MUTT is compared with.
    pub fn reference_name(case: Case) -> &'static str {
        match case {
            Case::Tcp | Case::Tls | Case::Relp | Case::Udp => "rsyslog, to a file",
            Case::TrapV2c | Case::TrapV3 => "snmptrapd, to a file",
        }
    }

    /// That daemon.
    pub fn reference(case: Case) -> Result<Self> {
        match case {
            Case::TrapV2c | Case::TrapV3 => Self::snmptrapd(),
            _ => Self::rsyslog(case),
        }
    }

    fn snmptrapd() -> Result<Self> {
        let engine: String = traps::ENGINE_ID.map(|byte| format!("{byte:02x}")).concat();
        let (user, (authentication, privacy)) = (traps::USER, traps::PASSWORDS);
        let config = format!(
            "disableAuthorization yes\n\
             createUser -e 0x{engine} {user} SHA-256 {authentication} AES {privacy}\n"
        );
        let daemon = Snmptrapd::try_start(&config, &["-On"])?;
        let number = daemon.port().context("snmptrapd has no port")?;
        Ok(Self {
            kind: Kind::Daemon(daemon, "daemon.log"),
            addr: SocketAddr::from((Ipv4Addr::LOCALHOST, number)),
            ca: None,
            _port: None,
            files: TempDir::new()?,
        })
    }

    fn rsyslog(case: Case) -> Result<Self> {
        let port = Port::free()?;
        let files = TempDir::new()?;
        let certificates = Certificates::write(files.path())?;
        let number = port.number();
        let input = match case {
            Case::Tcp => format!(
                "module(load=\"imtcp\")\ninput(type=\"imtcp\" address=\"127.0.0.1\" \
                 port=\"{number}\")"
            ),
            Case::Tls => format!(
                "global(DefaultNetstreamDriver=\"ossl\" DefaultNetstreamDriverCAFile=\"{}\" \
                 DefaultNetstreamDriverCertFile=\"{}\" DefaultNetstreamDriverKeyFile=\"{}\")\n\
                 module(load=\"imtcp\" StreamDriver.Name=\"ossl\" StreamDriver.Mode=\"1\" \
                 StreamDriver.AuthMode=\"anon\")\n\
                 input(type=\"imtcp\" address=\"127.0.0.1\" port=\"{number}\")",
                certificates.ca_file().display(),
                certificates.certificate_file().display(),
                certificates.key_file().display(),
            ),
            Case::Relp => format!(
                "module(load=\"imrelp\")\ninput(type=\"imrelp\" address=\"127.0.0.1\" \
                 port=\"{number}\")"
            ),
            Case::Udp | Case::TrapV2c | Case::TrapV3 => format!(
                "module(load=\"imudp\" batchSize=\"128\" timeRequery=\"8\")\n\
                 input(type=\"imudp\" address=\"127.0.0.1\" port=\"{number}\" rcvbufSize=\"32m\")"
            ),
        };
        // Nothing that would slow it down: no names to look up, a long queue, large writes.
        let daemon = Rsyslogd::try_start(|dir| {
            format!(
                "global(net.enableDNS=\"off\")\n\
                 main_queue(queue.type=\"FixedArray\" queue.size=\"200000\" \
                 queue.dequeueBatchSize=\"2048\" queue.timeoutEnqueue=\"60000\")\n{input}\n\
                 action(type=\"omfile\" file=\"{}/received.log\" ioBufferSize=\"256k\")\n",
                dir.display()
            )
        })?;
        let receiver = Self {
            kind: Kind::Daemon(daemon, "received.log"),
            addr: SocketAddr::from((Ipv4Addr::LOCALHOST, number)),
            ca: (case == Case::Tls).then(|| certificates.ca_file().to_owned()),
            _port: Some(port),
            files,
        };
        if case == Case::Udp {
            // Its socket cannot be seen from outside; it opens with the others.
            thread::sleep(Duration::from_millis(500));
        } else {
            receiver.wait_for_port()?;
        }
        Ok(receiver)
    }

    /// MUTT's ingestor on an embedded engine, with nothing behind it: what rsyslog does, durable.
    pub fn mutt(case: Case) -> Result<Self> {
        let (port, http) = (Port::free()?, Port::free()?);
        let files = TempDir::new()?;
        let certificates = Certificates::write(files.path())?;
        let (listener, setting) = match case {
            Case::Tcp => ("syslog_tcp", "SYSLOG_TCP_ADDR"),
            Case::Tls => ("syslog_tls", "SYSLOG_TLS_ADDR"),
            Case::Relp => ("relp", "RELP_ADDR"),
            Case::Udp => ("syslog_udp", "SYSLOG_UDP_ADDR"),
            Case::TrapV2c | Case::TrapV3 => ("snmp_trap", "SNMP_TRAP_ADDR"),
        };
        let mut command = Command::new(env!("CARGO_BIN_EXE_mutt"));
        command
            .args(["serve", "--roles", "ingestor"])
            .env("MUTT_DATA_DIR", files.path().join("data"))
            .env("INGEST_API_KEY", "bench")
            .env("LOG_LEVEL", "WARN")
            .env("MAX_INGEST_QUEUE_SIZE", "1000000000")
            .env("SERVER_PORT_INGESTOR", http.number().to_string());
        for door in [
            "SYSLOG_TCP_ADDR",
            "SYSLOG_UDP_ADDR",
            "SYSLOG_TLS_ADDR",
            "RELP_ADDR",
            "SNMP_TRAP_ADDR",
        ] {
            command.env(door, "off");
        }
        command.env(setting, port.number().to_string());
        if case == Case::Tls {
            command
                .env("SYSLOG_TLS_CERT_FILE", certificates.certificate_file())
                .env("SYSLOG_TLS_KEY_FILE", certificates.key_file());
        }
        if case == Case::TrapV3 {
            command.env("SNMP_USERS_FILE", snmp_users(files.path())?);
        }
        let log = File::create(files.path().join("mutt.log"))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        let process = MuttProcess {
            child,
            http: SocketAddr::from((Ipv4Addr::LOCALHOST, http.number())),
            listener,
            _port: http,
        };
        let receiver = Self {
            kind: Kind::Mutt(process),
            addr: SocketAddr::from((Ipv4Addr::LOCALHOST, port.number())),
            ca: (case == Case::Tls).then(|| certificates.ca_file().to_owned()),
            _port: Some(port),
            files,
        };
        let began = Instant::now();
        while receiver.count().is_err() {
            if began.elapsed() > START_LIMIT {
                let log = fs::read_to_string(receiver.files.path().join("mutt.log"))?;
                bail!("MUTT does not start:\n{log}");
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(receiver)
    }

    fn wait_for_port(&self) -> Result<()> {
        let began = Instant::now();
        while TcpStream::connect(self.addr).is_err() {
            if began.elapsed() > START_LIMIT {
                bail!("nobody listens on {}", self.addr);
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// Seconds of processor time that the receiver has used.
    pub fn cpu(&self) -> Result<f64> {
        let pid = match &self.kind {
            Kind::Mutt(process) => process.child.id(),
            Kind::Daemon(daemon, _) => daemon.pid().context("the receiver has ended")?,
        };
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let fields: Vec<&str> = stat
            .rsplit(')')
            .next()
            .unwrap_or_default()
            .split_whitespace()
            .collect();
        let ticks = |index: usize| -> Result<f64> {
            Ok(fields.get(index).context("no such field")?.parse()?)
        };
        // Linux counts in hundredths of a second, whatever its own clock does.
        Ok((ticks(11)? + ticks(12)?) / 100.0)
    }

    /// What the receiver has so far: events for MUTT, bytes for a file.
    fn count(&self) -> Result<u64> {
        match &self.kind {
            Kind::Mutt(process) => accepted(process.http, process.listener),
            Kind::Daemon(daemon, file) => {
                Ok(fs::metadata(daemon.directory().join(file)).map_or(0, |file| file.len()))
            }
        }
    }

    /// Begins to watch what the receiver gets.
    pub fn counting(&self) -> Result<Counting<'_>> {
        Ok(Counting {
            receiver: self,
            began: Instant::now(),
            before: self.total()?,
        })
    }

    /// Messages in all, counted to the last one.
    fn total(&self) -> Result<u64> {
        match &self.kind {
            Kind::Mutt(_) => self.count(),
            Kind::Daemon(daemon, file) => {
                let path = daemon.directory().join(file);
                let Ok(file) = File::open(path) else {
                    return Ok(0);
                };
                let mut reader = BufReader::with_capacity(1 << 20, file);
                let (mut lines, mut line) = (0, Vec::new());
                while reader.read_until(b'\n', &mut line)? > 0 {
                    // snmptrapd writes a head and then the objects, which begin with a name.
                    lines += u64::from(!line.starts_with(b"."));
                    line.clear();
                }
                Ok(lines)
            }
        }
    }
}

/// A count under way.
pub struct Counting<'a> {
    receiver: &'a Receiver,
    began: Instant,
    before: u64,
}

impl Counting<'_> {
    /// Waits until nothing more comes: how many messages came, and when the last one did.
    pub fn settle(&self, sent: u64) -> Result<(u64, Duration)> {
        let (mut last, mut at) = (self.receiver.count()?, Instant::now());
        loop {
            let now = self.receiver.count()?;
            if now != last {
                (last, at) = (now, Instant::now());
            }
            let all = matches!(self.receiver.kind, Kind::Mutt(_)) && now - self.before >= sent;
            if all || at.elapsed() > SILENCE {
                break;
            }
            thread::sleep(Duration::from_millis(10));
        }
        let received = self.receiver.total()? - self.before;
        Ok((received, at.duration_since(self.began)))
    }
}

/// `mutt_ingest_accepted_total` of a listener.
fn accepted(http: SocketAddr, listener: &str) -> Result<u64> {
    let mut stream = TcpStream::connect(http)?;
    stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let name = format!("mutt_ingest_accepted_total{{listener=\"{listener}\"}} ");
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(&name))
        .context("no such metric")?;
    Ok(line.trim().parse()?)
}

/// The users file with the sender of the traps.
fn snmp_users(dir: &Path) -> Result<PathBuf> {
    let path = dir.join("snmp.toml");
    let (user, (authentication, privacy)) = (traps::USER, traps::PASSWORDS);
    fs::write(
        &path,
        format!(
            "[[user]]\nname = \"{user}\"\nauth = \"sha256\"\nauth_password = \
             \"{authentication}\"\npriv = \"aes128\"\npriv_password = \"{privacy}\"\n"
        ),
    )?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
    Ok(path)
}

//! The log daemons of other houses, each in a directory of its own: rsyslog, syslog-ng, snmptrapd.
//!
//! What a site keeps in front of MUTT is tested with the programs themselves. Debian's packages;
//! `cargo muttdev setup` installs them (syslog-ng unpacked into `target/tools`, because its package
//! and that of rsyslog exclude each other).

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use rustix::process::Signal;

use crate::process::{Lifetime, Process, run};
use crate::workspace::{Directory, Port};

/// Which daemon, and how it is told what to do.
#[derive(Clone, Debug)]
enum Kind {
    Rsyslogd,
    SyslogNg(PathBuf),
    /// With its port and its options about the form of the output.
    Snmptrapd(u16, Vec<String>),
}

/// A running daemon; killed when dropped, its files removed.
#[derive(Debug)]
pub struct Daemon {
    // Before the directory: the daemon ends before its files go.
    process: Process,
    kind: Kind,
    // Held for as long as the daemon may listen there.
    _port: Option<Port>,
    directory: Directory,
}

/// rsyslog.
#[derive(Debug)]
pub struct Rsyslogd;

/// syslog-ng.
#[derive(Debug)]
pub struct SyslogNg;

/// Net-SNMP's receiver of traps.
#[derive(Debug)]
pub struct Snmptrapd;

impl Rsyslogd {
    /// Whether this machine has it.
    pub fn is_installed() -> bool {
        rsyslogd().is_ok()
    }

    /// Starts a daemon with this configuration, made for its directory. Before it stands: the
    /// working directory; an input `log.sock` in the directory (for `logger --socket`), without
    /// rate limit; and that rsyslog's words about itself go to `rsyslogd.log` alone.
    ///
    /// # Panics
    /// It is not installed or does not start; with the end of its log.
    pub fn start(config: impl FnOnce(&Path) -> String) -> Daemon {
        Self::try_start(config).unwrap_or_else(|error| panic!("{error:#}"))
    }

    /// As [`start`](Self::start).
    ///
    /// # Errors
    /// It is not installed or does not start; with the end of its log.
    pub fn try_start(config: impl FnOnce(&Path) -> String) -> Result<Daemon> {
        let directory = Directory::new("rsyslogd")?;
        let dir = directory.path();
        let text = format!(
            "global(workDirectory=\"{dir}\")\n\
             module(load=\"imuxsock\" SysSock.Use=\"off\")\n\
             input(type=\"imuxsock\" Socket=\"{dir}/log.sock\" RateLimit.Interval=\"0\" \
             UseSysTimeStamp=\"off\")\n\
             if $inputname == \"rsyslogd\" then {{\n  \
             action(type=\"omfile\" file=\"{dir}/rsyslogd.log\")\n  stop\n}}\n{}\n",
            config(dir),
            dir = dir.display()
        );
        fs::write(dir.join("daemon.conf"), text)?;
        Daemon::launch(Kind::Rsyslogd, directory, None)
    }

    /// rsyslog's own check of a configuration file.
    ///
    /// # Errors
    /// What it says about the file, or that it is not installed.
    pub fn check(config: &Path) -> Result<()> {
        let output = run(Command::new(rsyslogd()?).arg("-N1").arg("-f").arg(config))?;
        drop(output);
        Ok(())
    }
}

impl SyslogNg {
    /// Whether this machine has it.
    pub fn is_installed() -> bool {
        syslog_ng().is_ok()
    }

    /// Starts a daemon with this configuration, made for its directory. Before it stand the
    /// version, and a source `s_log` at `log.sock` in the directory (for `logger --socket`);
    /// what syslog-ng says about itself goes to its log alone.
    ///
    /// # Panics
    /// It is not installed or does not start; with the end of its log.
    pub fn start(config: impl FnOnce(&Path) -> String) -> Daemon {
        Self::try_start(config).unwrap_or_else(|error| panic!("{error:#}"))
    }

    /// As [`start`](Self::start).
    ///
    /// # Errors
    /// It is not installed or does not start; with the end of its log.
    pub fn try_start(config: impl FnOnce(&Path) -> String) -> Result<Daemon> {
        let root = syslog_ng()?;
        let directory = Directory::new("syslog-ng")?;
        let dir = directory.path();
        let text = format!(
            "@version: 3.38\n\
             source s_log {{ unix-dgram(\"{dir}/log.sock\"); }};\n{}\n",
            config(dir),
            dir = dir.display()
        );
        fs::write(dir.join("daemon.conf"), text)?;
        Daemon::launch(Kind::SyslogNg(root), directory, None)
    }

    /// syslog-ng's own check of a configuration file.
    ///
    /// # Errors
    /// What it says about the file, or that it is not installed.
    pub fn check(config: &Path) -> Result<()> {
        let root = syslog_ng()?;
        let mut command = Command::new(syslog_ng_program(&root));
        syslog_ng_environment(&mut command, &root);
        run(command
            .arg("--syntax-only")
            .arg("--cfgfile")
            .arg(config)
            .arg(module_path(&root)))?;
        Ok(())
    }
}

impl Snmptrapd {
    /// Whether this machine has it.
    pub fn is_installed() -> bool {
        in_path("snmptrapd").is_some()
    }

    /// Starts a receiver on a free UDP port of 127.0.0.1 with this configuration. It writes what
    /// it receives to `daemon.log`, in the form that `options` ask for (`-On`, `-F` …); it
    /// knows no MIB.
    ///
    /// # Panics
    /// It is not installed or does not start; with the end of its log.
    pub fn start(config: &str, options: &[&str]) -> Daemon {
        Self::try_start(config, options).unwrap_or_else(|error| panic!("{error:#}"))
    }

    /// As [`start`](Self::start).
    ///
    /// # Errors
    /// It is not installed or does not start; with the end of its log.
    pub fn try_start(config: &str, options: &[&str]) -> Result<Daemon> {
        let directory = Directory::new("snmptrapd")?;
        fs::write(directory.path().join("daemon.conf"), config)?;
        let port = Port::free()?;
        let options = options.iter().map(ToString::to_string).collect();
        let kind = Kind::Snmptrapd(port.number(), options);
        Daemon::launch(kind, directory, Some(port))
    }
}

impl Daemon {
    fn launch(kind: Kind, directory: Directory, port: Option<Port>) -> Result<Self> {
        let name = match kind {
            Kind::Rsyslogd => "rsyslogd",
            Kind::SyslogNg(_) => "syslog-ng",
            Kind::Snmptrapd(..) => "snmptrapd",
        };
        let log = directory.path().join("daemon.log");
        let daemon = Self {
            process: Process::new(name, log, Lifetime::Owned),
            kind,
            _port: port,
            directory,
        };
        daemon.start_again()?;
        Ok(daemon)
    }

    /// Starts the daemon after it ended, with the same files.
    ///
    /// # Errors
    /// It does not start; with the end of its log.
    pub fn start_again(&self) -> Result<()> {
        let dir = self.directory();
        let socket = dir.join("log.sock");
        let said = |text: &str| {
            let log = fs::read_to_string(dir.join("daemon.log")).unwrap_or_default();
            log.matches(text).count()
        };
        match &self.kind {
            Kind::Rsyslogd => {
                let _ = fs::remove_file(&socket);
                let mut command = self.process.command(rsyslogd()?, None);
                command
                    .args(["-n", "-i"])
                    .arg(dir.join("daemon.pid"))
                    .arg("-f")
                    .arg(dir.join("daemon.conf"));
                self.process.start(command, &|| socket.exists())
            }
            Kind::SyslogNg(root) => {
                let _ = fs::remove_file(&socket);
                let mut command = self.process.command(syslog_ng_program(root), None);
                syslog_ng_environment(&mut command, root);
                command
                    .args(["--foreground", "--stderr", "--no-caps", "--cfgfile"])
                    .arg(dir.join("daemon.conf"))
                    .arg("--persist-file")
                    .arg(dir.join("daemon.persist"))
                    .arg("--pidfile")
                    .arg(dir.join("daemon.pid"))
                    .arg("--control")
                    .arg(dir.join("daemon.ctl"))
                    .arg(module_path(root));
                self.process.start(command, &|| socket.exists())
            }
            Kind::Snmptrapd(port, options) => {
                let before = said("NET-SNMP version");
                let mut command = self.process.command("snmptrapd", None);
                command
                    .args(["-f", "-C", "-M", "", "-m", "", "-c"])
                    .arg(dir.join("daemon.conf"))
                    .arg("-Lo")
                    .args(options)
                    .arg("-p")
                    .arg(dir.join("daemon.pid"))
                    .arg(format!("udp:127.0.0.1:{port}"))
                    // Where it keeps its engine's boots.
                    .env("SNMP_PERSISTENT_DIR", dir);
                self.process
                    .start(command, &|| said("NET-SNMP version") > before)
            }
        }
    }

    /// Its directory: `daemon.conf`, `daemon.log`, `log.sock` and what the configuration makes.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The socket that rsyslog and syslog-ng take messages from.
    pub fn socket(&self) -> PathBuf {
        self.directory().join("log.sock")
    }

    /// The UDP port that snmptrapd listens on.
    pub fn port(&self) -> Option<u16> {
        match self.kind {
            Kind::Snmptrapd(port, _) => Some(port),
            Kind::Rsyslogd | Kind::SyslogNg(_) => None,
        }
    }

    /// The process id while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.process.pid()
    }

    /// The last lines of what it printed.
    pub fn log_tail(&self, lines: usize) -> String {
        self.process.log_tail(lines)
    }

    /// Kills it with SIGKILL.
    pub fn kill(&self) {
        self.process.kill();
    }

    /// Asks it to stop, which lets it save its queues, and waits for its end.
    ///
    /// # Errors
    /// It has not ended within a minute.
    pub fn stop(&self) -> Result<()> {
        self.process.stop(Signal::TERM).map(drop)
    }

    /// Makes it read its files again (SIGHUP).
    pub fn reload(&self) {
        self.process.signal(Signal::HUP);
    }
}

fn in_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        // Not in every user's PATH.
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .map(|dir| dir.join(program))
        .find(|program| program.is_file())
}

fn rsyslogd() -> Result<PathBuf> {
    in_path("rsyslogd")
        .context("rsyslog is not installed: no `rsyslogd`; `cargo muttdev setup` installs it")
}

/// The directory that syslog-ng was unpacked into; `/` where it is installed as it should be.
fn syslog_ng() -> Result<PathBuf> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target"),
        PathBuf::from,
    );
    [target.join("tools/syslog-ng"), PathBuf::from("/")]
        .into_iter()
        .find(|root| syslog_ng_program(root).is_file())
        .context(
            "syslog-ng is not installed: neither in target/tools/syslog-ng nor in /usr/sbin; \
             `cargo muttdev setup` fetches it",
        )
}

fn syslog_ng_program(root: &Path) -> PathBuf {
    root.join("usr/sbin/syslog-ng")
}

/// Where its modules are: `…/usr/lib/syslog-ng/<version>`.
fn syslog_ng_modules(root: &Path) -> Result<PathBuf> {
    let versions = root.join("usr/lib/syslog-ng");
    let Some(version) = fs::read_dir(&versions)?
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.join("libafsocket.so").is_file())
    else {
        bail!("no modules of syslog-ng in {}", versions.display());
    };
    Ok(version)
}

fn module_path(root: &Path) -> OsString {
    let mut option = OsString::from("--module-path=");
    option.push(syslog_ng_modules(root).unwrap_or_default());
    option
}

/// An unpacked program does not find its own libraries.
fn syslog_ng_environment(command: &mut Command, root: &Path) {
    if root == Path::new("/") {
        return;
    }
    let lib = root.join("usr/lib");
    let multiarch = format!("{}-linux-gnu", std::env::consts::ARCH);
    let places = [
        lib.join(&multiarch),
        root.join("lib").join(&multiarch),
        lib.join("syslog-ng"),
        syslog_ng_modules(root).unwrap_or_default(),
    ];
    if let Ok(path) = std::env::join_paths(places) {
        command.env("LD_LIBRARY_PATH", path);
    }
}

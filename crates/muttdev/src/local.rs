//! `cargo muttdev up`, `down`, `logs`: a whole distributed MUTT on this machine, in the background.
//!
//! Everything is in one directory, `target/muttdev/` by default: settings, process ids, logs, data. Only processes that
//! are noted there are ever stopped.

mod record;
mod service;
mod settings;

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use rustix::process::Signal;

use self::service::{SERVICES, Service};
use self::settings::Settings;
use crate::setup::{self, Purpose};
use crate::shell::{cargo, run_it, target_dir};
use crate::ui;

/// Beyond MUTT's own time for finishing its work.
const STOP_LIMIT: Duration = Duration::from_secs(40);

/// Which set-up is meant.
#[derive(Debug, Args)]
pub struct Place {
    /// Where the set-up is; one per directory [default: target/muttdev]
    #[arg(long, env = "MUTTDEV_DIR", value_name = "DIR")]
    dir: Option<PathBuf>,
}

impl Place {
    fn directory(&self) -> Result<PathBuf> {
        let default = || target_dir().join("muttdev");
        let dir = self.dir.clone().unwrap_or_else(default);
        let made = fs::create_dir_all(&dir).and_then(|()| dir.canonicalize());
        made.with_context(|| dir.display().to_string())
    }
}

/// Starts what does not run yet: everything, or the services named and the servers they need.
pub fn up(place: &Place, names: &[String], release: bool) -> Result<()> {
    let wanted = choose(names)?;
    let (servers, roles) = parts(&wanted);
    setup::run(Purpose::Servers)?;
    let dir = place.directory()?;
    let _one_at_a_time = lock(&dir)?;
    let mutt = mutt(release);
    if !roles.is_empty() {
        ui::build_if_possible();
        build(release)?;
    }
    let something_runs = SERVICES
        .iter()
        .any(|service| service.record(&dir).running().is_some());
    let settings = Settings::read_or_make(&dir, something_runs)?;
    start(&servers, &dir, &mutt, &settings)?;
    if !roles.is_empty() {
        migrate(&mutt, &settings, &dir)?;
        start(&roles, &dir, &mutt, &settings)?;
    }
    show(&dir, &mutt, &settings);
    Ok(())
}

/// Servers and roles to start; roles need all servers.
fn parts(wanted: &[&'static Service]) -> (Vec<&'static Service>, Vec<&'static Service>) {
    let roles: Vec<&Service> = wanted
        .iter()
        .copied()
        .filter(|service| !service.is_server())
        .collect();
    let servers = SERVICES
        .iter()
        .filter(|service| {
            let named = wanted.iter().any(|other| other.name == service.name);
            service.is_server() && (named || !roles.is_empty())
        })
        .collect();
    (servers, roles)
}

/// Starts those that do not run, and waits until all are well.
fn start(services: &[&Service], dir: &Path, mutt: &Path, settings: &Settings) -> Result<()> {
    for service in services {
        if service.record(dir).running().is_none() {
            eprintln!("+ start {}", service.name);
            service.start(dir, mutt, settings)?;
        }
    }
    services
        .iter()
        .try_for_each(|service| service.wait(dir, settings))
}

/// Stops what [`up`] started: everything, or the services named; roles before servers.
pub fn down(place: &Place, names: &[String], wipe: bool) -> Result<()> {
    if wipe && !names.is_empty() {
        bail!("--wipe is for everything at once; leave the names away");
    }
    let wanted = choose(names)?;
    let dir = place.directory()?;
    let _one_at_a_time = lock(&dir)?;
    stop(&dir, wanted.iter().filter(|service| !service.is_server()));
    stop(&dir, wanted.iter().filter(|service| service.is_server()));
    if wipe {
        let servers = service::servers_dir(&dir);
        remove(&servers.join("redis"))?;
        remove(&servers.join("postgres"))?;
        remove(&dir.join("data"))?;
        remove(&dir.join("logs"))?;
        remove(&settings::file(&dir))?;
        eprintln!("Everything is removed.");
    }
    Ok(())
}

fn remove(path: &Path) -> Result<()> {
    let removed = if path.is_dir() {
        fs::remove_dir_all(path)
    } else {
        fs::remove_file(path)
    };
    match removed {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| path.display().to_string())
        }
        _ => Ok(()),
    }
}

fn stop<'a>(dir: &Path, services: impl Iterator<Item = &'a &'static Service> + Clone) {
    let running = services.filter(|service| service.record(dir).running().is_some());
    let running: Vec<_> = running.collect();
    for service in &running {
        eprintln!("+ stop {}", service.name);
        let signal = match service.kind {
            // "Fast shutdown": SIGTERM would wait until every client has left.
            service::Kind::Postgres => Signal::INT,
            _ => Signal::TERM,
        };
        service.record(dir).signal(signal);
    }
    let deadline = Instant::now() + STOP_LIMIT;
    for service in running {
        let record = service.record(dir);
        if !record.wait_for_end(deadline.saturating_duration_since(Instant::now())) {
            eprintln!(
                "{} has not ended after {} s and is killed; see {}",
                service.name,
                STOP_LIMIT.as_secs(),
                service.log(dir).display()
            );
            record.signal(Signal::KILL);
            record.wait_for_end(STOP_LIMIT);
        }
        record.remove();
    }
}

/// Shows the logs' last lines, and what follows where that is asked for.
pub fn logs(place: &Place, names: &[String], lines: u32, follow: bool) -> Result<()> {
    let dir = place.directory()?;
    let files: Vec<PathBuf> = choose(names)?
        .iter()
        .map(|service| service.log(&dir))
        .filter(|log| log.exists())
        .collect();
    if files.is_empty() {
        bail!("there are no logs yet; `cargo muttdev up` starts everything");
    }
    let mut tail = Command::new("tail");
    tail.arg("--lines").arg(lines.to_string());
    if follow {
        tail.arg("--follow=name").arg("--retry");
    }
    let status = tail.args(&files).status().context("tail")?;
    if !status.success() {
        bail!("tail failed");
    }
    Ok(())
}

/// The services that are meant; all where none is named.
fn choose(names: &[String]) -> Result<Vec<&'static Service>> {
    for name in names {
        if !SERVICES.iter().any(|service| service.is_meant_by(name)) {
            let known: Vec<_> = SERVICES.iter().map(|service| service.name).collect();
            bail!(
                "there is no service {name}; there are: {}",
                known.join(", ")
            );
        }
    }
    Ok(SERVICES
        .iter()
        .filter(|service| names.is_empty() || names.iter().any(|name| service.is_meant_by(name)))
        .collect())
}

fn lock(dir: &Path) -> Result<fs::File> {
    let file = fs::File::create(dir.join("lock"))?;
    file.lock()?;
    Ok(file)
}

fn mutt(release: bool) -> PathBuf {
    let profile = if release { "release" } else { "debug" };
    target_dir().join(profile).join("mutt")
}

fn build(release: bool) -> Result<()> {
    let mut command = cargo(&["build", "--quiet", "--package", "mutt"]);
    if release {
        command.arg("--release");
    }
    run_it(&mut command)
}

fn migrate(mutt: &Path, settings: &Settings, dir: &Path) -> Result<()> {
    run_it(
        Command::new(mutt)
            .args(["db", "migrate"])
            .envs(settings.variables())
            .env("DB_ADMIN_USER", "postgres")
            .env("DB_ADMIN_PASS", "postgres")
            .current_dir(dir),
    )
}

fn show(dir: &Path, mutt: &Path, settings: &Settings) {
    println!("\nMUTT runs here, distributed:");
    for service in &SERVICES {
        let (Some(pid), Some(port)) = (service.record(dir).running(), settings.port(service.name))
        else {
            continue;
        };
        println!("  {:<12} 127.0.0.1:{port:<6} process {pid}", service.name);
    }
    let port = |name| settings.port(name).unwrap_or_default();
    let mutt = mutt.display();
    println!(
        "\nTry next:
  . {env}                     (settings and keys for what follows)
  {mutt} rules import {rules}
  {mutt} send syslog --storm link-flap
  curl -H \"X-API-KEY: $INGEST_API_KEY\" -H 'Content-Type: application/json' \\
    -d '{{\"hostname\":\"r1\",\"message\":\"LINK-DOWN\"}}' http://127.0.0.1:{ingestor}/ingest
  {mutt} tail                 (also: status, top, doctor, dlq)
  curl http://127.0.0.1:{mock}/mock/stats          (what the pretend Moogsoft got)
  cargo muttdev logs{place} --service alerter --tail 50
  cargo muttdev down{place}          (data stays; --wipe removes it)

Syslog arrives at port {syslog}, UDP and TCP. Logs and data: {dir}",
        env = settings::file(dir).display(),
        rules = crate::shell::root()
            .join("crates/mutt/src/cli/demo_rules.json")
            .display(),
        place = if dir == target_dir().join("muttdev") {
            String::new()
        } else {
            format!(" --dir {}", dir.display())
        },
        ingestor = port("ingestor"),
        mock = port("mock-moog"),
        syslog = port("syslog"),
        dir = dir.display(),
    );
}

//! Whether the API keeps what its description says: schemathesis asks a real `mutt serve` thousands of
//! odd things and compares each answer with the document.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::shell::{cargo, run_it, target_dir};

const SCHEMATHESIS: &str = "schemathesis";
const VERSION: &str = "4.32.5";
/// A server with this key lives on the loopback interface for a minute.
const KEY: &str = "of the contract test";
/// Longer than a start takes on a slow machine.
const PATIENCE: Duration = Duration::from_mins(1);

/// What is compared. Whether a request without a key is refused our own tests say: here wrong keys
/// would be guesses, and whoever guesses waits.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
    response_headers_conformance,response_schema_conformance,unsupported_method";
/// Streams have no end; signing in would be guessing.
const WITHOUT: &str = "/stream$|/live$|/session";

/// Asks for so many seconds; always the same.
pub fn run(seconds: u32) -> Result<()> {
    let tools = fetch().context("schemathesis cannot be fetched from PyPI")?;
    run_it(&mut cargo(&["build", "--quiet", "--package", "mutt"]))?;
    let work = target_dir().join("contract");
    let _ = fs::remove_dir_all(&work);
    fs::create_dir_all(&work).with_context(|| work.display().to_string())?;
    let server = Server::start(&work)?;
    let result = run_it(
        Command::new("python3")
            .args(["-m", "schemathesis.cli", "run"])
            .arg(format!("http://{}/api/v2/openapi.json", server.address))
            .args(["--header", &format!("X-API-KEY: {KEY}")])
            .args(["--exclude-path-regex", WITHOUT, "--checks", CHECKS])
            .args(["--phases", "examples,coverage,fuzzing"])
            .args(["--max-time", &seconds.to_string(), "--max-examples", "8"])
            .args(["--generation-deterministic", "--continue-on-failure"])
            // Two would disturb each other in Python's parser.
            .args(["--workers", "1", "--request-timeout", "30"])
            .args(["--warnings", "off", "--no-color"])
            .env("PYTHONPATH", tools)
            .current_dir(&work),
    );
    result.with_context(|| format!("what the server said is in {}", server.log.display()))
}

/// Installs schemathesis beside the other tools, where it is not there yet.
fn fetch() -> Result<PathBuf> {
    let tools = target_dir().join("tools");
    let there = tools.join(format!("{SCHEMATHESIS}-{VERSION}"));
    if there.is_dir() {
        return Ok(there);
    }
    // Two of us at once do not see each other's half-written files.
    let work = tools.join(format!("{SCHEMATHESIS}-{}", std::process::id()));
    let installed = run_it(
        Command::new("python3")
            .args(["-m", "pip", "install", "--quiet", "--only-binary=:all:"])
            .args(["--disable-pip-version-check", "--target"])
            .arg(&work)
            .arg(format!("{SCHEMATHESIS}=={VERSION}")),
    );
    let moved = installed.and_then(|()| match fs::rename(&work, &there) {
        Err(_) if there.is_dir() => Ok(()),
        moved => Ok(moved?),
    });
    let _ = fs::remove_dir_all(&work);
    moved.map(|()| there)
}

/// A `mutt serve` with its data in a directory that is thrown away.
struct Server {
    process: Child,
    address: SocketAddr,
    log: PathBuf,
}

impl Server {
    fn start(work: &Path) -> Result<Self> {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
            .local_addr()?
            .port();
        let log = work.join("serve.log");
        let mut command = Command::new(target_dir().join("debug/mutt"));
        command
            .args(["serve", "--roles", "webui,alerter"])
            .env_clear()
            .env("MUTT_DATA_DIR", work.join("data"))
            .env("WEBUI_API_KEY", KEY)
            .env("SERVER_PORT_WEBUI", port.to_string())
            .env("SERVER_PORT_ALERTER", "0")
            .env("SERVER_PORT_ALERTER_METRICS", "0")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(&log)?);
        let mut server = Self {
            process: command.spawn().context("mutt serve")?,
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
            log,
        };
        let began = Instant::now();
        while TcpStream::connect(server.address).is_err() {
            let ended = server.process.try_wait()?;
            if ended.is_some() || began.elapsed() > PATIENCE {
                let log = fs::read_to_string(&server.log).unwrap_or_default();
                bail!("mutt serve does not start:\n{log}");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

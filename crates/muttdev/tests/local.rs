//! `cargo muttdev up` and `down`: the servers. (The roles need a build of MUTT.)

use std::path::Path;
use std::process::{Command, Output};

fn muttdev(dir: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_muttdev"))
        .args(arguments)
        .env("MUTTDEV_DIR", dir)
        .env("TMPDIR", dir)
        .output()
        .expect("muttdev was built")
}

/// Standard output of a command that succeeds.
fn succeed(dir: &Path, arguments: &[&str]) -> String {
    let output = muttdev(dir, arguments);
    assert!(
        output.status.success(),
        "{arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The line about a service, without its process.
fn address<'a>(shown: &'a str, service: &str) -> &'a str {
    shown
        .lines()
        .find(|line| line.trim_start().starts_with(service))
        .and_then(|line| line.split(" process").next())
        .unwrap_or_else(|| panic!("no {service} in: {shown}"))
}

/// Stops what a failed test leaves.
struct Stopped<'a>(&'a Path);

impl Drop for Stopped<'_> {
    fn drop(&mut self) {
        muttdev(self.0, &["down"]);
    }
}

#[test]
fn servers_start_once_keep_their_data_and_stop() {
    let dir = tempfile::Builder::new()
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .tempdir()
        .unwrap();
    let dir = dir.path();
    let _stopped = Stopped(dir);
    let first = succeed(dir, &["up", "redis", "postgres"]);
    let again = succeed(dir, &["up", "redis", "postgres"]);
    assert_eq!(first, again);
    let logs = succeed(dir, &["logs", "--service", "postgres", "--tail", "100"]);
    assert!(logs.contains("ready to accept connections"), "{logs}");

    succeed(dir, &["down", "redis"]);
    let socket = dir.join("redis/redis.sock");
    assert!(std::os::unix::net::UnixStream::connect(&socket).is_err());
    let third = succeed(dir, &["up", "redis"]);
    assert_eq!(address(&first, "redis"), address(&third, "redis"));
    assert_eq!(address(&first, "postgres"), address(&third, "postgres"));

    succeed(dir, &["down", "--wipe"]);
    assert!(!dir.join("postgres").exists());
    assert!(!dir.join("mutt.env").exists());
}

#[test]
fn a_service_that_does_not_exist_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let output = muttdev(dir.path(), &["up", "redsi"]);
    assert!(!output.status.success());
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.contains("no service redsi"), "{error}");
    assert!(error.contains("alerter-2"), "{error}");
}

//! `cargo muttdev up` and `down`: the servers. (The roles need a build of MUTT.)

use std::path::Path;
use std::process::{Command, Output};

fn muttdev(target: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_muttdev"))
        .args(arguments)
        .env("CARGO_TARGET_DIR", target)
        .env("TMPDIR", target)
        .output()
        .expect("muttdev was built")
}

/// Standard output of a command that succeeds.
fn succeed(target: &Path, arguments: &[&str]) -> String {
    let output = muttdev(target, arguments);
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
    let target = tempfile::Builder::new()
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .tempdir()
        .unwrap();
    let target = target.path();
    let _stopped = Stopped(target);
    let first = succeed(target, &["up", "redis", "postgres"]);
    let again = succeed(target, &["up", "redis", "postgres"]);
    assert_eq!(first, again);
    let logs = succeed(target, &["logs", "--service", "postgres", "--tail", "100"]);
    assert!(logs.contains("ready to accept connections"), "{logs}");

    succeed(target, &["down", "redis"]);
    let socket = target.join("muttdev/redis/redis.sock");
    assert!(std::os::unix::net::UnixStream::connect(&socket).is_err());
    let third = succeed(target, &["up", "redis"]);
    assert_eq!(address(&first, "redis"), address(&third, "redis"));
    assert_eq!(address(&first, "postgres"), address(&third, "postgres"));

    succeed(target, &["down", "--wipe"]);
    assert!(!target.join("muttdev/postgres").exists());
    assert!(!target.join("muttdev/mutt.env").exists());
}

#[test]
fn a_service_that_does_not_exist_is_named() {
    let target = tempfile::tempdir().unwrap();
    let output = muttdev(target.path(), &["up", "redsi"]);
    assert!(!output.status.success());
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.contains("no service redsi"), "{error}");
    assert!(error.contains("alerter-2"), "{error}");
}

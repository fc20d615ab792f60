//! A server lives as long as the process that started it: no longer, and no shorter.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use mutt_testbed::{Postgres, Redis};

/// Set where this program is run as the process to be killed.
const CHILD: &str = "MUTT_TESTBED_CHILD";

fn alive(pid: &str) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| {
        stat.rsplit_once(") ")
            .is_some_and(|(_, rest)| !rest.starts_with('Z'))
    })
}

#[test]
fn servers_end_with_a_killed_process() {
    if std::env::var_os(CHILD).is_some() {
        // What a shared server is: nobody drops it.
        let redis = std::mem::ManuallyDrop::new(Redis::start());
        let postgres = Postgres::shared();
        let pid = |pid: Option<u32>| pid.map(|pid| pid.to_string()).unwrap_or_default();
        println!(
            "\nservers {} {} {} {}",
            pid(redis.pid()),
            pid(postgres.pid()),
            redis.dir().display(),
            postgres.dir().display()
        );
        // Until it is killed, or the parent is gone.
        let _ = std::io::stdin().read_line(&mut String::new());
        return;
    }
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "servers_end_with_a_killed_process",
            "--nocapture",
        ])
        .env(CHILD, "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let line = BufReader::new(child.stdout.take().unwrap())
        .lines()
        .map_while(Result::ok)
        .find_map(|line| line.strip_prefix("servers ").map(str::to_owned))
        .expect("the child starts its servers");
    let parts: Vec<&str> = line.split(' ').collect();
    let (pids, dirs) = parts.split_at(2);
    assert!(pids.iter().all(|pid| alive(pid)), "{line}");
    child.kill().unwrap();
    child.wait().unwrap();
    let deadline = Instant::now() + Duration::from_mins(1);
    while pids.iter().any(|pid| alive(pid)) {
        assert!(Instant::now() < deadline, "a server goes on: {line}");
    }
    // What they left behind goes with the next start that finds nobody else sweeping.
    while dirs.iter().any(|dir| Path::new(dir).exists()) {
        assert!(Instant::now() < deadline, "files stay: {line}");
        drop(Redis::start());
    }
}

#[test]
fn servers_outlive_the_thread_that_started_them() {
    let redis = std::thread::spawn(Redis::start).join().unwrap();
    assert_eq!(redis.command(&["PING"]), "PONG");
    let pid = redis.pid().unwrap().to_string();
    assert!(alive(&pid));
}

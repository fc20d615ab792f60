//! The daemons start, take a message, come back with their files and leave nothing behind.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use mutt_testbed::{Daemon, Rsyslogd, Snmptrapd, SyslogNg};

/// Waits until the file holds the text.
fn expect(daemon: &Daemon, file: &Path, text: &str) {
    let deadline = Instant::now() + Duration::from_mins(1);
    loop {
        let content = fs::read_to_string(file).unwrap_or_default();
        if content.contains(text) {
            return;
        }
        assert!(
            Instant::now() < deadline,
            "no {text:?} in {content:?}; {}",
            daemon.log_tail(20)
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn log(daemon: &Daemon, text: &str) {
    let status = Command::new("logger")
        .arg("--socket")
        .arg(daemon.socket())
        .args(["--tag", "tried", text])
        .status()
        .expect("logger is installed");
    assert!(status.success());
}

fn takes_messages(daemon: &Daemon) {
    let file = daemon.directory().join("out.log");
    log(daemon, "one");
    expect(daemon, &file, "one");
    daemon.stop().expect("it stops");
    assert_eq!(daemon.pid(), None);
    daemon.start_again().expect("it starts again");
    log(daemon, "two");
    expect(daemon, &file, "two");
    let directory = daemon.directory().to_owned();
    assert!(directory.is_dir());
}

#[test]
fn rsyslogd() {
    let daemon = Rsyslogd::start(|dir| {
        format!(
            "action(type=\"omfile\" file=\"{}/out.log\")\n",
            dir.display()
        )
    });
    takes_messages(&daemon);
    let config = daemon.directory().join("daemon.conf");
    Rsyslogd::check(&config).expect("its own configuration is right");
    fs::write(&config, "action(type=\"nonsense\")\n").expect("a file");
    let error = Rsyslogd::check(&config).expect_err("no such action");
    assert!(error.to_string().contains("nonsense"), "{error}");
}

#[test]
fn syslog_ng() {
    let daemon = SyslogNg::start(|dir| {
        format!(
            "destination d {{ file(\"{}/out.log\"); }};\nlog {{ source(s_log); destination(d); }};\n",
            dir.display()
        )
    });
    takes_messages(&daemon);
    let config = daemon.directory().join("daemon.conf");
    SyslogNg::check(&config).expect("its own configuration is right");
    fs::write(&config, "@version: 3.38\ndestination d { nonsense(1); };\n").expect("a file");
    let error = SyslogNg::check(&config).expect_err("no such destination");
    assert!(error.to_string().contains("syntax error"), "{error}");
}

#[test]
fn snmptrapd() {
    let daemon = Snmptrapd::start("disableAuthorization yes\n", &["-On"]);
    let target = format!("127.0.0.1:{}", daemon.port().expect("a port"));
    let status = Command::new("snmptrap")
        .args(["-v2c", "-c", "public", &target, "", "1.3.6.1.6.3.1.1.5.3"])
        .env("MIBS", "")
        .status()
        .expect("snmptrap is installed");
    assert!(status.success());
    expect(
        &daemon,
        &daemon.directory().join("daemon.log"),
        ".1.3.6.1.6.3.1.1.5.3",
    );
}

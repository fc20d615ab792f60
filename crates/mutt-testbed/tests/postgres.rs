//! PostgreSQL servers start as asked, keep their data, and die when they should.

use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use mutt_testbed::Postgres;

/// psql over TCP.
fn psql(conninfo: &str, sql: &str) -> Result<String, String> {
    let output = Command::new("psql")
        .args(["-X", "-A", "-t", "-q", conninfo, "-c", sql])
        .output()
        .expect("psql is installed");
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

#[test]
fn a_killed_server_comes_back_with_its_data() {
    let postgres = Postgres::start();
    assert_eq!(postgres.sql("SHOW fsync"), "on");
    assert_eq!(postgres.sql("SHOW max_connections"), "100");
    postgres.create_database("mutt");
    postgres.sql_in("mutt", "CREATE TABLE t (n int)");
    postgres.sql_in("mutt", "INSERT INTO t VALUES (1), (2)");
    postgres.kill();
    assert!(postgres.try_sql_in("mutt", "SELECT 1").is_err());
    postgres.restart();
    let read = || postgres.sql_in("mutt", "SELECT n FROM t ORDER BY n");
    assert_eq!(read(), "1\n2");
    postgres.terminate();
    assert_eq!(postgres.pid(), None);
    postgres.restart();
    assert_eq!(read(), "1\n2");
}

#[test]
fn passwords_are_checked_over_tcp() {
    let postgres = Postgres::builder().fsync(false).start();
    assert_eq!(postgres.sql("SHOW fsync"), "off");
    let right = postgres.conninfo("postgres", "postgres");
    assert_eq!(psql(&right, "SELECT 1").as_deref(), Ok("1"));
    let wrong = right.replace("password=postgres", "password=guess");
    let error = psql(&wrong, "SELECT 1").unwrap_err();
    assert!(error.contains("password authentication failed"), "{error}");
}

#[test]
fn tls_is_offered_where_it_is_asked_for() {
    let postgres = Postgres::builder().tls().fsync(false).start();
    let ca = postgres.ca_file().unwrap().display();
    let conninfo = postgres.conninfo("postgres", "postgres");
    let verified = format!("{conninfo} sslmode=verify-full sslrootcert={ca}");
    let sql = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    assert_eq!(psql(&verified, sql).as_deref(), Ok("t"));

    let plain = Postgres::shared();
    let refused = format!("{} sslmode=require", plain.conninfo("postgres", "postgres"));
    let error = psql(&refused, "SELECT 1").unwrap_err();
    assert!(error.contains("does not support SSL"), "{error}");
}

#[test]
fn a_paused_server_answers_after_it_goes_on() {
    let postgres = Postgres::builder().fsync(false).start();
    postgres.pause();
    thread::scope(|scope| {
        let question = scope.spawn(|| postgres.sql("SELECT 1"));
        let conninfo = postgres.conninfo("postgres", "postgres");
        let conninfo = conninfo.replace("connect_timeout=10", "connect_timeout=2");
        let error = psql(&conninfo, "SELECT 1").unwrap_err();
        assert!(error.contains("timeout"), "{error}");
        postgres.resume();
        assert_eq!(question.join().unwrap(), "1");
    });
}

#[test]
fn sessions_die_with_the_server() {
    let postgres = Postgres::builder().fsync(false).start();
    thread::scope(|scope| {
        let session = scope.spawn(|| postgres.try_sql_in("postgres", "SELECT pg_sleep(600)"));
        let deadline = Instant::now() + Duration::from_mins(1);
        let asleep = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
        while postgres.sql(asleep) != "1" {
            assert!(Instant::now() < deadline, "the session does not start");
        }
        postgres.kill();
        assert!(session.join().unwrap().is_err());
    });
    postgres.restart();
    assert_eq!(postgres.sql("SELECT 1"), "1");
}

#[test]
fn a_dropped_server_is_gone_with_its_files() {
    let postgres = Postgres::builder().fsync(false).start();
    let (pid, dir) = (postgres.pid().unwrap(), postgres.dir().to_owned());
    drop(postgres);
    assert!(!Path::new(&format!("/proc/{pid}")).exists());
    assert!(!dir.exists());
}

#[test]
fn a_server_that_cannot_start_shows_its_log() {
    let error = Postgres::builder()
        .setting("no_such_setting", "1")
        .try_start()
        .unwrap_err();
    let text = error.to_string();
    assert!(text.contains("postgres did not start"), "{text}");
    assert!(text.contains("no_such_setting"), "{text}");
}

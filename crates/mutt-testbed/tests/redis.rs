//! Redis servers start as asked, keep their data, and die when they should.

use std::fs::OpenOptions;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use mutt_testbed::{AppendFsync, Redis, Sentinel};

fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_mins(1);
    while !condition() {
        assert!(Instant::now() < deadline, "{what}: not within a minute");
        std::thread::yield_now();
    }
}

#[test]
fn a_killed_server_comes_back_with_its_data() {
    let redis = Redis::start();
    redis.command(&["RPUSH", "queue", "first", "second"]);
    let pid = redis.pid();
    redis.kill();
    assert!(redis.try_command(&["PING"]).is_err());
    assert_eq!(redis.pid(), None);
    redis.restart();
    assert_ne!(redis.pid(), pid);
    assert_eq!(
        redis.command(&["LRANGE", "queue", "0", "-1"]),
        "first\nsecond"
    );
    redis.terminate();
    redis.restart();
    assert_eq!(redis.command(&["LLEN", "queue"]), "2");
}

#[test]
fn a_torn_append_only_file_is_repaired() {
    let redis = Redis::start();
    redis.command(&["SET", "whole", "1"]);
    redis.kill();
    let file = redis.dir().join("appendonlydir/appendonly.aof.1.incr.aof");
    let mut file = OpenOptions::new().append(true).open(file).unwrap();
    file.write_all(b"*3\r\n$3\r\nSET\r\n$4\r\ntorn\r\n$5\r\nab")
        .unwrap();
    redis.restart();
    assert_eq!(redis.command(&["GET", "whole"]), "1");
    assert_eq!(redis.command(&["EXISTS", "torn"]), "0");
}

#[test]
fn settings_reach_the_server() {
    let durable = Redis::start();
    let setting = |redis: &Redis, name: &str| {
        let answer = redis.command(&["CONFIG", "GET", name]);
        answer.lines().nth(1).unwrap_or_default().to_owned()
    };
    assert_eq!(setting(&durable, "appendonly"), "yes");
    assert_eq!(setting(&durable, "appendfsync"), "always");
    assert_eq!(setting(&durable, "save"), "");
    assert_eq!(setting(&durable, "maxmemory-policy"), "noeviction");

    let cache = Redis::builder()
        .no_aof()
        .maxmemory(64 << 20)
        .maxmemory_policy("allkeys-lru")
        .start();
    assert_eq!(setting(&cache, "appendonly"), "no");
    assert_eq!(setting(&cache, "maxmemory"), "67108864");
    assert_eq!(setting(&cache, "maxmemory-policy"), "allkeys-lru");

    let everysec = Redis::builder().appendfsync(AppendFsync::EverySec).start();
    assert_eq!(setting(&everysec, "appendfsync"), "everysec");
}

#[test]
fn a_dropped_server_is_gone_with_its_files() {
    let redis = Redis::start();
    let (pid, port, dir) = (redis.pid().unwrap(), redis.port(), redis.dir().to_owned());
    drop(redis);
    assert!(!Path::new(&format!("/proc/{pid}")).exists());
    assert!(!dir.exists());
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
}

#[test]
fn a_directory_that_is_kept_carries_data_to_the_next_server() {
    let dir = tempfile::tempdir().unwrap();
    let first = Redis::builder().dir(dir.path()).start();
    first.command(&["SET", "key", "value"]);
    drop(first);
    let second = Redis::builder().dir(dir.path()).start();
    assert_eq!(second.command(&["GET", "key"]), "value");
}

#[test]
fn a_password_is_asked_for_and_can_change() {
    let redis = Redis::builder().password("first secret").start();
    let mut stranger = TcpStream::connect((redis.host(), redis.port())).unwrap();
    stranger.write_all(b"PING\r\n").unwrap();
    let mut answer = [0; 7];
    stranger.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"-NOAUTH");

    redis.set_password("second");
    redis.restart();
    assert_eq!(redis.password().as_deref(), Some("second"));
    assert_eq!(redis.command(&["PING"]), "PONG");
}

#[test]
fn tls_is_the_only_way_in_where_it_is_asked_for() {
    let redis = Redis::builder().tls().start();
    let port = redis.port().to_string();
    let cli = |arguments: &[&str]| {
        let output = std::process::Command::new("redis-cli")
            .args(["-h", "localhost", "-p", &port])
            .args(arguments)
            .arg("PING")
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let ca = redis.ca_file().unwrap().to_str().unwrap();
    assert_eq!(cli(&["--tls", "--cacert", ca]), "PONG\n");
    assert_ne!(cli(&[]), "PONG\n");
}

#[test]
fn a_paused_server_answers_after_it_goes_on() {
    let redis = Redis::start();
    redis.pause();
    let mut stream = TcpStream::connect((redis.host(), redis.port())).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_millis(50)))
        .unwrap();
    stream.write_all(b"PING\r\n").unwrap();
    let mut answer = [0; 5];
    assert!(stream.read_exact(&mut answer).is_err());
    redis.resume();
    stream
        .set_read_timeout(Some(Duration::from_mins(1)))
        .unwrap();
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"+PONG");
}

#[test]
fn a_server_that_cannot_start_shows_its_log() {
    let error = Redis::builder()
        .maxmemory_policy("no-such-policy")
        .try_start()
        .unwrap_err();
    let text = error.to_string();
    assert!(text.contains("redis-server did not start"), "{text}");
    assert!(text.contains("no-such-policy"), "{text}");
}

#[test]
fn a_sentinel_makes_the_replica_the_primary() {
    fail_over(&Redis::builder().password("secret").start());
}

#[test]
fn a_sentinel_fails_over_with_tls() {
    fail_over(&Redis::builder().password("secret").tls().start());
}

fn fail_over(primary: &Redis) {
    let replica = Redis::builder()
        .password("secret")
        .replica_of(primary)
        .start();
    primary.command(&["SET", "key", "value"]);
    primary.command(&["WAIT", "1", "60000"]);
    let sentinel = Sentinel::start(primary, 1, 200);
    assert_eq!(sentinel.primary_port(), primary.port());
    primary.kill();
    wait_until("fail-over", || sentinel.primary_port() == replica.port());
    wait_until("promotion", || {
        replica.command(&["ROLE"]).starts_with("master")
    });
    assert_eq!(replica.command(&["GET", "key"]), "value");
}

//! The proxy forwards, and makes each kind of trouble it promises.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use mutt_testbed::{Proxy, Redis};

fn connect(proxy: &Proxy) -> TcpStream {
    let stream = TcpStream::connect(proxy.address()).expect("the proxy accepts");
    stream
        .set_read_timeout(Some(Duration::from_mins(1)))
        .expect("a time-out that is not zero");
    stream
}

fn ask(stream: &mut TcpStream, command: &str) -> std::io::Result<String> {
    stream.write_all(command.as_bytes())?;
    stream.write_all(b"\r\n")?;
    let mut answer = [0; 64];
    match stream.read(&mut answer)? {
        0 => Err(ErrorKind::UnexpectedEof.into()),
        length => Ok(String::from_utf8_lossy(&answer[..length]).trim().to_owned()),
    }
}

fn silent(stream: &mut TcpStream, command: &str) -> bool {
    stream
        .set_read_timeout(Some(Duration::from_millis(50)))
        .expect("a time-out that is not zero");
    let answer = ask(stream, command);
    stream
        .set_read_timeout(Some(Duration::from_mins(1)))
        .expect("a time-out that is not zero");
    matches!(answer, Err(error) if error.kind() == ErrorKind::WouldBlock)
}

#[test]
fn forwards_and_cuts() {
    let redis = Redis::start();
    let proxy = Proxy::to_port(redis.port());
    let mut stream = connect(&proxy);
    assert_eq!(ask(&mut stream, "PING").unwrap(), "+PONG");
    assert_eq!(proxy.connections(), 1);
    proxy.cut();
    assert!(ask(&mut stream, "PING").is_err());
    assert_eq!(proxy.connections(), 0);
    assert_eq!(ask(&mut connect(&proxy), "PING").unwrap(), "+PONG");
    assert_eq!(proxy.accepted(), 2);
}

#[test]
fn refuses_and_accepts_again() {
    let redis = Redis::start();
    let proxy = Proxy::to_port(redis.port());
    let mut before = connect(&proxy);
    assert_eq!(ask(&mut before, "PING").unwrap(), "+PONG");
    proxy.refuse();
    let refused = TcpStream::connect(proxy.address()).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    assert_eq!(ask(&mut before, "PING").unwrap(), "+PONG");
    proxy.accept();
    assert_eq!(ask(&mut connect(&proxy), "PING").unwrap(), "+PONG");
}

#[test]
fn holds_everything_while_frozen() {
    let redis = Redis::start();
    let proxy = Proxy::to_port(redis.port());
    let mut stream = connect(&proxy);
    assert_eq!(ask(&mut stream, "PING").unwrap(), "+PONG");
    proxy.freeze();
    assert!(silent(&mut stream, "SET held 1"));
    assert_eq!(redis.command(&["EXISTS", "held"]), "0");
    assert!(silent(&mut connect(&proxy), "PING"));
    proxy.thaw();
    let mut answer = [0; 3];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"+OK");
    assert_eq!(redis.command(&["GET", "held"]), "1");
}

#[test]
fn a_frozen_connection_can_be_cut() {
    let redis = Redis::start();
    let proxy = Proxy::to_port(redis.port());
    let mut stream = connect(&proxy);
    assert_eq!(ask(&mut stream, "PING").unwrap(), "+PONG");
    proxy.freeze();
    assert!(silent(&mut stream, "SET held 1"));
    proxy.cut();
    proxy.thaw();
    assert!(ask(&mut stream, "PING").is_err());
    assert_eq!(redis.command(&["EXISTS", "held"]), "0");
}

#[test]
fn loses_answers_but_not_requests() {
    let redis = Redis::start();
    let proxy = Proxy::to_port(redis.port());
    let mut stream = connect(&proxy);
    assert_eq!(ask(&mut stream, "PING").unwrap(), "+PONG");
    proxy.lose_answers();
    assert!(silent(&mut stream, "INCR count"));
    let deadline = Instant::now() + Duration::from_mins(1);
    while redis.command(&["GET", "count"]) != "1" {
        assert!(Instant::now() < deadline, "the request does not arrive");
    }
}

#[test]
fn delays() {
    let redis = Redis::start();
    let proxy = Proxy::to_port(redis.port());
    let mut stream = connect(&proxy);
    proxy.delay(Duration::from_millis(30));
    let start = Instant::now();
    assert_eq!(ask(&mut stream, "PING").unwrap(), "+PONG");
    assert!(start.elapsed() >= Duration::from_millis(60));
}

#[test]
fn closes_connections_while_the_server_is_away() {
    let redis = Redis::start();
    let proxy = Proxy::to_port(redis.port());
    redis.kill();
    assert!(ask(&mut connect(&proxy), "PING").is_err());
    redis.restart();
    assert_eq!(ask(&mut connect(&proxy), "PING").unwrap(), "+PONG");
}

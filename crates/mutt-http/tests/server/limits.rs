//! Peers that are slow, many or too big cost themselves, and nobody else.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use mutt_http::{Expired, Limits, Server};
use tokio::io::AsyncWriteExt as _;

use crate::support::{GET, Running, answer, hello, rest, soon, until};

const SHORT: Duration = Duration::from_millis(100);

#[tokio::test]
async fn a_head_that_does_not_end_is_cut_off_and_others_are_served() {
    let running = Running::router(
        hello(),
        Limits {
            header: SHORT,
            ..Limits::default()
        },
        None,
    );
    let mut silent = running.connect().await;
    let mut slow = running.connect().await;
    slow.write_all(b"GET / HTTP/1.1\r\nx-a: b\r\n")
        .await
        .unwrap();
    assert!(running.ask(GET).await.ends_with("hello"));
    assert_eq!(rest(&mut slow).await, "");
    assert_eq!(rest(&mut silent).await, "");
    assert!(running.metrics.expired(Expired::Header).get() >= 2);
    until(|| running.metrics.connections() == 0).await;
}

#[tokio::test]
async fn a_head_that_drips_is_cut_off_too() {
    let limits = Limits {
        header: SHORT,
        ..Limits::default()
    };
    let running = Running::router(hello(), limits, None);
    let mut slow = running.connect().await;
    soon(async {
        slow.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
        while slow.write_all(b"x-a: b\r\n").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    assert_eq!(running.metrics.expired(Expired::Header).get(), 1);
}

#[tokio::test]
async fn a_body_that_does_not_come_is_answered_408_and_closed() {
    let running = Running::counting(Limits {
        body: SHORT,
        ..Limits::default()
    });
    for head in [
        "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\nhalf",
        "POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    ] {
        let mut slow = running.connect().await;
        slow.write_all(head.as_bytes()).await.unwrap();
        let text = rest(&mut slow).await;
        assert!(text.starts_with("HTTP/1.1 408"), "{text}");
        assert!(text.ends_with("too slow"), "{text}");
    }
    assert_eq!(running.metrics.expired(Expired::Body).get(), 2);
    let good = running
        .ask("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\nfull")
        .await;
    assert!(good.ends_with("\r\n\r\n4"), "{good}");
}

#[tokio::test]
async fn an_idle_connection_is_closed_after_its_own_limit() {
    let limits = Limits {
        keep_alive: SHORT,
        ..Limits::default()
    };
    let running = Running::router(hello(), limits, None);
    let mut stream = running.connect().await;
    for _ in 0..3 {
        stream.write_all(GET.as_bytes()).await.unwrap();
        assert!(answer(&mut stream).await.ends_with("hello"));
    }
    assert_eq!(rest(&mut stream).await, "");
    assert_eq!(running.metrics.expired(Expired::Idle).get(), 1);
}

#[tokio::test]
async fn a_reader_that_stalls_is_cut_off() {
    let big = Router::new().route("/", get(|| async { vec![b'x'; 64 * 1024 * 1024] }));
    let running = Running::router(
        big,
        Limits {
            write: SHORT,
            ..Limits::default()
        },
        None,
    );
    let mut stream = running.connect().await;
    stream.write_all(GET.as_bytes()).await.unwrap();
    until(|| running.metrics.expired(Expired::Write).get() == 1).await;
    until(|| running.metrics.connections() == 0).await;
}

#[tokio::test]
async fn there_are_never_more_connections_than_allowed_and_all_are_served() {
    let limits = Limits {
        connections: 2,
        ..Limits::default()
    };
    let peak = Arc::new(AtomicI64::new(0));
    let metrics = mutt_http::ServerMetrics::default();
    let server = Server::bind(SocketAddr::from(([127, 0, 0, 1], 0)), limits).unwrap();
    let address = server.local_addr();
    let (seen, open) = (peak.clone(), metrics.clone());
    let router = Router::new().route(
        "/",
        get(|| async move {
            seen.fetch_max(open.connections(), Ordering::Relaxed);
            tokio::task::yield_now().await;
            "hello"
        }),
    );
    let shutdown = tokio_util::sync::CancellationToken::new();
    tokio::spawn(
        server
            .with_metrics(metrics.clone())
            .run(router, shutdown.clone()),
    );
    let clients: Vec<_> = (0..16)
        .map(|_| {
            tokio::spawn(async move {
                let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
                stream.write_all(GET.as_bytes()).await.unwrap();
                assert!(answer(&mut stream).await.ends_with("hello"));
            })
        })
        .collect();
    for client in clients {
        soon(client).await.unwrap();
    }
    let peak = peak.load(Ordering::Relaxed);
    assert!((1..=2).contains(&peak), "{peak} connections at once");
}

#[tokio::test]
async fn a_sender_of_too_much_is_not_cut_off_before_it_looks_for_the_answer() {
    let running = Running::counting(Limits::default());
    for head in [
        "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 4000000\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n3d0900\r\n",
    ] {
        let mut stream = running.connect().await;
        stream.write_all(head.as_bytes()).await.unwrap();
        // Most clients send everything first; a reset would end that, and they would never look.
        soon(stream.write_all(&vec![b'x'; 4_000_000]))
            .await
            .expect("it is read and thrown away");
        let text = answer(&mut stream).await;
        assert!(text.starts_with("HTTP/1.1 413"), "{text}");
    }
    let good = running
        .ask("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\n\r\nx")
        .await;
    assert!(good.ends_with('1'), "{good}");
}

#[tokio::test]
async fn a_head_that_is_too_long_or_no_http_is_refused() {
    let running = Running::router(hello(), Limits::default(), None);
    let mut stream = running.connect().await;
    let long = format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(20_000));
    stream.write_all(long.as_bytes()).await.unwrap();
    assert!(rest(&mut stream).await.starts_with("HTTP/1.1 431"));
    let mut stream = running.connect().await;
    stream
        .write_all(b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n")
        .await
        .unwrap();
    assert!(rest(&mut stream).await.starts_with("HTTP/1.1 400"));
    assert!(running.ask(GET).await.ends_with("hello"));
}

#[tokio::test]
async fn who_waits_to_be_told_to_go_on_is_told() {
    let running = Running::counting(Limits::default());
    let mut stream = running.connect().await;
    let head = "POST / HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 4\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    assert!(answer(&mut stream).await.starts_with("HTTP/1.1 100"));
    stream.write_all(b"full").await.unwrap();
    assert!(answer(&mut stream).await.ends_with("\r\n\r\n4"));
}

#[tokio::test]
async fn a_port_that_is_taken_is_named_with_what_to_do() {
    let first = Server::bind(SocketAddr::from(([127, 0, 0, 1], 0)), Limits::default()).unwrap();
    let address = first.local_addr();
    let error = Server::bind(address, Limits::default())
        .unwrap_err()
        .to_string();
    assert!(
        error.contains(&address.to_string()) && error.contains("another port"),
        "{error}"
    );
}

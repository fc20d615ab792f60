//! What a server must survive, or refuse with words that help: full and read-only disks, taken
//! ports, damaged and newer databases, garbage on every listener.

#![allow(
    clippy::unwrap_used,
    reason = "a test ends where something is not as it must be"
)]

mod support;

use std::io::{Read as _, Write as _};
use std::net::{TcpStream, UdpSocket};
use std::process::Command;
use std::time::Duration;

use mutt_engine::{Audit as _, Workers as _};
use serde_json::json;
use support::{KEY, Mutt, contains, until};

/// Runs `mutt serve` where it must refuse; its exit code and what it said.
fn refused(mutt: &Mutt) -> (Option<i32>, String) {
    let output = mutt.run(&["serve"]);
    (
        output.status.code(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

#[tokio::test]
async fn a_taken_port_is_refused_with_address_and_advice() {
    let mutt = Mutt::new(&[]);
    let _holder = std::net::TcpListener::bind(mutt.ingest.addr()).unwrap();
    let (code, said) = refused(&mutt);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains(&mutt.ingest.addr().to_string()), "{said}");
}

#[tokio::test]
async fn a_second_server_on_the_same_directory_is_refused_with_the_first_ones_pid() {
    let mut first = Mutt::new(&[]);
    first.start().await;
    let second = Mutt::new(&[("MUTT_DATA_DIR", &first.data().display().to_string())]);
    let (code, said) = refused(&second);
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains(&first.pid().to_string()), "{said}");
    // The first one works on.
    assert_eq!(
        first
            .post(r#"{"hostname":"a","message":"b"}"#)
            .await
            .unwrap()
            .status(),
        200
    );
}

#[tokio::test]
async fn a_configuration_with_problems_does_not_start_and_lists_them_all() {
    let mutt = Mutt::new(&[
        ("MOOG_RATE_LIMIT", "many"),
        ("AUDIT_SCOPE", "some"),
        ("MOOG_TIMEOT", "3"),
    ]);
    let (code, said) = refused(&mutt);
    assert_eq!(code, Some(3), "{said}");
    for name in [
        "MOOG_RATE_LIMIT",
        "AUDIT_SCOPE",
        "did you mean MOOG_TIMEOUT?",
    ] {
        assert!(said.contains(name), "{said}");
    }
}

#[tokio::test]
async fn a_damaged_database_is_refused_with_words() {
    let mut mutt = Mutt::new(&[]);
    mutt.start().await;
    assert_eq!(
        mutt.post(r#"{"hostname":"a","message":"b"}"#)
            .await
            .unwrap()
            .status(),
        200
    );
    mutt.stop();
    let path = mutt.data().join("mutt.db");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[..4096].fill(0xAA);
    std::fs::write(&path, bytes).unwrap();
    let (code, said) = refused(&mutt);
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("mutt.db"), "{said}");
}

#[tokio::test]
async fn a_data_directory_that_cannot_be_made_is_refused_with_words() {
    let mutt = Mutt::new(&[("MUTT_DATA_DIR", "/proc/mutt-data")]);
    let (code, said) = refused(&mutt);
    assert!(matches!(code, Some(1 | 3)), "{code:?} {said}");
    assert!(said.contains("/proc/mutt-data"), "{said}");
}

/// A file system of a few megabytes; `None` where mounting is not allowed.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount(mebibytes: u32) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={mebibytes}m"), "tmpfs"])
            .arg(dir.path())
            .output()
            .is_ok_and(|output| output.status.success());
        mounted.then_some(Self(dir))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[tokio::test]
async fn a_full_disk_answers_503_loses_nothing_and_goes_on_when_there_is_space() {
    let Some(disk) = SmallDisk::mount(24) else {
        eprintln!("not run: mounting needs root");
        return;
    };
    let data = disk.0.path().join("data");
    let mut mutt = Mutt::new(&[
        ("MUTT_DATA_DIR", &data.display().to_string()),
        ("AUDIT_SCOPE", "all"),
        ("UNHANDLED_EVENT_THRESHOLD", "100000000"),
    ]);
    mutt.start().await;
    // Somebody else fills the disk.
    let ballast = disk.0.path().join("ballast");
    let mut file = std::fs::File::create(&ballast).unwrap();
    let block = vec![0_u8; 64 * 1024];
    while file.write_all(&block).is_ok() {}
    let message = "x".repeat(60_000);
    let mut acknowledged = 0;
    let mut answer_when_full = None;
    for _ in 0..2000 {
        let body = json!({"hostname": "a", "message": message}).to_string();
        let answer = mutt.post(body).await.unwrap();
        match answer.status().as_u16() {
            200 => acknowledged += 1,
            503 => {
                assert!(answer.headers().contains_key("retry-after"));
                answer_when_full = Some(answer.text().await.unwrap());
                break;
            }
            other => panic!("{other}: {}", answer.text().await.unwrap()),
        }
    }
    let said = answer_when_full.expect("a full disk is noticed");
    assert!(said.contains("\"status\":\"error\""), "{said}");
    let health = reqwest::get(mutt.url("/health")).await.unwrap();
    eprintln!(
        "{acknowledged} acknowledged before the disk was full; health {}",
        health.status()
    );

    // As long as it is open its space is taken.
    drop(file);
    std::fs::remove_file(&ballast).unwrap();
    until("an event to be taken again", async || {
        let answer = mutt
            .post(r#"{"hostname":"a","message":"after"}"#)
            .await
            .unwrap();
        if answer.status() == 200 {
            acknowledged += 1;
        }
        answer.status() == 200
    })
    .await;
    let engine =
        mutt_engine::embedded::Embedded::open(&data, mutt_engine::embedded::Mode::Tool).unwrap();
    until("every acknowledged event on record", async || {
        engine
            .audit_count()
            .await
            .is_ok_and(|count| count == acknowledged)
    })
    .await;
    engine.close().await;
    assert_eq!(mutt.stop(), Some(0));
}

#[tokio::test]
async fn garbage_on_every_listener_is_counted_and_the_next_good_event_passes() {
    let mut mutt = Mutt::new(&[("AUDIT_SCOPE", "all")]);
    mutt.start().await;
    let mut noise = vec![0_u8; 64 * 1024];
    let mut state = 1_u32;
    for byte in &mut noise {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        // Without line feeds: with them it would be a batch of bad records, which is taken in part.
        *byte = ((state >> 24) as u8).max(b'\n' + 1);
    }
    // HTTP: noise instead of a request, noise as a body, a gzip bomb's beginning, half a request.
    for addr in [mutt.ingest.addr(), mutt.webui.addr(), mutt.syslog.addr()] {
        let mut stream = TcpStream::connect(addr).unwrap();
        let _ = stream.write_all(&noise);
        let _ = stream.write_all(b"POST /ingest HTTP/1.1\r\nContent-Length: 99999\r\n\r\n{");
    }
    let client = reqwest::Client::new();
    let deep = format!(
        r#"{{"hostname":"a","message":"b","x":{}{}}}"#,
        "[".repeat(100_000),
        "]".repeat(100_000)
    );
    for (body, encoding) in [
        (noise.clone(), ""),
        (noise.clone(), "gzip"),
        (noise.clone(), "zstd"),
        (deep.into_bytes(), ""),
    ] {
        let mut request = client
            .post(mutt.url("/ingest"))
            .header("x-api-key", KEY)
            .body(body);
        if !encoding.is_empty() {
            request = request.header("content-encoding", encoding);
        }
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 400, "{encoding}");
    }
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    for chunk in noise.chunks(1400).take(20) {
        udp.send_to(chunk, mutt.syslog.addr()).unwrap();
    }
    let mut tcp = TcpStream::connect(mutt.syslog.addr()).unwrap();
    tcp.write_all(b"<13>Nov 21 12:00:00 good-tcp a good line\n")
        .unwrap();
    udp.send_to(
        b"<13>Nov 21 12:00:00 good-udp a good line",
        mutt.syslog.addr(),
    )
    .unwrap();
    assert_eq!(
        mutt.post(r#"{"hostname":"good-http","message":"good"}"#)
            .await
            .unwrap()
            .status(),
        200
    );
    let engine = mutt.engine();
    for host in ["good-tcp", "good-udp", "good-http"] {
        until(host, async || {
            let filter = mutt_engine::AuditFilter {
                hostname: Some(host.into()),
                limit: 1,
                ..Default::default()
            };
            !engine.audit_rows(filter).await.unwrap().is_empty()
        })
        .await;
    }
    engine.close().await;
    let metrics = reqwest::get(mutt.url("/metrics"))
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    let failed: f64 = metrics
        .lines()
        .filter(|line| {
            line.starts_with("mutt_ingest_requests_total{") && line.contains("status=\"fail\"")
        })
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .sum();
    assert!(failed >= 4.0, "{metrics}");
}

#[tokio::test]
async fn a_slow_client_holds_up_nobody() {
    let mut mutt = Mutt::new(&[]);
    mutt.start().await;
    let slow: Vec<TcpStream> = (0..50)
        .map(|_| {
            let mut stream = TcpStream::connect(mutt.ingest.addr()).unwrap();
            stream
                .write_all(b"POST /ingest HTTP/1.1\r\nX-API-")
                .unwrap();
            stream
        })
        .collect();
    assert_eq!(
        mutt.post(r#"{"hostname":"a","message":"b"}"#)
            .await
            .unwrap()
            .status(),
        200
    );
    // Each is told that it was too slow, or just closed.
    for mut stream in slow {
        stream.set_read_timeout(Some(support::PATIENCE)).unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        assert!(
            answer.is_empty() || answer.starts_with(b"HTTP/1.1 4"),
            "{answer:?}"
        );
    }
}

#[tokio::test]
async fn a_server_told_to_end_returns_what_it_holds_and_exits_0() {
    // No sink: alerts wait. They are there again after the next start.
    let mut mutt = Mutt::new(&[]);
    mutt.rules(json!([contains("PAGE", "Page_only")])).await;
    mutt.start().await;
    for n in 0..20 {
        let body = json!({"hostname": "a", "message": format!("PAGE {n}")}).to_string();
        assert_eq!(mutt.post(body).await.unwrap().status(), 200);
    }
    let engine = mutt.engine();
    until("20 alerts", async || {
        engine.alert_depth().await.is_ok_and(|depth| depth == 20)
    })
    .await;
    engine.close().await;
    assert_eq!(mutt.stop(), Some(0));

    let mock = mutt_forwarder::MockMoog::start(([127, 0, 0, 1], 0).into())
        .await
        .unwrap();
    mutt.set("MOOG_WEBHOOK_URL", &mock.url());
    mutt.start().await;
    until("20 deliveries", async || {
        mock.stats(Duration::from_secs(1)).unique == 20
    })
    .await;
    assert_eq!(mutt.stop(), Some(0));
}

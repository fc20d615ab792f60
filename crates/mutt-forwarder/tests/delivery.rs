//! What becomes of an alert, by what the sink answers.
#![allow(clippy::unwrap_used, reason = "a test ends where something is missing")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use mutt_engine::{Dlq, NewAlert, Reason};
use mutt_event::EventId;
use mutt_forwarder::ForwarderOptions;
use mutt_forwarder::health::Condition;
use mutt_forwarder::mock::Fault;
use mutt_forwarder::sink::{Call, Delivery, KeySlot, MoogSink, Outgoing, Sink};
use tokio::sync::watch;

use support::{Bench, alert, eventually, secret};

fn fault(message: &str, status: u16) -> Fault {
    Fault {
        status: Some(status),
        contains: Some(message.to_owned()),
        ..Fault::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_answer_table() {
    const TAKEN: [u16; 4] = [200, 201, 202, 204];
    const AGAIN: [u16; 8] = [408, 425, 429, 500, 502, 503, 504, 301];
    const REFUSED: [u16; 6] = [400, 402, 404, 410, 413, 422];
    let bench = Bench::new(&[]).await;
    let message = |status: u16| format!("answer-{status}.");
    let mut faults = Vec::new();
    for status in TAKEN {
        faults.push(fault(&message(status), status));
    }
    for status in AGAIN {
        let location = (status == 301).then(|| format!("{}/elsewhere", bench.mock.url()));
        faults.push(Fault {
            count: Some(1),
            location,
            ..fault(&message(status), status)
        });
    }
    for status in REFUSED {
        let body = Some(format!("no {status}\nbecause"));
        faults.push(Fault {
            body,
            ..fault(&message(status), status)
        });
    }
    bench.mock.set_faults(faults);
    let statuses: Vec<_> = TAKEN.into_iter().chain(AGAIN).chain(REFUSED).collect();
    let messages: Vec<_> = statuses.iter().map(|&status| message(status)).collect();
    let ids = bench
        .queue(&messages.iter().map(String::as_str).collect::<Vec<_>>())
        .await;
    let running = bench.start();

    let (answered, refused) = ids.split_at(TAKEN.len() + AGAIN.len());
    bench.delivered(answered).await;
    let dead = bench.dead_eventually(Dlq::Moog, REFUSED.len()).await;

    for (&id, &status) in ids.iter().zip(&statuses) {
        let rows = bench.rows(id).await;
        let seen: Vec<_> = rows.iter().map(|row| (row.attempt, row.status)).collect();
        if TAKEN.contains(&status) {
            assert_eq!(seen, [(1, Some(status))]);
            assert_eq!(rows[0].error, None);
        } else if AGAIN.contains(&status) {
            assert_eq!(seen, [(1, Some(status)), (2, Some(200))]);
            let error = rows[0].error.as_deref().unwrap();
            assert!(error.starts_with(&format!("HTTP {status}")), "{error}");
        } else {
            assert_eq!(seen, [(1, Some(status))], "no second attempt");
            let entry = dead
                .iter()
                .find(|entry| entry.message.contains(&id.to_string()))
                .unwrap();
            assert_eq!(entry.reason, Reason::Refused);
            assert_eq!(entry.detail, format!("HTTP {status}: no {status} because"));
        }
    }
    assert_eq!(refused.len(), REFUSED.len());
    assert_eq!(
        running.metric("mutt_moog_requests_total{status=\"success\",reason=\"\"}"),
        12
    );
    let fails = |reason| {
        running.metric(&format!(
            "mutt_moog_requests_total{{status=\"fail\",reason=\"{reason}\"}}"
        ))
    };
    assert_eq!(fails("rate_limited"), 1);
    assert_eq!(fails("timeout"), 1);
    assert_eq!(fails("server_error"), 4);
    assert_eq!(fails("client_error"), 8, "425, 301 and the refused");
    assert_eq!(running.metric("mutt_moog_retry_count_total"), 8);
    assert_eq!(
        running.metric("mutt_event_delivery_latency_seconds_count"),
        12
    );
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_answer_and_a_broken_connection_are_tried_again() {
    let bench = Bench::new(&[]).await;
    bench.configure(|options| options.timeout = Duration::from_secs(2));
    bench.mock.set_faults([
        Fault {
            delay_ms: 600_000,
            count: Some(1),
            contains: Some("slow".to_owned()),
            ..Fault::default()
        },
        Fault {
            reset: true,
            count: Some(1),
            contains: Some("broken".to_owned()),
            ..Fault::default()
        },
    ]);
    let ids = bench.queue(&["slow", "broken"]).await;
    let running = bench.start();
    bench.delivered(&ids).await;
    let slow = bench.rows(ids[0]).await;
    assert_eq!(slow[0].error.as_deref(), Some("no answer within 2 s"));
    assert_eq!(slow[0].status, None);
    assert!(slow[0].latency_ms >= 2000.0, "{}", slow[0].latency_ms);
    let broken = bench.rows(ids[1]).await;
    assert!(
        broken.len() >= 2 && broken[0].status.is_none(),
        "{broken:?}"
    );
    assert!(running.metric("mutt_moog_requests_total{status=\"fail\",reason=\"connection\"}") >= 1);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn retry_after_is_waited_for() {
    let bench = Bench::new(&[]).await;
    bench.mock.set_faults([Fault {
        status: Some(503),
        retry_after: Some(2),
        count: Some(1),
        ..Fault::default()
    }]);
    let ids = bench.queue(&["one"]).await;
    let running = bench.start();
    bench.delivered(&ids).await;
    let received = bench.mock.received(10);
    assert_eq!(received.len(), 2);
    let gap = received[1].at.duration_since(received[0].at).as_secs_f64();
    assert!(gap >= 2.0, "came back after {gap} s");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn retries_end_and_every_attempt_is_the_same_event() {
    let bench = Bench::new(&[("moog_max_retries", "2")]).await;
    bench.mock.set_faults([Fault {
        status: Some(500),
        ..Fault::default()
    }]);
    let ids = bench.queue(&["one"]).await;
    let running = bench.start();
    let dead = bench.dead_eventually(Dlq::Moog, 1).await;
    assert_eq!(dead[0].reason, Reason::RetriesExhausted);
    assert!(
        dead[0].detail.starts_with("attempt 3: HTTP 500"),
        "{}",
        dead[0].detail
    );
    assert_eq!(bench.rows(ids[0]).await.len(), 3);
    let received = bench.mock.received(10);
    assert_eq!(received.len(), 3);
    for request in received {
        let id = ids[0].to_string();
        assert_eq!(request.external_id.as_deref(), Some(&*id));
        assert_eq!(request.idempotency_key.as_deref(), Some(&*id));
        assert!(request.traceparent.unwrap().starts_with("00-4bf92f35"));
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn retries_allowed_can_be_changed_at_run_time() {
    let bench = Bench::new(&[("moog_max_retries", "1000")]).await;
    bench.mock.set_faults([Fault {
        status: Some(500),
        ..Fault::default()
    }]);
    bench.queue(&["one"]).await;
    let running = bench.start();
    let mut received = bench.mock.watch();
    received.wait_for(|&received| received >= 2).await.unwrap();
    bench.set("moog_max_retries", "0").await;
    bench.dead_eventually(Dlq::Moog, 1).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_alert_is_set_aside_and_what_2_5_wrote_is_delivered() {
    let bench = Bench::new(&[]).await;
    let old = br#"{"api_key":"x","hostname":"old-1","team_assignment":"NETO","severity":"Warning",
        "message_body":"down","raw_json":{"hostname":"old-1","message":"down"},"_correlation_id":"c"}"#;
    bench
        .queue_alerts(vec![
            NewAlert {
                event_id: EventId::new(),
                element: b"{\"no\":\"alert\"}".to_vec(),
            },
            NewAlert {
                event_id: EventId::new(),
                element: old.to_vec(),
            },
        ])
        .await;
    let running = bench.start();
    let dead = bench.dead_eventually(Dlq::Moog, 1).await;
    assert_eq!(dead[0].reason, Reason::Malformed);
    eventually("the old one arrives", async || {
        bench
            .mock
            .received(1)
            .into_iter()
            .find(|request| request.body.contains("old-1"))
    })
    .await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_an_address_alerts_wait_and_health_says_so() {
    let bench = Bench::new(&[]).await;
    bench.configure(|options| options.url = None);
    let ids = bench.queue_many(5).await;
    let running = bench.start();
    eventually("health says so", async || {
        let report = running.health.report();
        let said = report
            .detail
            .is_some_and(|detail| detail.contains("MOOG_WEBHOOK_URL"));
        (said && report.status == Condition::Degraded).then_some(())
    })
    .await;
    assert_eq!(bench.waiting().await, 5, "nothing is claimed");
    bench.configure(|options| options.url = Some(bench.mock.url()));
    bench.delivered(&ids).await;
    eventually("health is good", async || {
        (running.health.report().status == Condition::Ok).then_some(())
    })
    .await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_slow_alert_holds_nothing_up_and_goes_back_at_the_end() {
    let bench = Bench::new(&[]).await;
    bench.configure(|options| options.timeout = Duration::from_mins(10));
    bench.mock.set_faults([Fault {
        delay_ms: 600_000,
        contains: Some("slow".to_owned()),
        ..Fault::default()
    }]);
    let slow = bench.queue(&["slow"]).await;
    let running = bench.start_with(ForwarderOptions {
        concurrency: 4,
        grace: Duration::from_secs(2),
        ..Bench::options()
    });
    let mut received = bench.mock.watch();
    received.wait_for(|&received| received == 1).await.unwrap();
    let fast = bench.queue_many(200).await;
    eventually("the others are delivered", async || {
        fast.iter()
            .all(|id| bench.mock.delivered(&id.to_string()) == 1)
            .then_some(())
    })
    .await;
    assert_eq!(bench.mock.delivered(&slow[0].to_string()), 0);
    running.stop().await;
    assert_eq!(bench.waiting().await, 1, "it waits for the next pod");
    assert_eq!(bench.held().await, 0);
    assert_eq!(bench.rows(slow[0]).await, [], "and no attempt is counted");

    bench.mock.set_faults([]);
    let running = bench.start();
    bench.delivered(&slow).await;
    assert_eq!(bench.rows(slow[0]).await[0].attempt, 1);
    running.stop().await;
    assert_eq!(bench.mock.stats(Duration::from_secs(1)).repeats, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shutdown_finishes_what_is_on_its_way() {
    let bench = Bench::new(&[]).await;
    bench.mock.set_faults([Fault {
        delay_ms: 300,
        ..Fault::default()
    }]);
    let ids = bench.queue_many(500).await;
    let running = bench.start_with(ForwarderOptions {
        concurrency: 8,
        ..Bench::options()
    });
    let mut received = bench.mock.watch();
    received.wait_for(|&received| received >= 8).await.unwrap();
    running.stop().await;
    let mut delivered = 0;
    for &id in &ids {
        let times = bench.mock.delivered(&id.to_string());
        assert!(times <= 1);
        assert_eq!(
            bench.rows(id).await.len(),
            times as usize,
            "what arrived is settled"
        );
        delivered += u64::from(times);
    }
    assert!(delivered >= 8);
    assert_eq!(bench.waiting().await, 500 - delivered, "the rest waits");
    assert_eq!(bench.held().await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_key_is_in_no_error_and_no_dead_letter() {
    let bench = Bench::new(&[]).await;
    bench.keys.set(Some(secret("s3cret-key")), None);
    bench.mock.set_faults([Fault {
        status: Some(400),
        body: Some("you sent Authorization: Bearer s3cret-key".to_owned()),
        ..Fault::default()
    }]);
    let ids = bench.queue(&["one"]).await;
    let running = bench.start();
    let dead = bench.dead_eventually(Dlq::Moog, 1).await;
    assert_eq!(
        dead[0].detail,
        "HTTP 400: you sent Authorization: Bearer [REDACTED]"
    );
    let rows = format!(
        "{:?} {:?}",
        bench.rows(ids[0]).await,
        running.health.report()
    );
    assert!(!rows.contains("s3cret"), "{rows}");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_private_authority_is_trusted_once_it_is_named() {
    let bench = Bench::new(&[]).await;
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let ca = directory.path().join("ca.pem");
    std::fs::write(&ca, made.cert.pem()).unwrap();
    let port = tls_front(&made, bench.mock.local_addr()).await;
    bench.configure(|options| options.url = Some(format!("https://localhost:{port}/events")));
    let ids = bench.queue(&["one"]).await;
    let running = bench.start();
    let error = eventually("the certificate is refused", async || {
        running
            .health
            .report()
            .last_failure
            .map(|failure| failure.error)
    })
    .await;
    assert!(error.contains("certificate"), "{error}");
    assert!(
        !error.contains("localhost"),
        "no address in errors: {error}"
    );
    bench.configure(|options| options.ca = Some(ca));
    bench.delivered(&ids).await;
    running.stop().await;
}

/// Takes TLS off and hands on to `target`.
async fn tls_front(
    made: &rcgen::CertifiedKey<rcgen::KeyPair>,
    target: std::net::SocketAddr,
) -> u16 {
    use tokio_rustls::rustls::pki_types::PrivateKeyDer;
    use tokio_rustls::rustls::{ServerConfig, crypto};
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else {
                    return;
                };
                let mut behind = tokio::net::TcpStream::connect(target).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut stream, &mut behind).await;
            });
        }
    });
    port
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_alert_that_comes_later_is_delivered_too() {
    let bench = Bench::new(&[]).await;
    let running = bench.start();
    for round in 0..5 {
        let new = alert(&format!("round {round}"));
        let id = new.event_id;
        bench.queue_alerts(vec![new]).await;
        bench.delivered(&[id]).await;
    }
    running.stop().await;
}

/// Panics at the first attempts.
struct Breaking {
    sink: Arc<MoogSink>,
    attempts: u32,
}

#[async_trait::async_trait]
impl Sink for Breaking {
    fn name(&self) -> &'static str {
        self.sink.name()
    }

    fn configured(&self) -> Result<(), &'static str> {
        self.sink.configured()
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.sink.changes()
    }

    fn fingerprint(&self) -> u64 {
        self.sink.fingerprint()
    }

    fn has_key(&self, key: KeySlot) -> bool {
        self.sink.has_key(key)
    }

    async fn deliver(&self, outgoing: &Outgoing<'_>, call: Call) -> Delivery {
        assert!(call.attempt > self.attempts, "a mistake in the sink");
        self.sink.deliver(outgoing, call).await
    }

    async fn healthy(&self) -> Result<(), String> {
        self.sink.healthy().await
    }
}

/// Attempts that end in disorder give their places under the limit back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sink_that_panics_does_not_use_the_limit_up() {
    let bench = Bench::new(&[("moog_rate_limit", "2")]).await;
    let ids = bench.queue_many(1).await;
    let sink = Breaking {
        sink: bench.sink.clone(),
        attempts: 3,
    };
    let running = bench.start_sink(Arc::new(sink), Bench::options());
    bench.delivered(&ids).await;
    running.stop().await;
}

//! What one process decides, another one's sample sees.

use std::time::{Duration, Instant};

use mutt_engine::live::{LiveBatch, LiveEvent};

use crate::support::PATIENCE;

#[tokio::test]
async fn what_one_process_shows_another_sees_whole() {
    let (web, store) = crate::store::open().await;
    let alerter = store.engine("alerter").await;
    let mut watcher = web.watch();
    let event = LiveEvent {
        event_id: mutt_event::EventId::new(),
        received_at: jiff::Timestamp::now(),
        hostname: "sw1".to_owned(),
        message: "x".repeat(mutt_engine::live::LIVE_MESSAGE_CHARS),
        cut: true,
        trap_oid: Some("1.3.6.1.6.3.1.1.5.3".to_owned()),
        severity: Some(3),
        source: None,
        environment: "development".to_owned(),
        rule_id: None,
        handling: "Unhandled".to_owned(),
        team: None,
    };
    let start = Instant::now();
    let seen = loop {
        // It takes the alerter a moment to hear that somebody watches.
        if alerter.is_watched() {
            alerter.show(LiveBatch {
                events: vec![event.clone()],
                total: 40,
                every: 40,
            });
        }
        match tokio::time::timeout(Duration::from_millis(100), watcher.recv()).await {
            Ok(seen) => break seen.unwrap(),
            Err(_) => assert!(start.elapsed() < PATIENCE, "nothing is seen"),
        }
    };
    assert_eq!((seen.total, seen.every), (40, 40));
    let seen = &seen.events[0];
    assert_eq!(
        (&seen.message, &seen.trap_oid),
        (&event.message, &event.trap_oid)
    );
    assert!(seen.cut);
    assert_eq!(
        (seen.severity, seen.environment.as_str()),
        (Some(3), "development")
    );
}

//! Watching shows what is decided and costs the pipeline nothing.

use super::sample::{batch, drain, now};
use super::{Fixture, PATIENCE};
use crate::live::{LiveBatch, LiveEvent};

fn shown(total: u64) -> LiveBatch {
    let event = LiveEvent {
        event_id: mutt_event::EventId::new(),
        received_at: now(),
        hostname: "router".to_owned(),
        message: "link down".to_owned(),
        cut: false,
        trap_oid: Some("1.3.6.1.6.3.1.1.5.3".to_owned()),
        severity: Some(3),
        source: None,
        environment: "production".to_owned(),
        rule_id: Some(1),
        handling: "Page_only".to_owned(),
        team: None,
    };
    LiveBatch {
        events: vec![event],
        total,
        every: 1,
    }
}

/// Every watcher sees what is shown while it watches; the engine knows whether anybody does.
pub async fn watchers_see_what_is_shown(fixture: &dyn Fixture) {
    let engine = fixture.open().await;
    assert!(!engine.is_watched());
    engine.show(shown(1));
    let mut one = engine.watch();
    let mut other = engine.watch();
    assert!(engine.is_watched());
    engine.show(shown(2));
    for watcher in [&mut one, &mut other] {
        let batch = tokio::time::timeout(PATIENCE, watcher.recv())
            .await
            .expect("it comes");
        let batch = batch.expect("nobody lags here");
        assert_eq!(batch.total, 2);
        assert_eq!(batch.every, 1);
        let event = &batch.events[0];
        assert_eq!(event.hostname, "router");
        assert_eq!(event.trap_oid.as_deref(), Some("1.3.6.1.6.3.1.1.5.3"));
    }
    drop((one, other));
    assert!(!engine.is_watched());
}

/// Who watches and never looks stops nothing; it misses samples and sees the newest.
pub async fn a_slow_watcher_holds_up_nobody(fixture: &dyn Fixture) {
    const SHOWN: u64 = 20_000;
    let engine = fixture.open().await;
    let mut slow = engine.watch();
    for total in 0..SHOWN {
        engine.show(shown(total));
    }
    engine.enqueue(batch(0..3)).await.expect("taken");
    assert_eq!(drain(&*engine, "a").await, [0, 1, 2]);
    let mut last = None;
    loop {
        match slow.try_recv() {
            Ok(batch) => last = Some(batch.total),
            Err(tokio::sync::broadcast::error::TryRecvError::Lagged(_)) => {}
            Err(_) => break,
        }
    }
    assert_eq!(last, Some(SHOWN - 1));
}

//! Rules and events for the tests of this crate.

use std::sync::Arc;

use mutt_engine::EventClaim;
use mutt_event::Batch;
use mutt_rules::{Handling, MatchType, Mode, Rule, RuleDraft};

/// A rule that looks for this text, pages in production and logs in development.
pub(crate) fn draft(text: &str) -> RuleDraft {
    RuleDraft {
        match_string: Some(text.to_owned()),
        trap_oid: None,
        syslog_severity: None,
        match_type: MatchType::Contains,
        priority: 100,
        prod_handling: Handling::PageAndTicket,
        dev_handling: Handling::LogOnly,
        team_assignment: "WAN".to_owned(),
        is_active: true,
        mode: Mode::Enforce,
        description: None,
    }
}

/// A stored rule.
pub(crate) fn rule(id: i64, draft: RuleDraft) -> Rule {
    Rule {
        id,
        draft,
        version: id + 40,
        created_at: jiff::Timestamp::UNIX_EPOCH,
        updated_at: jiff::Timestamp::UNIX_EPOCH,
        deleted_at: None,
    }
}

/// An event as it waits in the queue.
pub(crate) fn event(hostname: &str, message: &str) -> String {
    serde_json::json!({
        "hostname": hostname,
        "message": message,
        "timestamp": "2026-11-21T13:00:00Z",
        "source": "syslog",
        "syslog_severity": 3,
        "_event_id": mutt_event::EventId::new().to_string(),
        "_received_at": "2026-11-21T13:00:01Z",
        "_correlation_id": "c-1",
    })
    .to_string()
}

/// A claim of these elements, in blocks of two.
pub(crate) fn claim(elements: &[impl AsRef<[u8]>]) -> EventClaim {
    EventClaim {
        id: 1,
        worker: "w".into(),
        events: elements
            .chunks(2)
            .map(|block| Arc::new(block.iter().map(AsRef::as_ref).collect::<Batch>()))
            .collect(),
    }
}

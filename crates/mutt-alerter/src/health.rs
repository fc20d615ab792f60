//! How the alerter is, for whoever serves it.

use std::fmt::Write as _;

use mutt_rules::Skipped;
use serde::Serialize;

use crate::pressure::Level;
use crate::shared::{LAST_CALL, Shared};

/// Rules named in a check's detail; more are counted.
const NAMED_RULES: usize = 5;

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// Its name: `store`, `rules`, `workers`, `alert_queue`.
    pub name: &'static str,
    /// Whether it is well.
    pub ok: bool,
    /// What was found, in words.
    pub detail: String,
}

/// How the alerter is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AlerterHealth {
    /// Whether every check is well.
    pub ok: bool,
    /// What was looked at.
    pub checks: Vec<Check>,
}

pub(crate) async fn health(shared: &Shared) -> AlerterHealth {
    let checks = vec![
        store(shared).await,
        rules(shared),
        workers(shared),
        alert_queue(shared),
    ];
    AlerterHealth {
        ok: checks.iter().all(|check| check.ok),
        checks,
    }
}

async fn store(shared: &Shared) -> Check {
    let (ok, detail) = match tokio::time::timeout(LAST_CALL, shared.engine.ready()).await {
        Ok(Ok(())) => (true, "can be read and written".to_owned()),
        Ok(Err(error)) => (false, error.to_string()),
        Err(_) => (false, format!("no answer within {} s", LAST_CALL.as_secs())),
    };
    Check {
        name: "store",
        ok,
        detail,
    }
}

/// Old rules are better than none: only an alerter that never loaded any is not well.
fn rules(shared: &Shared) -> Check {
    let state = shared.load_state.lock().clone();
    let snapshot = shared.catalog.load();
    let mut detail = if state.loaded {
        format!(
            "{} rules, loaded at {}",
            snapshot.rules().len(),
            snapshot.loaded_at()
        )
    } else {
        "not loaded yet".to_owned()
    };
    append_skipped(&mut detail, snapshot.rules().skipped());
    if let Some(error) = &state.last_error {
        // Writing to a String cannot fail.
        let _ = write!(detail, "; the last load failed: {error}");
    }
    Check {
        name: "rules",
        ok: state.loaded,
        detail,
    }
}

fn append_skipped(detail: &mut String, skipped: &[Skipped]) {
    if skipped.is_empty() {
        return;
    }
    let _ = write!(detail, "; {} skipped:", skipped.len());
    for (index, rule) in skipped.iter().take(NAMED_RULES).enumerate() {
        let lead = if index == 0 { "" } else { "," };
        let _ = write!(detail, "{lead} {} ({})", rule.rule_id, rule.reason);
    }
    if skipped.len() > NAMED_RULES {
        detail.push_str(", …");
    }
}

fn workers(shared: &Shared) -> Check {
    let silence = shared.longest_silence();
    let ok = silence <= shared.options.heartbeat_lifetime();
    let detail = if ok {
        format!("{} working", shared.workers())
    } else {
        format!("one has not got on for {} s", silence.as_secs())
    };
    Check {
        name: "workers",
        ok,
        detail,
    }
}

/// A sink that is behind is no fault of the alerter: restarting it would not help.
fn alert_queue(shared: &Shared) -> Check {
    let detail = match shared.gate.level() {
        Level::Calm => "short",
        Level::High => "above alerter_queue_warn_threshold: the forwarder is behind",
        Level::Full => "above alerter_queue_shed_threshold: events are put off or set aside",
    };
    Check {
        name: "alert_queue",
        ok: true,
        detail: detail.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skipped_rules_are_named_up_to_a_number() {
        let skipped: Vec<_> = (1..=6)
            .map(|rule_id| Skipped {
                rule_id,
                reason: "no good".to_owned(),
            })
            .collect();
        let mut detail = String::new();
        append_skipped(&mut detail, &[]);
        assert_eq!(detail, "");
        append_skipped(&mut detail, &skipped[..2]);
        assert_eq!(detail, "; 2 skipped: 1 (no good), 2 (no good)");
        detail.clear();
        append_skipped(&mut detail, &skipped);
        assert!(detail.ends_with("5 (no good), …"), "{detail}");
    }
}

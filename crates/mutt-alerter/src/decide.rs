//! What is to happen to the events of a claim: a pure function of the claim, the rules, hosts and
//! teams in force, and the policy. No I/O, no knowledge of queues.
//!
//! Promises that every event of the claim ends up somewhere (audit row, alert, unhandled count,
//! dead letter, or deliberately nothing but a count), and that an event which makes deciding panic
//! costs no other event anything.

use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use hashbrown::HashMap;
use jiff::Timestamp;
use mutt_engine::live::{LIVE_MESSAGE_CHARS, LiveBatch, LiveEvent};
use mutt_engine::redecision::Redecided;
use mutt_engine::{AuditRow, DeadLetter, EventClaim, NewAlert, Outcome, Reason, UnhandledPolicy};
use mutt_event::json::{self, Rejected};
use mutt_event::{Alert, EventView};
use mutt_rules::{Environment, Rule, Scratch, Subject};

use crate::catalog::Snapshot;
use crate::groups::Groups;
use crate::sampling::Sampling;

/// `handling_decision` of an event that no rule matched.
pub const UNHANDLED: &str = "Unhandled";

/// What is decided by policy and not by a rule.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Whether events that no rule matched are audited too; those decided anew always are.
    pub audit_unhandled: bool,
    /// When unhandled events make a meta-alert.
    pub unhandled: UnhandledPolicy,
    /// How often an event that makes deciding fail is tried again.
    pub max_retries: u32,
    /// The team of meta-alerts about hosts without a device team.
    pub default_team: Arc<str>,
}

/// What was decided about a claim.
#[derive(Debug)]
pub struct Decided {
    /// What is to take effect.
    pub outcome: Outcome,
    /// What is to be counted and shown once it did.
    pub tally: Tally,
}

/// The decisions about one claim in numbers.
#[derive(Debug, Default)]
pub struct Tally {
    /// Events that a rule decided.
    pub handled: u64,
    /// Events that no rule matched.
    pub unhandled: u64,
    /// Events that could not be read.
    pub malformed: u64,
    /// Events that made deciding fail again and again.
    pub poison: u64,
    /// When each handled or unhandled event was received.
    pub received: Vec<Timestamp>,
    /// Events by host, in no order.
    pub hosts: Vec<(Box<str>, u64)>,
    /// For those who watch.
    pub samples: Vec<LiveEvent>,
    /// One in so many was sampled; 0 where nobody watches.
    pub every: u64,
}

impl Tally {
    /// The live batch for those who watch; `None` where nobody does, or nothing was decided.
    pub(crate) fn live(&mut self) -> Option<LiveBatch> {
        let total = self.handled + self.unhandled;
        if self.every == 0 || total == 0 {
            return None;
        }
        Some(LiveBatch {
            events: std::mem::take(&mut self.samples),
            total,
            every: self.every,
        })
    }
}

type Read = fn(&[u8]) -> Result<EventView<'_>, Rejected>;

/// One worker's memory for deciding, kept from claim to claim.
#[derive(Debug)]
pub struct Decider {
    read: Read,
    scratch: Scratch,
    buffer: String,
    hits: HashMap<i64, u64>,
    hosts: HashMap<Box<str>, u64>,
    groups: Groups,
    /// Audit rows of the last claim: the next one's will be about as many.
    rows: usize,
}

impl Default for Decider {
    fn default() -> Self {
        Self::new()
    }
}

/// What is to happen to one event.
struct Fate {
    handled: bool,
    received_at: Timestamp,
    row: Option<AuditRow>,
    alert: Option<NewAlert>,
    sample: Option<LiveEvent>,
}

impl Decider {
    /// An empty memory; it grows with its first claim.
    pub fn new() -> Self {
        Self::reading_with(json::view)
    }

    fn reading_with(read: Read) -> Self {
        Self {
            read,
            scratch: Scratch::new(),
            buffer: String::new(),
            hits: HashMap::new(),
            hosts: HashMap::new(),
            groups: Groups::default(),
            rows: 0,
        }
    }

    /// Decides about every event of `claim`. Those that `sampling` chooses are kept for those who
    /// watch.
    pub fn decide(
        &mut self,
        claim: &EventClaim,
        snapshot: &Snapshot,
        policy: &Policy,
        sampling: Sampling,
    ) -> Decided {
        let elements: Vec<&[u8]> = claim.iter().collect();
        let mut outcome = Outcome {
            audit: Vec::with_capacity(self.rows.min(elements.len())),
            unhandled_policy: policy.unhandled,
            ..Outcome::default()
        };
        let mut tally = Tally {
            received: Vec::with_capacity(elements.len()),
            every: sampling.every(),
            ..Tally::default()
        };

        let (mut at, mut failures) = (0, 0);
        while at < elements.len() {
            let from = at;
            // One guard for as many events as go well. Judging changes nothing that is handed out
            // until it has come to its end, so that the event at fault can be judged again.
            let run = catch_unwind(AssertUnwindSafe(|| {
                while let Some(element) = elements.get(at) {
                    let sampled = sampling.chooses(at);
                    match self.judge(at, element, snapshot, policy, sampled) {
                        Ok(fate) => apply(fate, &mut outcome, &mut tally),
                        Err(letter) => {
                            tally.malformed += 1;
                            outcome.dead.push(letter);
                        }
                    }
                    at += 1;
                }
            }));
            let Err(panic) = run else { break };
            // It may have been left in the middle of something.
            self.scratch = Scratch::new();
            failures = if at == from { failures + 1 } else { 1 };
            if failures > policy.max_retries {
                let what = panic_text(&*panic);
                tracing::error!(
                    failures,
                    panic = what,
                    "an event made deciding fail; set aside"
                );
                tally.poison += 1;
                outcome.dead.push(poison(elements[at], failures, what));
                at += 1;
                failures = 0;
            }
        }

        self.rows = outcome.audit.len();
        outcome.unhandled = self.groups.take();
        tally.hosts = self.hosts.drain().collect();
        outcome.rule_hits = self.hits.drain().collect();
        outcome.rule_hits.sort_unstable();
        Decided { outcome, tally }
    }

    /// What is to happen to one event; a dead letter where it cannot be read.
    fn judge(
        &mut self,
        index: usize,
        element: &[u8],
        snapshot: &Snapshot,
        policy: &Policy,
        sampled: bool,
    ) -> Result<Fate, DeadLetter> {
        let view = (self.read)(element).map_err(|rejected| DeadLetter {
            reason: Reason::Malformed,
            detail: rejected.message,
            element: element.to_vec(),
        })?;
        let subject = Subject {
            message: &view.message,
            trap_oid: view.trap_oid.as_deref(),
            severity: view.severity,
        };
        let rule = snapshot.rules().find(&subject, &mut self.scratch);
        let environment = snapshot.environment(&view.hostname, &mut self.buffer);
        let received_at = view.received_at;
        self.count_host(&view.hostname);

        let Some(rule) = rule else {
            let sample = sampled.then(|| live(&view, environment, None, UNHANDLED));
            self.groups
                .add(&view, environment, snapshot, policy, &mut self.buffer);
            self.count_hits(None);
            // The road of one that a person had decided anew ends in the audit, whatever the scope.
            let audited = policy.audit_unhandled || Redecided::read(element).is_some();
            let row = audited.then(|| AuditRow {
                matched_rule_id: None,
                rule_version: None,
                handling_decision: UNHANDLED,
                team_assignment: None,
                forwarded_to_moog: false,
                ..audit_row(index, view, environment)
            });
            return Ok(Fate {
                handled: false,
                received_at,
                row,
                alert: None,
                sample,
            });
        };

        let handling = rule.handling(environment);
        let alert = handling.forwards().then(|| NewAlert {
            event_id: view.event_id,
            element: alert_element(&view, element, rule, environment),
        });
        let sample = sampled.then(|| live(&view, environment, Some(rule), handling.name()));
        self.count_hits(Some(rule.id));
        let row = AuditRow {
            matched_rule_id: Some(rule.id),
            rule_version: Some(rule.version),
            handling_decision: handling.name(),
            team_assignment: snapshot.rule_team(rule).cloned(),
            forwarded_to_moog: alert.is_some(),
            ..audit_row(index, view, environment)
        };
        Ok(Fate {
            handled: true,
            received_at,
            row: Some(row),
            alert,
            sample,
        })
    }

    fn count_host(&mut self, hostname: &str) {
        match self.hosts.get_mut(hostname) {
            Some(count) => *count += 1,
            None => drop(self.hosts.insert(hostname.into(), 1)),
        }
    }

    fn count_hits(&mut self, winner: Option<i64>) {
        for &rule in winner.iter().chain(self.scratch.observed()) {
            *self.hits.entry(rule).or_default() += 1;
        }
    }
}

fn apply(fate: Fate, outcome: &mut Outcome, tally: &mut Tally) {
    if fate.handled {
        tally.handled += 1;
    } else {
        tally.unhandled += 1;
    }
    tally.received.push(fate.received_at);
    outcome.audit.extend(fate.row);
    outcome.alerts.extend(fate.alert);
    tally.samples.extend(fate.sample);
}

/// The row of an event, without a decision.
fn audit_row(index: usize, view: EventView<'_>, environment: Environment) -> AuditRow {
    AuditRow {
        index: u32::try_from(index).expect("a claim has fewer than 2^32 events"),
        event_id: view.event_id,
        event_timestamp: view.timestamp,
        received_at: view.received_at,
        hostname: view.hostname.into(),
        source: view.source.map(Box::from),
        syslog_severity: view.severity.map(mutt_event::Severity::number),
        trap_oid: view.trap_oid.map(Box::from),
        environment: environment.name(),
        matched_rule_id: None,
        rule_version: None,
        handling_decision: UNHANDLED,
        team_assignment: None,
        forwarded_to_moog: false,
        correlation_id: view.correlation_id.into(),
    }
}

fn alert_element(
    view: &EventView<'_>,
    element: &[u8],
    rule: &Rule,
    environment: Environment,
) -> Vec<u8> {
    let alert = Alert {
        hostname: Cow::Borrowed(&view.hostname),
        team_assignment: Cow::Borrowed(&rule.draft.team_assignment),
        severity: view.severity,
        message_body: Cow::Borrowed(&view.message),
        raw_json: String::from_utf8_lossy(element),
        correlation_id: Cow::Borrowed(&view.correlation_id),
        event_id: Some(view.event_id),
        rule_id: Some(rule.id),
        unhandled_signature: None,
        handling: Cow::Borrowed(rule.handling(environment).name()),
        environment: Cow::Borrowed(environment.name()),
        traceparent: None,
    };
    // The element again with its quotes escaped, the message, and the names.
    let mut json = Vec::with_capacity(element.len() * 5 / 4 + view.message.len() + 512);
    serde_json::to_writer(&mut json, &alert).expect("an alert is always representable as JSON");
    json
}

fn live(
    view: &EventView<'_>,
    environment: Environment,
    rule: Option<&Arc<Rule>>,
    handling: &str,
) -> LiveEvent {
    let message = shortened(&view.message, LIVE_MESSAGE_CHARS);
    LiveEvent {
        event_id: view.event_id,
        received_at: view.received_at,
        hostname: view.hostname.clone().into_owned(),
        cut: message.len() < view.message.len(),
        message: message.to_owned(),
        trap_oid: view.trap_oid.as_deref().map(str::to_owned),
        severity: view.severity.map(mutt_event::Severity::number),
        source: view.source.as_deref().map(str::to_owned),
        environment: environment.name().to_owned(),
        rule_id: rule.map(|rule| rule.id),
        handling: handling.to_owned(),
        team: rule.map(|rule| rule.draft.team_assignment.clone()),
    }
}

/// The dead letter of an event that made processing fail again and again.
pub(crate) fn poison(element: &[u8], failures: u32, what: &str) -> DeadLetter {
    DeadLetter {
        reason: Reason::Poison,
        detail: format!("processing it failed {failures} times: {what}"),
        element: element.to_vec(),
    }
}

/// What a panic said.
pub(crate) fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("a panic without a text")
}

/// The first `chars` characters of `text`.
pub(crate) fn shortened(text: &str, chars: usize) -> &str {
    if text.len() <= chars {
        return text;
    }
    text.char_indices()
        .nth(chars)
        .map_or(text, |(end, _)| &text[..end])
}

#[cfg(test)]
#[path = "decide_tests.rs"]
mod tests;

//! The test bench: what a rule would do before it is saved, against lines that somebody gives,
//! recent audit rows and unhandled signatures. Each figure says how exact it is.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr};

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use jiff::Timestamp;
use mutt_engine::AuditFilter;
use mutt_engine::audit::StoredAuditRow;
use mutt_engine::unhandled::UnhandledSignature;
use mutt_event::Severity;
use mutt_rules::{Environment, Handling, Mode, Rule, RuleDraft, RuleSet, Scratch, Subject};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::Api;
use crate::error::{ApiError, Result};
use crate::request::{Body, Viewer};
use crate::rules::RuleWrite;

const LINES_MAX: usize = 200;
const LINE_MAX: usize = 65_536;
const RECENT_MAX: usize = 5_000;
const EXAMPLES: usize = 20;

/// The number of a draft that is not stored: after every rule of its priority, as a new one.
const NEW: i64 = i64::MAX;

/// What to test: a draft (in place of `rule_id`, where both are given), a stored rule, or with
/// neither all rules.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Test {
    /// The draft.
    #[schema(value_type = Option<RuleWrite>)]
    rule: Option<Map<String, Value>>,
    /// The stored rule.
    rule_id: Option<i64>,
    /// Lines as a device sends them: syslog, or an event as JSON; at most 200.
    lines: Vec<String>,
    /// So many of the newest audit rows, at most 5,000.
    recent: usize,
    /// Whether the unhandled signatures are tried too.
    unhandled: bool,
}

/// What the test found.
#[derive(Default, Serialize, ToSchema)]
pub struct TestResult {
    /// The lines, each with every rule's verdict.
    lines: Vec<LineResult>,
    /// The newest audit rows.
    recent: Option<Tally>,
    /// The unhandled signatures.
    unhandled: Option<Tally>,
    /// Rules that take no part because they cannot be compiled.
    #[schema(value_type = Vec<Object>)]
    skipped: Vec<mutt_rules::Skipped>,
}

/// One line.
#[derive(Serialize, ToSchema)]
pub struct LineResult {
    /// The line as it was given.
    line: String,
    /// The event that was read from it; null where it could not be read.
    #[schema(value_type = Option<Object>)]
    event: Option<Value>,
    /// Why it could not be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    /// Whether the tested rule matches; with all rules, whether any decides.
    matched: bool,
    /// The rule that decides: its id, `draft`, or null where none does.
    #[schema(value_type = Option<Object>)]
    winner: Value,
    /// The rule that decides today.
    winner_today: Option<i64>,
    /// Every rule's verdict in the order in which rules win, with a sentence for each.
    #[schema(value_type = Vec<Object>)]
    verdicts: Value,
}

/// What the tested rule does to many events.
#[derive(Default, Serialize, ToSchema)]
pub struct Tally {
    /// Events that were looked at.
    looked_at: u64,
    /// The oldest of them.
    #[schema(value_type = Option<String>, format = DateTime)]
    from: Option<Timestamp>,
    /// The newest of them.
    #[schema(value_type = Option<String>, format = DateTime)]
    to: Option<Timestamp>,
    /// Events that it matches.
    matched: u64,
    /// Events that it decides.
    would_win: u64,
    /// Events that it decides and another rule (by id, or `unhandled`) decides today.
    takes_from: BTreeMap<String, u64>,
    /// Alerts within the busiest hour.
    alerts_at_peak_hour: u64,
    /// Hosts among the events that it decides.
    hosts: u64,
    /// `exact` of the rows looked at; `lower_bound` where a part of the text is masked and cannot
    /// be searched.
    exactness: &'static str,
    /// What the figures are about, in words.
    about: &'static str,
    /// Some of the matching messages.
    examples: Vec<String>,
}

/// A draft as the rule that it would be.
pub fn as_rule(id: i64, draft: RuleDraft) -> Rule {
    Rule {
        id,
        draft,
        version: 0,
        created_at: Timestamp::UNIX_EPOCH,
        updated_at: Timestamp::UNIX_EPOCH,
        deleted_at: None,
    }
}

/// What matching remembers, for each set.
#[derive(Default)]
struct Scratches {
    today: Scratch,
    changed: Scratch,
    alone: Scratch,
}

/// The rules of today, and with the change.
struct Sets {
    today: RuleSet,
    changed: RuleSet,
    /// The tested rule by itself; `None` for all.
    alone: Option<RuleSet>,
    /// The tested rule; `None` for all.
    tested: Option<i64>,
}

impl Sets {
    fn name(id: Option<i64>) -> Value {
        match id {
            Some(NEW) => "draft".into(),
            Some(id) => id.into(),
            None => Value::Null,
        }
    }

    fn handling(&self, id: i64, environment: Environment) -> Option<Handling> {
        let rule = self.changed.rules().iter().find(|rule| rule.id == id)?;
        Some(rule.handling(environment))
    }

    fn line(&self, line: String) -> LineResult {
        let mut element = Vec::new();
        let trimmed = line.trim();
        if trimmed.starts_with('{') {
            element.extend_from_slice(trimmed.as_bytes());
        } else {
            let nowhere = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
            let now = Timestamp::now();
            mutt_event::syslog::parse_into(
                trimmed.as_bytes(),
                nowhere,
                now,
                "",
                LINE_MAX,
                &mut element,
            );
        }
        let event = match mutt_event::json::view(&element) {
            Ok(event) => event,
            Err(error) => {
                return LineResult {
                    line,
                    event: None,
                    error: Some(error.to_string()),
                    matched: false,
                    winner: Value::Null,
                    winner_today: None,
                    verdicts: Value::Array(Vec::new()),
                };
            }
        };
        let subject = Subject {
            message: &event.message,
            trap_oid: event.trap_oid.as_deref(),
            severity: event.severity,
        };
        let explanation = self.changed.explain(&subject);
        let matched = match self.tested {
            Some(tested) => explanation
                .verdicts
                .iter()
                .any(|(id, verdict)| *id == tested && verdict.matches()),
            None => explanation.winner.is_some(),
        };
        let winner_today = self.today.explain(&subject).winner;
        let mut verdicts = serde_json::to_value(&explanation)
            .ok()
            .and_then(|mut value| value.get_mut("verdicts").map(Value::take))
            .unwrap_or_default();
        for verdict in verdicts.as_array_mut().into_iter().flatten() {
            if verdict["rule_id"] == NEW {
                verdict["rule_id"] = "draft".into();
            }
        }
        LineResult {
            event: serde_json::from_slice(&element).ok(),
            error: None,
            matched,
            winner: Self::name(explanation.winner),
            winner_today,
            verdicts,
            line,
        }
    }

    /// Whether the tested rule matches, and who decides then and today.
    fn judge(
        &self,
        subject: &Subject<'_>,
        scratch: &mut Scratches,
    ) -> (bool, Option<i64>, Option<i64>) {
        let winner = self
            .changed
            .find(subject, &mut scratch.changed)
            .map(|rule| rule.id);
        let today = self
            .today
            .find(subject, &mut scratch.today)
            .map(|rule| rule.id);
        let matched = match &self.alone {
            None => winner.is_some(),
            Some(alone) => alone.find(subject, &mut scratch.alone).is_some(),
        };
        (matched, winner, today)
    }

    fn recent(&self, rows: &[StoredAuditRow]) -> Tally {
        let mut tally = Tally {
            exactness: "exact",
            about: "the newest audit rows; with AUDIT_SCOPE=matched events that no rule knows are \
                    not among them",
            ..Tally::default()
        };
        let mut scratch = Scratches::default();
        let (mut hosts, mut hours) = (HashSet::new(), HashMap::<i64, u64>::new());
        for row in rows {
            let Ok(event) = mutt_event::json::view(row.raw_message.as_bytes()) else {
                continue;
            };
            let subject = Subject {
                message: &event.message,
                trap_oid: event.trap_oid.as_deref(),
                severity: event.severity,
            };
            let (matched, winner, today) = self.judge(&subject, &mut scratch);
            tally.looked_at += 1;
            tally.from = Some(
                tally
                    .from
                    .map_or(row.received_at, |from| from.min(row.received_at)),
            );
            tally.to = Some(
                tally
                    .to
                    .map_or(row.received_at, |to| to.max(row.received_at)),
            );
            if matched {
                tally.matched += 1;
                if tally.examples.len() < EXAMPLES {
                    tally
                        .examples
                        .push(event.message.chars().take(500).collect());
                }
            }
            let wins = winner.filter(|id| self.tested.is_none_or(|tested| tested == *id));
            let Some(winner) = wins else { continue };
            tally.would_win += 1;
            hosts.insert(row.hostname.to_lowercase());
            if winner != today.unwrap_or_default() || today.is_none() {
                let from = today.map_or_else(|| "unhandled".to_owned(), |id| id.to_string());
                *tally.takes_from.entry(from).or_default() += 1;
            }
            let environment = if row.environment == "development" {
                Environment::Development
            } else {
                Environment::Production
            };
            if self
                .handling(winner, environment)
                .is_some_and(Handling::forwards)
            {
                *hours.entry(row.received_at.as_second() / 3600).or_default() += 1;
            }
        }
        tally.hosts = hosts.len() as u64;
        tally.alerts_at_peak_hour = hours.into_values().max().unwrap_or(0);
        tally
    }

    fn unhandled(&self, signatures: &[UnhandledSignature]) -> Tally {
        let mut tally = Tally {
            exactness: "lower_bound",
            about: "events counted under unhandled signatures; those match whose signature or sample \
                    does, what the mask hides cannot be searched",
            ..Tally::default()
        };
        let mut scratch = Scratches::default();
        for signature in signatures {
            tally.looked_at += signature.count;
            let judged = [&signature.masked, &signature.sample].map(|message| {
                let subject = Subject {
                    message,
                    trap_oid: None,
                    severity: None::<Severity>,
                };
                self.judge(&subject, &mut scratch)
            });
            let wins = |winner: Option<i64>| {
                winner.is_some() && self.tested.is_none_or(|tested| Some(tested) == winner)
            };
            // The mask says it of every event; a sample says it of one.
            let weight = |index: usize| if index == 0 { signature.count } else { 1 };
            if let Some(index) = judged.iter().position(|(matched, ..)| *matched) {
                tally.matched += weight(index);
                if tally.examples.len() < EXAMPLES {
                    tally
                        .examples
                        .push(signature.sample.chars().take(500).collect());
                }
            }
            if let Some(index) = judged.iter().position(|(_, winner, _)| wins(*winner)) {
                tally.would_win += weight(index);
                *tally.takes_from.entry("unhandled".to_owned()).or_default() += weight(index);
            }
        }
        tally
    }
}

/// Test a rule before it is saved
///
/// Against lines that are given, recent audit rows and unhandled signatures: what it matches, which
/// rule wins and why, what it takes from which rule.
#[utoipa::path(post, path = "/rules/test", tag = "Rules", request_body = Test,
    responses((status = 200, body = TestResult),
        (status = 400, description = "The draft may not be stored like that"),
        (status = 404, description = "There is no such rule")))]
pub async fn test(
    State(api): State<Api>,
    _: Viewer,
    Body(test): Body<Test>,
) -> Result<Json<TestResult>> {
    if test.lines.len() > LINES_MAX {
        return Err(ApiError::field(
            "lines",
            format!("at most {LINES_MAX} are allowed"),
        ));
    }
    let long = test.lines.iter().position(|line| line.len() > LINE_MAX);
    if let Some(index) = long {
        return Err(ApiError::field(
            format!("lines[{index}]"),
            format!("at most {LINE_MAX} bytes are allowed"),
        ));
    }
    if test.recent > RECENT_MAX {
        return Err(ApiError::field(
            "recent",
            format!("at most {RECENT_MAX} is allowed"),
        ));
    }
    let rules = api.engine.rules().await?;
    let mut changed = rules.clone();
    let mut tested = test.rule_id;
    if let Some(id) = test.rule_id
        && !rules.iter().any(|rule| rule.id == id)
    {
        return Err(ApiError::not_found(format!("rule {id} does not exist")));
    }
    if let Some(mut fields) = test.rule {
        fields.remove("reason");
        let mut draft = crate::rules::draft(fields).map_err(|error| error.within("rule"))?;
        // A draft that is off or only watches is tried as if it decided.
        draft.is_active = true;
        draft.mode = Mode::Enforce;
        let id = *tested.get_or_insert(NEW);
        changed.retain(|rule| rule.id != id);
        changed.push(as_rule(id, draft));
    }
    let rows = if test.recent > 0 {
        let filter = AuditFilter {
            limit: test.recent,
            ..AuditFilter::default()
        };
        Some(api.engine.audit_rows(filter).await?)
    } else {
        None
    };
    let signatures = if test.unhandled {
        Some(api.engine.unhandled(1_000).await?)
    } else {
        None
    };
    let work = move || {
        let alone = changed
            .iter()
            .find(|rule| Some(rule.id) == tested)
            .map(|rule| RuleSet::compile([rule.clone()]));
        let sets = Sets {
            alone,
            today: RuleSet::compile(rules),
            changed: RuleSet::compile(changed),
            tested,
        };
        TestResult {
            lines: test.lines.into_iter().map(|line| sets.line(line)).collect(),
            recent: rows.map(|rows| sets.recent(&rows)),
            unhandled: signatures.map(|signatures| sets.unhandled(&signatures)),
            skipped: sets.changed.skipped().to_vec(),
        }
    };
    let result = tokio::task::spawn_blocking(work).await.map_err(|_| {
        ApiError::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "a mistake in MUTT: the test panicked",
        )
    })?;
    Ok(Json(result))
}

//! The test bench: what a rule would do before it is saved, against lines that somebody gives, the
//! sample of the last hour, audit rows and unhandled signatures. Each figure says how exact it is.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use jiff::Timestamp;
use mutt_engine::AuditFilter;
use mutt_engine::audit::StoredAuditRow;
use mutt_engine::catalog::ConfigAuditFilter;
use mutt_engine::dynamic::CONFIG_TABLE;
use mutt_engine::unhandled::UnhandledSignature;
use mutt_event::Severity;
use mutt_event::syslog::Origin;
use mutt_rules::{Handling, Mode, Rule, RuleDraft, Scratch, Subject, Verdict};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::Api;
use crate::error::{ApiError, Result};
use crate::findings::{Events, Findings, Tested, Trial};
use crate::history::MINUTES_MAX;
use crate::judge::{Judge, alone, decides, order};
use crate::request::{Body, Viewer};
use crate::rules::RuleWrite;
use crate::sample::environment_named;
use crate::shadows::{Shadow, Shadowed};
use crate::verdicts::{LineVerdict, NEW, RuleRef};

const LINES_MAX: usize = 200;
const LINE_MAX: usize = 65_536;
const RECENT_MAX: usize = 5_000;
const EXAMPLES: usize = 20;

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
    /// Whether the sample of the last hour is tried: every process keeps up to 2,000 events a
    /// minute of all that is decided, whether a rule knows them or not.
    sample: bool,
    /// The audit rows of so many minutes are tried, at most the newest 50,000.
    #[schema(minimum = 1, maximum = 43_200)]
    since_minutes: Option<u32>,
    /// So many of the newest audit rows, at most 5,000.
    recent: usize,
    /// Whether the unhandled signatures are tried too.
    unhandled: bool,
}

/// What the test found.
#[derive(Serialize, ToSchema)]
pub struct TestResult {
    /// The lines, each with every rule's verdict.
    lines: Vec<LineResult>,
    /// The sample of the last hour, where `sample` was asked.
    sample: Option<Findings>,
    /// Audit rows, where `since_minutes` was asked.
    history: Option<Findings>,
    /// The rule that takes every event from the tested one.
    shadowed_by: Option<Shadow>,
    /// The rules that the tested one takes every event from, in the order in which they win.
    shadows: Vec<Shadowed>,
    /// The newest audit rows, where `recent` was asked.
    recent: Option<Tally>,
    /// The unhandled signatures, where `unhandled` was asked.
    unhandled: Option<Tally>,
    /// Rules that take no part because they cannot be compiled.
    skipped: Vec<SkippedRule>,
}

/// A stored rule that takes no part because it cannot be compiled. It came past the API.
#[derive(Debug, Serialize, ToSchema)]
pub struct SkippedRule {
    /// The rule.
    rule_id: i64,
    /// Why, in one sentence.
    reason: String,
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
    winner: Option<RuleRef>,
    /// The rule that decides today.
    winner_today: Option<i64>,
    /// Every rule's verdict in the order in which rules win, with a sentence for each.
    verdicts: Vec<LineVerdict>,
}

/// What the tested rule does to the newest audit rows or to unhandled signatures.
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
    others: Scratch,
    alone: Scratch,
}

/// The rules of today, and with the change.
struct Sets {
    today: Arc<Judge>,
    /// Without the tested rule.
    others: Arc<Judge>,
    /// `None` for all.
    tested: Option<Tested>,
}

impl Sets {
    fn trial(&self) -> Trial<'_> {
        Trial {
            today: &self.today,
            others: &self.others,
            tested: self.tested.as_ref(),
        }
    }

    /// What every rule says with the change made, in the order in which they win, and who decides.
    fn explained(&self, subject: &Subject<'_>) -> (Vec<(i64, Verdict)>, Option<i64>) {
        let explanation = self.others.set.explain(subject);
        let (mut verdicts, mut winner) = (explanation.verdicts, explanation.winner);
        let Some(tested) = &self.tested else {
            return (verdicts, winner);
        };
        let Some((id, mut verdict)) = tested.alone.explain(subject).verdicts.pop() else {
            return (verdicts, winner);
        };
        let rules = self.others.set.rules();
        let place = rules.partition_point(|rule| order(rule) < order(&tested.rule));
        if let Verdict::Won { matched } = verdict {
            let earlier = verdicts.iter().take(place);
            if !tested.decides {
                verdict = Verdict::Observed { matched };
            } else if earlier.into_iter().any(|(id, _)| Some(*id) == winner) {
                verdict = Verdict::WouldMatch { matched };
            } else {
                for (_, other) in &mut verdicts {
                    if let Verdict::Won { matched } = other {
                        let matched = std::mem::take(matched);
                        *other = Verdict::WouldMatch { matched };
                    }
                }
                winner = Some(id);
                verdict = Verdict::Won { matched };
            }
        }
        verdicts.insert(place, (id, verdict));
        (verdicts, winner)
    }

    fn line(&self, line: String) -> LineResult {
        let mut element = Vec::new();
        let trimmed = line.trim();
        if trimmed.starts_with('{') {
            element.extend_from_slice(trimmed.as_bytes());
        } else {
            let nowhere = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
            let origin = Origin::new(nowhere, Timestamp::now(), LINE_MAX);
            mutt_event::syslog::parse_into(trimmed.as_bytes(), &origin, &mut element);
        }
        let event = match mutt_event::json::view(&element) {
            Ok(event) => event,
            Err(error) => {
                return LineResult {
                    line,
                    event: None,
                    error: Some(error.to_string()),
                    matched: false,
                    winner: None,
                    winner_today: None,
                    verdicts: Vec::new(),
                };
            }
        };
        let subject = Subject {
            message: &event.message,
            trap_oid: event.trap_oid.as_deref(),
            severity: event.severity,
        };
        let (verdicts, winner) = self.explained(&subject);
        let matched = match &self.tested {
            Some(tested) => verdicts
                .iter()
                .any(|(id, verdict)| *id == tested.rule.id && verdict.matches()),
            None => winner.is_some(),
        };
        let today = self.today.set.find(&subject, &mut Scratch::new());
        LineResult {
            event: serde_json::from_slice(&element).ok(),
            error: None,
            matched,
            winner: winner.map(RuleRef::new),
            winner_today: today.map(|rule| rule.id),
            verdicts: verdicts
                .into_iter()
                .map(|(id, verdict)| LineVerdict::new(&event.message, id, verdict))
                .collect(),
            line,
        }
    }

    /// Whether the tested rule matches, and who decides then and today.
    fn judge<'s>(
        &'s self,
        subject: &Subject<'_>,
        scratch: &mut Scratches,
    ) -> (bool, Option<&'s Rule>, Option<i64>) {
        let today = self.today.set.find(subject, &mut scratch.today);
        let today_id = today.map(|rule| rule.id);
        let Some(tested) = &self.tested else {
            return (today.is_some(), today.map(|rule| &**rule), today_id);
        };
        let matched = tested.alone.find(subject, &mut scratch.alone).is_some();
        let other = self.others.set.find(subject, &mut scratch.others);
        let winner = match other {
            Some(other) if order(other) < order(&tested.rule) => Some(&**other),
            _ if matched && tested.decides => Some(&tested.rule),
            other => other.map(|rule| &**rule),
        };
        (matched, winner, today_id)
    }

    fn is_tested(&self, winner: &Rule) -> bool {
        self.tested
            .as_ref()
            .is_none_or(|tested| tested.rule.id == winner.id)
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
            let Some(winner) = winner.filter(|winner| self.is_tested(winner)) else {
                continue;
            };
            tally.would_win += 1;
            hosts.insert(row.hostname.to_lowercase());
            if today != Some(winner.id) {
                let from = today.map_or_else(|| "unhandled".to_owned(), |id| id.to_string());
                *tally.takes_from.entry(from).or_default() += 1;
            }
            let handling = winner.handling(environment_named(&row.environment));
            if Handling::forwards(handling) {
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
            let wins = |winner: Option<&Rule>| winner.is_some_and(|winner| self.is_tested(winner));
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

/// Whether every event that was decided since then has an audit row.
async fn every_event_is_audited(api: &Api, since: Timestamp) -> Result<bool> {
    let values = api.settings().await?;
    if values.text("audit_scope") != "all" {
        return Ok(false);
    }
    let changed = ConfigAuditFilter {
        table_name: Some(CONFIG_TABLE.to_owned()),
        record_key: Some("audit_scope".to_owned()),
        since: Some(since),
        limit: 1,
        ..ConfigAuditFilter::default()
    };
    Ok(api.engine.config_audit(&changed).await?.is_empty())
}

fn checked(test: &Test) -> Result<()> {
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
    if test
        .since_minutes
        .is_some_and(|minutes| !(1..=MINUTES_MAX).contains(&minutes))
    {
        return Err(ApiError::field(
            "since_minutes",
            format!("1 to {MINUTES_MAX} is allowed"),
        ));
    }
    Ok(())
}

/// What there is to try a rule on.
struct Material {
    lines: Vec<String>,
    sample: Option<Events>,
    history: Option<Arc<Events>>,
    rows: Option<Vec<StoredAuditRow>>,
    signatures: Option<Vec<UnhandledSignature>>,
}

impl Material {
    async fn gathered(api: &Api, test: Test) -> Result<Self> {
        let history = match test.since_minutes {
            None => None,
            Some(minutes) => {
                let since = Timestamp::now() - jiff::SignedDuration::from_mins(i64::from(minutes));
                let every = every_event_is_audited(api, since).await?;
                let events = api.history.events(&*api.engine, minutes, every).await?;
                Some(events)
            }
        };
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
        Ok(Self {
            lines: test.lines,
            sample: test
                .sample
                .then(|| api.sample.snapshot(Timestamp::now()).events()),
            history,
            rows,
            signatures,
        })
    }

    fn tried(self, sets: &Sets, rules: &[Rule]) -> TestResult {
        let (mut shadowed_by, mut shadows) = match &sets.tested {
            Some(tested) => crate::shadows::proved(&tested.rule, rules),
            None => (None, Vec::new()),
        };
        let sample = self.sample.map(|events| {
            let (findings, by, observed) = sets.trial().on(&events);
            shadowed_by = shadowed_by.take().or(by);
            for shadow in observed {
                if !shadows.iter().any(|known| known.rule_id == shadow.rule_id) {
                    shadows.push(shadow);
                }
            }
            findings
        });
        let place = |id: i64| rules.iter().position(|rule| rule.id == id);
        shadows.sort_by_key(|shadow| place(shadow.rule_id));
        let alone = sets.tested.iter().flat_map(|tested| tested.alone.skipped());
        TestResult {
            sample,
            history: self.history.map(|events| sets.trial().on(&events).0),
            shadowed_by,
            shadows,
            recent: self.rows.map(|rows| sets.recent(&rows)),
            unhandled: self.signatures.map(|them| sets.unhandled(&them)),
            skipped: sets
                .others
                .set
                .skipped()
                .iter()
                .chain(alone)
                .map(|skipped| SkippedRule {
                    rule_id: skipped.rule_id,
                    reason: skipped.reason.clone(),
                })
                .collect(),
            lines: self.lines.into_iter().map(|line| sets.line(line)).collect(),
        }
    }
}

/// Test a rule before it is saved
///
/// Against lines that are given, a sample of the last hour, audit rows and unhandled signatures:
/// what it matches, which rule wins and why, what it takes from which rule, how many alerts that
/// makes. Each figure says how exact it is.
#[utoipa::path(post, path = "/rules/test", tag = "Rules", request_body = Test,
    responses((status = 200, body = TestResult),
        (status = 400, description = "The draft may not be stored like that"),
        (status = 404, description = "There is no such rule")))]
pub async fn test(
    State(api): State<Api>,
    _: Viewer,
    Body(mut test): Body<Test>,
) -> Result<Json<TestResult>> {
    checked(&test)?;
    let rules = api.engine.rules().await?;
    let stored = test
        .rule_id
        .map(|id| {
            let stored = rules.iter().find(|rule| rule.id == id);
            stored.ok_or_else(|| ApiError::not_found(format!("rule {id} does not exist")))
        })
        .transpose()?;
    let rule = match test.rule.take() {
        Some(mut fields) => {
            fields.remove("reason");
            let mut draft = crate::rules::draft(fields).map_err(|error| error.within("rule"))?;
            // A draft that is off or only watches is tried as if it decided.
            draft.is_active = true;
            draft.mode = Mode::Enforce;
            Some(as_rule(stored.map_or(NEW, |rule| rule.id), draft))
        }
        None => stored.cloned(),
    };
    let tested_id = stored.map(|rule| rule.id);
    let material = Material::gathered(&api, test).await?;
    let work = move || {
        let sets = Sets {
            today: api.judges.by(&rules, None),
            others: api.judges.by(&rules, tested_id),
            tested: rule.map(|rule| Tested {
                alone: alone(&rule),
                decides: decides(&rule),
                stored: tested_id.is_some(),
                rule,
            }),
        };
        material.tried(&sets, &rules)
    };
    let result = tokio::task::spawn_blocking(work).await.map_err(|_| {
        ApiError::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "a mistake in MUTT: the test panicked",
        )
    })?;
    Ok(Json(result))
}

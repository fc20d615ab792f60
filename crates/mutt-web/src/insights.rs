//! What can be said of rules without asking anybody: how often and when they matched, which never
//! did, and which cannot decide anything because an earlier one takes every event they match.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use jiff::Timestamp;
use mutt_rules::{MatchType, Mode, Oid, Rule};
use serde::Serialize;
use utoipa::ToSchema;

use crate::Api;
use crate::error::{ApiError, Result};
use crate::request::Viewer;

/// What is known of one rule.
#[derive(Serialize, ToSchema)]
pub struct Insight {
    /// The rule.
    rule_id: i64,
    /// Its version when this was said.
    version: i64,
    /// Matches within the last hour.
    hits_1h: u64,
    /// Matches within the last 24 hours.
    hits_24h: u64,
    /// Matches within the last 30 days.
    hits_30d: u64,
    /// When it first matched within 30 days, to the day, hour or minute.
    #[schema(value_type = Option<String>, format = DateTime)]
    first_hit: Option<Timestamp>,
    /// When it last matched within 30 days, to the day, hour or minute.
    #[schema(value_type = Option<String>, format = DateTime)]
    last_hit: Option<Timestamp>,
    /// Whether it takes part and did not match within 30 days.
    never_hit: bool,
    /// The rule that takes every event from it.
    shadowed: Option<Shadow>,
    /// Its share of everything that was accepted within 24 hours, where that is more than a fifth.
    too_broad: Option<f64>,
}

/// Why a rule cannot decide anything.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Shadow {
    /// The earlier rule.
    by: i64,
    /// `proved`: it follows from what both say.
    certainty: &'static str,
    /// In words.
    why: String,
}

/// What is known of the rules.
#[derive(Serialize, ToSchema)]
pub struct Insights {
    /// In the order in which rules win.
    rules: Vec<Insight>,
}

/// What a rule asks for, made ready to be compared.
struct Criteria {
    id: i64,
    enforced: bool,
    kind: MatchType,
    text: Option<String>,
    oid: Option<Oid>,
    severity: Option<u8>,
}

impl Criteria {
    fn of(rule: &Rule) -> Self {
        let draft = &rule.draft;
        let oid = draft.trap_oid.as_deref().and_then(|oid| oid.parse().ok());
        Self {
            id: rule.id,
            enforced: draft.is_active && draft.mode == Mode::Enforce && rule.deleted_at.is_none(),
            kind: match draft.match_type {
                MatchType::Regex => MatchType::Regex,
                MatchType::Contains | MatchType::OidPrefix => MatchType::Contains,
            },
            text: draft
                .match_string
                .as_deref()
                .map(|text| match draft.match_type {
                    MatchType::Regex => text.to_owned(),
                    MatchType::Contains | MatchType::OidPrefix => text.to_lowercase(),
                }),
            oid,
            severity: draft.syslog_severity,
        }
    }

    /// Why this rule, which is earlier, matches whatever `later` matches; `None` where that is not
    /// certain.
    fn covers(&self, later: &Self) -> Option<String> {
        let mut why = Vec::new();
        match (&self.text, &later.text) {
            (None, _) => {}
            (Some(_), None) => return None,
            (Some(mine), Some(theirs)) => {
                if self.kind == later.kind && mine == theirs {
                    why.push("both look for the same text".to_owned());
                } else if self.kind == MatchType::Contains
                    && later.kind == MatchType::Contains
                    && theirs.contains(mine.as_str())
                {
                    why.push(format!("whatever contains '{theirs}' contains '{mine}'"));
                } else {
                    return None;
                }
            }
        }
        match (&self.oid, &later.oid) {
            (None, _) => {}
            (Some(_), None) => return None,
            (Some(mine), Some(theirs)) => {
                let (mine, theirs) = (mine.to_string(), theirs.to_string());
                if mine == theirs {
                    why.push("both are for the same OID".to_owned());
                } else if theirs
                    .strip_prefix(mine.as_str())
                    .is_some_and(|rest| rest.starts_with('.'))
                {
                    why.push(format!("{theirs} lies below {mine}"));
                } else {
                    return None;
                }
            }
        }
        match (self.severity, later.severity) {
            (None, _) => {}
            (Some(mine), Some(theirs)) if mine == theirs => {}
            _ => return None,
        }
        (!why.is_empty()).then(|| why.join(", and "))
    }
}

/// For each rule, in the order in which they win, the first that takes everything from it.
fn shadows(rules: &[Rule]) -> Vec<Option<Shadow>> {
    let criteria: Vec<_> = rules.iter().map(Criteria::of).collect();
    criteria
        .iter()
        .enumerate()
        .map(|(index, later)| {
            if !later.enforced {
                return None;
            }
            criteria[..index]
                .iter()
                .filter(|earlier| earlier.enforced)
                .find_map(|earlier| {
                    Some(Shadow {
                        why: earlier.covers(later)?,
                        by: earlier.id,
                        certainty: "proved",
                    })
                })
        })
        .collect()
}

/// What is known of the rules
///
/// Hits, rules that never matched, and rules that are shadowed by an earlier one.
#[utoipa::path(get, path = "/rules/insights", tag = "Rules",
    responses((status = 200, body = Insights)))]
pub async fn insights(State(api): State<Api>, _: Viewer) -> Result<Json<Insights>> {
    let rules = api.engine.rules().await?;
    let hits = api.engine.rule_hits().await?;
    let times = api.engine.rule_hit_times().await?;
    let accepted: u64 = api
        .engine
        .accepted(mutt_engine::Span::Hour, 24)
        .await?
        .iter()
        .map(|(_, count)| count)
        .sum();
    let work = move || {
        let shadows = shadows(&rules);
        rules
            .iter()
            .zip(shadows)
            .map(|(rule, shadowed)| {
                let [hits_1h, hits_24h, hits_30d] = hits.get(&rule.id).copied().unwrap_or_default();
                let share = hits_24h as f64 / accepted.max(1) as f64;
                let times = times.get(&rule.id);
                Insight {
                    rule_id: rule.id,
                    version: rule.version,
                    hits_1h,
                    hits_24h,
                    hits_30d,
                    first_hit: times.map(|times| times.0),
                    last_hit: times.map(|times| times.1),
                    never_hit: rule.draft.is_active && hits_30d == 0,
                    shadowed,
                    too_broad: (share > 0.2 && hits_24h > 100).then_some(share.min(1.0)),
                }
            })
            .collect()
    };
    let rules = tokio::task::spawn_blocking(work).await.map_err(|_| {
        ApiError::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "a mistake in MUTT: comparing rules panicked",
        )
    })?;
    Ok(Json(Insights { rules }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(id: i64, what: &serde_json::Value) -> Rule {
        let mut fields = serde_json::json!({
            "prod_handling": "Ignore", "dev_handling": "Ignore", "team_assignment": "t",
        });
        for (key, value) in what.as_object().unwrap() {
            fields[key] = value.clone();
        }
        crate::bench::as_rule(id, serde_json::from_value(fields).unwrap())
    }

    fn shadowed(earlier: &serde_json::Value, later: &serde_json::Value) -> bool {
        shadows(&[rule(1, earlier), rule(2, later)])[1].is_some()
    }

    #[test]
    fn what_is_proved_is_shadowed_and_nothing_else() {
        use serde_json::json;
        for (earlier, later, expected) in [
            (
                json!({"match_string": "Link"}),
                json!({"match_string": "LINK down"}),
                true,
            ),
            (
                json!({"match_string": "link down"}),
                json!({"match_string": "link"}),
                false,
            ),
            (
                json!({"match_string": "link", "syslog_severity": 3}),
                json!({"match_string": "link"}),
                false,
            ),
            (
                json!({"match_string": "link"}),
                json!({"match_string": "link", "syslog_severity": 3}),
                true,
            ),
            (
                json!({"match_string": "a.c", "match_type": "regex"}),
                json!({"match_string": "a.c", "match_type": "regex"}),
                true,
            ),
            (
                json!({"match_string": "a.c", "match_type": "regex"}),
                json!({"match_string": "abc"}),
                false,
            ),
            (
                json!({"match_string": "a"}),
                json!({"match_string": "a.c", "match_type": "regex"}),
                false,
            ),
            (
                json!({"trap_oid": "1.3.6.1"}),
                json!({"trap_oid": ".1.3.6.1.4"}),
                true,
            ),
            (
                json!({"trap_oid": "1.3.6.1"}),
                json!({"trap_oid": ".1.3.6.14"}),
                false,
            ),
            (
                json!({"trap_oid": "1.3.6.1", "match_string": "x"}),
                json!({"trap_oid": ".1.3.6.1"}),
                false,
            ),
            (
                json!({"match_string": "x"}),
                json!({"trap_oid": ".1.3.6.1", "match_string": "xy"}),
                true,
            ),
            (
                json!({"match_string": "x", "mode": "observe"}),
                json!({"match_string": "x"}),
                false,
            ),
            (
                json!({"match_string": "x", "is_active": false}),
                json!({"match_string": "x"}),
                false,
            ),
        ] {
            assert_eq!(shadowed(&earlier, &later), expected, "{earlier} {later}");
        }
    }
}

//! A regular expression tried on one message, before anybody makes a rule of it.

use axum::Json;
use axum::http::StatusCode;
use mutt_rules::{Group, RuleDraft, RuleSet, Subject, Verdict};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use crate::error::{ApiError, Result};
use crate::request::{Body, Viewer, parse_value};
use crate::verdicts::MatchView;

/// A pattern to be tried.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RegexTest {
    /// The regular expression; at most 255 characters.
    pattern: String,
    /// The message; at most 64 KiB.
    message: String,
}

/// What a pattern found.
#[derive(Serialize, ToSchema)]
pub struct RegexResult {
    /// Whether it matches.
    r#match: bool,
    /// What the groups captured, from group 1; null for one that took no part.
    groups: Vec<Option<String>>,
    /// What it found, with its place in bytes; not under v1.
    #[serde(skip_serializing_if = "Option::is_none")]
    found: Option<MatchView>,
}

/// Try a regular expression
///
/// As a rule with `match_type` regex reads it: case does not matter, it is searched anywhere.
#[utoipa::path(post, path = "/test-regex", tag = "Rules", request_body = RegexTest,
    responses((status = 200, body = RegexResult),
        (status = 400, description = "The pattern is wrong; `position` says where")))]
pub async fn test_regex(
    Viewer(caller): Viewer,
    Body(test): Body<RegexTest>,
) -> Result<Json<RegexResult>> {
    if test.message.len() > 65_536 {
        return Err(ApiError::field(
            "message",
            "at most 65536 bytes are allowed",
        ));
    }
    let rule: RuleDraft = parse_value(json!({
        "match_string": test.pattern, "match_type": "regex", "prod_handling": "Ignore",
        "dev_handling": "Ignore", "team_assignment": "-",
    }))?;
    rule.check().map_err(|invalid| {
        let errors = invalid.0.into_iter().map(|error| crate::error::FieldError {
            field: "pattern".to_owned(),
            message: error.message,
            position: error.position,
        });
        ApiError::fields(errors.collect())
    })?;
    let matched = tokio::task::spawn_blocking(move || {
        let set = RuleSet::compile([crate::bench::as_rule(0, rule)]);
        let subject = Subject {
            message: &test.message,
            trap_oid: None,
            severity: None,
        };
        match set.explain(&subject).verdicts.pop() {
            Some((_, Verdict::Won { matched })) => Some((test.message, matched)),
            _ => None,
        }
    });
    let matched = matched.await.map_err(|_| {
        ApiError::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "a mistake in MUTT: the test panicked",
        )
    })?;
    let groups = matched.as_ref().map_or_else(Vec::new, |(_, matched)| {
        let text = |group: &Group| group.found.as_ref().map(|found| found.text.clone());
        matched.groups.iter().map(text).collect()
    });
    let is_match = matched.is_some();
    let found = matched
        .filter(|_| !caller.v1)
        .map(|(message, matched)| MatchView::new(&message, matched));
    Ok(Json(RegexResult {
        r#match: is_match,
        groups,
        found,
    }))
}

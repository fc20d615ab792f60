//! Rules: reading, writing, deleting. A rule's version is its entity tag.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use jiff::Timestamp;
use mutt_engine::EngineError;
use mutt_rules::{Rule, RuleDraft};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};

use crate::Api;
use crate::error::{ApiError, Result};
use crate::request::{
    Body, InPath, MaybeBody, Operator, Params, Viewer, checked_reason, object, parse_value,
    take_reason,
};

/// How a rule looks at an event.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
#[expect(dead_code, reason = "for the document only; mutt-rules has the words")]
pub enum MatchTypeName {
    Contains,
    Regex,
    OidPrefix,
}

/// What is decided of an event.
#[derive(ToSchema)]
#[expect(dead_code, reason = "for the document only; mutt-rules has the words")]
pub enum HandlingName {
    #[schema(rename = "Page_and_ticket")]
    PageAndTicket,
    #[schema(rename = "Page_only")]
    PageOnly,
    #[schema(rename = "Ticket_only")]
    TicketOnly,
    #[schema(rename = "Log_only")]
    LogOnly,
    Ignore,
}

/// Whether a rule decides or only watches.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
#[expect(dead_code, reason = "for the document only; mutt-rules has the words")]
pub enum ModeName {
    Enforce,
    Observe,
}

/// A rule. Where several match an event, the one with the lowest priority decides, then the one
/// with the lowest id.
#[derive(Serialize, ToSchema)]
pub struct RuleView {
    /// Its number; never given twice.
    id: i64,
    /// What to look for in the message; at most 255 characters.
    match_string: Option<String>,
    /// The trap OID that must be equal or an ancestor.
    trap_oid: Option<String>,
    /// The exact syslog severity the event must have, 0 to 7.
    syslog_severity: Option<u8>,
    #[schema(value_type = MatchTypeName)]
    match_type: &'static str,
    /// Lower wins.
    priority: i32,
    #[schema(value_type = HandlingName)]
    prod_handling: &'static str,
    #[schema(value_type = HandlingName)]
    dev_handling: &'static str,
    /// Who gets the alert.
    team_assignment: String,
    /// Whether the rule takes part at all.
    is_active: bool,
    /// What v1 does not have.
    #[serde(flatten)]
    more: Option<RuleMore>,
}

/// What v2 says of a rule beyond the columns of v1.
#[derive(Serialize, ToSchema)]
pub struct RuleMore {
    #[schema(value_type = ModeName)]
    mode: &'static str,
    /// What the rule is for, in words.
    description: Option<String>,
    /// Counts its changes, from 1; its entity tag.
    version: i64,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
    /// When it was deleted.
    #[schema(value_type = Option<String>, format = DateTime)]
    deleted_at: Option<Timestamp>,
}

impl RuleView {
    pub fn new(rule: Rule, v1: bool) -> Self {
        let draft = rule.draft;
        let more = (!v1).then(|| RuleMore {
            mode: draft.mode.name(),
            description: draft.description,
            version: rule.version,
            created_at: rule.created_at,
            updated_at: rule.updated_at,
            deleted_at: rule.deleted_at,
        });
        Self {
            id: rule.id,
            match_string: draft.match_string,
            trap_oid: draft.trap_oid,
            syslog_severity: draft.syslog_severity,
            match_type: draft.match_type.name(),
            priority: draft.priority,
            prod_handling: draft.prod_handling.name(),
            dev_handling: draft.dev_handling.name(),
            team_assignment: draft.team_assignment,
            is_active: draft.is_active,
            more,
        }
    }
}

/// A rule to be written. To change one, only the fields that change are given; null clears
/// `match_string`, `trap_oid`, `syslog_severity` and `description`.
#[derive(ToSchema)]
#[expect(dead_code, reason = "for the document only; mutt-rules reads it")]
pub struct RuleWrite {
    /// What to look for in the message; at most 255 characters. A new rule needs it, `trap_oid` or
    /// both.
    match_string: Option<String>,
    /// The trap OID that must be equal or an ancestor.
    trap_oid: Option<String>,
    /// The exact syslog severity the event must have.
    #[schema(minimum = 0, maximum = 7)]
    syslog_severity: Option<u8>,
    /// Default `contains`.
    match_type: Option<MatchTypeName>,
    /// Default 100.
    priority: Option<i32>,
    /// A new rule needs it.
    prod_handling: Option<HandlingName>,
    /// A new rule needs it.
    dev_handling: Option<HandlingName>,
    /// 1 to 100 characters. A new rule needs it.
    team_assignment: Option<String>,
    /// Default true.
    is_active: Option<bool>,
    /// Default `enforce`.
    mode: Option<ModeName>,
    /// At most 4,000 characters.
    description: Option<String>,
    /// Why, for the config audit.
    reason: Option<String>,
}

/// Rules by priority, then id.
#[derive(Serialize, ToSchema)]
pub struct RuleList {
    rules: Vec<RuleView>,
    /// How many the filters choose; not under v1.
    #[serde(skip_serializing_if = "Option::is_none")]
    total: Option<usize>,
}

/// What was done.
#[derive(Serialize, ToSchema)]
pub struct Done {
    /// In words.
    message: &'static str,
}

impl Done {
    pub fn json(message: &'static str) -> Json<Self> {
        Json(Self { message })
    }
}

/// A rule was made.
#[derive(Serialize, ToSchema)]
pub struct Created {
    /// Its number.
    id: i64,
    message: &'static str,
}

/// Which rules. Unset filters do not restrict.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub struct RuleQuery {
    /// Text that `match_string`, `trap_oid`, `description` or the team contains (any case).
    q: Option<String>,
    /// This team.
    team: Option<String>,
    /// This handling, for production or development hosts.
    handling: Option<String>,
    /// `enforce` or `observe`.
    mode: Option<String>,
    /// Whether they take part.
    active: Option<bool>,
    /// At most so many, 1 to 10,000.
    limit: Option<usize>,
    /// So many of the first are left out.
    offset: Option<usize>,
}

impl RuleQuery {
    fn chooses(&self, rule: &Rule) -> bool {
        let draft = &rule.draft;
        let has = |needle: &str| {
            let needle = needle.to_lowercase();
            [
                draft.match_string.as_deref(),
                draft.trap_oid.as_deref(),
                draft.description.as_deref(),
                Some(draft.team_assignment.as_str()),
            ]
            .into_iter()
            .flatten()
            .any(|text| text.to_lowercase().contains(&needle))
        };
        self.q.as_deref().is_none_or(has)
            && self
                .team
                .as_deref()
                .is_none_or(|team| draft.team_assignment == team)
            && self.handling.as_deref().is_none_or(|handling| {
                [draft.prod_handling, draft.dev_handling]
                    .iter()
                    .any(|one| one.name().eq_ignore_ascii_case(handling))
            })
            && self
                .mode
                .as_deref()
                .is_none_or(|mode| draft.mode.name() == mode)
            && self.active.is_none_or(|active| draft.is_active == active)
    }
}

fn tag(rule: &Rule) -> HeaderValue {
    HeaderValue::from_str(&format!("\"{}\"", rule.version))
        .unwrap_or(HeaderValue::from_static("\"\""))
}

/// The version in `If-Match`; `None` where any will do.
fn if_match(headers: &HeaderMap) -> Result<Option<i64>> {
    let Some(given) = headers.get(header::IF_MATCH) else {
        return Ok(None);
    };
    let text = given.to_str().unwrap_or_default().trim();
    if text == "*" {
        return Ok(None);
    }
    text.strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'))
        .and_then(|version| version.parse().ok())
        .map(Some)
        .ok_or_else(|| {
            ApiError::field(
                "If-Match",
                "must be the ETag of the rule, such as \"3\", or *",
            )
        })
}

fn gone(error: EngineError) -> ApiError {
    match error {
        EngineError::NotFound(_) => ApiError::from(error).or_v1("Rule not found"),
        EngineError::Conflict(text) => ApiError::new(StatusCode::PRECONDITION_FAILED, text),
        other => other.into(),
    }
}

/// List the rules
///
/// By priority, then id: the order in which they win.
#[utoipa::path(get, path = "/rules", tag = "Rules", params(RuleQuery),
    responses((status = 200, body = RuleList)))]
pub async fn list(
    State(api): State<Api>,
    Viewer(caller): Viewer,
    Params(query): Params<RuleQuery>,
) -> Result<Json<RuleList>> {
    let limit = query.limit.unwrap_or(10_000);
    if !(1..=10_000).contains(&limit) {
        return Err(ApiError::field("limit", "1 to 10000 is allowed"));
    }
    let mut rules = api.engine.rules().await?;
    rules.retain(|rule| query.chooses(rule));
    let total = rules.len();
    let rules = rules
        .into_iter()
        .skip(query.offset.unwrap_or(0))
        .take(limit)
        .map(|rule| RuleView::new(rule, caller.v1))
        .collect();
    Ok(Json(RuleList {
        rules,
        total: (!caller.v1).then_some(total),
    }))
}

/// Show a rule
///
/// Its version is its entity tag.
#[utoipa::path(get, path = "/rules/{id}", tag = "Rules",
    params(("id" = i64, Path, description = "The rule's number")),
    responses((status = 200, body = RuleView), (status = 404, description = "There is none")))]
pub async fn show(
    State(api): State<Api>,
    Viewer(caller): Viewer,
    InPath(id): InPath<i64>,
    headers: HeaderMap,
) -> Result<Response> {
    let rule = api.engine.rule(id).await.map_err(gone)?;
    if caller.v1 && rule.deleted_at.is_some() {
        return Err(ApiError::not_found("the rule was deleted").or_v1("Rule not found"));
    }
    let tag = tag(&rule);
    if headers.get(header::IF_NONE_MATCH) == Some(&tag) {
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, tag)]).into_response());
    }
    let view = Json(RuleView::new(rule, caller.v1));
    Ok(([(header::ETAG, tag)], view).into_response())
}

/// What a draft must have, in the order in which 2.5 named it.
const REQUIRED: [&str; 3] = ["prod_handling", "dev_handling", "team_assignment"];

/// A draft, with what is missing said as 2.5 did.
pub fn draft(fields: Map<String, Value>) -> Result<RuleDraft> {
    let empty = |name: &str| matches!(fields.get(name), None | Some(Value::Null));
    let missing: Vec<_> = REQUIRED.into_iter().filter(|name| empty(name)).collect();
    if !missing.is_empty() {
        let list: Vec<_> = missing.iter().map(|name| format!("'{name}'")).collect();
        let errors = missing
            .iter()
            .map(|name| crate::error::FieldError {
                field: (*name).to_owned(),
                message: "is missing".to_owned(),
                position: None,
            })
            .collect();
        return Err(ApiError::fields(errors)
            .or_v1(format!("Missing required fields: [{}]", list.join(", "))));
    }
    let none = empty("match_string") && empty("trap_oid");
    let draft: RuleDraft = parse_value(fields.into())?;
    draft.check().map_err(|invalid| {
        let error = ApiError::from(invalid);
        if none {
            error.or_v1("Either match_string or trap_oid is required")
        } else {
            error
        }
    })?;
    Ok(draft)
}

/// Make a rule
#[utoipa::path(post, path = "/rules", tag = "Rules", request_body = RuleWrite,
    responses((status = 201, body = Created, headers(("ETag" = String), ("Location" = String))),
        (status = 400, description = "It may not be stored like that; every field that is wrong is named")))]
pub async fn create(
    State(api): State<Api>,
    Operator(caller): Operator,
    Body(body): Body<Value>,
) -> Result<Response> {
    let mut fields = object(body)?;
    let reason = take_reason(&mut fields)?;
    let draft = draft(fields)?;
    let by = caller.change(reason);
    let rules = api.engine.add_rules(vec![draft], &by).await?;
    let rule = rules.first().ok_or_else(|| {
        ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "the rule was not stored")
    })?;
    let version = if caller.v1 { "v1" } else { "v2" };
    let headers = [
        (header::ETAG, tag(rule)),
        (
            header::LOCATION,
            HeaderValue::from_str(&format!("/api/{version}/rules/{}", rule.id))
                .unwrap_or(HeaderValue::from_static("/")),
        ),
    ];
    let created = Created {
        id: rule.id,
        message: "Rule created successfully",
    };
    Ok((StatusCode::CREATED, headers, Json(created)).into_response())
}

/// Change a rule
///
/// The given fields change, the others stay. With `If-Match` only where nobody else changed it in
/// the meantime.
#[utoipa::path(put, path = "/rules/{id}", tag = "Rules", request_body = RuleWrite,
    params(("id" = i64, Path, description = "The rule's number"),
        ("If-Match" = Option<String>, Header, description = "The ETag that was read")),
    responses((status = 200, body = Done, headers(("ETag" = String))),
        (status = 400, description = "It may not be stored like that"),
        (status = 404, description = "There is none"),
        (status = 412, description = "It was changed in the meantime")))]
pub async fn change(
    State(api): State<Api>,
    Operator(caller): Operator,
    InPath(id): InPath<i64>,
    headers: HeaderMap,
    Body(body): Body<Value>,
) -> Result<Response> {
    let mut fields = object(body)?;
    let reason = take_reason(&mut fields)?;
    if fields.is_empty() {
        return Err(ApiError::bad("no field to change is given").or_v1("No fields to update"));
    }
    let change = parse_value(fields.into())?;
    let version = if_match(&headers)?;
    let by = caller.change(reason);
    // So that everything that is wrong is named with its field.
    let current = api.engine.rule(id).await.map_err(gone)?;
    let change: mutt_rules::RuleChange = change;
    if current.deleted_at.is_none() && version.is_none_or(|version| version == current.version) {
        change.clone().apply(&current.draft).check()?;
    }
    let rule = api
        .engine
        .change_rule(id, change, version, &by)
        .await
        .map_err(gone)?;
    let done = Done::json("Rule updated successfully");
    Ok(([(header::ETAG, tag(&rule))], done).into_response())
}

/// Why something is done.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default)]
pub struct Why {
    /// For the config audit; at most 1,000 characters.
    pub reason: Option<String>,
}

/// Delete a rule
///
/// It takes no part any more; audit rows can still name it.
#[utoipa::path(delete, path = "/rules/{id}", tag = "Rules", request_body = Option<Why>,
    params(("id" = i64, Path, description = "The rule's number"),
        ("If-Match" = Option<String>, Header, description = "The ETag that was read")),
    responses((status = 200, body = Done), (status = 404, description = "There is none"),
        (status = 412, description = "It was changed in the meantime")))]
pub async fn delete(
    State(api): State<Api>,
    Operator(caller): Operator,
    InPath(id): InPath<i64>,
    headers: HeaderMap,
    MaybeBody(why): MaybeBody<Why>,
) -> Result<Json<Done>> {
    let by = caller.change(checked_reason(why.reason)?);
    let version = if_match(&headers)?;
    api.engine
        .delete_rule(id, version, &by)
        .await
        .map_err(gone)?;
    Ok(Done::json("Rule deleted successfully"))
}

/// Tell every alerter to load rules, hosts and teams again
///
/// They do so by themselves after every change; this is for changes past the API.
#[utoipa::path(post, path = "/cache/reload", tag = "Rules",
    responses((status = 200, body = Done)))]
pub async fn reload(State(api): State<Api>, _: Operator) -> Result<Json<Done>> {
    api.engine.announce_reload().await?;
    Ok(Done::json("Reload announced"))
}

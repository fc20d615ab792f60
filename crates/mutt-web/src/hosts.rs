//! Development hosts and the teams of devices, one by one or many at once.

use std::collections::{HashMap, HashSet};

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use mutt_engine::EngineError;
use mutt_engine::changes::{checked_hostname, checked_team, hostname_key};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::Api;
use crate::error::{ApiError, FieldError, Result};
use crate::request::{
    Body, InPath, MaybeBody, Operator, Params, Raw, Viewer, checked_reason, parse,
};
use crate::rules::{Done, Why};

/// The most rows of one import.
const IMPORT_MAX: usize = 10_000;
/// Rows that a dry run names.
const CHANGES_MAX: usize = 1_000;

/// A development host.
#[derive(Serialize, ToSchema)]
pub struct Host {
    hostname: String,
}

/// The development hosts.
#[derive(Serialize, ToSchema)]
pub struct HostList {
    /// By name.
    hosts: Vec<Host>,
    #[serde(flatten)]
    more: Option<ListMore>,
}

/// What a list under v2 says beside its rows.
#[derive(Serialize, ToSchema)]
pub struct ListMore {
    /// Rows that the filter chooses, on every page.
    total: usize,
    /// Hand it in as `cursor` for the next page; null on the last one.
    next: Option<String>,
}

/// Which rows of a list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub struct ListQuery {
    /// Text that the host name or the team contains (any case).
    text: Option<String>,
    /// Where the next page begins, from the last one's `next`.
    cursor: Option<String>,
    /// At most so many, up to 10,000; all where it is not given.
    limit: Option<usize>,
}

impl ListQuery {
    /// The rows of this page out of all, which come by host name; nothing is left out under v1.
    fn page<T>(
        self,
        mut rows: Vec<T>,
        v1: bool,
        hostname: impl Fn(&T) -> &str,
        team: impl Fn(&T) -> &str,
    ) -> Result<(Vec<T>, Option<ListMore>)> {
        if v1 {
            return Ok((rows, None));
        }
        if self
            .limit
            .is_some_and(|limit| !(1..=IMPORT_MAX).contains(&limit))
        {
            let text = format!("1 to {IMPORT_MAX} is allowed");
            return Err(ApiError::field("limit", text));
        }
        if let Some(text) = self.text.filter(|text| !text.is_empty()) {
            let text = text.to_lowercase();
            rows.retain(|row| {
                hostname_key(hostname(row)).contains(&text)
                    || team(row).to_lowercase().contains(&text)
            });
        }
        let total = rows.len();
        if let Some(last) = self.cursor.filter(|cursor| !cursor.is_empty()) {
            let last = hostname_key(&last);
            rows.retain(|row| hostname_key(hostname(row)) > last);
        }
        let mut next = None;
        if let Some(limit) = self.limit
            && rows.len() > limit
        {
            rows.truncate(limit);
            next = rows.last().map(|row| hostname(row).to_owned());
        }
        Ok((rows, Some(ListMore { total, next })))
    }
}

/// A host to be added.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct HostWrite {
    /// 1 to 255 characters; case does not matter.
    #[schema(required)]
    hostname: Option<String>,
    /// Why, for the config audit.
    reason: Option<String>,
}

/// The team of a device.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Team {
    /// 1 to 255 characters; case does not matter.
    hostname: String,
    /// 1 to 100 characters.
    team_assignment: String,
}

/// The teams of devices.
#[derive(Serialize, ToSchema)]
pub struct TeamList {
    /// By host name.
    teams: Vec<Team>,
    #[serde(flatten)]
    more: Option<ListMore>,
}

/// A device's team to be set.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TeamWrite {
    /// 1 to 255 characters; case does not matter. In the path where there is one.
    hostname: Option<String>,
    /// 1 to 100 characters.
    #[schema(required)]
    team_assignment: Option<String>,
    /// Why, for the config audit.
    reason: Option<String>,
}

fn given(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.trim().is_empty())
}

fn no_hostname() -> ApiError {
    ApiError::field("hostname", "is missing").or_v1("hostname is required")
}

fn unknown(error: EngineError) -> ApiError {
    let missing = matches!(error, EngineError::NotFound(_));
    let error = ApiError::from(error);
    if missing {
        error.or_v1("Hostname not found")
    } else {
        error
    }
}

/// List the development hosts
#[utoipa::path(get, path = "/dev-hosts", tag = "Hosts and teams", params(ListQuery),
    responses((status = 200, body = HostList)))]
pub async fn list_hosts(
    State(api): State<Api>,
    Viewer(caller): Viewer,
    Params(query): Params<ListQuery>,
) -> Result<Json<HostList>> {
    let hosts = api.engine.development_hosts().await?;
    let hosts = hosts.into_iter().map(|hostname| Host { hostname });
    let (hosts, more) = query.page(hosts.collect(), caller.v1, |host| &host.hostname, |_| "")?;
    Ok(Json(HostList { hosts, more }))
}

/// Add a development host
#[utoipa::path(post, path = "/dev-hosts", tag = "Hosts and teams", request_body = HostWrite,
    responses((status = 201, body = Done), (status = 400, description = "No host name"),
        (status = 409, description = "It is there already")))]
pub async fn add_host(
    State(api): State<Api>,
    Operator(caller): Operator,
    Body(body): Body<HostWrite>,
) -> Result<Response> {
    let hostname = given(body.hostname).ok_or_else(no_hostname)?;
    let by = caller.change(checked_reason(body.reason)?);
    api.engine
        .add_development_host(&hostname, &by)
        .await
        .map_err(|error| match error {
            EngineError::Conflict(_) => ApiError::from(error).or_v1("Hostname already exists"),
            error => error.into(),
        })?;
    Ok((
        StatusCode::CREATED,
        Done::json("Dev host added successfully"),
    )
        .into_response())
}

/// Remove a development host
#[utoipa::path(delete, path = "/dev-hosts/{hostname}", tag = "Hosts and teams",
    request_body = Option<Why>, params(("hostname" = String, Path, description = "Its name, in any case")),
    responses((status = 200, body = Done), (status = 404, description = "There is none")))]
pub async fn remove_host(
    State(api): State<Api>,
    Operator(caller): Operator,
    InPath(hostname): InPath<String>,
    MaybeBody(why): MaybeBody<Why>,
) -> Result<Json<Done>> {
    let by = caller.change(checked_reason(why.reason)?);
    api.engine
        .remove_development_host(&hostname, &by)
        .await
        .map_err(unknown)?;
    Ok(Done::json("Dev host deleted successfully"))
}

/// List the teams of devices
#[utoipa::path(get, path = "/teams", tag = "Hosts and teams", params(ListQuery),
    responses((status = 200, body = TeamList)))]
pub async fn list_teams(
    State(api): State<Api>,
    Viewer(caller): Viewer,
    Params(query): Params<ListQuery>,
) -> Result<Json<TeamList>> {
    let teams = api.engine.device_teams().await?;
    let teams = teams.into_iter().map(|(hostname, team_assignment)| Team {
        hostname,
        team_assignment,
    });
    let (teams, more) = query.page(
        teams.collect(),
        caller.v1,
        |team| &team.hostname,
        |team| &team.team_assignment,
    )?;
    Ok(Json(TeamList { teams, more }))
}

/// Give a device a team
#[utoipa::path(post, path = "/teams", tag = "Hosts and teams", request_body = TeamWrite,
    responses((status = 201, body = Done), (status = 400, description = "Something is missing"),
        (status = 409, description = "It has one already")))]
pub async fn add_team(
    State(api): State<Api>,
    Operator(caller): Operator,
    Body(body): Body<TeamWrite>,
) -> Result<Response> {
    let words = "hostname and team_assignment are required";
    let hostname = given(body.hostname).ok_or_else(|| no_hostname().or_v1(words))?;
    let team = given(body.team_assignment)
        .ok_or_else(|| ApiError::field("team_assignment", "is missing").or_v1(words))?;
    let by = caller.change(checked_reason(body.reason)?);
    api.engine
        .add_device_team(&hostname, &team, &by)
        .await
        .map_err(|error| match error {
            EngineError::Conflict(_) => {
                ApiError::from(error).or_v1("Hostname already has a team assignment")
            }
            error => error.into(),
        })?;
    let done = Done::json("Team mapping added successfully");
    Ok((StatusCode::CREATED, done).into_response())
}

/// Change a device's team
#[utoipa::path(put, path = "/teams/{hostname}", tag = "Hosts and teams", request_body = TeamWrite,
    params(("hostname" = String, Path, description = "The device, in any case")),
    responses((status = 200, body = Done), (status = 404, description = "It has none")))]
pub async fn change_team(
    State(api): State<Api>,
    Operator(caller): Operator,
    InPath(hostname): InPath<String>,
    Body(body): Body<TeamWrite>,
) -> Result<Json<Done>> {
    let team = given(body.team_assignment).ok_or_else(|| {
        ApiError::field("team_assignment", "is missing").or_v1("team_assignment is required")
    })?;
    let by = caller.change(checked_reason(body.reason)?);
    let key = hostname_key(hostname.trim());
    let teams = api.engine.device_teams().await?;
    if !teams.iter().any(|(host, _)| hostname_key(host) == key) {
        return Err(unknown(mutt_engine::changes::no_team(&hostname)));
    }
    api.engine.set_device_team(&hostname, &team, &by).await?;
    Ok(Done::json("Team mapping updated successfully"))
}

/// Take a device's team away
#[utoipa::path(delete, path = "/teams/{hostname}", tag = "Hosts and teams", request_body = Option<Why>,
    params(("hostname" = String, Path, description = "The device, in any case")),
    responses((status = 200, body = Done), (status = 404, description = "It has none")))]
pub async fn remove_team(
    State(api): State<Api>,
    Operator(caller): Operator,
    InPath(hostname): InPath<String>,
    MaybeBody(why): MaybeBody<Why>,
) -> Result<Json<Done>> {
    let by = caller.change(checked_reason(why.reason)?);
    api.engine
        .remove_device_team(&hostname, &by)
        .await
        .map_err(unknown)?;
    Ok(Done::json("Team mapping deleted successfully"))
}

/// How to import.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub struct ImportQuery {
    /// Only say what would happen.
    dry_run: bool,
    /// Why, for the config audit.
    reason: Option<String>,
}

/// What an import did, or would do.
#[derive(Debug, Default, Serialize, ToSchema)]
pub struct Imported {
    /// Whether nothing was changed.
    dry_run: bool,
    /// Rows that were not there.
    new: usize,
    /// Rows that said something else.
    changed: usize,
    /// Rows that are there already.
    unchanged: usize,
    /// Of a dry run: the rows that would be new or changed, the first 1,000 of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    changes: Vec<RowChange>,
}

/// What an import would do with a row.
#[derive(Debug, Serialize, ToSchema)]
pub struct RowChange {
    /// The row, from 0.
    row: usize,
    hostname: String,
    /// `new` or `changed`.
    what: &'static str,
    /// The team before.
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<String>,
    /// The team after.
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<String>,
}

impl Imported {
    /// Of a dry run.
    fn would(&mut self, change: RowChange) {
        match change.what {
            "new" => self.new += 1,
            _ => self.changed += 1,
        }
        if self.changes.len() < CHANGES_MAX {
            self.changes.push(change);
        }
    }
}

impl From<mutt_engine::Imported> for Imported {
    fn from(done: mutt_engine::Imported) -> Self {
        let count = |count| usize::try_from(count).unwrap_or(usize::MAX);
        Self {
            new: count(done.new),
            changed: count(done.changed),
            unchanged: count(done.unchanged),
            ..Self::default()
        }
    }
}

/// The rows of a body: CSV with a header line, or a JSON array.
fn rows<T: serde::de::DeserializeOwned>(headers: &HeaderMap, body: &Bytes) -> Result<Vec<T>> {
    let kind = headers
        .get(header::CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok())
        .unwrap_or_default();
    let rows = if kind.starts_with("text/csv") {
        let body = body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(body);
        let mut reader = csv::ReaderBuilder::new()
            .trim(csv::Trim::All)
            .from_reader(body);
        let read: std::result::Result<Vec<T>, csv::Error> =
            reader.deserialize().take(IMPORT_MAX + 1).collect();
        read.map_err(|error| ApiError::field("body", format!("no such CSV: {error}")))?
    } else {
        parse::<Vec<T>>(body)?
    };
    if rows.len() > IMPORT_MAX {
        return Err(ApiError::field(
            "body",
            format!("at most {IMPORT_MAX} rows are allowed"),
        ));
    }
    Ok(rows)
}

/// Checks every row; all that is wrong is said at once.
fn check<T>(
    rows: &[T],
    hostname: impl Fn(&T) -> &str,
    more: impl Fn(&T) -> mutt_engine::Result<()>,
) -> Result<()> {
    let mut seen = HashSet::new();
    let mut errors = Vec::new();
    for (index, row) in rows.iter().enumerate() {
        let checked = checked_hostname(hostname(row)).and_then(|name| {
            if !seen.insert(hostname_key(&name)) {
                return Err(EngineError::Invalid(format!(
                    "hostname: '{name}' stands there twice"
                )));
            }
            more(row)
        });
        if let Err(error) = checked {
            let text = error.to_string();
            let (field, message) = text.split_once(": ").unwrap_or(("hostname", &text));
            errors.push(FieldError {
                field: format!("[{index}].{field}"),
                message: message.to_owned(),
                position: None,
            });
        }
        if errors.len() >= 100 {
            break;
        }
    }
    if errors.is_empty() {
        Ok(())
    } else {
        Err(ApiError::fields(errors))
    }
}

/// A host of an import.
#[derive(Debug, Deserialize, ToSchema)]
pub struct HostRow {
    /// 1 to 255 characters.
    hostname: String,
}

/// Add many development hosts
///
/// CSV with a column `hostname`, or a JSON array of objects. Every row is checked before the first
/// is stored; all are stored together or none, each with a row of its own in the config audit; what is
/// there already stays.
#[utoipa::path(post, path = "/dev-hosts/import", tag = "Hosts and teams", params(ImportQuery),
    request_body(content((Vec<HostRow> = "application/json"), (String = "text/csv"))),
    responses((status = 200, body = Imported), (status = 400, description = "Which row is wrong, and why")))]
pub async fn import_hosts(
    State(api): State<Api>,
    Operator(caller): Operator,
    Params(query): Params<ImportQuery>,
    headers: HeaderMap,
    Raw(body): Raw,
) -> Result<Json<Imported>> {
    let rows: Vec<HostRow> = rows(&headers, &body)?;
    check(&rows, |row| &row.hostname, |_| Ok(()))?;
    let by = caller.change(checked_reason(query.reason)?);
    if !query.dry_run {
        let hostnames = rows.into_iter().map(|row| row.hostname).collect();
        let done = api.engine.import_development_hosts(hostnames, &by).await?;
        return Ok(Json(done.into()));
    }
    let there: HashSet<String> = api
        .engine
        .development_hosts()
        .await?
        .iter()
        .map(|host| hostname_key(host))
        .collect();
    let mut done = Imported {
        dry_run: true,
        ..Imported::default()
    };
    for (row, host) in rows.into_iter().enumerate() {
        let hostname = host.hostname.trim().to_owned();
        if there.contains(&hostname_key(&hostname)) {
            done.unchanged += 1;
            continue;
        }
        done.would(RowChange {
            row,
            hostname,
            what: "new",
            before: None,
            after: None,
        });
    }
    Ok(Json(done))
}

/// Set the teams of many devices
///
/// CSV with columns `hostname` and `team_assignment`, or a JSON array of objects. Every row is
/// checked before the first is stored; all are stored together or none, each change with a row of its
/// own in the config audit.
#[utoipa::path(post, path = "/teams/import", tag = "Hosts and teams", params(ImportQuery),
    request_body(content((Vec<Team> = "application/json"), (String = "text/csv"))),
    responses((status = 200, body = Imported), (status = 400, description = "Which row is wrong, and why")))]
pub async fn import_teams(
    State(api): State<Api>,
    Operator(caller): Operator,
    Params(query): Params<ImportQuery>,
    headers: HeaderMap,
    Raw(body): Raw,
) -> Result<Json<Imported>> {
    let rows: Vec<Team> = rows(&headers, &body)?;
    check(
        &rows,
        |row| &row.hostname,
        |row| checked_team(&row.team_assignment).map(drop),
    )?;
    let by = caller.change(checked_reason(query.reason)?);
    if !query.dry_run {
        let teams = rows
            .into_iter()
            .map(|row| (row.hostname, row.team_assignment))
            .collect();
        let done = api.engine.import_device_teams(teams, &by).await?;
        return Ok(Json(done.into()));
    }
    let there: HashMap<String, String> = api
        .engine
        .device_teams()
        .await?
        .into_iter()
        .map(|(host, team)| (hostname_key(&host), team))
        .collect();
    let mut done = Imported {
        dry_run: true,
        ..Imported::default()
    };
    for (row, team) in rows.into_iter().enumerate() {
        let before = there.get(&hostname_key(team.hostname.trim()));
        let after = team.team_assignment.trim().to_owned();
        if before.is_some_and(|before| *before == after) {
            done.unchanged += 1;
            continue;
        }
        done.would(RowChange {
            row,
            hostname: team.hostname.trim().to_owned(),
            what: if before.is_some() { "changed" } else { "new" },
            before: before.cloned(),
            after: Some(after),
        });
    }
    Ok(Json(done))
}

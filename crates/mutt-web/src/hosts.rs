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
#[utoipa::path(get, path = "/dev-hosts", tag = "Hosts and teams",
    responses((status = 200, body = HostList)))]
pub async fn list_hosts(State(api): State<Api>, _: Viewer) -> Result<Json<HostList>> {
    let hosts = api.engine.development_hosts().await?;
    let hosts = hosts.into_iter().map(|hostname| Host { hostname });
    Ok(Json(HostList {
        hosts: hosts.collect(),
    }))
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
#[utoipa::path(get, path = "/teams", tag = "Hosts and teams",
    responses((status = 200, body = TeamList)))]
pub async fn list_teams(State(api): State<Api>, _: Viewer) -> Result<Json<TeamList>> {
    let teams = api.engine.device_teams().await?;
    let teams = teams.into_iter().map(|(hostname, team_assignment)| Team {
        hostname,
        team_assignment,
    });
    Ok(Json(TeamList {
        teams: teams.collect(),
    }))
}

async fn has_team(api: &Api, hostname: &str) -> Result<bool> {
    let key = hostname_key(hostname.trim());
    let teams = api.engine.device_teams().await?;
    Ok(teams.iter().any(|(host, _)| hostname_key(host) == key))
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
    if has_team(&api, &hostname).await? {
        let text = format!("device '{}' has a team already", hostname.trim());
        return Err(ApiError::new(StatusCode::CONFLICT, text)
            .or_v1("Hostname already has a team assignment"));
    }
    api.engine.set_device_team(&hostname, &team, &by).await?;
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
    if !has_team(&api, &hostname).await? {
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
/// is stored; each is a change of its own in the config audit, and what is there already stays.
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
    let there: HashSet<String> = api
        .engine
        .development_hosts()
        .await?
        .iter()
        .map(|host| hostname_key(host))
        .collect();
    let mut done = Imported {
        dry_run: query.dry_run,
        ..Imported::default()
    };
    for row in rows {
        if there.contains(&hostname_key(row.hostname.trim())) {
            done.unchanged += 1;
            continue;
        }
        if !query.dry_run {
            match api.engine.add_development_host(&row.hostname, &by).await {
                // Somebody else was quicker.
                Err(EngineError::Conflict(_)) => {
                    done.unchanged += 1;
                    continue;
                }
                other => other?,
            }
        }
        done.new += 1;
    }
    Ok(Json(done))
}

/// Set the teams of many devices
///
/// CSV with columns `hostname` and `team_assignment`, or a JSON array of objects. Every row is
/// checked before the first is stored; each is a change of its own in the config audit.
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
    let there: HashMap<String, String> = api
        .engine
        .device_teams()
        .await?
        .into_iter()
        .map(|(host, team)| (hostname_key(&host), team))
        .collect();
    let mut done = Imported {
        dry_run: query.dry_run,
        ..Imported::default()
    };
    for row in rows {
        match there.get(&hostname_key(row.hostname.trim())) {
            Some(team) if team == row.team_assignment.trim() => {
                done.unchanged += 1;
                continue;
            }
            Some(_) => done.changed += 1,
            None => done.new += 1,
        }
        if !query.dry_run {
            api.engine
                .set_device_team(&row.hostname, &row.team_assignment, &by)
                .await?;
        }
    }
    Ok(Json(done))
}

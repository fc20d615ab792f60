//! The dead letter queues: what lies there and why, and jobs that replay or discard.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use mutt_engine::dead_letters::DlqEntry;
use mutt_engine::{DeadLetterFilter, Dlq, Engine, Reason};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::Api;
use crate::error::{ApiError, Result};
use crate::jobs::{Action, JobView, Order};
use crate::request::{Body, InPath, Operator, Params, Viewer, checked_reason};

/// Entries that are looked at to group them by reason.
const GROUPED_MAX: usize = 10_000;
/// The most entries of one job.
const JOB_MAX: usize = 100_000;
/// Entries that are read at once.
const CHUNK: usize = 1_000;
/// The most entries of one page.
const PAGE_MAX: usize = 500;

pub fn queue(name: &str) -> Result<Dlq> {
    Dlq::from_name(name).ok_or_else(|| {
        let names = Dlq::ALL.map(Dlq::name).join(", ");
        ApiError::not_found(format!(
            "there is no dead letter queue '{name}'; there are {names}"
        ))
    })
}

fn reason(name: Option<&str>) -> Result<Option<Reason>> {
    let Some(name) = name.filter(|name| !name.is_empty()) else {
        return Ok(None);
    };
    Reason::from_name(name).map(Some).ok_or_else(|| {
        ApiError::field(
            "reason",
            format!(
                "'{name}' is not allowed; malformed, shed, poison, refused or retries_exhausted is"
            ),
        )
    })
}

/// The dead letter queues.
#[derive(Serialize, ToSchema)]
pub struct Queues {
    queues: Vec<Queue>,
}

/// One queue.
#[derive(Serialize, ToSchema)]
pub struct Queue {
    /// Its short name.
    #[serde(rename = "queue")]
    name: &'static str,
    /// Its key in Redis.
    key: &'static str,
    /// Entries in all.
    depth: u64,
    /// Entries by reason and by what their last failure says.
    groups: Vec<Group>,
    /// Whether all entries are grouped; else the oldest 10,000.
    complete: bool,
}

/// Entries of a queue that failed alike.
#[derive(Serialize, ToSchema)]
pub struct Group {
    reason: &'static str,
    /// The HTTP status of the last attempt, where its failure names one.
    status: Option<u16>,
    count: u64,
    /// The failure of one of them, in words.
    detail: String,
}

/// The HTTP status that a failure names: three digits that stand alone.
fn status_in(detail: &str) -> Option<u16> {
    detail
        .split(|letter: char| !letter.is_ascii_alphanumeric())
        .filter(|word| word.len() == 3)
        .filter_map(|word| word.parse().ok())
        .find(|status| (400..600).contains(status))
}

async fn grouped(engine: &dyn Engine, queue: Dlq) -> Result<Queue> {
    let depth = engine.dlq_depth(queue).await?;
    let filter = DeadLetterFilter::default();
    let mut groups = BTreeMap::<_, (u64, String)>::new();
    let mut seen = 0;
    while seen < GROUPED_MAX {
        let entries = engine
            .dead_letters(queue, &filter, seen as u64, CHUNK)
            .await?;
        let last = entries.len() < CHUNK;
        seen += entries.len();
        for entry in entries {
            let status = status_in(&entry.detail);
            let group = groups
                .entry((entry.reason.name(), status))
                .or_insert((0, entry.detail));
            group.0 += 1;
        }
        if last {
            break;
        }
    }
    let groups = groups
        .into_iter()
        .map(|((reason, status), (count, detail))| Group {
            reason,
            status,
            count,
            detail,
        })
        .collect();
    Ok(Queue {
        name: queue.name(),
        key: queue.key(),
        depth,
        groups,
        complete: seen as u64 >= depth,
    })
}

/// Show the dead letter queues
///
/// Each with its entries grouped by reason and status.
#[utoipa::path(get, path = "/dlq", tag = "Dead letters",
    responses((status = 200, body = Queues)))]
pub async fn overview(State(api): State<Api>, _: Viewer) -> Result<Json<Queues>> {
    let mut queues = Vec::new();
    for queue in Dlq::ALL {
        queues.push(grouped(&*api.engine, queue).await?);
    }
    Ok(Json(Queues { queues }))
}

/// Which entries.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub struct EntryQuery {
    /// `malformed`, `shed`, `poison`, `refused` or `retries_exhausted`.
    reason: Option<String>,
    /// Text that the message contains.
    text: Option<String>,
    /// So many of the first are left out.
    offset: u64,
    /// At most so many, up to 500 (100).
    limit: Option<usize>,
}

/// Entries, oldest first.
#[derive(Serialize, ToSchema)]
pub struct Entries {
    #[schema(value_type = Vec<Object>)]
    #[serde(rename = "entries")]
    page: Vec<DlqEntry>,
    /// Entries of the queue in all.
    depth: u64,
    /// The `offset` of the next page; null on the last one.
    next: Option<u64>,
}

/// List the entries of a dead letter queue
#[utoipa::path(get, path = "/dlq/{queue}", tag = "Dead letters", params(
        ("queue" = String, Path, description = "`ingest`, `alerter`, `moog` or `dead`"), EntryQuery),
    responses((status = 200, body = Entries), (status = 404, description = "There is no such queue")))]
pub async fn list(
    State(api): State<Api>,
    _: Viewer,
    InPath(name): InPath<String>,
    Params(query): Params<EntryQuery>,
) -> Result<Json<Entries>> {
    let queue = queue(&name)?;
    let limit = query.limit.unwrap_or(100);
    if !(1..=PAGE_MAX).contains(&limit) {
        return Err(ApiError::field(
            "limit",
            format!("1 to {PAGE_MAX} is allowed"),
        ));
    }
    let filter = DeadLetterFilter {
        ids: None,
        reason: reason(query.reason.as_deref())?,
        text: query.text.filter(|text| !text.is_empty()),
    };
    let offset = query.offset.min(u64::from(u32::MAX));
    let mut entries = api
        .engine
        .dead_letters(queue, &filter, offset, limit + 1)
        .await?;
    let more = entries.len() > limit;
    entries.truncate(limit);
    Ok(Json(Entries {
        page: entries,
        depth: api.engine.dlq_depth(queue).await?,
        next: more.then_some(offset + limit as u64),
    }))
}

/// Show one entry
#[utoipa::path(get, path = "/dlq/{queue}/{id}", tag = "Dead letters", params(
        ("queue" = String, Path, description = "`ingest`, `alerter`, `moog` or `dead`"),
        ("id" = String, Path, description = "The entry's id")),
    responses((status = 200, body = Object), (status = 404, description = "It is not there, or not any more")))]
pub async fn show(
    State(api): State<Api>,
    _: Viewer,
    InPath((name, id)): InPath<(String, String)>,
) -> Result<Json<DlqEntry>> {
    let queue = queue(&name)?;
    let filter = DeadLetterFilter {
        ids: Some(vec![id.clone()]),
        ..DeadLetterFilter::default()
    };
    let entries = api.engine.dead_letters(queue, &filter, 0, 1).await?;
    entries
        .into_iter()
        .next()
        .map(Json)
        .ok_or_else(|| ApiError::not_found(format!("there is no entry '{id}' in {}", queue.key())))
}

/// Which entries a job is about; at least one of `ids`, `filter` and `all` must be given.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Selection {
    /// These entries; at most 100,000.
    ids: Option<Vec<String>>,
    /// Those that this chooses.
    filter: Option<SelectionFilter>,
    /// All of them.
    all: bool,
    /// Why, for the config audit. To discard it must be given.
    reason: Option<String>,
    /// Entries per second, from 1; without it as fast as it goes.
    rate: Option<u32>,
}

/// Entries by what they are.
#[derive(Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SelectionFilter {
    /// `malformed`, `shed`, `poison`, `refused` or `retries_exhausted`.
    reason: Option<String>,
    /// Text that the message contains.
    text: Option<String>,
}

/// The ids of a selection, as it is now.
async fn frozen(engine: &dyn Engine, queue: Dlq, selection: &Selection) -> Result<Vec<String>> {
    let some = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let filter = DeadLetterFilter {
        ids: selection.ids.clone(),
        reason: match &selection.filter {
            Some(filter) => {
                reason(filter.reason.as_deref()).map_err(|error| error.within("filter"))?
            }
            None => None,
        },
        text: selection
            .filter
            .as_ref()
            .and_then(|filter| some(&filter.text)),
    };
    let chooses = filter.ids.is_some() || filter.reason.is_some() || filter.text.is_some();
    if chooses == selection.all {
        return Err(ApiError::bad(
            "say which entries are meant: ids, filter (with reason or text), or all: true",
        ));
    }
    if filter.ids.as_ref().is_some_and(|ids| ids.len() > JOB_MAX) {
        return Err(ApiError::field(
            "ids",
            format!("at most {JOB_MAX} are allowed"),
        ));
    }
    let mut ids = Vec::new();
    loop {
        let entries = engine
            .dead_letters(queue, &filter, ids.len() as u64, CHUNK)
            .await?;
        let last = entries.len() < CHUNK;
        ids.extend(entries.into_iter().map(|entry| entry.id));
        if last || ids.len() >= JOB_MAX {
            ids.truncate(JOB_MAX);
            return Ok(ids);
        }
    }
}

/// A job was begun.
#[derive(Serialize, ToSchema)]
pub struct Accepted {
    job: JobView,
}

async fn begin(
    api: &Api,
    caller: crate::request::Caller,
    name: &str,
    selection: Selection,
    action: Action,
) -> Result<Response> {
    let queue = queue(name)?;
    let why = checked_reason(selection.reason.clone())?;
    if action == Action::Discard && why.is_none() {
        return Err(ApiError::field(
            "reason",
            "is missing; what is thrown away needs one",
        ));
    }
    if selection.rate.is_some_and(|rate| rate == 0) {
        return Err(ApiError::field("rate", "1 or more is allowed"));
    }
    let ids = frozen(&*api.engine, queue, &selection).await?;
    let order = Order {
        action,
        queue,
        ids,
        rate: selection.rate,
        by: caller.change(why),
    };
    let job = api.jobs.begin(api.engine.clone(), order)?;
    let location = format!("/api/v2/jobs/{}", job.id);
    let location = HeaderValue::from_str(&location).unwrap_or(HeaderValue::from_static("/"));
    let accepted = Json(Accepted { job });
    Ok((
        StatusCode::ACCEPTED,
        [(header::LOCATION, location)],
        accepted,
    )
        .into_response())
}

/// Replay entries
///
/// A job sends them back to where they failed. The selection is what it is now; at most 100,000.
#[utoipa::path(post, path = "/dlq/{queue}/replay", tag = "Dead letters", request_body = Selection,
    params(("queue" = String, Path, description = "`ingest`, `alerter`, `moog` or `dead`")),
    responses((status = 202, body = Accepted, headers(("Location" = String))),
        (status = 400, description = "Nothing is selected, or a filter is wrong"),
        (status = 404, description = "There is no such queue")))]
pub async fn replay(
    State(api): State<Api>,
    Operator(caller): Operator,
    InPath(name): InPath<String>,
    Body(selection): Body<Selection>,
) -> Result<Response> {
    begin(&api, caller, &name, selection, Action::Replay).await
}

/// Discard entries
///
/// A job throws them away; `reason` must be given.
#[utoipa::path(post, path = "/dlq/{queue}/discard", tag = "Dead letters", request_body = Selection,
    params(("queue" = String, Path, description = "`ingest`, `alerter`, `moog` or `dead`")),
    responses((status = 202, body = Accepted, headers(("Location" = String))),
        (status = 400, description = "Nothing is selected, or the reason is missing"),
        (status = 404, description = "There is no such queue")))]
pub async fn discard(
    State(api): State<Api>,
    Operator(caller): Operator,
    InPath(name): InPath<String>,
    Body(selection): Body<Selection>,
) -> Result<Response> {
    begin(&api, caller, &name, selection, Action::Discard).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_found_where_a_failure_names_one() {
        assert_eq!(status_in("HTTP 400: bad request"), Some(400));
        assert_eq!(status_in("the sink answered 503"), Some(503));
        assert_eq!(status_in("took 5003 ms, port 443x"), None);
        assert_eq!(status_in("connection refused"), None);
    }
}

//! The dead letter queues: what lies there and why, and jobs that replay or discard.

use std::fmt::{self, Write as _};
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use jiff::Timestamp;
use mutt_engine::dead_letters::{DlqEntry, ReplayPolicy};
use mutt_engine::{DeadLetterFilter, Dlq, Engine, LetterGroup, Reason};
use parking_lot::Mutex;
use serde::de::{self, Deserializer, Unexpected, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use utoipa::{IntoParams, ToSchema};

use crate::Api;
use crate::error::{ApiError, Result};
use crate::jobs::{Action, JobView, Mode, Order, Selected};
use crate::letters::{EntryShown, EntryView};
use crate::request::{self, Body, Caller, InPath, Operator, Params, Viewer, checked_reason};

/// Entries that are looked at to group them by reason.
const GROUPED_MAX: u64 = 10_000;
/// How long groups are shown again: looking at them reads every one of them.
const GROUPS_AGE: Duration = Duration::from_secs(2);
/// The most ids of one job.
const IDS_MAX: usize = 100_000;
/// The most entries of one page.
const PAGE_MAX: usize = 500;

fn queue(name: &str) -> Result<Dlq> {
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

/// When remediation replays, as it is configured now.
pub async fn policy(api: &Api) -> Result<ReplayPolicy> {
    let stored = api.engine.config_overrides().await?;
    let stored = stored
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_str()));
    let replays = api.base.with(stored).integer("remediation_max_retries");
    Ok(ReplayPolicy {
        batch: 1,
        max_replays: u32::try_from(replays).unwrap_or(u32::MAX),
        backoff: api.remediation_backoff,
    })
}

/// The dead letter queues.
#[derive(Clone, Serialize, ToSchema)]
pub struct Queues {
    queues: Vec<Queue>,
}

/// One queue.
#[derive(Clone, Serialize, ToSchema)]
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
#[derive(Clone, Serialize, ToSchema)]
pub struct Group {
    /// `malformed`, `shed`, `poison`, `refused` or `retries_exhausted`.
    reason: &'static str,
    /// The HTTP status of the last attempt, where its failure names one.
    status: Option<u16>,
    count: u64,
    /// The earliest last failure; 1970 where nobody knows.
    #[schema(value_type = String, format = DateTime)]
    oldest: Timestamp,
    /// The latest last failure.
    #[schema(value_type = String, format = DateTime)]
    newest: Timestamp,
    /// The failure of one of them, in words.
    detail: String,
}

impl From<LetterGroup> for Group {
    fn from(group: LetterGroup) -> Self {
        Self {
            reason: group.reason.name(),
            status: group.status,
            count: group.count,
            oldest: group.oldest,
            newest: group.newest,
            detail: group.detail,
        }
    }
}

async fn grouped(engine: &dyn Engine, queue: Dlq) -> Result<Queue> {
    let depth = engine.dlq_depth(queue).await?;
    let any = DeadLetterFilter::default();
    let groups = engine.dead_letter_groups(queue, &any, GROUPED_MAX).await?;
    let seen: u64 = groups.iter().map(|group| group.count).sum();
    Ok(Queue {
        name: queue.name(),
        key: queue.key(),
        depth,
        complete: seen >= depth.min(GROUPED_MAX) && depth <= GROUPED_MAX,
        groups: groups.into_iter().map(Group::from).collect(),
    })
}

/// The last groups, with the depths they belong to.
#[derive(Default)]
pub struct GroupsCache {
    last: Mutex<Option<(Instant, [u64; Dlq::ALL.len()], Queues)>>,
}

/// Show the dead letter queues
///
/// Each with its entries grouped by reason and status; counted anew when a queue grew or shrank, and
/// every two seconds.
#[utoipa::path(get, path = "/dlq", tag = "Dead letters",
    responses((status = 200, body = Queues)))]
pub async fn overview(State(api): State<Api>, _: Viewer) -> Result<Json<Queues>> {
    let mut depths = [0; Dlq::ALL.len()];
    for (depth, queue) in depths.iter_mut().zip(Dlq::ALL) {
        *depth = api.engine.dlq_depth(queue).await?;
    }
    if let Some((at, of, queues)) = &*api.letter_groups.last.lock()
        && at.elapsed() < GROUPS_AGE
        && *of == depths
    {
        return Ok(Json(queues.clone()));
    }
    let mut queues = Vec::new();
    for queue in Dlq::ALL {
        queues.push(grouped(&*api.engine, queue).await?);
    }
    let queues = Queues { queues };
    *api.letter_groups.last.lock() = Some((Instant::now(), depths, queues.clone()));
    Ok(Json(queues))
}

/// Which entries.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub struct EntryQuery {
    /// `malformed`, `shed`, `poison`, `refused` or `retries_exhausted`.
    reason: Option<String>,
    /// The HTTP status that the last failure names, 400 to 599, or `none` where it names none.
    status: Option<StatusFilter>,
    /// This host (any case).
    hostname: Option<String>,
    /// Alerts of this rule.
    rule_id: Option<i64>,
    /// Text that the message contains.
    text: Option<String>,
    /// Last failed at or after this time.
    since: Option<String>,
    /// Last failed until this time.
    until: Option<String>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
    /// So many of the first are left out.
    offset: u64,
    /// At most so many, up to 500 (100).
    limit: Option<usize>,
}

impl EntryQuery {
    fn filter(&self) -> Result<DeadLetterFilter> {
        let filter = SelectionFilter {
            reason: self.reason.clone(),
            status: self.status,
            hostname: self.hostname.clone(),
            rule_id: self.rule_id,
            text: self.text.clone(),
            since: self.since.clone(),
            until: self.until.clone(),
        };
        filter.checked()
    }
}

/// Entries, oldest first.
#[derive(Serialize, ToSchema)]
pub struct Entries {
    #[serde(rename = "entries")]
    page: Vec<EntryView>,
    /// Entries of the queue in all.
    depth: u64,
    /// The `offset` of the next page; null on the last one.
    next: Option<u64>,
    /// The `cursor` of the next page: it goes on behind the last entry of this one, whatever was taken
    /// out of the queue meanwhile. Null on the last page.
    next_cursor: Option<String>,
}

/// Where a page ends: the place of its last entry among those chosen, its time, and its id.
struct Cursor {
    place: u64,
    failed_at: Timestamp,
    id: String,
}

impl Cursor {
    fn text(place: u64, entry: &DlqEntry) -> String {
        let mut text = String::new();
        let plain = format!(
            "{place}:{}:{}",
            entry.last_failed_at.as_microsecond(),
            entry.id
        );
        for byte in plain.bytes() {
            // Writing to a string never fails.
            let _ = write!(text, "{byte:02x}");
        }
        text
    }

    fn read(text: &str) -> Result<Self> {
        let read = || {
            let (pairs, rest) = text.as_bytes().as_chunks::<2>();
            let digit = |digit: u8| char::from(digit).to_digit(16);
            let plain = pairs
                .iter()
                .map(|&[high, low]| u8::try_from(digit(high)? * 16 + digit(low)?).ok())
                .collect::<Option<Vec<u8>>>()
                .filter(|_| rest.is_empty())?;
            let plain = String::from_utf8(plain).ok()?;
            let mut parts = plain.splitn(3, ':');
            Some(Self {
                place: parts.next()?.parse().ok()?,
                failed_at: Timestamp::from_microsecond(parts.next()?.parse().ok()?).ok()?,
                id: parts.next()?.to_owned(),
            })
        };
        read().ok_or_else(|| ApiError::field("cursor", "it is no next_cursor of this list"))
    }

    /// Where the entry behind it stands now: entries before it may have been taken out.
    async fn behind(
        &self,
        engine: &dyn Engine,
        queue: Dlq,
        filter: &DeadLetterFilter,
    ) -> Result<u64> {
        let page = PAGE_MAX as u64;
        let mut past = self.place + 1;
        // Nearly always the first look finds it.
        let mut width = 1;
        loop {
            let first = past.saturating_sub(width);
            let size = usize::try_from(past - first).unwrap_or(PAGE_MAX);
            let entries = engine.dead_letters(queue, filter, first, size).await?;
            if let Some(at) = entries.iter().rposition(|entry| entry.id == self.id) {
                return Ok(first + at as u64 + 1);
            }
            // It is gone itself: behind the last one that is no later. Of entries that failed at one
            // moment, ids (numbers, or UUIDs by time) tell which came first.
            let before = |entry: &DlqEntry| {
                let at = entry.last_failed_at.as_microsecond();
                (at, entry.id.len(), &entry.id)
                    <= (self.failed_at.as_microsecond(), self.id.len(), &self.id)
            };
            if width > 1 && first > 0 && entries.first().is_some_and(before) {
                let at = entries.iter().rposition(before).unwrap_or(0);
                return Ok(first + at as u64 + 1);
            }
            if first == 0 {
                let at = entries.iter().rposition(before);
                return Ok(at.map_or(0, |at| at as u64 + 1));
            }
            if width > 1 {
                past = first;
            }
            width = page;
        }
    }
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
    let filter = query.filter()?;
    let engine = &*api.engine;
    let offset = match query.cursor.as_deref().filter(|text| !text.is_empty()) {
        Some(cursor) => Cursor::read(cursor)?.behind(engine, queue, &filter).await?,
        None => query.offset,
    };
    let offset = offset.min(u64::from(u32::MAX));
    let mut entries = engine
        .dead_letters(queue, &filter, offset, limit + 1)
        .await?;
    let more = entries.len() > limit;
    entries.truncate(limit);
    let next = offset + limit as u64;
    let next_cursor = entries
        .last()
        .filter(|_| more)
        .map(|last| Cursor::text(next - 1, last));
    let policy = policy(&api).await?;
    Ok(Json(Entries {
        page: entries
            .into_iter()
            .map(|entry| EntryView::new(entry, &policy))
            .collect(),
        depth: engine.dlq_depth(queue).await?,
        next: more.then_some(next),
        next_cursor,
    }))
}

/// Show one entry
#[utoipa::path(get, path = "/dlq/{queue}/{id}", tag = "Dead letters", params(
        ("queue" = String, Path, description = "`ingest`, `alerter`, `moog` or `dead`"),
        ("id" = String, Path, description = "The entry's id")),
    responses((status = 200, body = EntryShown), (status = 404, description = "It is not there, or not any more")))]
pub async fn show(
    State(api): State<Api>,
    _: Viewer,
    InPath((name, id)): InPath<(String, String)>,
) -> Result<Json<EntryShown>> {
    let queue = queue(&name)?;
    let filter = DeadLetterFilter {
        ids: Some(vec![id.clone()]),
        ..DeadLetterFilter::default()
    };
    let mut entries = api.engine.dead_letters(queue, &filter, 0, 1).await?;
    let entry = entries.pop().ok_or_else(|| {
        ApiError::not_found(format!("there is no entry '{id}' in {}", queue.key()))
    })?;
    let policy = policy(&api).await?;
    Ok(Json(EntryShown::new(entry, &policy)))
}

/// Which entries a job is about; at least one of `ids`, `filter` and `all` must be given. With `ids` and
/// `filter`, those of the ids that the filter chooses.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Selection {
    /// These entries; at most 100,000.
    ids: Option<Vec<String>>,
    /// Those that this chooses, as many as there are.
    filter: Option<SelectionFilter>,
    /// All of them.
    all: bool,
    /// Why, for the config audit. To discard it must be given.
    reason: Option<String>,
    /// Entries per second, from 1; without it as fast as it goes.
    rate: Option<u32>,
    /// How many entries are meant, as whoever orders it knows it; where there are more or fewer by now,
    /// nothing is done (409).
    expected: Option<u64>,
}

/// Which entries are replayed, and how.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Replay {
    /// These entries; at most 100,000.
    ids: Option<Vec<String>>,
    /// Those that this chooses, as many as there are.
    filter: Option<SelectionFilter>,
    /// All of them.
    all: bool,
    /// Why, for the config audit.
    reason: Option<String>,
    /// Entries per second, from 1; without it as fast as it goes.
    rate: Option<u32>,
    /// How many entries are meant, as whoever orders it knows it; where there are more or fewer by now,
    /// nothing is done (409).
    expected: Option<u64>,
    /// `delivery` (the default): each goes back to where it failed, an alert with the same payload
    /// and the same `external_id`. `redecide`: the event of an alert is decided anew by today's rules,
    /// under an id of its own that names the first.
    mode: Mode,
}

/// What a failure is to say of an HTTP status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(untagged)]
enum StatusFilter {
    /// This one, 400 to 599.
    Code(u16),
    /// Nothing.
    Absent(NoStatus),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum NoStatus {
    None,
}

// By hand: the address has it as text, a body as a number, and an error is to say what is allowed.
impl<'de> Deserialize<'de> for StatusFilter {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Status;

        impl Visitor<'_> for Status {
            type Value = StatusFilter;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("400 to 599, or \"none\"")
            }

            fn visit_u64<E: de::Error>(self, code: u64) -> Result<StatusFilter, E> {
                let code = u16::try_from(code);
                code.map(StatusFilter::Code)
                    .map_err(|_| E::invalid_value(Unexpected::Other("another number"), &self))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<StatusFilter, E> {
                if text == "none" {
                    return Ok(StatusFilter::Absent(NoStatus::None));
                }
                let code = text.parse().map(StatusFilter::Code);
                code.map_err(|_| E::invalid_value(Unexpected::Str(text), &self))
            }
        }

        deserializer.deserialize_any(Status)
    }
}

/// Entries by what they are.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SelectionFilter {
    /// `malformed`, `shed`, `poison`, `refused` or `retries_exhausted`.
    reason: Option<String>,
    /// The HTTP status that the last failure names, 400 to 599, or `none` where it names none.
    status: Option<StatusFilter>,
    /// This host (any case).
    hostname: Option<String>,
    /// Alerts of this rule.
    rule_id: Option<i64>,
    /// Text that the message contains.
    text: Option<String>,
    /// Last failed at or after this time.
    since: Option<String>,
    /// Last failed until this time.
    until: Option<String>,
}

impl SelectionFilter {
    fn checked(&self) -> Result<DeadLetterFilter> {
        let some = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let (status, no_status) = match self.status {
            None => (None, false),
            Some(StatusFilter::Absent(_)) => (None, true),
            Some(StatusFilter::Code(code)) if (400..600).contains(&code) => (Some(code), false),
            Some(StatusFilter::Code(_)) => {
                return Err(ApiError::field("status", "400 to 599 is allowed, or none"));
            }
        };
        Ok(DeadLetterFilter {
            ids: None,
            reason: reason(self.reason.as_deref())?,
            text: some(&self.text),
            status,
            no_status,
            hostname: some(&self.hostname),
            rule_id: self.rule_id,
            since: request::since("since", self.since.as_deref())?,
            until: request::until("until", self.until.as_deref())?,
        })
    }
}

impl Selection {
    /// What is meant, as of now.
    fn frozen(&self, now: Timestamp) -> Result<Selected> {
        let filter = match &self.filter {
            Some(filter) => filter.checked().map_err(|error| error.within("filter"))?,
            None => DeadLetterFilter::default(),
        };
        let chooses = self.ids.is_some() || !filter.is_any();
        if chooses == self.all {
            return Err(ApiError::bad(
                "say which entries are meant: ids, filter (with at least one field), or all: true",
            ));
        }
        if self.ids.as_ref().is_some_and(|ids| ids.len() > IDS_MAX) {
            return Err(ApiError::field(
                "ids",
                format!("at most {IDS_MAX} are allowed; a filter may choose any number"),
            ));
        }
        Ok(Selected {
            filter: DeadLetterFilter {
                ids: self.ids.clone(),
                // What fails from now on is not meant.
                until: match &self.ids {
                    Some(_) => filter.until,
                    None => Some(filter.until.map_or(now, |until| until.min(now))),
                },
                ..filter
            },
            shown: self.shown(),
        })
    }

    /// As a job shows it.
    fn shown(&self) -> Value {
        if self.all {
            return json!({ "all": true });
        }
        let mut shown = Map::new();
        if let Some(ids) = &self.ids {
            shown.insert("ids".to_owned(), ids.len().into());
        }
        if let Some(filter) = &self.filter {
            shown.insert("filter".to_owned(), json!(filter));
        }
        shown.into()
    }
}

/// A job was begun.
#[derive(Serialize, ToSchema)]
pub struct Accepted {
    job: JobView,
}

async fn begin(
    api: &Api,
    caller: Caller,
    name: &str,
    selection: Selection,
    action: Action,
    mode: Option<Mode>,
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
    let selected = selection.frozen(Timestamp::now())?;
    let total = if let Some(ids) = &selected.filter.ids {
        ids.len() as u64
    } else {
        let filter = &selected.filter;
        let groups = api.engine.dead_letter_groups(queue, filter, u64::MAX);
        groups.await?.iter().map(|group| group.count).sum()
    };
    if let Some(expected) = selection.expected.filter(|&expected| expected != total) {
        return Err(ApiError::new(
            StatusCode::CONFLICT,
            format!(
                "{expected} entries were expected, and {total} are meant now; nothing was done, look \
                 at them again"
            ),
        ));
    }
    let order = Order {
        action,
        mode,
        queue,
        selected,
        total,
        rate: selection.rate,
        by: caller.change(why),
    };
    let job = api.jobs.begin(api.engine.clone(), order).await?;
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
/// A job sends them back to where they failed, or has their events decided anew. The selection is what
/// it is now: what fails later is not meant.
#[utoipa::path(post, path = "/dlq/{queue}/replay", tag = "Dead letters", request_body = Replay,
    params(("queue" = String, Path, description = "`ingest`, `alerter`, `moog` or `dead`")),
    responses((status = 202, body = Accepted, headers(("Location" = String))),
        (status = 400, description = "Nothing is selected, or a filter is wrong"),
        (status = 404, description = "There is no such queue"),
        (status = 409, description = "There are more or fewer entries than `expected`")))]
pub async fn replay(
    State(api): State<Api>,
    Operator(caller): Operator,
    InPath(name): InPath<String>,
    Body(replay): Body<Replay>,
) -> Result<Response> {
    let mode = Some(replay.mode);
    let selection = Selection {
        ids: replay.ids,
        filter: replay.filter,
        all: replay.all,
        reason: replay.reason,
        rate: replay.rate,
        expected: replay.expected,
    };
    begin(&api, caller, &name, selection, Action::Replay, mode).await
}

/// Discard entries
///
/// A job throws them away; `reason` must be given. The selection is what it is now.
#[utoipa::path(post, path = "/dlq/{queue}/discard", tag = "Dead letters", request_body = Selection,
    params(("queue" = String, Path, description = "`ingest`, `alerter`, `moog` or `dead`")),
    responses((status = 202, body = Accepted, headers(("Location" = String))),
        (status = 400, description = "Nothing is selected, or the reason is missing"),
        (status = 404, description = "There is no such queue"),
        (status = 409, description = "There are more or fewer entries than `expected`")))]
pub async fn discard(
    State(api): State<Api>,
    Operator(caller): Operator,
    InPath(name): InPath<String>,
    Body(selection): Body<Selection>,
) -> Result<Response> {
    begin(&api, caller, &name, selection, Action::Discard, None).await
}

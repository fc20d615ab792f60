//! What every request has: the API version it speaks, a correlation id, and once its key was looked
//! at, who asks. And the extractors that read a query or a path, whose refusals name the field.

use axum::extract::{FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use jiff::{SignedDuration, Timestamp};
use mutt_engine::{Change, KeyRole};
use serde::de::DeserializeOwned;

use crate::access::no_key;
pub use crate::body::{Body, MaybeBody, Raw, parse, parse_value};
use crate::error::{ApiError, FieldError, Result};

/// The most characters of a reason.
const REASON_MAX: usize = 1_000;
/// The most characters of a correlation id that is taken over.
const CORRELATION_ID_MAX: usize = 128;

/// What is known of a request before its key is.
#[derive(Clone, Debug)]
pub struct Meta {
    /// Whether it came under `/api/v1`.
    pub v1: bool,
    /// The version it is answered in.
    pub version: &'static str,
    /// Its correlation id.
    pub correlation_id: String,
}

/// The versions of the API, the current one first.
pub const VERSIONS: [&str; 3] = ["2.5", "2.0", "1.0"];

impl Meta {
    pub fn of(request: &Request) -> Self {
        let headers = request.headers();
        let given = headers
            .get("x-correlation-id")
            .and_then(|id| id.to_str().ok())
            .filter(|id| {
                (1..=CORRELATION_ID_MAX).contains(&id.len())
                    && id.bytes().all(|byte| byte.is_ascii_graphic())
            });
        Self {
            v1: request.uri().path().starts_with("/api/v1/"),
            version: negotiated(headers, request.uri().query().unwrap_or_default()),
            correlation_id: given.map_or_else(|| uuid::Uuid::now_v7().to_string(), str::to_owned),
        }
    }
}

/// `Accept-Version`, then `X-API-Version`, then `?api_version=`; what is not known is the current.
fn negotiated(headers: &HeaderMap, query: &str) -> &'static str {
    let header = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let asked = header("accept-version")
        .or_else(|| header("x-api-version"))
        .or_else(|| parameter(query, "api_version"))
        .unwrap_or_default();
    let asked = asked.trim().trim_start_matches('v');
    VERSIONS
        .into_iter()
        .find(|version| *version == asked)
        .unwrap_or(VERSIONS[0])
}

/// The raw value of a query parameter.
pub fn parameter<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .find_map(|(key, value)| (key == name).then_some(value))
}

/// Who asks.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The key's name.
    pub name: String,
    /// What it may do.
    pub role: KeyRole,
    /// SHA-256 of the key.
    pub key_hash: [u8; 32],
    /// Whether it asks under `/api/v1`.
    pub v1: bool,
    /// The request's correlation id.
    pub correlation_id: String,
}

impl Caller {
    /// What the audit says of a change that this request makes.
    pub fn change(&self, reason: Option<String>) -> Change {
        Change {
            by: self.name.clone(),
            reason,
            correlation_id: Some(self.correlation_id.clone()),
        }
    }
}

macro_rules! roles {
    ($($(#[$doc:meta])* $name:ident: $role:expr;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug)]
        pub struct $name(pub Caller);

        impl<S: Send + Sync> FromRequestParts<S> for $name {
            type Rejection = ApiError;

            async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self> {
                may(parts, $role).map(Self)
            }
        }
    )*};
}

roles! {
    /// Whoever asks may read.
    Viewer: KeyRole::Viewer;
    /// Whoever asks may replay, discard, and change rules, hosts and teams.
    Operator: KeyRole::Operator;
    /// Whoever asks may change configuration and keys.
    Admin: KeyRole::Admin;
}

fn may(parts: &Parts, role: KeyRole) -> Result<Caller> {
    let caller = parts.extensions.get::<Caller>().ok_or_else(no_key)?;
    if caller.role < role {
        return Err(ApiError::new(
            StatusCode::FORBIDDEN,
            format!(
                "the key '{}' has the role {}; this needs {}",
                caller.name,
                caller.role.name(),
                role.name()
            ),
        ));
    }
    Ok(caller.clone())
}

/// A query.
#[derive(Debug)]
pub struct Params<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Params<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        let Query(query) = Query::<T>::from_request_parts(parts, state)
            .await
            .map_err(|error| {
                let text = error.body_text();
                let text = text
                    .strip_prefix("Failed to deserialize query string: ")
                    .unwrap_or(&text);
                match text.split_once(": ") {
                    Some((field, message)) => ApiError::field(field, message),
                    None => ApiError::bad(text),
                }
            })?;
        Ok(Self(query))
    }
}

/// What stands in the path.
#[derive(Debug)]
pub struct InPath<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for InPath<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        let Path(value) = Path::<T>::from_request_parts(parts, state)
            .await
            .map_err(|_| {
                let path = parts.uri.path().to_owned();
                ApiError::not_found(format!("there is nothing at {path}")).or_v1("Not found")
            })?;
        Ok(Self(value))
    }
}

/// A reason as it is stored.
pub fn checked_reason(reason: Option<String>) -> Result<Option<String>> {
    let reason = reason
        .map(|reason| reason.trim().to_owned())
        .filter(|reason| !reason.is_empty());
    if reason
        .as_ref()
        .is_some_and(|reason| reason.chars().count() > REASON_MAX)
    {
        return Err(ApiError::field(
            "reason",
            format!("at most {REASON_MAX} characters are allowed"),
        ));
    }
    Ok(reason)
}

/// The reason that a body carries beside its fields; it is taken out.
pub fn take_reason(
    body: &mut serde_json::Map<String, serde_json::Value>,
) -> Result<Option<String>> {
    match body.remove("reason") {
        None | Some(serde_json::Value::Null) => Ok(None),
        Some(serde_json::Value::String(reason)) => checked_reason(Some(reason)),
        Some(_) => Err(ApiError::field("reason", "must be a text")),
    }
}

/// An object.
pub fn object(value: serde_json::Value) -> Result<serde_json::Map<String, serde_json::Value>> {
    match value {
        serde_json::Value::Object(fields) => Ok(fields),
        _ => Err(ApiError::fields(vec![FieldError {
            field: "body".to_owned(),
            message: "must be a JSON object".to_owned(),
            position: None,
        }])),
    }
}

/// From when: RFC 3339, or a date or date and time, which are UTC.
pub fn since(field: &str, text: Option<&str>) -> Result<Option<Timestamp>> {
    Ok(time(field, text)?.map(|(at, _)| at))
}

/// Until when, that moment included; of a date, the whole day.
pub fn until(field: &str, text: Option<&str>) -> Result<Option<Timestamp>> {
    let Some((at, is_day)) = time(field, text)? else {
        return Ok(None);
    };
    let more = if is_day {
        SignedDuration::from_hours(24)
    } else {
        SignedDuration::from_micros(1)
    };
    Ok(Some(at.checked_add(more).unwrap_or(Timestamp::MAX)))
}

fn time(field: &str, text: Option<&str>) -> Result<Option<(Timestamp, bool)>> {
    let Some(text) = text.map(str::trim).filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    // A plus sign that nobody escaped arrives as a blank.
    let text = text.replace(' ', if text.contains('T') { "+" } else { "T" });
    let utc = jiff::tz::TimeZone::UTC;
    let at = if let Ok(at) = text.parse::<Timestamp>() {
        Some((at, false))
    } else if text.contains('T') {
        let local = text.parse::<jiff::civil::DateTime>().ok();
        let zoned = local.and_then(|local| local.to_zoned(utc).ok());
        zoned.map(|zoned| (zoned.timestamp(), false))
    } else {
        let day = text.parse::<jiff::civil::Date>().ok();
        let zoned = day.and_then(|day| day.to_zoned(utc).ok());
        zoned.map(|zoned| (zoned.timestamp(), true))
    };
    at.map(Some).ok_or_else(|| {
        ApiError::field(
            field,
            format!("'{text}' is no time; write 2026-11-21T10:00:00Z or 2026-11-21"),
        )
    })
}

/// Pages by number.
#[derive(Clone, Copy, Debug)]
pub struct Page {
    /// From 1.
    pub page: u64,
    /// Rows on a page.
    pub limit: u64,
}

impl Page {
    /// The page that is asked for.
    pub fn of(page: Option<u64>, limit: Option<u64>, most: u64) -> Result<Self> {
        let page = page.unwrap_or(1);
        let limit = limit.unwrap_or(50);
        if page == 0 || page > 1_000_000_000 {
            return Err(ApiError::field("page", "must be 1 or more"));
        }
        if limit == 0 || limit > most {
            return Err(ApiError::field(
                "limit",
                format!("'{limit}' is not allowed; 1 to {most} is"),
            ));
        }
        Ok(Self { page, limit })
    }

    pub fn offset(self) -> usize {
        usize::try_from((self.page - 1) * self.limit).unwrap_or(usize::MAX)
    }

    pub fn limit(self) -> usize {
        usize::try_from(self.limit).unwrap_or(usize::MAX)
    }

    /// The block that goes with `total` rows.
    pub fn pagination(self, total: u64) -> Pagination {
        Pagination {
            page: self.page,
            limit: self.limit,
            total,
            pages: total.div_ceil(self.limit),
        }
    }
}

/// Where a page stands among others.
#[derive(Clone, Copy, Debug, serde::Serialize, utoipa::ToSchema)]
pub struct Pagination {
    /// The page, from 1.
    pub page: u64,
    /// Rows on a page.
    pub limit: u64,
    /// Rows in all.
    pub total: u64,
    /// Pages in all.
    pub pages: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_in_several_forms() {
        let at = |text: &str| Some(text.parse::<Timestamp>().unwrap());
        for (text, from, to) in [
            (
                "2026-11-21T10:00:00Z",
                "2026-11-21T10:00:00Z",
                "2026-11-21T10:00:00.000001Z",
            ),
            (
                "2026-11-21T10:00:00+01:00",
                "2026-11-21T09:00:00Z",
                "2026-11-21T09:00:00.000001Z",
            ),
            (
                "2026-11-21T10:00:00 01:00",
                "2026-11-21T09:00:00Z",
                "2026-11-21T09:00:00.000001Z",
            ),
            (
                "2026-11-21 10:00:00",
                "2026-11-21T10:00:00Z",
                "2026-11-21T10:00:00.000001Z",
            ),
            ("2026-11-21", "2026-11-21T00:00:00Z", "2026-11-22T00:00:00Z"),
        ] {
            assert_eq!(since("x", Some(text)).unwrap(), at(from), "{text}");
            assert_eq!(until("x", Some(text)).unwrap(), at(to), "{text}");
        }
        assert_eq!(since("x", Some(" ")).unwrap(), None);
        for text in [
            "yesterday",
            "2026-13-01",
            "2026-11-21T25:00:00Z",
            "9".repeat(400).as_str(),
        ] {
            assert!(since("x", Some(text)).is_err(), "{text}");
        }
    }

    #[test]
    fn a_version_is_negotiated() {
        for (headers, query, expected) in [
            (
                vec![("accept-version", "2.0"), ("x-api-version", "1.0")],
                "",
                "2.0",
            ),
            (vec![("x-api-version", "v1.0")], "api_version=2.0", "1.0"),
            (vec![], "a=b&api_version=2.0", "2.0"),
            (vec![("accept-version", "9.9")], "", "2.5"),
            (vec![], "", "2.5"),
        ] {
            let mut map = HeaderMap::new();
            for (name, value) in headers {
                map.insert(name, value.parse().unwrap());
            }
            assert_eq!(negotiated(&map, query), expected);
        }
    }
}

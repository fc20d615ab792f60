//! Browsers that signed in: with a key or a login link they get a cookie, which stands for the key
//! until one of them ends. Sessions are in the engine, so that every pod knows them; what is known of
//! one is believed for a second, as with keys.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use jiff::{SignedDuration, Timestamp};
use mutt_engine::{NewSession, Session};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::Api;
use crate::access::{Credential, Owner, Visitor, from_hex, hash, hex, no_key};
use crate::cookie::{self, Cookie, check_csrf, check_origin, csrf_token};
use crate::error::{ApiError, Result};
use crate::keys::RoleName;
use crate::links::{Bearer, LINK_VALID};
use crate::request::{Admin, Body};

/// The largest body of a sign-in, in bytes.
pub const BODY_MAX: usize = 4096;
/// How long a session lives at most.
const LIFETIME: Duration = Duration::from_hours(12);
/// How long a session lives that nobody uses.
const IDLE: SignedDuration = SignedDuration::from_hours(1);
/// How long what is known of a session is believed.
const FRESH: Duration = Duration::from_secs(1);
/// How often the use of a session is noted.
const NOTED: SignedDuration = SignedDuration::from_mins(5);
/// The most sessions that are remembered here; the engine knows the others.
const MOST: usize = 10_000;

/// What is known here of sessions, by the hash of their token.
#[derive(Debug)]
pub struct SignedIn {
    cookie: Cookie,
    known: Mutex<HashMap<String, (Instant, Session)>>,
}

impl SignedIn {
    pub fn new(cookie: Cookie) -> Self {
        Self {
            cookie,
            known: Mutex::default(),
        }
    }

    fn remember(&self, token_hash: &str, session: Session) {
        let mut known = self.known.lock();
        if known.len() >= MOST {
            known.retain(|_, (read, _)| read.elapsed() < FRESH);
        }
        if known.len() < MOST {
            known.insert(token_hash.to_owned(), (Instant::now(), session));
        }
    }
}

/// Whether it is over, by this pod's clock.
fn is_over(session: &Session, now: Timestamp) -> bool {
    session.expires_at <= now || now.duration_since(session.seen_at) >= IDLE
}

/// The session of a token. While the engine is away what was known of it last holds.
async fn find(api: &Api, token_hash: &str) -> Result<Option<Session>> {
    let sessions = &api.access.sessions;
    let known = sessions.known.lock().get(token_hash).cloned();
    let session = match known {
        Some((read, session)) if read.elapsed() < FRESH => Some(session),
        known => match (api.engine.session(token_hash).await, known) {
            (Ok(Some(session)), _) => {
                sessions.remember(token_hash, session.clone());
                Some(session)
            }
            (Ok(None), _) => {
                sessions.known.lock().remove(token_hash);
                None
            }
            (Err(error), Some((_, session))) => {
                tracing::warn!(%error, "a session cannot be read: what was known of it holds");
                Some(session)
            }
            (Err(error), None) => return Err(error.into()),
        },
    };
    Ok(session.filter(|session| !is_over(session, Timestamp::now())))
}

/// Notes that a session is used, every few minutes.
fn note(api: &Api, token_hash: &str, session: Session) {
    let now = Timestamp::now();
    if now.duration_since(session.seen_at) < NOTED {
        return;
    }
    let seen = Session {
        seen_at: now,
        ..session
    };
    api.access.sessions.remember(token_hash, seen);
    let (engine, token_hash) = (api.engine.clone(), token_hash.to_owned());
    tokio::spawn(async move {
        if let Err(error) = engine.session_seen(&token_hash).await {
            tracing::debug!(%error, "the use of a session was not noted");
        }
    });
}

/// The session of a token and whose key it stands for, where both are valid.
async fn of_token(api: &Api, token: &str) -> Result<Option<(Session, Owner)>> {
    let token_hash = hash(token);
    let Some(session) = find(api, &token_hash).await? else {
        return Ok(None);
    };
    let holder = match from_hex(&session.key_hash) {
        Some(key) => api.access.holder(&*api.engine, &key).await?,
        None => None,
    };
    let Some(owner) = holder else {
        return Ok(None);
    };
    Ok(Some((session, owner)))
}

/// As [`of_token`], of the cookie that is shown.
async fn signed_in<'a>(
    api: &Api,
    headers: &'a HeaderMap,
) -> Result<Option<(&'a str, Session, Owner)>> {
    let Some(token) = api.access.sessions.cookie.token(headers) else {
        return Ok(None);
    };
    let Some((session, owner)) = of_token(api, token).await? else {
        return Ok(None);
    };
    note(api, &hash(token), session.clone());
    api.access.note(&api.engine, &owner.name);
    Ok(Some((token, session, owner)))
}

/// Whether the session of a token is over. An engine that is away ends none, and an open stream is
/// no use: a browser that nobody looks at is signed out after an hour.
pub async fn has_ended(api: &Api, token: &str) -> bool {
    matches!(of_token(api, token).await, Ok(None))
}

/// Who asks with a session.
///
/// # Errors
/// 401 without one that is valid; 403 where another site's page sends the request, or our own would
/// have shown a token.
pub async fn owner(api: &Api, method: &Method, headers: &HeaderMap) -> Result<(Owner, Credential)> {
    let Some((token, _, owner)) = signed_in(api, headers).await? else {
        return Err(no_key());
    };
    check_origin(headers)?;
    check_csrf(method, headers, token)?;
    Ok((owner, Credential::Session(token.to_owned())))
}

/// Who signs in, with what: one of them.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SignIn {
    /// An API key.
    key: Option<String>,
    /// The token of a login link: what stands behind `/#/login/`.
    link: Option<String>,
}

/// A session.
#[derive(Serialize, ToSchema)]
pub struct SessionView {
    /// The name of the key that it stands for; the audit of changes says it.
    name: String,
    #[schema(value_type = RoleName)]
    role: &'static str,
    /// To be sent as `X-CSRF-Token` with whatever changes something.
    csrf_token: String,
    /// When it ends in any case; unused, it ends after an hour.
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
}

impl SessionView {
    fn new(token: &str, session: &Session, owner: &Owner) -> Self {
        Self {
            name: owner.name.clone(),
            role: owner.role.name(),
            csrf_token: csrf_token(token),
            expires_at: session.expires_at,
        }
    }
}

/// The head of a request that nobody has looked at yet.
pub struct Head(Parts);

impl<S: Send + Sync> FromRequestParts<S> for Head {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(Self(parts.clone()))
    }
}

impl Head {
    /// Pages of other sites cannot send this type unasked.
    fn is_json(&self) -> bool {
        let kind = self.0.headers.get(header::CONTENT_TYPE);
        let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim();
        kind.eq_ignore_ascii_case("application/json")
    }
}

/// Whose key or link it is.
async fn credential(api: &Api, visitor: &Visitor, body: SignIn) -> Result<Owner> {
    let shown;
    let bearer = match (body.key, body.link) {
        (Some(key), None) => {
            return api
                .access
                .shown(&*api.engine, visitor, key.as_bytes())
                .await;
        }
        (None, Some(link)) => {
            shown = from_hex(&hash(&link)).unwrap_or_default();
            api.access.admit(visitor, &shown)?;
            // An engine that is away must not cost the link.
            api.engine.api_keys().await?;
            api.access.links.redeem(&link, Instant::now())
        }
        _ => return Err(ApiError::bad("either key or link is needed")),
    };
    let owner = match bearer {
        Some(Bearer::First) => api.access.first(),
        Some(Bearer::Key { hash }) => api.access.holder(&*api.engine, &hash).await?,
        None => None,
    };
    owner.ok_or_else(|| {
        api.access.wrong(visitor, &shown);
        ApiError::new(
            StatusCode::UNAUTHORIZED,
            "this login link was used, is too old, or is of another process; sign in with a key",
        )
    })
}

/// Sign in
///
/// With a key or the token of a login link. The answer sets the session's cookie, which is out of a
/// page's reach. The session ends after twelve hours, after one in which nobody uses it, when its key
/// is revoked, and with `DELETE /session`.
#[utoipa::path(post, path = "/session", operation_id = "start", tag = "Sessions",
    request_body = SignIn,
    responses((status = 200, body = SessionView), (status = 400, description = "Neither key nor link"),
        (status = 401, description = "It is not valid"),
        (status = 403, description = "A page of another site asks"),
        (status = 415, description = "The body is not application/json")))]
pub async fn start(
    State(api): State<Api>,
    head: Head,
    Body(body): Body<SignIn>,
) -> Result<Response> {
    check_origin(&head.0.headers)?;
    if !head.is_json() {
        return Err(ApiError::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "Content-Type must be application/json",
        ));
    }
    let visitor = Visitor::of(&head.0.extensions);
    let owner = credential(&api, &visitor, body).await?;
    let cookie = api.access.sessions.cookie;
    // Who signs in anew leaves what they had: no token outlives its use.
    if let Some(earlier) = cookie.token(&head.0.headers) {
        stop(&api, earlier).await?;
    }
    let token = cookie::new_token();
    let new = NewSession {
        token_hash: hash(&token),
        key_name: owner.name.clone(),
        key_hash: hex(&owner.hash),
        lifetime: LIFETIME,
    };
    let session = api.engine.start_session(new).await?;
    api.access.note(&api.engine, &owner.name);
    tracing::info!(
        name = owner.name, peer = %visitor.peer, correlation_id = visitor.correlation_id,
        "signed in"
    );
    let mut response = Json(SessionView::new(&token, &session, &owner)).into_response();
    let set = cookie.set(&token, LIFETIME.as_secs());
    response
        .headers_mut()
        .extend(set.map(|set| (header::SET_COOKIE, set)));
    Ok(response)
}

/// Show the session
#[utoipa::path(get, path = "/session", operation_id = "show", tag = "Sessions",
    responses((status = 200, body = SessionView), (status = 401, description = "There is none")))]
pub async fn show(State(api): State<Api>, headers: HeaderMap) -> Result<Json<SessionView>> {
    let Some((token, session, owner)) = signed_in(&api, &headers).await? else {
        return Err(ApiError::new(
            StatusCode::UNAUTHORIZED,
            "nobody is signed in here: there is no session, or it has ended",
        ));
    };
    check_origin(&headers)?;
    Ok(Json(SessionView::new(token, &session, &owner)))
}

/// Sign out
///
/// Ends the session on every pod and takes the cookie away, also where it had ended. One that is
/// valid needs `X-CSRF-Token`.
#[utoipa::path(delete, path = "/session", operation_id = "end", tag = "Sessions",
    responses((status = 204, description = "There is no session any more"),
        (status = 403, description = "A page of another site asks, or the token is missing")))]
pub async fn end(State(api): State<Api>, head: Head) -> Result<Response> {
    let headers = &head.0.headers;
    check_origin(headers)?;
    if let Some((token, _, owner)) = signed_in(&api, headers).await? {
        check_csrf(&Method::DELETE, headers, token)?;
        stop(&api, token).await?;
        let visitor = Visitor::of(&head.0.extensions);
        tracing::info!(
            name = owner.name, peer = %visitor.peer, correlation_id = visitor.correlation_id,
            "signed out"
        );
    }
    let mut response = StatusCode::NO_CONTENT.into_response();
    let clear = api.access.sessions.cookie.clear();
    response
        .headers_mut()
        .extend(clear.map(|clear| (header::SET_COOKIE, clear)));
    Ok(response)
}

async fn stop(api: &Api, token: &str) -> Result<()> {
    let token_hash = hash(token);
    api.engine.end_session(&token_hash).await?;
    api.access.sessions.known.lock().remove(&token_hash);
    Ok(())
}

/// A login link.
#[derive(Serialize, ToSchema)]
pub struct LinkView {
    /// The token, for `POST /session`: good once.
    link: String,
    /// Where the web interface takes it, behind the address of this process.
    path: String,
    /// Until when it is valid.
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
}

/// Make a login link
///
/// It signs a browser in once, with the key that asks, within half an hour, at the process that was
/// asked.
#[utoipa::path(post, path = "/session/links", operation_id = "link", tag = "Sessions",
    responses((status = 201, body = LinkView)))]
pub async fn link(State(api): State<Api>, Admin(caller): Admin) -> Response {
    let bearer = Bearer::Key {
        hash: caller.key_hash,
    };
    let link = api.access.links.issue_for(bearer, Instant::now());
    tracing::info!(
        name = caller.name,
        correlation_id = caller.correlation_id,
        "a login link was made"
    );
    let view = LinkView {
        path: format!("/#/login/{link}"),
        link,
        expires_at: Timestamp::now() + LINK_VALID,
    };
    (StatusCode::CREATED, Json(view)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_that_nobody_uses_ends() {
        let start: Timestamp = "2026-11-21T10:00:00Z".parse().unwrap();
        let at = |minutes| start + SignedDuration::from_mins(minutes);
        let session = |seen| Session {
            key_name: "noc".to_owned(),
            key_hash: String::new(),
            started_at: start,
            seen_at: at(seen),
            expires_at: at(720),
        };
        for (seen, now, over) in [
            (0, 0, false),
            (0, 59, false),
            (0, 60, true),
            (55, 114, false),
            (700, 719, false),
            (719, 720, true),
            // Somebody's clock is ahead.
            (10, 5, false),
        ] {
            assert_eq!(is_over(&session(seen), at(now)), over, "{seen} {now}");
        }
    }
}

//! API keys: made once, shown once, revoked for good.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use jiff::Timestamp;
use mutt_engine::{ApiKey, KeyRole, NewApiKey};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::Api;
use crate::access::{FIRST_KEY, hash};
use crate::error::{ApiError, Result};
use crate::request::{Admin, Body, InPath, MaybeBody, Viewer, checked_reason};
use crate::rules::{Done, Why};

/// What a key may do; each may also do what those before it may.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
#[expect(dead_code, reason = "for the document only; mutt-engine has the words")]
pub enum RoleName {
    Viewer,
    Operator,
    Admin,
}

/// A key, without the key.
#[derive(Serialize, ToSchema)]
pub struct KeyView {
    name: String,
    #[schema(value_type = RoleName)]
    role: &'static str,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// When it was last shown, within minutes.
    #[schema(value_type = Option<String>, format = DateTime)]
    last_used_at: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    revoked_at: Option<Timestamp>,
}

impl From<ApiKey> for KeyView {
    fn from(key: ApiKey) -> Self {
        Self {
            name: key.name,
            role: key.role.name(),
            created_at: key.created_at,
            last_used_at: key.last_used_at,
            revoked_at: key.revoked_at,
        }
    }
}

/// The keys.
#[derive(Serialize, ToSchema)]
pub struct KeyList {
    /// By name, revoked ones too. The key of the secrets (`WEBUI_API_KEY`) is not among them.
    keys: Vec<KeyView>,
}

/// A key to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyWrite {
    /// 1 to 100 characters; a name is given once.
    name: String,
    #[schema(value_type = RoleName)]
    role: String,
    /// Why, for the config audit.
    reason: Option<String>,
}

/// A new key.
#[derive(Serialize, ToSchema)]
pub struct NewKey {
    /// The key itself: nobody can show it again.
    key: String,
    #[serde(flatten)]
    view: KeyView,
}

/// Who asks.
#[derive(Serialize, ToSchema)]
pub struct Me {
    /// The key's name.
    name: String,
    #[schema(value_type = RoleName)]
    role: &'static str,
}

/// Say whose key this is
#[utoipa::path(get, path = "/me", tag = "Keys", responses((status = 200, body = Me)))]
pub async fn me(Viewer(caller): Viewer) -> Json<Me> {
    Json(Me {
        name: caller.name,
        role: caller.role.name(),
    })
}

/// List the keys
#[utoipa::path(get, path = "/keys", tag = "Keys", responses((status = 200, body = KeyList)))]
pub async fn list(State(api): State<Api>, _: Admin) -> Result<Json<KeyList>> {
    let keys = api.engine.api_keys().await?;
    let keys = keys.into_iter().map(KeyView::from).collect();
    Ok(Json(KeyList { keys }))
}

/// A new key: 32 random bytes.
fn generated() -> String {
    use std::fmt::Write as _;
    let bytes: [u8; 32] = rand::random();
    bytes.iter().fold("mutt_".to_owned(), |mut key, byte| {
        let _ = write!(key, "{byte:02x}");
        key
    })
}

/// Make a key
///
/// The answer shows it, once.
#[utoipa::path(post, path = "/keys", tag = "Keys", request_body = KeyWrite,
    responses((status = 201, body = NewKey), (status = 400, description = "No name, or no such role"),
        (status = 409, description = "The name was given")))]
pub async fn create(
    State(api): State<Api>,
    Admin(caller): Admin,
    Body(body): Body<KeyWrite>,
) -> Result<Response> {
    let role: KeyRole = body
        .role
        .parse()
        .map_err(|error: String| ApiError::field("role", error))?;
    if body.name.trim() == FIRST_KEY {
        return Err(ApiError::field("name", "is that of the key in the secrets"));
    }
    let by = caller.change(checked_reason(body.reason)?);
    let key = generated();
    let new = NewApiKey {
        name: body.name,
        hash: hash(&key),
        role,
    };
    let view = api.engine.add_api_key(new, &by).await?.into();
    api.access.forget().await;
    let headers = [(header::CACHE_CONTROL, "no-store")];
    Ok((StatusCode::CREATED, headers, Json(NewKey { key, view })).into_response())
}

/// Revoke a key
///
/// It is refused everywhere within a second.
#[utoipa::path(delete, path = "/keys/{name}", tag = "Keys", request_body = Option<Why>,
    params(("name" = String, Path, description = "The key's name")),
    responses((status = 200, body = Done), (status = 404, description = "There is none, or it is revoked")))]
pub async fn revoke(
    State(api): State<Api>,
    Admin(caller): Admin,
    InPath(name): InPath<String>,
    MaybeBody(why): MaybeBody<Why>,
) -> Result<Json<Done>> {
    let by = caller.change(checked_reason(why.reason)?);
    api.engine.revoke_api_key(&name, &by).await?;
    api.access.forget().await;
    Ok(Done::json("Key revoked"))
}

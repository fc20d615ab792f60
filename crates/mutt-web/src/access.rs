//! Who may ask: keys from the secrets and from the store, browsers that signed in with one of them,
//! and the throttle for those who guess. Here a request gets its [`Caller`].
//!
//! Keys are compared in constant time against hashes. Stored keys are read again at most a second
//! after they were read, so that a revoked one is refused everywhere within a second; while the
//! store is away the last known ones hold.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{Extensions, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use futures_util::StreamExt as _;
use mutt_engine::{Engine, KeyRole};
use mutt_http::Keys;
use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::Api;
use crate::cookie::Cookie;
use crate::cookie::check_origin;
use crate::error::{ApiError, Result};
use crate::links::LoginLinks;
use crate::request::{Caller, Meta, parameter};
use crate::session::{self, SignedIn};
use crate::throttle::{Throttle, counted};

/// The name under which the key from the secrets acts.
pub const FIRST_KEY: &str = "WEBUI_API_KEY";
/// How long stored keys are believed.
const FRESH: Duration = Duration::from_secs(1);
/// How often the use of a key is noted.
const NOTED: Duration = Duration::from_mins(5);

#[derive(Clone, Debug)]
struct Known {
    name: String,
    role: KeyRole,
    hash: [u8; 32],
}

#[derive(Debug, Default)]
struct Cache {
    read: Option<Instant>,
    /// `None` until they were read once.
    keys: Option<Arc<Vec<Known>>>,
}

/// Whose key it is.
#[derive(Clone, Debug)]
pub struct Owner {
    pub name: String,
    pub role: KeyRole,
    /// SHA-256 of the key.
    pub hash: [u8; 32],
}

/// Who may ask.
#[derive(Debug)]
pub struct Access {
    first: Arc<Keys>,
    cache: tokio::sync::Mutex<Cache>,
    noted: Mutex<HashMap<String, Instant>>,
    throttle: Throttle,
    /// Who is signed in.
    pub sessions: SignedIn,
    /// Who may sign in without a key.
    pub links: LoginLinks,
}

impl Access {
    pub fn new(first: Arc<Keys>, links: LoginLinks, cookie: Cookie) -> Self {
        Self {
            first,
            cache: tokio::sync::Mutex::default(),
            noted: Mutex::default(),
            throttle: Throttle::default(),
            sessions: SignedIn::new(cookie),
            links,
        }
    }

    /// Stored keys are read again before the next one is looked at.
    pub async fn forget(&self) {
        self.cache.lock().await.read = None;
    }

    /// Stored keys as they were a second ago at most; the last known ones while the engine is away.
    ///
    /// # Errors
    /// The engine is away and has not been read since the start: nobody is known to be wrong.
    async fn stored(&self, engine: &dyn Engine) -> Result<Arc<Vec<Known>>> {
        let mut cache = self.cache.lock().await;
        if cache.read.is_none_or(|read| read.elapsed() >= FRESH) {
            match engine.api_keys().await {
                Ok(keys) => {
                    let keys = keys.into_iter().filter(|key| key.revoked_at.is_none());
                    cache.keys = Some(Arc::new(
                        keys.filter_map(|key| {
                            Some(Known {
                                hash: from_hex(&key.hash)?,
                                name: key.name,
                                role: key.role,
                            })
                        })
                        .collect(),
                    ));
                }
                Err(error) if cache.keys.is_none() => return Err(error.into()),
                Err(error) => {
                    tracing::warn!(%error, "API keys cannot be read: the last known hold");
                }
            }
            cache.read = Some(Instant::now());
        }
        Ok(cache.keys.clone().unwrap_or_default())
    }

    /// Whose key this is.
    async fn owner(
        &self,
        engine: &dyn Engine,
        key: &[u8],
        shown: [u8; 32],
    ) -> Result<Option<Owner>> {
        if self.first.is_valid(key) {
            return Ok(Some(first_owner(shown)));
        }
        let mut owner = None;
        for known in self.stored(engine).await?.iter() {
            if known.hash.ct_eq(&shown).into() {
                owner = Some(Owner {
                    name: known.name.clone(),
                    role: known.role,
                    hash: shown,
                });
            }
        }
        Ok(owner)
    }

    /// Whose key has this hash, if it is still valid.
    ///
    /// # Errors
    /// The keys could not be read since the start.
    pub async fn holder(&self, engine: &dyn Engine, hash: &[u8; 32]) -> Result<Option<Owner>> {
        if self.first.has_hash(hash) {
            return Ok(Some(first_owner(*hash)));
        }
        let stored = self.stored(engine).await?;
        let known = stored.iter().find(|known| known.hash == *hash);
        Ok(known.map(|known| Owner {
            name: known.name.clone(),
            role: known.role,
            hash: *hash,
        }))
    }

    /// The owner of the key from the secrets that is valid now, if there is one.
    pub fn first(&self) -> Option<Owner> {
        self.first.current().map(first_owner)
    }

    /// Whose key was shown from this address; wrong ones are counted.
    ///
    /// # Errors
    /// 401 where it is nobody's, 429 where too many wrong ones came from there.
    pub async fn shown(&self, engine: &dyn Engine, visitor: &Visitor, key: &[u8]) -> Result<Owner> {
        let shown: [u8; 32] = Sha256::digest(key).into();
        self.admit(visitor, &shown)?;
        match self.owner(engine, key, shown).await? {
            Some(owner) => {
                self.throttle
                    .succeeded(visitor.peer, &shown, Instant::now());
                Ok(owner)
            }
            None => Err(self.wrong(visitor, &shown)),
        }
    }

    /// Refuses an address that showed too many wrong keys, where this one was not right before.
    pub fn admit(&self, visitor: &Visitor, shown: &[u8; 32]) -> Result<()> {
        match self.throttle.wait(visitor.peer, shown, Instant::now()) {
            None => Ok(()),
            Some(seconds) => Err(ApiError::new(
                StatusCode::TOO_MANY_REQUESTS,
                "too many wrong keys came from this address; wait a moment",
            )
            .retry_after(seconds)),
        }
    }

    /// Notes that something wrong was shown.
    pub fn wrong(&self, visitor: &Visitor, shown: &[u8; 32]) -> ApiError {
        let Visitor {
            peer,
            correlation_id,
        } = visitor;
        self.throttle.failed(*peer, shown, Instant::now());
        tracing::warn!(%peer, correlation_id, "a wrong API key was shown");
        no_key()
    }

    /// Notes that a key is in use.
    pub fn note(&self, engine: &Arc<dyn Engine>, name: &str) {
        if name == FIRST_KEY {
            return;
        }
        let now = Instant::now();
        let mut noted = self.noted.lock();
        if noted
            .get(name)
            .is_some_and(|at| now.duration_since(*at) < NOTED)
        {
            return;
        }
        noted.insert(name.to_owned(), now);
        let (engine, name) = (engine.clone(), name.to_owned());
        tokio::spawn(async move {
            if let Err(error) = engine.api_key_used(&name).await {
                tracing::debug!(%error, name, "the use of a key was not noted");
            }
        });
    }
}

fn first_owner(hash: [u8; 32]) -> Owner {
    Owner {
        name: FIRST_KEY.to_owned(),
        role: KeyRole::Admin,
        hash,
    }
}

/// SHA-256 of a key or token, in hex, as it is stored.
pub fn hash(key: &str) -> String {
    hex(&Sha256::digest(key.as_bytes()))
}

/// Bytes in lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let text = String::with_capacity(bytes.len() * 2);
    bytes.iter().fold(text, |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// The bytes of a hash as it is stored.
pub fn from_hex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (byte, at) in bytes.iter_mut().zip((0..64).step_by(2)) {
        *byte = u8::from_str_radix(&text[at..at + 2], 16).ok()?;
    }
    Some(bytes)
}

/// Somebody who is not known yet.
#[derive(Debug)]
pub struct Visitor {
    /// The address that failures are counted for.
    pub peer: IpAddr,
    pub correlation_id: String,
}

impl Visitor {
    pub fn of(extensions: &Extensions) -> Self {
        let peer = extensions.get::<ConnectInfo<SocketAddr>>();
        let meta = extensions.get::<Meta>();
        Self {
            peer: peer.map_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED), |peer| {
                counted(peer.0.ip())
            }),
            correlation_id: meta.map_or_else(String::new, |meta| meta.correlation_id.clone()),
        }
    }
}

/// Nobody may ask without a key.
pub fn no_key() -> ApiError {
    ApiError::new(
        StatusCode::UNAUTHORIZED,
        "a valid X-API-KEY is needed, or a session",
    )
    .or_v1("Unauthorized")
}

/// The key that a request shows, and whether it does so in its query.
fn key_in(request: &Request, v1: bool) -> Option<(Vec<u8>, bool)> {
    match request.headers().get("x-api-key") {
        Some(key) if !key.is_empty() => Some((key.as_bytes().to_vec(), false)),
        _ if v1 && request.method() == Method::GET => {
            let key = parameter(request.uri().query()?, "api_key")?;
            Some((percent_encoding::percent_decode_str(key).collect(), true))
        }
        _ => None,
    }
}

/// What a caller was let through with.
#[derive(Debug)]
pub enum Credential {
    /// The key with this SHA-256.
    Key([u8; 32]),
    /// The session with this token.
    Session(String),
}

impl Credential {
    async fn has_ended(&self, api: &Api) -> bool {
        match self {
            Self::Key(hash) => matches!(api.access.holder(&*api.engine, hash).await, Ok(None)),
            Self::Session(token) => session::has_ended(api, token).await,
        }
    }
}

const EVENT_STREAM: HeaderValue = HeaderValue::from_static("text/event-stream");

/// Streams that are open at a time: a connection each, of the thousands that the port has, so that
/// there are always some left for health checks.
pub const STREAMS_MAX: usize = 1000;

/// A stream goes on for as long as its reader may read: whose key is revoked, or who signs out, sees
/// nothing more. It ends with MUTT, which would wait for it in vain.
fn until_ended(response: Response, api: Api, credential: Credential) -> Response {
    let Ok(permit) = api.streams.clone().try_acquire_owned() else {
        return ApiError::new(
            StatusCode::SERVICE_UNAVAILABLE,
            format!("{STREAMS_MAX} streams are open, more are not allowed"),
        )
        .retry_after(30)
        .into_response();
    };
    let stop = api.stop.clone();
    let revoked = async move {
        while !credential.has_ended(&api).await {
            tokio::time::sleep(FRESH).await;
        }
    };
    let ended = async move {
        let _permit = permit;
        tokio::select! {
            () = revoked => {}
            () = stop.cancelled_owned() => {}
        }
    };
    response.map(|body| Body::from_stream(body.into_data_stream().take_until(Box::pin(ended))))
}

/// Lets through who shows a valid key or, under v2, has a session.
pub async fn require_caller(State(api): State<Api>, mut request: Request, next: Next) -> Response {
    let meta = request
        .extensions()
        .get::<Meta>()
        .cloned()
        .unwrap_or_else(|| Meta::of(&request));
    let shown = key_in(&request, meta.v1);
    let in_query = matches!(shown, Some((_, true)));
    let owner = match shown {
        // An image on a page of another site must not count as this visitor's wrong keys.
        Some((_, true)) if check_origin(request.headers()).is_err() => Err(no_key()),
        Some((key, _)) => {
            let visitor = Visitor::of(request.extensions());
            let owner = api.access.shown(&*api.engine, &visitor, &key).await;
            owner.map(|owner| {
                api.access.note(&api.engine, &owner.name);
                let credential = Credential::Key(owner.hash);
                (owner, credential)
            })
        }
        None if meta.v1 => Err(no_key()),
        None => session::owner(&api, request.method(), request.headers()).await,
    };
    let (owner, credential) = match owner {
        Ok(known) => known,
        Err(error) => return error.into_response(),
    };
    request.extensions_mut().insert(Caller {
        name: owner.name,
        role: owner.role,
        key_hash: owner.hash,
        v1: meta.v1,
        correlation_id: meta.correlation_id,
    });
    let mut response = next.run(request).await;
    if response.headers().get(header::CONTENT_TYPE) == Some(&EVENT_STREAM) {
        response = until_ended(response, api, credential);
    }
    if in_query {
        let warning = HeaderValue::from_static(
            "299 - \"api_key in the query is deprecated; use the X-API-KEY header\"",
        );
        response.headers_mut().insert("warning", warning);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stored_hash_is_read_back() {
        let hex = hash("mutt_x");
        let bytes: [u8; 32] = Sha256::digest(b"mutt_x").into();
        assert_eq!(from_hex(&hex), Some(bytes));
        assert_eq!(from_hex("zz"), None);
        assert_eq!(from_hex(&"ü".repeat(32)), None);
    }
}

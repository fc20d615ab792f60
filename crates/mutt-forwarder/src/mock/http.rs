//! The receiver's HTTP: `POST` anywhere is an event, `/mock/…` is the control API, any other `GET`
//! tells the health.

use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, LOCATION, RETRY_AFTER};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use jiff::Timestamp;
use serde::Serialize;
use subtle::ConstantTimeEq as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::Shared;
use super::faults::Fault;
use super::ledger;

/// The largest request.
const MAX_BODY: usize = 16 << 20;
/// The most connections; more wait in the backlog.
const MAX_CONNECTIONS: usize = 4096;

type Answer = Response<Full<Bytes>>;

/// The connection is to be reset.
#[derive(Debug)]
struct Reset;

impl std::fmt::Display for Reset {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("reset on demand")
    }
}

impl std::error::Error for Reset {}

pub(super) async fn serve(listener: TcpListener, shared: Arc<Shared>, end: CancellationToken) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = end.cancelled() => return,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept(), if connections.len() < MAX_CONNECTIONS => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(connection(stream, shared.clone()));
                }
                // No descriptors left, say: closing connections will free some.
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            },
        }
    }
}

async fn connection(stream: TcpStream, shared: Arc<Shared>) {
    let _ = stream.set_nodelay(true);
    // A second handle, because the first one is hyper's by the time it is to be reset.
    let Ok(handle) = stream.as_fd().try_clone_to_owned() else {
        return;
    };
    let handle = socket2::Socket::from(handle);
    let service = service_fn(|request| answer(request, &shared));
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_mins(2))
        .serve_connection(TokioIo::new(stream), service)
        .without_shutdown()
        .await;
    if served.is_err() {
        // Without lingering, closing sends RST.
        let _ = handle.set_linger(Some(Duration::ZERO));
    }
}

async fn answer(request: Request<Incoming>, shared: &Shared) -> Result<Answer, Reset> {
    let path = request.uri().path();
    match (request.method(), path) {
        (_, path) if path.starts_with("/mock/") => Ok(control(request, shared).await),
        (&Method::POST, _) => event(request, shared).await,
        (&Method::GET | &Method::HEAD, _) => {
            let health = shared.state.lock().health;
            let status = StatusCode::from_u16(health).unwrap_or(StatusCode::OK);
            Ok(json(
                status,
                &serde_json::json!({"service": "mock-moog", "status": health}),
            ))
        }
        _ => Ok(text(
            StatusCode::METHOD_NOT_ALLOWED,
            "post events, or see /mock/stats",
        )),
    }
}

async fn event(request: Request<Incoming>, shared: &Shared) -> Result<Answer, Reset> {
    let total = shared.state.lock().ledger.arrived();
    shared.received.send_if_modified(|received| {
        *received = total.max(*received);
        true
    });
    let at = Timestamp::now();
    let (parts, body) = request.into_parts();
    let Ok(body) = Limited::new(body, MAX_BODY).collect().await else {
        return Ok(text(
            StatusCode::PAYLOAD_TOO_LARGE,
            "the body is too large or broke off",
        ));
    };
    let body = body.to_bytes();
    let header = |name| parts.headers.get(name)?.to_str().ok().map(str::to_owned);
    let idempotency_key = header("idempotency-key");
    let received = ledger::Request {
        at,
        external_id: ledger::external_id(&body).or_else(|| idempotency_key.clone()),
        idempotency_key,
        traceparent: header("traceparent"),
        body,
    };
    let (fault, allowed) = {
        let mut state = shared.state.lock();
        (
            state.faults.take(&received.body),
            is_allowed(&parts.headers, &state.keys),
        )
    };
    let fault = fault.unwrap_or_default();
    if fault.delay_ms > 0 {
        tokio::time::sleep(Duration::from_millis(fault.delay_ms)).await;
    }
    let status = match fault.status {
        _ if fault.reset => 0,
        Some(status) => status,
        None if !allowed => 401,
        None => 200,
    };
    shared.state.lock().ledger.answered(received, status);
    if status == 0 {
        Err(Reset)
    } else {
        Ok(rendered(&fault, status))
    }
}

fn rendered(fault: &Fault, status: u16) -> Answer {
    let body = match (&fault.body, status) {
        (Some(body), _) => body.clone(),
        (None, 204) => String::new(),
        (None, 200..=299) => r#"{"success":true}"#.to_owned(),
        (None, 401) => r#"{"status":"error","message":"API Key required"}"#.to_owned(),
        (None, status) => format!(r#"{{"status":"error","message":"mock {status}"}}"#),
    };
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut answer = text(status, body);
    let headers = answer.headers_mut();
    if let Some(seconds) = fault.retry_after {
        headers.insert(RETRY_AFTER, seconds.into());
    }
    if let Some(Ok(location)) = fault.location.as_ref().map(|location| location.parse()) {
        headers.insert(LOCATION, location);
    }
    answer
}

fn is_allowed(headers: &HeaderMap, keys: &[String]) -> bool {
    let shown = headers
        .get(AUTHORIZATION)
        .and_then(|value| value.as_bytes().strip_prefix(b"Bearer "))
        .or_else(|| headers.get("apikey").map(http::HeaderValue::as_bytes))
        .unwrap_or_default();
    keys.is_empty()
        || keys
            .iter()
            .any(|key| bool::from(key.as_bytes().ct_eq(shown)))
}

async fn control(request: Request<Incoming>, shared: &Shared) -> Answer {
    let path = request.uri().path().to_owned();
    let query = request.uri().query().unwrap_or_default().to_owned();
    let parameter = |name: &str| {
        query.split('&').find_map(|pair| {
            pair.strip_prefix(name)?
                .strip_prefix('=')?
                .parse::<f64>()
                .ok()
        })
    };
    match (request.method().clone(), path.as_str()) {
        (Method::GET, "/mock/stats") => {
            let period =
                parameter("period").and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
            let period = period.unwrap_or(Duration::from_secs(1));
            json(StatusCode::OK, &shared.state.lock().ledger.stats(period))
        }
        (Method::GET, "/mock/received") => {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "`as` saturates"
            )]
            let limit = parameter("limit").unwrap_or(20.0) as usize;
            json(StatusCode::OK, &shared.state.lock().ledger.received(limit))
        }
        (Method::GET, "/mock/faults") => json(StatusCode::OK, &shared.state.lock().faults.active()),
        (Method::POST, "/mock/faults") => match posted::<OneOrMany>(request).await {
            Ok(OneOrMany::One(fault)) => set(shared, vec![*fault]),
            Ok(OneOrMany::Many(faults)) => set(shared, faults),
            Err(why) => text(StatusCode::BAD_REQUEST, why),
        },
        (Method::DELETE, "/mock/faults") => set(shared, Vec::new()),
        (Method::POST, "/mock/health") => match posted::<Health>(request).await {
            Ok(Health { status }) => {
                shared.state.lock().health = status;
                text(StatusCode::NO_CONTENT, "")
            }
            Err(why) => text(StatusCode::BAD_REQUEST, why),
        },
        _ => text(
            StatusCode::NOT_FOUND,
            "there are GET /mock/stats, GET /mock/received, GET, POST and DELETE /mock/faults, POST /mock/health",
        ),
    }
}

fn set(shared: &Shared, faults: Vec<Fault>) -> Answer {
    let mut state = shared.state.lock();
    state.faults.set(faults);
    json(StatusCode::OK, &state.faults.active())
}

#[derive(serde::Deserialize)]
struct Health {
    status: u16,
}

enum OneOrMany {
    One(Box<Fault>),
    Many(Vec<Fault>),
}

/// By hand, because an untagged enum does not say which field is wrong.
impl<'de> serde::Deserialize<'de> for OneOrMany {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error as _;
        let value = serde_json::Value::deserialize(deserializer)?;
        if value.is_array() {
            serde_json::from_value(value)
                .map(Self::Many)
                .map_err(D::Error::custom)
        } else {
            serde_json::from_value(value)
                .map(|fault| Self::One(Box::new(fault)))
                .map_err(D::Error::custom)
        }
    }
}

async fn posted<T: serde::de::DeserializeOwned>(request: Request<Incoming>) -> Result<T, String> {
    let body = Limited::new(request.into_body(), MAX_BODY)
        .collect()
        .await
        .map_err(|error| error.to_string())?;
    serde_json::from_slice(&body.to_bytes()).map_err(|error| error.to_string())
}

fn json(status: StatusCode, value: &impl Serialize) -> Answer {
    let body = serde_json::to_vec(value).expect("figures are always representable as JSON");
    text(status, body)
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    let json = http::HeaderValue::from_static("application/json");
    answer.headers_mut().insert(CONTENT_TYPE, json);
    answer
}

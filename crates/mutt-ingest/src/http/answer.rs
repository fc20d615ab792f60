//! What senders are told: a handful of small JSON objects, written by hand.

use std::borrow::Cow;
use std::io::Write as _;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use http_body_util::Full;
use uuid::Uuid;

use crate::metrics::RejectReason;

/// The longest correlation id that is taken over from a sender, in characters.
const MAX_CORRELATION: usize = 128;

static CORRELATION_HEADER: HeaderName = HeaderName::from_static("x-correlation-id");

/// The id under which a request can be found again.
#[derive(Clone, Debug)]
pub(super) enum Correlation {
    /// The sender's: visible ASCII, not too long.
    Given(HeaderValue),
    /// Ours: a `UUIDv7`.
    Made([u8; 36]),
}

impl Correlation {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        if let Some(given) = headers.get(&CORRELATION_HEADER)
            && (1..=MAX_CORRELATION).contains(&given.len())
            && given.as_bytes().iter().all(u8::is_ascii_graphic)
        {
            return Self::Given(given.clone());
        }
        let mut text = [0; 36];
        Uuid::now_v7().hyphenated().encode_lower(&mut text);
        Self::Made(text)
    }

    pub(super) fn as_str(&self) -> &str {
        let bytes = match self {
            Self::Given(given) => given.as_bytes(),
            Self::Made(text) => &text[..],
        };
        std::str::from_utf8(bytes).expect("it is ASCII")
    }
}

/// What was queued.
#[derive(Debug)]
pub(super) struct Queued {
    /// Events waiting now.
    pub depth: u64,
    /// What became of a batch.
    pub batch: Option<BatchResult>,
    /// Of a `_bulk` request: the answers to its items, joined by commas.
    pub items: Option<Vec<u8>>,
}

/// What became of the records of a batch.
#[derive(Debug)]
pub(super) struct BatchResult {
    pub accepted: usize,
    pub rejected: usize,
    /// The first reasons, by position in the batch.
    pub errors: Vec<(usize, String)>,
}

impl Queued {
    pub(super) fn response(self, correlation: &Correlation) -> Response<Full<Bytes>> {
        let mut body = Vec::with_capacity(128);
        body.extend_from_slice(br#"{"status":"queued","#);
        if let Some(BatchResult {
            accepted,
            rejected,
            errors,
        }) = &self.batch
        {
            put(
                &mut body,
                format_args!(r#""accepted":{accepted},"rejected":{rejected},"errors":["#),
            );
            for (position, (index, message)) in errors.iter().enumerate() {
                let comma = if position == 0 { "" } else { "," };
                put(
                    &mut body,
                    format_args!(r#"{comma}{{"index":{index},"message":"#),
                );
                text(&mut body, message);
                body.push(b'}');
            }
            body.extend_from_slice(b"],");
        }
        body.extend_from_slice(br#""correlation_id":"#);
        text(&mut body, correlation.as_str());
        put(
            &mut body,
            format_args!(",\"queue_depth\":{}}}\n", self.depth),
        );
        json(StatusCode::OK, body)
    }
}

/// Why nothing was queued.
#[derive(Debug)]
pub(super) struct Failure {
    pub status: StatusCode,
    pub reason: RejectReason,
    pub message: Cow<'static, str>,
    pub retry_after: Option<Duration>,
    /// Events waiting, and the most that may.
    pub queue: Option<(u64, u64)>,
}

impl Failure {
    fn new(
        status: StatusCode,
        reason: RejectReason,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            status,
            reason,
            message: message.into(),
            retry_after: None,
            queue: None,
        }
    }

    pub(super) fn unauthorized() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, RejectReason::Auth, "Unauthorized")
    }

    pub(super) fn method() -> Self {
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            RejectReason::Request,
            "Method Not Allowed - events are sent with POST",
        )
    }

    pub(super) fn malformed(reason: RejectReason, message: String) -> Self {
        Self::new(StatusCode::BAD_REQUEST, reason, message)
    }

    pub(super) fn too_large(limit: usize) -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            RejectReason::TooLarge,
            format!(
                "the body is longer than {limit} bytes, as it came or unpacked: send smaller batches"
            ),
        )
    }

    pub(super) fn too_many(limit: usize) -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            RejectReason::TooLarge,
            format!("the batch has more than {limit} records: send smaller batches"),
        )
    }

    pub(super) fn encoding(given: &str) -> Self {
        let given: String = given.chars().take(64).collect();
        Self::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            RejectReason::Encoding,
            format!("Content-Encoding `{given}` is not known: gzip, zstd or none"),
        )
    }

    pub(super) fn incomplete_in_time() -> Self {
        Self::new(
            StatusCode::REQUEST_TIMEOUT,
            RejectReason::Incomplete,
            "the body did not arrive in time",
        )
    }

    pub(super) fn broken_off() -> Self {
        Self::malformed(RejectReason::Incomplete, "the body broke off".to_owned())
    }

    pub(super) fn internal() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            RejectReason::StoreError,
            "Internal server error",
        )
    }

    pub(super) fn unavailable(reason: RejectReason, message: &'static str, wait: Duration) -> Self {
        let failure = Self::new(StatusCode::SERVICE_UNAVAILABLE, reason, message);
        Self {
            retry_after: Some(wait),
            ..failure
        }
    }

    pub(super) fn rate_limited(wait: Duration) -> Self {
        let failure = Self::new(
            StatusCode::TOO_MANY_REQUESTS,
            RejectReason::RateLimit,
            "Too Many Requests - rate limit exceeded",
        );
        Self {
            retry_after: Some(wait),
            ..failure
        }
    }

    pub(super) fn response(self, correlation: &Correlation) -> Response<Full<Bytes>> {
        let mut body = Vec::with_capacity(256);
        body.extend_from_slice(br#"{"status":"error","message":"#);
        text(&mut body, &self.message);
        body.extend_from_slice(br#","correlation_id":"#);
        text(&mut body, correlation.as_str());
        // Whole seconds, never 0: who asks again at once is refused again.
        let wait = self
            .retry_after
            .map(|wait| wait.as_secs_f64().ceil().max(1.0));
        if let Some(wait) = wait {
            put(&mut body, format_args!(r#","retry_after":{wait}"#));
        }
        if let Some((depth, limit)) = self.queue {
            put(
                &mut body,
                format_args!(r#","queue_depth":{depth},"queue_limit":{limit}"#),
            );
        }
        body.extend_from_slice(b"}\n");
        let mut response = json(self.status, body);
        let headers = response.headers_mut();
        if let Some(wait) = wait
            && let Ok(wait) = HeaderValue::try_from(wait.to_string())
        {
            headers.insert(header::RETRY_AFTER, wait);
        }
        if self.status == StatusCode::METHOD_NOT_ALLOWED {
            headers.insert(header::ALLOW, HeaderValue::from_static("POST"));
        }
        response
    }
}

/// Tells the sender that the path it used will go, and which one stays.
pub(super) fn mark_deprecated(response: &mut Response<Full<Bytes>>) {
    let headers = response.headers_mut();
    headers.insert("x-api-deprecated", HeaderValue::from_static("true"));
    headers.insert(
        header::LINK,
        HeaderValue::from_static(r#"</api/v2/ingest>; rel="successor-version""#),
    );
}

pub(super) fn json(status: StatusCode, body: Vec<u8>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    response
}

pub(super) fn put(body: &mut Vec<u8>, what: std::fmt::Arguments<'_>) {
    body.write_fmt(what).expect("memory can be written to");
}

pub(super) fn text(body: &mut Vec<u8>, what: &str) {
    serde_json::to_writer(body, what).expect("a string is JSON");
}

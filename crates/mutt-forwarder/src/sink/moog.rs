//! The Moogsoft webhook: one alert, one POST, one answer. Options may change at any time and hold
//! for the next request; keys are read when a request is made and appear in no error and no log.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use http_body::{Body, Frame, SizeHint};
use jiff::Timestamp;
use mutt_event::EventId;
use reqwest::{Method, Request, Response, Url};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::watch;

use super::options::{Target, causes};
use super::payload::cut;
use super::{
    Call, Delivery, Fault, Identity, KeySlot, Keys, MoogOptions, Outgoing, Shape, Sink, Wire,
    render,
};
use crate::error::ForwarderError;

/// How much of an answer is kept for the dead letter, in bytes.
const BODY_START: usize = 512;
/// How much of an answer is read so that the connection can be used again, in bytes.
const BODY_READ: usize = 64 * 1024;
/// The longest time that a sink may ask to be left alone.
const MAX_RETRY_AFTER: Duration = Duration::from_hours(1);

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const API_KEY: HeaderName = HeaderName::from_static("apikey");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// The Moogsoft webhook.
pub struct MoogSink {
    target: watch::Sender<Arc<Target>>,
    changes: watch::Sender<u64>,
    keys: Arc<dyn Keys>,
    identity: Identity,
    hasher: RandomState,
}

impl MoogSink {
    /// A sink with these options.
    ///
    /// # Errors
    /// Options that cannot be used.
    pub fn new(
        options: MoogOptions,
        keys: Arc<dyn Keys>,
        identity: Identity,
    ) -> Result<Self, ForwarderError> {
        Ok(Self {
            target: watch::Sender::new(Arc::new(Target::new(options)?)),
            changes: watch::Sender::new(0),
            keys,
            identity,
            hasher: RandomState::new(),
        })
    }

    /// Other options from the next request on.
    ///
    /// # Errors
    /// Options that cannot be used; the earlier ones hold.
    pub fn configure(&self, options: MoogOptions) -> Result<(), ForwarderError> {
        self.target.send_replace(Arc::new(Target::new(options)?));
        self.changes.send_modify(|changes| *changes += 1);
        Ok(())
    }

    /// The options in force.
    pub fn options(&self) -> MoogOptions {
        self.target.borrow().options.clone()
    }

    fn key(&self, slot: KeySlot) -> Option<SecretString> {
        match slot {
            KeySlot::Current => self.keys.current(),
            KeySlot::Next => self.keys.next(),
        }
    }

    async fn exchange(
        &self,
        target: &Target,
        url: &Url,
        outgoing: &Outgoing<'_>,
        call: &Call,
    ) -> Delivery {
        let key = self.key(call.key);
        let body = render(outgoing, &target.options, &self.identity, Timestamp::now());
        let mut request = Request::new(Method::POST, url.clone());
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(IDEMPOTENCY_KEY, id_value(outgoing.event_id));
        if let Some(traceparent) = &outgoing.alert.traceparent
            && let Ok(value) = HeaderValue::from_str(traceparent)
        {
            headers.insert(TRACEPARENT, value);
        }
        if let Some(key) = &key
            && authorise(headers, target.options.shape, key).is_err()
        {
            // Only a key with line breaks or control characters gets here: it is wrong everywhere.
            return Delivery::WrongKey { status: 401 };
        }
        *request.body_mut() = Some(reqwest::Body::wrap(Payload {
            bytes: Some(body.into()),
            wire: call.wire.clone(),
        }));
        match target.client.execute(request).await {
            Ok(response) => {
                call.wire.over();
                answered(response, key.as_ref()).await
            }
            Err(error) => failed(&error, target.options.timeout),
        }
    }
}

#[async_trait]
impl Sink for MoogSink {
    fn name(&self) -> &'static str {
        "moogsoft"
    }

    fn configured(&self) -> Result<(), &'static str> {
        match self.target.borrow().url {
            Some(_) => Ok(()),
            None => Err("MOOG_WEBHOOK_URL is not set: alerts stay queued until it is"),
        }
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    fn fingerprint(&self) -> u64 {
        let keys = [self.keys.current(), self.keys.next()];
        let keys = keys
            .each_ref()
            .map(|key| key.as_ref().map(secrecy::ExposeSecret::expose_secret));
        self.hasher.hash_one((*self.changes.borrow(), keys))
    }

    fn has_key(&self, key: KeySlot) -> bool {
        self.key(key).is_some()
    }

    async fn deliver(&self, outgoing: &Outgoing<'_>, call: Call) -> Delivery {
        let target = self.target.borrow().clone();
        let delivery = match &target.url {
            Some(url) => self.exchange(&target, url, outgoing, &call).await,
            None => Delivery::Unset,
        };
        call.wire.over();
        delivery
    }

    async fn healthy(&self) -> Result<(), String> {
        self.configured()?;
        let target = self.target.borrow().clone();
        let Some(url) = &target.health_url else {
            return Ok(());
        };
        let mut request = Request::new(Method::GET, url.clone());
        // The key is the webhook's: no other host gets to see it.
        if target
            .url
            .as_ref()
            .is_some_and(|webhook| webhook.origin() == url.origin())
            && let Some(key) = self.keys.current()
        {
            let _ = authorise(request.headers_mut(), target.options.shape, &key);
        }
        match target.client.execute(request).await {
            Ok(response) if response.status().is_success() => Ok(()),
            Ok(response) => Err(format!("MOOG_HEALTH_URL answers {}", response.status())),
            Err(error) => match failed(&error, target.options.timeout) {
                Delivery::Retry { error, .. } => Err(format!("MOOG_HEALTH_URL: {error}")),
                _ => Err("MOOG_HEALTH_URL does not answer".to_owned()),
            },
        }
    }
}

fn authorise(
    headers: &mut HeaderMap,
    shape: Shape,
    key: &SecretString,
) -> Result<(), http::header::InvalidHeaderValue> {
    let (name, mut value) = match shape {
        Shape::EventsApi => (API_KEY, HeaderValue::from_str(key.expose_secret())?),
        Shape::RestLam | Shape::Legacy => (
            AUTHORIZATION,
            HeaderValue::from_str(&format!("Bearer {}", key.expose_secret()))?,
        ),
    };
    value.set_sensitive(true);
    headers.insert(name, value);
    Ok(())
}

fn id_value(id: EventId) -> HeaderValue {
    let mut buffer = [0; 36];
    HeaderValue::from_str(id.encode(&mut buffer)).expect("a UUID is a valid header value")
}

async fn answered(response: Response, key: Option<&SecretString>) -> Delivery {
    let status = response.status().as_u16();
    let after = retry_after(response.headers());
    let location = response.status().is_redirection();
    let body = body_start(response, key).await;
    let retry = |fault| Delivery::Retry {
        after,
        status: Some(status),
        fault,
        error: if body.is_empty() {
            format!("HTTP {status}")
        } else {
            format!("HTTP {status}: {body}")
        },
    };
    match status {
        200..=299 => Delivery::Delivered { status },
        401 | 403 => Delivery::WrongKey { status },
        408 => retry(Fault::Timeout),
        425 => retry(Fault::ClientError),
        429 => retry(Fault::RateLimited),
        400..=499 => Delivery::Refused {
            status,
            body_start: body,
        },
        500..=599 => retry(Fault::ServerError),
        _ => Delivery::Retry {
            after: None,
            status: Some(status),
            fault: Fault::ClientError,
            error: if location {
                format!(
                    "HTTP {status}: the sink redirects, which is not followed; correct MOOG_WEBHOOK_URL"
                )
            } else {
                format!("HTTP {status}, which is no answer to a POST; check MOOG_WEBHOOK_URL")
            },
        },
    }
}

/// The start of the answer, as one line, without the key where the sink repeats it. Reads on a
/// little so that the connection can be used again; a body that breaks off changes nothing.
async fn body_start(mut response: Response, key: Option<&SecretString>) -> String {
    let wanted = !response.status().is_success();
    let mut start = Vec::new();
    let mut read = 0;
    while read <= BODY_READ
        && let Ok(Some(chunk)) = response.chunk().await
    {
        read += chunk.len();
        // More than is kept, so that a key which straddles the cut is recognised.
        if wanted && start.len() < 2 * BODY_START {
            start.extend_from_slice(&chunk[..chunk.len().min(2 * BODY_START)]);
        }
    }
    let mut text = String::from_utf8_lossy(&start).into_owned();
    if let Some(key) = key.map(secrecy::ExposeSecret::expose_secret)
        && !key.is_empty()
    {
        text = text.replace(key, "[REDACTED]");
    }
    let line: String = text
        .chars()
        .map(|char| if char.is_control() { ' ' } else { char })
        .collect();
    cut(line.trim(), BODY_START).to_owned()
}

/// `Retry-After`, in seconds or as an HTTP date; bounded.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let after = if let Ok(seconds) = text.parse::<u64>() {
        Duration::from_secs(seconds)
    } else {
        let at = jiff::fmt::rfc2822::DateTimeParser::new()
            .parse_timestamp(text)
            .ok()?;
        Duration::try_from(at.duration_since(Timestamp::now())).unwrap_or_default()
    };
    Some(after.min(MAX_RETRY_AFTER))
}

fn failed(error: &reqwest::Error, timeout: Duration) -> Delivery {
    let (fault, error) = if error.is_timeout() {
        (
            Fault::Timeout,
            format!("no answer within {} s", timeout.as_secs_f64()),
        )
    } else {
        (Fault::Connection, causes(error))
    };
    Delivery::Retry {
        after: None,
        status: None,
        fault,
        error,
    }
}

/// The request's body; tells when it was handed to the connection.
struct Payload {
    bytes: Option<Bytes>,
    wire: Wire,
}

impl Body for Payload {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let bytes = self.bytes.take();
        if bytes.is_some() {
            self.wire.written();
        }
        Poll::Ready(bytes.map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date_and_bounded() {
        let after = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, HeaderValue::from_str(text).unwrap());
            retry_after(&headers)
        };
        assert_eq!(after("7"), Some(Duration::from_secs(7)));
        assert_eq!(after("99999999"), Some(MAX_RETRY_AFTER));
        assert_eq!(
            after("Wed, 21 Oct 2015 07:28:00 GMT"),
            Some(Duration::ZERO),
            "in the past"
        );
        assert_eq!(
            after("Tue, 31 Dec 2999 23:59:59 GMT"),
            Some(MAX_RETRY_AFTER)
        );
        assert_eq!(after("soon"), None);
    }
}

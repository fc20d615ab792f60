//! What clients of Elasticsearch ask for besides `_bulk`, and how they are answered: their probes at
//! start-up, and failures in the shape that their retries are written for.
//!
//! MUTT holds no indices. What a client sets up (templates, lifecycle policies, pipelines, data
//! streams) is said to be there already, so that shippers get on with sending.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use http_body::Frame;
use http_body_util::Full;

use super::answer::{Correlation, Failure, Queued, json, put, text};
use crate::metrics::RejectReason;

/// The version that clients are told: those of today check that it is not older than they can use.
const VERSION: &str = "8.19.0";

/// The longest name of an index, in bytes; Elasticsearch's own limit. Every answer repeats it.
const MAX_INDEX: usize = 255;

/// Where items go that name no index.
const DEFAULT_INDEX: &str = "mutt";

/// What a request of such a client is about.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ask {
    /// Events, with the index that the path names.
    Bulk { index: String },
    /// Whether events can be sent.
    Health,
    /// Something that is answered without looking at anything.
    Probe(&'static str),
    /// Who is there.
    Root,
}

/// Whether a request is one of Elasticsearch's, and which.
pub(super) fn ask(method: &Method, path: &str, headers: &HeaderMap) -> Option<Ask> {
    if path == "/" {
        let reads = *method == Method::GET || *method == Method::HEAD;
        return (reads && is_elastic(headers)).then_some(Ask::Root);
    }
    if let Some(before) = path.strip_suffix("/_bulk") {
        let before = before.strip_prefix('/').unwrap_or(before);
        // Clients of old put a document type behind the index.
        let mut parts = before.split('/');
        let index = parts.next().unwrap_or_default();
        let fits = parts.count() <= 1 && index.len() <= MAX_INDEX && !index.starts_with('_');
        return fits.then(|| Ask::Bulk {
            index: if index.is_empty() {
                DEFAULT_INDEX
            } else {
                index
            }
            .to_owned(),
        });
    }
    let reads = *method == Method::GET || *method == Method::HEAD;
    if reads && (path.starts_with("/_cat/") || path.starts_with("/_cluster/")) {
        return Some(Ask::Health);
    }
    probe(method, path).map(Ask::Probe)
}

fn probe(method: &Method, path: &str) -> Option<&'static str> {
    let first = path.strip_prefix("/_")?.split('/').next()?;
    let reads = *method == Method::GET || *method == Method::HEAD;
    Some(match first {
        "license" if reads => LICENSE,
        "xpack" if reads => XPACK,
        // No address to go to instead: clients stay with the one they have.
        "nodes" if reads => {
            r#"{"_nodes":{"total":0,"successful":0,"failed":0},"cluster_name":"mutt","nodes":{}}"#
        }
        "template" | "index_template" | "component_template" | "ilm" | "ingest" | "data_stream"
        | "alias" => {
            if reads {
                "{}"
            } else if *method == Method::PUT || *method == Method::POST {
                r#"{"acknowledged":true}"#
            } else {
                return None;
            }
        }
        _ => return None,
    })
}

const LICENSE: &str = r#"{"license":{"status":"active","uid":"00000000-0000-0000-0000-000000000000","type":"basic","issue_date":"2020-01-01T00:00:00.000Z","issue_date_in_millis":1577836800000,"max_nodes":1000,"max_resource_units":null,"issued_to":"mutt","issuer":"mutt","start_date_in_millis":-1}}"#;
const XPACK: &str = r#"{"license":{"uid":"00000000-0000-0000-0000-000000000000","type":"basic","mode":"basic","status":"active"},"features":{"ilm":{"available":false,"enabled":false},"security":{"available":true,"enabled":true}},"tagline":"You know, for X"}"#;
/// The answer to [`Ask::Health`] where all is well.
pub(super) const HEALTH: &str = r#"{"cluster_name":"mutt","status":"green","timed_out":false,"number_of_nodes":1,"number_of_data_nodes":1,"active_primary_shards":0,"active_shards":0,"relocating_shards":0,"initializing_shards":0,"unassigned_shards":0,"active_shards_percent_as_number":100.0}"#;

/// Whether this is a client of Elasticsearch, by what it says about itself. People and monitoring who
/// look at `/` see what MUTT is.
fn is_elastic(headers: &HeaderMap) -> bool {
    const PRODUCTS: [&str; 6] = [
        "elastic", "logstash", "beat", "vector/", "fluent", "rsyslog",
    ];
    let says = |name: header::HeaderName, words: &[&str]| {
        headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .map(str::to_ascii_lowercase)
            .is_some_and(|value| words.iter().any(|word| value.contains(word)))
    };
    headers.contains_key(header::AUTHORIZATION)
        || headers.contains_key("x-elastic-client-meta")
        || says(header::USER_AGENT, &PRODUCTS)
        || says(header::ACCEPT, &["elasticsearch"])
}

/// The answer to [`Ask::Root`]: what Elasticsearch says there, and that it is MUTT.
pub(super) fn root() -> Response<Full<Bytes>> {
    let mut body = Vec::with_capacity(512);
    put(
        &mut body,
        format_args!(
            r#"{{"name":"mutt","cluster_name":"mutt","cluster_uuid":"mutt","version":{{"number":"{VERSION}","build_flavor":"default","build_type":"mutt-{}","build_hash":"unknown","build_date":"2026-01-01T00:00:00.000Z","build_snapshot":false,"lucene_version":"9.12.2","minimum_wire_compatibility_version":"7.17.0","minimum_index_compatibility_version":"7.0.0"}},"tagline":"You Know, for Search"}}"#,
            env!("CARGO_PKG_VERSION"),
        ),
    );
    json(StatusCode::OK, body)
}

/// The answer to [`Ask::Probe`].
pub(super) fn page(text: &'static str) -> Response<Full<Bytes>> {
    json(StatusCode::OK, text.as_bytes().to_vec())
}

/// Marks an answer as Elasticsearch's: official clients accept no other.
pub(super) fn mark<B>(response: &mut Response<B>) {
    response.headers_mut().insert(
        "x-elastic-product",
        HeaderValue::from_static("Elasticsearch"),
    );
}

/// The answer to a `_bulk` request of which something was queued or kept.
pub(super) fn taken(queued: Queued, took_ms: u128) -> Response<Full<Bytes>> {
    let items = queued.items.unwrap_or_default();
    let errors = queued.batch.is_some_and(|batch| batch.rejected > 0);
    let mut body = Vec::with_capacity(items.len() + 64);
    put(
        &mut body,
        format_args!(r#"{{"took":{took_ms},"errors":{errors},"items":["#),
    );
    body.extend_from_slice(&items);
    body.extend_from_slice(b"]}\n");
    json(StatusCode::OK, body)
}

/// The answer to a request of which nothing was taken.
pub(super) fn refused(failure: Failure, correlation: &Correlation) -> Response<Full<Bytes>> {
    let kind = match (failure.status, failure.reason) {
        (StatusCode::UNAUTHORIZED, _) => "security_exception",
        (StatusCode::SERVICE_UNAVAILABLE, RejectReason::StoreError) => "cluster_block_exception",
        (StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS, _) => {
            "es_rejected_execution_exception"
        }
        (StatusCode::PAYLOAD_TOO_LARGE, _) => "content_too_long_exception",
        (StatusCode::REQUEST_TIMEOUT, _) => "timeout_exception",
        (StatusCode::INTERNAL_SERVER_ERROR, _) => "exception",
        _ => "illegal_argument_exception",
    };
    let status = failure.status.as_u16();
    let mut why = Vec::with_capacity(failure.message.len() + 2);
    text(&mut why, &failure.message);
    let mut body = Vec::with_capacity(2 * why.len() + 192);
    for part in [
        format!(r#"{{"error":{{"root_cause":[{{"type":"{kind}","reason":"#).as_bytes(),
        &why,
        format!(r#"}}],"type":"{kind}","reason":"#).as_bytes(),
        &why,
        format!(r#"}},"status":{status},"correlation_id":"#).as_bytes(),
    ] {
        body.extend_from_slice(part);
    }
    text(&mut body, correlation.as_str());
    body.extend_from_slice(b"}\n");
    // Status, Retry-After and Allow are those of every other refusal.
    let (head, _) = failure.response(correlation).into_parts();
    let mut response = Response::from_parts(head, Full::new(Bytes::from(body)));
    if response.status() == StatusCode::UNAUTHORIZED {
        let headers = response.headers_mut();
        headers.insert(
            header::WWW_AUTHENTICATE,
            HeaderValue::from_static("Basic realm=\"mutt\", charset=\"UTF-8\""),
        );
        headers.append(header::WWW_AUTHENTICATE, HeaderValue::from_static("ApiKey"));
    }
    response
}

/// Whether a refusal must not be answered to its end. rsyslog's omelasticsearch takes every complete
/// answer to a batch for the end of the matter, whatever its status says, and drops the batch; after
/// an answer that breaks off it waits and sends the batch again. It is the client that does not say
/// who it is.
pub(super) fn must_break_off(status: StatusCode, headers: &HeaderMap) -> bool {
    let may_succeed_later = matches!(
        status,
        StatusCode::UNAUTHORIZED
            | StatusCode::REQUEST_TIMEOUT
            | StatusCode::TOO_MANY_REQUESTS
            | StatusCode::INTERNAL_SERVER_ERROR
            | StatusCode::SERVICE_UNAVAILABLE
    );
    may_succeed_later && !headers.contains_key(header::USER_AGENT)
}

/// An answer that breaks off behind its text.
pub(super) fn broken_off(response: Response<Full<Bytes>>) -> Response<axum::body::Body> {
    response.map(|text| axum::body::Body::new(BreaksOff(Some(text))))
}

struct BreaksOff(Option<Full<Bytes>>);

impl http_body::Body for BreaksOff {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if let Some(text) = &mut self.0 {
            match Pin::new(text).poll_frame(context) {
                Poll::Ready(Some(Ok(frame))) => return Poll::Ready(Some(Ok(frame))),
                Poll::Ready(None) => self.0 = None,
                Poll::Ready(Some(Err(never))) => match never {},
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(Some(Err(io::Error::other("refused, to be sent again"))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(method: &str, path: &str) -> Option<Ask> {
        ask(&method.parse().unwrap(), path, &HeaderMap::new())
    }

    #[test]
    fn paths_are_told_apart() {
        let bulk = |index: &str| {
            Some(Ask::Bulk {
                index: index.to_owned(),
            })
        };
        assert_eq!(asked("POST", "/_bulk"), bulk("mutt"));
        assert_eq!(asked("PUT", "/logs-a/_bulk"), bulk("logs-a"));
        assert_eq!(asked("POST", "/logs/_doc/_bulk"), bulk("logs"));
        for path in [
            "/a/b/c/_bulk",
            "/_all/_bulk",
            "/ingest",
            "/health",
            "/",
            "/_search",
            "/bulk",
        ] {
            assert_eq!(asked("POST", path), None, "{path}");
        }
        assert_eq!(asked("POST", &format!("/{}/_bulk", "x".repeat(256))), None);
        assert!(matches!(asked("GET", "/_license"), Some(Ask::Probe(_))));
        assert_eq!(asked("DELETE", "/_index_template/x"), None);
    }

    #[test]
    fn every_page_is_json() {
        for path in [
            "/_license",
            "/_xpack",
            "/_nodes/http",
            "/_index_template/filebeat-9",
            "/_ilm/policy/filebeat",
        ] {
            let Some(Ask::Probe(page)) = asked("GET", path) else {
                panic!("{path}");
            };
            serde_json::from_str::<serde_json::Value>(page).expect(path);
        }
        serde_json::from_str::<serde_json::Value>(HEALTH).unwrap();
        assert_eq!(asked("GET", "/_cat/health"), Some(Ask::Health));
    }

    #[test]
    fn who_looks_at_the_root_is_told_apart() {
        for (name, value, expected) in [
            ("user-agent", "curl/8.0", false),
            ("user-agent", "Mozilla/5.0", false),
            ("x-api-key", "k", false),
            ("user-agent", "Elastic-filebeat/9.1.0 (linux; amd64)", true),
            ("user-agent", "Vector/0.50.0 (x86_64)", true),
            ("authorization", "Basic eDp5", true),
            (
                "accept",
                "application/vnd.elasticsearch+json; compatible-with=9",
                true,
            ),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(name, value.parse().unwrap());
            let found = ask(&Method::GET, "/", &headers);
            assert_eq!(found.is_some(), expected, "{name}: {value}");
        }
    }
}

//! A server with its engine, and a client that speaks to it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use mutt_engine::{AuditRow, Decision, Dynamic, Engine, Outcome};
use mutt_event::Batch;
use mutt_http::{Keys, Limits, Server, WithPeer};
use mutt_web::{ApiOptions, LoginLinks, SecretState, StaticConfig, StaticSetting, WebMetrics};
use reqwest::{Method, StatusCode};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

pub const KEY: &str = "the first key";
/// Longer than anything takes on a slow machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub struct World {
    pub engine: Arc<dyn Engine>,
    pub base: String,
    pub http: reqwest::Client,
    /// Those of the secrets.
    #[allow(dead_code, reason = "not every test binary replaces them")]
    pub keys: Arc<Keys>,
    #[allow(dead_code, reason = "not every test binary signs in")]
    pub links: LoginLinks,
    stop: CancellationToken,
    #[allow(dead_code, reason = "most tests only keep it")]
    pub store: crate::store::Store,
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// An answer, read whole.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: reqwest::header::HeaderMap,
    pub text: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text)
            .unwrap_or_else(|error| panic!("{error} in {}: {}", self.status, self.text))
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    /// The JSON of an answer with this status.
    #[track_caller]
    pub fn is(self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        self.json()
    }

    /// Checks that it is a problem with this status; gives its fields.
    #[track_caller]
    pub fn problem(self, status: u16) -> Vec<String> {
        assert_eq!(
            self.header("content-type"),
            "application/problem+json",
            "{self:?}"
        );
        let json = self.is(status);
        assert_eq!(json["status"], status);
        assert!(
            json["title"].is_string() && json["detail"].is_string(),
            "{json}"
        );
        assert!(json["correlation_id"].is_string(), "{json}");
        let errors = json["errors"].as_array().cloned().unwrap_or_default();
        errors
            .iter()
            .map(|error| error["field"].as_str().unwrap().to_owned())
            .collect()
    }
}

fn serve(
    engine: &Arc<dyn Engine>,
    keys: &Arc<Keys>,
    links: &LoginLinks,
    stop: &CancellationToken,
) -> String {
    let mut registry = prometheus_client::registry::Registry::default();
    let options = ApiOptions {
        engine: engine.clone(),
        keys: keys.clone(),
        links: links.clone(),
        cookie_secure: false,
        base: Dynamic::default(),
        remediation_backoff: Duration::from_mins(1),
        pod: "test-1".to_owned(),
        statics: Arc::new(statics),
        metrics: WebMetrics::register(&mut registry),
        prometheus: None,
        version: "3.0.0",
        stop: stop.clone(),
    };
    let router = mutt_http::fallbacks(axum::Router::new().merge(mutt_web::router(options)));
    let server = Server::bind("127.0.0.1:0".parse().unwrap(), Limits::default()).unwrap();
    let base = format!("http://{}", server.local_addr());
    tokio::spawn(server.run(WithPeer(router), stop.clone()));
    base
}

impl World {
    pub async fn new() -> Self {
        let (engine, store) = crate::store::open().await;
        let keys = Arc::new(Keys::new([KEY]));
        let links = LoginLinks::default();
        let stop = CancellationToken::new();
        let base = serve(&engine, &keys, &links, &stop);
        Self {
            engine,
            base,
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
            keys,
            links,
            stop,
            store,
        }
    }

    /// Starts one more server on the same engine; gives its address.
    #[allow(dead_code, reason = "not every test binary needs two")]
    pub fn another_pod(&self) -> String {
        serve(&self.engine, &self.keys, &LoginLinks::default(), &self.stop)
    }

    pub async fn send(&self, request: reqwest::RequestBuilder) -> Answer {
        let answer = request.timeout(PATIENCE).send().await.unwrap();
        Answer {
            status: answer.status(),
            headers: answer.headers().clone(),
            text: answer.text().await.unwrap(),
        }
    }

    pub fn request(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        self.http
            .request(method, format!("{}{path}", self.base))
            .header("x-api-key", KEY)
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(self.request("GET", path)).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.send(self.request("DELETE", path)).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.send(self.request("POST", path).json(&body)).await
    }

    pub async fn put(&self, path: &str, body: Value) -> Answer {
        self.send(self.request("PUT", path).json(&body)).await
    }

    /// A request with this key.
    #[allow(dead_code, reason = "not every test binary asks with other keys")]
    pub async fn with_key(&self, key: &str, method: &str, path: &str, body: Value) -> Answer {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let request = self.http.request(method, format!("{}{path}", self.base));
        self.send(request.header("x-api-key", key).json(&body))
            .await
    }

    /// Makes a rule; gives its number.
    pub async fn rule(&self, text: &str) -> i64 {
        self.post("/api/v2/rules", draft(text)).await.is(201)["id"]
            .as_i64()
            .unwrap()
    }

    /// Takes events in and decides them all; `adjust` makes each audit row. Gives the rows.
    pub async fn decide(
        &self,
        messages: &[&str],
        adjust: impl Fn(usize, &mut AuditRow),
    ) -> Vec<AuditRow> {
        let now = jiff::Timestamp::now();
        let elements: Vec<Vec<u8>> = messages
            .iter()
            .map(|message| {
                let line = format!("<134>1 2026-11-21T10:00:00Z router1 app - - - {message}");
                let mut element = Vec::new();
                let peer = "192.0.2.1".parse().unwrap();
                let origin = mutt_event::syslog::Origin::new(peer, now, 65_536);
                mutt_event::syslog::parse_into(line.as_bytes(), &origin, &mut element);
                element
            })
            .collect();
        let batch: Batch = elements.iter().map(Vec::as_slice).collect();
        self.engine.enqueue(batch).await.unwrap();
        let claim = self
            .engine
            .claim_events(&Arc::from("test"), elements.len(), PATIENCE)
            .await
            .unwrap()
            .unwrap();
        let audit: Vec<_> = elements
            .iter()
            .enumerate()
            .map(|(index, element)| {
                let view = mutt_event::json::view(element).unwrap();
                let mut row = AuditRow {
                    index: u32::try_from(index).unwrap(),
                    event_id: view.event_id,
                    event_timestamp: view.timestamp,
                    received_at: view.received_at,
                    hostname: view.hostname.as_ref().into(),
                    source: Some("syslog".into()),
                    syslog_severity: Some(6),
                    trap_oid: None,
                    environment: "production",
                    matched_rule_id: Some(1),
                    rule_version: Some(1),
                    handling_decision: "Page_only",
                    team_assignment: Some("Net".into()),
                    forwarded_to_moog: false,
                    correlation_id: "corr".into(),
                };
                adjust(index, &mut row);
                row
            })
            .collect();
        let outcome = Outcome {
            audit: audit.clone(),
            ..Outcome::default()
        };
        self.engine
            .decide(Arc::new(Decision { claim, outcome }))
            .await
            .unwrap();
        audit
    }

    /// Asks until the answer is as wanted.
    pub async fn until(&self, path: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let start = Instant::now();
        loop {
            let json = self.get(path).await.is(200);
            if wanted(&json) {
                return json;
            }
            assert!(start.elapsed() < PATIENCE, "{path} stays at {json}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// As a process would say it.
fn statics() -> StaticConfig {
    StaticConfig {
        settings: vec![StaticSetting {
            name: "MOOG_RATE_LIMIT",
            group: "Delivery",
            value: "50".to_owned(),
            origin: "file",
            file: Some("/etc/mutt/mutt.toml".to_owned()),
            default: "50",
            allowed: "a whole number",
            min: Some(1.0),
            max: Some(1_000_000.0),
            unit: "requests",
            description: "The most requests.",
            dynamic_key: Some("moog_rate_limit"),
            restart_needed: false,
        }],
        secrets: vec![SecretState {
            name: "MOOG_API_KEY",
            set: true,
            values: 1,
            source: Some("environment".to_owned()),
        }],
    }
}

/// A rule to be written.
pub fn draft(text: &str) -> Value {
    serde_json::json!({
        "match_string": text, "prod_handling": "Page_only", "dev_handling": "Ignore",
        "team_assignment": "Net",
    })
}

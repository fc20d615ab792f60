//! The client side of the API: what live commands speak to.

use std::time::Duration;

use clap::Args;
use mutt_config::Secret;
use mutt_config::secrets::{ExposeSecret as _, SecretString};
use mutt_config::settings::Settings;
use serde::de::DeserializeOwned;

use crate::context::Context;
use crate::exit::{Failure, Outcome};

/// Where the API is.
#[derive(Clone, Debug, Args)]
pub struct Target {
    /// Address of the API [default: this machine, port `SERVER_PORT_WEBUI`]
    #[arg(long, env = "MUTT_URL", value_name = "URL")]
    pub url: Option<String>,
}

/// Where the API that these settings start is reached on this machine.
pub fn local_url(settings: &Settings) -> String {
    let host = match settings.bind_address {
        addr if addr.is_unspecified() => "127.0.0.1".to_owned(),
        addr if addr.is_ipv6() => format!("[{addr}]"),
        addr => addr.to_string(),
    };
    format!("http://{host}:{}", settings.server_port_webui)
}

/// A client of one API.
#[derive(Debug)]
pub struct Api {
    base: String,
    key: Option<SecretString>,
    http: reqwest::Client,
}

impl Api {
    /// The API that `target` names, else the one that these settings start.
    pub async fn new(context: &Context, target: &Target) -> Outcome<Self> {
        let base = target
            .url
            .clone()
            .unwrap_or_else(|| local_url(&context.loaded.settings));
        let http = reqwest::Client::builder()
            .connect_timeout(Duration::from_secs(5))
            .build()
            .map_err(Failure::failed)?;
        Ok(Self {
            base: base.trim_end_matches('/').to_owned(),
            key: context.key(Secret::WebuiApiKey).await?,
            http,
        })
    }

    /// The API's address.
    pub fn base(&self) -> &str {
        &self.base
    }

    async fn request(&self, path: &str) -> Outcome<reqwest::Response> {
        self.answer(self.http.get(format!("{}{path}", self.base)), path)
            .await
    }

    async fn answer(
        &self,
        mut request: reqwest::RequestBuilder,
        path: &str,
    ) -> Outcome<reqwest::Response> {
        if let Some(key) = &self.key {
            request = request.header("x-api-key", key.expose_secret());
        }
        let answer = request.send().await.map_err(|_| {
            Failure::failed(format!(
                "nothing answers at {}. Is MUTT running (`mutt serve`, `mutt demo`)? Name another \
                 address with --url, its data with --data-dir.",
                self.base
            ))
        })?;
        match answer.status().as_u16() {
            200..=299 => Ok(answer),
            403 => Err(Failure::denied(why(answer).await)),
            401 => Err(Failure::denied(format!(
                "{} does not accept the key; set WEBUI_API_KEY, or name the server's data \
                 directory with --data-dir",
                self.base
            ))),
            status => {
                let why = why(answer).await;
                let text = format!("{}{path} answered {status}: {why}", self.base);
                Err(match status {
                    // What was asked for is wrong, and is said.
                    400 | 404 | 409 => Failure::usage(why),
                    _ => Failure::failed(text),
                })
            }
        }
    }

    /// Reads a JSON document.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Outcome<T> {
        let answer = tokio::time::timeout(Duration::from_secs(10), self.request(path))
            .await
            .map_err(|_| Failure::failed(format!("{} does not answer within 10 s", self.base)))??;
        answer
            .json()
            .await
            .map_err(|error| Failure::failed(format!("{path}: {error}")))
    }

    /// Sends a JSON document, or none, and reads the one that is answered.
    pub async fn send<T: DeserializeOwned>(
        &self,
        method: reqwest::Method,
        path: &str,
        body: &serde_json::Value,
    ) -> Outcome<T> {
        let request = self
            .http
            .request(method, format!("{}{path}", self.base))
            .json(body);
        // A selection of a long queue is counted before it is answered.
        let answer = tokio::time::timeout(Duration::from_secs(35), self.answer(request, path))
            .await
            .map_err(|_| Failure::failed(format!("{} does not answer within 35 s", self.base)))??;
        answer
            .json()
            .await
            .map_err(|error| Failure::failed(format!("{path}: {error}")))
    }

    /// Opens a stream of server-sent events.
    pub async fn stream(&self, path: &str) -> Outcome<Stream> {
        Ok(Stream {
            answer: self.request(path).await?,
            buffer: Vec::new(),
        })
    }
}

/// Why something was not done, as the API says it.
async fn why(answer: reqwest::Response) -> String {
    let status = answer.status();
    let problem: serde_json::Value = answer.json().await.unwrap_or_default();
    ["detail", "error", "message"]
        .into_iter()
        .find_map(|name| problem[name].as_str())
        .map_or_else(|| status.to_string(), str::to_owned)
}

/// Server-sent events, one at a time.
#[derive(Debug)]
pub struct Stream {
    answer: reqwest::Response,
    buffer: Vec<u8>,
}

impl Stream {
    /// The data of the next event; `None` when the server ended the stream.
    pub async fn next(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.buffer.windows(2).position(|pair| pair == b"\n\n") {
                let event: Vec<u8> = self.buffer.drain(..end + 2).collect();
                let text = String::from_utf8_lossy(&event);
                let data: Vec<&str> = text
                    .lines()
                    .filter_map(|line| line.strip_prefix("data:"))
                    .map(str::trim_start)
                    .collect();
                if data.is_empty() {
                    continue;
                }
                return Some(data.join("\n"));
            }
            let chunk = self.answer.chunk().await.ok()??;
            self.buffer.extend_from_slice(&chunk);
        }
    }
}

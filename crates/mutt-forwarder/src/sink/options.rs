//! Where and how the Moogsoft webhook is called, checked before it is taken, with the HTTP client
//! that fits. No message holds an address or a key.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::{Client, Url};

use super::{SeverityTable, Shape};
use crate::error::ForwarderError;

/// Who sends: `agent` and `agent_location`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// `MUTT <version>`.
    pub agent: String,
    /// The pod's name.
    pub pod: String,
}

impl Identity {
    /// This version, in this pod.
    pub fn new(pod: impl Into<String>) -> Self {
        Self {
            agent: format!("MUTT {}", env!("CARGO_PKG_VERSION")),
            pod: pod.into(),
        }
    }
}

/// Where and how to send (`MOOG_*`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MoogOptions {
    /// `MOOG_WEBHOOK_URL`, http or https; `None`: nothing is sent.
    pub url: Option<String>,
    /// `MOOG_PAYLOAD`.
    pub shape: Shape,
    /// `MOOG_TIMEOUT`: for connecting, sending and the answer together.
    pub timeout: Duration,
    /// `MOOG_TLS_CA_CERT`: the only authorities to trust, as PEM; read when options are set.
    pub ca: Option<PathBuf>,
    /// `MOOG_HEALTH_URL`.
    pub health_url: Option<String>,
    /// The Events API's name of the deduplication key.
    pub dedupe_field: String,
    /// The Events API's name of the list of services.
    pub service_field: String,
    /// Severities on Moogsoft's scale.
    pub severities: SeverityTable,
}

impl Default for MoogOptions {
    fn default() -> Self {
        Self {
            url: None,
            shape: Shape::default(),
            timeout: Duration::from_secs(10),
            ca: None,
            health_url: None,
            dedupe_field: "deduplication_key".to_owned(),
            service_field: "services".to_owned(),
            severities: SeverityTable::default(),
        }
    }
}

/// Options that were checked, with the client made for them.
pub(super) struct Target {
    pub(super) options: MoogOptions,
    pub(super) client: Client,
    pub(super) url: Option<Url>,
    pub(super) health_url: Option<Url>,
}

impl Target {
    pub(super) fn new(mut options: MoogOptions) -> Result<Self, ForwarderError> {
        options.severities = options.severities.checked()?;
        let url = checked_url("MOOG_WEBHOOK_URL", options.url.as_deref())?;
        let health_url = checked_url("MOOG_HEALTH_URL", options.health_url.as_deref())?;
        let urls = [url.as_ref(), health_url.as_ref()];
        let mut client = Client::builder()
            .timeout(options.timeout)
            // A POST that is redirected would arrive as a GET, or show the key to another host.
            .redirect(reqwest::redirect::Policy::none())
            // Attempts are counted and limited one by one; nobody may add some unseen.
            .retry(reqwest::retry::never())
            .tcp_keepalive(Duration::from_secs(30))
            .pool_idle_timeout(Duration::from_mins(1))
            .user_agent(concat!("MUTT/", env!("CARGO_PKG_VERSION")));
        if urls.into_iter().flatten().all(is_loopback) {
            client = client.no_proxy();
        }
        let ca = options.ca.as_deref().map(read_ca).transpose()?;
        if let Some(certificates) = ca {
            client = client.tls_certs_only(certificates);
        } else if urls.into_iter().flatten().all(|url| url.scheme() == "http") {
            // Nothing to verify: a system without any authority is no obstacle.
            client = client.tls_certs_only([]);
        }
        let client = client
            .build()
            .map_err(|error| ForwarderError::Client(causes(&error)))?;
        Ok(Self {
            options,
            client,
            url,
            health_url,
        })
    }
}

fn checked_url(name: &'static str, text: Option<&str>) -> Result<Option<Url>, ForwarderError> {
    let Some(text) = text.map(str::trim).filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let wrong = |why: &str| ForwarderError::Url {
        name,
        why: why.to_owned(),
    };
    let url = Url::parse(text).map_err(|error| wrong(&error.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(wrong("it must begin with http:// or https://"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(wrong(
            "it must not hold a user name or password; give the key in MOOG_API_KEY",
        ));
    }
    Ok(Some(url))
}

fn is_loopback(url: &Url) -> bool {
    match url.host_str() {
        Some("localhost") => true,
        Some(host) => host
            .trim_matches(['[', ']'])
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback()),
        None => false,
    }
}

fn read_ca(path: &Path) -> Result<Vec<reqwest::Certificate>, ForwarderError> {
    let wrong = |why: String| ForwarderError::Ca {
        path: path.to_owned(),
        why,
    };
    let pem = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
    let certificates =
        reqwest::Certificate::from_pem_bundle(&pem).map_err(|error| wrong(causes(&error)))?;
    if certificates.is_empty() {
        return Err(wrong("it holds no certificate".to_owned()));
    }
    Ok(certificates)
}

/// An error with its causes, without the address (which may hold a token).
pub(super) fn causes(error: &reqwest::Error) -> String {
    let mut text = if error.is_connect() {
        "no connection".to_owned()
    } else {
        String::new()
    };
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        let _ = write!(text, "{}{error}", if text.is_empty() { "" } else { ": " });
        cause = error.source();
    }
    if text.is_empty() {
        "the request failed".to_owned()
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_checked_and_never_repeated() {
        let refuse = |url: &str| {
            let options = MoogOptions {
                url: Some(url.to_owned()),
                ..MoogOptions::default()
            };
            Target::new(options).err().map(|error| error.to_string())
        };
        assert_eq!(refuse("http://127.0.0.1:1/x"), None);
        assert_eq!(refuse(" "), None, "blank is not set");
        assert!(refuse("ftp://x").unwrap().contains("http:// or https://"));
        let error = refuse("https://user:s3cret@moog").unwrap();
        assert!(
            error.contains("MOOG_API_KEY") && !error.contains("s3cret"),
            "{error}"
        );
        let ca = Some("/nonexistent/ca.pem".into());
        let error = Target::new(MoogOptions {
            ca,
            ..MoogOptions::default()
        })
        .err()
        .unwrap();
        assert!(
            error
                .to_string()
                .contains("MOOG_TLS_CA_CERT names /nonexistent/ca.pem")
        );
    }
}

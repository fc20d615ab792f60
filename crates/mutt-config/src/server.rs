//! Where the servers of the distributed engine are and how they are reached.
//!
//! Knows the shapes of addresses, nothing of connections. Passwords never stay in a value of this
//! module: one that stands in `REDIS_URL` is a secret and is taken from there by
//! [`secrets`](crate::secrets).

use std::fmt;

use percent_encoding::percent_decode_str;
use reqwest::Url;
use secrecy::SecretString;

use crate::settings::Settings;
use crate::value::{Choice, Value};

/// The port of Sentinels that name none.
const SENTINEL_PORT: u16 = 26_379;
/// The port of a `REDIS_URL` that names none.
const REDIS_PORT: u16 = 6379;

/// A port to connect to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Port(pub u16);

impl Value for Port {
    const ALLOWED: &'static str = "a port from 1 to 65535";

    fn parse(text: &str) -> Result<Self, String> {
        port(text).map(Self).ok_or_else(String::new)
    }
}

fn port(text: &str) -> Option<u16> {
    text.parse().ok().filter(|&port| port != 0)
}

/// A server: a host name or address, perhaps with a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// A name, an IPv4 or IPv6 address without brackets, or the directory of a Unix socket.
    pub host: String,
    /// The port, where it was named.
    pub port: Option<u16>,
}

impl Endpoint {
    /// The port, or this one.
    pub fn port_or(&self, port: Port) -> u16 {
        self.port.unwrap_or(port.0)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.port, self.host.contains(':')) {
            (Some(port), true) => write!(f, "[{}]:{port}", self.host),
            (Some(port), false) => write!(f, "{}:{port}", self.host),
            (None, _) => f.write_str(&self.host),
        }
    }
}

impl Value for Endpoint {
    const ALLOWED: &'static str = "a host, or host:port";

    fn parse(text: &str) -> Result<Self, String> {
        let refused = || Err(String::new());
        if text.starts_with('/') {
            return Ok(Self {
                host: text.to_owned(),
                port: None,
            });
        }
        let (host, port_text) = if let Some(rest) = text.strip_prefix('[') {
            match rest.split_once(']') {
                Some((host, "")) => (host, None),
                Some((host, rest)) => match rest.strip_prefix(':') {
                    Some(port) => (host, Some(port)),
                    None => return refused(),
                },
                None => return refused(),
            }
        } else {
            match text.split_once(':') {
                // More than one colon without brackets is an IPv6 address.
                Some((_, rest)) if rest.contains(':') => (text, None),
                Some((host, port)) => (host, Some(port)),
                None => (text, None),
            }
        };
        let strange = |c: char| c.is_whitespace() || matches!(c, '/' | '@' | ',' | '?' | '#');
        if host.is_empty() || host.contains(strange) {
            return refused();
        }
        if host.contains(':') && host.parse::<std::net::Ipv6Addr>().is_err() {
            return refused();
        }
        let port = match port_text {
            Some(text) => match port(text) {
                Some(port) => Some(port),
                None => return refused(),
            },
            None => None,
        };
        Ok(Self {
            host: host.to_owned(),
            port,
        })
    }
}

/// Several, separated by commas; an empty text is none.
impl Value for Vec<Endpoint> {
    const ALLOWED: &'static str = "hosts, each perhaps with :port, separated by commas";

    fn parse(text: &str) -> Result<Self, String> {
        text.split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty())
            .map(Endpoint::parse)
            .collect()
    }
}

/// What `REDIS_URL` says, without the password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedisUrl {
    /// `rediss://`.
    pub tls: bool,
    /// The server.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The number of the database, where it is named.
    pub db: Option<u64>,
    /// The user, where one is named.
    pub user: Option<String>,
}

impl Value for RedisUrl {
    const ALLOWED: &'static str = "redis://host:port/db, or rediss:// for TLS";

    fn parse(text: &str) -> Result<Self, String> {
        let url = Url::parse(text).map_err(|error| error.to_string())?;
        let tls = match url.scheme() {
            "redis" | "valkey" => false,
            "rediss" | "valkeys" => true,
            _ => return Err("it does not begin with redis:// or rediss://".into()),
        };
        if url.query().is_some() || url.fragment().is_some() {
            return Err("nothing may follow the number of the database".into());
        }
        let db = match url.path().trim_matches('/') {
            "" => None,
            text => Some(
                text.parse()
                    .map_err(|_| "the database is a number".to_owned())?,
            ),
        };
        let host = url.host_str().unwrap_or_default();
        if host.is_empty() {
            return Err("it names no host".into());
        }
        Ok(Self {
            tls,
            host: host.trim_matches(['[', ']']).to_owned(),
            port: url.port().unwrap_or(REDIS_PORT),
            db,
            user: decoded(url.username()),
        })
    }
}

fn decoded(text: &str) -> Option<String> {
    let text = percent_decode_str(text).decode_utf8_lossy();
    (!text.is_empty()).then(|| text.into_owned())
}

/// The password that stands in an address, if there is one.
pub(crate) fn password_in(text: &str) -> Option<SecretString> {
    let url = Url::parse(text).ok()?;
    decoded(url.password()?).map(SecretString::from)
}

/// The text without what may be a password: whatever stands between `://` and the last `@` before
/// the path. Works on texts that are no proper address too, for they are shown in errors.
pub(crate) fn without_password(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else {
        return text.to_owned();
    };
    let Some(at) = rest.rfind('@') else {
        return text.to_owned();
    };
    match rest[..at].split_once(':') {
        Some((user, _)) => format!("{scheme}://{user}:***{}", &rest[at..]),
        None => text.to_owned(),
    }
}

/// Where Redis is, from whichever settings say so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedisTarget {
    /// The servers.
    pub servers: RedisServers,
    /// Whether TLS is spoken.
    pub tls: bool,
    /// The number of the database.
    pub db: u64,
    /// The user of the access control lists.
    pub user: Option<String>,
}

/// One Redis, or Sentinels that know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RedisServers {
    /// Host and port.
    One(String, u16),
    /// Sentinels and the name of the master.
    Sentinels {
        /// Host and port of each.
        sentinels: Vec<(String, u16)>,
        /// The master's name.
        master: String,
    },
}

impl Settings {
    /// Where Redis is; nothing where no setting says so, which [`load`](crate::load()) refuses on
    /// the distributed engine.
    pub fn redis_target(&self) -> Option<RedisTarget> {
        let target = |servers| RedisTarget {
            servers,
            tls: self.redis_tls_enabled,
            db: self.redis_db,
            user: self.redis_user.clone(),
        };
        if !self.redis_sentinels.is_empty() {
            let sentinels = self
                .redis_sentinels
                .iter()
                .map(|server| (server.host.clone(), server.port_or(Port(SENTINEL_PORT))))
                .collect();
            return Some(target(RedisServers::Sentinels {
                sentinels,
                master: self.redis_sentinel_master.clone(),
            }));
        }
        if let Some(url) = &self.redis_url {
            return Some(RedisTarget {
                servers: RedisServers::One(url.host.clone(), url.port),
                tls: url.tls,
                db: url.db.unwrap_or(self.redis_db),
                user: url.user.clone().or_else(|| self.redis_user.clone()),
            });
        }
        let host = self.redis_host.as_ref()?;
        let port = host.port_or(self.redis_port);
        Some(target(RedisServers::One(host.host.clone(), port)))
    }

    /// Every PostgreSQL server, with its port.
    pub fn db_servers(&self) -> Vec<(String, u16)> {
        self.db_host
            .iter()
            .map(|server| (server.host.clone(), server.port_or(self.db_port)))
            .collect()
    }
}

/// How far PostgreSQL's certificate is trusted; libpq's `sslmode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SslMode {
    /// No TLS.
    Disable,
    /// TLS only where the server insists in libpq; here as [`SslMode::Prefer`].
    Allow,
    /// TLS where the server offers it.
    Prefer,
    /// TLS; the authority is checked where one was given.
    Require,
    /// TLS; the authority is checked.
    VerifyCa,
    /// TLS; authority and host name are checked.
    VerifyFull,
}

impl Choice for SslMode {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("disable", Self::Disable),
        ("allow", Self::Allow),
        ("prefer", Self::Prefer),
        ("require", Self::Require),
        ("verify-ca", Self::VerifyCa),
        ("verify-full", Self::VerifyFull),
    ];
    const ALLOWED: &'static str = "disable, allow, prefer, require, verify-ca or verify-full";
}

/// How MUTT logs in to Vault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VaultAuth {
    /// Role id and secret id.
    AppRole,
    /// The token of the service account.
    Kubernetes,
}

impl Choice for VaultAuth {
    const WORDS: &'static [(&'static str, Self)] =
        &[("approle", Self::AppRole), ("kubernetes", Self::Kubernetes)];
    const ALLOWED: &'static str = "approle or kubernetes";
}

/// A place in a KV engine of version 2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VaultPath {
    /// Where the engine is mounted.
    pub mount: String,
    /// The path in it.
    pub path: String,
}

impl fmt::Display for VaultPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.mount, self.path)
    }
}

impl Value for VaultPath {
    const ALLOWED: &'static str = "mount/path, such as secret/mutt";

    fn parse(text: &str) -> Result<Self, String> {
        let strange = |c: char| !(c.is_ascii_alphanumeric() || "-_./".contains(c));
        let text = text.trim_matches('/');
        if text.contains(strange) || text.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return Err(String::new());
        }
        let (mount, path) = text.split_once('/').ok_or_else(String::new)?;
        if path.starts_with("data/") {
            return Err(format!(
                "leave out data/, which belongs to Vault's API: {mount}/{}",
                path.trim_start_matches("data/")
            ));
        }
        Ok(Self {
            mount: mount.to_owned(),
            path: path.to_owned(),
        })
    }
}

/// An address over HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebUrl(pub Url);

impl fmt::Display for WebUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str().trim_end_matches('/'))
    }
}

impl Value for WebUrl {
    const ALLOWED: &'static str = "an address that begins with https:// or http://";

    fn parse(text: &str) -> Result<Self, String> {
        let url = Url::parse(text).map_err(|error| error.to_string())?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(String::new());
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("no user and no password may stand in it".into());
        }
        Ok(Self(url))
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    #[test]
    fn endpoints_have_names_addresses_and_ports() {
        let endpoint = |text| {
            let Endpoint { host, port } = Endpoint::parse(text).expect(text);
            (host, port)
        };
        assert_eq!(endpoint("redis"), ("redis".into(), None));
        assert_eq!(endpoint("10.0.0.1:7000"), ("10.0.0.1".into(), Some(7000)));
        assert_eq!(endpoint("::1"), ("::1".into(), None));
        assert_eq!(endpoint("[::1]"), ("::1".into(), None));
        assert_eq!(endpoint("[fe80::2]:5"), ("fe80::2".into(), Some(5)));
        assert_eq!(endpoint("/run/pg"), ("/run/pg".into(), None));
        for bad in [
            "", ":1", "a:", "a:0", "a:70000", "a b", "u@h", "[::1", "[::1]5", "x:y:z", "a/b",
        ] {
            assert!(Endpoint::parse(bad).is_err(), "{bad}");
        }
        let several = Vec::<Endpoint>::parse("a, b:2,[::1]:3,").unwrap();
        let shown: Vec<_> = several.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["a", "b:2", "[::1]:3"]);
    }

    #[test]
    fn a_redis_url_keeps_no_password() {
        let text = "rediss://mutt:p%40ss@redis.example:6380/3";
        let url = RedisUrl::parse(text).unwrap();
        assert_eq!(
            url,
            RedisUrl {
                tls: true,
                host: "redis.example".into(),
                port: 6380,
                db: Some(3),
                user: Some("mutt".into()),
            }
        );
        assert_eq!(password_in(text).unwrap().expose_secret(), "p@ss");
        assert_eq!(
            without_password(text),
            "rediss://mutt:***@redis.example:6380/3"
        );
        let plain = RedisUrl::parse("redis://[::1]").unwrap();
        assert_eq!((plain.host.as_str(), plain.port), ("::1", 6379));
        assert!(password_in("redis://h").is_none());
        for bad in ["redis:", "http://h", "redis://h/x", "rediss://h/0#insecure"] {
            assert!(RedisUrl::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_password_is_hidden_in_what_is_no_proper_address_too() {
        for (text, shown) in [
            ("redis://:a@b@host:x", "redis://:***@host:x"),
            ("redis://u:p/w@host", "redis://u:***@host"),
            ("redis://host", "redis://host"),
            ("https://u@h/@", "https://u@h/@"),
        ] {
            assert_eq!(without_password(text), shown);
        }
    }

    #[test]
    fn a_vault_path_is_mount_and_path() {
        let path = VaultPath::parse("/secret/mutt/prod/").unwrap();
        assert_eq!(
            (path.mount.as_str(), path.path.as_str()),
            ("secret", "mutt/prod")
        );
        let error = VaultPath::parse("secret/data/mutt").unwrap_err();
        assert!(error.contains("secret/mutt"), "{error}");
        for bad in ["secret", "secret/../sys", "a//b", "a/b?c"] {
            assert!(VaultPath::parse(bad).is_err(), "{bad}");
        }
    }
}

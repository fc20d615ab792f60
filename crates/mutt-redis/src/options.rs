//! Where Redis is and how it is spoken to.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;

/// Gives the passwords to try, current first, each time a connection is opened. Empty: none.
pub type Passwords = Arc<dyn Fn() -> Vec<SecretString> + Send + Sync>;

/// Is told that a server refused every password. Must not wait; called for each refusal.
pub type OnRefused = Arc<dyn Fn() + Send + Sync>;

/// Sentinels to ask for the primary.
#[derive(Clone, Debug)]
pub struct Sentinel {
    /// `host:port` of each.
    pub addresses: Vec<String>,
    /// The name of the primary, `mymaster` say.
    pub master: String,
}

/// Where Redis is and how it is spoken to.
#[derive(Clone)]
pub struct RedisOptions {
    /// Host name or address; not used with Sentinels.
    pub host: String,
    /// Port; not used with Sentinels.
    pub port: u16,
    /// Database number, 0..15 as a rule.
    pub db: i64,
    /// User of an ACL; `None` is the default user.
    pub username: Option<String>,
    /// What to log in with.
    pub passwords: Passwords,
    /// Told when none of the passwords was right, so that better ones can be looked for.
    pub on_refused: Option<OnRefused>,
    /// Whether to use TLS.
    pub tls: bool,
    /// Certificates (PEM) of a private authority; `None` trusts the system's.
    pub tls_ca_cert: Option<PathBuf>,
    /// Sentinels to ask, where there are some.
    pub sentinel: Option<Sentinel>,
    /// How long opening a connection may take, log-in included.
    pub connect_timeout: Duration,
    /// How long one call may take before the connection is taken for dead.
    pub response_timeout: Duration,
    /// Connections that calls share, 1 to [`RedisOptions::MOST_CONNECTIONS`]; what is beyond counts as
    /// that. With one, a small call beside answers of 5 MB took ten times as long.
    /// Subscriptions have connections of their own.
    pub connections: usize,
    /// The connection's name (`CLIENT SETNAME`), for whoever looks at `CLIENT LIST`.
    pub client_name: String,
}

impl RedisOptions {
    /// Calls do not wait for one another on a connection, so that more would only cost the server.
    pub const MOST_CONNECTIONS: usize = 16;

    /// A server on this host and port, without password and TLS.
    pub fn new(host: impl Into<String>, port: u16) -> Self {
        Self {
            host: host.into(),
            port,
            db: 0,
            username: None,
            passwords: Arc::new(Vec::new),
            on_refused: None,
            tls: false,
            tls_ca_cert: None,
            sentinel: None,
            connect_timeout: Duration::from_secs(5),
            response_timeout: Duration::from_secs(10),
            connections: 2,
            client_name: "mutt".to_owned(),
        }
    }
}

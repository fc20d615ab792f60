//! Where PostgreSQL is and how it is spoken to. Knows no I/O.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;

/// Gives the passwords to try, current first, each time a connection is opened. Empty: none.
pub type Passwords = Arc<dyn Fn() -> Vec<SecretString> + Send + Sync>;

/// Is told that a server refused every password. Must not wait; called for each refusal.
pub type OnRefused = Arc<dyn Fn() + Send + Sync>;

/// The most bytes that PostgreSQL keeps of an `application_name`.
const APPLICATION_NAME_MAX: usize = 63;
/// What it begins with.
const PREFIX: &str = "mutt:";

/// How much TLS is asked for; what each means is what libpq means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SslMode {
    /// No TLS.
    Disable,
    /// TLS where the server offers it, its certificate unchecked.
    Prefer,
    /// TLS or nothing; the certificate is checked (as in `verify-ca`) only where a root certificate
    /// is given.
    #[default]
    Require,
    /// TLS, and the certificate comes from the given authority.
    VerifyCa,
    /// TLS, and the certificate comes from the given authority and is for this host.
    VerifyFull,
}

impl SslMode {
    /// All, from the least to the most.
    pub const ALL: [Self; 5] = [
        Self::Disable,
        Self::Prefer,
        Self::Require,
        Self::VerifyCa,
        Self::VerifyFull,
    ];

    /// The name, as in `DB_SSL_MODE`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Disable => "disable",
            Self::Prefer => "prefer",
            Self::Require => "require",
            Self::VerifyCa => "verify-ca",
            Self::VerifyFull => "verify-full",
        }
    }
}

impl fmt::Display for SslMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for SslMode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|mode| mode.name() == text)
            .ok_or_else(|| {
                let all = Self::ALL.map(Self::name).join(", ");
                format!("'{text}' is no SSL mode; there are {all}")
            })
    }
}

/// Where PostgreSQL is and how it is spoken to.
#[derive(Clone)]
pub struct PostgresOptions {
    /// Host names, addresses or directories of a socket, with ports. Of several, the one that can
    /// be written to is looked for.
    pub hosts: Vec<(String, u16)>,
    /// The database.
    pub database: String,
    /// The role.
    pub user: String,
    /// What to log in with.
    pub passwords: Passwords,
    /// Told when none of the passwords was right, so that better ones can be looked for.
    pub on_refused: Option<OnRefused>,
    /// How much TLS is asked for.
    pub ssl_mode: SslMode,
    /// Certificates (PEM) of the authority; needed by `verify-ca` and `verify-full`.
    pub ssl_root_cert: Option<PathBuf>,
    /// Connections that [`Postgres::tend`](crate::Postgres::tend) opens ahead and keeps, at most
    /// `pool_max`.
    pub pool_min: usize,
    /// The most connections, from 1.
    pub pool_max: usize,
    /// The pod: sessions are named after it ([`application_name`]).
    pub pod: String,
    /// How long opening a connection to one host may take, log-in included; also how long a call
    /// waits for a free connection.
    pub connect_timeout: Duration,
    /// How long one statement may take.
    pub statement_timeout: Duration,
}

impl PostgresOptions {
    /// A server on this host and port, database `mutt`, without password and TLS.
    pub fn new(host: impl Into<String>, port: u16, user: impl Into<String>) -> Self {
        Self {
            hosts: vec![(host.into(), port)],
            database: "mutt".to_owned(),
            user: user.into(),
            passwords: Arc::new(Vec::new),
            on_refused: None,
            ssl_mode: SslMode::Disable,
            ssl_root_cert: None,
            pool_min: 0,
            pool_max: 10,
            pod: "mutt".to_owned(),
            connect_timeout: Duration::from_secs(5),
            statement_timeout: Duration::from_secs(30),
        }
    }

    /// The hosts as people write them.
    pub(crate) fn addresses(&self) -> String {
        let each: Vec<_> = self
            .hosts
            .iter()
            .map(|(host, port)| address(host, *port))
            .collect();
        each.join(",")
    }
}

// Without the passwords, and without anything that leads to them.
impl fmt::Debug for PostgresOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresOptions")
            .field("hosts", &self.hosts)
            .field("database", &self.database)
            .field("user", &self.user)
            .field("ssl_mode", &self.ssl_mode)
            .field("pod", &self.pod)
            .finish_non_exhaustive()
    }
}

/// `host:port`; an IPv6 address in brackets.
pub(crate) fn address(host: &str, port: u16) -> String {
    if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

/// What the sessions of a pod are called in `pg_stat_activity`: `mutt:<pod>`, as PostgreSQL keeps
/// it (63 bytes of printable ASCII), so that they can be found again. Of a longer name the end is kept,
/// where pods of one deployment differ.
pub fn application_name(pod: &str) -> String {
    let printable = |character: char| {
        if (' '..='~').contains(&character) {
            character
        } else {
            '?'
        }
    };
    let most = APPLICATION_NAME_MAX - PREFIX.len();
    let skipped = pod.chars().count().saturating_sub(most);
    PREFIX
        .chars()
        .chain(pod.chars().skip(skipped).map(printable))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_are_named_as_postgresql_keeps_it() {
        assert_eq!(application_name("alerter-0"), "mutt:alerter-0");
        assert_eq!(application_name("Zürich\n"), "mutt:Z?rich?");
        let long = application_name(&"x".repeat(100));
        assert_eq!(long.len(), 63);
        let others = ["aaaaa", "bbbbb"].map(|end| format!("{}-{end}", "x".repeat(57)));
        let [one, other] = others.each_ref().map(|pod| application_name(pod));
        assert_ne!(one, other, "the sessions of another pod must not be ended");
    }

    #[test]
    fn ssl_modes_are_those_of_libpq() {
        for mode in SslMode::ALL {
            assert_eq!(mode.name().parse(), Ok(mode));
        }
        let error = "allow".parse::<SslMode>().unwrap_err();
        assert!(
            error.contains("'allow'") && error.contains("verify-full"),
            "{error}"
        );
    }

    #[test]
    fn no_secret_is_shown() {
        let options = PostgresOptions {
            passwords: Arc::new(|| vec!["hunter2".into()]),
            ..PostgresOptions::new("::1", 5432, "mutt_app")
        };
        assert!(!format!("{options:?}").contains("hunter2"));
        assert_eq!(options.addresses(), "[::1]:5432");
    }
}

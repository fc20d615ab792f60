//! Settings that are allowed by themselves and do not fit together.

use std::collections::BTreeMap;

use crate::load::{Origin, Problem};
use crate::server::VaultAuth;
use crate::settings::{Backend, Settings};
use crate::value::ListenAddr;

/// By variable: its text and origin.
pub(crate) type Origins = BTreeMap<&'static str, (String, Origin)>;

/// The settings that name a Redis.
pub(crate) const NAMES_A_REDIS: [&str; 3] = ["REDIS_HOST", "REDIS_URL", "REDIS_SENTINELS"];

struct Check<'a> {
    settings: &'a Settings,
    origins: &'a Origins,
    problems: &'a mut Vec<Problem>,
    warnings: &'a mut Vec<String>,
}

/// Adds what does not fit together to the problems, and what has no effect to the warnings.
pub(crate) fn check(
    settings: &Settings,
    origins: &Origins,
    problems: &mut Vec<Problem>,
    warnings: &mut Vec<String>,
) {
    let mut check = Check {
        settings,
        origins,
        problems,
        warnings,
    };
    check.tls();
    check.sink();
    check.ports();
    check.engine();
    check.vault();
}

/// Many people have `VAULT_ADDR` in their shell for Vault's own program. Where nothing else says that
/// MUTT should use a Vault, the embedded engine does without.
pub(crate) fn stray_vault(settings: &Settings, origins: &Origins) -> Option<String> {
    let others = [
        "VAULT_AUTH",
        "VAULT_ROLE_ID",
        "VAULT_K8S_ROLE",
        "VAULT_SECRETS_PATH",
    ];
    let meant = others.iter().any(|key| origins[key].1 != Origin::Default);
    (settings.vault_addr.is_some() && settings.backend == Backend::Embedded && !meant).then(|| {
        "VAULT_ADDR has no effect: neither VAULT_ROLE_ID nor VAULT_K8S_ROLE says who MUTT is there"
            .into()
    })
}

impl Check<'_> {
    fn problem(&mut self, key: &'static str, message: impl Into<String>) {
        self.problems.push(Problem {
            key: key.into(),
            origin: self.origins[key].1.clone(),
            message: message.into(),
        });
    }

    fn given(&self, key: &str) -> bool {
        let (text, origin) = &self.origins[key];
        *origin != Origin::Default && !text.is_empty()
    }

    fn tls(&mut self) {
        let settings = self.settings;
        for (certificate, key, names, both) in [
            (
                &settings.tls_cert_file,
                &settings.tls_key_file,
                ("TLS_CERT_FILE", "TLS_KEY_FILE"),
                "TLS_CERT_FILE and TLS_KEY_FILE belong together: set both or none",
            ),
            (
                &settings.syslog_tls_cert_file,
                &settings.syslog_tls_key_file,
                ("SYSLOG_TLS_CERT_FILE", "SYSLOG_TLS_KEY_FILE"),
                "SYSLOG_TLS_CERT_FILE and SYSLOG_TLS_KEY_FILE belong together: set both or none",
            ),
        ] {
            match (certificate, key) {
                (Some(_), None) => self.problem(names.0, both),
                (None, Some(_)) => self.problem(names.1, both),
                _ => {}
            }
        }
        if settings.sender_certificate().is_none() {
            let listens =
                self.given("SYSLOG_TLS_ADDR") && settings.syslog_tls_addr != ListenAddr::Off;
            for (key, wanted) in [
                ("SYSLOG_TLS_ADDR", listens),
                ("RELP_TLS_ADDR", settings.relp_tls_addr != ListenAddr::Off),
                ("SYSLOG_TLS_CLIENT_CA", self.given("SYSLOG_TLS_CLIENT_CA")),
            ] {
                if wanted {
                    self.problem(
                        key,
                        "senders over TLS need to see a certificate: set SYSLOG_TLS_CERT_FILE and \
                         SYSLOG_TLS_KEY_FILE",
                    );
                }
            }
        }
        if !settings.syslog_tls_permitted_peers.is_empty()
            && settings.syslog_tls_client_ca.is_none()
        {
            self.problem(
                "SYSLOG_TLS_PERMITTED_PEERS",
                "names in certificates say nothing without an authority that vouches for them: set \
                 SYSLOG_TLS_CLIENT_CA",
            );
        }
    }

    fn sink(&mut self) {
        let settings = self.settings;
        for (key, url) in [
            ("MOOG_WEBHOOK_URL", &settings.moog_webhook_url),
            ("MOOG_HEALTH_URL", &settings.moog_health_url),
        ] {
            if let Some(url) = url
                && !(url.starts_with("http://") || url.starts_with("https://"))
            {
                let url = crate::server::without_password(url);
                self.problem(
                    key,
                    format!(
                        "'{url}' is no address of the sink; it begins with http:// or https://"
                    ),
                );
            }
        }
        if settings.moog_retry_base_delay > settings.moog_retry_max_delay {
            self.problem(
                "MOOG_RETRY_BASE_DELAY",
                format!(
                    "{} s is longer than MOOG_RETRY_MAX_DELAY ({} s)",
                    settings.moog_retry_base_delay, settings.moog_retry_max_delay
                ),
            );
        }
    }

    fn ports(&mut self) {
        let ports = self.settings.http_ports();
        for (index, &(name, port)) in ports.iter().enumerate() {
            if port != 0
                && let Some((other, _)) =
                    ports[..index].iter().find(|&&(_, earlier)| earlier == port)
            {
                self.problem(
                    name,
                    format!("port {port} is also {other}; every listener needs its own"),
                );
            }
        }
    }

    fn engine(&mut self) {
        let settings = self.settings;
        if settings.backend == Backend::Embedded {
            for key in NAMES_A_REDIS.into_iter().chain(["DB_HOST"]) {
                if self.given(key) {
                    self.warnings.push(format!(
                        "{key} ({}) has no effect: the engine is embedded ({} by {}); \
                         MUTT_BACKEND=distributed uses it",
                        self.origins[key].1, "MUTT_BACKEND", self.origins["MUTT_BACKEND"].1,
                    ));
                }
            }
            return;
        }
        if settings.redis_target().is_none() {
            self.problem(
                "REDIS_HOST",
                "the distributed engine needs a Redis: set REDIS_HOST, REDIS_URL or \
                 REDIS_SENTINELS, or MUTT_BACKEND=embedded",
            );
        }
        if settings.db_host.is_empty() {
            self.problem(
                "DB_HOST",
                "the distributed engine needs a PostgreSQL: set DB_HOST, or MUTT_BACKEND=embedded",
            );
        }
        if let Some(url) = &settings.redis_url {
            for other in ["REDIS_HOST", "REDIS_SENTINELS"] {
                if self.given(other) {
                    self.problem(
                        "REDIS_URL",
                        format!("{other} says where Redis is too; set one of them"),
                    );
                }
            }
            if self.given("REDIS_TLS_ENABLED") && settings.redis_tls_enabled != url.tls {
                let scheme = if url.tls { "rediss" } else { "redis" };
                self.problem(
                    "REDIS_TLS_ENABLED",
                    format!(
                        "it is {}, and REDIS_URL begins with {scheme}://; rediss:// is TLS",
                        settings.redis_tls_enabled
                    ),
                );
            }
        } else if !settings.redis_sentinels.is_empty() && self.given("REDIS_HOST") {
            self.warnings.push(
                "REDIS_HOST is not used: the Sentinels of REDIS_SENTINELS say where Redis is"
                    .into(),
            );
        }
        let (min, max) = (settings.db_pool_min_conn, settings.db_pool_max_conn);
        // The default of the one must not forbid a value of the other.
        if min > max && self.given("DB_POOL_MIN_CONN") {
            self.problem(
                "DB_POOL_MIN_CONN",
                format!("{min} is more than DB_POOL_MAX_CONN ({max})"),
            );
        }
        if self.given("REDIS_POOL_MAX_CONN") {
            self.warnings.push(
                "REDIS_POOL_MAX_CONN has no effect: calls share the connections of \
                 REDIS_POOL_MIN_CONN; remove it"
                    .into(),
            );
        }
        for key in [
            "INGEST_QUEUE_NAME",
            "ALERT_QUEUE_NAME",
            "METRICS_PREFIX",
            "DB_NAME",
            "DB_USER",
        ] {
            if self.origins[key].0.is_empty() {
                self.problem(key, "it is empty; unset it or give it a name");
            }
        }
        if !settings.ingest_queue_name.is_empty()
            && settings.ingest_queue_name == settings.alert_queue_name
        {
            self.problem(
                "ALERT_QUEUE_NAME",
                "it is also INGEST_QUEUE_NAME; events and alerts need queues of their own",
            );
        }
    }

    fn vault(&mut self) {
        let settings = self.settings;
        if settings.vault_addr.is_none() {
            for key in ["VAULT_ROLE_ID", "VAULT_K8S_ROLE"] {
                if self.given(key) {
                    self.warnings
                        .push(format!("{key} has no effect: VAULT_ADDR is not set"));
                }
            }
            return;
        }
        match settings.vault_auth {
            VaultAuth::AppRole if settings.vault_role_id.is_none() => self.problem(
                "VAULT_ROLE_ID",
                "VAULT_AUTH=approle needs it: `vault read auth/approle/role/NAME/role-id` shows it",
            ),
            VaultAuth::Kubernetes if settings.vault_k8s_role.is_none() => self.problem(
                "VAULT_K8S_ROLE",
                "VAULT_AUTH=kubernetes needs it: the NAME of auth/kubernetes/role/NAME",
            ),
            _ => {}
        }
    }
}

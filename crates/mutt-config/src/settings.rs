//! Every setting: its variable, type, default, bounds and meaning, in one place.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use secrecy::SecretString;

use crate::peers::PermittedPeer;
use crate::server::{Endpoint, Port, RedisUrl, SslMode, VaultAuth, VaultPath, WebUrl};
use crate::value::{Choice, ListenAddr, Value};

/// What a person may know about a setting.
#[derive(Clone, Copy, Debug)]
pub struct Variable {
    /// The environment variable; in `mutt.toml` the same name in lower case.
    pub name: &'static str,
    /// The heading it stands under.
    pub group: &'static str,
    /// Its value where nothing is set; empty for "not set".
    pub default: &'static str,
    /// What is allowed, in words.
    pub allowed: &'static str,
    /// The least and the most of a number, where it has bounds.
    pub bounds: Option<(f64, f64)>,
    /// The unit of a number, or nothing.
    pub unit: &'static str,
    /// What it does.
    pub description: &'static str,
    /// Names that 2.3 and 2.5 used; accepted with a warning.
    pub aliases: &'static [&'static str],
    pub(crate) check: fn(&str) -> Result<(), String>,
}

macro_rules! settings {
    ($($group:literal { $(
        $field:ident: $type:ty = $name:literal $default:literal $([$min:literal, $max:literal])?
            $(unit $unit:literal)? $(was $($alias:literal),+)? => $text:literal;
    )* })*) => {
        /// The settings in force, typed.
        #[derive(Clone, Debug)]
        pub struct Settings { $($(
            #[doc = concat!("`", $name, "`: see [`VARIABLES`].")]
            pub $field: $type,
        )*)* }

        /// Every setting, in the order in which people are shown them.
        pub const VARIABLES: &[Variable] = &[$($(Variable {
            name: $name,
            group: $group,
            default: $default,
            allowed: <$type as Value>::ALLOWED,
            bounds: settings!(@bounds $([$min, $max])?),
            unit: settings!(@unit $($unit)?),
            description: $text,
            aliases: &[$($($alias),+)?],
            check: |text| <$type as Value>::parse(text).map(drop),
        }),*),*];

        impl Settings {
            /// Typed settings from texts that were checked.
            pub(crate) fn from_texts(text: impl Fn(&'static str) -> String) -> Self {
                Self { $($(
                    $field: <$type as Value>::parse(&text($name))
                        .expect(concat!($name, " was checked")),
                )*)* }
            }
        }
    };
    (@bounds) => { None };
    (@bounds [$min:literal, $max:literal]) => { Some(($min as f64, $max as f64)) };
    (@unit) => { "" };
    (@unit $unit:literal) => { $unit };
}

settings! {
    "Engine" {
        backend: Backend = "MUTT_BACKEND" "embedded"
            => "embedded: everything in one directory, no server; distributed: Redis and PostgreSQL. Where nothing is set, a Redis that is named (REDIS_HOST, REDIS_URL or REDIS_SENTINELS) means distributed.";
        data_dir: PathBuf = "MUTT_DATA_DIR" "./mutt-data"
            => "The directory of the embedded engine (database, lock, keys made at first start) and of the ingestor's spool.";
        pod_name: Option<String> = "POD_NAME" "" was "ALERTER_POD_NAME", "MOOG_POD_NAME"
            => "The name of this process in heartbeats, logs and alerts; else host name and a short id.";
    }
    "Redis" {
        redis_host: Option<Endpoint> = "REDIS_HOST" ""
            => "The Redis of the distributed engine; a port may follow after a colon.";
        redis_port: Port = "REDIS_PORT" "6379"
            => "The port of REDIS_HOST where it names none.";
        redis_url: Option<RedisUrl> = "REDIS_URL" ""
            => "Instead of REDIS_HOST, REDIS_PORT, REDIS_DB, REDIS_USER and REDIS_TLS_ENABLED; a password in it counts as REDIS_PASS.";
        redis_db: u64 = "REDIS_DB" "0" [0, 65_535]
            => "The number of the database.";
        redis_user: Option<String> = "REDIS_USER" ""
            => "The user of Redis's access control lists; not set is the user named default.";
        redis_tls_enabled: bool = "REDIS_TLS_ENABLED" "true"
            => "Whether Redis and its Sentinels are spoken to over TLS.";
        redis_tls_ca_cert: Option<PathBuf> = "REDIS_TLS_CA_CERT" "" was "REDIS_CA_CERT_PATH"
            => "Certificates (PEM) of the authority that signed those of Redis; not set: the system's authorities.";
        redis_pool_min_conn: u64 = "REDIS_POOL_MIN_CONN" "2" [1, 1000] unit "connections"
            => "Connections to Redis that all calls of a process share, at most 16; listening for messages takes one or two more.";
        redis_pool_max_conn: u64 = "REDIS_POOL_MAX_CONN" "10" [1, 1000] unit "connections"
            was "REDIS_MAX_CONNECTIONS"
            => "No effect: calls share REDIS_POOL_MIN_CONN connections, and nobody waits for a free one.";
        redis_sentinels: Vec<Endpoint> = "REDIS_SENTINELS" ""
            => "Sentinels that know the present master, separated by commas; port 26379 where none is named.";
        redis_sentinel_master: String = "REDIS_SENTINEL_MASTER" "mymaster"
            => "The name under which the Sentinels know the master.";
        redis_wait_replicas: u64 = "REDIS_WAIT_REPLICAS" "0" [0, 16] unit "replicas"
            => "Replicas that must have an event before it is acknowledged.";
        redis_allow_unsafe: bool = "REDIS_ALLOW_UNSAFE" "false"
            => "Whether a Redis without AOF, or that may evict keys, is used all the same; then events can be lost.";
    }
    "PostgreSQL" {
        db_host: Vec<Endpoint> = "DB_HOST" ""
            => "The PostgreSQL of the distributed engine. Several, separated by commas: the one that can be written to is used. A path is the directory of a Unix socket.";
        db_port: Port = "DB_PORT" "5432"
            => "The port of each DB_HOST that names none.";
        db_name: String = "DB_NAME" "mutt"
            => "The database.";
        db_user: String = "DB_USER" "mutt_app"
            => "The role that MUTT works as; a DB_USER in Vault wins.";
        db_admin_user: String = "DB_ADMIN_USER" "postgres"
            => "The role that `mutt db migrate` works as; it owns the tables.";
        db_ssl_mode: SslMode = "DB_SSL_MODE" "require" was "DB_TLS_ENABLED"
            => "As libpq's sslmode: require encrypts and, given DB_SSL_ROOT_CERT, checks the authority; verify-full checks the host name too.";
        db_ssl_root_cert: Option<PathBuf> = "DB_SSL_ROOT_CERT" "" was "DB_TLS_CA_CERT_PATH"
            => "Certificates (PEM) of the authority that signed PostgreSQL's; not set: the system's authorities.";
        db_pool_min_conn: u64 = "DB_POOL_MIN_CONN" "2" [1, 1000] unit "connections"
            => "Connections to PostgreSQL that are opened ahead and kept, at most DB_POOL_MAX_CONN.";
        db_pool_max_conn: u64 = "DB_POOL_MAX_CONN" "10" [1, 1000] unit "connections"
            => "The most connections to PostgreSQL of one process; those not needed for 5 minutes are closed.";
    }
    "Distributed engine" {
        ingest_queue_name: String = "INGEST_QUEUE_NAME" "mutt:ingest_queue"
            => "The Redis key of the queue of events.";
        alert_queue_name: String = "ALERT_QUEUE_NAME" "mutt:alert_queue"
            => "The Redis key of the queue of alerts.";
        metrics_prefix: String = "METRICS_PREFIX" "mutt:metrics"
            => "What the Redis keys of the dashboard's counters begin with.";
        spool_max_bytes: u64 = "SPOOL_MAX_BYTES" "1073741824" [1_048_576, 1_099_511_627_776_u64] unit "bytes"
            => "The most that the ingestor keeps on disk while Redis is away; beyond it senders are told to wait (503).";
    }
    "Vault" {
        vault_addr: Option<WebUrl> = "VAULT_ADDR" ""
            => "Vault or OpenBao; where it is set, secrets that are there win over files and environment.";
        vault_auth: VaultAuth = "VAULT_AUTH" "approle"
            => "How MUTT logs in to Vault.";
        vault_auth_mount: Option<String> = "VAULT_AUTH_MOUNT" ""
            => "Where the auth method is mounted, if elsewhere than under its own name.";
        vault_role_id: Option<SecretString> = "VAULT_ROLE_ID" ""
            => "The role id of AppRole.";
        vault_secret_id_file: PathBuf = "VAULT_SECRET_ID_FILE" "/etc/mutt/secrets/vault_secret_id"
            => "The file with the secret id of AppRole; read at each log-in.";
        vault_k8s_role: Option<String> = "VAULT_K8S_ROLE" ""
            => "The role of Kubernetes auth.";
        vault_k8s_token_file: PathBuf = "VAULT_K8S_TOKEN_FILE" "/var/run/secrets/kubernetes.io/serviceaccount/token"
            => "The file with the token of the service account; read at each log-in.";
        vault_namespace: Option<String> = "VAULT_NAMESPACE" ""
            => "The namespace, where Vault has several.";
        vault_secrets_path: VaultPath = "VAULT_SECRETS_PATH" "secret/mutt"
            => "Where the secrets are: the mount of a KV engine of version 2, a slash, the path in it.";
        vault_token_renew_threshold: u64 = "VAULT_TOKEN_RENEW_THRESHOLD" "3600" [1, 31_536_000] unit "s"
            => "A token is renewed when it is valid for less than this, or for half its time where that is shorter.";
        vault_renew_check_interval: u64 = "VAULT_RENEW_CHECK_INTERVAL" "300" [1, 86_400] unit "s"
            => "How often the token is looked at and the secrets are read again.";
        vault_cacert: Option<PathBuf> = "VAULT_CACERT" ""
            => "Certificates (PEM) of the authority that signed Vault's; not set: the system's authorities.";
    }
    "Objectives" {
        prometheus_url: Option<WebUrl> = "PROMETHEUS_URL" ""
            => "The Prometheus that scrapes MUTT: the service level objectives are read from it; not set, or away: from MUTT's own counters.";
    }
    "Logs" {
        log_level: String = "LOG_LEVEL" "info"
            => "What is logged: error, warn, info, debug or trace, or tracing directives.";
        log_json_enabled: bool = "LOG_JSON_ENABLED" "false"
            => "Logs as one JSON object per line instead of text for people.";
    }
    "Listeners" {
        bind_address: IpAddr = "BIND_ADDRESS" "127.0.0.1"
            => "The address that every listener without an address of its own is bound to.";
        server_port_ingestor: u16 = "SERVER_PORT_INGESTOR" "8080"
            => "HTTP ingest, health and metrics of the ingestor.";
        server_port_alerter: u16 = "SERVER_PORT_ALERTER" "8081"
            => "Health and metrics of the alerter.";
        server_port_alerter_metrics: u16 = "SERVER_PORT_ALERTER_METRICS" "8082"
            => "A second port for health and metrics of the alerter, as in 2.5.";
        server_port_moog_forwarder: u16 = "SERVER_PORT_MOOG_FORWARDER" "8083"
            => "Health and metrics of the forwarder.";
        server_port_moog_metrics: u16 = "SERVER_PORT_MOOG_METRICS" "8084"
            => "A second port for health and metrics of the forwarder, as in 2.5.";
        metrics_port_remediation: u16 = "METRICS_PORT_REMEDIATION" "8086"
            => "Metrics and health of remediation.";
        health_port_remediation: u16 = "HEALTH_PORT_REMEDIATION" "8087"
            => "A second port for health and metrics of remediation, as in 2.5.";
        server_port_webui: u16 = "SERVER_PORT_WEBUI" "8090"
            => "The web interface, the API, live events and status.";
        webui_cookie_secure: bool = "WEBUI_COOKIE_SECURE" "false"
            => "Whether browsers reach the web interface over HTTPS only (through a proxy): their session cookies then go over nothing else.";
        syslog_udp_addr: ListenAddr = "SYSLOG_UDP_ADDR" "5514"
            => "Syslog over UDP (RFC 5426).";
        syslog_tcp_addr: ListenAddr = "SYSLOG_TCP_ADDR" "5514"
            => "Syslog over TCP (RFC 6587), octet counting and newline framing told apart.";
        syslog_tls_addr: ListenAddr = "SYSLOG_TLS_ADDR" "6514"
            => "Syslog over TLS (RFC 5425), octet counting and newline framing told apart; open only where there is a certificate.";
        syslog_tls_cert_file: Option<PathBuf> = "SYSLOG_TLS_CERT_FILE" ""
            => "Certificate chain (PEM) that senders of syslog over TLS see; not set: TLS_CERT_FILE. Read again when it changes.";
        syslog_tls_key_file: Option<PathBuf> = "SYSLOG_TLS_KEY_FILE" ""
            => "Private key (PEM) of SYSLOG_TLS_CERT_FILE.";
        syslog_tls_client_ca: Option<PathBuf> = "SYSLOG_TLS_CLIENT_CA" ""
            => "Certificates (PEM) of the authorities one of which must have signed a sender's certificate; not set: senders need none. Read again when it changes.";
        syslog_tls_permitted_peers: Vec<PermittedPeer> = "SYSLOG_TLS_PERMITTED_PEERS" ""
            => "The senders that may connect, by the names in their certificates: host names (*.example.com is one label), IP addresses, SHA256: fingerprints, separated by commas; not set: all that SYSLOG_TLS_CLIENT_CA signed.";
        relp_addr: ListenAddr = "RELP_ADDR" "20514"
            => "RELP, rsyslog's reliable protocol: a message is acknowledged once it is durable.";
        relp_tls_addr: ListenAddr = "RELP_TLS_ADDR" "off"
            => "RELP over TLS, with the certificate and the permitted senders of SYSLOG_TLS_….";
        snmp_trap_addr: ListenAddr = "SNMP_TRAP_ADDR" "1162"
            => "SNMP traps and informs, versions 1, 2c and 3, over UDP.";
        snmp_users_file: Option<PathBuf> = "SNMP_USERS_FILE" ""
            => "Communities and version 3 users that may send traps (TOML), closed to other users of the machine; not set: any community, and nobody by version 3. Read again when it changes.";
        tls_cert_file: Option<PathBuf> = "TLS_CERT_FILE" ""
            => "Certificate chain (PEM) for HTTPS on the ingest port; read again when it changes.";
        tls_key_file: Option<PathBuf> = "TLS_KEY_FILE" ""
            => "Private key (PEM) of TLS_CERT_FILE.";
        snmp_names_file: Option<PathBuf> = "SNMP_NAMES_FILE" ""
            => "Names of traps and their variables, one per line: OID name. Read again when it changes.";
        snmp_mib_dir: Option<PathBuf> = "SNMP_MIB_DIR" ""
            => "Directory of MIB files that name traps and say how values read. Read again when a file changes.";
    }
    "Ingest" {
        required_fields: String = "REQUIRED_FIELDS" "hostname,message" was "REQUIRED_MESSAGE_FIELDS"
            => "Fields that every posted event must have, separated by commas.";
        max_body_bytes: u64 = "MAX_BODY_BYTES" "10485760" [1024, 1_073_741_824] unit "bytes"
            => "The largest request body, before and after decompression.";
        max_ingest_queue_size: u64 = "MAX_INGEST_QUEUE_SIZE" "1000000" [1, 1_000_000_000] unit "events"
            => "The most events that may wait; beyond it senders are told to wait (503).";
        ingest_max_rate: u64 = "INGEST_MAX_RATE" "0" [0, 100_000_000] unit "events"
            => "The most events accepted over HTTP per INGEST_RATE_WINDOW; 0 is no limit.";
        ingest_rate_window: u64 = "INGEST_RATE_WINDOW" "60" [1, 86_400] unit "s"
            => "The window of INGEST_MAX_RATE.";
        syslog_max_line: u64 = "SYSLOG_MAX_LINE" "65536" [480, 1_048_576] unit "bytes"
            => "The longest syslog message; a longer one is cut and marked as truncated.";
        senders_file: Option<PathBuf> = "SENDERS_FILE" ""
            => "What is known of the networks that events come from: time zones, tags, limits, which senders are relays (TOML, docs/sources/senders.md); read again when it changes.";
        hosts_file: Option<PathBuf> = "HOSTS_FILE" ""
            => "Names of addresses, in the format of /etc/hosts, for messages that name no host; read again when it changes.";
        reverse_dns: bool = "REVERSE_DNS" "false"
            => "Whether addresses without a name are asked for in DNS, in the background; the first events of an address keep the address.";
        syslog_tcp_overflow: Overflow = "SYSLOG_TCP_OVERFLOW" "backpressure"
            => "backpressure: read no more while nothing can be stored; shed: drop and count.";
    }
    "Alerter" {
        alerter_heartbeat_interval: u64 = "ALERTER_HEARTBEAT_INTERVAL" "10" [1, 3600] unit "s"
            => "How often the alerter gives a sign of life; it is taken for dead after three.";
        cache_refresh_interval: u64 = "ALERTER_RULE_CACHE_REFRESH_INTERVAL" "300" [1, 86_400] unit "s"
            was "CACHE_RELOAD_INTERVAL"
            => "How often rules, hosts and teams are loaded again even where nothing was announced.";
        alerter_max_retries: u64 = "ALERTER_MAX_RETRIES" "3" [0, 100] was "MAX_POISON_RETRIES"
            => "Failures of one message before it goes to mutt:dlq:alerter.";
        unhandled_event_threshold: u64 = "UNHANDLED_EVENT_THRESHOLD" "100" [1, 100_000_000] unit "events"
            was "UNHANDLED_THRESHOLD"
            => "Unmatched events within the window that make one meta-alert.";
        unhandled_event_window: u64 = "UNHANDLED_EVENT_WINDOW" "3600" [1, 2_592_000] unit "s"
            was "UNHANDLED_EXPIRY_SECONDS"
            => "The window of UNHANDLED_EVENT_THRESHOLD.";
        unhandled_event_scope: Scope = "UNHANDLED_EVENT_SCOPE" "host"
            => "Whether unmatched events are counted per host, or per host and signature.";
        unhandled_default_team: String = "UNHANDLED_DEFAULT_TEAM" "NETO"
            => "The team of a meta-alert about a host that device_teams does not name.";
        audit_scope: AuditScope = "AUDIT_SCOPE" "matched"
            => "matched: audit events that a rule matched; all: audit unhandled ones too.";
    }
    "Forwarder" {
        moog_webhook_url: Option<String> = "MOOG_WEBHOOK_URL" ""
            => "The sink's address (http or https). Not set: alerts stay queued and health says so.";
        moog_payload: MoogPayload = "MOOG_PAYLOAD" "rest_lam"
            => "The payload: rest_lam (Enterprise), events_api (Cloud, APEX AIOps), legacy (as 2.5).";
        moog_timeout: f64 = "MOOG_TIMEOUT" "10" [0.1, 600] unit "s" was "MOOG_WEBHOOK_TIMEOUT"
            => "How long one delivery attempt may take.";
        moog_tls_ca_cert: Option<PathBuf> = "MOOG_TLS_CA_CERT" ""
            => "Certificates (PEM) of a private authority to trust for the sink.";
        moog_rate_limit: u64 = "MOOG_RATE_LIMIT" "50" [1, 1_000_000] unit "requests"
            => "The most requests to the sink within MOOG_RATE_PERIOD, over all pods.";
        moog_rate_period: f64 = "MOOG_RATE_PERIOD" "1" [0.1, 3600] unit "s"
            => "The window of MOOG_RATE_LIMIT.";
        moog_retry_base_delay: f64 = "MOOG_RETRY_BASE_DELAY" "1" [0.01, 3600] unit "s"
            => "The delay before the first retry; it doubles with each.";
        moog_retry_max_delay: f64 = "MOOG_RETRY_MAX_DELAY" "60" [0.01, 86_400] unit "s"
            => "The longest delay before a retry.";
        moog_max_retries: u64 = "MOOG_MAX_RETRIES" "5" [0, 1000]
            => "Retries of one alert before it goes to mutt:dlq:moog.";
        moog_heartbeat_interval: u64 = "MOOG_HEARTBEAT_INTERVAL" "10" [1, 3600] unit "s"
            => "How often the forwarder gives a sign of life; it is taken for dead after three.";
        moog_health_url: Option<String> = "MOOG_HEALTH_URL" ""
            => "Asked by remediation before it replays; any 2xx is healthy.";
        moog_dedupe_field: String = "MOOG_DEDUPE_FIELD" "deduplication_key"
            => "The name of the deduplication key in events_api; some documents say dedupe_key.";
        moog_service_field: String = "MOOG_SERVICE_FIELD" "services"
            => "The name of the services list in events_api; some documents say service.";
        circuit_breaker_enabled: bool = "CIRCUIT_BREAKER_ENABLED" "true"
            => "Whether the circuit to the sink opens after repeated failures.";
        circuit_breaker_threshold: u64 = "CIRCUIT_BREAKER_THRESHOLD" "10" [1, 100_000] unit "failures"
            => "Consecutive failures that open the circuit.";
        circuit_breaker_timeout: u64 = "CIRCUIT_BREAKER_TIMEOUT" "300" [1, 86_400] unit "s"
            => "How long the circuit stays open before one probe goes out.";
    }
    "Remediation" {
        remediation_scan_interval: u64 = "REMEDIATION_SCAN_INTERVAL" "60" [1, 86_400] unit "s"
            was "REMEDIATION_INTERVAL"
            => "How often remediation looks through the dead letter queues.";
        remediation_max_retries: u64 = "REMEDIATION_MAX_RETRIES" "3" [0, 1000]
            => "Replays of one dead letter before it goes to mutt:dlq:dead.";
        remediation_backoff_base: u64 = "REMEDIATION_BACKOFF_BASE" "60" [0, 86_400] unit "s"
            => "A dead letter waits this × 2^replays after its last failure.";
        remediation_batch_size: u64 = "REMEDIATION_BATCH_SIZE" "100" [1, 100_000] unit "entries"
            => "The most dead letters replayed in one step.";
    }
    "Shutdown" {
        shutdown_grace_seconds: u64 = "SHUTDOWN_GRACE_SECONDS" "20" [1, 600] unit "s"
            => "How long work in flight may take to finish after SIGTERM.";
    }
}

impl Settings {
    /// The certificate and the key that senders over TLS see, where there are any.
    pub fn sender_certificate(&self) -> Option<(&Path, &Path)> {
        let own = self.syslog_tls_cert_file.as_deref();
        match own.zip(self.syslog_tls_key_file.as_deref()) {
            None => self
                .tls_cert_file
                .as_deref()
                .zip(self.tls_key_file.as_deref()),
            own => own,
        }
    }

    /// Every port for HTTP with its variable; 0 is off.
    pub fn http_ports(&self) -> [(&'static str, u16); 8] {
        [
            ("SERVER_PORT_INGESTOR", self.server_port_ingestor),
            ("SERVER_PORT_ALERTER", self.server_port_alerter),
            (
                "SERVER_PORT_ALERTER_METRICS",
                self.server_port_alerter_metrics,
            ),
            (
                "SERVER_PORT_MOOG_FORWARDER",
                self.server_port_moog_forwarder,
            ),
            ("SERVER_PORT_MOOG_METRICS", self.server_port_moog_metrics),
            ("METRICS_PORT_REMEDIATION", self.metrics_port_remediation),
            ("HEALTH_PORT_REMEDIATION", self.health_port_remediation),
            ("SERVER_PORT_WEBUI", self.server_port_webui),
        ]
    }
}

/// The engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// SQLite in the data directory.
    Embedded,
    /// Redis and PostgreSQL.
    Distributed,
}

impl Choice for Backend {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("embedded", Self::Embedded),
        ("distributed", Self::Distributed),
    ];
    const ALLOWED: &'static str = "embedded or distributed";
}

/// What a syslog stream does while nothing can be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overflow {
    /// Reads no more.
    Backpressure,
    /// Drops and counts.
    Shed,
}

impl Choice for Overflow {
    const WORDS: &'static [(&'static str, Self)] =
        &[("backpressure", Self::Backpressure), ("shed", Self::Shed)];
    const ALLOWED: &'static str = "backpressure or shed";
}

/// What unmatched events are counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// By host.
    Host,
    /// By host and signature.
    Signature,
}

impl Choice for Scope {
    const WORDS: &'static [(&'static str, Self)] =
        &[("host", Self::Host), ("signature", Self::Signature)];
    const ALLOWED: &'static str = "host or signature";
}

/// Which events are audited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuditScope {
    /// Those that a rule matched.
    Matched,
    /// All.
    All,
}

impl Choice for AuditScope {
    const WORDS: &'static [(&'static str, Self)] =
        &[("matched", Self::Matched), ("all", Self::All)];
    const ALLOWED: &'static str = "matched or all";
}

/// The shape of what the sink gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MoogPayload {
    /// Moogsoft Enterprise, REST LAM.
    RestLam,
    /// Moogsoft Cloud, APEX AIOps.
    EventsApi,
    /// What MUTT 2.5 sent.
    Legacy,
}

impl Choice for MoogPayload {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("rest_lam", Self::RestLam),
        ("events_api", Self::EventsApi),
        ("legacy", Self::Legacy),
    ];
    const ALLOWED: &'static str = "rest_lam, events_api or legacy";
}

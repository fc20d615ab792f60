//! What the ingestor counts. Every label combination is made at the start, so that a series is
//! exported as 0 before its first event, and every handle is cached, so that counting is one atomic
//! addition.
//!
//! For each listener: received = accepted + rejected + deduplicated + what is under way at the moment,
//! which includes repeats that are held. Events that MUTT makes itself are counted for none.

use mutt_engine::EngineError;
use mutt_http::HandshakeFailure;
use mutt_snmp::UsmStat;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// The buckets of latency histograms, in seconds; those of 2.5.
pub const LATENCY_BUCKETS: [f64; 11] = [
    0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
];

/// A door through which events come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Listener {
    /// HTTP requests.
    Http,
    /// Syslog over UDP.
    SyslogUdp,
    /// Syslog over TCP.
    SyslogTcp,
    /// Syslog over TLS.
    SyslogTls,
    /// RELP, plain or TLS.
    Relp,
    /// SNMP traps and informs.
    SnmpTrap,
}

impl Listener {
    /// Every listener.
    pub const ALL: [Self; 6] = [
        Self::Http,
        Self::SyslogUdp,
        Self::SyslogTcp,
        Self::SyslogTls,
        Self::Relp,
        Self::SnmpTrap,
    ];

    /// The value of the `listener` label.
    pub fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::SyslogUdp => "syslog_udp",
            Self::SyslogTcp => "syslog_tcp",
            Self::SyslogTls => "syslog_tls",
            Self::Relp => "relp",
            Self::SnmpTrap => "snmp_trap",
        }
    }

    /// Whether its connections may be TLS and their handshakes are counted here.
    fn speaks_tls(self) -> bool {
        matches!(self, Self::SyslogTls | Self::Relp)
    }
}

/// Why a request or an event was not taken: the `reason` label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RejectReason {
    /// Wrong or missing key, community or certificate.
    Auth,
    /// Not JSON, or not an object.
    Json,
    /// A field is missing or has a value that is not allowed.
    ValidationError,
    /// The queue is at its limit.
    QueueFull,
    /// Over `ingest_max_rate`.
    RateLimit,
    /// Over the sender's own limit, `sender_max_rate`.
    Flood,
    /// Longer than is allowed.
    TooLarge,
    /// Nothing durable could be written to Redis.
    RedisError,
    /// Nothing durable could be written.
    StoreError,
    /// The sender went away, or fell silent, in the middle of a message.
    Incomplete,
    /// The message's frame or packet cannot be read.
    Framing,
    /// The content coding is not known.
    Encoding,
    /// No such path, or not by this method; no such command, or not now.
    Request,
    /// A version, a security model or a kind of message that is not taken here.
    Unsupported,
    /// SNMPv3: the message names no engine.
    UnknownEngine,
    /// SNMPv3: no such user.
    UnknownUser,
    /// SNMPv3: less protected than the user must send, or more than the user has keys for.
    SecurityLevel,
    /// SNMPv3: the authentication code is wrong, mostly for another password or protocol.
    WrongDigest,
    /// SNMPv3: not decrypted, mostly for another privacy password or protocol.
    Decryption,
    /// SNMPv3: older than 150 s by its sender's own clock.
    TimeWindow,
    /// SNMPv3: a copy of a message that was taken before.
    Replay,
    /// SNMPv3: more engines send than can be told apart.
    TooManyEngines,
    /// An inform that its sender repeated: it is stored, or being stored, already.
    Retransmission,
}

impl RejectReason {
    /// Every reason.
    pub const ALL: [Self; 23] = [
        Self::Auth,
        Self::Json,
        Self::ValidationError,
        Self::QueueFull,
        Self::RateLimit,
        Self::Flood,
        Self::TooLarge,
        Self::RedisError,
        Self::StoreError,
        Self::Incomplete,
        Self::Framing,
        Self::Encoding,
        Self::Request,
        Self::Unsupported,
        Self::UnknownEngine,
        Self::UnknownUser,
        Self::SecurityLevel,
        Self::WrongDigest,
        Self::Decryption,
        Self::TimeWindow,
        Self::Replay,
        Self::TooManyEngines,
        Self::Retransmission,
    ];

    /// The value of the `reason` label.
    pub fn name(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::Json => "json",
            Self::ValidationError => "validation_error",
            Self::QueueFull => "queue_full",
            Self::RateLimit => "rate_limit",
            Self::Flood => "flood",
            Self::TooLarge => "too_large",
            Self::RedisError => "redis_error",
            Self::StoreError => "store_error",
            Self::Incomplete => "incomplete",
            Self::Framing => "framing",
            Self::Encoding => "encoding",
            Self::Request => "request",
            Self::Unsupported => "unsupported",
            Self::UnknownEngine => "unknown_engine",
            Self::UnknownUser => "unknown_user",
            Self::SecurityLevel => "security_level",
            Self::WrongDigest => "wrong_digest",
            Self::Decryption => "decryption",
            Self::TimeWindow => "time_window",
            Self::Replay => "replay",
            Self::TooManyEngines => "too_many_engines",
            Self::Retransmission => "retransmission",
        }
    }
}

impl RejectReason {
    /// Whether only SNMP knows it: other listeners have no series for it.
    fn is_of_snmp(self) -> bool {
        matches!(
            self,
            Self::Unsupported
                | Self::UnknownEngine
                | Self::UnknownUser
                | Self::SecurityLevel
                | Self::WrongDigest
                | Self::Decryption
                | Self::TimeWindow
                | Self::Replay
                | Self::TooManyEngines
                | Self::Retransmission
        )
    }
}

impl From<&EngineError> for RejectReason {
    fn from(error: &EngineError) -> Self {
        match error {
            EngineError::Full { .. } | EngineError::SpoolFull { .. } => Self::QueueFull,
            _ => Self::StoreError,
        }
    }
}

/// The counters of one listener.
#[derive(Clone, Debug)]
pub struct ListenerMetrics {
    /// Messages read from the network, whatever became of them.
    pub received: Counter,
    /// Messages of a form that was understood.
    pub parsed: Counter,
    /// Events that are durable in the queue. [`Admission`](crate::Admission) counts them.
    pub accepted: Counter,
    /// Messages that became part of an event that stands for several.
    pub deduplicated: Counter,
    /// Repeats that no event stands for yet.
    pub repeats_held: Gauge,
    /// Events beyond their sender's limit that were kept and marked.
    pub flood_marked: Counter,
    /// Messages that the kernel dropped before MUTT could read them.
    pub kernel_drops: Counter,
    /// Connections open now; 0 for listeners without connections.
    pub connections: Gauge,
    /// Connections that were closed at once because there were too many.
    pub refused: Counter,
    rejected: [Counter; RejectReason::ALL.len()],
    handshakes_failed: [Counter; HandshakeFailure::ALL.len()],
}

impl ListenerMetrics {
    /// Messages that were not taken for this reason and are not tried again by MUTT.
    pub fn rejected(&self, reason: RejectReason) -> &Counter {
        &self.rejected[reason as usize]
    }

    /// TLS handshakes that failed for this reason; 0 for listeners without TLS.
    pub fn handshake_failed(&self, reason: HandshakeFailure) -> &Counter {
        &self.handshakes_failed[reason as usize]
    }
}

/// What is counted about names of addresses that are looked up in DNS.
#[derive(Clone, Debug, Default)]
pub struct NameMetrics {
    /// Look-ups of an address whose name was known.
    pub hits: Counter,
    /// Look-ups of an address whose name was not known, or that has none.
    pub misses: Counter,
    /// Questions that wait for an answer.
    pub outstanding: Gauge,
}

/// What is counted about SNMP alone.
#[derive(Clone, Debug)]
pub struct SnmpMetrics {
    /// Responses and Reports that went out.
    pub answers_sent: Counter,
    /// Those that the kernel would not take.
    pub answers_failed: Counter,
    usm: [Counter; UsmStat::ALL.len()],
}

impl SnmpMetrics {
    fn register(registry: &mut Registry) -> Self {
        let answers = Family::<[(&str, &str); 1], Counter>::default();
        let usm = Family::<[(&str, &str); 1], Counter>::default();
        let metrics = Self {
            answers_sent: answers.get_or_create_owned(&[("outcome", "sent")]),
            answers_failed: answers.get_or_create_owned(&[("outcome", "failed")]),
            usm: UsmStat::ALL.map(|stat| usm.get_or_create_owned(&[("stat", stat.name())])),
        };
        registry.register(
            "mutt_snmp_answers",
            "Responses to informs and Reports",
            answers,
        );
        registry.register(
            "mutt_snmp_usm_stats",
            "SNMPv3 messages refused by the user-based security model (RFC 3414, usmStats)",
            usm,
        );
        metrics
    }

    /// Messages that one statistic of the user-based security model counts.
    pub fn usm(&self, stat: UsmStat) -> &Counter {
        &self.usm[stat as usize]
    }
}

/// Every metric of the ingestor. Cloning it clones handles.
#[derive(Clone, Debug)]
pub struct IngestMetrics {
    /// Events waiting in the queue.
    pub queue_depth: Gauge,
    /// Seconds from the first byte of an ingest request's head to its answer.
    pub latency: Histogram,
    /// Requests refused by `ingest_max_rate`.
    pub rate_limit_hits: Counter,
    /// Events that MUTT made itself.
    pub own_events: Counter,
    /// Senders that send more than their limit now.
    pub floods: Gauge,
    /// Names of addresses.
    pub names: NameMetrics,
    /// SNMP traps and informs.
    pub snmp: SnmpMetrics,
    success: Counter,
    failed: [Counter; RejectReason::ALL.len()],
    listeners: [ListenerMetrics; Listener::ALL.len()],
    notes: Family<[(&'static str, &'static str); 1], Counter>,
}

impl IngestMetrics {
    /// Makes the metrics and enters them into the registry.
    pub fn register(registry: &mut Registry) -> Self {
        let requests = Family::<[(&str, &str); 2], Counter>::default();
        let by_listener = || Family::<[(&str, &str); 1], Counter>::default();
        let (received, parsed, accepted, kernel_drops) =
            (by_listener(), by_listener(), by_listener(), by_listener());
        let connections = Family::<[(&str, &str); 1], Gauge>::default();
        let (refused, deduplicated, flood_marked) = (by_listener(), by_listener(), by_listener());
        let repeats_held = Family::<[(&str, &str); 1], Gauge>::default();
        let names = Family::<[(&str, &str); 1], Counter>::default();
        let rejected = Family::<[(&str, &str); 2], Counter>::default();
        let handshakes = Family::<[(&str, &str); 2], Counter>::default();
        let metrics = Self {
            queue_depth: Gauge::default(),
            latency: Histogram::new(LATENCY_BUCKETS),
            rate_limit_hits: Counter::default(),
            own_events: Counter::default(),
            floods: Gauge::default(),
            names: NameMetrics {
                hits: names.get_or_create_owned(&[("result", "hit")]),
                misses: names.get_or_create_owned(&[("result", "miss")]),
                outstanding: Gauge::default(),
            },
            snmp: SnmpMetrics::register(registry),
            success: requests.get_or_create_owned(&[("status", "success"), ("reason", "")]),
            failed: RejectReason::ALL.map(|reason| {
                if reason.is_of_snmp() {
                    return Counter::default();
                }
                requests.get_or_create_owned(&[("status", "fail"), ("reason", reason.name())])
            }),
            listeners: Listener::ALL.map(|listener| {
                let label = [("listener", listener.name())];
                ListenerMetrics {
                    received: received.get_or_create_owned(&label),
                    parsed: parsed.get_or_create_owned(&label),
                    accepted: accepted.get_or_create_owned(&label),
                    deduplicated: deduplicated.get_or_create_owned(&label),
                    repeats_held: repeats_held.get_or_create_owned(&label),
                    flood_marked: flood_marked.get_or_create_owned(&label),
                    kernel_drops: kernel_drops.get_or_create_owned(&label),
                    connections: connections.get_or_create_owned(&label),
                    refused: refused.get_or_create_owned(&label),
                    rejected: RejectReason::ALL.map(|reason| {
                        if reason.is_of_snmp() && listener != Listener::SnmpTrap {
                            return Counter::default();
                        }
                        rejected.get_or_create_owned(&[label[0], ("reason", reason.name())])
                    }),
                    handshakes_failed: HandshakeFailure::ALL.map(|reason| {
                        if !listener.speaks_tls() {
                            return Counter::default();
                        }
                        handshakes.get_or_create_owned(&[label[0], ("reason", reason.name())])
                    }),
                }
            }),
            notes: Family::default(),
        };
        registry.register(
            "mutt_ingest_requests",
            "Ingest requests and batches of the other doors by outcome; reason is empty for those that succeeded",
            requests,
        );
        registry.register(
            "mutt_ingest_queue_depth",
            "Events waiting to be decided",
            metrics.queue_depth.clone(),
        );
        registry.register(
            "mutt_ingest_latency_seconds",
            "Time from an ingest request's head to its answer",
            metrics.latency.clone(),
        );
        registry.register(
            "mutt_ingest_rate_limit_hits",
            "Ingest requests refused by ingest_max_rate",
            metrics.rate_limit_hits.clone(),
        );
        registry.register(
            "mutt_ingest_received",
            "Messages read from the network, whatever became of them",
            received,
        );
        registry.register(
            "mutt_ingest_parsed",
            "Messages of a form that was understood",
            parsed,
        );
        registry.register(
            "mutt_ingest_accepted",
            "Events that are durable in the queue",
            accepted,
        );
        registry.register(
            "mutt_ingest_rejected",
            "Messages that were not taken",
            rejected,
        );
        registry.register(
            "mutt_ingest_deduplicated",
            "Messages that became part of an event that stands for several",
            deduplicated,
        );
        registry.register(
            "mutt_ingest_repeats_held",
            "Repeats of messages that no event stands for yet",
            repeats_held,
        );
        registry.register(
            "mutt_ingest_flood_marked",
            "Events beyond their sender's limit that were kept and marked",
            flood_marked,
        );
        registry.register(
            "mutt_ingest_flooding_senders",
            "Senders that send more than their limit now",
            metrics.floods.clone(),
        );
        registry.register(
            "mutt_ingest_own_events",
            "Events that MUTT made itself at the door",
            metrics.own_events.clone(),
        );
        registry.register(
            "mutt_ingest_names",
            "Look-ups of senders' names in the answers of DNS",
            names,
        );
        registry.register(
            "mutt_ingest_names_outstanding",
            "Questions to DNS that wait for an answer",
            metrics.names.outstanding.clone(),
        );
        registry.register(
            "mutt_ingest_kernel_drops",
            "Messages that the kernel dropped before they could be read",
            kernel_drops,
        );
        registry.register(
            "mutt_ingest_connections",
            "Connections open now",
            connections,
        );
        registry.register(
            "mutt_ingest_connections_refused",
            "Connections closed at once because there were too many",
            refused,
        );
        registry.register(
            "mutt_ingest_handshakes_failed",
            "TLS handshakes that failed",
            handshakes,
        );
        registry.register(
            "mutt_ingest_parse_notes",
            "Oddities that parsers noted about messages",
            metrics.notes.clone(),
        );
        metrics
    }

    /// The counters of one listener.
    pub fn listener(&self, listener: Listener) -> &ListenerMetrics {
        &self.listeners[listener as usize]
    }

    /// The counter of one kind of parse note, made where it is missing. Takes a lock: fetch all of
    /// them at the start and keep the handles. `note` must be of a fixed set.
    pub fn note(&self, note: &'static str) -> Counter {
        self.notes.get_or_create_owned(&[("note", note)])
    }

    /// Ingest requests that were answered 200, and batches of other doors that became durable.
    pub fn succeeded(&self) -> &Counter {
        &self.success
    }

    /// Ingest requests that were refused for this reason, and batches of other doors that were given
    /// up for it.
    pub fn failed(&self, reason: RejectReason) -> &Counter {
        &self.failed[reason as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_what_the_arrays_are_indexed_by() {
        for (index, listener) in Listener::ALL.into_iter().enumerate() {
            assert_eq!(listener as usize, index, "{}", listener.name());
        }
        for (index, reason) in RejectReason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, index, "{}", reason.name());
        }
        for (index, reason) in HandshakeFailure::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, index, "{}", reason.name());
        }
    }

    #[test]
    fn every_series_is_there_before_its_first_event() {
        let mut registry = Registry::default();
        let metrics = IngestMetrics::register(&mut registry);
        metrics.note("no_year");
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for line in [
            r#"mutt_ingest_requests_total{status="success",reason=""} 0"#,
            r#"mutt_ingest_requests_total{status="fail",reason="queue_full"} 0"#,
            "mutt_ingest_queue_depth 0",
            r#"mutt_ingest_latency_seconds_bucket{le="0.001"} 0"#,
            "mutt_ingest_rate_limit_hits_total 0",
            r#"mutt_ingest_received_total{listener="syslog_udp"} 0"#,
            r#"mutt_ingest_rejected_total{listener="syslog_tls",reason="framing"} 0"#,
            r#"mutt_ingest_handshakes_failed_total{listener="syslog_tls",reason="not_tls"} 0"#,
            r#"mutt_ingest_kernel_drops_total{listener="syslog_udp"} 0"#,
            r#"mutt_ingest_parse_notes_total{note="no_year"} 0"#,
        ] {
            assert!(
                text.lines().any(|found| found == line),
                "{line} is missing in\n{text}"
            );
        }
        metrics
            .listener(Listener::Relp)
            .rejected(RejectReason::TooLarge)
            .inc();
        text.clear();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        assert!(
            text.contains(r#"mutt_ingest_rejected_total{listener="relp",reason="too_large"} 1"#)
        );
    }
}

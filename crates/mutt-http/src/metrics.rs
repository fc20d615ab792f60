//! What every HTTP server counts about its connections.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::connection::Expired;

type ByServer<M> = Family<[(&'static str, &'static str); 1], M>;

/// The connection metrics of all servers of the process; registered once.
#[derive(Clone, Debug, Default)]
pub struct HttpMetrics {
    connections: ByServer<Gauge>,
    at_limit: ByServer<Counter>,
    handshakes_failed: ByServer<Counter>,
    expired: Family<[(&'static str, &'static str); 2], Counter>,
}

impl HttpMetrics {
    /// Makes the metrics and enters them into the registry.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "mutt_http_connections",
            "Open HTTP connections",
            metrics.connections.clone(),
        );
        registry.register(
            "mutt_http_connection_limit_hits",
            "Times that new connections had to wait because the most were open",
            metrics.at_limit.clone(),
        );
        registry.register(
            "mutt_http_tls_handshakes_failed",
            "TLS handshakes that failed or took too long",
            metrics.handshakes_failed.clone(),
        );
        registry.register(
            "mutt_http_timeouts",
            "Connections closed because the peer was too slow, by what was waited for",
            metrics.expired.clone(),
        );
        metrics
    }

    /// The handles of one server; `name` is its role.
    pub fn server(&self, name: &'static str) -> ServerMetrics {
        let label = [("server", name)];
        ServerMetrics {
            connections: self.connections.get_or_create_owned(&label),
            at_limit: self.at_limit.get_or_create_owned(&label),
            handshakes_failed: self.handshakes_failed.get_or_create_owned(&label),
            expired: Expired::ALL.map(|what| {
                self.expired
                    .get_or_create_owned(&[label[0], ("phase", what.name())])
            }),
        }
    }
}

/// The connection metrics of one server; the default ones are counted and shown to nobody.
#[derive(Clone, Debug, Default)]
pub struct ServerMetrics {
    pub(crate) connections: Gauge,
    pub(crate) at_limit: Counter,
    pub(crate) handshakes_failed: Counter,
    expired: [Counter; Expired::ALL.len()],
}

impl ServerMetrics {
    /// Connections that were closed because the peer was too slow in this phase.
    pub fn expired(&self, what: Expired) -> &Counter {
        &self.expired[what as usize]
    }

    /// Connections open now.
    pub fn connections(&self) -> i64 {
        self.connections.get()
    }
}

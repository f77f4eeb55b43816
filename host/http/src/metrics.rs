//! Metrics of the listeners and their requests.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::router::Listener;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfListener {
    listener: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Closed {
    listener: &'static str,
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    route: String,
    status: u16,
}

/// Counts connections and requests.
#[derive(Debug, Clone, Default)]
pub struct HttpMetrics {
    open: Family<OfListener, Gauge>,
    refused: Family<Closed, Counter>,
    closed: Family<Closed, Counter>,
    requests: Family<Answered, Counter>,
}

impl HttpMetrics {
    /// Shows the counts in `registry`.
    #[must_use]
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register("http_connections", "Open HTTP connections", metrics.open.clone());
        registry.register(
            "http_connections_refused",
            "HTTP connections refused: `total` or `client` names the limit that was reached",
            metrics.refused.clone(),
        );
        registry.register(
            "http_connections_closed",
            "HTTP connections closed by the server: for new ones, or because the client took too long",
            metrics.closed.clone(),
        );
        registry.register("http_requests", "HTTP requests answered", metrics.requests.clone());
        metrics
    }

    /// Those of one kind of listener.
    #[must_use]
    pub fn of(&self, listener: Listener) -> ListenerMetrics {
        ListenerMetrics { metrics: self.clone(), listener: listener.name() }
    }

    /// `route` is a pattern of ours, never a path that a client made up.
    pub(crate) fn answered(&self, route: &str, status: u16) {
        self.requests.get_or_create(&Answered { route: route.to_owned(), status }).inc();
    }
}

/// Counts the connections of one listener.
#[derive(Debug, Clone)]
pub struct ListenerMetrics {
    metrics: HttpMetrics,
    listener: &'static str,
}

impl ListenerMetrics {
    pub(crate) fn opened(&self) {
        self.metrics.open.get_or_create(&OfListener { listener: self.listener }).inc();
    }

    pub(crate) fn ended(&self) {
        self.metrics.open.get_or_create(&OfListener { listener: self.listener }).dec();
    }

    pub(crate) fn refused(&self, reason: &'static str) {
        self.metrics.refused.get_or_create(&Closed { listener: self.listener, reason }).inc();
    }

    pub(crate) fn closed(&self, reason: &'static str) {
        self.metrics.closed.get_or_create(&Closed { listener: self.listener, reason }).inc();
    }
}

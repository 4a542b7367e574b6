//! Metrics of the connections between nodes.

use waypost_telemetry::{Counter, Gauge, Metrics};

/// Counts a connection as open until it is dropped, also by a panic.
pub(crate) struct Open(Gauge);

impl Open {
    pub(crate) fn new(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[derive(Clone)]
pub(crate) struct TransportMetrics {
    pub(crate) links_up: Gauge,
    pub(crate) connect_failures: Counter,
    pub(crate) sent: Counter,
    pub(crate) overloaded: Counter,
    pub(crate) lost: Counter,
}

impl TransportMetrics {
    pub(crate) fn new(metrics: &Metrics) -> Self {
        Self {
            links_up: metrics.gauge("waypost_peer_links", "Connections to other nodes that are up"),
            connect_failures: metrics
                .counter("waypost_peer_connect_failures_total", "Failed attempts to connect to other nodes"),
            sent: metrics.counter("waypost_peer_requests_total", "Requests sent to other nodes"),
            overloaded: metrics.counter(
                "waypost_peer_overloaded_total",
                "Requests refused because the queue of a connection was full",
            ),
            lost: metrics.counter("waypost_peer_lost_total", "Requests whose connection broke before the answer"),
        }
    }
}

#[derive(Clone)]
pub(crate) struct SessionMetrics {
    pub(crate) sessions: Gauge,
    pub(crate) refused: Counter,
    pub(crate) broken: Counter,
    pub(crate) served: Counter,
    pub(crate) overloaded: Counter,
}

impl SessionMetrics {
    pub(crate) fn new(metrics: &Metrics) -> Self {
        Self {
            sessions: metrics.gauge("waypost_peer_sessions", "Connections from other nodes"),
            refused: metrics
                .counter("waypost_peer_handshakes_refused_total", "Connections to the peer port that were refused"),
            broken: metrics.counter("waypost_peer_bad_frames_total", "Connections closed because of a damaged frame"),
            served: metrics.counter("waypost_peer_served_total", "Requests of other nodes that were served"),
            overloaded: metrics.counter(
                "waypost_peer_refused_total",
                "Requests of other nodes refused because too many were being served",
            ),
        }
    }
}

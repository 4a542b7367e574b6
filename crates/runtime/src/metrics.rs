//! The metrics that every actor has.

use waypost_telemetry::{Counter, CounterVec, Gauge, Histogram, HistogramVec, Metrics};

const SECONDS: &[f64] = &[0.000_01, 0.000_1, 0.000_5, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0];

/// The metrics of one actor, looked up once.
#[derive(Clone)]
pub(crate) struct ActorMetrics {
    name: &'static str,
    pub(crate) inflight: Gauge,
    pub(crate) up: Gauge,
    pub(crate) given_up: Gauge,
    pub(crate) restarts: Counter,
    pub(crate) overloaded: Counter,
    pub(crate) late: Counter,
    pub(crate) gone: Counter,
    pub(crate) queue_seconds: Histogram,
    handled: CounterVec,
    handle_seconds: HistogramVec,
}

/// The metrics of one message of an actor, looked up once.
pub(crate) struct MessageMetrics {
    pub(crate) ok: Counter,
    pub(crate) error: Counter,
    pub(crate) lost: Counter,
    pub(crate) seconds: Histogram,
}

impl ActorMetrics {
    pub(crate) fn new(metrics: &Metrics, name: &'static str) -> Self {
        let rejected = metrics.counter_vec(
            "waypost_actor_rejected_total",
            "Messages refused for lack of a permit",
            &["actor", "reason"],
        );
        Self {
            name,
            inflight: metrics
                .gauge_vec("waypost_actor_inflight", "Messages queued or being handled", &["actor"])
                .with_label_values(&[name]),
            up: metrics.gauge_vec("waypost_actor_up", "Actors running", &["actor"]).with_label_values(&[name]),
            given_up: metrics
                .gauge_vec("waypost_actor_given_up", "Actors that panicked too often and stay down", &["actor"])
                .with_label_values(&[name]),
            restarts: metrics
                .counter_vec("waypost_actor_restarts_total", "Restarts after a panic", &["actor", "cause"])
                .with_label_values(&[name, "panic"]),
            overloaded: rejected.with_label_values(&[name, "overloaded"]),
            late: rejected.with_label_values(&[name, "deadline"]),
            gone: rejected.with_label_values(&[name, "unavailable"]),
            queue_seconds: metrics
                .histogram_vec("waypost_actor_queue_seconds", "Time in the mailbox", &["actor"], SECONDS)
                .with_label_values(&[name]),
            handled: metrics.counter_vec(
                "waypost_actor_handled_total",
                "Messages taken out of the mailbox, by outcome",
                &["actor", "message", "outcome"],
            ),
            handle_seconds: metrics.histogram_vec(
                "waypost_actor_handle_seconds",
                "Time from the mailbox to the answer",
                &["actor", "message"],
                SECONDS,
            ),
        }
    }

    pub(crate) fn message(&self, message: &'static str) -> MessageMetrics {
        let outcome = |outcome| self.handled.with_label_values(&[self.name, message, outcome]);
        MessageMetrics {
            ok: outcome("ok"),
            error: outcome("error"),
            lost: outcome("lost"),
            seconds: self.handle_seconds.with_label_values(&[self.name, message]),
        }
    }
}

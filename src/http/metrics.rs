//! Metrics of the HTTP surface: latency by route and status class, cache hits and misses.

use std::time::Instant;

use actix_web::http::StatusCode;
use waypost_telemetry::{Counter, Histogram, HistogramVec, Metrics};

/// Seconds; a cached redirect takes microseconds, a durable create milliseconds.
const BUCKETS: &[f64] =
    &[0.000_01, 0.000_05, 0.000_1, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0];

/// The routes under which requests are counted. All other paths count as `other`: labels are bounded.
const ROUTES: &[(&str, &str)] = &[
    ("/{code}", "redirect"),
    ("/{code}/{rest:.*}", "redirect"),
    ("/{code}+", "preview"),
    ("/shorten", "shorten"),
    ("/generate-key", "generate_key"),
    ("/analytics/{code}", "analytics"),
    ("/api/v1/bulk", "bulk"),
    ("/api/v1/bulk/links", "bulk"),
    ("/api/v1/tags", "tags"),
    ("/api/v1/tags/{tag}", "tags"),
    ("/api/v1/links", "link"),
    ("/api/v1/links/{code}", "link"),
    ("/api/v1/links/{code}/history", "history"),
    ("/api/v1/links/{code}/history/{id}/restore", "history"),
    ("/api/v1/links/{code}/qr", "qr"),
    ("/health/live", "health"),
    ("/health/ready", "health"),
];

/// The metrics of a worker. Clones share them.
#[derive(Clone)]
pub struct WorkerMetrics {
    seconds: HistogramVec,
    redirects: Histogram,
    hits: Counter,
    misses: Counter,
    /// The path of the dashboard, whose pages are counted together.
    dashboard: Option<String>,
}

impl WorkerMetrics {
    /// Registers the metrics, or finds registered ones. `dashboard` is the path of the dashboard, if there is one.
    pub fn new(metrics: &Metrics, dashboard: Option<&str>) -> Self {
        let seconds = metrics.histogram_vec(
            "waypost_http_request_seconds",
            "Time from reading a request to having its answer",
            &["route", "class"],
            BUCKETS,
        );
        Self {
            redirects: seconds.with_label_values(&["redirect", "3xx"]),
            seconds,
            hits: metrics.counter("waypost_cache_hits_total", "Redirects answered from the link cache"),
            misses: metrics.counter("waypost_cache_misses_total", "Redirects of links that were not in the link cache"),
            dashboard: dashboard.map(str::to_owned),
        }
    }

    /// A redirect was answered without the `App`.
    pub fn redirect(&self, started: Instant) {
        self.redirects.observe(started.elapsed().as_secs_f64());
    }

    /// The cache had the link.
    pub fn hit(&self) {
        self.hits.inc();
    }

    /// The cache did not have the link.
    pub fn miss(&self) {
        self.misses.inc();
    }

    /// The label of a pattern.
    fn route(&self, pattern: &str) -> &'static str {
        let is_page = || self.dashboard.as_deref().is_some_and(|path| pattern.starts_with(path));
        match ROUTES.iter().find(|(known, _)| *known == pattern) {
            Some((_, route)) => route,
            None if is_page() => "dashboard",
            None => "other",
        }
    }

    /// A request was answered by the `App`.
    pub fn request(&self, pattern: Option<&str>, status: StatusCode, started: Instant) {
        let route = pattern.map_or("other", |pattern| self.route(pattern));
        let class = match status.as_u16() {
            100..=199 => "1xx",
            200..=299 => "2xx",
            300..=399 => "3xx",
            400..=499 => "4xx",
            _ => "5xx",
        };
        self.seconds.with_label_values(&[route, class]).observe(started.elapsed().as_secs_f64());
    }
}

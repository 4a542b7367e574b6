//! The registry of metrics, which is passed to every part that counts something.

use std::any::Any;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus::core::Collector;
use prometheus::{HistogramOpts, Opts, Registry, TextEncoder};

use crate::process::Process;

/// A number that only grows.
pub type Counter = prometheus::IntCounter;
/// Counters with labels.
pub type CounterVec = prometheus::IntCounterVec;
/// A number that goes up and down.
pub type Gauge = prometheus::IntGauge;
/// Gauges with labels.
pub type GaugeVec = prometheus::IntGaugeVec;
/// A distribution.
pub type Histogram = prometheus::Histogram;
/// Histograms with labels.
pub type HistogramVec = prometheus::HistogramVec;

type Hook = Box<dyn Fn() + Send + Sync>;

/// The metrics of a process. Clones share them; asking twice for the same name returns the same metric.
#[derive(Clone, Default)]
pub struct Metrics {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    registry: Registry,
    known: Mutex<HashMap<String, Box<dyn Any + Send>>>,
    hooks: Mutex<Vec<Hook>>,
}

impl Metrics {
    /// An empty registry.
    pub fn new() -> Self {
        Self::default()
    }

    fn get<C: Collector + Clone + Send + 'static>(
        &self,
        name: &str,
        make: impl FnOnce() -> prometheus::Result<C>,
    ) -> C {
        let mut known = self.inner.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(metric) = known.get(name) {
            return metric.downcast_ref::<C>().expect("invariant: a metric's name has one kind").clone();
        }
        let metric = make().expect("invariant: metric names and labels are literals of the right form");
        self.inner.registry.register(Box::new(metric.clone())).expect("invariant: the name was not known");
        known.insert(name.to_owned(), Box::new(metric.clone()));
        metric
    }

    /// Returns the counter of this name.
    pub fn counter(&self, name: &str, help: &str) -> Counter {
        self.get(name, || Counter::new(name, help))
    }

    /// Returns the counters of this name, by labels.
    pub fn counter_vec(&self, name: &str, help: &str, labels: &[&str]) -> CounterVec {
        self.get(name, || CounterVec::new(Opts::new(name, help), labels))
    }

    /// Returns the gauge of this name.
    pub fn gauge(&self, name: &str, help: &str) -> Gauge {
        self.get(name, || Gauge::new(name, help))
    }

    /// Returns the gauges of this name, by labels.
    pub fn gauge_vec(&self, name: &str, help: &str, labels: &[&str]) -> GaugeVec {
        self.get(name, || GaugeVec::new(Opts::new(name, help), labels))
    }

    /// Returns the histogram of this name, with these upper bounds of its buckets.
    pub fn histogram(&self, name: &str, help: &str, buckets: &[f64]) -> Histogram {
        self.get(name, || Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets.to_vec())))
    }

    /// Returns the histograms of this name, by labels.
    pub fn histogram_vec(&self, name: &str, help: &str, labels: &[&str], buckets: &[f64]) -> HistogramVec {
        self.get(name, || HistogramVec::new(HistogramOpts::new(name, help).buckets(buckets.to_vec()), labels))
    }

    /// Calls `refresh` before each rendering, for gauges whose value is kept elsewhere.
    pub fn on_scrape(&self, refresh: impl Fn() + Send + Sync + 'static) {
        self.inner.hooks.lock().unwrap_or_else(PoisonError::into_inner).push(Box::new(refresh));
    }

    fn observe_process(&self) {
        self.gauge_vec("waypost_build_info", "1; the label tells the version", &["version"])
            .with_label_values(&[env!("CARGO_PKG_VERSION")])
            .set(1);
        let Process { resident_bytes, started, open_files } = Process::read();
        if let Some(bytes) = resident_bytes {
            self.gauge("process_resident_memory_bytes", "Resident memory of the process").set(bytes);
        }
        if let Some(started) = started {
            self.gauge("process_start_time_seconds", "Start time of the process, in seconds since 1970").set(started);
        }
        if let Some(files) = open_files {
            self.gauge("process_open_fds", "Open file descriptors").set(files);
        }
    }

    /// Renders all metrics in Prometheus' text format 0.0.4.
    pub fn render(&self) -> String {
        self.observe_process();
        for refresh in self.inner.hooks.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            refresh();
        }
        TextEncoder::new().encode_to_string(&self.inner.registry.gather()).unwrap_or_else(|error| {
            tracing::error!(%error, "metrics cannot be rendered");
            String::new()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_name_gives_the_same_metric() {
        let metrics = Metrics::new();
        metrics.counter("test_total", "A test").inc();
        metrics.clone().counter("test_total", "A test").inc();
        assert!(metrics.render().contains("test_total 2"), "{}", metrics.render());
    }

    #[test]
    fn hooks_run_before_rendering() {
        let metrics = Metrics::new();
        let gauge = metrics.gauge("test_level", "A test");
        metrics.on_scrape(move || gauge.set(7));
        assert!(metrics.render().contains("test_level 7"));
    }

    #[test]
    fn the_process_is_described() {
        let text = Metrics::new().render();
        assert!(text.contains("waypost_build_info{version="), "{text}");
        assert!(text.contains("process_resident_memory_bytes"), "{text}");
    }
}

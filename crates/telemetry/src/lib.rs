//! Metrics and logs: the only crate that names prometheus.

mod ecs;
mod logging;
mod metrics;
mod process;

pub use logging::{LogFormat, TelemetryError, init_logging, install_panic_hook};
pub use metrics::{Counter, CounterVec, Gauge, GaugeVec, Histogram, HistogramVec, Metrics};

//! Metrics, logs and traces: the only crate that names prometheus and opentelemetry.

mod ecs;
mod logging;
mod memory;
mod metrics;
mod process;
mod traces;

pub use logging::{LogFormat, TelemetryError, check_level, init_logging, install_panic_hook};
pub use memory::{memory_limit, memory_taken};
pub use metrics::{Counter, CounterVec, Gauge, GaugeVec, Histogram, HistogramVec, Metrics};
pub use traces::{Span, SpanKind, flush_traces, init_traces, traces_on};

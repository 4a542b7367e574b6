//! Traces: the work for one request, where it was done, and how long it took, sent to a collector over OTLP. Off by default.
//!
//! A span is begun with the ids of its trace and of its parent span (W3C Trace Context).
//! Whether a request is traced is decided once, at the node that receives it.

use std::borrow::Cow;
use std::sync::OnceLock;
use std::time::Duration;

use opentelemetry::trace::{
    Span as _, SpanContext, SpanId, Status, TraceContextExt, TraceFlags, TraceId, TraceState, Tracer, TracerProvider,
};
use opentelemetry::{Context, InstrumentationScope, KeyValue};
use opentelemetry_otlp::{SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracer, SdkTracerProvider, Span as SdkSpan,
};

use crate::TelemetryError;

/// The number of spans that may wait for the collector; further ones are dropped.
const QUEUE_MAX: usize = 4096;

/// The number of spans in one request to the collector, the interval of these requests, and their timeout.
const BATCH_MAX: usize = 512;
const EVERY: Duration = Duration::from_secs(2);
const SEND_MAX: Duration = Duration::from_secs(5);

/// How long sending the last spans may take when the node stops.
const FLUSH_MAX: Duration = Duration::from_secs(2);

struct Traces {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
}

static TRACES: OnceLock<Traces> = OnceLock::new();

/// From now on, sends spans to the collector at `endpoint`, such as `http://127.0.0.1:4318`.
///
/// # Errors
/// If the endpoint is not valid.
pub fn init_traces(endpoint: &str, node: &str, version: &'static str) -> Result<(), TelemetryError> {
    let unusable = |error: &dyn std::fmt::Display| TelemetryError::Traces(error.to_string());
    // The collector is near: proxies from the environment are not used.
    // The protocol is plain HTTP: no certificates are read.
    let client = reqwest::blocking::Client::builder().tls_certs_only([]).no_proxy().timeout(SEND_MAX);
    let client = client.build().map_err(|error| unusable(&error))?;
    let exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(client)
        .with_endpoint(format!("{}/v1/traces", endpoint.trim_end_matches('/')))
        .with_timeout(SEND_MAX)
        .build()
        .map_err(|error| unusable(&error))?;
    let config = BatchConfigBuilder::default()
        .with_max_queue_size(QUEUE_MAX)
        .with_max_export_batch_size(BATCH_MAX)
        .with_scheduled_delay(EVERY)
        .build();
    let resource = Resource::builder()
        .with_service_name("waypost")
        .with_attribute(KeyValue::new("service.version", version))
        .with_attribute(KeyValue::new("service.instance.id", node.to_owned()))
        .build();
    let provider = SdkTracerProvider::builder()
        .with_span_processor(BatchSpanProcessor::builder(exporter).with_batch_config(config).build())
        // Only requests that are to be traced get here.
        .with_sampler(Sampler::AlwaysOn)
        .with_resource(resource)
        .build();
    let tracer = provider.tracer_with_scope(InstrumentationScope::builder("waypost").with_version(version).build());
    TRACES.set(Traces { provider, tracer }).map_err(|_| TelemetryError::Twice)
}

/// Whether traces are on.
pub fn traces_on() -> bool {
    TRACES.get().is_some()
}

/// Sends the waiting spans; for the end of the process.
pub fn flush_traces() {
    if let Some(traces) = TRACES.get()
        && let Err(error) = traces.provider.shutdown_with_timeout(FLUSH_MAX)
    {
        tracing::warn!(%error, "the last spans could not be sent");
    }
}

/// The role of a span in a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpanKind {
    /// A request from outside.
    Server,
    /// A request to another node.
    Client,
    /// A message in an actor.
    Internal,
}

/// A timed operation. It ends when it is dropped.
#[derive(Default)]
pub struct Span(Option<Box<SdkSpan>>);

impl Span {
    /// Begins a span in the trace `trace` (32 hexadecimal digits), as a child of its span `parent`. Without
    /// these (an empty text, zero) it begins a new trace. If traces are off, the span does nothing.
    pub fn begin(kind: SpanKind, name: impl Into<Cow<'static, str>>, trace: &str, parent: u64) -> Self {
        let Some(traces) = TRACES.get() else { return Self(None) };
        let within = match TraceId::from_hex(trace) {
            Ok(trace) if trace != TraceId::INVALID && parent != 0 => {
                let id = SpanId::from(parent);
                let context = SpanContext::new(trace, id, TraceFlags::SAMPLED, true, TraceState::NONE);
                Context::new().with_remote_span_context(context)
            }
            _ => Context::new(),
        };
        let kind = match kind {
            SpanKind::Server => opentelemetry::trace::SpanKind::Server,
            SpanKind::Client => opentelemetry::trace::SpanKind::Client,
            SpanKind::Internal => opentelemetry::trace::SpanKind::Internal,
        };
        let span = traces.tracer.span_builder(name).with_kind(kind).start_with_context(&traces.tracer, &within);
        Self(Some(Box::new(span)))
    }

    /// The id of its trace (32 hexadecimal digits), and its own id. `None` if traces are off.
    pub fn ids(&self) -> Option<(String, u64)> {
        let context = self.0.as_ref()?.span_context();
        Some((context.trace_id().to_string(), u64::from_be_bytes(context.span_id().to_bytes())))
    }

    /// Adds an attribute.
    pub fn note(&mut self, key: &'static str, value: impl Into<opentelemetry::Value>) {
        if let Some(span) = &mut self.0 {
            span.set_attribute(KeyValue::new(key, value));
        }
    }

    /// Adds an event with the present time.
    pub fn event(&mut self, name: &'static str) {
        if let Some(span) = &mut self.0 {
            span.add_event(name, Vec::new());
        }
    }

    /// Changes the name: the route of a request is known only after routing.
    pub fn rename(&mut self, name: impl Into<Cow<'static, str>>) {
        if let Some(span) = &mut self.0 {
            span.update_name(name);
        }
    }

    /// Marks the span as failed.
    pub fn fail(&mut self, why: impl Into<Cow<'static, str>>) {
        if let Some(span) = &mut self.0 {
            span.set_status(Status::error(why));
        }
    }
}

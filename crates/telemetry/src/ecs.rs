//! Events as JSON objects with the field names of the Elastic Common Schema, so that a collector needs no parsing rules.
//!
//! ECS 8: <https://www.elastic.co/guide/en/ecs/8.17/ecs-field-reference.html>. What has no field there is below `waypost`.

use std::fmt;

use serde_json::{Map, Value, json};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::{JsonFields, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormattedFields};
use tracing_subscriber::registry::LookupSpan;

const ECS_VERSION: &str = "8.17.0";

/// Writes events for a node.
pub(crate) struct Ecs {
    pub(crate) node: String,
}

#[derive(Default)]
struct Fields {
    message: String,
    error: Option<String>,
    other: Map<String, Value>,
}

impl Fields {
    fn put(&mut self, field: &Field, value: Value) {
        let text = |value: Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        match field.name() {
            "message" => self.message = text(value),
            "error" => self.error = Some(text(value)),
            name => drop(self.other.insert(name.to_owned(), value)),
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}").into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value.into());
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> FormatEvent<S, JsonFields> for Ecs {
    fn format_event(
        &self,
        context: &FmtContext<'_, S, JsonFields>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let meta = event.metadata();
        let mut line = Map::new();
        line.insert("@timestamp".to_owned(), format!("{:.3}", jiff::Timestamp::now()).into());
        line.insert("log.level".to_owned(), meta.level().as_str().to_ascii_lowercase().into());
        line.insert("message".to_owned(), fields.message.into());
        line.insert("ecs.version".to_owned(), ECS_VERSION.into());
        line.insert("service.name".to_owned(), "waypost".into());
        line.insert("service.version".to_owned(), env!("CARGO_PKG_VERSION").into());
        line.insert("service.node.name".to_owned(), self.node.clone().into());
        line.insert("process.pid".to_owned(), std::process::id().into());
        line.insert("log.logger".to_owned(), meta.target().into());
        if let Some(error) = fields.error {
            line.insert("error.message".to_owned(), error.into());
        }
        // The request for which the work was done, from the innermost span that names one.
        for span in context.event_scope().into_iter().flat_map(|scope| scope.from_root()) {
            let extensions = span.extensions();
            let Some(written) = extensions.get::<FormattedFields<JsonFields>>() else { continue };
            if let Ok(Value::Object(of_span)) = serde_json::from_str(&written.fields) {
                line.extend(of_span);
            }
        }
        if !fields.other.is_empty() {
            line.insert("waypost".to_owned(), fields.other.into());
        }
        writeln!(writer, "{}", json!(line))
    }
}

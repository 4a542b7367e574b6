//! Logs: one event a line, on standard error, for people or for programs.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::JsonFields;

use crate::ecs::Ecs;

/// How an event is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Human,
    /// A JSON object a line, with the field names of the Elastic Common Schema.
    Json,
}

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The level is not a filter.
    #[error("\"{level}\" is no log level; use error, warn, info, debug or trace: {reason}")]
    Level {
        /// What was given.
        level: String,
        /// Why it cannot be used.
        reason: String,
    },
    /// Traces cannot be sent there.
    #[error("traces cannot be sent: {0}")]
    Traces(String),
    /// Somebody set it up before.
    #[error("logging or tracing is set up already")]
    Twice,
}

/// Sends all events of at least `level` to standard error. `level` may also be a list like `info,openraft=warn`. `node` is the name
/// that each event has for a program.
///
/// # Errors
/// When the level is none, or logging was set up before.
pub fn init_logging(format: LogFormat, level: &str, node: &str) -> Result<(), TelemetryError> {
    // openraft warns of harmless races at every first start, for each of its groups; the others tell of every step at info.
    let mut quiet = if level.contains('=') {
        level.to_owned()
    } else {
        format!("{level},openraft=error,sled=warn,actix_server=warn,actix_http=warn,opentelemetry-otlp=error")
    };
    // actix-http has an error for every request that it cannot read, and anybody can send as many as there is room for. The listener counts
    // them, and tells of some itself.
    const EACH_REQUEST: &str = "actix_http::h1::dispatcher";
    if !quiet.contains(EACH_REQUEST) {
        quiet = format!("{quiet},{EACH_REQUEST}=off");
    }
    let filter = EnvFilter::try_new(quiet)
        .map_err(|error| TelemetryError::Level { level: level.to_owned(), reason: error.to_string() })?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false);
    match format {
        LogFormat::Human => builder.try_init(),
        LogFormat::Json => builder.fmt_fields(JsonFields::new()).event_format(Ecs { node: node.to_owned() }).try_init(),
    }
    .map_err(|_| TelemetryError::Twice)
}

/// Has panics logged like other events, with their place.
pub fn install_panic_hook() {
    std::panic::set_hook(Box::new(|panic| {
        let text = panic.payload_as_str().unwrap_or("(no text)");
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(panic = text, place, "panic");
    }));
}

//! Logs: one event a line, on standard error, for people or for programs.

use std::ffi::OsStr;
use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::format::JsonFields;

use crate::ecs::Ecs;

/// The format of log events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Text for people.
    Human,
    /// A JSON object a line, with the field names of the Elastic Common Schema.
    Json,
}

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The log level is not valid.
    #[error(
        "\"{level}\" is not a log level; use error, warn, info, debug, trace or off, or a list with levels for parts of the \
         program, such as \"info,openraft=debug\""
    )]
    Level {
        /// The given level, or the invalid part of the list.
        level: String,
    },
    /// Traces cannot be sent to the endpoint.
    #[error("traces cannot be sent: {0}")]
    Traces(String),
    /// Logging was already set up.
    #[error("logging or tracing is set up already")]
    Twice,
}

/// actix-http logs an error for every malformed request, and anybody can send any number of those. The listener counts
/// them, and logs some of them itself.
const EACH_REQUEST: &str = "actix_http::h1::dispatcher";

/// Checks a log filter: one level, or a list such as `info,openraft=warn`.
///
/// # Errors
/// [`TelemetryError::Level`] with the invalid part.
pub fn check_level(level: &str) -> Result<(), TelemetryError> {
    filter(level).map(|_| ())
}

/// The filter for a level. A word that is not a level would select only the events of a module of that name, so it is refused.
fn filter(level: &str) -> Result<EnvFilter, TelemetryError> {
    let wrong = |part: &str| TelemetryError::Level { level: part.to_owned() };
    let parts: Vec<&str> = level.split(',').map(str::trim).collect();
    let is_level = |text: &str| text.parse::<LevelFilter>().is_ok() && !text.is_empty();
    // The path of a module, optionally followed by the required properties of a span in brackets.
    let is_target = |text: &str| {
        let path = text.split('[').next().unwrap_or_default();
        !text.is_empty() && path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-:.".contains(&byte))
    };
    for part in &parts {
        let right = match part.rsplit_once('=') {
            Some((target, level)) => is_target(target) && is_level(level),
            None => is_level(part),
        };
        if !right {
            return Err(wrong(part));
        }
    }
    let directives = match parts.as_slice() {
        // openraft warns of harmless races at every first start of each of its groups; other libraries log every step at info.
        [level] if !level.contains('=') => {
            format!("{level},openraft=error,sled=warn,actix_server=warn,actix_http=warn,opentelemetry-otlp=error")
        }
        // Without a general level, parts that the list does not name would never be logged.
        parts if parts.iter().all(|part| part.contains('=')) => format!("info,{}", parts.join(",")),
        parts => parts.join(","),
    };
    let directives = match directives.contains(EACH_REQUEST) {
        true => directives,
        false => format!("{directives},{EACH_REQUEST}=off"),
    };
    EnvFilter::try_new(directives).map_err(|_| wrong(level))
}

/// Whether events are coloured: on a terminal, unless `NO_COLOR` has a value (<https://no-color.org>) or the terminal cannot.
fn coloured(terminal: bool, no_color: Option<&OsStr>, term: Option<&OsStr>) -> bool {
    terminal && no_color.is_none_or(OsStr::is_empty) && term.is_none_or(|term| term != "dumb")
}

/// Sends all events of at least `level` to standard error. `level` may also be a list such as `info,openraft=warn`. `node` is the node
/// name in JSON events.
///
/// # Errors
/// If the level is not valid, or logging was already set up.
pub fn init_logging(format: LogFormat, level: &str, node: &str) -> Result<(), TelemetryError> {
    let filter = filter(level)?;
    let (no_color, term) = (std::env::var_os("NO_COLOR"), std::env::var_os("TERM"));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(coloured(std::io::stderr().is_terminal(), no_color.as_deref(), term.as_deref()))
        .with_target(false);
    match format {
        LogFormat::Human => builder.try_init(),
        LogFormat::Json => builder.fmt_fields(JsonFields::new()).event_format(Ecs { node: node.to_owned() }).try_init(),
    }
    .map_err(|_| TelemetryError::Twice)
}

/// Logs panics like other events, with their location.
pub fn install_panic_hook() {
    std::panic::set_hook(Box::new(|panic| {
        let text = panic.payload_as_str().unwrap_or("(no text)");
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(panic = text, place, "panic");
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_level_is_one_of_the_known_ones_or_a_list_of_them() {
        for level in
            ["error", "warn", "INFO", "debug", "trace", "off", "info,openraft=debug", " warn , sled=off", "sled=trace"]
        {
            assert!(check_level(level).is_ok(), "{level}");
        }
        for (level, part) in [
            ("loud", "loud"),
            ("warning", "warning"),
            ("", ""),
            ("info,", ""),
            ("info,openraft", "openraft"),
            ("info,openraft=loud", "openraft=loud"),
            ("info;openraft=debug", "info;openraft=debug"),
            ("openraft:debug", "openraft:debug"),
            ("=debug", "=debug"),
            ("-1", "-1"),
        ] {
            let refused = check_level(level).unwrap_err().to_string();
            assert!(refused.starts_with(&format!("\"{part}\" is not a log level")), "{level}: {refused}");
            assert!(refused.contains("error, warn, info, debug, trace or off"), "{refused}");
        }
    }

    #[test]
    fn a_list_without_a_level_for_all_still_lets_warnings_of_the_others_through() {
        assert!(filter("openraft=debug").unwrap().to_string().contains("info"));
        assert!(!filter("off,openraft=debug").unwrap().to_string().contains("info"));
    }

    #[test]
    fn events_are_coloured_on_a_terminal_only_and_not_when_colours_are_unwanted() {
        let text = |text: &'static str| Some(OsStr::new(text));
        assert!(coloured(true, None, None) && coloured(true, text(""), text("xterm")));
        assert!(!coloured(false, None, text("xterm")));
        assert!(!coloured(true, text("1"), text("xterm")) && !coloured(true, None, text("dumb")));
    }
}

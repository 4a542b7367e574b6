//! Reads the file, and explains errors: where they are, and what is probably meant.

use super::{ConfigError, Raw};

/// How similar two keys must be for a suggestion.
const ALIKE: f64 = 0.7;

/// Parses the text of a file called `name`.
pub(super) fn parse(text: &str, name: &str) -> Result<Raw, ConfigError> {
    toml::from_str(text).map_err(|error| {
        let offset = error.span().map_or(0, |span| span.start.min(text.len()));
        let line = text.as_bytes()[..offset].iter().filter(|byte| **byte == b'\n').count() + 1;
        let table = text.lines().take(line).filter(|line| line.trim_start().starts_with('[')).last();
        let message = explain(error.message(), table.map(str::trim));
        ConfigError::Invalid { place: format!("{name}:{line}"), message }
    })
}

/// Turns "unknown field `x`, expected one of `a`, `b`" into a readable message.
pub(super) fn explain(message: &str, table: Option<&str>) -> String {
    let Some((key, rest)) = message.strip_prefix("unknown field `").and_then(|rest| rest.split_once('`')) else {
        return message.lines().next().unwrap_or(message).to_owned();
    };
    let known: Vec<&str> = rest.split('`').skip(1).step_by(2).collect();
    let place = match table {
        Some(table) if !table.trim_start_matches('[').starts_with(key) => format!(" in {table}"),
        _ => String::new(),
    };
    format!("unknown key \"{key}\"{place}; {}", suggest(key, &known))
}

/// "did you mean …?", or the list of known keys.
pub(super) fn suggest(key: &str, known: &[&str]) -> String {
    let nearest = known
        .iter()
        .map(|candidate| (strsim::jaro_winkler(key, candidate), *candidate))
        .max_by(|(one, _), (other, _)| one.total_cmp(other));
    match nearest {
        Some((alike, candidate)) if alike >= ALIKE => format!("did you mean \"{candidate}\"?"),
        _ => format!("known here: {}", known.join(", ")),
    }
}

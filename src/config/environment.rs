//! Overrides by environment variables: `WAYPOST_<TABLE>_<KEY>`.
//!
//! The variables follow from the shipped file, so each documented key can be overridden, and no other.
//! An empty variable counts as not set, because container templates list all variables and leave some empty. For
//! secrets an empty variable is an error: it must not open the node by mistake.

use std::collections::BTreeMap;
use std::ffi::OsString;

use toml::{Table, Value};

use super::explain::{explain, suggest};
use super::{ConfigError, Raw};

const PREFIX: &str = "WAYPOST_";

/// The directory in which a service manager puts secrets.
const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";

/// Variables that hold a secret, or name the file of one.
pub(crate) const SECRETS: &[&str] = &[
    "WAYPOST_ADMIN_KEY",
    "WAYPOST_ADMIN_KEY_FILE",
    "WAYPOST_API_KEY",
    "WAYPOST_API_KEY_FILE",
    "WAYPOST_CLUSTER_SECRET",
    "WAYPOST_CLUSTER_SECRET_FILE",
];

/// Variables that are not keys of the file.
pub(super) const OTHERS: &[&str] = &[
    "WAYPOST_ADMIN",
    "WAYPOST_ADMIN_KEY",
    "WAYPOST_ADMIN_KEY_FILE",
    "WAYPOST_API_KEY",
    "WAYPOST_API_KEY_FILE",
    "WAYPOST_CLUSTER_SECRET",
    "WAYPOST_CLUSTER_SECRET_FILE",
    "WAYPOST_SERVER",
];

/// Variables that set an option and not a key of the file.
pub(crate) const OF_OPTIONS: &[&str] =
    &["WAYPOST_CONFIG", "WAYPOST_NODE", "WAYPOST_DATA_DIR", "WAYPOST_LISTEN", "WAYPOST_ADMIN_LISTEN"];

/// Checks that all variables are known, as a node does before it starts.
///
/// # Errors
/// If one is unknown; with the known one that is most alike.
pub(crate) fn all_known(environment: &BTreeMap<String, String>) -> Result<(), ConfigError> {
    let known = variables();
    let is_known = |variable: &str| known.contains_key(variable) || OF_OPTIONS.contains(&variable);
    overrides(environment)
        .find(|(variable, _)| !is_known(variable))
        .map_or(Ok(()), |(variable, _)| Err(unknown(variable, &known)))
}

/// The variables that override a key, or are unknown.
fn overrides(environment: &BTreeMap<String, String>) -> impl Iterator<Item = (&String, &String)> {
    let is_one = |variable: &str, text: &str| {
        variable.starts_with(PREFIX) && !OTHERS.contains(&variable) && !is_service_link(variable, text)
    };
    environment.iter().filter(move |(variable, text)| is_one(variable, text))
}

fn unknown(variable: &str, known: &BTreeMap<String, (String, String)>) -> ConfigError {
    let others = OTHERS.iter().chain(OF_OPTIONS).copied();
    let names: Vec<&str> = known.keys().map(String::as_str).chain(others).collect();
    ConfigError::Invalid {
        place: variable.to_owned(),
        message: format!("unknown variable; {}", suggest(variable, &names)),
    }
}

/// The variables of this program that are set. An empty one counts as not set, unless it is for a secret.
///
/// # Errors
/// If one of them is not UTF-8, because its value would be ignored.
pub(crate) fn variables_set(
    all: impl Iterator<Item = (OsString, OsString)>,
) -> Result<BTreeMap<String, String>, ConfigError> {
    let mut set = BTreeMap::new();
    for (name, value) in all {
        let Some(name) = name.to_str().filter(|name| name.starts_with(PREFIX) || *name == CREDENTIALS) else {
            continue;
        };
        let Some(value) = value.to_str() else {
            return Err(ConfigError::Invalid { place: name.to_owned(), message: "it is not UTF-8".to_owned() });
        };
        if !value.trim().is_empty() || SECRETS.contains(&name) {
            set.insert(name.to_owned(), value.to_owned());
        }
    }
    Ok(set)
}

/// The variable that overrides a key.
pub(super) fn variable_of(section: &str, key: &str) -> String {
    format!("{PREFIX}{}_{}", section.to_uppercase(), key.to_uppercase())
}

/// The file with the overrides of the environment.
pub(super) fn overlay(raw: Raw, environment: &BTreeMap<String, String>) -> Result<Raw, ConfigError> {
    let known = variables();
    let mut table = as_table(&raw);
    for (variable, text) in overrides(environment) {
        let invalid = |message: String| ConfigError::Invalid { place: variable.clone(), message };
        let Some((section, key)) = known.get(variable) else { return Err(unknown(variable, &known)) };
        let old = table.get_mut(section).and_then(|section| section.as_table_mut());
        let Some(section) = old else { continue };
        let value = match section.get(key) {
            Some(Value::Boolean(_)) => match text.trim() {
                "true" => Value::Boolean(true),
                "false" => Value::Boolean(false),
                _ => return Err(invalid(format!("\"{text}\" is neither true nor false"))),
            },
            Some(Value::Integer(_)) => text
                .trim()
                .parse()
                .map(Value::Integer)
                .map_err(|_| invalid(format!("\"{text}\" is not a whole number")))?,
            _ => Value::String(text.clone()),
        };
        section.insert(key.clone(), value);
        // Checked one by one, so that an error names its variable.
        let checked: Result<Raw, _> = Value::Table(table.clone()).try_into();
        checked.map_err(|error| invalid(explain(error.message(), None)))?;
    }
    Value::Table(table).try_into().map_err(|error: toml::de::Error| ConfigError::Invalid {
        place: "the environment".to_owned(),
        message: error.message().to_owned(),
    })
}

/// Kubernetes gives each container variables like `WAYPOST_PORT=tcp://10.0.0.7:80` for a Service that is named waypost.
fn is_service_link(variable: &str, text: &str) -> bool {
    let Some((_, end)) = variable.split_once("_SERVICE_").or_else(|| variable.split_once("_PORT")) else {
        return false;
    };
    let link = end.is_empty()
        || end.starts_with("HOST")
        || end.starts_with("PORT")
        || end.starts_with('_') && (end.contains("_TCP") || end.contains("_UDP"));
    link && (variable.contains("_SERVICE_") || end.starts_with('_') || text.contains("://"))
}

fn as_table(raw: &Raw) -> Table {
    Table::try_from(raw).expect("invariant: what was read from TOML can be written as TOML")
}

/// The variable of each key, with the key's table and name. Nodes are lists and have none.
fn variables() -> BTreeMap<String, (String, String)> {
    let mut variables = BTreeMap::new();
    for (section, value) in as_table(&Raw::default()) {
        for key in value.as_table().into_iter().flat_map(Table::keys) {
            variables.insert(variable_of(&section, key), (section.clone(), key.clone()));
        }
    }
    variables
}

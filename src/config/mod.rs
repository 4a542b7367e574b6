//! Configuration: the shipped defaults, then the file, then the environment, then the command line.
//!
//! `raw` is the file as it is written; `valid` is what the rest of the program uses. An error names its
//! location and the valid values.

mod address;
mod build;
mod bytes;
mod check;
mod dashboard;
mod environment;
mod explain;
mod files;
mod memory;
mod origin;
mod raw;
mod secret;
mod service;
mod valid;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

pub use address::{PeerAddress, parse_listen};
pub use bytes::ByteSize;
use check::Checker;
pub(crate) use environment::{OF_OPTIONS, SECRETS, all_known, variables_set};
pub use memory::MemoryBudget;
use origin::Origins;
use raw::Raw;
pub use secret::SecretText;
pub(crate) use secret::{flaw, read_secret, read_secret_from};
pub use service::ServiceName;
pub use valid::{AnalyticsRule, Config, DashboardConfig, DashboardListener, NodeConfig, VisitorRules};

/// The shipped file. Its values are the defaults.
pub const SHIPPED: &str = include_str!("../../cluster.toml");

/// An error in the configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{}: {reason}", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// A value in the file is not valid.
    #[error("{place}: {message}")]
    Invalid {
        /// The file and line, the environment variable, or the option.
        place: String,
        /// What is wrong, and which values are valid.
        message: String,
    },
}

/// The options of the command line.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// `--config`.
    pub file: Option<PathBuf>,
    /// `--node`.
    pub node: Option<String>,
    /// `--data-dir`.
    pub data_dir: Option<PathBuf>,
    /// `--listen`.
    pub listen: Option<SocketAddr>,
    /// `--admin-listen`.
    pub admin_listen: Option<SocketAddr>,
    /// Whether the command talks to no other node and listens to none, so that it needs no secret.
    pub offline: bool,
}

/// A file of this name in the working directory is not read: `--config` names the file.
const USUAL_NAME: &str = "cluster.toml";

impl Overrides {
    /// A file in the working directory that a user might expect to be read, if no file was named.
    pub fn unread_file(&self) -> Option<UnreadFile> {
        if self.file.is_some() {
            return None;
        }
        let text = std::fs::read(USUAL_NAME).ok()?;
        Some(UnreadFile { differs: text != SHIPPED.as_bytes() })
    }
}

/// A `cluster.toml` in the working directory that is not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the {USUAL_NAME} in this directory is not read, and the shipped defaults apply; give --config {USUAL_NAME} to use it"
)]
pub struct UnreadFile {
    /// Whether it differs from the shipped defaults.
    pub differs: bool,
}

/// The layers of a configuration, before they are checked.
struct Layers {
    /// The text of the file.
    text: String,
    name: String,
    raw: Raw,
}

fn layers(overrides: &Overrides, environment: &BTreeMap<String, String>) -> Result<Layers, ConfigError> {
    let (text, name) = match &overrides.file {
        Some(path) => (read(path)?, path.display().to_string()),
        None => (SHIPPED.to_owned(), "the shipped defaults".to_owned()),
    };
    let raw = environment::overlay(explain::parse(&text, &name)?, environment)?;
    Ok(Layers { text, name, raw })
}

impl Layers {
    /// Without a file there are no lines to name.
    fn origins<'a>(&'a self, overrides: &Overrides, environment: &'a BTreeMap<String, String>) -> Origins<'a> {
        let text = if overrides.file.is_some() { self.text.as_str() } else { "" };
        Origins::new(&self.name, text, environment)
    }
}

/// Merges and checks the layers.
///
/// # Errors
/// [`ConfigError`] with the location of the error.
pub fn load(overrides: &Overrides, environment: &BTreeMap<String, String>) -> Result<Config, ConfigError> {
    let layers = layers(overrides, environment)?;
    let origins = layers.origins(overrides, environment);
    Config::build(layers.raw.clone(), overrides, environment, &layers.name, &origins)
}

/// Like [`load`], for a node that is about to start: also checks that the files which the configuration names can be used.
///
/// # Errors
/// [`ConfigError`] with the location of the error.
pub fn load_to_serve(overrides: &Overrides, environment: &BTreeMap<String, String>) -> Result<Config, ConfigError> {
    let layers = layers(overrides, environment)?;
    let origins = layers.origins(overrides, environment);
    let config = Config::build(layers.raw.clone(), overrides, environment, &layers.name, &origins)?;
    files::check(&config, &Checker { origins: &origins })?;
    Ok(config)
}

/// The effective configuration as a file, after variables and options. It never has secrets.
///
/// # Errors
/// [`ConfigError`] with the location of the error.
pub fn effective(overrides: &Overrides, environment: &BTreeMap<String, String>) -> Result<String, ConfigError> {
    let config = load(overrides, environment)?;
    let mut raw = layers(overrides, environment)?.raw;
    if raw.node.is_empty() {
        raw.node.push(raw::Node::default());
    }
    for node in raw.node.iter_mut().filter(|node| node.name == config.node.name) {
        node.http = config.node.http.to_string();
        node.admin = config.node.admin.to_string();
        node.data_dir = config.node.data_dir.display().to_string();
    }
    Ok(toml::to_string(&raw).expect("invariant: what was read from TOML can be written as TOML"))
}

/// The nodes of the file, or the one that `overrides` names: for commands that talk to a node, and need nothing else.
///
/// # Errors
/// If the file cannot be read, or the entries of nodes are not valid.
pub fn nodes(overrides: &Overrides, environment: &BTreeMap<String, String>) -> Result<Vec<NodeConfig>, ConfigError> {
    let layers = layers(overrides, environment)?;
    let check = Checker { origins: &layers.origins(overrides, environment) };
    let nodes = layers.raw.node.iter().map(|node| check.node(node)).collect::<Result<Vec<_>, _>>()?;
    match &overrides.node {
        None => Ok(nodes),
        Some(name) => check::select(&nodes, Some(name), &check).map(|node| vec![node]),
    }
}

fn read(path: &Path) -> Result<String, ConfigError> {
    let unreadable = |reason: String| ConfigError::Unreadable { path: path.to_owned(), reason };
    let bytes = std::fs::read(path).map_err(|error| unreadable(crate::account::told(&error)))?;
    String::from_utf8(bytes).map_err(|_| unreadable("the file is not UTF-8".to_owned()))
}

#[cfg(test)]
mod tests;

//! Configuration: the shipped defaults, then the file, then the environment, then the command line.
//!
//! `raw` is the file as it is written, `valid` what the rest of the program works with. A mistake is answered with its
//! place and what would be right.

mod address;
mod bytes;
mod check;
mod environment;
mod explain;
mod raw;
mod secret;
mod valid;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

pub use address::PeerAddress;
pub use bytes::ByteSize;
use raw::Raw;
pub use secret::SecretText;
pub(crate) use secret::{flaw, read_secret};
pub use valid::{AnalyticsRule, Config, NodeConfig, ServiceName, VisitorRules};

/// The file that is shipped, and what it says is the default.
pub const SHIPPED: &str = include_str!("../../cluster.toml");

/// A mistake in the configuration.
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
    /// Something in the file cannot be used.
    #[error("{place}: {message}")]
    Invalid {
        /// The file and line, or the environment variable, or the option.
        place: String,
        /// What is wrong, and what would be right.
        message: String,
    },
}

/// What the command line says.
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
    /// The command asks no other node and listens to none, so it needs no secret.
    pub offline: bool,
}

/// Puts the layers together.
///
/// # Errors
/// [`ConfigError`] with the place of the mistake.
pub fn load(overrides: &Overrides, environment: &BTreeMap<String, String>) -> Result<Config, ConfigError> {
    let (text, name) = match &overrides.file {
        Some(path) => (read(path)?, path.display().to_string()),
        None => (SHIPPED.to_owned(), "the shipped defaults".to_owned()),
    };
    let raw = explain::parse(&text, &name)?;
    let raw = environment::overlay(raw, environment)?;
    Config::build(raw, overrides, environment, &name)
}

fn read(path: &Path) -> Result<String, ConfigError> {
    let unreadable = |reason: String| ConfigError::Unreadable { path: path.to_owned(), reason };
    let bytes = std::fs::read(path).map_err(|error| unreadable(error.to_string()))?;
    String::from_utf8(bytes).map_err(|_| unreadable("the file is not UTF-8".to_owned()))
}

#[cfg(test)]
mod tests;

//! Opens the database of a node.

use std::path::Path;

use waypost_store::{Db, DbOptions};
use waypost_telemetry::Metrics;

use super::data_dir::{RESTORING, STORE, prepare};
use super::error::NodeError;
use crate::config::Config;

/// Opens the database of a node according to the configuration.
///
/// # Errors
/// If its directory cannot be used, it is damaged or in use, or the disk fails.
pub fn open_store(config: &Config, metrics: &Metrics) -> Result<Db, NodeError> {
    let options = DbOptions { cache_bytes: config.store_cache_bytes, commit_delay: config.commit_delay };
    prepare(&config.node.data_dir)?;
    Db::open(&config.node.data_dir, &options, metrics)
        .map_err(|error| NodeError::from(error).in_data_dir(&config.node.data_dir))
}

/// Refuses a data directory with an interrupted restore. A complete restore that was only not cleaned up is cleaned up.
///
/// # Errors
/// With advice.
pub(super) fn refuse_interrupted_restore(data_dir: &Path) -> Result<(), NodeError> {
    let building = data_dir.join(RESTORING);
    if !building.exists() {
        return Ok(());
    }
    if data_dir.join(STORE).exists() && !building.join(STORE).exists() {
        return Ok(std::fs::remove_dir_all(building)?);
    }
    Err(NodeError::Unsupported(format!(
        "a restore into {} was interrupted; empty the directory and restore again",
        data_dir.display()
    )))
}

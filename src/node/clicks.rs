//! The click journals of a node: their location, and their syncs.

use std::time::Duration;

use waypost_click_counter::{Geo, JournalOptions, Journals};
use waypost_protocol::command::Bootstrap;
use waypost_tasks::{Task, Tasks};
use waypost_telemetry::Metrics;

use super::error::NodeError;
use crate::config::Config;

/// Opens the journals of earlier processes, and reserves space for those of this one.
pub(super) fn open_journals(config: &Config, bootstrap: &Bootstrap, metrics: &Metrics) -> Result<Journals, NodeError> {
    let geo = Geo::open(config.geo_database.clone())?;
    let options = JournalOptions {
        directory: config.node.data_dir.join("journal"),
        slots: config.journal_records as u64,
        // The same on all nodes, so that a visitor of two nodes counts as one.
        visitor_secret: blake3::derive_key("waypost 2026-11 visitors", &bootstrap.permutation_key),
        record: config.clicks_record,
    };
    Ok(Journals::open(options, geo.into(), metrics)?)
}

/// Syncs the journals regularly, in a separate thread, because a sync waits for the disk.
pub(super) fn keep_synced(
    journals: Journals,
    every: Duration,
    tasks: &Tasks,
    on_failure: fn(&str),
) -> std::io::Result<()> {
    let run = move || {
        loop {
            std::thread::sleep(every);
            if let Err(error) = journals.sync() {
                on_failure(&format!("the click journals: {error}"));
                return;
            }
        }
    };
    tasks.thread(Task::JournalSync, run).map(|_| ())
}

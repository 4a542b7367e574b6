//! `waypost check`: verifies all stored data and reports damage. It changes nothing except for the repairs of every
//! start (torn table snapshots).

use serde::Serialize;
use waypost_store::machine::{ClusterMachine, Machine, ShardMachine, verify_tree};
use waypost_store::{Db, LogStore, StoreError};
use waypost_telemetry::Metrics;

use crate::config::Config;
use crate::node::{NodeError, open_store};

/// The result of a check.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CheckReport {
    /// Groups found: the cluster's, and one for each shard.
    pub groups: u32,
    /// Records whose checksum was verified.
    pub records: u64,
    /// Log entries and marks whose checksum was verified.
    pub log_records: u64,
    /// Links in the checkpoints. Links that are only in the log so far are counted there.
    pub links: u64,
    /// A description of all damage.
    pub damaged: Vec<String>,
}

impl CheckReport {
    /// Whether nothing is damaged.
    pub fn is_sound(&self) -> bool {
        self.damaged.is_empty()
    }
}

/// Verifies all records of a data directory; the server that uses it must be stopped.
///
/// # Errors
/// If there is no store, it is in use, or it cannot be opened at all.
pub fn check(config: &Config) -> Result<CheckReport, NodeError> {
    let store = config.node.data_dir.join("store");
    match std::fs::metadata(&store) {
        Ok(found) if found.is_dir() => {}
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            return Err(NodeError::File { path: store, error });
        }
        _ => {
            return Err(NodeError::Unsupported(format!(
                "{} holds no store; give the right --data-dir (WAYPOST_DATA_DIR)",
                config.node.data_dir.display()
            )));
        }
    }
    let db = open_store(config, &Metrics::new())?;
    let mut report = CheckReport::default();
    let mut groups: Vec<u32> =
        db.tree_names().iter().filter_map(|name| name.strip_prefix("sm/")?.parse().ok()).collect();
    groups.sort_unstable();
    for group in groups {
        check_group(&db, group, &mut report)?;
    }
    Ok(report)
}

fn check_group(db: &Db, group: u32, report: &mut CheckReport) -> Result<(), StoreError> {
    report.groups += 1;
    let tree = db.tree(&format!("sm/{group}"))?;
    let (records, damaged) = verify_tree(&tree)?;
    report.records += records;
    let sound = damaged.is_empty();
    report.damaged.extend(damaged);
    let (log_records, damaged) = LogStore::open(db, group)?.verify()?;
    report.log_records += log_records;
    report.damaged.extend(damaged);
    if !sound {
        return Ok(());
    }
    // The checksums are valid; building the state shows whether the records are consistent.
    let built = if group == 0 {
        ClusterMachine::open(tree).map(|_| 0)
    } else {
        ShardMachine::open(tree).map(|(machine, _)| machine.links() as u64)
    };
    match built {
        Ok(links) => report.links += links,
        Err(error) => report.damaged.push(error.to_string()),
    }
    Ok(())
}

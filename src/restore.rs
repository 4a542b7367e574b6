//! `waypost restore`: a new data directory out of a backup, or out of those of stopped nodes. The sources stay as they are.

use std::fs::{self, File};
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use waypost_consensus::{Beginning, Copy, Restored};
use waypost_protocol::{NodeId, UnixMs};
use waypost_store::archive;
use waypost_store::{Db, DbOptions};
use waypost_telemetry::Metrics;

use crate::config::Config;
use crate::node::NodeError;

/// What a data directory is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A backup.
    Backup(PathBuf),
    /// The data directories of one or more stopped nodes of one cluster.
    DataDirs(Vec<PathBuf>),
}

/// What was restored, and from when it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// What there is now.
    pub restored: Restored,
    /// When the backup was begun; `None` when there was none.
    pub backup_of: Option<UnixMs>,
}

/// Says what a list of paths names.
///
/// # Errors
/// When one of them is missing, or they do not go together.
pub fn source(paths: &[PathBuf]) -> Result<Source, NodeError> {
    let wrong = |text: String| Err(NodeError::Unsupported(text));
    for path in paths {
        if path.is_dir() && !path.join("store").is_dir() {
            return wrong(format!("{} is no data directory: it holds no store", path.display()));
        }
        if !path.exists() {
            return wrong(format!("{} does not exist", path.display()));
        }
    }
    match paths {
        [file] if file.is_file() => Ok(Source::Backup(file.clone())),
        dirs if dirs.iter().all(|path| path.is_dir()) => Ok(Source::DataDirs(dirs.to_vec())),
        _ => wrong("give one backup, or one or more data directories of one cluster".to_owned()),
    }
}

/// Makes the data directory of `config`'s node, which must be empty or not there yet. `watch` is given what is read of a backup,
/// for a progress bar.
///
/// # Errors
/// When the directory is in use, the source is damaged or incomplete, or the disk fails; then there is no new directory.
pub fn restore<R: Read>(config: &Config, source: &Source, watch: impl Fn(File) -> R) -> Result<Report, NodeError> {
    let target = &config.node.data_dir;
    if target.exists() && fs::read_dir(target)?.next().is_some() {
        return Err(NodeError::Unsupported(format!(
            "{} is not empty; give a --data-dir that is, or move it away",
            target.display()
        )));
    }
    // Under another name until it is whole, so that no node can be started with half of it.
    let building = target.with_added_extension("restoring");
    if building.exists() {
        return Err(NodeError::Unsupported(format!(
            "{} is left over from a restore that was interrupted; remove it",
            building.display()
        )));
    }
    if let Source::Backup(path) = source {
        archive::verify(BufReader::new(watch(File::open(path)?)))?;
    }
    let built = build(config, source, &building, watch);
    if built.is_err() {
        // What there is of it is of no use. If it cannot be removed, the next try says so.
        let _ = fs::remove_dir_all(&building);
        return built;
    }
    if target.exists() {
        fs::remove_dir(target)?;
    }
    fs::rename(&building, target)?;
    let parent = target.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(parent)?.sync_all()?;
    built
}

fn open(config: &Config, data_dir: &Path) -> Result<Db, NodeError> {
    let options = DbOptions { cache_bytes: config.store_cache_bytes, ..DbOptions::default() };
    Ok(Db::open(data_dir, &options, &Metrics::new())?)
}

fn build<R: Read>(
    config: &Config,
    source: &Source,
    building: &Path,
    watch: impl Fn(File) -> R,
) -> Result<Report, NodeError> {
    let db = open(config, building)?;
    let beginning = Beginning {
        db: &db,
        address: config.node.peer.to_string(),
        node: NodeId(rand::random()),
        cluster: rand::random(),
    };
    let report = match source {
        Source::Backup(path) => {
            let (head, restored) = beginning.restore_archive(BufReader::new(watch(File::open(path)?)))?;
            Report { restored, backup_of: Some(head.created_at) }
        }
        Source::DataDirs(dirs) => {
            let copies = dirs.iter().map(|dir| Ok(Copy { db: open(config, dir)?, data_dir: dir.clone() }));
            let copies: Vec<Copy> = copies.collect::<Result<_, NodeError>>()?;
            let restored = beginning.restore_copies(&copies)?;
            for dir in dirs {
                take_journals(&dir.join("journal"), &building.join("journal"))?;
            }
            Report { restored, backup_of: None }
        }
    };
    db.close()?;
    Ok(report)
}

/// Takes over visits that no shard has counted yet. What was counted already is told by the shards' states.
fn take_journals(from: &Path, to: &Path) -> Result<(), NodeError> {
    if !from.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let path = entry?.path();
        if let Some(name) = path.file_name().filter(|_| path.is_file()) {
            fs::copy(&path, to.join(name))?;
            File::open(to.join(name))?.sync_all()?;
        }
    }
    Ok(File::open(to)?.sync_all()?)
}

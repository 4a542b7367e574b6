//! `waypost restore`: a new data directory from a backup, or from the data directories of stopped nodes.
//!
//! It is built in `DIR/.restoring`, which works even if the directory is a separate file system, and moved to its place when it is
//! complete. A node does not start in a directory with an interrupted restore.

use std::fs::{self, DirBuilder, File};
use std::io::{BufReader, ErrorKind, Read};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, chown};
use std::path::{Path, PathBuf};

use waypost_consensus::{RestoreTarget, Restored, StoppedNode};
use waypost_protocol::{NodeId, UnixMs};
use waypost_store::archive;
use waypost_store::{Db, DbOptions};
use waypost_telemetry::Metrics;

use crate::config::Config;
use crate::node::{LOST_AND_FOUND, NodeError, RESTORING, STORE, not_made, prepare_data_dir};
use crate::wall_clock::wall_clock;

/// The source of a restore.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A backup.
    Backup(PathBuf),
    /// The data directories of one or more stopped nodes of one cluster.
    DataDirs(Vec<PathBuf>),
}

/// The restored data and its age.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The restored cluster.
    pub restored: Restored,
    /// When the backup was begun; `None` without a backup.
    pub backup_of: Option<UnixMs>,
}

fn refused<T>(text: String) -> Result<T, NodeError> {
    Err(NodeError::Unsupported(text))
}

/// Determines the source of a restore from a list of paths.
///
/// # Errors
/// If a path is missing, or they do not belong together.
pub fn source(paths: &[PathBuf]) -> Result<Source, NodeError> {
    for path in paths {
        if let Err(error) = fs::metadata(path)
            && error.kind() == ErrorKind::PermissionDenied
        {
            return Err(NodeError::File { path: path.clone(), error });
        }
        if path.is_dir() && !path.join(STORE).is_dir() {
            return refused(format!("{} is not a data directory: it holds no store", path.display()));
        }
        if !path.exists() {
            return refused(format!("{} does not exist", path.display()));
        }
    }
    match paths {
        [file] if file.is_file() => Ok(Source::Backup(file.clone())),
        dirs if dirs.iter().all(|path| path.is_dir()) => Ok(Source::DataDirs(dirs.to_vec())),
        _ => refused("give one backup, or one or more data directories of one cluster".to_owned()),
    }
}

/// Creates the data directory of `config`'s node, which must be empty or absent. `watch` gets the file of a backup, for a
/// progress bar.
///
/// # Errors
/// If the directory is in use, the source is damaged or incomplete, or the disk fails; then the directory is unchanged.
pub fn restore<R: Read>(config: &Config, source: &Source, watch: impl Fn(File) -> R) -> Result<Report, NodeError> {
    let target = &config.node.data_dir;
    restore_into(target, config, source, watch).map_err(|error| match error {
        // The error of a source names its directory already.
        error @ NodeError::DataDir(_) => error,
        error => error.in_data_dir(target),
    })
}

fn open_file(path: &Path) -> Result<File, NodeError> {
    File::open(path).map_err(|error| NodeError::File { path: path.to_owned(), error })
}

fn restore_into<R: Read>(
    target: &Path,
    config: &Config,
    source: &Source,
    watch: impl Fn(File) -> R,
) -> Result<Report, NodeError> {
    let fresh = !target.exists();
    if !fresh {
        for entry in fs::read_dir(target)? {
            let name = entry?.file_name();
            if name == RESTORING {
                return refused(format!(
                    "a restore into {} was interrupted, or goes on; remove {}",
                    target.display(),
                    target.join(RESTORING).display()
                ));
            }
            if name != LOST_AND_FOUND {
                return refused(format!(
                    "{} is not empty; give a --data-dir that is, or move it away",
                    target.display()
                ));
            }
        }
    }
    if let Source::Backup(path) = source {
        archive::verify(BufReader::new(watch(open_file(path)?)))?;
    }
    // The directory holds secrets: nobody else may read it.
    let mut private = DirBuilder::new();
    private.mode(0o700);
    private.recursive(true).create(target).map_err(|error| not_made(target, &error))?;
    let building = target.join(RESTORING);
    private.recursive(false).create(&building)?;
    let built = build(config, source, &building, watch).and_then(|report| publish(&building, target).map(|()| report));
    if built.is_err() && !target.join(STORE).exists() {
        // The incomplete result is useless. If it cannot be removed, the next attempt reports that.
        let _ = fs::remove_dir_all(&building);
        if fresh {
            let _ = fs::remove_dir(target);
        }
    }
    built
}

/// Moves everything to its place, the database last, and gives it to the owner of the directory.
fn publish(building: &Path, target: &Path) -> Result<(), NodeError> {
    let (owner, own) = (fs::metadata(target)?, fs::metadata(building)?);
    // Only root can change an owner, and the directory of a service is often restored by root.
    if own.uid() == 0 && owner.uid() != 0 {
        give(building, owner.uid(), owner.gid())?;
    }
    File::open(building)?.sync_all()?;
    for entry in fs::read_dir(building)? {
        let name = entry?.file_name();
        if name != STORE {
            fs::rename(building.join(&name), target.join(&name))?;
        }
    }
    File::open(target)?.sync_all()?;
    fs::rename(building.join(STORE), target.join(STORE))?;
    fs::remove_dir(building)?;
    File::open(target)?.sync_all()?;
    let parent = target.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    Ok(File::open(parent)?.sync_all()?)
}

fn give(path: &Path, user: u32, group: u32) -> std::io::Result<()> {
    chown(path, Some(user), Some(group))?;
    if path.is_dir() {
        for entry in fs::read_dir(path)? {
            give(&entry?.path(), user, group)?;
        }
    }
    Ok(())
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
    let target = RestoreTarget {
        db: &db,
        address: config.node.peer.to_string(),
        node: NodeId(rand::random()),
        cluster: rand::random(),
        now: wall_clock(),
    };
    let report = match source {
        Source::Backup(path) => {
            let (head, restored) = target.restore_archive(BufReader::new(watch(open_file(path)?)))?;
            Report { restored, backup_of: Some(head.created_at) }
        }
        Source::DataDirs(dirs) => {
            let copies = dirs.iter().map(|dir| {
                prepare_data_dir(dir)?;
                let db = open(config, dir).map_err(|error| error.in_data_dir(dir))?;
                Ok(StoppedNode { db, data_dir: dir.clone() })
            });
            let copies: Vec<StoppedNode> = copies.collect::<Result<_, NodeError>>()?;
            let restored = target.restore_copies(&copies)?;
            for dir in dirs {
                take_journals(&dir.join("journal"), &building.join("journal"))?;
            }
            Report { restored, backup_of: None }
        }
    };
    db.close()?;
    Ok(report)
}

/// Copies the click journals, which may have visits that no shard has counted. The states of the shards tell which were counted.
fn take_journals(from: &Path, to: &Path) -> Result<(), NodeError> {
    if !from.is_dir() {
        return Ok(());
    }
    match fs::create_dir(to) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error.into()),
        _ => {}
    }
    for entry in fs::read_dir(from)? {
        let path = entry?.path();
        if let Some(name) = path.file_name().filter(|_| path.is_file()) {
            fs::copy(&path, to.join(name))?;
            File::open(to.join(name))?.sync_all()?;
        }
    }
    Ok(File::open(to)?.sync_all()?)
}

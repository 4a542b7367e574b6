//! Where the catalog of a node is: a directory that is named by the node, so that one of another node, such as that from before a restore,
//! is never taken for its own.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use waypost_protocol::NodeId;

/// This file says that the catalog had everything when it was closed.
const CLOSED: &str = "closed";

/// The directory of the catalog.
pub(super) struct Place {
    parent: PathBuf,
    pub(super) dir: PathBuf,
}

impl Place {
    /// The place of a node's catalog below `parent`.
    pub(super) fn new(parent: PathBuf, node: NodeId) -> Self {
        let dir = parent.join(name_of(node.0));
        Self { parent, dir }
    }

    /// Makes the directory, and removes catalogs of other nodes. Returns whether the catalog had everything when it was closed.
    pub(super) fn prepare(&self) -> io::Result<bool> {
        fs::create_dir_all(&self.dir)?;
        for entry in fs::read_dir(&self.parent)? {
            let path = entry?.path();
            let is_other = |name: &str| name.len() == name_of(0).len() && u64::from_str_radix(name, 16).is_ok();
            if path != self.dir && path.file_name().and_then(|name| name.to_str()).is_some_and(is_other) {
                fs::remove_dir_all(path)?;
            }
        }
        match fs::remove_file(self.dir.join(CLOSED)) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Removes the catalog.
    pub(super) fn remove(&self) -> io::Result<()> {
        match fs::remove_dir_all(&self.dir) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Notes that the catalog has everything. Without the note the next start writes the counts of all links again.
    pub(super) fn note_closed(&self) {
        let _ = fs::write(self.dir.join(CLOSED), b"");
    }
}

fn name_of(node: u64) -> String {
    format!("{node:016x}")
}

/// The files of a catalog as it was opened. SQLite goes on to use a file that was deleted, and nobody would find it again.
#[derive(Default)]
pub(super) struct Files(Vec<(PathBuf, u64)>);

impl Files {
    /// The files in a directory.
    pub(super) fn of(dir: &Path) -> io::Result<Self> {
        let mut files = Vec::new();
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            files.push((entry.path(), entry.metadata()?.ino()));
        }
        Ok(Self(files))
    }

    /// Whether all of them are where they were.
    pub(super) fn are_there(&self) -> bool {
        self.0.iter().all(|(path, inode)| fs::metadata(path).is_ok_and(|found| found.ino() == *inode))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_nodes_own_catalog_is_kept_and_whether_it_was_closed_is_told_once() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::new(dir.path().join("catalog"), NodeId(0xa));
        assert!(!place.prepare().unwrap());
        fs::create_dir(dir.path().join("catalog/00000000000000ff")).unwrap();
        fs::create_dir(dir.path().join("catalog/of-mine")).unwrap();
        place.note_closed();
        assert!(place.prepare().unwrap());
        assert!(!place.prepare().unwrap(), "the note is of one close");
        let left = fs::read_dir(dir.path().join("catalog")).unwrap().map(|entry| entry.unwrap().file_name());
        let mut left: Vec<_> = left.collect();
        left.sort();
        assert_eq!(left, ["000000000000000a", "of-mine"]);
        place.remove().unwrap();
        assert!(place.remove().is_ok() && !place.dir.exists());
    }

    #[test]
    fn a_file_that_was_deleted_or_replaced_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("rows");
        fs::write(&path, b"1").unwrap();
        let files = Files::of(dir.path()).unwrap();
        fs::write(&path, b"2").unwrap();
        assert!(files.are_there());
        fs::write(dir.path().join("new"), b"3").unwrap();
        fs::rename(dir.path().join("new"), &path).unwrap();
        assert!(!files.are_there());
        fs::remove_file(&path).unwrap();
        assert!(!files.are_there());
        assert!(Files::default().are_there());
    }
}

//! The files of an incoming snapshot, from its first piece until it has replaced the state.
//!
//! ```text
//!   receive-<group>.snap ──all came, synced──► received-<group>.snap ──verified──► install-<group>.snap ──imported, committed──► gone
//! ```
//!
//! Only `install-<group>.snap` survives a restart. From its rename on, the tree may hold a mixture of the old and the
//! new state, so the next start imports the file again before the group reads its tree. Each rename is made
//! durable by a sync of the directory before anything relies on it.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::snapshot;
use crate::{StoreError, Tree};

/// The files of one group's incoming snapshot.
#[derive(Clone)]
pub struct Incoming {
    tree: Tree,
    group: u32,
    dir: PathBuf,
}

/// The path of a snapshot that is being imported.
pub fn install_path(dir: &Path, group: u32) -> PathBuf {
    dir.join(format!("install-{group}.snap"))
}

impl Incoming {
    /// The files of `group`, whose state is in `tree`, in the directory `dir`.
    pub fn new(tree: Tree, group: u32, dir: PathBuf) -> Self {
        Self { tree, group, dir }
    }

    fn part(&self) -> PathBuf {
        self.dir.join(format!("receive-{}.snap", self.group))
    }

    /// Discards the pieces of a transfer that was given up.
    ///
    /// # Errors
    /// If the file cannot be removed.
    pub fn clear(&self) -> Result<(), StoreError> {
        remove(&self.part())?;
        self.tree.file_step("cleared");
        Ok(())
    }

    /// Stores a piece. It need not survive a crash: the transfer then starts again.
    ///
    /// # Errors
    /// If the disk fails or is full.
    pub fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), StoreError> {
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(self.part())?;
        file.write_all_at(bytes, offset)?;
        self.tree.file_step("piece written");
        Ok(())
    }

    /// Syncs the complete file. Returns its path.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn complete(&self) -> Result<PathBuf, StoreError> {
        File::open(self.part())?.sync_all()?;
        self.tree.file_step("pieces synced");
        let whole = self.dir.join(format!("received-{}.snap", self.group));
        fs::rename(self.part(), &whole)?;
        self.tree.file_step("received");
        Ok(whole)
    }

    /// Stages the received snapshot for installation, durably. From here on a restart installs it.
    ///
    /// # Errors
    /// If it is damaged (then nothing was changed), or the disk fails.
    pub fn stage(&self, received: &Path) -> Result<(), StoreError> {
        snapshot::verify(received, self.group)?;
        File::open(received)?.sync_all()?;
        fs::rename(received, install_path(&self.dir, self.group))?;
        self.tree.file_step("staged");
        self.sync_dir()?;
        self.tree.file_step("staging synced");
        Ok(())
    }

    /// Whether a snapshot is staged.
    pub fn is_staged(&self) -> bool {
        install_path(&self.dir, self.group).exists()
    }

    /// Replaces the state in the tree with the staged snapshot. Durable after the next commit; after a crash before that the import has to
    /// be repeated.
    ///
    /// # Errors
    /// If the file is damaged or the store fails.
    pub fn import(&self) -> Result<(), StoreError> {
        snapshot::import(&self.tree, self.group, &install_path(&self.dir, self.group)).map(|_| ())
    }

    /// Removes the staged snapshot, once its import is durable.
    ///
    /// # Errors
    /// If the file cannot be removed.
    pub fn discard(&self) -> Result<(), StoreError> {
        remove(&install_path(&self.dir, self.group))?;
        self.tree.file_step("discarded");
        // It must not reappear after a power cut, and be imported over newer state.
        self.sync_dir()?;
        self.tree.file_step("discarding synced");
        Ok(())
    }

    fn sync_dir(&self) -> Result<(), StoreError> {
        Ok(File::open(&self.dir)?.sync_all()?)
    }
}

/// Removes a file. It may be absent.
fn remove(path: &Path) -> Result<(), StoreError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

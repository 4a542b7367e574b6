//! The files of a snapshot on its way in, from its first piece until it has replaced the state.
//!
//! ```text
//!   receive-<group>.snap ──all came, synced──► received-<group>.snap ──verified──► install-<group>.snap ──imported, committed──► gone
//! ```
//!
//! Only `install-<group>.snap` outlives the process: from its rename on, the tree may hold half of the old state and half of the
//! new one, so whoever opens the group next imports the file again, before the group looks at its tree. Each rename is made
//! durable by a sync of the directory before anything that relies on it.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::snapshot;
use crate::{StoreError, Tree};

/// The snapshot files of one group that come in.
#[derive(Clone)]
pub struct Incoming {
    tree: Tree,
    group: u32,
    dir: PathBuf,
}

/// Where a snapshot waits while it is imported.
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

    /// Forgets the pieces of a transfer that is not continued.
    ///
    /// # Errors
    /// When the file cannot be removed.
    pub fn clear(&self) -> Result<(), StoreError> {
        remove(&self.part())?;
        self.tree.file_step("cleared");
        Ok(())
    }

    /// Stores a piece. It need not survive a crash: a transfer begins anew then.
    ///
    /// # Errors
    /// When the disk fails or is full.
    pub fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), StoreError> {
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(self.part())?;
        file.write_all_at(bytes, offset)?;
        self.tree.file_step("piece written");
        Ok(())
    }

    /// All pieces are there: makes them durable, and answers the file.
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

    /// Makes durable that `received` is to be installed. From here on a restart installs it.
    ///
    /// # Errors
    /// When it is damaged (then nothing was changed), or the disk fails.
    pub fn stage(&self, received: &Path) -> Result<(), StoreError> {
        snapshot::verify(received, self.group)?;
        File::open(received)?.sync_all()?;
        fs::rename(received, install_path(&self.dir, self.group))?;
        self.tree.file_step("staged");
        self.sync_dir()?;
        self.tree.file_step("staging synced");
        Ok(())
    }

    /// Whether a snapshot was staged and not discarded since.
    pub fn is_staged(&self) -> bool {
        install_path(&self.dir, self.group).exists()
    }

    /// Replaces the state in the tree by the staged snapshot. Durable after the next commit; after a crash before that it has to
    /// be repeated.
    ///
    /// # Errors
    /// When the file is damaged or the store fails.
    pub fn import(&self) -> Result<(), StoreError> {
        snapshot::import(&self.tree, self.group, &install_path(&self.dir, self.group)).map(|_| ())
    }

    /// Removes the staged snapshot, once its import is durable.
    ///
    /// # Errors
    /// When the file cannot be removed.
    pub fn discard(&self) -> Result<(), StoreError> {
        remove(&install_path(&self.dir, self.group))?;
        self.tree.file_step("discarded");
        // It must not come back after a power cut, and be imported over what is newer.
        self.sync_dir()?;
        self.tree.file_step("discarding synced");
        Ok(())
    }

    fn sync_dir(&self) -> Result<(), StoreError> {
        Ok(File::open(&self.dir)?.sync_all()?)
    }
}

/// Removes a file. One that is gone already is fine.
fn remove(path: &Path) -> Result<(), StoreError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

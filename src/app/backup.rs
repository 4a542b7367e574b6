//! A backup of everything that the cluster has stored.

use super::{App, Denied, Permission, Principal};
use crate::cluster::{BackupError, Pieces};

/// A backup that is being read.
pub struct Backup {
    /// Its first bytes: the head, and the start of group 0.
    pub first: Vec<u8>,
    /// What follows, as it comes. After an error there is no more, and what came is of no use.
    pub rest: Pieces,
}

/// Why no backup was begun.
#[derive(Debug, thiserror::Error)]
pub enum BackupRefused {
    /// The principal may not read one.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// Another one is being read from this node.
    #[error("this node is making another backup; try again when it is done")]
    Busy,
    /// No leader could be read from in time.
    #[error("no leader of the cluster could be read from in time")]
    NoAnswer,
    /// A group cannot be read.
    #[error(transparent)]
    Failed(#[from] BackupError),
}

impl App {
    /// Begins a backup. It ends when the answer is dropped.
    ///
    /// # Errors
    /// See [`BackupRefused`].
    pub async fn backup(&self, principal: &Principal) -> Result<Backup, BackupRefused> {
        principal.require(Permission::ReadBackup)?;
        let mut rest = self.parts.backups.begin(self.now()).ok_or(BackupRefused::Busy)?;
        match tokio::time::timeout(self.parts.timeout, rest.recv()).await {
            Ok(Some(first)) => Ok(Backup { first: first?, rest }),
            Ok(None) | Err(_) => Err(BackupRefused::NoAnswer),
        }
    }
}

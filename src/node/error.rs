//! Why a node cannot start, or had to stop. Errors of the system name the data directory.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use waypost_click_counter::GeoError;
use waypost_consensus::{OpenError, ProposeError};
use waypost_journal::JournalError;
use waypost_store::StoreError;

use super::data_dir::{Unusable, absolute, enough_space, full, in_use, look, refused};
use crate::account;
use crate::config::Config;

/// Why a node could not be started, or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The configuration asks for something that this version does not do.
    #[error("{0}")]
    Unsupported(String),
    /// The node was removed from the cluster: its data may be out of date.
    #[error(
        "\"{name}\" was removed from the cluster, so it does not serve its data, which may be out of date. To let it join as a new node, empty {}; \
         otherwise remove it from cluster.toml{}",
        data_dir.display(), clicks_hint(*clicks, data_dir)
    )]
    TakenOut {
        /// Its name.
        name: String,
        /// Its data directory.
        data_dir: PathBuf,
        /// The number of slots in its click journals that were not counted.
        clicks: u64,
    },
    /// The click journals cannot be used.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The geographic database cannot be used.
    #[error(transparent)]
    Geo(#[from] GeoError),
    /// The site's pages cannot be used.
    #[error("[http] pages_dir: {0}")]
    Pages(#[from] crate::pages::PagesError),
    /// The certificates cannot be used.
    #[error(transparent)]
    Tls(#[from] waypost_transport::TlsError),
    /// The data directory cannot be used, but the disk has not failed.
    #[error(transparent)]
    DataDir(#[from] Unusable),
    /// A file that the command line names cannot be used.
    #[error("{}: {}", path.display(), crate::account::told(error))]
    File {
        /// Which.
        path: PathBuf,
        /// The system's error.
        error: io::Error,
    },
    /// The node cannot listen on a port.
    #[error("cannot listen on {address} ({key}): {reason}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The key of the configuration.
        key: &'static str,
        /// Why not.
        reason: String,
    },
    /// The store is damaged or fails.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The groups do not recover, or do not stop in order.
    #[error(transparent)]
    Groups(#[from] OpenError),
    /// The operating system returns another error.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A server has ended by itself.
    #[error("the {0} server has ended by itself: {1}")]
    ServerEnded(&'static str, String),
    /// A write that the start needs failed.
    #[error("the start could not write to the cluster's state: {0}")]
    Start(String),
}

impl NodeError {
    /// Whether the disk has failed.
    pub fn is_storage(&self) -> bool {
        matches!(
            self,
            Self::Store(_) | Self::Journal(_) | Self::Groups(OpenError::Store(_) | OpenError::Io(_)) | Self::Io(_)
        )
    }

    /// The error of a node that the cluster has removed. Counts the clicks that no shard has counted, in slots of journals and spills: a click
    /// takes at least one.
    pub(super) fn removed(config: &Config) -> Self {
        let data_dir = config.node.data_dir.clone();
        let clicks = waypost_click_counter::clicks_left(&data_dir.join("journal"));
        Self::TakenOut { name: config.node.name.clone(), clicks, data_dir }
    }

    /// Adds the data directory to an error of the system during a start. A failure of the disk remains one.
    pub(crate) fn in_data_dir(self, dir: &Path) -> Self {
        let dir = &absolute(dir);
        if let Self::Store(StoreError::Locked { .. }) = &self {
            return in_use(dir).into();
        }
        let no_space = |error: &io::Error| matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded);
        match &self {
            Self::Io(io)
            | Self::Store(StoreError::Io(io))
            | Self::Journal(JournalError::Io { error: io, .. })
            | Self::Groups(OpenError::Io(io) | OpenError::Store(StoreError::Io(io))) => {
                if no_space(io) {
                    return full(dir, dir).into();
                }
                if account::is_refusal(io) && io.kind() != ErrorKind::NotFound {
                    // The system does not name the file, but it can often be found.
                    return look(dir).err().unwrap_or_else(|| refused(dir, io::Error::from(io.kind()))).into();
                }
                self
            }
            Self::Groups(OpenError::Bootstrap(ProposeError::NoSpace)) => full(dir, dir).into(),
            Self::Store(_) | Self::Groups(OpenError::Store(_)) if enough_space(dir).is_err() => full(dir, dir).into(),
            _ => self,
        }
    }
}

/// The advice for clicks that a removed node still has.
fn clicks_hint(clicks: u64, data_dir: &Path) -> String {
    if clicks == 0 {
        return String::new();
    }
    let journal = data_dir.join("journal");
    format!(
        ". {clicks} slots of its click journals were not counted: keep {journal} when you empty the directory, and the node brings them in \
         when it has joined; or move the files in it into the same directory of another node, and restart that one (a `.spill` only where there is none of its name)",
        journal = journal.display()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_refuses_at_the_start_is_no_failed_disk_but_a_failed_disk_is() {
        let place = tempfile::tempdir().unwrap();
        let told = |kind: ErrorKind| NodeError::from(StoreError::Io(kind.into())).in_data_dir(place.path());
        for kind in [ErrorKind::PermissionDenied, ErrorKind::ReadOnlyFilesystem, ErrorKind::StorageFull] {
            let error = told(kind);
            assert!(!error.is_storage(), "{error}");
            let text = error.to_string();
            assert!(text.contains(&place.path().display().to_string()) && text.contains("uid "), "{text}");
        }
        for kind in [ErrorKind::Other, ErrorKind::UnexpectedEof, ErrorKind::InvalidData] {
            assert!(told(kind).is_storage(), "{kind:?}");
        }
    }
}

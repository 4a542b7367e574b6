//! The exports of a group that its leader has written and that are being read.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::limits::{EXPORT_IDLE_MAX, EXPORT_PIECE_BYTES, EXPORTS_MAX};

/// The answer to a request for an export.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Begun {
    Ready {
        id: u64,
        total: u64,
    },
    NotLeader(Option<u64>),
    /// The leader could not write the file.
    Failed(String),
}

/// A request for the bytes of an export from an offset on.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ExportPiece {
    pub(crate) id: u64,
    pub(crate) offset: u64,
}

/// The files that are being read.
#[derive(Default)]
pub(crate) struct Exports {
    open: Mutex<BTreeMap<u64, (Arc<File>, Instant)>>,
    added: AtomicU64,
}

impl Exports {
    /// Answers the number of the export.
    pub(crate) fn add(&self, file: File) -> u64 {
        let id = self.added.fetch_add(1, Ordering::Relaxed) + 1;
        let mut open = self.open.lock();
        if open.len() >= EXPORTS_MAX
            && let Some(idlest) = open.iter().min_by_key(|(_, (_, read))| *read).map(|(id, _)| *id)
        {
            open.remove(&idlest);
        }
        open.insert(id, (Arc::new(file), Instant::now()));
        id
    }

    /// Closes an idle export. Returns whether it is still open.
    pub(crate) fn keep(&self, id: u64) -> bool {
        let mut open = self.open.lock();
        open.retain(|other, (_, read)| *other != id || read.elapsed() < EXPORT_IDLE_MAX);
        open.contains_key(&id)
    }

    /// Reads bytes from an offset on. At the end it returns none, and closes the file.
    pub(crate) fn read(&self, piece: &ExportPiece) -> io::Result<Vec<u8>> {
        let file = {
            let mut open = self.open.lock();
            let (file, read) =
                open.get_mut(&piece.id).ok_or_else(|| io::Error::other("there is no such export any more"))?;
            *read = Instant::now();
            file.clone()
        };
        let left = file.metadata()?.len().saturating_sub(piece.offset);
        if left == 0 {
            self.open.lock().remove(&piece.id);
        }
        let mut bytes = vec![0; EXPORT_PIECE_BYTES.min(left as usize)];
        tokio::task::block_in_place(|| file.read_exact_at(&mut bytes, piece.offset))?;
        Ok(bytes)
    }
}

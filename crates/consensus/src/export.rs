//! The state of a group for a backup: its leader writes it to a file, which is read from there piece by piece.
//!
//! Whether the leader is this node or another one, the same requests are made (`Member::answer`).

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep, timeout};
use waypost_protocol::peer::{Lane, PeerError, Peers, kinds};
use waypost_protocol::{Kind, NodeId};
use waypost_store::machine::Machine;
use waypost_tasks::Task;

use crate::format::{bytes, parse};
use crate::group::Group;
use crate::groups::Members;
use crate::proposer::ProposeError;
use crate::state_machine::write_snapshot;

/// One piece: what is in memory for a reader.
const PIECE_BYTES: usize = 512 * 1024;

/// Exports of one group that may be read at a time; another one takes the place of the one that was read last the longest ago.
const EXPORTS_MAX: usize = 2;

/// How long the leader may take to write the file.
const BEGIN_MAX: Duration = Duration::from_secs(120);

/// How long a piece may take, and how often one is asked for.
const PIECE_MAX: Duration = Duration::from_secs(10);
const PIECE_TRIES: u32 = 20;

/// How long a leader is looked for, and how often.
const LEADER_MAX: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(200);

/// Why a group could not be exported: nobody leads it, or no node that does can be reached.
#[derive(Debug, thiserror::Error)]
#[error("group {group} cannot be read now: {why}")]
pub struct ExportError {
    /// Which.
    pub group: u32,
    /// What the last node that was asked said.
    pub why: String,
}

#[derive(Debug, Serialize, Deserialize)]
enum Begun {
    Ready {
        id: u64,
        total: u64,
    },
    NotLeader(Option<u64>),
    /// The leader cannot write it.
    Failed(String),
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ExportPiece {
    id: u64,
    offset: u64,
}

/// A file that nobody has read from for so long is closed.
const IDLE_MAX: Duration = Duration::from_secs(60);

/// The files that are being read.
#[derive(Default)]
pub(crate) struct Exports {
    open: Mutex<BTreeMap<u64, (Arc<File>, Instant)>>,
    added: AtomicU64,
}

impl Exports {
    /// Answers the number of the export.
    fn add(&self, file: File) -> u64 {
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

    /// Closes an export that is idle; answers whether it is still open.
    fn keep(&self, id: u64) -> bool {
        let mut open = self.open.lock();
        open.retain(|other, (_, read)| *other != id || read.elapsed() < IDLE_MAX);
        open.contains_key(&id)
    }

    /// The bytes from an offset on; none at the end, which also closes the file.
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
        let mut bytes = vec![0; PIECE_BYTES.min(left as usize)];
        tokio::task::block_in_place(|| file.read_exact_at(&mut bytes, piece.offset))?;
        Ok(bytes)
    }
}

impl<M: Machine> Group<M> {
    /// Writes the state with everything that was acknowledged so far, if this node leads.
    pub(crate) async fn begin_export(&self) -> io::Result<impl Serialize + use<M>> {
        match self.linearize(true).await {
            Ok(()) => {}
            Err(ProposeError::NotLeader { leader }) => return Ok(Begun::NotLeader(leader)),
            Err(error) => return Err(io::Error::other(error)),
        }
        let written = write_snapshot(self.state().clone(), self.files().clone(), self.id(), "export");
        let file = match written.await {
            Ok((file, _)) => file,
            Err(error) => return Ok(Begun::Failed(error.to_string())),
        };
        let total = file.metadata()?.len();
        let id = self.exports().add(file);
        let exports = Arc::downgrade(self.exports());
        self.tasks().spawn_once(Task::ExportFile, async move {
            while exports.upgrade().is_some_and(|exports| exports.keep(id)) {
                sleep(IDLE_MAX).await;
            }
        });
        Ok(Begun::Ready { id, total })
    }
}

/// The state of a group on its way out: its snapshot, in pieces.
pub struct Export<'a> {
    group: u32,
    own: NodeId,
    members: &'a Members,
    peers: &'a dyn Peers,
    from: NodeId,
    id: u64,
    total: u64,
    offset: u64,
}

impl<'a> Export<'a> {
    /// Has the leader of a group write its state, with everything that was acknowledged before the call. `holders` are nodes
    /// that hold the group.
    ///
    /// # Errors
    /// When no leader is found in time.
    pub async fn begin(
        group: u32,
        own: NodeId,
        members: &'a Members,
        peers: &'a dyn Peers,
        holders: &[NodeId],
    ) -> Result<Self, ExportError> {
        let deadline = Instant::now() + LEADER_MAX;
        let mut candidates: Vec<NodeId> = if holders.is_empty() { vec![own] } else { holders.to_vec() };
        let mut export = Self { group, own, members, peers, from: candidates[0], id: 0, total: 0, offset: 0 };
        loop {
            export.from = candidates[0];
            let answer = export.ask(kinds::EXPORT, Vec::new(), BEGIN_MAX).await;
            // Whoever is named as the leader comes first, whoever was asked last.
            candidates.rotate_left(1);
            let why = match answer.map(|answer| parse("an answer to a wish for an export", &answer)) {
                Ok(Ok(Begun::Ready { id, total })) => return Ok(Self { id, total, ..export }),
                Ok(Ok(Begun::Failed(why))) => return Err(ExportError { group, why }),
                Ok(Ok(Begun::NotLeader(leader))) => {
                    if let Some(leader) = leader.map(NodeId) {
                        candidates.retain(|known| *known != leader);
                        candidates.insert(0, leader);
                    }
                    "no node that was asked leads it".to_owned()
                }
                Ok(Err(error)) => error.to_string(),
                Err(error) => error.to_string(),
            };
            if Instant::now() >= deadline {
                return Err(ExportError { group, why });
            }
            sleep(PAUSE).await;
        }
    }

    /// The next bytes; `None` at the end.
    ///
    /// # Errors
    /// When the leader cannot be reached any more, or was started anew.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, ExportError> {
        if self.offset == self.total {
            // Closes the file; if that is lost, time does.
            let _ = self.ask(kinds::EXPORT_READ, self.piece(), PIECE_MAX).await;
            return Ok(None);
        }
        let failed = |why: String| ExportError { group: self.group, why };
        for _ in 0..PIECE_TRIES {
            match self.ask(kinds::EXPORT_READ, self.piece(), PIECE_MAX).await {
                Ok(piece) if piece.is_empty() => return Err(failed("its file ends early".to_owned())),
                Ok(piece) => {
                    self.offset += piece.len() as u64;
                    return Ok(Some(piece));
                }
                Err(error @ PeerError::Refused(_)) => return Err(failed(error.to_string())),
                Err(_) => sleep(PAUSE).await,
            }
        }
        Err(failed("its leader does not answer any more".to_owned()))
    }

    fn piece(&self) -> Vec<u8> {
        bytes(&ExportPiece { id: self.id, offset: self.offset })
    }

    async fn ask(&self, kind: Kind, body: Vec<u8>, within: Duration) -> Result<Vec<u8>, PeerError> {
        if self.from != self.own {
            return self.peers.call(self.from, Lane::Calls, kind, self.group, body, within).await;
        }
        let own = self.members.get(self.group);
        let own = own.ok_or_else(|| PeerError::Refused("this node does not hold it".to_owned()))?;
        timeout(within, own.answer(kind, body, within)).await.map_err(|_| PeerError::Timeout)?
    }
}

//! The way to other members of a group, as openraft asks for it, over the requests of `waypost_protocol::peer`.

use std::fs::File;
use std::future::Future;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use openraft::alias::{SnapshotOf, VoteOf};
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Timeout, Unreachable};
use openraft::network::{Backoff, RPCOption, RPCTypes, RaftNetworkFactory, RaftNetworkV2};
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, VoteRequest, VoteResponse};
use openraft::raft::{TransferLeaderRequest, TransferLeaderResponse};
use openraft::{BasicNode, OptionalSend};
use waypost_protocol::peer::{Lane, PeerError, Peers};
use waypost_protocol::peer_request::PeerRequest;
use waypost_protocol::{Kind, NodeId};

use crate::format::{vote, vote_record};
use crate::limits::{INSTALL_MAX, SNAPSHOT_PIECE_BYTES, SNAPSHOT_PIECE_MAX, SNAPSHOT_PIECE_TRIES};
use crate::retention::{OnItsWay, Sending};
use crate::state_machine::{SnapshotData, blocking};
use crate::types::TypeConfig;
use crate::votes::vouches_for;
use crate::wire::{Append, SnapshotPiece, SnapshotTaken, Transfer, WantPreVote, WantVote};

const PIECE_PAUSE: Duration = Duration::from_millis(250);

/// The pause when the other side cannot be reached, or refuses a piece.
const REFUSED_PAUSE: Duration = Duration::from_secs(1);

/// Makes the ways of one group.
#[derive(Clone)]
pub(crate) struct Network {
    pub(crate) group: u32,
    pub(crate) node: u64,
    pub(crate) peers: Arc<dyn Peers>,
    pub(crate) sending: Arc<Sending>,
}

/// The way to one other member.
pub(crate) struct Client {
    network: Network,
    target: u64,
}

impl RaftNetworkFactory<TypeConfig> for Network {
    type Network = Client;

    async fn new_client(&mut self, target: u64, _node: &BasicNode) -> Client {
        Client { network: self.clone(), target }
    }
}

type Failed = RPCError<TypeConfig>;

impl Client {
    async fn ask<R: PeerRequest>(&self, request: &R, action: RPCTypes, within: Duration) -> Result<R::Reply, Failed> {
        let Network { group, node, peers, .. } = &self.network;
        peers.ask(NodeId(self.target), *group, request, within).await.map_err(|error| match error {
            PeerError::Timeout => {
                RPCError::Timeout(Timeout { action, id: *node, target: self.target, timeout: within })
            }
            PeerError::Lost | PeerError::Overloaded | PeerError::Unreadable(_) => {
                RPCError::Network(NetworkError::new(&error))
            }
            PeerError::Unreachable(_) | PeerError::Refused(_) => RPCError::Unreachable(Unreachable::new(&error)),
        })
    }

    async fn send_snapshot(
        &self,
        vote_of_leader: &VoteOf<TypeConfig>,
        data: SnapshotData,
        on_its_way: &mut OnItsWay,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        let broken = |error: io::Error| StreamingError::Network(NetworkError::new(&error));
        let (file, reaches) = data.into_file().await.map_err(broken)?;
        // It was written after it was asked for. If another node leads by now, this one may not speak for what came since.
        if !vouches_for(vote_of_leader, reaches.as_ref()) {
            return Err(broken(io::Error::other("another node leads by now")));
        }
        let file = Arc::new(file);
        let total = file.metadata().map_err(broken)?.len();
        on_its_way.has_bytes(total);
        let read = file.clone();
        let id = blocking(move || snapshot_id(&read)).await.map_err(broken)?;
        let mut offset = 0;
        let mut tries = 0;
        let mut waiting = Instant::now();
        loop {
            let (read, length) = (file.clone(), SNAPSHOT_PIECE_BYTES.min((total - offset) as usize));
            let piece = blocking(move || {
                let mut piece = vec![0; length];
                read.read_exact_at(&mut piece, offset)?;
                Ok(piece)
            });
            let piece = piece.await.map_err(broken)?;
            let last = offset + piece.len() as u64 == total;
            let message = SnapshotPiece { vote: vote_record(vote_of_leader), id, total, offset, bytes: piece };
            let within = if last { INSTALL_MAX } else { SNAPSHOT_PIECE_MAX };
            if !last {
                waiting = Instant::now();
            }
            match self.ask(&message, RPCTypes::InstallSnapshot, within).await {
                Ok(answer) => match answer {
                    SnapshotTaken::Have(have) if have > offset => {
                        tries = 0;
                        offset = have.min(total);
                    }
                    // Another transfer came between, or the other side has begun anew.
                    SnapshotTaken::Have(have) if tries < SNAPSHOT_PIECE_TRIES => {
                        tries += 1;
                        offset = have.min(total);
                    }
                    SnapshotTaken::Installing if waiting.elapsed() < INSTALL_MAX => {
                        tokio::time::sleep(PIECE_PAUSE).await;
                    }
                    SnapshotTaken::Have(_) | SnapshotTaken::Installing => {
                        return Err(broken(io::Error::other("the other side does not take the snapshot")));
                    }
                    SnapshotTaken::Installed(record) => return Ok(SnapshotResponse::new(vote(record))),
                },
                Err(error) if tries >= SNAPSHOT_PIECE_TRIES => return Err(error.into()),
                Err(error) => {
                    tries += 1;
                    // It said no, perhaps for want of space: that changes slowly, and each new transfer writes the whole file again.
                    let refused = matches!(error, RPCError::Unreachable(_));
                    tokio::time::sleep(if refused { REFUSED_PAUSE } else { PIECE_PAUSE }).await;
                }
            }
        }
    }
}

/// Names a file by what is in it: pieces of two files must not be mixed, and two replicas, or one at two times, store the same
/// state in different records.
fn snapshot_id(file: &File) -> io::Result<u64> {
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; SNAPSHOT_PIECE_BYTES];
    let mut offset = 0;
    loop {
        let length = file.read_at(&mut buffer, offset)?;
        if length == 0 {
            let hash = hasher.finalize();
            let (first, _) = hash.as_bytes().split_first_chunk().expect("invariant: a hash has 32 bytes");
            return Ok(u64::from_le_bytes(*first));
        }
        hasher.update(&buffer[..length]);
        offset += length as u64;
    }
}

impl RaftNetworkV2<TypeConfig> for Client {
    type SnapshotData = SnapshotData;

    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<TypeConfig>, Failed> {
        self.ask(&Append::from(&rpc), RPCTypes::AppendEntries, option.hard_ttl()).await.map(Into::into)
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, Failed> {
        self.ask(&WantVote::from(&rpc), RPCTypes::Vote, option.hard_ttl()).await.map(Into::into)
    }

    async fn pre_vote(
        &mut self,
        rpc: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, Failed> {
        self.ask(&WantPreVote((&rpc).into()), RPCTypes::Vote, option.hard_ttl()).await.map(Into::into)
    }

    async fn full_snapshot(
        &mut self,
        vote: VoteOf<TypeConfig>,
        snapshot: SnapshotOf<TypeConfig, SnapshotData>,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        let mut on_its_way = self.network.sending.begin();
        tokio::select! {
            closed = cancel => Err(StreamingError::Closed(closed)),
            sent = self.send_snapshot(&vote, snapshot.snapshot, &mut on_its_way) => sent,
        }
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<TypeConfig>, Failed> {
        self.ask(&Transfer::from(&request), RPCTypes::TransferLeader, option.hard_ttl()).await?;
        Ok(Ok(()))
    }

    fn backoff(&self) -> Option<Backoff> {
        // The link has pauses of its own, so asking often costs nothing while a node is away.
        Some(Backoff::new(std::iter::repeat(Duration::from_millis(200))))
    }
}

/// Reaches nobody: for tests of a group that is alone.
pub struct NoPeers;

impl Peers for NoPeers {
    fn call(
        &self,
        _: NodeId,
        _: Lane,
        _: Kind,
        _: u32,
        _: Vec<u8>,
        _: Duration,
    ) -> waypost_protocol::peer::BoxFuture<'_, Result<Vec<u8>, PeerError>> {
        Box::pin(async { Err(PeerError::Unreachable("this node has no peers".to_owned())) })
    }
}

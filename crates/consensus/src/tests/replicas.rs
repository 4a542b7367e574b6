//! Two replicas of one shard in this process.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use openraft::BasicNode;
use openraft::async_runtime::watch::WatchReceiver;
use parking_lot::RwLock;
use waypost_protocol::command::CreateOutcome;
use waypost_protocol::peer::{BoxFuture, Lane, PeerError, Peers};
use waypost_protocol::{Kind, NodeId, Target};
use waypost_store::machine::ShardMachine;
use waypost_store::{Db, LogStore};
use waypost_tasks::Tasks;
use waypost_telemetry::Metrics;

use super::{clock, create, open};
use crate::group::IfNew;
use crate::{Group, GroupOptions, GroupPlace, Member};

pub(super) const GROUP: u32 = 1;
pub(super) const LEADER: NodeId = NodeId(1);
pub(super) const FOLLOWER: NodeId = NodeId(2);
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// Links that are in the follower's own checkpoint.
pub(super) const CHECKPOINTED: usize = 20;
/// Links that the follower has when it is cut off, most of them in its log only: more entries than are purged in one batch.
pub(super) const EARLY: usize = 320;
/// Links that only the leader has then. They are long: the snapshot has more than one chunk, and comes in more than one piece.
pub(super) const LATE: usize = 100;
pub(super) const LONG: usize = 7000;

/// The members reach each other directly, unless they are cut off; and how many requests were refused.
#[derive(Default)]
pub(super) struct Here(pub(super) RwLock<HashMap<NodeId, Arc<dyn Member>>>, pub(super) AtomicU64);

impl Peers for Here {
    fn call(
        &self,
        to: NodeId,
        _: Lane,
        kind: Kind,
        _: u32,
        body: Vec<u8>,
        within: Duration,
    ) -> BoxFuture<'_, Result<Vec<u8>, PeerError>> {
        let member = self.0.read().get(&to).cloned();
        Box::pin(async move {
            let member = member.ok_or_else(|| PeerError::Unreachable("it is away".to_owned()))?;
            let answer = tokio::time::timeout(within, member.answer(kind, body, within)).await;
            let answer = answer.map_err(|_| PeerError::Timeout)?;
            self.1.fetch_add(u64::from(matches!(answer, Err(PeerError::Refused(_)))), Ordering::Relaxed);
            answer
        })
    }
}

pub(super) struct Replica {
    pub(super) db: Db,
    pub(super) group: Arc<Group<ShardMachine>>,
}

pub(super) async fn replica(dir: &Path, node: NodeId, peers: &Arc<Here>, if_new: IfNew) -> Replica {
    replica_on(open(dir, &Metrics::new()), dir, node, peers, if_new).await
}

pub(super) async fn replica_on(db: Db, dir: &Path, node: NodeId, peers: &Arc<Here>, if_new: IfNew) -> Replica {
    replica_with(
        db,
        dir,
        node,
        peers,
        if_new,
        GroupOptions { checkpoint_bytes: 1 << 30, log_kept_bytes: 0, free_min: 0, clock },
    )
    .await
}

pub(super) async fn replica_with(
    db: Db,
    dir: &Path,
    node: NodeId,
    peers: &Arc<Here>,
    if_new: IfNew,
    options: GroupOptions,
) -> Replica {
    std::fs::create_dir_all(dir.join("snapshots")).unwrap();
    let place = GroupPlace {
        db: db.clone(),
        node,
        address: format!("127.0.0.1:740{}", node.0),
        data_dir: dir.to_owned(),
        options,
        peers: peers.clone(),
        level: Arc::default(),
        snapshot_turn: Arc::default(),
        tasks: Tasks::new(&Metrics::new()),
    };
    let group = Group::<ShardMachine>::open(&place, GROUP, if_new).await;
    let group = Arc::new(group.unwrap_or_else(|error| panic!("{}: {error}", dir.display())));
    peers.0.write().insert(node, group.clone());
    Replica { db, group }
}

impl Replica {
    pub(super) async fn create(&self, numbers: std::ops::Range<usize>) {
        for number in numbers {
            let (_, mut command) = create(number);
            if number >= EARLY {
                let url = format!("{}/{}", command.spec.target.as_str(), "x".repeat(LONG));
                command.spec.target = Target::parse(&url, &[], 8192).unwrap();
            }
            let outcome = self.group.propose(command).await.unwrap().outcome;
            assert!(matches!(outcome, CreateOutcome::Created(_)), "{outcome:?}");
        }
    }

    pub(super) fn missing(&self, numbers: std::ops::Range<usize>) -> Vec<usize> {
        self.group.read(|machine| numbers.filter(|number| machine.get(&create(*number).0).unwrap().is_none()).collect())
    }

    /// Writes a checkpoint of everything there is, and waits until the engine knows it. The log behind the checkpoint before is purged by then,
    /// as far as it goes; the log behind this one perhaps not yet.
    pub(super) async fn checkpointed(&self) {
        let last = self.group.status().last;
        self.group.checkpoint();
        let known = || self.group.raft().metrics().borrow_watched().snapshot.is_some_and(|at| at.index >= last);
        until("the checkpoint is known", known).await;
    }

    pub(super) fn first_index(&self) -> u64 {
        LogStore::open(&self.db, GROUP).unwrap().first_index().unwrap().unwrap_or(u64::MAX)
    }

    pub(super) async fn stop(self, peers: &Here, node: NodeId) {
        peers.0.write().remove(&node);
        self.group.close().await.unwrap();
    }
}

pub(super) async fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub(super) fn copy(from: &Path, to: &Path) {
    // The note of commits first: it must not be ahead of the database.
    std::fs::create_dir_all(to).unwrap();
    std::fs::copy(from.join("committed"), to.join("committed")).unwrap();
    for part in ["store", "snapshots"] {
        std::fs::create_dir_all(to.join(part)).unwrap();
        for entry in std::fs::read_dir(from.join(part)).unwrap().flatten() {
            if entry.file_type().unwrap().is_file() {
                std::fs::copy(entry.path(), to.join(part).join(entry.file_name())).unwrap();
            }
        }
    }
}

/// A leader, and a learner that has the first entries only and needs a snapshot to go on: their directories.
pub(super) async fn lagging(root: &Path) -> (PathBuf, PathBuf) {
    let (one, other) = (root.join("leader"), root.join("follower"));
    let peers: Arc<Here> = Arc::default();
    let leader = replica(&one, LEADER, &peers, IfNew::Create).await;
    let follower = replica(&other, FOLLOWER, &peers, IfNew::Wait).await;
    leader.group.raft().add_learner(FOLLOWER.0, BasicNode::new("127.0.0.1:7402"), true).await.unwrap();
    leader.group.tick_if_needed();
    leader.create(0..CHECKPOINTED).await;
    until("the learner follows", || follower.missing(0..CHECKPOINTED).is_empty()).await;
    follower.group.checkpoint();
    until("the learner purges its log", || follower.first_index() > CHECKPOINTED as u64).await;
    leader.create(CHECKPOINTED..EARLY).await;
    until("the learner follows on", || follower.missing(0..EARLY).is_empty()).await;
    // As a killed process leaves it: with all its log to replay.
    peers.0.write().remove(&FOLLOWER);
    let behind = root.join("behind");
    follower.db.commit().wait().await.unwrap();
    copy(&other, &behind);
    leader.create(EARLY..EARLY + LATE).await;
    leader.group.checkpoint();
    let last = leader.group.status().last;
    until("the leader purges what the learner lacks", || leader.first_index() > last).await;
    leader.stop(&peers, LEADER).await;
    follower.stop(&peers, FOLLOWER).await;
    (one, behind)
}

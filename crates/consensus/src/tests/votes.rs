//! Votes of a replica whose process was restarted.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use openraft::BasicNode;
use parking_lot::RwLock;
use waypost_protocol::peer::{BoxFuture, Lane, PeerError, Peers};
use waypost_protocol::{Kind, NodeId};
use waypost_store::Db;
use waypost_store::machine::ShardMachine;
use waypost_tasks::Tasks;
use waypost_telemetry::Metrics;

use super::replicas::{GROUP, Here, until};
use super::{clock, open};
use crate::group::IfNew;
use crate::{Group, GroupOptions, GroupPlace};

/// How one replica reaches the others, but for those from which it is cut off.
struct From {
    here: Arc<Here>,
    cut: RwLock<HashSet<NodeId>>,
}

impl Peers for From {
    fn call(
        &self,
        to: NodeId,
        lane: Lane,
        kind: Kind,
        scope: u32,
        body: Vec<u8>,
        within: Duration,
    ) -> BoxFuture<'_, Result<Vec<u8>, PeerError>> {
        if self.cut.read().contains(&to) {
            return Box::pin(async { Err(PeerError::Unreachable("it is cut off".to_owned())) });
        }
        self.here.call(to, lane, kind, scope, body, within)
    }
}

struct Member {
    node: NodeId,
    db: Db,
    dir: tempfile::TempDir,
    peers: Arc<From>,
}

impl Member {
    fn new(node: u64, here: &Arc<Here>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("snapshots")).unwrap();
        let db = open(dir.path(), &Metrics::new());
        Self { node: NodeId(node), db, dir, peers: Arc::new(From { here: here.clone(), cut: RwLock::default() }) }
    }

    async fn open(&self, if_new: IfNew) -> Arc<Group<ShardMachine>> {
        let place = GroupPlace {
            db: self.db.clone(),
            node: self.node,
            address: format!("127.0.0.1:740{}", self.node.0),
            data_dir: self.dir.path().to_owned(),
            options: GroupOptions { checkpoint_bytes: 1 << 30, log_kept_bytes: 0, free_min: 0, clock },
            peers: self.peers.clone(),
            level: Arc::default(),
            snapshot_turn: Arc::default(),
            tasks: Tasks::new(&Metrics::new()),
        };
        let group = Arc::new(Group::<ShardMachine>::open(&place, GROUP, if_new).await.unwrap());
        self.peers.here.0.write().insert(self.node, group.clone());
        group
    }

    fn cut_off_from(&self, others: &[u64]) {
        *self.peers.cut.write() = others.iter().map(|node| NodeId(*node)).collect();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_replica_that_was_restarted_keeps_what_it_had_promised_its_leader() {
    // On a busy machine the restart may take longer than the lease.
    for _ in 0..10 {
        if asks_while_the_lease_lasts().await > 0 {
            return;
        }
    }
    panic!("the lease was over every time before anybody was asked: this shows nothing");
}

/// Restarts a voter within its leader's lease. Answers how often the others tried to elect another leader while the lease lasted.
async fn asks_while_the_lease_lasts() -> usize {
    let here: Arc<Here> = Arc::default();
    let members = [1, 2, 3].map(|node| Member::new(node, &here));
    let one = members[0].open(IfNew::Create).await;
    let two = members[1].open(IfNew::Wait).await;
    let three = members[2].open(IfNew::Wait).await;
    for node in [2, 3] {
        one.raft().add_learner(node, BasicNode::new(format!("127.0.0.1:740{node}")), true).await.unwrap();
    }
    one.raft().change_membership(BTreeSet::from([1, 2, 3]), false).await.unwrap();
    one.tick_if_needed();
    until("all are voters", || [&one, &two, &three].iter().all(|group| group.voters().len() == 3)).await;

    // The leader and the third do not reach each other; the second has promised the leader to elect nobody else for now.
    members[0].cut_off_from(&[3]);
    members[2].cut_off_from(&[1]);
    until("the third has given up its leader", || three.leader().is_none()).await;
    assert!(one.linearize(false).await.is_ok(), "the leader has its lease from the second");
    here.0.write().remove(&NodeId(2));
    members[0].cut_off_from(&[2, 3]);
    two.close().await.unwrap();
    let two = members[1].open(IfNew::Wait).await;

    // While the leader may read by its lease there is no other one.
    let mut asked = 0;
    loop {
        three.raft().trigger().elect(false).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
        let elected = three.raft().is_leader();
        if one.linearize(false).await.is_err() {
            break;
        }
        asked += 1;
        assert!(!elected, "the third leads, and the first still answers by its lease");
    }
    until("the third is elected, later", || {
        let trigger = three.raft().clone();
        tokio::spawn(async move { trigger.trigger().elect(true).await });
        three.raft().is_leader()
    })
    .await;
    drop(two);
    asked
}

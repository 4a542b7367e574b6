//! A crash at every step of receiving, installing and purging behind a snapshot, and of a checkpoint: each leaves a directory from
//! which the replica starts again, with everything that was acknowledged.
//!
//! The store tells of every change of the database and of the snapshot files (`Db::on_step`). At each of them the data directory
//! is copied twice: as it is (a killed process: what the database had not flushed is gone), and once all of it is flushed. So every
//! prefix of the writes occurs, with the files as they were then.

#![expect(clippy::print_stdout, reason = "a failing test shows the steps, and at which of them it failed")]

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use openraft::BasicNode;
use parking_lot::{Mutex, RwLock};
use waypost_protocol::command::{Command, Outcome};
use waypost_protocol::peer::{BoxFuture, Lane, PeerError, Peers};
use waypost_protocol::{Kind, NodeId, Target};
use waypost_store::machine::ShardMachine;
use waypost_store::{Db, LogStore};
use waypost_telemetry::Metrics;

use super::{clock, create, open};
use crate::group::IfNew;
use crate::{Group, GroupOptions, GroupPlace, Member};

const GROUP: u32 = 1;
const LEADER: NodeId = NodeId(1);
const FOLLOWER: NodeId = NodeId(2);
const PATIENCE: Duration = Duration::from_secs(60);

/// Links that are in the follower's own checkpoint.
const CHECKPOINTED: usize = 20;
/// Links that the follower has when it is cut off, most of them in its log only: more entries than are purged in one batch.
const EARLY: usize = 320;
/// Links that only the leader has then. They are long: the snapshot has more than one chunk, and comes in more than one piece.
const LATE: usize = 100;
const LONG: usize = 7000;

/// The members reach each other directly, unless they are cut off.
#[derive(Default)]
struct Here(RwLock<HashMap<NodeId, Arc<dyn Member>>>);

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
            tokio::time::timeout(within, member.answer(kind, body, within)).await.map_err(|_| PeerError::Timeout)?
        })
    }
}

struct Replica {
    db: Db,
    group: Arc<Group<ShardMachine>>,
}

async fn replica(dir: &Path, node: NodeId, peers: &Arc<Here>, if_new: IfNew) -> Replica {
    replica_on(open(dir, &Metrics::new()), dir, node, peers, if_new).await
}

async fn replica_on(db: Db, dir: &Path, node: NodeId, peers: &Arc<Here>, if_new: IfNew) -> Replica {
    std::fs::create_dir_all(dir.join("snapshots")).unwrap();
    let place = GroupPlace {
        db: db.clone(),
        node,
        address: format!("127.0.0.1:740{}", node.0),
        data_dir: dir.to_owned(),
        options: GroupOptions { checkpoint_bytes: 1 << 30, free_min: 0, clock },
        peers: peers.clone(),
    };
    let group = Group::<ShardMachine>::open(&place, GROUP, if_new).await;
    let group = Arc::new(group.unwrap_or_else(|error| panic!("{}: {error}", dir.display())));
    peers.0.write().insert(node, group.clone());
    Replica { db, group }
}

impl Replica {
    async fn create(&self, numbers: std::ops::Range<usize>) {
        for number in numbers {
            let (_, mut command) = create(number);
            if let (Command::Create(link), true) = (&mut command, number >= EARLY) {
                let url = format!("{}/{}", link.target.as_str(), "x".repeat(LONG));
                link.target = Target::parse(&url, &[], 8192).unwrap();
            }
            let outcome = self.group.propose(command).await.unwrap().outcome;
            assert!(matches!(outcome, Outcome::Created(_)), "{outcome:?}");
        }
    }

    fn missing(&self, numbers: std::ops::Range<usize>) -> Vec<usize> {
        self.group.read(|machine| numbers.filter(|number| machine.get(&create(*number).0).unwrap().is_none()).collect())
    }

    fn first_index(&self) -> u64 {
        LogStore::open(&self.db, GROUP).unwrap().first_index().unwrap().unwrap_or(u64::MAX)
    }

    async fn stop(self, peers: &Here, node: NodeId) {
        peers.0.write().remove(&node);
        self.group.close().await.unwrap();
    }
}

async fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn copy(from: &Path, to: &Path) {
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

/// What a crash after each step left.
#[derive(Default)]
struct Crashes {
    steps: Vec<(String, Vec<PathBuf>)>,
}

/// Copies the data directory of a replica at every step from now on.
fn watch(db: &Db, dir: &Path, copies: &Path) -> Arc<Mutex<Crashes>> {
    let crashes: Arc<Mutex<Crashes>> = Arc::default();
    let (kept, dir, copies, commit) = (crashes.clone(), dir.to_owned(), copies.to_owned(), db.commit().clone());
    db.on_step(Some(Arc::new(move |step: &str| {
        let mut crashes = kept.lock();
        let number = crashes.steps.len();
        let [killed, flushed] = ["killed", "flushed"].map(|how| copies.join(format!("{number}-{how}")));
        copy(&dir, &killed);
        commit.wait_blocking().unwrap();
        copy(&dir, &flushed);
        crashes.steps.push((step.to_owned(), vec![killed, flushed]));
    })));
    crashes
}

fn finished(db: &Db, crashes: &Mutex<Crashes>) -> Vec<(String, Vec<PathBuf>)> {
    db.on_step(None);
    let steps = std::mem::take(&mut crashes.lock().steps);
    println!("{} steps: {:#?}", steps.len(), steps.iter().map(|(step, _)| step).collect::<Vec<_>>());
    steps
}

fn count(steps: &[(String, Vec<PathBuf>)], what: &str) -> usize {
    steps.iter().filter(|(step, _)| step.contains(what)).count()
}

/// A leader, and a learner that has the first entries only and needs a snapshot to go on: their directories.
async fn lagging(root: &Path) -> (PathBuf, PathBuf) {
    let (one, other) = (root.join("leader"), root.join("follower"));
    let peers: Arc<Here> = Arc::default();
    let leader = replica(&one, LEADER, &peers, IfNew::Create).await;
    let follower = replica(&other, FOLLOWER, &peers, IfNew::Wait).await;
    leader.group.raft().add_learner(FOLLOWER.0, BasicNode::new("127.0.0.1:7402"), true).await.unwrap();
    leader.group.tick_if_needed();
    leader.create(0..CHECKPOINTED).await;
    until("the learner follows", || follower.missing(0..CHECKPOINTED).is_empty()).await;
    follower.group.checkpoint().await.unwrap();
    until("the learner purges its log", || follower.first_index() > CHECKPOINTED as u64).await;
    leader.create(CHECKPOINTED..EARLY).await;
    until("the learner follows on", || follower.missing(0..EARLY).is_empty()).await;
    // As a killed process leaves it: with all its log to replay.
    peers.0.write().remove(&FOLLOWER);
    let behind = root.join("behind");
    follower.db.commit().wait().await.unwrap();
    copy(&other, &behind);
    leader.create(EARLY..EARLY + LATE).await;
    leader.group.checkpoint().await.unwrap();
    let last = leader.group.status().last;
    until("the leader purges what the learner lacks", || leader.first_index() > last).await;
    leader.stop(&peers, LEADER).await;
    follower.stop(&peers, FOLLOWER).await;
    (one, behind)
}

/// Starts the replica that a crash left, and brings it up to a leader in the state of then.
async fn starts_and_catches_up(leader: &Path, crashed: &Path, step: &str, scratch: &Path) {
    let own = scratch.join("leader-again");
    let _ = std::fs::remove_dir_all(&own);
    copy(leader, &own);
    let peers: Arc<Here> = Arc::default();
    println!("{step} in {}", crashed.display());
    let follower = replica(crashed, FOLLOWER, &peers, IfNew::Wait).await;
    // What it had acknowledged is there before it hears from anybody.
    assert!(follower.group.status().last >= EARLY as u64, "{step}: {:?}", follower.group.status());
    let leader = replica(&own, LEADER, &peers, IfNew::Create).await;
    leader.create(EARLY + LATE..EARLY + LATE + 1).await;
    until(&format!("the replica catches up after {step}"), || follower.missing(0..EARLY + LATE + 1).is_empty()).await;
    assert!(!follower.group.status().voters.is_empty());
    assert!(
        std::fs::read_dir(crashed.join("snapshots"))
            .unwrap()
            .flatten()
            .all(|file| !file.file_name().to_string_lossy().starts_with("install-"))
    );
    follower.stop(&peers, FOLLOWER).await;
    leader.stop(&peers, LEADER).await;
    std::fs::remove_dir_all(crashed).unwrap();
}

/// The steps of taking a snapshot, and what a crash at each of them left. Answers the directory of the leader too.
async fn taking_a_snapshot(root: &Path) -> (PathBuf, Vec<(String, Vec<PathBuf>)>) {
    let (leader_dir, follower_dir) = lagging(root).await;
    let live = root.join("live");
    copy(&leader_dir, &live);
    let peers: Arc<Here> = Arc::default();
    let follower = replica(&follower_dir, FOLLOWER, &peers, IfNew::Wait).await;
    assert!(follower.missing(0..EARLY).is_empty());
    let crashes = watch(&follower.db, &follower_dir, &root.join("crashes"));
    let leader = replica(&live, LEADER, &peers, IfNew::Create).await;
    until("the snapshot arrives", || follower.missing(0..EARLY + LATE).is_empty()).await;
    until("the log before it is purged", || follower.first_index() > leader.group.status().applied - 2).await;
    let steps = finished(&follower.db, &crashes);
    leader.stop(&peers, LEADER).await;
    follower.stop(&peers, FOLLOWER).await;
    (leader_dir, steps)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_replica_that_dies_at_any_step_of_taking_a_snapshot_starts_again_and_catches_up() {
    let root = tempfile::tempdir().unwrap();
    let (leader, steps) = taking_a_snapshot(root.path()).await;
    let files = ["pieces synced", "received", "staged", "staging synced", "discarded", "discarding synced"];
    for file in files {
        assert_eq!(count(&steps, &format!("file sm/{GROUP} {file}")), 1, "{file}");
    }
    assert_eq!(count(&steps, "insert log/1 mpurged"), 1);
    // Several pieces; records removed, and those of the snapshot in several chunks; entries purged in several batches.
    for (kind, least) in [("piece written", 2), ("batch sm/1", 3), ("batch log/1", 2)] {
        assert!(count(&steps, kind) >= least, "{kind}");
    }
    for (step, copies) in steps {
        for crashed in copies {
            starts_and_catches_up(&leader, &crashed, &step, root.path()).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_replica_that_dies_again_at_any_step_of_its_recovery_starts_again_and_catches_up() {
    let root = tempfile::tempdir().unwrap();
    let (leader, steps) = taking_a_snapshot(root.path()).await;
    // In the middle of the import, and in the middle of the purge: what a start has to finish.
    let middle = |kind: &str| steps.iter().find(|(step, _)| step.contains(kind)).unwrap().1[1].clone();
    for (crashed, least) in [(middle("batch sm/1"), 8), (middle("batch log/1"), 2)] {
        let name = crashed.file_name().unwrap().to_string_lossy().into_owned();
        let db = open(&crashed, &Metrics::new());
        let again = watch(&db, &crashed, &root.path().join(format!("again-{name}")));
        let recovered = replica_on(db, &crashed, FOLLOWER, &Arc::default(), IfNew::Wait).await;
        let steps = finished(&recovered.db, &again);
        recovered.stop(&Arc::default(), FOLLOWER).await;
        assert!(steps.len() >= least, "{steps:?}");
        for (step, copies) in steps {
            for crashed in copies {
                starts_and_catches_up(&leader, &crashed, &format!("{step} after {name}"), root.path()).await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_lone_replica_that_dies_at_any_step_of_a_checkpoint_has_every_link() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("alone");
    let peers: Arc<Here> = Arc::default();
    let alone = replica(&dir, LEADER, &peers, IfNew::Create).await;
    // A checkpoint over an earlier one, with a purge of several batches behind it.
    alone.create(0..CHECKPOINTED).await;
    alone.group.checkpoint().await.unwrap();
    until("the log is purged", || alone.first_index() > CHECKPOINTED as u64).await;
    alone.create(CHECKPOINTED..EARLY + 4).await;
    let crashes = watch(&alone.db, &dir, &root.path().join("crashes"));
    alone.group.checkpoint().await.unwrap();
    until("the log is purged again", || alone.first_index() > EARLY as u64).await;
    let steps = finished(&alone.db, &crashes);
    alone.stop(&peers, LEADER).await;
    for (kind, least) in [("batch sm/1", 1), ("insert log/1 mpurged", 1), ("batch log/1", 2)] {
        assert!(count(&steps, kind) >= least, "{kind}");
    }
    for (step, copies) in steps {
        for crashed in copies {
            let back = replica(&crashed, LEADER, &peers, IfNew::Create).await;
            assert_eq!(back.missing(0..EARLY + 4), Vec::<usize>::new(), "{step} in {}", crashed.display());
            back.create(EARLY + 4..EARLY + 5).await;
            back.stop(&peers, LEADER).await;
        }
    }
}

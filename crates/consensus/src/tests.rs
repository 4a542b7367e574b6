//! openraft's own storage suite, and what a group promises: one flush for many, restart, checkpoint, purge.

mod commands;
#[cfg(debug_assertions)]
mod crash;
mod replicas;
#[cfg(debug_assertions)]
mod snapshots;
mod votes;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use openraft::StorageError;
use openraft::raft::AppendEntriesRequest;
use openraft::storage::{RaftSnapshotBuilder, RaftStateMachine};
use openraft::testing::log::{StoreBuilder, Suite};
use parking_lot::RwLock;
use tempfile::TempDir;
use waypost_protocol::command::{Bootstrap, Create, CreateOutcome};
use waypost_protocol::{Code, LinkKey, LinkSpec, NodeId, ShardId, Target, UnixMs};
use waypost_store::machine::incoming::Incoming;
use waypost_store::machine::{Machine, ShardMachine};
use waypost_store::{Db, DbOptions, LogStore};
use waypost_tasks::Tasks;
use waypost_telemetry::Metrics;

use crate::due::CheckpointDue;
use crate::log_store::RaftLog;
use crate::position::Positioned;
use crate::retention::Retention;
use crate::state_machine::{GroupMachine, SnapshotFiles};
use crate::types::TypeConfig;
use crate::{GroupOptions, GroupPlace, Groups, NoPeers, OpenedCluster};

fn clock() -> UnixMs {
    UnixMs(1_800_000_000_000)
}

fn open(dir: &Path, metrics: &Metrics) -> Db {
    Db::open(dir, &DbOptions { cache_bytes: 8 << 20, ..DbOptions::default() }, metrics).unwrap()
}

fn parts(dir: &Path, db: &Db) -> (RaftLog, GroupMachine<ShardMachine>) {
    let snapshots = dir.join("snapshots");
    std::fs::create_dir_all(&snapshots).unwrap();
    let tree = db.tree("sm/1").unwrap();
    let incoming = Incoming::new(tree.clone(), 1, snapshots.clone());
    let files = SnapshotFiles::new(snapshots, incoming, 0, Arc::default());
    let (machine, position) = ShardMachine::open(tree).unwrap();
    let state = Arc::new(RwLock::new(Positioned::new(machine, position.as_deref()).unwrap()));
    let due = Arc::new(CheckpointDue::new(1 << 20, state.read().counts.clone()));
    let log = RaftLog::new(LogStore::open(db, 1).unwrap(), db.commit().clone());
    let retention = Arc::new(Retention::new(0, Vec::new(), None, Arc::default()));
    (log, GroupMachine::new(1, state, db.commit().clone(), due, retention, files, Arc::default()))
}

struct Builder;

impl StoreBuilder<TypeConfig, RaftLog, GroupMachine<ShardMachine>, TempDir> for Builder {
    async fn build(&self) -> Result<(TempDir, RaftLog, GroupMachine<ShardMachine>), StorageError<TypeConfig>> {
        let dir = tempfile::tempdir().unwrap();
        let db = open(dir.path(), &Metrics::new());
        let (log, machine) = parts(dir.path(), &db);
        Ok((dir, log, machine))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_storage_suite_of_openraft_passes() {
    Suite::test_all(Builder).await.unwrap();
}

fn bootstrap() -> Bootstrap {
    Bootstrap { cluster_id: [1; 16], name: "test".to_owned(), shards: 4, permutation_key: [2; 32], created_at: clock() }
}

async fn groups(db: &Db, dir: &Path, checkpoint_bytes: u64) -> Groups {
    let place = GroupPlace {
        db: db.clone(),
        node: NodeId(7),
        address: "127.0.0.1:7400".to_owned(),
        data_dir: dir.to_owned(),
        options: GroupOptions { checkpoint_bytes, log_kept_bytes: 0, free_min: 0, clock },
        peers: Arc::new(NoPeers),
        level: Arc::default(),
        snapshot_turn: Arc::default(),
        tasks: Tasks::new(&Metrics::new()),
    };
    OpenedCluster::open(place, Some(bootstrap()), Arc::default()).await.unwrap().open_shards(true).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_that_was_stopped_before_it_had_any_entry_opens_again_to_wait_for_its_leader() {
    let dir = tempfile::tempdir().unwrap();
    let open_group = async |dir: &Path| {
        let db = open(dir, &Metrics::new());
        let place = GroupPlace {
            db: db.clone(),
            node: NodeId(7),
            address: "127.0.0.1:7400".to_owned(),
            data_dir: dir.to_owned(),
            options: GroupOptions { checkpoint_bytes: 1 << 20, log_kept_bytes: 0, free_min: 0, clock },
            peers: Arc::new(NoPeers),
            level: Arc::default(),
            snapshot_turn: Arc::default(),
            tasks: Tasks::new(&Metrics::new()),
        };
        let opening = OpenedCluster::open(place, None, Arc::default());
        let opened =
            tokio::time::timeout(Duration::from_secs(60), opening).await.expect("it waits for nobody").unwrap();
        (db, opened)
    };
    let (_db, opened) = open_group(dir.path()).await;
    // The first that a learner hears of its leader is a heartbeat, which it may get without an entry.
    let vote = crate::types::Vote::new_committed(1, 3);
    let heartbeat = AppendEntriesRequest { vote, prev_log_id: None, leader_commit: None, entries: Vec::new() };
    opened.cluster().raft().append_entries(heartbeat).await.unwrap();
    let copy = dir.path().join("copy");
    copy_files(&dir.path().join("store"), &copy.join("store"));
    let (_db, opened) = open_group(&copy).await;
    assert!(opened.cluster().raft().is_initialized().await.unwrap(), "the vote was kept");
    assert!(!opened.cluster().is_member());
}

fn create(number: usize) -> (LinkKey, Create) {
    let key = LinkKey::new(Code::parse_slug(&format!("code{number}")).unwrap());
    let target = Target::parse(&format!("https://example.com/{number}"), &[], 8192).unwrap();
    let link = Create {
        key: key.clone(),
        created_by: 0,
        generated: false,
        find_existing: false,
        idempotency: None,
        spec: LinkSpec { target, valid_until: None, fields: Default::default() },
    };
    (key, link)
}

async fn create_all(groups: &Groups, numbers: std::ops::Range<usize>) {
    let mut tasks = Vec::new();
    for number in numbers {
        let (key, command) = create(number);
        let group = groups.shard(key.shard(4)).unwrap().clone();
        tasks.push(tokio::spawn(async move { group.propose(command).await }));
    }
    for task in tasks {
        assert!(matches!(task.await.unwrap().unwrap().outcome, CreateOutcome::Created(_)));
    }
}

fn found(groups: &Groups, number: usize) -> bool {
    let (key, _) = create(number);
    groups.shard(key.shard(4)).unwrap().read(|machine| machine.get(&key).unwrap().is_some())
}

fn metric(metrics: &Metrics, name: &str) -> f64 {
    let text = metrics.render();
    let line = text.lines().find(|line| line.starts_with(&format!("{name} "))).unwrap();
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_commands_of_many_groups_share_entries_and_flushes() {
    let dir = tempfile::tempdir().unwrap();
    let metrics = Metrics::new();
    let db = open(dir.path(), &metrics);
    let groups = groups(&db, dir.path(), 1 << 20).await;
    let (commits, entries) = (metric(&metrics, "waypost_commits_total"), entries(&groups));
    create_all(&groups, 0..2000).await;
    let commits = metric(&metrics, "waypost_commits_total") - commits;
    let entries = self::entries(&groups) - entries;
    assert!(commits < 500.0, "{commits} flushes for 2000 commands");
    assert!(entries < 1000, "{entries} entries for 2000 commands");
}

fn entries(groups: &Groups) -> u64 {
    groups.status().iter().map(|status| status.last).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_comes_back_to_what_was_acknowledged_with_or_without_a_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    for (checkpoint_bytes, clean) in [(1 << 20, false), (16 << 10, false), (1 << 20, true)] {
        let dir = dir.path().join(format!("{checkpoint_bytes}-{clean}"));
        std::fs::create_dir_all(&dir).unwrap();
        {
            let db = open(&dir, &Metrics::new());
            let groups = groups(&db, &dir, checkpoint_bytes).await;
            create_all(&groups, 0..1000).await;
            if clean {
                groups.close().await.unwrap();
                db.close().unwrap();
            } else {
                std::mem::forget(groups);
                std::mem::forget(db);
            }
        }
        // The lock of the database belongs to this process, so a copy of its files stands for the crashed node's disk.
        let copy = dir.join("copy");
        copy_files(&dir.join("store"), &copy.join("store"));
        let db = open(&copy, &Metrics::new());
        let groups = groups(&db, &copy, checkpoint_bytes).await;
        assert!((0..1000).all(|number| found(&groups, number)), "{checkpoint_bytes} {clean}");
        assert!(!found(&groups, 1000));
        create_all(&groups, 1000..1010).await;
    }
}

fn copy_files(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().flatten() {
        if entry.file_type().unwrap().is_file() {
            std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_is_purged_behind_checkpoints() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path(), &Metrics::new());
    let groups = groups(&db, dir.path(), 16 << 10).await;
    for round in 0..20 {
        create_all(&groups, round * 200..(round + 1) * 200).await;
    }
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    // Which entry a purge stops before depends on timing; that the early ones go does not. A slow checkpoint may have had all links so far, and a
    // purge comes with the next one.
    let mut made = 4000;
    while LogStore::open(&db, 1).unwrap().first_index().unwrap().unwrap_or(0) <= 1 {
        assert!(std::time::Instant::now() < deadline, "nothing was purged");
        create_all(&groups, made..made + 10).await;
        made += 10;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_carries_the_state_to_another_replica() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let from = open(one.path(), &Metrics::new());
    let source = groups(&from, one.path(), 1 << 20).await;
    create_all(&source, 0..500).await;
    source.close().await.unwrap();
    let (_, mut machine) = parts(one.path(), &from);
    machine.get_snapshot_builder().await.build_snapshot().await.unwrap();
    let snapshot = machine.get_current_snapshot().await.unwrap().unwrap();

    let to = open(other.path(), &Metrics::new());
    let (_, mut receiver) = parts(other.path(), &to);
    receiver.install_snapshot(&snapshot.meta, snapshot.snapshot).await.unwrap();
    assert_eq!(receiver.applied_state().await.unwrap(), machine.applied_state().await.unwrap());
    let (restored, _) = ShardMachine::open(to.tree("sm/1").unwrap()).unwrap();
    let expected = (0..500).filter(|number| create(*number).0.shard(4) == ShardId(0)).collect::<Vec<_>>();
    assert_eq!(restored.links(), expected.len());
    assert!(expected.iter().all(|number| restored.get(&create(*number).0).unwrap().is_some()));
    assert!(std::fs::read_dir(other.path().join("snapshots")).unwrap().next().is_none(), "the file was left behind");
}

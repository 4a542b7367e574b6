//! Snapshots between two replicas: who may send one, what goes on meanwhile, and a disk without room for one.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;

use openraft::BasicNode;
use parking_lot::Mutex;
use waypost_protocol::peer::Peers;
use waypost_store::machine::{Machine, snapshot};
use waypost_telemetry::Metrics;

use super::replicas::*;
use super::{clock, create, open};
use crate::format::{VoteRecord, encode_position};
use crate::group::IfNew;
use crate::state_machine::write_snapshot;
use crate::types::{LeaderId, LogId};
use crate::wire::{SnapshotPiece, SnapshotTaken};
use crate::{GroupOptions, ProposeError};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_with_entries_of_a_later_leader_of_the_same_term_is_refused_and_stops_nobody() {
    let root = tempfile::tempdir().unwrap();
    let peers: Arc<Here> = Arc::default();
    let leader = replica(&root.path().join("leader"), LEADER, &peers, IfNew::Create).await;
    let follower = replica(&root.path().join("follower"), FOLLOWER, &peers, IfNew::Wait).await;
    leader.group.raft().add_learner(FOLLOWER.0, BasicNode::new("127.0.0.1:7402"), true).await.unwrap();
    leader.group.tick_if_needed();
    leader.create(0..5).await;
    until("the learner follows", || follower.missing(0..5).is_empty()).await;
    // What the leader writes when another node has led in its term since the snapshot was asked for.
    let path = root.path().join("later.snap");
    let term = leader.group.status().term;
    let (tree, members) = {
        let state = leader.group.state().read();
        (state.machine.tree().clone(), state.members.clone())
    };
    let later = LogId { leader_id: LeaderId { term, node_id: LEADER.0 + 1 }, index: 500 };
    let position = encode_position(Some(&later), &members);
    snapshot::export(&tree, GROUP, &position, &std::fs::File::create(&path).unwrap(), 0).unwrap();
    let file = std::fs::read(&path).unwrap();
    let piece = SnapshotPiece {
        vote: VoteRecord { term, node: LEADER.0, committed: true },
        id: 9,
        total: file.len() as u64,
        offset: 0,
        bytes: file,
    };
    let answer = (&*peers as &dyn Peers).ask(FOLLOWER, GROUP, &piece, PATIENCE).await;
    assert!(answer.is_err(), "it was taken");
    assert_eq!(follower.db.failure(), None);
    leader.create(5..10).await;
    until("the learner goes on", || follower.missing(0..10).is_empty()).await;
    // Nothing of it is left behind.
    assert_eq!(std::fs::read_dir(root.path().join("follower/snapshots")).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_was_replaced_learns_it_from_the_first_piece_that_it_sends() {
    let root = tempfile::tempdir().unwrap();
    let peers: Arc<Here> = Arc::default();
    let alone = replica(&root.path().join("alone"), LEADER, &peers, IfNew::Create).await;
    let term = alone.group.status().term;
    let older = VoteRecord { term, node: LEADER.0 - 1, committed: true };
    let piece = SnapshotPiece { vote: older, id: 9, total: 100, offset: 0, bytes: vec![0; 10] };
    let answer = (&*peers as &dyn Peers).ask(LEADER, GROUP, &piece, PATIENCE).await.unwrap();
    let SnapshotTaken::Installed(vote) = answer else { panic!("it was taken") };
    assert_eq!((vote.term, vote.node), (term, LEADER.0));
    assert_eq!(std::fs::read_dir(root.path().join("alone/snapshots")).unwrap().count(), 0);
}

/// What the thread that works on a snapshot file waits for: that another task of the engine has had its turn.
struct Waiting {
    step: String,
    go_on: SyncSender<()>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn other_groups_go_on_while_the_disk_takes_its_time_with_a_snapshot() {
    let root = tempfile::tempdir().unwrap();
    let (leader_dir, follower_dir) = lagging(root.path()).await;
    let peers: Arc<Here> = Arc::default();
    let other = replica(&root.path().join("other"), LEADER, &Arc::default(), IfNew::Create).await;
    let db = open(&follower_dir, &Metrics::new());
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let stuck: Arc<Mutex<Vec<String>>> = Arc::default();
    let noted = stuck.clone();
    let follower = replica_on(db.clone(), &follower_dir, FOLLOWER, &peers, IfNew::Wait).await;
    db.on_step(Some(Arc::new(move |step: &str| {
        let (go_on, goes_on) = sync_channel(1);
        if !step.starts_with("file") || tell.send(Waiting { step: step.to_owned(), go_on }).is_err() {
            return;
        }
        if goes_on.recv_timeout(PATIENCE).is_err() {
            noted.lock().push(step.to_owned());
        }
    })));
    // The runtime has one thread: whoever blocks it keeps this task from its turn.
    let steps: Arc<Mutex<Vec<String>>> = Arc::default();
    let taken = steps.clone();
    let turns = tokio::spawn(async move {
        while let Some(Waiting { step, go_on }) = told.recv().await {
            let number = taken.lock().len();
            other.create(number..number + 1).await;
            taken.lock().push(step);
            go_on.send(()).unwrap();
        }
    });
    let leader = replica(&leader_dir, LEADER, &peers, IfNew::Create).await;
    until("the snapshot arrives", || follower.missing(0..EARLY + LATE).is_empty() || !stuck.lock().is_empty()).await;
    let is_last = |step: &String| step.ends_with("discarded");
    until("its file is removed", || steps.lock().iter().any(is_last) || !stuck.lock().is_empty()).await;
    leader.stop(&peers, LEADER).await;
    db.on_step(None);
    assert_eq!(*stuck.lock(), Vec::<String>::new(), "an engine thread waited for the disk");
    turns.await.unwrap();
    let steps = steps.lock();
    for step in ["piece written", "pieces synced", "received", "staged", "staging synced", "discarded"] {
        assert!(steps.iter().any(|seen| seen.ends_with(step)), "{step} in {steps:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_are_applied_while_a_snapshot_is_written_and_the_checkpoint_follows() {
    let root = tempfile::tempdir().unwrap();
    let peers: Arc<Here> = Arc::default();
    let options = GroupOptions { checkpoint_bytes: 8 << 10, log_kept_bytes: 0, free_min: 0, clock };
    let dir = root.path().join("alone");
    let alone = replica_with(open(&dir, &Metrics::new()), &dir, LEADER, &peers, IfNew::Create, options).await;
    // As an export that takes its time does.
    let exporting = alone.group.files().tree.clone().lock_owned().await;
    alone.create(0..200).await;
    assert!(alone.missing(0..200).is_empty());
    assert!(alone.group.status().pending_bytes > 8 << 10);
    assert!(alone.first_index() <= 1, "a checkpoint changed the tree while it was read");
    drop(exporting);
    until("the checkpoint is written", || alone.first_index() > 100).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_that_waits_for_its_turn_holds_up_no_checkpoint() {
    let root = tempfile::tempdir().unwrap();
    let peers: Arc<Here> = Arc::default();
    let options = GroupOptions { checkpoint_bytes: 8 << 10, log_kept_bytes: 0, free_min: 0, clock };
    let dir = root.path().join("alone");
    let alone = replica_with(open(&dir, &Metrics::new()), &dir, LEADER, &peers, IfNew::Create, options).await;
    let (state, files) = (alone.group.state().clone(), alone.group.files().clone());
    // As an export of another group of the node does.
    let other = files.turn.turn.clone().acquire_owned().await.unwrap();
    let waiting = tokio::spawn(write_snapshot(state, files, GROUP, "export"));
    tokio::task::yield_now().await;
    alone.create(0..200).await;
    until("the checkpoint is written", || alone.first_index() > 100).await;
    assert!(!waiting.is_finished());
    drop(other);
    waiting.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_for_a_checkpoint_while_a_snapshot_is_written_is_bounded() {
    let root = tempfile::tempdir().unwrap();
    let peers: Arc<Here> = Arc::default();
    let options = GroupOptions { checkpoint_bytes: 1 << 10, log_kept_bytes: 0, free_min: 0, clock };
    let dir = root.path().join("alone");
    let alone = replica_with(open(&dir, &Metrics::new()), &dir, LEADER, &peers, IfNew::Create, options).await;
    let exporting = alone.group.files().tree.clone().lock_owned().await;
    let mut made = 0;
    // Sixteen times what makes a checkpoint due are at most about 250 of these.
    while made < 3000 {
        match tokio::time::timeout(Duration::from_secs(2), alone.group.propose(create(made).1)).await {
            Ok(applied) => drop(applied.unwrap()),
            Err(_) => break,
        }
        made += 1;
    }
    assert!(made < 600, "{made} links wait in memory");
    drop(exporting);
    until("what waited is applied", || alone.missing(0..made + 1).is_empty()).await;
    alone.create(made + 1..made + 10).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_that_a_replica_needs_after_its_snapshot_is_kept_until_it_has_installed_it() {
    let root = tempfile::tempdir().unwrap();
    let (leader_dir, follower_dir) = lagging(root.path()).await;
    let peers: Arc<Here> = Arc::default();
    let follower = replica(&follower_dir, FOLLOWER, &peers, IfNew::Wait).await;
    // The snapshot arrives, and is not installed before this is released.
    let held = follower.group.files().tree.clone().lock_owned().await;
    let options = GroupOptions { checkpoint_bytes: 16 << 10, log_kept_bytes: 0, free_min: 0, clock };
    let db = open(&leader_dir, &Metrics::new());
    let leader = replica_with(db, &leader_dir, LEADER, &peers, IfNew::Create, options).await;
    until("the snapshot is staged", || follower.group.files().incoming.is_staged()).await;
    let first = leader.first_index();
    let links = EARLY + LATE;
    leader.create(links..links + 6).await;
    leader.checkpointed().await;
    leader.create(links + 6..links + 10).await;
    leader.checkpointed().await;
    assert_eq!(leader.first_index(), first, "the log after the snapshot was removed");
    drop(held);
    until("the replica follows", || follower.missing(0..links + 10).is_empty()).await;
    until("the log is purged", || leader.first_index() > first).await;
    leader.stop(&peers, LEADER).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_was_away_for_some_checkpoints_is_brought_up_to_date_from_the_log() {
    let root = tempfile::tempdir().unwrap();
    let peers: Arc<Here> = Arc::default();
    let options = GroupOptions { checkpoint_bytes: 4 << 10, log_kept_bytes: 1 << 20, free_min: 0, clock };
    let leader_dir = root.path().join("leader");
    let db = open(&leader_dir, &Metrics::new());
    let leader = replica_with(db, &leader_dir, LEADER, &peers, IfNew::Create, options).await;
    let follower = replica(&root.path().join("follower"), FOLLOWER, &peers, IfNew::Wait).await;
    leader.group.raft().add_learner(FOLLOWER.0, BasicNode::new("127.0.0.1:7402"), true).await.unwrap();
    leader.group.tick_if_needed();
    leader.create(0..5).await;
    until("the learner follows", || follower.missing(0..5).is_empty()).await;
    let member = peers.0.write().remove(&FOLLOWER).unwrap();
    // Several checkpoints' worth, and less than what is kept.
    leader.create(5..300).await;
    leader.checkpointed().await;
    leader.checkpointed().await;
    assert!(leader.first_index() <= 1, "the log went with the checkpoint");
    // A snapshot would wait for this.
    let held = follower.group.files().tree.clone().lock_owned().await;
    peers.0.write().insert(FOLLOWER, member);
    until("the replica follows", || follower.missing(0..300).is_empty()).await;
    drop(held);
    leader.stop(&peers, LEADER).await;
    follower.stop(&peers, FOLLOWER).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_that_is_kept_for_others_is_bounded_over_restarts() {
    let root = tempfile::tempdir().unwrap();
    let peers: Arc<Here> = Arc::default();
    let options = GroupOptions { checkpoint_bytes: 3 << 9, log_kept_bytes: 3 << 10, free_min: 0, clock };
    for life in 0..12 {
        let dir = root.path().join(format!("life {life}"));
        if life > 0 {
            copy(&root.path().join(format!("life {}", life - 1)), &dir);
        }
        let leader = replica_with(open(&dir, &Metrics::new()), &dir, LEADER, &peers, IfNew::Create, options).await;
        if life == 0 {
            leader.group.raft().add_learner(FOLLOWER.0, BasicNode::new("127.0.0.1:7402"), false).await.unwrap();
        }
        // Less in each life than what is kept.
        leader.create(life * 40..(life + 1) * 40).await;
        leader.group.checkpoint();
        let kept = || leader.group.status().last.saturating_sub(leader.first_index());
        until("what is more than is kept goes", || kept() < 160).await;
        leader.db.commit().wait().await.unwrap();
        leader.stop(&peers, LEADER).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_tells_how_it_is_while_a_snapshot_replaces_its_state() {
    let root = tempfile::tempdir().unwrap();
    let alone = replica(&root.path().join("alone"), LEADER, &Arc::default(), IfNew::Create).await;
    alone.create(0..5).await;
    let (tell, told) = sync_channel(1);
    let group = alone.group.clone();
    let told = tokio::task::spawn_blocking(move || {
        let state = group.state().clone();
        let _replaced = state.write();
        std::thread::spawn(move || tell.send(group.status()));
        told.recv_timeout(PATIENCE)
    });
    let told = told.await.unwrap().expect("whoever asks how it is waits for its state");
    assert_eq!(told.links, 5);
    assert!(told.pending_bytes > 0 && told.applied >= 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_without_room_for_a_snapshot_refuses_it_and_says_so_and_takes_it_later() {
    let root = tempfile::tempdir().unwrap();
    let (leader_dir, follower_dir) = lagging(root.path()).await;
    let peers: Arc<Here> = Arc::default();
    let full = GroupOptions { checkpoint_bytes: 1 << 30, log_kept_bytes: 0, free_min: u64::MAX / 2, clock };
    let then = root.path().join("then");
    copy(&follower_dir, &then);
    let db = open(&follower_dir, &Metrics::new());
    let follower = replica_with(db.clone(), &follower_dir, FOLLOWER, &peers, IfNew::Wait, full).await;
    let leader = replica(&leader_dir, LEADER, &peers, IfNew::Create).await;
    until("the snapshot is refused", || follower.group.status().waits_for_space).await;
    assert_eq!(db.failure(), None);
    assert_eq!(std::fs::read_dir(follower_dir.join("snapshots")).unwrap().count(), 0);
    assert!(follower.missing(0..EARLY).is_empty(), "it no longer has what it had");
    follower.stop(&peers, FOLLOWER).await;
    let follower = replica(&then, FOLLOWER, &peers, IfNew::Wait).await;
    until("it is taken when there is room", || follower.missing(0..EARLY + LATE).is_empty()).await;
    assert!(!follower.group.status().waits_for_space);
    leader.stop(&peers, LEADER).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_whose_disk_is_nearly_full_lags_and_catches_up_when_there_is_room() {
    let root = tempfile::tempdir().unwrap();
    let peers: Arc<Here> = Arc::default();
    let leader = replica(&root.path().join("leader"), LEADER, &peers, IfNew::Create).await;
    let follower = replica(&root.path().join("follower"), FOLLOWER, &peers, IfNew::Wait).await;
    leader.group.raft().add_learner(FOLLOWER.0, BasicNode::new("127.0.0.1:7402"), true).await.unwrap();
    leader.group.tick_if_needed();
    leader.create(0..5).await;
    until("the learner follows", || follower.missing(0..5).is_empty()).await;
    let last = follower.group.status().last;
    follower.db.exhausted().store(true, Ordering::Relaxed);
    leader.create(5..30).await;
    until("its entries are refused", || peers.1.load(Ordering::Relaxed) > 2).await;
    // Not even in its log.
    assert_eq!(follower.group.status().last, last);
    assert_eq!(follower.group.leader(), Some(LEADER));
    follower.db.exhausted().store(false, Ordering::Relaxed);
    until("it catches up", || follower.missing(0..30).is_empty()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_whose_disk_is_nearly_full_proposes_nothing() {
    let root = tempfile::tempdir().unwrap();
    let alone = replica(&root.path().join("alone"), LEADER, &Arc::default(), IfNew::Create).await;
    let last = alone.group.status().last;
    alone.db.exhausted().store(true, Ordering::Relaxed);
    assert_eq!(alone.group.propose(create(1).1).await, Err(ProposeError::NoSpace));
    assert_eq!(alone.group.status().last, last);
    alone.db.exhausted().store(false, Ordering::Relaxed);
    alone.create(1..2).await;
}

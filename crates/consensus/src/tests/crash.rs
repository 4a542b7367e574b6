//! A crash at every step of receiving, installing and purging behind a snapshot, and of a checkpoint: each leaves a directory from
//! which the replica starts again, with everything that was acknowledged.
//!
//! The store tells of every change of the database and of the snapshot files (`Db::on_step`). At each of them the data directory
//! is copied twice: as it is (a killed process: what the database had not flushed is gone), and once all of it is flushed. So every
//! prefix of the writes occurs, with the files as they were then.

#![expect(clippy::print_stdout, reason = "a failing test shows the steps, and at which of them it failed")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use waypost_store::Db;
use waypost_telemetry::Metrics;

use super::open;
use super::replicas::*;
use crate::group::IfNew;

/// Links that the leader has in the end: one more than the snapshot.
const WITH_LAST: usize = EARLY + LATE + 1;

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

/// Waits for several batches of a purge. The log begins anew with the note that comes before them.
async fn purged_in_batches(crashes: &Mutex<Crashes>) {
    until("the entries are removed in batches", || count(&crashes.lock().steps, "batch log/1") >= 2).await;
}

fn count(steps: &[(String, Vec<PathBuf>)], what: &str) -> usize {
    steps.iter().filter(|(step, _)| step.contains(what)).count()
}

/// Starts the replica that a crash left, and brings it up to a leader whose directory is `leader`. That one has to know all that the replica may have
/// heard, so it is as the leader was in the end: a copy from before would have neither the last term nor the entries of it.
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
    leader.create(WITH_LAST..WITH_LAST + 1).await;
    until(&format!("the replica catches up after {step}"), || follower.missing(0..WITH_LAST + 1).is_empty()).await;
    assert!(!follower.group.status().voters.is_empty());
    // A slow replica may be sent one more snapshot, whose file is there while it is installed.
    until(&format!("no file of an installation stays after {step}"), || {
        let files = std::fs::read_dir(crashed.join("snapshots")).unwrap();
        files.flatten().all(|file| !file.file_name().to_string_lossy().starts_with("install-"))
    })
    .await;
    follower.stop(&peers, FOLLOWER).await;
    leader.stop(&peers, LEADER).await;
    std::fs::remove_dir_all(crashed).unwrap();
}

/// The steps of taking a snapshot, and what a crash at each of them left. Answers the directory of the leader too, as it was in the end.
async fn taking_a_snapshot(root: &Path) -> (PathBuf, Vec<(String, Vec<PathBuf>)>) {
    let (leader_dir, follower_dir) = lagging(root).await;
    let peers: Arc<Here> = Arc::default();
    let follower = replica(&follower_dir, FOLLOWER, &peers, IfNew::Wait).await;
    assert!(follower.missing(0..EARLY).is_empty());
    let crashes = watch(&follower.db, &follower_dir, &root.join("crashes"));
    let leader = replica(&leader_dir, LEADER, &peers, IfNew::Create).await;
    until("the snapshot arrives", || follower.missing(0..EARLY + LATE).is_empty()).await;
    // What a leader on a busy machine does by itself: it is elected again, and the follower commits an entry of the new term.
    leader.group.raft().trigger().elect(false).await.unwrap();
    until("the leader is elected again", || leader.group.status().leader).await;
    leader.create(EARLY + LATE..WITH_LAST).await;
    until("the last link arrives", || follower.missing(0..WITH_LAST).is_empty()).await;
    until("the log before it is purged", || follower.first_index() > leader.group.status().applied - 2).await;
    purged_in_batches(&crashes).await;
    let steps = finished(&follower.db, &crashes);
    leader.db.commit().wait().await.unwrap();
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
    alone.group.checkpoint();
    until("the log is purged", || alone.first_index() > CHECKPOINTED as u64).await;
    alone.create(CHECKPOINTED..EARLY + 4).await;
    let crashes = watch(&alone.db, &dir, &root.path().join("crashes"));
    alone.group.checkpoint();
    until("the log is purged again", || alone.first_index() > EARLY as u64).await;
    purged_in_batches(&crashes).await;
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

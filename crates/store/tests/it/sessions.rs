//! Sessions of the dashboard in the state of group 0: how they are opened, used and ended, and their records.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;

use proptest::prelude::*;
use waypost_protocol::command::{Batch, ClusterCommand, ClusterOutcome, CreateCluster, RaiseLevel, SetAdminKey};
use waypost_protocol::digest::KeyDigest;
use waypost_protocol::session::{
    BY_ADMIN_KEY, EndOtherSessions, EndSession, OpenSession, RefreshSession, SESSIONS_MAX, SessionId, SessionRecord,
    TokenAge,
};
use waypost_protocol::{Level, NodeId, UnixMs};
use waypost_store::machine::{ClusterMachine, Machine, snapshot, verify_tree};
use waypost_store::{Db, DbOptions, Tree};
use waypost_telemetry::Metrics;

fn open_db(dir: &Path) -> Db {
    Db::open(dir, &DbOptions::default(), &Metrics::new()).unwrap()
}

struct Cluster {
    machine: ClusterMachine,
    index: u64,
}

impl Cluster {
    fn open(db: &Db) -> Self {
        let (machine, position) = ClusterMachine::open(db.tree("sm/0").unwrap()).unwrap();
        Self { machine, index: position.map_or(0, |bytes| u64::from_le_bytes(bytes.try_into().unwrap())) }
    }

    fn at_level_3(db: &Db) -> Self {
        let mut cluster = Self::open(db);
        let raise = RaiseLevel { level: Level::THREE, members: Vec::new() };
        assert_eq!(cluster.apply(raise), ClusterOutcome::Done);
        cluster
    }

    fn apply(&mut self, command: impl Into<ClusterCommand>) -> ClusterOutcome {
        self.index += 1;
        let batch = Batch { level: Level::THREE, at: UnixMs(1), commands: vec![command.into()] };
        self.machine.apply(self.index, &batch).unwrap().remove(0)
    }

    fn checkpoint(&mut self) {
        self.machine.checkpoint(&self.index.to_le_bytes()).unwrap();
    }

    fn session(&self, id: SessionId) -> Option<&SessionRecord> {
        self.machine.state().sessions.get(&id)
    }

    fn set_key(&mut self, key: u8) {
        assert_eq!(self.apply(SetAdminKey { digest: digest(key), replace: true }), ClusterOutcome::Done);
    }
}

fn digest(byte: u8) -> KeyDigest {
    KeyDigest([byte; 32])
}

/// A session that is opened at a time, and its id.
fn opened(token: u8, key: Option<u8>, at: u64) -> (OpenSession, SessionId) {
    let open = OpenSession {
        token: digest(token),
        key: key.map(digest),
        by: key.map_or(0, |_| BY_ADMIN_KEY),
        at: UnixMs(at),
        idle_until: UnixMs(at + 100),
        ends_at: UnixMs(at + 1_000),
        secure: false,
        device: "Firefox on Linux".to_owned(),
    };
    let id = SessionId::of(&open.token);
    (open, id)
}

fn used(session: SessionId, seen: u8, next: u8, at: u64) -> RefreshSession {
    RefreshSession {
        session,
        seen: digest(seen),
        next: digest(next),
        at: UnixMs(at),
        idle_until: UnixMs(at + 100),
        previous_until: UnixMs(at + 10),
    }
}

fn records_of_sessions(tree: &Tree) -> usize {
    tree.scan_prefix(b"s").count()
}

#[test]
fn a_session_is_opened_once_however_often_its_command_is_applied() {
    let dir = tempfile::tempdir().unwrap();
    let mut cluster = Cluster::at_level_3(&open_db(dir.path()));
    let (open, id) = opened(1, None, 50);
    assert_eq!(cluster.apply(open.clone()), ClusterOutcome::Done);
    assert_eq!(cluster.apply(used(id, 1, 2, 60)), ClusterOutcome::Done);
    let before = cluster.session(id).cloned();
    assert_eq!(cluster.apply(open), ClusterOutcome::Done);
    assert_eq!(cluster.session(id).cloned(), before, "a repeated sign-in has undone what came after it");
    assert_eq!(cluster.machine.state().sessions.len(), 1);
}

#[test]
fn a_token_is_replaced_when_the_next_one_is_used_and_not_before() {
    let dir = tempfile::tempdir().unwrap();
    let mut cluster = Cluster::at_level_3(&open_db(dir.path()));
    let (open, id) = opened(1, None, 50);
    cluster.apply(open);
    let accepts = |cluster: &Cluster, token: u8, at: u64| cluster.session(id)?.token(&digest(token), UnixMs(at));
    // The answers with the next token were lost, however often: nobody is signed out by that.
    for at in [60, 70, 150] {
        assert_eq!(cluster.apply(used(id, 1, 2, at)), ClusterOutcome::Done);
        assert_eq!(accepts(&cluster, 1, at), Some(TokenAge::Current));
        assert_eq!(accepts(&cluster, 2, at), Some(TokenAge::Next));
    }
    assert_eq!(cluster.session(id).unwrap().idle_until, UnixMs(250));
    // One request came with the next one, through two nodes at once; others with the old one are on their way.
    for _ in 0..2 {
        assert_eq!(cluster.apply(used(id, 2, 3, 200)), ClusterOutcome::Done);
        assert_eq!(accepts(&cluster, 2, 200), Some(TokenAge::Current));
    }
    assert_eq!((accepts(&cluster, 1, 209), accepts(&cluster, 1, 210)), (Some(TokenAge::Previous), None));
    assert_eq!(cluster.apply(used(id, 1, 2, 209)), ClusterOutcome::Done);
    assert_eq!(cluster.apply(used(id, 1, 2, 210)), ClusterOutcome::NotFound);
    assert_eq!(accepts(&cluster, 2, 210), Some(TokenAge::Current), "an old token has replaced a newer one");
    // Times that step back shorten nothing.
    assert_eq!(cluster.apply(used(id, 2, 3, 20)), ClusterOutcome::Done);
    let record = cluster.session(id).unwrap();
    assert_eq!((record.used_at, record.idle_until, record.ends_at), (UnixMs(209), UnixMs(309), UnixMs(1_050)));
}

#[test]
fn a_session_that_is_over_is_not_used_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut cluster = Cluster::at_level_3(&open_db(dir.path()));
    let (open, id) = opened(1, None, 50);
    cluster.apply(open);
    assert_eq!(cluster.apply(used(id, 1, 2, 150)), ClusterOutcome::NotFound, "it was idle for too long");
    assert_eq!(cluster.apply(used(id, 1, 2, 149)), ClusterOutcome::Done);
    for at in [240, 330, 420, 510, 600, 690, 780, 870, 960] {
        assert_eq!(cluster.apply(used(id, 1, 2, at)), ClusterOutcome::Done);
    }
    assert_eq!(cluster.apply(used(id, 1, 2, 1_050)), ClusterOutcome::NotFound, "it has an end in any case");
    assert_eq!(cluster.apply(used(SessionId(1), 1, 2, 100)), ClusterOutcome::NotFound);
}

#[test]
fn replacing_the_admin_key_ends_its_sessions_and_a_sign_in_that_was_late_opens_none() {
    let dir = tempfile::tempdir().unwrap();
    let mut cluster = Cluster::at_level_3(&open_db(dir.path()));
    let (by_account, of_account) = opened(1, None, 50);
    cluster.apply(by_account);
    cluster.set_key(100);
    let (by_key, of_key) = opened(2, Some(100), 50);
    assert_eq!(cluster.apply(by_key.clone()), ClusterOutcome::Done);
    // A node that starts sets the key that it is configured with, which may be the same one.
    cluster.set_key(100);
    assert!(cluster.session(of_key).is_some());
    assert_eq!(cluster.apply(SetAdminKey { digest: digest(101), replace: false }), ClusterOutcome::AdminKeyExists);
    assert!(cluster.session(of_key).is_some());
    cluster.set_key(101);
    assert!(cluster.session(of_key).is_none() && cluster.session(of_account).is_some());
    assert_eq!(cluster.apply(by_key), ClusterOutcome::KeyChanged);
    assert!(cluster.session(of_key).is_none());
}

#[test]
fn one_session_is_ended_or_all_others() {
    let dir = tempfile::tempdir().unwrap();
    let mut cluster = Cluster::at_level_3(&open_db(dir.path()));
    let ids: Vec<SessionId> = (1..=4)
        .map(|token| {
            let (open, id) = opened(token, None, 50);
            cluster.apply(open);
            id
        })
        .collect();
    for _ in 0..2 {
        assert_eq!(cluster.apply(EndSession { session: ids[0] }), ClusterOutcome::Done);
    }
    assert!(cluster.session(ids[0]).is_none() && cluster.machine.state().sessions.len() == 3);
    assert_eq!(cluster.apply(EndOtherSessions { kept: ids[2] }), ClusterOutcome::Done);
    assert_eq!(cluster.machine.state().sessions.keys().copied().collect::<Vec<_>>(), [ids[2]]);
    // Of a session that has ended meanwhile nothing comes back.
    assert_eq!(cluster.apply(used(ids[0], 1, 2, 60)), ClusterOutcome::NotFound);
}

#[test]
fn a_new_session_displaces_the_one_that_was_unused_for_longest() {
    let dir = tempfile::tempdir().unwrap();
    let mut cluster = Cluster::at_level_3(&open_db(dir.path()));
    let ids: Vec<SessionId> = (0..SESSIONS_MAX as u8)
        .map(|token| {
            let (open, id) = opened(token, None, 100 + u64::from(token));
            cluster.apply(open);
            id
        })
        .collect();
    cluster.apply(used(ids[0], 0, 200, 190));
    let (more, id) = opened(250, None, 500);
    assert_eq!(cluster.apply(more), ClusterOutcome::Done);
    assert_eq!(cluster.machine.state().sessions.len(), SESSIONS_MAX);
    assert!(cluster.session(ids[0]).is_some() && cluster.session(ids[1]).is_none() && cluster.session(id).is_some());
}

#[test]
fn sessions_are_records_of_their_own_that_a_restart_a_check_and_a_snapshot_keep() {
    let dir = tempfile::tempdir().unwrap();
    let db = open_db(dir.path());
    let mut cluster = Cluster::at_level_3(&db);
    let tree = cluster.machine.tree().clone();
    cluster.checkpoint();
    assert_eq!((verify_tree(&tree).unwrap(), records_of_sessions(&tree)), ((1, Vec::new()), 0));
    let ((one, first), (two, second)) = (opened(1, None, 50), opened(2, None, 60));
    cluster.apply(one);
    cluster.apply(two);
    cluster.apply(used(first, 1, 3, 70));
    cluster.checkpoint();
    assert_eq!(verify_tree(&tree).unwrap(), (3, Vec::new()));
    let before = cluster.machine.state().clone();
    let mut again = Cluster::open(&db);
    assert_eq!(*again.machine.state(), before);

    let path = dir.path().join("snapshot");
    snapshot::export(&tree, 0, &again.index.to_le_bytes(), &std::fs::File::create(&path).unwrap(), 0).unwrap();
    let other = tempfile::tempdir().unwrap();
    let other = open_db(other.path());
    snapshot::import(&other.tree("sm/0").unwrap(), 0, &path).unwrap();
    assert_eq!(*Cluster::open(&other).machine.state(), before);

    again.apply(EndSession { session: second });
    again.checkpoint();
    assert_eq!((verify_tree(&tree).unwrap(), records_of_sessions(&tree)), ((2, Vec::new()), 1));
    assert!(Cluster::open(&db).session(second).is_none());
}

#[test]
fn a_cluster_that_begins_anew_has_no_sessions() {
    let dir = tempfile::tempdir().unwrap();
    let db = open_db(dir.path());
    let mut cluster = Cluster::at_level_3(&db);
    let bootstrap = waypost_protocol::command::Bootstrap {
        cluster_id: [1; 16],
        name: "c".to_owned(),
        shards: 1,
        permutation_key: [2; 32],
        created_at: UnixMs(1),
    };
    cluster.apply(CreateCluster(bootstrap));
    cluster.apply(opened(1, None, 50).0);
    cluster.checkpoint();
    // As a restore does with the state of a backup.
    let mut restored = Cluster::open(&db);
    restored.machine.begin_anew([9; 16], NodeId(1), |_| 0).unwrap();
    restored.checkpoint();
    let restored = Cluster::open(&db);
    assert!(restored.machine.state().sessions.is_empty() && records_of_sessions(restored.machine.tree()) == 0);
}

proptest! {
    // Each opens two databases.
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn replicas_that_write_checkpoints_and_start_anew_at_other_times_have_the_same_sessions(
        steps in prop::collection::vec((0u8..5, 0u8..6, 0u8..6, 0u64..3_000), 1..60),
        stops in prop::collection::vec(any::<bool>(), 60),
    ) {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (one, two) = (open_db(one.path()), open_db(two.path()));
        let (mut always, mut restarted) = (Cluster::at_level_3(&one), Cluster::at_level_3(&two));
        for ((kind, token, other, at), stop) in steps.into_iter().zip(stops) {
            let (open, id) = opened(token, (other == 0).then_some(100), at);
            let command: ClusterCommand = match kind {
                0 => open.into(),
                1 => used(id, token, other, at).into(),
                2 => EndSession { session: id }.into(),
                3 => SetAdminKey { digest: digest(100 + other / 3), replace: true }.into(),
                _ => EndOtherSessions { kept: id }.into(),
            };
            prop_assert_eq!(always.apply(command.clone()), restarted.apply(command));
            if stop {
                restarted.checkpoint();
                restarted = Cluster::open(&two);
            }
            prop_assert_eq!(&always.machine.state().sessions, &restarted.machine.state().sessions);
        }
    }
}

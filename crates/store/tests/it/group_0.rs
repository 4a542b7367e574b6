//! The state of group 0 over its levels: members that come and go, leases of numbers, the admin key.

use std::path::Path;

use waypost_protocol::command::{
    AdmitNode, Batch, Bootstrap, ClusterCommand, ClusterOutcome, CreateCluster, DrainNode, LeaseKeys, NODES_MAX,
    NodeRecord, Place, PutNode, RaiseLevel, RemoveNode, RetireNode, SetAdminKey,
};
use waypost_protocol::digest::KeyDigest;
use waypost_protocol::permutation::CODES;
use waypost_protocol::{Level, NodeId, UnixMs};
use waypost_store::machine::{ClusterMachine, Machine, verify_tree};

use super::log::Log;
use super::shards::{LEVEL, open};

fn node(id: u64) -> NodeRecord {
    NodeRecord {
        id: NodeId(id),
        name: format!("node-{id}.example.org"),
        peer: format!("node-{id}.example.org:7400"),
        http: format!("node-{id}.example.org:8080"),
        zone: "zone".to_owned(),
        services: ["key_allocator", "link_store", "redirector", "click_counter", "janitor"].map(str::to_owned).to_vec(),
        drain: false,
    }
}

fn admit(record: NodeRecord) -> ClusterCommand {
    ClusterCommand::from(AdmitNode { record, level: Level::ONE })
}

fn bootstrap(shards: u32) -> ClusterCommand {
    ClusterCommand::from(CreateCluster(Bootstrap {
        cluster_id: [1; 16],
        name: "test".to_owned(),
        shards,
        permutation_key: [2; 32],
        created_at: UnixMs(1),
    }))
}

fn raise(members: impl IntoIterator<Item = u64>) -> ClusterCommand {
    ClusterCommand::from(RaiseLevel { level: Level::ONE, members: members.into_iter().map(NodeId).collect() })
}

#[test]
fn group_0_of_level_0_becomes_records_of_their_own_when_the_level_rises() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path());
    let tree = db.tree("sm/0").unwrap();
    let mut log = Log::<ClusterMachine>::open(&db, "sm/0");
    log.apply(Level::BASE, bootstrap(16));
    log.apply(Level::BASE, ClusterCommand::from(LeaseKeys { node: NodeId(1), count: 4096 }));
    log.apply(Level::BASE, ClusterCommand::from(SetAdminKey { digest: KeyDigest([7; 32]), replace: false }));
    for id in 1..=3 {
        assert_eq!(log.apply(Level::BASE, ClusterCommand::from(PutNode(node(id)))), ClusterOutcome::Done);
    }
    log.apply(Level::BASE, ClusterCommand::from(RemoveNode { node: NodeId(3) }));
    log.apply(Level::BASE, ClusterCommand::from(Place { group: 1, voters: vec![NodeId(1), NodeId(2)] }));
    log.checkpoint();
    // One record, of the version that an earlier version reads.
    assert_eq!(verify_tree(&tree).unwrap(), (1, Vec::new()));
    assert_eq!(tree.get(b"m").unwrap().unwrap()[0], 1);
    let mut log = Log::<ClusterMachine>::open(&db, "sm/0");
    let before = log.machine.state().clone();
    assert_eq!((before.nodes.len(), before.level, before.next_key), (2, Level::BASE, 4096));
    assert!(before.gone.contains(&NodeId(3)));

    assert_eq!(log.apply(Level::ONE, raise([1, 2])), ClusterOutcome::Done);
    log.checkpoint();
    // One record each: the common one, two nodes, one placement, one removed node.
    assert_eq!(verify_tree(&tree).unwrap(), (5, Vec::new()));
    assert_eq!(tree.get(b"m").unwrap().unwrap()[0], 2);
    let after = Log::<ClusterMachine>::open(&db, "sm/0").machine.state().clone();
    assert_eq!(after.level, Level::ONE);
    assert_eq!(
        after,
        waypost_store::machine::ClusterState { level: Level::ONE, applied_at: after.applied_at, ..before }
    );
}

#[test]
fn the_level_rises_only_if_the_members_are_those_that_were_asked() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path());
    let mut log = Log::<ClusterMachine>::open(&db, "sm/0");
    log.apply(Level::BASE, bootstrap(1));
    for id in 1..=2 {
        log.apply(Level::BASE, ClusterCommand::from(PutNode(node(id))));
    }
    assert_eq!(log.apply(Level::ONE, raise([1])), ClusterOutcome::MembersChanged);
    assert_eq!(log.machine.level(), Level::BASE);
    let level = std::sync::Arc::new(waypost_protocol::level::ClusterLevel::default());
    log.machine.follow_level(level.clone());
    assert_eq!(log.apply(Level::ONE, raise([1, 2, 9])), ClusterOutcome::Done);
    assert_eq!((log.machine.level(), level.get()), (Level::ONE, Level::ONE));
    // It does not go down again.
    assert_eq!(
        log.apply(
            Level::ONE,
            ClusterCommand::from(RaiseLevel { level: Level::BASE, members: vec![NodeId(1), NodeId(2)] })
        ),
        ClusterOutcome::Done
    );
    assert_eq!(log.machine.level(), Level::ONE);
    // Who opens the state, or gets it as a snapshot, knows the level at once.
    log.checkpoint();
    let fresh = std::sync::Arc::new(waypost_protocol::level::ClusterLevel::default());
    let mut log = Log::<ClusterMachine>::open(&db, "sm/0");
    log.machine.follow_level(fresh.clone());
    assert_eq!(fresh.get(), Level::ONE);
}

#[test]
fn group_0_holds_as_many_nodes_and_shards_as_a_cluster_may_have() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path());
    let mut log = Log::<ClusterMachine>::open(&db, "sm/0");
    log.apply(Level::ONE, bootstrap(256));
    log.apply(Level::ONE, raise([]));
    for id in 1..=NODES_MAX as u64 {
        assert_eq!(log.apply(Level::ONE, admit(node(id))), ClusterOutcome::Done);
    }
    let max = NODES_MAX as u32;
    assert_eq!(log.apply(Level::ONE, admit(node(9_999))), ClusterOutcome::TooManyNodes { max });
    for group in 0..=256 {
        let voters = (1..=7).map(|voter| NodeId(u64::MAX - voter)).collect();
        log.apply(Level::ONE, ClusterCommand::from(Place { group, voters }));
    }
    log.checkpoint();
    assert_eq!(Log::<ClusterMachine>::open(&db, "sm/0").machine.state(), log.machine.state());
}

#[test]
fn a_full_cluster_takes_a_node_in_place_of_one_of_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path());
    let mut log = Log::<ClusterMachine>::open(&db, "sm/0");
    log.apply(Level::ONE, bootstrap(1));
    log.apply(Level::ONE, raise([]));
    for id in 1..=NODES_MAX as u64 {
        log.apply(Level::ONE, admit(node(id)));
    }
    let emptied = NodeRecord { name: node(7).name, ..node(9_999) };
    let members = (1..=NODES_MAX as u64).map(NodeId).collect();
    assert_eq!(
        log.apply(Level::ONE, ClusterCommand::from(RetireNode { node: NodeId(7), members })),
        ClusterOutcome::Done
    );
    assert_eq!(log.apply(Level::ONE, admit(emptied)), ClusterOutcome::Done);
    assert_eq!(log.machine.state().nodes.len(), NODES_MAX);
    assert!(log.machine.state().gone.contains(&NodeId(7)));
}

#[test]
fn of_two_nodes_that_are_drained_at_once_the_second_stays() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path());
    let mut log = Log::<ClusterMachine>::open(&db, "sm/0");
    log.apply(Level::ONE, bootstrap(1));
    log.apply(Level::ONE, raise([]));
    for id in 1..=2 {
        log.apply(Level::ONE, admit(node(id)));
    }
    let edge = NodeRecord { services: vec!["redirector".to_owned()], ..node(3) };
    log.apply(Level::ONE, admit(edge));
    log.apply(Level::ONE, ClusterCommand::from(Place { group: 1, voters: vec![NodeId(1), NodeId(2)] }));
    let mut drain =
        |id: u64, drain: bool| log.apply(Level::ONE, ClusterCommand::from(DrainNode { node: NodeId(id), drain }));
    assert_eq!(drain(1, true), ClusterOutcome::Done);
    assert_eq!(drain(2, true), ClusterOutcome::NodeNeeded { groups: 1 });
    assert_eq!(drain(1, true), ClusterOutcome::Done, "it is drained already");
    assert_eq!(drain(3, true), ClusterOutcome::Done, "it stores no links");
    assert_eq!(drain(1, false), ClusterOutcome::Done);
    assert_eq!(drain(2, true), ClusterOutcome::Done);
}

#[test]
fn a_node_that_understands_less_than_the_cluster_uses_is_not_taken_in() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path());
    let mut log = Log::<ClusterMachine>::open(&db, "sm/0");
    log.apply(Level::ONE, bootstrap(1));
    log.apply(Level::ONE, raise([]));
    // As after a serving node that did not know of the level yet.
    let late = ClusterCommand::from(AdmitNode { record: node(1), level: Level::BASE });
    assert_eq!(log.apply(Level::ONE, late), ClusterOutcome::LevelTooLow { needed: Level::ONE });
    assert!(log.machine.state().nodes.is_empty());
}

#[test]
fn replicas_remember_the_same_removed_nodes_whether_or_not_one_was_started_anew_before_the_level_rose() {
    let state_of = |dir: &Path, restarted: bool| {
        let db = open(dir);
        let mut log = Log::<ClusterMachine>::open(&db, "sm/0");
        log.apply(Level::BASE, bootstrap(1));
        for id in 1..=1_500 {
            log.apply(
                Level::BASE,
                ClusterCommand::from(PutNode(NodeRecord { name: "one".to_owned(), ..node(2_000 - id) })),
            );
        }
        if restarted {
            log.checkpoint();
            log = Log::open(&db, "sm/0");
        }
        log.apply(Level::ONE, raise([500]));
        for id in 3_001..=3_010 {
            let old = *log.machine.state().nodes.keys().next().unwrap();
            let retire = ClusterCommand::from(RetireNode { node: old, members: vec![old] });
            assert_eq!(log.apply(Level::ONE, retire), ClusterOutcome::Done);
            log.apply(Level::ONE, admit(NodeRecord { name: "one".to_owned(), ..node(id) }));
        }
        log.machine.state().clone()
    };
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    assert_eq!(state_of(one.path(), false), state_of(two.path(), true));
}

#[test]
fn of_two_nodes_that_leave_at_once_the_second_is_decided_upon_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = Log::<ClusterMachine>::open(&open(dir.path()), "sm/0");
    log.apply(Level::ONE, bootstrap(1));
    log.apply(Level::ONE, raise([]));
    for id in 1..=4 {
        log.apply(Level::ONE, admit(node(id)));
    }
    let retire = |node: u64, members: &[u64]| {
        let members = members.iter().map(|id| NodeId(*id)).collect();
        ClusterCommand::from(RetireNode { node: NodeId(node), members })
    };
    // Both were decided for the same members.
    assert_eq!(log.apply(Level::ONE, retire(3, &[1, 2, 3, 4])), ClusterOutcome::Done);
    assert_eq!(log.apply(Level::ONE, retire(4, &[1, 2, 3, 4])), ClusterOutcome::MembersChanged);
    assert_eq!(log.apply(Level::ONE, retire(3, &[1, 2, 4])), ClusterOutcome::NotFound);
    log.apply(Level::ONE, ClusterCommand::from(Place { group: 1, voters: vec![NodeId(2), NodeId(4)] }));
    assert_eq!(log.apply(Level::ONE, retire(4, &[1, 2, 4])), ClusterOutcome::NodeNeeded { groups: 1 });
    log.apply(Level::ONE, ClusterCommand::from(Place { group: 1, voters: vec![NodeId(1), NodeId(2)] }));
    assert_eq!(log.apply(Level::ONE, retire(4, &[1, 2, 4])), ClusterOutcome::Done);
}

#[test]
fn thousands_of_replaced_nodes_leave_a_bounded_trace() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path());
    let mut log = Log::<ClusterMachine>::open(&db, "sm/0");
    log.apply(Level::ONE, bootstrap(1));
    log.apply(Level::ONE, raise([]));
    for id in 1..=3_000 {
        // The same name with another id: the node was emptied.
        let admit = admit(NodeRecord { name: "one".to_owned(), ..node(id) });
        if id > 1 {
            assert_eq!(
                log.apply(Level::ONE, admit.clone()),
                ClusterOutcome::MembersChanged,
                "the old one is still a member"
            );
            let retire = ClusterCommand::from(RetireNode { node: NodeId(id - 1), members: vec![NodeId(id - 1)] });
            assert_eq!(log.apply(Level::ONE, retire), ClusterOutcome::Done);
        }
        assert_eq!(log.apply(Level::ONE, admit), ClusterOutcome::Done);
    }
    log.checkpoint();
    let mut log = Log::<ClusterMachine>::open(&db, "sm/0");
    let gone = &log.machine.state().gone;
    assert_eq!(gone.into_iter().count(), 1024);
    assert!(gone.contains(&NodeId(2_999)) && !gone.contains(&NodeId(1)) && !gone.contains(&NodeId(3_000)));
    // Neither one that is remembered nor one that is not comes back by telling of itself.
    for id in [2_999, 1] {
        let record = NodeRecord { name: "back".to_owned(), ..node(id) };
        assert_eq!(log.apply(Level::ONE, ClusterCommand::from(PutNode(record))), ClusterOutcome::NotFound);
    }
    let record = NodeRecord { name: "back".to_owned(), ..node(2_999) };
    assert_eq!(log.apply(Level::ONE, admit(record)), ClusterOutcome::NotFound);
    let (records, _) = verify_tree(&db.tree("sm/0").unwrap()).unwrap();
    assert_eq!(records, 1 + 1 + 1024);
}

#[test]
fn leases_never_overlap_and_the_admin_key_is_not_replaced_by_accident() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path());
    let tree = db.tree("sm/0").unwrap();
    let (mut machine, _) = ClusterMachine::open(tree.clone()).unwrap();
    let mut next = 0;
    for index in 0..50 {
        let commands = vec![ClusterCommand::from(LeaseKeys { node: NodeId(index % 3), count: 100 + index })];
        let outcomes = machine.apply(index, &Batch { level: LEVEL, at: UnixMs(index), commands }).unwrap();
        assert_eq!(outcomes, [ClusterOutcome::Leased { start: next, count: 100 + index }]);
        next += 100 + index;
        if index % 7 == 0 {
            machine.checkpoint(b"").unwrap();
            machine = ClusterMachine::open(tree.clone()).unwrap().0;
        }
    }
    let mut set = |digest: u8, replace| {
        let commands = vec![ClusterCommand::from(SetAdminKey { digest: KeyDigest([digest; 32]), replace })];
        machine.apply(99, &Batch { level: LEVEL, at: UnixMs(0), commands }).unwrap().remove(0)
    };
    assert_eq!(set(1, false), ClusterOutcome::Done);
    assert_eq!(set(2, false), ClusterOutcome::AdminKeyExists);
    assert_eq!(set(2, true), ClusterOutcome::Done);
    assert_eq!(machine.state().admin_key, Some(KeyDigest([2; 32])));
}

#[test]
fn the_last_numbers_are_leased_and_then_none() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = Log::<ClusterMachine>::open(&open(dir.path()), "sm/0");
    let mut lease = |count: u64| log.apply(LEVEL, ClusterCommand::from(LeaseKeys { node: NodeId(1), count }));
    assert_eq!(lease(CODES - 10), ClusterOutcome::Leased { start: 0, count: CODES - 10 });
    assert_eq!(lease(100), ClusterOutcome::Leased { start: CODES - 10, count: 10 });
    assert_eq!([lease(1), lease(u64::MAX)], [ClusterOutcome::KeysExhausted, ClusterOutcome::KeysExhausted]);
    assert_eq!(log.machine.state().next_key, CODES);
}

//! Group 0: which nodes may leave, what is kept of a node, and how a cluster begins anew from a copy of another one.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;

use waypost_protocol::command::{
    AdmitNode, Batch, Bootstrap, ClusterCommand, ClusterOutcome, CreateCluster, DrainNode, LeaseKeys, NodeRecord,
    Place, PutNode, RaiseLevel, RetireNode,
};
use waypost_protocol::permutation::CODES;
use waypost_protocol::{Level, NodeId, UnixMs};
use waypost_store::StoreError;
use waypost_store::machine::{ClusterMachine, Machine};

use super::log::Log;
use super::shards::open;

fn node(id: u64) -> NodeRecord {
    NodeRecord {
        id: NodeId(id),
        name: format!("n{id}"),
        peer: format!("127.0.0.1:{id}"),
        http: "127.0.0.1:80".to_owned(),
        zone: String::new(),
        services: vec!["link_store".to_owned()],
        drain: false,
    }
}

fn create(shards: u32) -> CreateCluster {
    CreateCluster(Bootstrap {
        cluster_id: [1; 16],
        name: "test".to_owned(),
        shards,
        permutation_key: [2; 32],
        created_at: UnixMs(1),
    })
}

fn raise(level: Level, members: &[u64]) -> RaiseLevel {
    RaiseLevel { level, members: members.iter().copied().map(NodeId).collect() }
}

/// A cluster at level 1 with members 1 to `nodes`.
fn cluster(nodes: u64) -> (tempfile::TempDir, Log<ClusterMachine>) {
    let dir = tempfile::tempdir().unwrap();
    let mut log = Log::<ClusterMachine>::open(&open(dir.path()), "sm/0");
    log.apply(Level::ONE, create(8));
    log.apply(Level::ONE, raise(Level::ONE, &[]));
    for id in 1..=nodes {
        assert_eq!(log.apply(Level::ONE, AdmitNode { record: node(id), level: Level::ONE }), ClusterOutcome::Done);
    }
    (dir, log)
}

#[test]
fn a_node_is_needed_by_the_groups_that_would_have_no_majority_without_it() {
    for (voters, needed) in [(1, true), (2, true), (3, false), (4, false), (5, false), (7, false)] {
        let (_dir, mut log) = cluster(8);
        let voters_of = |from: u64| (from..from + voters).map(NodeId).collect::<Vec<_>>();
        log.apply(Level::ONE, Place { group: 1, voters: voters_of(1) });
        log.apply(Level::ONE, Place { group: 2, voters: voters_of(1) });
        log.apply(Level::ONE, Place { group: 3, voters: voters_of(2) });
        let members = (1..=8).map(NodeId).collect();
        let expected = if needed { ClusterOutcome::NodeNeeded { groups: 2 } } else { ClusterOutcome::Done };
        assert_eq!(log.apply(Level::ONE, RetireNode { node: NodeId(1), members }), expected, "{voters} voters");
        assert_eq!(log.machine.state().nodes.len(), if needed { 8 } else { 7 });
    }
}

#[test]
fn before_level_1_a_node_comes_in_the_place_of_one_of_its_name_unless_groups_need_that_one() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = Log::<ClusterMachine>::open(&open(dir.path()), "sm/0");
    (1..=3).for_each(|id| assert_eq!(log.apply(Level::BASE, PutNode(node(id))), ClusterOutcome::Done));
    let emptied = || PutNode(NodeRecord { name: "n1".to_owned(), ..node(9) });
    let mut place = |voters: &[u64], outcome: ClusterOutcome| {
        let voters = voters.iter().copied().map(NodeId).collect();
        log.apply(Level::BASE, Place { group: 1, voters });
        assert_eq!(log.apply(Level::BASE, emptied()), outcome);
        let state = log.machine.state();
        (state.nodes.keys().map(|id| id.0).collect::<Vec<_>>(), state.gone.contains(&NodeId(1)))
    };
    assert_eq!(place(&[1, 2], ClusterOutcome::NodeNeeded { groups: 1 }), (vec![1, 2, 3], false));
    assert_eq!(place(&[1, 2, 3], ClusterOutcome::Done), (vec![2, 3, 9], true));
    assert_eq!(log.apply(Level::BASE, PutNode(node(1))), ClusterOutcome::NotFound, "it was removed");
}

#[test]
fn a_node_that_tells_of_itself_again_stays_drained() {
    let (_dir, mut log) = cluster(2);
    log.apply(Level::ONE, DrainNode { node: NodeId(1), drain: true });
    let moved = NodeRecord { http: "127.0.0.1:81".to_owned(), ..node(1) };
    assert_eq!(log.apply(Level::ONE, PutNode(moved.clone())), ClusterOutcome::Done);
    assert_eq!(log.machine.state().nodes[&NodeId(1)], NodeRecord { drain: true, ..moved });
    assert_eq!(log.apply(Level::ONE, PutNode(node(2))), ClusterOutcome::Done);
    assert!(!log.machine.state().nodes[&NodeId(2)].drain);
    let namesake = NodeRecord { name: "n2".to_owned(), ..node(1) };
    assert_eq!(log.apply(Level::ONE, PutNode(namesake)), ClusterOutcome::MembersChanged);
    assert_eq!(log.apply(Level::ONE, DrainNode { node: NodeId(9), drain: false }), ClusterOutcome::NotFound);
}

#[test]
fn a_cluster_is_created_once() {
    let (_dir, mut log) = cluster(1);
    assert_eq!(log.apply(Level::ONE, create(99)), ClusterOutcome::AlreadyBootstrapped);
    assert_eq!(log.machine.state().bootstrap, Some(create(8).0));
}

#[test]
fn the_time_of_group_0_steps_back_with_its_commands_since_level_1() {
    let dir = tempfile::tempdir().unwrap();
    let (mut machine, _) = ClusterMachine::open(open(dir.path()).tree("sm/0").unwrap()).unwrap();
    let mut applied_at = |level: Level, at: u64, command: Option<RaiseLevel>| {
        let commands = command.into_iter().map(ClusterCommand::from).collect();
        machine.apply(at, &Batch { level, at: UnixMs(at), commands }).unwrap();
        machine.state().applied_at.0
    };
    assert_eq!(applied_at(Level::BASE, 100, None), 100);
    assert_eq!(applied_at(Level::BASE, 50, None), 100);
    assert_eq!(applied_at(Level::BASE, 150, None), 150);
    assert_eq!(applied_at(Level::ONE, 60, None), 60, "a batch of level 1");
    assert_eq!(applied_at(Level::BASE, 10, None), 60);
    assert_eq!(applied_at(Level::ONE, 70, Some(raise(Level::ONE, &[]))), 70);
    assert_eq!(applied_at(Level::BASE, 10, None), 10, "a leader that has not heard of the level yet");
}

#[test]
fn a_cluster_that_begins_anew_has_its_settings_and_no_members_and_skips_numbers() {
    for (skip, next) in [(500, 1500), (0, 1000), (u64::MAX, CODES)] {
        let dir = tempfile::tempdir().unwrap();
        let db = open(dir.path());
        let mut log = Log::<ClusterMachine>::open(&db, "sm/0");
        log.apply(Level::ONE, create(2));
        log.apply(Level::ONE, raise(Level::ONE, &[]));
        for id in 1..=3 {
            log.apply(Level::ONE, AdmitNode { record: node(id), level: Level::ONE });
        }
        let members = (1..=3).map(NodeId).collect();
        log.apply(Level::ONE, RetireNode { node: NodeId(3), members });
        log.apply(Level::ONE, LeaseKeys { node: NodeId(1), count: 1000 });
        log.checkpoint();
        let mut log = Log::<ClusterMachine>::open(&db, "sm/0");
        let bootstrap = log.machine.begin_anew([9; 16], NodeId(7), |left| {
            assert_eq!(left, CODES - 1000);
            skip
        });
        assert_eq!(bootstrap.unwrap(), &Bootstrap { cluster_id: [9; 16], ..create(2).0 });
        assert!(log.machine.pending_bytes() > 0);
        log.checkpoint();
        for machine in [log.machine, Log::<ClusterMachine>::open(&db, "sm/0").machine] {
            let state = machine.state();
            assert_eq!(state.next_key, next);
            assert!(state.nodes.is_empty() && !state.gone.contains(&NodeId(3)));
            assert_eq!(state.placement, BTreeMap::from([0, 1, 2].map(|group| (group, vec![NodeId(7)]))));
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let mut empty = Log::<ClusterMachine>::open(&open(dir.path()), "sm/0");
    let refused = empty.machine.begin_anew([9; 16], NodeId(7), |_| 0).map(|_| ());
    assert!(matches!(refused, Err(StoreError::Corrupt { .. })), "{refused:?}");
}

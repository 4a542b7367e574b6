//! Levels: what a state stores before and after all nodes of the cluster understand a later version.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;

use waypost_protocol::command::{
    AdmitNode, Batch, Bootstrap, ClusterCommand, ClusterOutcome, Create, CreateCluster, DrainNode, Edit, LeaseKeys,
    NODES_MAX, NodeRecord, Place, PutNode, RaiseLevel, RemoveNode, RetireNode, SetAdminKey, ShardCommand, ShardOutcome,
};
use waypost_protocol::digest::{IdempotencyKey, KeyDigest};
use waypost_protocol::{Code, FieldChanges, Fields, Level, LinkKey, LinkPatch, LinkSpec, NodeId, Target, UnixMs};
use waypost_store::machine::{ClusterMachine, Machine, ShardMachine, snapshot, verify_tree};
use waypost_store::{Db, DbOptions, StoreError};
use waypost_telemetry::Metrics;

fn open(dir: &Path) -> Db {
    Db::open(dir, &DbOptions::default(), &Metrics::new()).unwrap()
}

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

struct Log<M> {
    machine: M,
    index: u64,
}

impl<M: Machine> Log<M> {
    fn open(db: &Db, tree: &str) -> Self {
        let (machine, position) = M::open(db.tree(tree).unwrap()).unwrap();
        let index = position.map_or(0, |bytes| u64::from_le_bytes(bytes.try_into().unwrap()));
        Self { machine, index }
    }

    fn apply(&mut self, level: Level, command: impl Into<M::Command>) -> M::Outcome {
        self.index += 1;
        let batch = Batch { level, at: UnixMs(1_000 + self.index), commands: vec![command.into()] };
        self.machine.apply(self.index, &batch).unwrap().remove(0)
    }

    fn checkpoint(&mut self) {
        self.machine.checkpoint(&self.index.to_le_bytes()).unwrap();
    }
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

fn new_link(fields: Fields) -> Create {
    Create {
        key: key(),
        created_by: 0,
        generated: false,
        find_existing: false,
        idempotency: None,
        spec: LinkSpec {
            target: Target::parse("https://example.com/a", &[], 8192).unwrap(),
            valid_until: None,
            fields,
        },
    }
}

fn key() -> LinkKey {
    LinkKey::new(Code::parse_slug("sale").unwrap())
}

fn edit(fields: FieldChanges) -> ShardCommand {
    let target = Some(Target::parse("https://example.com/b", &[], 8192).unwrap());
    ShardCommand::from(Edit {
        key: key(),
        if_version: None,
        patch: LinkPatch { target, valid_until: None, fields },
        by: None,
    })
}

#[test]
fn fields_that_this_version_does_not_know_survive_an_edit_a_checkpoint_and_a_snapshot() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path());
    let mut log = Log::<ShardMachine>::open(&db, "sm/1");
    let mut fields = Fields::default();
    fields.set(200, Some(b"of a later version".to_vec()));
    fields.set(201, Some(b"too".to_vec()));
    assert!(matches!(log.apply(Level::ONE, ShardCommand::from(new_link(fields))), ShardOutcome::Created(_)));
    log.checkpoint();
    let mut log = Log::<ShardMachine>::open(&db, "sm/1");
    let mut changes = FieldChanges::default();
    changes.set(201, None);
    changes.set(7, Some(b"seven".to_vec()));
    for changes in [FieldChanges::default(), changes] {
        assert!(matches!(log.apply(Level::ONE, edit(changes)), ShardOutcome::Edited(_)));
    }
    log.checkpoint();
    let path = dir.path().join("snapshot");
    let file = std::fs::File::create(&path).unwrap();
    snapshot::export(log.machine.tree(), 1, &log.index.to_le_bytes(), &file, 0).unwrap();
    let other = tempfile::tempdir().unwrap();
    let other = open(other.path());
    snapshot::import(&other.tree("sm/1").unwrap(), 1, &path).unwrap();
    for db in [&db, &other] {
        let log = Log::<ShardMachine>::open(db, "sm/1");
        let (link, _) = log.machine.get(&key()).unwrap().unwrap();
        let kept: Vec<(u8, &[u8])> = vec![(7, b"seven"), (200, b"of a later version")];
        assert_eq!(link.spec.fields.iter().collect::<Vec<_>>(), kept);
        assert_eq!((link.version, link.spec.target.as_str()), (3, "https://example.com/b"));
        assert_eq!(log.machine.level(), Level::ONE);
    }
}

#[test]
fn a_shard_writes_for_earlier_versions_until_its_log_shows_the_level() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path());
    let tree = db.tree("sm/1").unwrap();
    let mut log = Log::<ShardMachine>::open(&db, "sm/1");
    log.apply(Level::BASE, ShardCommand::from(new_link(Fields::default())));
    log.checkpoint();
    assert_eq!(tree.get(b"m").unwrap().unwrap()[0], 1);
    let mut log = Log::<ShardMachine>::open(&db, "sm/1");
    assert_eq!(log.machine.level(), Level::BASE);
    log.apply(Level::ONE, edit(FieldChanges::default()));
    log.checkpoint();
    assert_eq!(tree.get(b"m").unwrap().unwrap()[0], 2);
    // A leader that has not heard of the level yet changes nothing about it.
    let mut log = Log::<ShardMachine>::open(&db, "sm/1");
    log.apply(Level::BASE, edit(FieldChanges::default()));
    assert_eq!(log.machine.level(), Level::ONE);
    assert!(log.machine.get(&key()).unwrap().is_some());
}

fn keyed(number: u32) -> ShardCommand {
    let mut name = [0; 16];
    name[..4].copy_from_slice(&number.to_le_bytes());
    let key = LinkKey::new(Code::parse_slug(&format!("k{number}")).unwrap());
    let new = Create { key, idempotency: Some((IdempotencyKey(name), 7)), ..new_link(Fields::default()) };
    ShardCommand::from(new)
}

#[test]
fn a_replica_that_was_restarted_remembers_no_idempotency_key_that_the_others_have_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path());
    let mut log = Log::<ShardMachine>::open(&db, "sm/1");
    // As many as a shard remembers, and then fifty more: half of the first record of them is forgotten.
    for number in 0..65_536 + 50 {
        log.apply(Level::ONE, keyed(number));
        if number == 65_535 {
            log.checkpoint();
        }
    }
    log.checkpoint();
    let mut restarted = Log::<ShardMachine>::open(&db, "sm/1");
    for forgotten in [0, 49] {
        // The same request under another slug: who remembers the key answers with the link that it made.
        let ShardCommand::Create(new) = keyed(forgotten) else { unreachable!() };
        let again = Create { key: LinkKey::new(Code::parse_slug(&format!("again{forgotten}")).unwrap()), ..*new };
        let command = ShardCommand::from(again);
        let (one, other) = (log.apply(Level::ONE, command.clone()), restarted.apply(Level::ONE, command));
        let slug = |outcome: &ShardOutcome| match outcome {
            ShardOutcome::Created(link) => link.key.code.as_str().to_owned(),
            other => panic!("{other:?}"),
        };
        assert_eq!(slug(&one), format!("again{forgotten}"));
        assert_eq!(slug(&one), slug(&other));
    }
}

#[test]
fn keys_that_were_too_old_before_the_level_rose_count_on_no_replica_after_it() {
    let outcomes = [false, true].map(|restarted_by_the_earlier_version| {
        let dir = tempfile::tempdir().unwrap();
        let db = open(dir.path());
        let mut log = Log::<ShardMachine>::open(&db, "sm/1");
        log.apply(Level::BASE, keyed(1));
        // A clock is forty days ahead for a moment.
        let ahead =
            Batch { level: Level::BASE, at: UnixMs(40 * 86_400_000), commands: vec![edit(FieldChanges::default())] };
        log.index += 1;
        log.machine.apply(log.index, &ahead).unwrap();
        if restarted_by_the_earlier_version {
            log.checkpoint();
            // It forgot keys by their age when it started.
            let tree = db.tree("sm/1").unwrap();
            for record in tree.scan_prefix(b"i") {
                tree.remove(&record.unwrap().0).unwrap();
            }
            log = Log::open(&db, "sm/1");
        }
        log.apply(Level::ONE, edit(FieldChanges::default()));
        let ShardCommand::Create(new) = keyed(1) else { unreachable!() };
        let again = Create { key: LinkKey::new(Code::parse_slug("again").unwrap()), ..*new };
        match log.apply(Level::ONE, ShardCommand::from(again)) {
            ShardOutcome::Created(link) => link.key.code.as_str().to_owned(),
            other => panic!("{other:?}"),
        }
    });
    assert_eq!(outcomes, ["again", "again"]);
}

#[test]
fn a_link_never_grows_beyond_what_can_be_stored() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path());
    let mut log = Log::<ShardMachine>::open(&db, "sm/1");
    log.apply(Level::ONE, ShardCommand::from(new_link(Fields::default())));
    let grow = |tag: u8| {
        let mut changes = FieldChanges::default();
        changes.set(tag, Some(vec![tag; 9_000]));
        edit(changes)
    };
    for tag in [1, 2] {
        assert!(matches!(log.apply(Level::ONE, grow(tag)), ShardOutcome::Edited(_)));
    }
    assert_eq!(log.apply(Level::ONE, grow(3)), ShardOutcome::LinkTooLarge { max: 20 * 1024 });
    log.checkpoint();
    let log = Log::<ShardMachine>::open(&db, "sm/1");
    assert_eq!(log.machine.get(&key()).unwrap().unwrap().0.version, 3);
}

#[test]
fn records_of_a_later_version_are_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path());
    for (name, machine) in [("sm/0", "group 0"), ("sm/1", "shard")] {
        let tree = db.tree(name).unwrap();
        let context = [name.as_bytes(), b"/m"].concat();
        tree.insert(b"m", waypost_protocol::seal(&context, 3, b"")).unwrap();
        let refused = match name {
            "sm/0" => ClusterMachine::open(tree).map(|_| ()),
            _ => ShardMachine::open(tree).map(|_| ()),
        };
        assert!(matches!(refused, Err(StoreError::UnknownVersion { version: 3, .. })), "{machine}: {refused:?}");
    }
}

//! The bytes of every kind of record that a state is stored in. Those of level 0 were written by version 0.1 (commit f8b06c4): what this
//! version writes while a cluster has a node of that version has to be the same.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::sync::Arc;

use smallvec::smallvec;
use waypost_protocol::clicks::{ClickBatch, ClickDelta, JournalSpan, OrphanDelta, Tally};
use waypost_protocol::command::{
    AdmitNode, Batch, Bootstrap, ClusterCommand, Create, CreateCluster, DrainNode, Edit, LeaseKeys, NodeRecord, Place,
    PutNode, RaiseLevel, RecordClicks, RemoveNode, RetireNode, SetAdminKey, ShardCommand,
};
use waypost_protocol::digest::{IdempotencyKey, KeyDigest};
use waypost_protocol::sketch::Register;
use waypost_protocol::{Code, FieldChanges, Fields, Level, LinkKey, LinkPatch, LinkSpec, NodeId, Target, UnixMs};
use waypost_store::machine::{ClusterMachine, Machine, ShardMachine, snapshot};
use waypost_store::{Db, DbOptions, LogStore, Tree};
use waypost_telemetry::Metrics;

const AT: u64 = 1_700_000_000_000;
const HOUR: u32 = (AT / 3_600_000) as u32;

fn open(dir: &Path) -> Db {
    Db::open(dir, &DbOptions::default(), &Metrics::new()).unwrap()
}

fn key(slug: &str) -> LinkKey {
    LinkKey::new(Code::parse_slug(slug).unwrap())
}

fn target(path: &str) -> Target {
    Target::parse(&format!("https://example.com/{path}"), &[], 8192).unwrap()
}

fn create(slug: &str, until: Option<u64>) -> ShardCommand {
    ShardCommand::from(Create {
        key: key(slug),
        created_by: 3,
        generated: slug.len() == 7,
        find_existing: false,
        idempotency: Some((IdempotencyKey([slug.len() as u8; 16]), 77)),
        spec: LinkSpec { target: target(slug), valid_until: until.map(UnixMs), fields: Fields::default() },
    })
}

fn clicks(from: u64, slug: &str) -> ShardCommand {
    // So many visitors that their sketch has a record of its own.
    let visitors = (0..300u64).map(|visitor| Register::of(visitor << 50 | 1)).collect();
    ShardCommand::from(RecordClicks(Arc::new(ClickBatch {
        node: NodeId(300),
        spans: vec![JournalSpan { journal: 5, from, upto: from + 64 }],
        strings: vec!["de".to_owned(), "/nothing".to_owned()],
        deltas: vec![ClickDelta {
            link: key(slug).hash(),
            hour: HOUR,
            last: UnixMs(AT + from),
            tallies: smallvec![
                Tally { bot: false, values: [1, 0, 0, 0, 0, 0, 0], count: 300 },
                Tally { bot: true, values: [0; 7], count: 2 },
            ],
            visitors,
        }],
        orphans: vec![OrphanDelta { path: 2, count: 2, last: UnixMs(AT) }],
    })))
}

fn shard_commands(level: Level) -> Vec<ShardCommand> {
    vec![
        create("spring-sale", Some(AT + 1)),
        create("aB3dE6g", None),
        clicks(0, "spring-sale"),
        clicks(64, "aB3dE6g"),
        ShardCommand::from(Edit {
            key: key("spring-sale"),
            if_version: None,
            patch: LinkPatch { target: Some(target("b")), valid_until: None, fields: FieldChanges::default() },
            by: (level >= Level::THREE).then_some(300),
        }),
    ]
}

fn cluster_commands() -> Vec<ClusterCommand> {
    let node = |id: u64| NodeRecord {
        id: NodeId(id),
        name: format!("n{id}"),
        peer: format!("127.0.0.1:{id}"),
        http: "127.0.0.1:80".to_owned(),
        zone: "z".to_owned(),
        services: vec!["link_store".to_owned()],
        drain: false,
    };
    vec![
        ClusterCommand::from(CreateCluster(Bootstrap {
            cluster_id: [1; 16],
            name: "c".to_owned(),
            shards: 2,
            permutation_key: [2; 32],
            created_at: UnixMs(AT),
        })),
        ClusterCommand::from(LeaseKeys { node: NodeId(1), count: 4096 }),
        ClusterCommand::from(SetAdminKey { digest: KeyDigest([7; 32]), replace: false }),
        ClusterCommand::from(PutNode(node(300))),
        ClusterCommand::from(PutNode(node(301))),
        ClusterCommand::from(RemoveNode { node: NodeId(301) }),
        ClusterCommand::from(DrainNode { node: NodeId(300), drain: true }),
        ClusterCommand::from(Place { group: 1, voters: vec![NodeId(1), NodeId(300)] }),
    ]
}

fn lines(tree: &Tree) -> String {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let line = |record: (waypost_store::Value, waypost_store::Value)| {
        format!("{} {} {}\n", tree.name(), hex(&record.0), hex(&record.1))
    };
    tree.scan_prefix(b"").map(|record| line(record.unwrap())).collect()
}

/// All records of a shard, of group 0 and of a log, and a snapshot.
fn written(level: Level) -> String {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path());
    let at = UnixMs(AT);
    let (mut shard, _) = ShardMachine::open(db.tree("sm/1").unwrap()).unwrap();
    for (index, command) in shard_commands(level).into_iter().enumerate() {
        shard.apply(index as u64 + 1, &Batch { level, at, commands: vec![command] }).unwrap();
    }
    shard.checkpoint(b"position").unwrap();
    let (mut cluster, _) = ClusterMachine::open(db.tree("sm/0").unwrap()).unwrap();
    if level > Level::BASE {
        let commands = vec![ClusterCommand::from(RaiseLevel { level, members: Vec::new() })];
        cluster.apply(1, &Batch { level, at, commands }).unwrap();
    }
    for (index, command) in cluster_commands().into_iter().enumerate() {
        let commands = match command {
            ClusterCommand::PutNode(put) if level > Level::BASE => {
                vec![ClusterCommand::from(AdmitNode { record: put.0, level })]
            }
            // The last node that stores links is not drained at level 1, so this is done while there is another one.
            ClusterCommand::RemoveNode(remove) if level > Level::BASE => vec![
                ClusterCommand::from(DrainNode { node: NodeId(300), drain: true }),
                ClusterCommand::from(RetireNode { node: remove.node, members: vec![NodeId(300), NodeId(301)] }),
            ],
            other => vec![other],
        };
        cluster.apply(index as u64 + 2, &Batch { level, at, commands }).unwrap();
    }
    cluster.checkpoint(b"position").unwrap();
    let log = LogStore::open(&db, 1).unwrap();
    log.append([(300, b"entry".to_vec())]).unwrap();
    log.put_meta("vote", b"vote").unwrap();
    let path = dir.path().join("snapshot");
    snapshot::export(cluster.tree(), 0, b"position", &std::fs::File::create(&path).unwrap(), 0).unwrap();
    let snapshot: String = std::fs::read(&path).unwrap().iter().map(|byte| format!("{byte:02x}")).collect();
    let trees = ["sm/1", "sm/0", "log/1"].map(|name| lines(&db.tree(name).unwrap()));
    format!("{}snapshot {snapshot}\n", trees.concat())
}

fn check(level: Level, expected: &str, name: &str) {
    check_lines(written(level), level, expected, name);
}

fn check_lines(found: String, level: Level, expected: &str, name: &str) {
    if found != expected {
        // For a kind of record that is new, and only for that.
        let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(name.replace('/', "-"));
        std::fs::write(&path, &found).unwrap();
        eprintln!("what is written now stands in {}", path.display());
    }
    for (found, expected) in found.lines().zip(expected.lines()) {
        assert_eq!(found, expected, "a record of level {level} is written differently than {name} says");
    }
    assert_eq!(found.lines().count(), expected.lines().count(), "records of level {level}");
}

/// Puts the records of a file into a database.
fn stored(expected: &str) -> (tempfile::TempDir, Db) {
    let bytes = |hex: &str| -> Vec<u8> {
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
    };
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path());
    for line in expected.lines().filter(|line| !line.starts_with("snapshot")) {
        let mut parts = line.split(' ');
        let (tree, key, value) = (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap());
        db.tree(tree).unwrap().insert(&bytes(key), bytes(value)).unwrap();
    }
    (dir, db)
}

const LEVEL_3: &str = include_str!("golden/level-3.txt");
const LEVEL_1: &str = include_str!("golden/level-1.txt");
const LEVEL_0: &str = include_str!("golden/level-0.txt");

#[test]
fn at_level_0_each_record_is_written_as_version_0_1_writes_it() {
    check(Level::BASE, LEVEL_0, "golden/level-0.txt");
}

#[test]
fn at_level_1_each_record_keeps_its_bytes() {
    check(Level::ONE, LEVEL_1, "golden/level-1.txt");
}

#[test]
fn at_level_3_each_record_of_a_shard_keeps_its_bytes_and_is_read() {
    let shard = written(Level::THREE)
        .lines()
        .filter(|line| line.starts_with("sm/1 "))
        .fold(String::new(), |all, line| all + line + "\n");
    check_lines(shard, Level::THREE, LEVEL_3, "golden/level-3.txt");
    let (_dir, db) = stored(LEVEL_3);
    let (shard, _) = ShardMachine::open(db.tree("sm/1").unwrap()).unwrap();
    let (_, history) = shard.history(&key("spring-sale")).unwrap().unwrap();
    let entries: Vec<_> = history.targets().map(|(entry, to)| (entry.version, entry.by, to.as_str())).collect();
    assert_eq!(entries, [(1, Some(3), "https://example.com/spring-sale"), (2, Some(300), "https://example.com/b")]);
    assert_eq!((history.entries()[1].at, shard.level()), (Some(UnixMs(AT)), Level::THREE));
}

#[test]
fn what_was_written_at_level_1_is_read() {
    let (_dir, db) = stored(LEVEL_1);
    let (shard, position) = ShardMachine::open(db.tree("sm/1").unwrap()).unwrap();
    assert_eq!((position.as_deref(), shard.level()), (Some(&b"position"[..]), Level::ONE));
    let (link, visits) = shard.get(&key("aB3dE6g")).unwrap().unwrap();
    assert_eq!((link.version, link.generated, visits.total, visits.bots), (1, true, 300, 2));
    let (cluster, _) = ClusterMachine::open(db.tree("sm/0").unwrap()).unwrap();
    let state = cluster.state();
    assert_eq!((state.next_key, state.nodes.len(), state.level), (4096, 1, Level::ONE));
    assert_eq!(state.placement[&1], [NodeId(1), NodeId(300)]);
    assert!(state.gone.contains(&NodeId(301)));
}

#[test]
fn what_version_0_1_has_written_is_read() {
    let (_dir, db) = stored(LEVEL_0);
    let (shard, position) = ShardMachine::open(db.tree("sm/1").unwrap()).unwrap();
    assert_eq!(position.as_deref(), Some(&b"position"[..]));
    let (link, visits) = shard.get(&key("spring-sale")).unwrap().unwrap();
    assert_eq!((link.version, link.spec.target.as_str(), link.created_by), (2, "https://example.com/b", 3));
    assert_eq!((visits.total, visits.bots), (300, 2));
    assert_eq!(shard.level(), Level::BASE);
    assert_eq!(shard.orphans().len(), 1);
    let (cluster, position) = ClusterMachine::open(db.tree("sm/0").unwrap()).unwrap();
    assert_eq!(position.as_deref(), Some(&b"position"[..]));
    let state = cluster.state();
    assert_eq!((state.next_key, state.nodes.len(), state.level), (4096, 1, Level::BASE));
    assert!(state.gone.contains(&NodeId(301)) && state.nodes[&NodeId(300)].drain);
    assert_eq!(LogStore::open(&db, 1).unwrap().read(0..400, 1000).unwrap(), vec![(300, b"entry".to_vec())]);
}

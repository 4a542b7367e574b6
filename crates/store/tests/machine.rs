//! The state of a shard against a model of it: any commands, any checkpoints and restarts in between.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;

use proptest::prelude::*;
use waypost_protocol::command::{Batch, ClickBatch, ClickDelta, Command, NewLink, Outcome};
use waypost_protocol::digest::{IdempotencyKey, KeyDigest};
use waypost_protocol::{Code, LinkKey, LinkVersion, NodeId, Target, UnixMs};
use waypost_store::machine::{ClusterMachine, Machine, ShardMachine, snapshot, verify_tree};
use waypost_store::{Db, DbOptions, StoreError};
use waypost_telemetry::Metrics;

fn open(dir: &std::path::Path) -> Db {
    Db::open(dir, &DbOptions { cache_bytes: 8 << 20, ..DbOptions::default() }, &Metrics::new()).unwrap()
}

fn key(number: u8) -> LinkKey {
    LinkKey::new(Code::parse_slug(&format!("k{number}")).unwrap())
}

fn target(number: u8) -> Target {
    Target::parse(&format!("https://example.com/{number}"), &[], 8192).unwrap()
}

#[derive(Debug, Clone)]
enum Step {
    Create { key: u8, target: u8, generated: bool, find: bool, until: Option<u8>, idempotency: Option<(u8, u8)> },
    Edit { key: u8, version: Option<u32>, target: u8 },
    Delete { key: u8, version: Option<u32> },
    Clicks { sequence: u64, key: u8, visits: u64 },
    Expire { keys: Vec<u8>, before: u8 },
    Checkpoint,
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let number = || 0u8..12;
    let step = prop_oneof![
        8 => (number(), 0u8..6, any::<bool>(), any::<bool>(), proptest::option::of(0u8..60), proptest::option::of((0u8..4, 0u8..2)))
            .prop_map(|(key, target, generated, find, until, idempotency)| {
                Step::Create { key, target, generated, find: find && generated, until, idempotency }
            }),
        3 => (number(), proptest::option::of(1u32..4), 0u8..6)
            .prop_map(|(key, version, target)| Step::Edit { key, version, target }),
        3 => (number(), proptest::option::of(1u32..4)).prop_map(|(key, version)| Step::Delete { key, version }),
        3 => (1u64..12, number(), 1u64..5).prop_map(|(sequence, key, visits)| Step::Clicks { sequence, key, visits }),
        1 => (proptest::collection::vec(number(), 0..6), 0u8..60)
            .prop_map(|(keys, before)| Step::Expire { keys, before }),
        2 => Just(Step::Checkpoint),
        2 => Just(Step::Restart),
    ];
    proptest::collection::vec(step, 1..60)
}

#[derive(Debug, Clone, PartialEq)]
struct Known {
    target: u8,
    generated: bool,
    until: Option<u64>,
    version: u32,
    index: u64,
    written: u64,
    visits: u64,
}

#[derive(Default)]
struct Model {
    links: BTreeMap<u8, Known>,
    idempotency: BTreeMap<u8, (u8, u8, u64)>,
    sequence: u64,
}

const START: u64 = 1_000_000;

/// What the model says comes of a step: a word, and the key it is about.
type Expected = (&'static str, Option<u8>);

impl Model {
    fn create(&mut self, step: &Step, index: u64) -> Expected {
        let Step::Create { key, target, generated, find, until, idempotency } = step else { unreachable!() };
        if let Some((name, print)) = idempotency
            && let Some((known, made, at)) = self.idempotency.get(name)
        {
            if known != print {
                return ("mismatch", None);
            }
            if self.links.get(made).is_some_and(|link| link.index == *at) {
                return ("created", Some(*made));
            }
        }
        let now = START + index;
        if *find {
            let wanted = until.map(|until| START + u64::from(until));
            let live = |link: &Known| {
                link.generated && link.target == *target && link.until == wanted && wanted.is_none_or(|u| u > now)
            };
            let oldest = self.links.iter().filter(|(_, link)| live(link)).map(|(key, link)| (link.index, *key)).min();
            if oldest.is_some() {
                return ("existing", None);
            }
        }
        if self.links.contains_key(key) {
            return ("taken", None);
        }
        let until = until.map(|until| START + u64::from(until));
        let known =
            Known { target: *target, generated: *generated, until, version: 1, index, written: index, visits: 0 };
        self.links.insert(*key, known);
        if let Some((name, print)) = idempotency {
            self.idempotency.insert(*name, (*print, *key, index));
        }
        ("created", Some(*key))
    }

    fn apply(&mut self, step: &Step, index: u64) -> Expected {
        match step {
            Step::Create { .. } => self.create(step, index),
            Step::Edit { key, version, target } => match self.links.get_mut(key) {
                None => ("unknown", None),
                Some(link) if version.is_some_and(|version| version != link.version) => ("version", None),
                Some(link) => {
                    link.target = *target;
                    link.version += 1;
                    link.written = index;
                    ("edited", Some(*key))
                }
            },
            Step::Delete { key, version } => match self.links.get(key) {
                None => ("unknown", None),
                Some(link) if version.is_some_and(|version| version != link.version) => ("version", None),
                Some(_) => {
                    self.links.remove(key);
                    ("deleted", None)
                }
            },
            Step::Clicks { sequence, key, visits } => {
                if *sequence > self.sequence {
                    self.sequence = *sequence;
                    if let Some(link) = self.links.get_mut(key) {
                        link.visits += visits;
                    }
                }
                ("done", None)
            }
            Step::Expire { keys, before } => {
                let before = START + u64::from(*before);
                for key in keys {
                    if self.links.get(key).is_some_and(|link| link.until.is_some_and(|until| until <= before)) {
                        self.links.remove(key);
                    }
                }
                ("removed", None)
            }
            Step::Checkpoint | Step::Restart => ("done", None),
        }
    }
}

fn command(step: &Step, model: &Model) -> Option<Command> {
    // The state that a guarded change names: right but for its version, which may be wrong.
    let guard = |key: &u8, version: Option<u32>| {
        let written_at = model.links.get(key).map_or(0, |link| link.written);
        version.map(|version| LinkVersion { version, written_at })
    };
    Some(match step.clone() {
        Step::Create { key: k, target: t, generated, find, until, idempotency } => Command::Create(Box::new(NewLink {
            key: key(k),
            target: target(t),
            valid_until: until.map(|until| UnixMs(START + u64::from(until))),
            created_by: 0,
            generated,
            find_existing: find,
            idempotency: idempotency.map(|(name, print)| (IdempotencyKey([name; 16]), u64::from(print))),
        })),
        Step::Edit { key: k, version, target: t } => {
            Command::Edit { key: key(k), if_version: guard(&k, version), target: Some(target(t)), valid_until: None }
        }
        Step::Delete { key: k, version } => Command::Delete { key: key(k), if_version: guard(&k, version) },
        Step::Clicks { sequence, key: k, visits } => Command::RecordClicks(ClickBatch {
            node: NodeId(1),
            incarnation: 1,
            sequence,
            deltas: vec![ClickDelta { link: key(k).hash(), visits, last: UnixMs(sequence) }],
        }),
        Step::Expire { keys, before } => Command::RemoveExpired {
            keys: keys.into_iter().map(key).collect(),
            before: UnixMs(START + u64::from(before)),
        },
        Step::Checkpoint | Step::Restart => return None,
    })
}

fn word(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Created(_) => "created",
        Outcome::Existing(_) => "existing",
        Outcome::KeyTaken => "taken",
        Outcome::IdempotencyMismatch => "mismatch",
        Outcome::Edited(_) => "edited",
        Outcome::Deleted => "deleted",
        Outcome::NotFound => "unknown",
        Outcome::VersionMismatch { .. } => "version",
        Outcome::Removed(_) => "removed",
        Outcome::Done => "done",
        other => panic!("{other:?}"),
    }
}

fn assert_equal(machine: &ShardMachine, model: &Model) {
    assert_eq!(machine.links(), model.links.len());
    assert_eq!(machine.all().unwrap().len(), model.links.len());
    for number in 0..12 {
        let found = machine.get(&key(number)).unwrap();
        let found = found.map(|(link, visits)| Known {
            target: (0..6).find(|t| target(*t) == link.target).unwrap(),
            generated: link.generated,
            until: link.valid_until.map(|until| until.0),
            version: link.version,
            index: model.links[&number].index,
            written: link.written_at,
            visits: visits.total,
        });
        assert_eq!(found.as_ref(), model.links.get(&number), "key {number}");
    }
    let expired = machine.expired(UnixMs(START + 30), 100).unwrap();
    let expected = model.links.values().filter(|link| link.until.is_some_and(|until| until <= START + 30)).count();
    assert_eq!(expired.len(), expected);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_shard_is_what_its_commands_make_of_it_whatever_happens_in_between(steps in steps()) {
        let dir = tempfile::tempdir().unwrap();
        let db = open(dir.path());
        let tree = db.tree("sm/1").unwrap();
        let (mut machine, _) = ShardMachine::open(tree.clone()).unwrap();
        let mut model = Model::default();
        let mut since: Vec<(u64, Batch)> = Vec::new();
        for (index, step) in steps.iter().enumerate() {
            let index = index as u64 + 1;
            match step {
                Step::Checkpoint => {
                    machine.checkpoint(&index.to_be_bytes()).unwrap();
                    since.clear();
                }
                // What a crash leaves: the last checkpoint, and the log since then.
                Step::Restart => {
                    machine = ShardMachine::open(tree.clone()).unwrap().0;
                    for (index, batch) in &since {
                        machine.apply(*index, batch).unwrap();
                    }
                }
                _ => {
                    let commands = command(step, &model).into_iter().collect();
                    let batch = Batch { at: UnixMs(START + index), commands };
                    let outcomes = machine.apply(index, &batch).unwrap();
                    let (expected, about) = model.apply(step, index);
                    prop_assert_eq!(word(&outcomes[0]), expected, "{:?}", step);
                    if let (Outcome::Created(link), Some(about)) = (&outcomes[0], about) {
                        prop_assert_eq!(&link.key, &key(about));
                    }
                    since.push((index, batch));
                }
            }
            assert_equal(&machine, &model);
        }
        machine.checkpoint(b"end").unwrap();
        let (again, position) = ShardMachine::open(tree.clone()).unwrap();
        prop_assert_eq!(position.as_deref(), Some(&b"end"[..]));
        assert_equal(&again, &model);
        prop_assert_eq!(verify_tree(&tree).unwrap().1, Vec::<String>::new());
    }
}

fn filled(tree: waypost_store::Tree, links: u16) -> ShardMachine {
    let (mut machine, _) = ShardMachine::open(tree).unwrap();
    for number in 0..links {
        let new = NewLink {
            key: LinkKey::new(Code::parse_slug(&format!("code{number}")).unwrap()),
            target: Target::parse(&format!("https://example.com/{number}"), &[], 8192).unwrap(),
            valid_until: None,
            created_by: 0,
            generated: true,
            find_existing: false,
            idempotency: None,
        };
        let batch = Batch { at: UnixMs(START), commands: vec![Command::Create(Box::new(new))] };
        machine.apply(u64::from(number), &batch).unwrap();
    }
    machine.checkpoint(b"here").unwrap();
    machine
}

#[test]
fn a_snapshot_is_the_same_state_elsewhere_and_damage_to_it_is_noticed() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (from, to) = (open(one.path()), open(two.path()));
    let path = one.path().join("snapshot");
    filled(from.tree("sm/1").unwrap(), 500);
    snapshot::export(&from.tree("sm/1").unwrap(), 1, b"here", &path).unwrap();
    assert_eq!(snapshot::verify(&path, 1).unwrap(), b"here");
    assert!(snapshot::verify(&path, 2).is_err(), "it is of another group");
    let tree = to.tree("sm/1").unwrap();
    assert_eq!(snapshot::import(&tree, 1, &path).unwrap(), b"here");
    assert_eq!(ShardMachine::open(tree.clone()).unwrap().0.links(), 500);
    let sound = std::fs::read(&path).unwrap();
    for place in (0..sound.len()).step_by(sound.len() / 50) {
        let mut damaged = sound.clone();
        damaged[place] ^= 1;
        std::fs::write(&path, &damaged).unwrap();
        assert!(snapshot::import(&tree, 1, &path).is_err(), "byte {place}");
        std::fs::write(&path, &sound[..place]).unwrap();
        assert!(snapshot::import(&tree, 1, &path).is_err(), "cut at {place}");
    }
    assert_eq!(ShardMachine::open(tree).unwrap().0.links(), 500, "a refused snapshot changed the state");
}

#[test]
fn a_damaged_block_is_reported_and_refuses_to_open() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path());
    let tree = db.tree("sm/1").unwrap();
    filled(tree.clone(), 500);
    let (key, value) = tree.scan_prefix(b"b").nth(2).unwrap().unwrap();
    let mut damaged = value.to_vec();
    damaged[100] ^= 1;
    tree.insert(&key, damaged).unwrap();
    let (_, damage) = verify_tree(&tree).unwrap();
    assert_eq!(damage.len(), 1, "{damage:?}");
    assert!(matches!(ShardMachine::open(tree), Err(StoreError::Corrupt { .. })));
}

#[test]
fn leases_never_overlap_and_the_admin_key_is_not_replaced_by_accident() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path());
    let tree = db.tree("sm/0").unwrap();
    let (mut machine, _) = ClusterMachine::open(tree.clone()).unwrap();
    let mut next = 0;
    for index in 0..50 {
        let commands = vec![Command::LeaseKeys { node: NodeId(index % 3), count: 100 + index }];
        let outcomes = machine.apply(index, &Batch { at: UnixMs(index), commands }).unwrap();
        assert_eq!(outcomes, [Outcome::Leased { start: next, count: 100 + index }]);
        next += 100 + index;
        if index % 7 == 0 {
            machine.checkpoint(b"").unwrap();
            machine = ClusterMachine::open(tree.clone()).unwrap().0;
        }
    }
    let mut set = |digest: u8, replace| {
        let commands = vec![Command::SetAdminKey { digest: KeyDigest([digest; 32]), replace }];
        machine.apply(99, &Batch { at: UnixMs(0), commands }).unwrap().remove(0)
    };
    assert_eq!(set(1, false), Outcome::Done);
    assert_eq!(set(2, false), Outcome::AdminKeyExists);
    assert_eq!(set(2, true), Outcome::Done);
    assert_eq!(machine.state().admin_key, Some(KeyDigest([2; 32])));
}

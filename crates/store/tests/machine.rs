//! The state of a shard against a model of it: any commands, any checkpoints and restarts in between.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use smallvec::smallvec;
use waypost_protocol::clicks::{ClickBatch, ClickDelta, Dimension, JournalSpan, Tally};
use waypost_protocol::command::{
    Batch, ClusterCommand, ClusterOutcome, Create, Delete, Edit, LeaseKeys, RecordClicks, RemoveExpired, SetAdminKey,
    ShardCommand, ShardOutcome,
};
use waypost_protocol::digest::{IdempotencyKey, KeyDigest};
use waypost_protocol::sketch::Register;
use waypost_protocol::{Code, LinkKey, LinkPatch, LinkSpec, LinkVersion, NodeId, Target, UnixMs};
use waypost_store::machine::{ClusterMachine, Machine, ShardMachine, scrub_tree, snapshot, verify_tree};
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
    /// The versions with another target than before, since the first such edit.
    history: Vec<(u32, u8)>,
}

#[derive(Default)]
struct Model {
    links: BTreeMap<u8, Known>,
    idempotency: BTreeMap<u8, (u8, u8, u64)>,
    /// Up to where the journal was counted, and before the last batch.
    counted: u64,
    counted_before: u64,
}

const START: u64 = 1_000_000;
const LEVEL: waypost_protocol::Level = waypost_protocol::Level::CURRENT;

/// What the model says comes of a step: a word, and the key it is about.
type Expected = (&'static str, Option<u8>);

impl Model {
    /// The next part of the journal, the last one again, or one that does not fit.
    fn span(&self, number: u64) -> JournalSpan {
        let (from, upto) = match number % 4 {
            0 => (self.counted_before, self.counted),
            1 => (self.counted + number, self.counted + number + 1),
            _ => (self.counted, self.counted + number),
        };
        JournalSpan { journal: 9, from, upto }
    }

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
        let known = Known {
            target: *target,
            generated: *generated,
            until,
            version: 1,
            index,
            written: index,
            visits: 0,
            history: vec![],
        };
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
                    if link.target != *target {
                        if link.history.is_empty() {
                            link.history.push((link.version, link.target));
                        }
                        link.history.push((link.version + 1, *target));
                    }
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
                let span = self.span(*sequence);
                if span.upto == self.counted {
                    return ("done", None);
                }
                if span.from != self.counted {
                    return ("out of step", None);
                }
                self.counted_before = span.from;
                self.counted = span.upto;
                if let Some(link) = self.links.get_mut(key) {
                    link.visits += visits;
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

fn command(step: &Step, model: &Model) -> Option<ShardCommand> {
    // The state that a guarded change names: right but for its version, which may be wrong.
    let guard = |key: &u8, version: Option<u32>| {
        let written_at = model.links.get(key).map_or(0, |link| link.written);
        version.map(|version| LinkVersion { version, written_at })
    };
    Some(match step.clone() {
        Step::Create { key: k, target: t, generated, find, until, idempotency } => ShardCommand::from(Create {
            key: key(k),
            created_by: 0,
            generated,
            find_existing: find,
            idempotency: idempotency.map(|(name, print)| (IdempotencyKey([name; 16]), u64::from(print))),
            spec: LinkSpec {
                target: target(t),
                valid_until: until.map(|until| UnixMs(START + u64::from(until))),
                fields: Default::default(),
            },
        }),
        Step::Edit { key: k, version, target: t } => ShardCommand::from(Edit {
            key: key(k),
            if_version: guard(&k, version),
            patch: LinkPatch { target: Some(target(t)), valid_until: None, fields: Default::default() },
            by: None,
        }),
        Step::Delete { key: k, version } => ShardCommand::from(Delete { key: key(k), if_version: guard(&k, version) }),
        Step::Clicks { sequence, key: k, visits } => ShardCommand::from(RecordClicks(Arc::new(ClickBatch {
            node: NodeId(1),
            spans: vec![model.span(sequence)],
            strings: vec!["Chrome".to_owned(), format!("host{}.example", sequence % 3)],
            deltas: vec![ClickDelta {
                link: key(k).hash(),
                hour: (sequence % 30) as u32,
                last: UnixMs(sequence),
                tallies: smallvec![
                    Tally { bot: false, values: [0, 0, 2, 1, 0, 0, 0], count: visits as u32 },
                    Tally { bot: true, values: [0, 0, 0, 1, 0, 0, 0], count: 7 },
                ],
                visitors: smallvec![Register::of(sequence << 50 | 1)],
            }],
            orphans: Vec::new(),
        }))),
        Step::Expire { keys, before } => ShardCommand::from(RemoveExpired {
            keys: keys.into_iter().map(key).collect(),
            before: UnixMs(START + u64::from(before)),
        }),
        Step::Checkpoint | Step::Restart => return None,
    })
}

fn word(outcome: &ShardOutcome) -> &'static str {
    match outcome {
        ShardOutcome::Created(_) => "created",
        ShardOutcome::Existing(_) => "existing",
        ShardOutcome::KeyTaken => "taken",
        ShardOutcome::IdempotencyMismatch => "mismatch",
        ShardOutcome::Edited(_) => "edited",
        ShardOutcome::Deleted => "deleted",
        ShardOutcome::NotFound => "unknown",
        ShardOutcome::VersionMismatch { .. } => "version",
        ShardOutcome::Removed(_) => "removed",
        ShardOutcome::Done => "done",
        ShardOutcome::ClicksOutOfStep(_) => "out of step",
        other => panic!("{other:?}"),
    }
}

fn history_of(machine: &ShardMachine, number: u8) -> Vec<(u32, u8)> {
    let (_, history) = machine.history(&key(number)).unwrap().unwrap();
    let numbered = |to: &Target| (0..6).find(|t| target(*t) == *to).unwrap();
    history.targets().map(|(entry, to)| (entry.version, numbered(to))).collect()
}

fn assert_equal(machine: &ShardMachine, model: &Model) {
    assert_eq!(machine.links(), model.links.len());
    assert_eq!(machine.all().unwrap().len(), model.links.len());
    for number in 0..12 {
        let found = machine.get(&key(number)).unwrap();
        let found = found.map(|(link, visits)| Known {
            target: (0..6).find(|t| target(*t) == link.spec.target).unwrap(),
            generated: link.generated,
            until: link.spec.valid_until.map(|until| until.0),
            version: link.version,
            index: model.links[&number].index,
            written: link.written_at,
            visits: visits.total,
            history: history_of(machine, number),
        });
        assert_eq!(found.as_ref(), model.links.get(&number), "key {number}");
        // The series, and each dimension that every visit has, add up to the total; what is deleted leaves nothing behind.
        let stats = machine.stats(Some(&key(number)), 0..48).unwrap();
        let visits = found.as_ref().map(|known| known.visits);
        assert_eq!(stats.as_ref().map(|stats| stats.days.iter().map(|(_, counts, _)| counts.people).sum()), visits);
        assert_eq!(stats.as_ref().map(|stats| stats.hours.iter().map(|(_, counts)| counts.people).sum()), visits);
        for wanted in [Dimension::Browser, Dimension::Referrer] {
            let of = |stats: &waypost_protocol::clicks::Stats| {
                stats
                    .values
                    .iter()
                    .filter(|(dimension, ..)| *dimension == wanted)
                    .map(|(.., counts)| counts.people)
                    .sum()
            };
            assert_eq!(stats.as_ref().map(of), visits, "{wanted:?}");
        }
    }
    let expired = machine.expired(UnixMs(START + 30), 100);
    let expired: Vec<LinkKey> = expired.into_iter().filter_map(|slot| machine.key_at(slot).unwrap()).collect();
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
        let mut since: Vec<(u64, Batch<ShardCommand>)> = Vec::new();
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
                    let batch = Batch { level: LEVEL, at: UnixMs(START + index), commands };
                    let outcomes = machine.apply(index, &batch).unwrap();
                    let (expected, about) = model.apply(step, index);
                    prop_assert_eq!(word(&outcomes[0]), expected, "{:?}", step);
                    if let (ShardOutcome::Created(link), Some(about)) = (&outcomes[0], about) {
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
        let new = Create {
            key: LinkKey::new(Code::parse_slug(&format!("code{number}")).unwrap()),
            created_by: 0,
            generated: true,
            find_existing: false,
            idempotency: None,
            spec: LinkSpec {
                target: Target::parse(&format!("https://example.com/{number}"), &[], 8192).unwrap(),
                valid_until: None,
                fields: Default::default(),
            },
        };
        let batch = Batch { level: LEVEL, at: UnixMs(START), commands: vec![ShardCommand::from(new)] };
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
    let file = std::fs::File::create(&path).unwrap();
    let full = snapshot::export(&from.tree("sm/1").unwrap(), 1, b"here", &file, u64::MAX).unwrap_err();
    assert!(full.to_string().contains("too few"), "{full}");
    file.set_len(0).unwrap();
    let file = std::fs::File::create(&path).unwrap();
    snapshot::export(&from.tree("sm/1").unwrap(), 1, b"here", &file, 0).unwrap();
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
fn records_without_their_checkpoint_are_refused_and_not_taken_for_an_empty_shard() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path());
    let tree = db.tree("sm/1").unwrap();
    filled(tree.clone(), 50);
    tree.remove(b"m").unwrap();
    let error = ShardMachine::open(tree).err().unwrap();
    assert!(matches!(&error, StoreError::Corrupt { what, .. } if what == "sm/1"), "{error}");
}

/// The first of the links of `filled`.
fn first_link() -> LinkKey {
    LinkKey::new(Code::parse_slug("code0").unwrap())
}

/// A shard with checkpointed links and one damaged record, that a running node has not read yet.
fn damaged_while_it_runs(prefix: &[u8]) -> (tempfile::TempDir, Db, ShardMachine) {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path());
    let tree = db.tree("sm/1").unwrap();
    let mut machine = filled(tree.clone(), 500);
    let delta = ClickDelta {
        link: first_link().hash(),
        hour: 20_000 * 24 + 5,
        last: UnixMs(1),
        tallies: smallvec![Tally { bot: false, values: [0, 0, 2, 1, 0, 0, 0], count: 3 }],
        visitors: smallvec![visitor(1)],
    };
    machine.apply(9001, &at(20_000, clicks((0, 10), Vec::new(), vec![delta]))).unwrap();
    machine.checkpoint(b"there").unwrap();
    let (key, value) = tree.scan_prefix(prefix).next().unwrap().unwrap();
    let mut damaged = value.to_vec();
    damaged[20] ^= 1;
    tree.insert(&key, damaged).unwrap();
    assert_eq!(db.failure(), None);
    (dir, db, machine)
}

#[test]
fn damage_that_a_running_node_comes_upon_makes_its_store_fail() {
    type Read = fn(&ShardMachine) -> Result<(), StoreError>;
    let reads: [(&str, &[u8], Read); 4] = [
        ("a link", b"b", |machine| machine.get(&first_link()).map(|_| ())),
        ("statistics", b"t", |machine| machine.stats(Some(&first_link()), 19_990 * 24..20_010 * 24).map(|_| ())),
        ("the scrub", b"b", |machine| {
            let scrubbed = scrub_tree(machine.tree(), b"", 1000)?;
            assert_eq!(scrubbed.damaged.len(), 1);
            assert_eq!(scrubbed.next, None, "it ended there");
            Ok(())
        }),
        ("a snapshot", b"v", |machine| {
            let file = tempfile::tempfile().unwrap();
            snapshot::export(machine.tree(), 1, b"here", &file, 0).unwrap_err();
            Ok(())
        }),
    ];
    for (what, prefix, read) in reads {
        let (_dir, db, machine) = damaged_while_it_runs(prefix);
        let result = read(&machine);
        let failure = db.failure().unwrap_or_else(|| panic!("{what}: the store goes on after {result:?}"));
        assert!(failure.contains("sm/1"), "{what}: {failure}");
        assert!(db.tree("sm/1").is_err() && db.commit().wait_blocking().is_err(), "{what}: it accepts more");
    }
}

#[test]
fn a_page_that_cannot_be_read_ends_the_scrub_and_makes_the_store_fail() {
    const MARK: &[u8] = b"a record whose page goes bad on the disk";
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path());
    let tree = db.tree("sm/1").unwrap();
    // More than the cache keeps, so that some of it has to be read from the disk again.
    for number in 0u32..3000 {
        tree.insert(&number.to_be_bytes(), [MARK, &[7; 8000]].concat()).unwrap();
    }
    db.commit().wait_blocking().unwrap();
    let path = dir.path().join("store/db");
    let bytes = std::fs::read(&path).unwrap();
    let file = std::fs::File::options().write(true).open(&path).unwrap();
    let places = bytes.windows(MARK.len()).enumerate().filter(|(_, window)| *window == MARK);
    for (place, _) in places {
        std::os::unix::fs::FileExt::write_all_at(&file, &[0], place as u64 + 9).unwrap();
    }
    let mut records = tree.scan_prefix(b"");
    let error = records.find_map(Result::err).expect("every record was in the cache: this shows nothing");
    assert!(records.next().is_none(), "it goes on behind {error}");
    assert!(db.failure().is_some(), "the store goes on after {error}");
    assert!(scrub_tree(&tree, b"", 10_000).is_err());
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

fn clicks(span: (u64, u64), strings: Vec<String>, deltas: Vec<ClickDelta>) -> ShardCommand {
    let spans = vec![JournalSpan { journal: 1, from: span.0, upto: span.1 }];
    ShardCommand::from(RecordClicks(Arc::new(ClickBatch {
        node: NodeId(1),
        spans,
        strings,
        deltas,
        orphans: Vec::new(),
    })))
}

fn visitor(number: u64) -> Register {
    let hash = blake3::hash(&number.to_le_bytes());
    Register::of(u64::from_le_bytes(hash.as_bytes()[..8].try_into().unwrap()))
}

const DAY_MS: u64 = 24 * 3_600_000;

fn at(day: u64, command: ShardCommand) -> Batch<ShardCommand> {
    Batch { level: LEVEL, at: UnixMs(day * DAY_MS), commands: vec![command] }
}

#[test]
fn hours_are_folded_into_days_after_a_while_and_add_up_to_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path());
    let mut machine = filled(db.tree("sm/1").unwrap(), 3);
    let link = LinkKey::new(Code::parse_slug("code1").unwrap());
    let day = 20_000;
    for hour in 0..30 {
        let tally = Tally { bot: false, values: [0, 0, 0, 1, 0, 0, 0], count: 2 };
        let delta = ClickDelta {
            link: link.hash(),
            hour: day * 24 + hour,
            last: UnixMs(1),
            tallies: smallvec![tally],
            visitors: smallvec![Register::of(u64::from(hour) << 50 | 1)],
        };
        let hour = u64::from(hour);
        machine
            .apply(100 + hour, &at(u64::from(day) + 1, clicks((hour, hour + 1), vec!["Safari".into()], vec![delta])))
            .unwrap();
        machine.checkpoint(b"x").unwrap();
    }
    let range = day * 24..(day + 2) * 24;
    let before = machine.stats(Some(&link), range.clone()).unwrap().unwrap();
    assert_eq!((before.hours.len(), before.days.len()), (30, 2));
    assert_eq!(
        before.days.iter().map(|(_, counts, uniques)| (counts.people, *uniques)).collect::<Vec<_>>(),
        [(48, 24), (12, 6)]
    );
    assert_eq!(before.visitors.count(), 30);
    // A hundred days later, with checkpoints now and then.
    for index in 0..600u64 {
        let later = clicks((30 + index, 31 + index), Vec::new(), Vec::new());
        machine.apply(200 + index, &at(u64::from(day) + 100, later)).unwrap();
        machine.checkpoint(b"x").unwrap();
    }
    let machine = ShardMachine::open(db.tree("sm/1").unwrap()).unwrap().0;
    let after = machine.stats(Some(&link), range).unwrap().unwrap();
    assert!(after.hours.is_empty());
    assert_eq!((after.days, after.values, after.visitors), (before.days, before.values, before.visitors));
}

#[test]
fn a_link_with_endless_referrers_keeps_the_most_frequent_and_sums_up_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path());
    let tree = db.tree("sm/1").unwrap();
    let mut machine = filled(tree.clone(), 600);
    let day = 20_000u32;
    let mut position = 0;
    for round in 0..20u64 {
        for number in [0, 1, 299, 599] {
            let link = LinkKey::new(Code::parse_slug(&format!("code{number}")).unwrap());
            let strings: Vec<String> = (0..200)
                .map(|i| {
                    if i < 5 { format!("often{i}.example") } else { format!("{}.{round}.{i}.example", "x".repeat(60)) }
                })
                .collect();
            let tallies = (0..200u16)
                .map(|i| Tally { bot: false, values: [0, 0, i + 1, 0, 0, 0, 0], count: if i < 5 { 100 } else { 1 } })
                .collect();
            let visitors = (0..500u64).map(|i| visitor(round * 500 + i)).collect();
            let delta = ClickDelta { link: link.hash(), hour: day * 24 + 5, last: UnixMs(1), tallies, visitors };
            machine
                .apply(1000 + position, &at(day.into(), clicks((position, position + 1), strings, vec![delta])))
                .unwrap();
            position += 1;
        }
        machine.checkpoint(b"x").unwrap();
    }
    let total = 20 * (500 + 195);
    let machine = ShardMachine::open(tree.clone()).unwrap().0;
    for number in [0, 1, 299, 599] {
        let link = LinkKey::new(Code::parse_slug(&format!("code{number}")).unwrap());
        let stats = machine.stats(Some(&link), day * 24..(day + 1) * 24).unwrap().unwrap();
        let of = |text: &str| stats.values.iter().find(|(_, value, _)| value == text).map(|(.., counts)| counts.people);
        assert!(stats.values.len() <= 51, "{}", stats.values.len());
        assert_eq!(of("often3.example"), Some(2000));
        assert_eq!(stats.values.iter().map(|(.., counts)| counts.people).sum::<u64>(), total);
        let uniques = stats.visitors.count();
        assert!((9_700..10_300).contains(&uniques), "{uniques} of 10000");
    }
    let all = machine.stats(None, day * 24..(day + 1) * 24).unwrap().unwrap();
    assert_eq!(all.days[0].1.people, 4 * total);
    assert_eq!(all.top.len(), 4);
    assert_eq!(verify_tree(&tree).unwrap().1, Vec::<String>::new());
}

#[test]
fn what_deleted_links_leave_is_removed_from_the_database() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path());
    let tree = db.tree("sm/1").unwrap();
    let mut machine = filled(tree.clone(), 300);
    let records = |prefix: &[u8]| tree.scan_prefix(prefix).count();
    let mut position = 0;
    for day in 20_000..20_005u32 {
        for number in 0..300 {
            let link = LinkKey::new(Code::parse_slug(&format!("code{number}")).unwrap());
            // One link has so many visitors that they have a record of their own.
            let count = if number == 7 { 400 } else { 1 };
            let visitors = (0..count).map(|i| visitor(u64::from(day) * 1000 + i)).collect();
            let tallies = smallvec![Tally { bot: false, values: [0, 0, 1, 0, 0, 0, 0], count: 1 }];
            let delta = ClickDelta { link: link.hash(), hour: day * 24, last: UnixMs(1), tallies, visitors };
            let strings = vec![format!("host{number}.example")];
            machine
                .apply(1000 + position, &at(day.into(), clicks((position, position + 1), strings, vec![delta])))
                .unwrap();
            position += 1;
        }
        machine.checkpoint(b"x").unwrap();
    }
    // For each day: the link's, and that of all links.
    assert_eq!(records(b"h"), 10);
    let text = |needle: &str| {
        let holds = |value: &[u8]| value.windows(needle.len()).any(|part| part == needle.as_bytes());
        tree.scan_prefix(b"t").map(Result::unwrap).filter(|(_, value)| holds(value)).count()
    };
    assert!(text("host7.example") >= 5);
    for number in 0..299 {
        let key = LinkKey::new(Code::parse_slug(&format!("code{number}")).unwrap());
        machine.apply(5000 + number, &at(20_005, ShardCommand::from(Delete { key, if_version: None }))).unwrap();
    }
    for _ in 0..4 {
        machine.checkpoint(b"x").unwrap();
    }
    assert_eq!(records(b"h"), 5, "those of all links stay");
    let left = ShardMachine::open(tree.clone()).unwrap().0;
    let all = left.stats(None, 20_000 * 24..20_010 * 24);
    assert_eq!(all.unwrap().unwrap().total.people, 1500);
    let kept = LinkKey::new(Code::parse_slug("code299").unwrap());
    let kept = left.stats(Some(&kept), 20_000 * 24..20_010 * 24).unwrap().unwrap();
    assert_eq!(kept.days.len(), 5);
    // The strings of the sum of all links name hosts as well; pages of links do no more.
    assert!(text("host7.example") <= 5, "{}", text("host7.example"));
}

//! The state of a shard against a model of it: any commands, any checkpoints and restarts in between.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use smallvec::smallvec;
use waypost_protocol::clicks::{ClickBatch, ClickDelta, Dimension, JournalSpan, Tally};
use waypost_protocol::command::{Batch, Create, Delete, Edit, RecordClicks, RemoveExpired, ShardCommand, ShardOutcome};
use waypost_protocol::digest::IdempotencyKey;
use waypost_protocol::sketch::Register;
use waypost_protocol::{Code, LinkKey, LinkPatch, LinkSpec, LinkVersion, NodeId, Target, UnixMs};
use waypost_store::machine::{Machine, ShardMachine, verify_tree};

use super::shards::{LEVEL, START, open};

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

//! What an index beside a shard is told: with the changes since the last look, and a scan in parts, it has what the shard has, whatever
//! happens meanwhile.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;

use proptest::prelude::*;
use smallvec::smallvec;
use waypost_protocol::clicks::{ClickBatch, ClickDelta, JournalSpan, Tally};
use waypost_protocol::command::{Batch, Create, Delete, Edit, RecordClicks, ResetStats, ShardCommand, UseVisit};
use waypost_protocol::properties::{MAX_VISITS, MaxVisits};
use waypost_protocol::{
    Code, FieldChanges, KeyHash, Level, Link, LinkKey, LinkPatch, LinkSpec, LinkVersion, NodeId, Target, UnixMs,
};
use waypost_store::machine::{Changed, Machine, Scanned, ShardMachine};
use waypost_store::{Db, DbOptions};
use waypost_telemetry::Metrics;

fn open(dir: &std::path::Path) -> Db {
    Db::open(dir, &DbOptions { cache_bytes: 8 << 20, ..DbOptions::default() }, &Metrics::new()).unwrap()
}

fn key(number: u16) -> LinkKey {
    LinkKey::new(Code::parse_slug(&format!("k{number}")).unwrap())
}

/// So long that a few fill a block.
fn target(number: u16) -> Target {
    Target::parse(&format!("https://example.com/{number}/{}", "x".repeat(400)), &[], 8192).unwrap()
}

fn apply(machine: &mut ShardMachine, index: u64, command: ShardCommand) {
    let batch = Batch { level: Level::CURRENT, at: UnixMs(1_000_000), commands: vec![command] };
    machine.apply(index, &batch).unwrap();
}

fn create(number: u16) -> ShardCommand {
    let spec = LinkSpec::to(target(number));
    let key = key(number);
    Create { key, spec, created_by: 0, generated: false, find_existing: false, idempotency: None }.into()
}

fn edit(number: u16, to: u16) -> ShardCommand {
    let patch = LinkPatch { target: Some(target(to)), ..LinkPatch::default() };
    Edit { key: key(number), if_version: None, patch, by: None }.into()
}

fn delete(number: u16) -> ShardCommand {
    Delete { key: key(number), if_version: None }.into()
}

fn visit(number: u16, from: u64) -> ShardCommand {
    ShardCommand::from(RecordClicks(std::sync::Arc::new(ClickBatch {
        node: NodeId(1),
        spans: vec![JournalSpan { journal: 9, from, upto: from + 1 }],
        strings: vec![],
        deltas: vec![ClickDelta {
            link: key(number).hash(),
            hour: 0,
            last: UnixMs(7),
            tallies: smallvec![Tally { bot: false, values: [0; 7], count: 1 }],
            visitors: smallvec![],
        }],
        orphans: Vec::new(),
    })))
}

#[derive(Debug, Clone)]
enum Step {
    Create(u16),
    Edit(u16, u16),
    Delete(u16),
    Checkpoint,
    /// The next part of the scan, and what has changed.
    Look,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let number = || 0u16..60;
    let step = prop_oneof![
        6 => number().prop_map(Step::Create),
        3 => (number(), number()).prop_map(|(number, to)| Step::Edit(number, to)),
        3 => number().prop_map(Step::Delete),
        2 => Just(Step::Checkpoint),
        6 => Just(Step::Look),
    ];
    proptest::collection::vec(step, 1..300)
}

/// An index that is made while the shard changes.
#[derive(Default)]
struct Index {
    rows: BTreeMap<KeyHash, LinkVersion>,
    next: Option<u32>,
}

impl Index {
    fn put(&mut self, link: &Link) {
        self.rows.insert(link.key.hash(), link.link_version());
    }

    fn read(&mut self, machine: &ShardMachine, keys: Vec<KeyHash>) {
        for key in keys {
            match machine.by_hash(key).unwrap() {
                Some(now) => self.put(&now.link),
                None => drop(self.rows.remove(&key)),
            }
        }
    }

    /// Reads what has changed, and the next part of the scan, if it is not over.
    fn look(&mut self, machine: &ShardMachine) {
        match machine.take_changes() {
            Changed::Links(keys) => self.read(machine, keys),
            Changed::Anything => panic!("there are not so many changes"),
        }
        let Some(from) = self.next else { return };
        self.next = match machine.scan(from).unwrap() {
            Scanned::Block { links, next } => {
                links.iter().for_each(|now| self.put(&now.link));
                Some(next)
            }
            Scanned::Rest(keys) => {
                self.read(machine, keys);
                None
            }
        };
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_index_that_is_made_while_the_shard_changes_has_what_the_shard_has(before in steps(), steps in steps()) {
        let dir = tempfile::tempdir().unwrap();
        let db = open(dir.path());
        let (mut machine, _) = ShardMachine::open(db.tree("sm/1").unwrap()).unwrap();
        let mut indexed = 0;
        let mut run = |machine: &mut ShardMachine, step: &Step| {
            indexed += 1;
            match step {
                Step::Create(number) => apply(machine, indexed, create(*number)),
                Step::Edit(number, to) => apply(machine, indexed, edit(*number, *to)),
                Step::Delete(number) => apply(machine, indexed, delete(*number)),
                Step::Checkpoint => machine.checkpoint(b"here").unwrap(),
                Step::Look => {}
            }
        };
        before.iter().for_each(|step| run(&mut machine, step));
        // Nobody knows what has changed before the scan begins.
        machine.take_changes();
        let mut index = Index { next: Some(0), ..Index::default() };
        for step in &steps {
            if matches!(step, Step::Look) {
                index.look(&machine);
            }
            run(&mut machine, step);
        }
        while index.next.is_some() {
            index.look(&machine);
        }
        index.look(&machine);
        let all = machine.all().unwrap();
        let expected: BTreeMap<_, _> = all.iter().map(|(link, _)| (link.key.hash(), link.link_version())).collect();
        prop_assert_eq!(index.rows, expected);
    }
}

#[test]
fn what_the_log_brings_back_after_a_restart_is_told_as_changed() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path());
    let tree = db.tree("sm/1").unwrap();
    let (mut machine, _) = ShardMachine::open(tree.clone()).unwrap();
    apply(&mut machine, 1, create(1));
    machine.checkpoint(b"one").unwrap();
    apply(&mut machine, 2, create(2));
    assert_eq!(machine.take_changes(), Changed::Links(vec![key(1).hash(), key(2).hash()]));
    let (mut machine, _) = ShardMachine::open(tree).unwrap();
    assert!(!machine.has_changes());
    apply(&mut machine, 2, create(2));
    assert!(machine.has_changes());
    assert_eq!(machine.take_changes(), Changed::Links(vec![key(2).hash()]));
    machine.checkpoint(b"two").unwrap();
    machine.reopen().unwrap();
    assert_eq!(machine.take_changes(), Changed::Anything, "a snapshot may have brought it");
}

#[test]
fn counted_visits_are_told_apart_from_changes_and_the_last_visit_of_a_limit_is_a_change() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path());
    let (mut machine, _) = ShardMachine::open(db.tree("sm/1").unwrap()).unwrap();
    for number in 1..=3 {
        apply(&mut machine, u64::from(number), create(number));
    }
    let mut limit = FieldChanges::default();
    MAX_VISITS.change(&mut limit, MaxVisits::try_from(2).ok().as_ref());
    let patch = LinkPatch { fields: limit, ..LinkPatch::default() };
    assert_eq!(machine.by_hash(key(3).hash()).unwrap().unwrap().edited_at, None);
    apply(&mut machine, 4, Edit { key: key(3), if_version: None, patch, by: None }.into());
    assert_eq!(machine.by_hash(key(3).hash()).unwrap().unwrap().edited_at, Some(UnixMs(1_000_000)));
    machine.take_changes();
    apply(&mut machine, 5, visit(1, 0));
    apply(&mut machine, 6, visit(1, 1));
    apply(&mut machine, 7, visit(2, 2));
    assert!(!machine.has_changes());
    let told = machine.take_counted(10);
    let keys: Vec<KeyHash> = told.iter().map(|(key, _)| *key).collect();
    assert_eq!(keys, [key(1).hash(), key(2).hash()]);
    assert_eq!(told[0].1, machine.by_hash(key(1).hash()).unwrap().unwrap().counts);
    assert_eq!(machine.take_counted(10), []);
    machine.put_back_counted(std::iter::once(key(2).hash()));
    assert_eq!(machine.take_counted(10), told[1..]);
    machine.tell_all_counts();
    assert_eq!(machine.take_counted(10), told);
    apply(&mut machine, 8, ResetStats { key: key(1) }.into());
    assert_eq!(machine.take_counted(10).len(), 1);
    // A deleted link is not told as counted.
    apply(&mut machine, 9, visit(2, 3));
    apply(&mut machine, 10, delete(2));
    assert_eq!(machine.take_counted(10), []);
    machine.take_changes();
    apply(&mut machine, 11, UseVisit { key: key(3) }.into());
    assert!(!machine.has_changes());
    apply(&mut machine, 12, UseVisit { key: key(3) }.into());
    assert_eq!(machine.take_changes(), Changed::Links(vec![key(3).hash()]));
    assert_eq!(machine.by_hash(key(3).hash()).unwrap().unwrap().counts.used, 2);
    assert!(machine.by_hash(key(9).hash()).unwrap().is_none());
    for number in [1, 3, 9] {
        let now = machine.by_hash(key(number).hash()).unwrap().map(|now| (now.link, now.counts));
        assert_eq!(machine.view_by_hash(key(number).hash()).unwrap(), now);
    }
}

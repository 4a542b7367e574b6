//! The histories of links: recorded from level 3 on, bounded, stored with the links, and gone with them.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;

use waypost_protocol::command::{Batch, Create, Delete, Edit, RemoveExpired, ShardCommand, ShardOutcome};
use waypost_protocol::history::TARGETS_MAX;
use waypost_protocol::{Code, Level, LinkKey, LinkPatch, LinkSpec, Target, UnixMs};
use waypost_store::machine::{Machine, ShardMachine, snapshot, verify_tree};
use waypost_store::{Db, DbOptions};
use waypost_telemetry::Metrics;

fn open(dir: &Path) -> Db {
    Db::open(dir, &DbOptions { cache_bytes: 8 << 20, ..DbOptions::default() }, &Metrics::new()).unwrap()
}

fn key(number: u32) -> LinkKey {
    LinkKey::new(Code::parse_slug(&format!("k{number}")).unwrap())
}

fn target(number: u32) -> Target {
    Target::parse(&format!("https://example.com/{number}"), &[], 8192).unwrap()
}

/// A shard, and the index of its last entry.
struct Shard {
    machine: ShardMachine,
    index: u64,
}

impl Shard {
    fn open(db: &Db, tree: &str) -> Self {
        Self { machine: ShardMachine::open(db.tree(tree).unwrap()).unwrap().0, index: 0 }
    }

    fn apply_at(&mut self, level: Level, command: impl Into<ShardCommand>) -> ShardOutcome {
        self.index += 1;
        let batch = Batch { level, at: UnixMs(self.index), commands: vec![command.into()] };
        self.machine.apply(self.index, &batch).unwrap().remove(0)
    }

    fn create(&mut self, number: u32) {
        let command = Create {
            key: key(number),
            spec: LinkSpec { valid_until: Some(UnixMs(1000)), ..LinkSpec::to(target(0)) },
            created_by: 1,
            generated: false,
            find_existing: false,
            idempotency: None,
        };
        assert!(matches!(self.apply_at(Level::THREE, command), ShardOutcome::Created(_)));
    }

    fn edit_at(&mut self, level: Level, number: u32, to: u32) {
        let patch = LinkPatch { target: Some(target(to)), ..LinkPatch::default() };
        let by = (level >= Level::THREE).then_some(0);
        let edit = Edit { key: key(number), if_version: None, patch, by };
        assert!(matches!(self.apply_at(level, edit), ShardOutcome::Edited(_)));
    }

    fn edit(&mut self, number: u32, to: u32) {
        self.edit_at(Level::THREE, number, to);
    }

    /// Versions, authors and targets of a history.
    fn history(&self, number: u32) -> Vec<(u32, Option<u32>, Target)> {
        let (_, history) = self.machine.history(&key(number)).unwrap().unwrap();
        history.targets().map(|(entry, target)| (entry.version, entry.by, target.clone())).collect()
    }

    fn records_of_histories(&self) -> usize {
        self.machine.tree().scan_prefix(b"c").count()
    }
}

#[test]
fn the_history_of_each_link_survives_restarts_and_snapshots() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path());
    let mut shard = Shard::open(&db, "sm/1");
    for number in 0..100 {
        shard.create(number);
    }
    for round in 1..=3 {
        for number in (0..100).filter(|number: &u32| number.is_multiple_of(round)) {
            shard.edit(number, number * 10 + round);
        }
        // Some are in memory and in a block, some only in a block.
        shard.machine.checkpoint(b"position").unwrap();
    }
    let expected = |number: u32| {
        let edits =
            (1..=3).filter(|round| number.is_multiple_of(*round)).map(|round| (Some(0), target(number * 10 + round)));
        let all = std::iter::once((Some(1), target(0))).chain(edits);
        (1..).zip(all).map(|(version, (by, target))| (version, by, target)).collect::<Vec<_>>()
    };
    let check = |shard: &Shard| (0..100).for_each(|number| assert_eq!(shard.history(number), expected(number)));
    check(&shard);
    assert!(shard.records_of_histories() < 20, "histories are packed");
    check(&Shard::open(&db, "sm/1"));
    let path = dir.path().join("snapshot");
    snapshot::export(shard.machine.tree(), 1, b"position", &std::fs::File::create(&path).unwrap(), 0).unwrap();
    snapshot::import(&db.tree("sm/2").unwrap(), 2, &path).unwrap_err();
    snapshot::import(&db.tree("sm/1").unwrap(), 1, &path).unwrap();
    shard.machine.reopen().unwrap();
    check(&shard);
    assert_eq!(verify_tree(shard.machine.tree()).unwrap().1, Vec::<String>::new());
}

#[test]
fn a_history_is_bounded_and_keeps_the_first_target() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path());
    let mut shard = Shard::open(&db, "sm/1");
    shard.create(0);
    for to in 1..=200 {
        shard.edit(0, to);
        if to % 7 == 0 {
            shard.machine.checkpoint(b"position").unwrap();
        }
    }
    let history = shard.history(0);
    assert_eq!(history.len(), 1 + TARGETS_MAX);
    assert_eq!((&history[0].2, &history[TARGETS_MAX].2), (&target(0), &target(200)));
    assert_eq!(shard.records_of_histories(), 1);
}

#[test]
fn a_link_that_was_never_edited_has_none_and_a_removed_one_leaves_none() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path());
    let mut shard = Shard::open(&db, "sm/1");
    (0..4).for_each(|number| shard.create(number));
    assert!(shard.history(0).is_empty());
    (1..4).for_each(|number| shard.edit(number, 9));
    let pending = shard.machine.pending_bytes();
    shard.machine.checkpoint(b"position").unwrap();
    assert!(pending > 0 && shard.machine.pending_bytes() == 0);
    shard.edit(3, 10);
    shard.apply_at(Level::THREE, Delete { key: key(1), if_version: None });
    shard.apply_at(Level::THREE, RemoveExpired { keys: vec![key(2), key(3)], before: UnixMs(1000) });
    assert_eq!(shard.machine.history(&key(1)).unwrap(), None);
    // Another link of the same code, which takes one of the slots.
    shard.create(1);
    assert!(shard.history(1).is_empty());
    shard.machine.checkpoint(b"position").unwrap();
    assert_eq!(shard.records_of_histories(), 0);
    shard.edit(1, 5);
    assert_eq!(shard.history(1), [(1, Some(1), target(0)), (2, Some(0), target(5))]);
}

#[test]
fn edits_before_level_3_have_no_history_and_the_first_one_after_it_keeps_the_target_that_there_was() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path());
    let mut shard = Shard::open(&db, "sm/1");
    let command = Create {
        key: key(0),
        spec: LinkSpec::to(target(0)),
        created_by: 1,
        generated: false,
        find_existing: false,
        idempotency: None,
    };
    shard.apply_at(Level::TWO, command);
    shard.edit_at(Level::TWO, 0, 1);
    assert!(shard.history(0).is_empty());
    shard.edit(0, 2);
    assert_eq!(shard.history(0), [(2, None, target(1)), (3, Some(0), target(2))]);
    // As when an earlier version has sent it.
    let patch = LinkPatch { target: Some(target(3)), ..LinkPatch::default() };
    shard.apply_at(Level::THREE, Edit { key: key(0), if_version: None, patch, by: None });
    assert_eq!(shard.history(0)[2], (4, None, target(3)));
}

//! How far the clicks of journals were counted: what a shard must never forget too early.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use waypost_protocol::clicks::{ClickBatch, JournalSpan, OrphanDelta};
use waypost_protocol::command::{Batch, EndJournals, RecordClicks, ShardCommand, ShardOutcome};
use waypost_protocol::{Level, NodeId, UnixMs};
use waypost_store::machine::{Machine, ShardMachine, verify_tree};
use waypost_store::{Db, DbOptions, Tree};
use waypost_telemetry::Metrics;

/// A shard with its log; every visit that counts is one of a path that is no link.
struct Shard {
    machine: ShardMachine,
    tree: Tree,
    level: Level,
    index: u64,
    now: UnixMs,
}

impl Shard {
    fn apply(&mut self, command: ShardCommand) -> ShardOutcome {
        self.index += 1;
        let batch = Batch { level: self.level, at: self.now, commands: vec![command] };
        self.machine.apply(self.index, &batch).unwrap().remove(0)
    }

    fn click(&mut self, node: u64, journal: u64, from: u64) -> ShardOutcome {
        self.apply(ShardCommand::from(RecordClicks(Arc::new(ClickBatch {
            node: NodeId(node),
            spans: vec![JournalSpan { journal, from, upto: from + 1 }],
            strings: Vec::new(),
            deltas: Vec::new(),
            orphans: vec![OrphanDelta { path: 0, count: 1, last: self.now }],
        }))))
    }

    fn counted(&self) -> u64 {
        self.machine.orphans().iter().map(|orphan| orphan.count).sum()
    }

    fn restart(&mut self) {
        self.machine.checkpoint(b"x").unwrap();
        self.machine = ShardMachine::open(self.tree.clone()).unwrap().0;
    }
}

fn with_a_shard(level: Level, test: impl FnOnce(&mut Shard)) {
    let dir = tempfile::tempdir().unwrap();
    let options = DbOptions { cache_bytes: 8 << 20, ..DbOptions::default() };
    let db = Db::open(dir.path(), &options, &Metrics::new()).unwrap();
    let tree = db.tree("sm/1").unwrap();
    let machine = ShardMachine::open(tree.clone()).unwrap().0;
    test(&mut Shard { machine, tree: tree.clone(), level, index: 0, now: UnixMs(1_790_000_000_000) });
    assert_eq!(verify_tree(&tree).unwrap().1, Vec::<String>::new());
}

#[test]
fn a_node_that_comes_back_after_a_thousand_newer_journals_counts_nothing_twice() {
    with_a_shard(Level::ONE, |shard| {
        assert_eq!(shard.click(1, 77, 0), ShardOutcome::Done);
        // Others start again and again; their journals have not ended yet.
        for life in 0..1000 {
            shard.now = UnixMs(shard.now.0 + 1000);
            assert_eq!(shard.click(2 + life % 3, 1000 + life, 0), ShardOutcome::Done);
            if life % 100 == 0 {
                shard.restart();
            }
        }
        let counted = shard.counted();
        // What it does not know to be counted it sends again.
        assert_eq!(shard.click(1, 77, 0), ShardOutcome::Done);
        assert_eq!(shard.counted(), counted, "a click is counted twice");
        assert_eq!(shard.click(1, 77, 1), ShardOutcome::Done);
        assert_eq!(shard.counted(), counted + 1);
    });
}

#[test]
fn before_level_1_the_positions_of_the_512_journals_that_were_heard_of_last_are_kept() {
    with_a_shard(Level::BASE, |shard| {
        for journal in 0..512 {
            assert_eq!(shard.click(1, journal, 0), ShardOutcome::Done);
        }
        shard.now = UnixMs(shard.now.0 + 1000);
        assert_eq!(shard.click(1, 0, 0), ShardOutcome::Done, "it is sent again");
        assert_eq!(shard.click(1, 0, 1), ShardOutcome::Done);
        assert_eq!(shard.counted(), 513);
        // One more, and the position of one that was heard of before is forgotten: its clicks count again.
        assert_eq!(shard.click(1, 999, 0), ShardOutcome::Done);
        for (journal, counted) in [(0, 514), (2, 514), (1, 515)] {
            shard.click(1, journal, 0);
            assert_eq!(shard.counted(), counted, "{journal}");
        }
    });
}

#[test]
fn positions_from_level_0_are_kept_and_belong_to_the_node_that_goes_on_with_the_journal() {
    with_a_shard(Level::BASE, |shard| {
        for journal in 0..400 {
            assert_eq!(shard.click(1, journal, 0), ShardOutcome::Done);
        }
        shard.restart();
        shard.level = Level::ONE;
        // Of a node with as many new journals as it may have.
        for journal in 1000..1400 {
            assert_eq!(shard.click(2, journal, 0), ShardOutcome::Done);
        }
        shard.restart();
        assert_eq!(shard.click(1, 7, 0), ShardOutcome::Done);
        assert_eq!(shard.click(1, 7, 1), ShardOutcome::Done);
        // A journal that was brought to another node goes on there.
        assert_eq!(shard.click(3, 7, 2), ShardOutcome::Done);
        assert_eq!(shard.click(3, 8, 5), ShardOutcome::ClicksOutOfStep(vec![(8, 1)]));
        shard.restart();
        assert_eq!(
            shard.click(3, 7, 1),
            ShardOutcome::ClicksOutOfStep(vec![(7, 3)]),
            "counted before, for either node"
        );
        assert_eq!(shard.counted(), 802);
    });
}

#[test]
fn a_journal_that_has_ended_leaves_nothing() {
    with_a_shard(Level::ONE, |shard| {
        let records = |shard: &Shard| shard.tree.scan_prefix(b"j").count();
        for journal in 0..500 {
            assert_eq!(shard.click(1, journal, 0), ShardOutcome::Done);
            assert_eq!(shard.click(2, 1000 + journal, 0), ShardOutcome::Done);
        }
        shard.restart();
        assert_eq!(records(shard), 2);
        assert_eq!(shard.apply(ShardCommand::from(EndJournals { journals: (0..500).collect() })), ShardOutcome::Done);
        assert_eq!(
            shard.apply(ShardCommand::from(EndJournals { journals: (0..500).collect() })),
            ShardOutcome::Done,
            "told again"
        );
        shard.restart();
        assert_eq!(records(shard), 1);
        assert_eq!(shard.click(2, 1007, 0), ShardOutcome::Done);
        assert_eq!(shard.counted(), 1000);
    });
}

#[test]
fn a_node_with_too_many_journals_waits_until_some_have_ended() {
    with_a_shard(Level::ONE, |shard| {
        for journal in 0..512 {
            assert_eq!(shard.click(1, journal, 0), ShardOutcome::Done);
        }
        assert_eq!(shard.click(1, 512, 0), ShardOutcome::ClicksOutOfStep(vec![(512, 0)]));
        assert_eq!(shard.click(1, 3, 1), ShardOutcome::Done, "those that are known go on");
        assert_eq!(shard.apply(ShardCommand::from(EndJournals { journals: vec![9] })), ShardOutcome::Done);
        assert_eq!(shard.click(1, 512, 0), ShardOutcome::Done);
        shard.restart();
        assert_eq!(shard.counted(), 514);
    });
}

#[test]
fn journals_of_nodes_that_are_gone_are_known_until_nobody_has_heard_of_them_for_long() {
    with_a_shard(Level::ONE, |shard| {
        let first = shard.now;
        shard.click(1, 5, 0);
        shard.click(2, 6, 0);
        shard.now = UnixMs(first.0 + 1000);
        shard.click(1, 7, 0);
        shard.restart();
        let left = |gone: u64, before: u64| {
            shard.machine.journals_left_behind(|node| node == NodeId(gone), UnixMs(first.0 + before), 100)
        };
        assert_eq!((left(1, 0), left(1, 1), left(1, 2000)), (vec![], vec![5], vec![5, 7]));
        assert_eq!((left(2, 2000), left(3, 2000)), (vec![6], vec![]));
    });
}

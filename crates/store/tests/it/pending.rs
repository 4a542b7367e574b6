//! What a checkpoint has to write: it becomes due by this.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use smallvec::smallvec;
use waypost_protocol::clicks::{ClickDelta, Tally};
use waypost_protocol::command::{ClusterCommand, Delete, Edit, LeaseKeys, ResetStats, ShardCommand, UseVisit};
use waypost_protocol::properties::MAX_VISITS;
use waypost_protocol::{Code, FieldChanges, LinkKey, LinkPatch, NodeId, Target, UnixMs};
use waypost_store::Tree;
use waypost_store::machine::{ClusterMachine, Machine, ShardMachine};

use super::log::Log;
use super::shards::{LEVEL, at, clicks, filled, open};

const DAY: u32 = 20_000;

fn key(number: u64) -> LinkKey {
    LinkKey::new(Code::parse_slug(&format!("code{number}")).unwrap())
}

struct Shard {
    _dir: tempfile::TempDir,
    tree: Tree,
    machine: ShardMachine,
    index: u64,
    /// How far the journal was counted.
    position: u64,
}

impl Shard {
    /// A shard with so many links, all in a checkpoint.
    fn filled(links: u16) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let tree = open(dir.path()).tree("sm/1").unwrap();
        let machine = filled(tree.clone(), links);
        Self { _dir: dir, tree, machine, index: 10_000, position: 0 }
    }

    /// By how many bytes a command makes the next checkpoint longer.
    fn adds(&mut self, command: impl Into<ShardCommand>) -> u64 {
        let before = self.machine.pending_bytes();
        self.index += 1;
        self.machine.apply(self.index, &at(DAY.into(), command.into())).unwrap();
        self.machine.pending_bytes() - before
    }

    fn delete(&mut self, number: u64) -> u64 {
        self.adds(Delete { key: key(number), if_version: None })
    }

    /// Adds three visits of a link at once.
    fn visit(&mut self, number: u64, referrer: &str) -> u64 {
        self.visits(number, referrer, 3)
    }

    fn visits(&mut self, number: u64, referrer: &str, count: u32) -> u64 {
        let delta = ClickDelta {
            link: key(number).hash(),
            hour: DAY * 24,
            last: UnixMs(1),
            tallies: smallvec![Tally { bot: false, values: [0, 0, 1, 0, 0, 0, 0], count }],
            visitors: smallvec![],
        };
        self.position += 1;
        self.adds(clicks((self.position - 1, self.position), vec![referrer.to_owned()], vec![delta]))
    }

    /// Writes a checkpoint; answers the bytes of the records with this prefix that it wrote.
    fn checkpoint(&mut self, prefix: &[u8]) -> usize {
        let all = |tree: &Tree| -> Vec<_> { tree.scan_prefix(prefix).map(Result::unwrap).collect() };
        let before = all(&self.tree);
        self.machine.checkpoint(b"x").unwrap();
        assert_eq!(self.machine.pending_bytes(), 0, "after a checkpoint nothing is left");
        let written = all(&self.tree).into_iter().filter(|record| !before.contains(record));
        // Without the version and the checksum of each.
        written.map(|(_, value)| value.len() - 17).sum()
    }
}

/// What a block counts for that links leave: the size of the longest ones that there are.
const LONGEST: usize = 4096;

#[test]
fn a_link_counts_as_many_bytes_as_it_takes_in_its_block() {
    let mut shard = Shard::filled(20);
    assert_eq!(shard.machine.pending_bytes(), 0);
    let target = |length: usize| Target::parse(&format!("https://example.com/{}", "x".repeat(length)), &[], 8192).ok();
    let mut edit = |number: u64, length: usize| {
        let patch = LinkPatch { target: target(length), valid_until: None, fields: Default::default() };
        shard.adds(Edit { key: key(number), if_version: None, patch, by: None })
    };
    // The links and the history of each; the block that they leave is written again as a whole.
    let added = edit(0, 1000) + edit(1, 700);
    let histories = shard.machine.history(&key(0)).unwrap().unwrap().1.bytes()
        + shard.machine.history(&key(1)).unwrap().unwrap().1.bytes();
    assert_eq!(shard.machine.pending_bytes(), added);
    let blocks = shard.checkpoint(b"b");
    let stays = 18 * (blocks_of(&shard.tree)[0] / 18);
    assert!(added as usize - histories - LONGEST <= blocks - stays, "{added} for {blocks} bytes of blocks");
    assert!(added as usize - histories - LONGEST >= 1700);
}

fn blocks_of(tree: &Tree) -> Vec<usize> {
    tree.scan_prefix(b"b").map(|record| record.unwrap().1.len() - 17).collect()
}

#[test]
fn each_block_that_links_leave_counts_once() {
    let mut shard = Shard::filled(300);
    assert!(blocks_of(&shard.tree).len() >= 3);
    // The page of their visits counts too, once.
    assert_eq!(shard.delete(0), LONGEST as u64 + 128);
    assert_eq!(shard.delete(1), 0, "of the same block");
    assert_eq!(shard.delete(200), LONGEST as u64);
    // Another page of visits.
    assert_eq!(shard.delete(299), LONGEST as u64 + 128);
    shard.checkpoint(b"b");
    assert_eq!(shard.adds(ResetStats { key: key(250) }), 128);
    assert_eq!(shard.adds(ResetStats { key: key(251) }), 0);
    assert_eq!(shard.adds(ResetStats { key: key(260) }), 128);
}

#[test]
fn visits_count_by_their_number_and_each_new_text_by_its_length() {
    let mut shard = Shard::filled(10);
    // A page of totals, the position of the journal, and what visits have in common.
    let first = shard.visit(1, "a.example");
    let again = shard.visit(1, "a.example");
    assert!((4..40).contains(&again) && first > again + 128 + 2 * 24, "{first}, then {again}");
    assert_eq!(shard.visit(2, "a.example"), again);
    let single = shard.visits(2, "a.example", 1);
    assert_eq!((single, shard.visits(1, "a.example", 1)), (again - 2, single), "which takes half as many bytes");
    let (short, long) = (shard.visit(1, "b.example"), shard.visit(1, &format!("{}.example", "b".repeat(51))));
    assert_eq!(long - short, 2 * 50, "each text is kept twice");
    assert!(short > again + 2 * 9);
    assert_eq!(shard.visit(1, "b.example"), again);
    let before = shard.machine.pending_bytes();
    (0..300).for_each(|_| assert_eq!(shard.visit(1, "a.example"), again));
    assert_eq!(shard.machine.pending_bytes() - before, 300 * again);
    shard.checkpoint(b"t");
}

#[test]
fn each_page_of_limited_links_that_are_visited_counts_once() {
    let mut shard = Shard::filled(300);
    let mut fields = FieldChanges::default();
    MAX_VISITS.change(&mut fields, Some(&100u64.try_into().unwrap()));
    for number in [0, 1, 299] {
        let patch = LinkPatch { fields: fields.clone(), ..LinkPatch::default() };
        shard.adds(Edit { key: key(number), if_version: None, patch, by: None });
    }
    shard.checkpoint(b"b");
    assert_eq!(shard.adds(UseVisit { key: key(0) }), 512);
    assert_eq!(shard.adds(UseVisit { key: key(0) }) + shard.adds(UseVisit { key: key(1) }), 0);
    assert_eq!(shard.adds(UseVisit { key: key(299) }), 512);
    assert!(shard.checkpoint(b"u") > 0);
}

#[test]
fn group_0_has_something_to_write_after_each_command_and_nothing_after_a_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path());
    let mut log = Log::<ClusterMachine>::open(&db, "sm/0");
    assert_eq!(log.machine.pending_bytes(), 0);
    log.apply(LEVEL, ClusterCommand::from(LeaseKeys { node: NodeId(1), count: 1 }));
    assert!(log.machine.pending_bytes() > 0);
    log.checkpoint();
    assert_eq!(log.machine.pending_bytes(), 0);
}

//! How links share records, and what becomes of a record when links leave it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;

use waypost_protocol::command::{Create, Delete, Edit, ShardCommand, ShardOutcome};
use waypost_protocol::{Code, Fields, LinkKey, LinkPatch, LinkSpec, Target};
use waypost_store::Tree;
use waypost_store::machine::{Machine, ShardMachine, verify_tree};

use super::shards::{at, filled, open};

/// A block: the slots in it, each with the bytes that it takes.
type Block = Vec<(u32, usize)>;

/// A version before the payload, and a checksum behind it.
const ENVELOPE: usize = 17;

/// The most bytes of a block of several links.
const BLOCK: usize = 2200;

fn blocks(tree: &Tree) -> BTreeMap<u32, Block> {
    let mut found = BTreeMap::new();
    for record in tree.scan_prefix(b"b") {
        let (key, value) = record.unwrap();
        let mut rest = &value[1..value.len() - (ENVELOPE - 1)];
        let mut block = Block::new();
        while let [a, b, c, d, low, high, behind @ ..] = rest {
            let length = u16::from_le_bytes([*low, *high]) as usize;
            block.push((u32::from_le_bytes([*a, *b, *c, *d]), 6 + length));
            rest = &behind[length..];
        }
        assert!(rest.is_empty());
        found.insert(u32::from_be_bytes(key[1..].try_into().unwrap()), block);
    }
    found
}

fn bytes(block: &Block) -> usize {
    block.iter().map(|(_, bytes)| bytes).sum()
}

/// In a shard of `filled`, slots are given in the order of the links.
fn key_in(slot: u32) -> LinkKey {
    LinkKey::new(Code::parse_slug(&format!("code{slot}")).unwrap())
}

fn delete(machine: &mut ShardMachine, slots: &[(u32, usize)]) {
    for (slot, _) in slots {
        let delete = Delete { key: key_in(*slot), if_version: None };
        machine.apply(9000 + u64::from(*slot), &at(1, delete.into())).unwrap();
    }
}

#[test]
fn links_are_packed_into_blocks_of_two_kilobytes() {
    let dir = tempfile::tempdir().unwrap();
    let tree = open(dir.path()).tree("sm/1").unwrap();
    filled(tree.clone(), 500);
    let blocks = blocks(&tree);
    assert_eq!(blocks.keys().copied().collect::<Vec<_>>(), (0..blocks.len() as u32).collect::<Vec<_>>());
    let slots: Vec<u32> = blocks.values().flatten().map(|(slot, _)| *slot).collect();
    assert_eq!(slots, (0..500).collect::<Vec<_>>());
    for (number, block) in &blocks {
        assert!(bytes(block) <= BLOCK, "block {number} has {} bytes", bytes(block));
        // Closed only because the next link did not fit.
        if let Some(next) = blocks.get(&(number + 1)) {
            assert!(bytes(block) + next[0].1 > BLOCK, "block {number} has {} bytes", bytes(block));
        }
    }
}

fn create(number: u32, length: usize) -> ShardCommand {
    let mut fields = Fields::default();
    fields.set(1, Some(vec![7; length]));
    let target = Target::parse("https://example.com/", &[], 100).unwrap();
    let (idempotency, created_by, generated, find_existing) = (None, 0, false, false);
    let spec = LinkSpec { target, valid_until: None, fields };
    Create { key: key_in(number), spec, created_by, generated, find_existing, idempotency }.into()
}

#[test]
fn a_link_that_is_longer_than_a_block_has_one_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let tree = open(dir.path()).tree("sm/1").unwrap();
    let (mut machine, _) = ShardMachine::open(tree.clone()).unwrap();
    for (number, length) in [(0, 10), (1, 9000), (2, 10), (3, 10)] {
        machine.apply(u64::from(number), &at(1, create(number, length))).unwrap();
    }
    machine.checkpoint(b"x").unwrap();
    let slots = |block: &Block| block.iter().map(|(slot, _)| *slot).collect::<Vec<_>>();
    assert_eq!(blocks(&tree).values().map(slots).collect::<Vec<_>>(), [vec![0], vec![1], vec![2, 3]]);
}

#[test]
fn the_largest_link_takes_twenty_kilobytes() {
    let dir = tempfile::tempdir().unwrap();
    let tree = open(dir.path()).tree("sm/1").unwrap();
    let (mut machine, _) = ShardMachine::open(tree.clone()).unwrap();
    let mut is_created = |length: &usize| {
        let outcome = machine.apply(1, &at(1, create(0, *length))).unwrap().remove(0);
        assert!(matches!(outcome, ShardOutcome::Created(_) | ShardOutcome::LinkTooLarge { max: 20_480 }));
        matches!(outcome, ShardOutcome::Created(_))
    };
    let length = (20_000..20_600).rev().find(&mut is_created).unwrap();
    assert!(length < 20_599);
    // It can be edited as long as it stays as large.
    for (length, fits) in [(length, true), (length + 1, false)] {
        let mut patch = LinkPatch::default();
        patch.fields.set(1, Some(vec![8; length]));
        let edit = ShardCommand::from(Edit { key: key_in(0), if_version: None, patch, by: None });
        let outcome = machine.apply(1, &at(1, edit)).unwrap().remove(0);
        assert_eq!(matches!(outcome, ShardOutcome::Edited(_)), fits, "{outcome:?}");
    }
    machine.checkpoint(b"x").unwrap();
    assert_eq!(bytes(&blocks(&tree)[&0]), 20 * 1024);
}

#[test]
fn a_block_stays_where_it_is_until_three_quarters_of_it_are_free_and_then_its_links_move() {
    let dir = tempfile::tempdir().unwrap();
    let tree = open(dir.path()).tree("sm/1").unwrap();
    let mut machine = filled(tree.clone(), 500);
    let before = blocks(&tree);
    let newest = *before.last_key_value().unwrap().0;
    // The fewest of the first block's links that are a quarter of a block.
    let first = &before[&0];
    let kept = (0..).find(|kept| bytes(&first[..*kept].to_vec()) >= BLOCK / 4).unwrap();
    delete(&mut machine, &first[kept..]);
    machine.checkpoint(b"x").unwrap();
    let after = blocks(&tree);
    assert_eq!(after[&0], first[..kept]);
    assert_eq!((after.len(), after.last_key_value().unwrap().0), (before.len(), &newest), "nothing else has changed");
    // One less is too few.
    delete(&mut machine, &first[kept - 1..kept]);
    machine.checkpoint(b"x").unwrap();
    let last = blocks(&tree);
    assert!(!last.contains_key(&0));
    assert_eq!(last[&(newest + 1)], first[..kept - 1]);
    for machine in [machine, ShardMachine::open(tree.clone()).unwrap().0] {
        assert_eq!(machine.links(), 500 - first.len() + kept - 1);
        for (slot, _) in &first[..kept - 1] {
            assert!(machine.get(&key_in(*slot)).unwrap().is_some());
        }
    }
    assert_eq!(verify_tree(&tree).unwrap().1, Vec::<String>::new());
}

//! Damage to records, snapshots and pages: it is noticed, and nothing is made of it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use smallvec::smallvec;
use waypost_protocol::clicks::{ClickDelta, Tally};
use waypost_protocol::{Code, LinkKey, UnixMs};
use waypost_store::machine::{Machine, ShardMachine, scrub_tree, snapshot, verify_tree};
use waypost_store::{Db, StoreError};

use super::shards::{at, clicks, filled, open, visitor};

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

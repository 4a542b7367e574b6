//! What a power cut would leave: the kernel says which pages of a journal are not on disk yet.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;

use nix::sys::statfs::{TMPFS_MAGIC, statfs};
use proptest::prelude::*;
use waypost_journal::{Journal, Writer};

/// Sixteen pages of slots, behind the page of the header.
const SLOTS: u64 = 16 * 128;

/// A journal in a directory of the build, which is on a disk.
fn fresh() -> (tempfile::TempDir, Writer, Journal) {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let (writer, journal) = Journal::create(dir.path(), 0xABCD, SLOTS).unwrap();
    (dir, writer, journal)
}

/// A file system in memory never writes anything back.
#[expect(clippy::print_stdout, reason = "who runs the tests has to see it")]
fn is_on_disk() -> bool {
    let on_disk = statfs(env!("CARGO_TARGET_TMPDIR")).unwrap().filesystem_type() != TMPFS_MAGIC;
    if !on_disk {
        let why = "the build directory is in memory (tmpfs)";
        assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "{why}; under CI that is a failure");
        println!("SKIPPED: {why}");
    }
    on_disk
}

/// The kilobytes of the journals in a directory that were changed in memory, and are not written back.
fn not_on_disk(dir: &Path) -> u64 {
    let (mut kilobytes, mut mappings, mut ours) = (0, 0, false);
    for line in std::fs::read_to_string("/proc/self/smaps").unwrap().lines() {
        let mut words = line.split_whitespace();
        let first = words.next().unwrap();
        if !first.ends_with(':') {
            ours = line.contains(dir.to_str().unwrap());
            mappings += u64::from(ours);
        } else if ours && matches!(first, "Shared_Dirty:" | "Private_Dirty:") {
            kilobytes += words.next().unwrap().parse::<u64>().unwrap();
        }
    }
    assert_eq!(mappings, 1, "the journal is mapped once");
    kilobytes
}

#[test]
fn a_new_journal_is_on_disk_before_anything_is_appended() {
    if !is_on_disk() {
        return;
    }
    let (dir, writer, _journal) = fresh();
    assert_eq!(not_on_disk(dir.path()), 0);
    assert!(writer.append([1, 2, 3 << 4], b"text"));
    assert!(not_on_disk(dir.path()) > 0, "this shows nothing: the kernel does not tell");
}

#[test]
fn a_sync_without_entries_writes_what_was_released() {
    if !is_on_disk() {
        return;
    }
    let (dir, writer, journal) = fresh();
    (0..300).for_each(|i| assert!(writer.append([i, 0, 0], b"")));
    journal.sync().unwrap();
    assert_eq!(not_on_disk(dir.path()), 0);
    journal.release(200);
    assert!(not_on_disk(dir.path()) > 0);
    journal.sync().unwrap();
    assert_eq!(not_on_disk(dir.path()), 0);
}

#[test]
fn a_sync_of_a_whole_round_of_the_ring_leaves_nothing_behind() {
    if !is_on_disk() {
        return;
    }
    let (dir, writer, journal) = fresh();
    for round in 1..4 {
        (0..SLOTS).for_each(|i| assert!(writer.append([i, 0, 0], b"")));
        assert!(!writer.append([0, 0, 0], b""));
        journal.release(round * SLOTS);
        journal.sync().unwrap();
        assert_eq!(not_on_disk(dir.path()), 0, "round {round}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn after_a_sync_nothing_of_a_journal_is_in_memory_only(
        rounds in prop::collection::vec((0u64..900, 0usize..60, any::<bool>()), 1..12),
    ) {
        if !is_on_disk() {
            return Ok(());
        }
        let (dir, writer, journal) = fresh();
        for (count, text, released) in rounds {
            for i in 0..count {
                writer.append([i, 0, 0], &vec![b'x'; text]);
            }
            if released {
                journal.release(journal.head());
            }
            journal.sync().unwrap();
            prop_assert_eq!(not_on_disk(dir.path()), 0);
        }
    }
}

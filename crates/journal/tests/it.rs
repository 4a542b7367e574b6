//! Which entries a journal keeps, and which bytes it does not accept as an entry.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use waypost_journal::{Journal, TEXT_BYTES_MAX, Writer};

type Entry = ([u64; 3], Vec<u8>);

fn fresh(slots: u64) -> (tempfile::TempDir, Writer, Journal) {
    let dir = tempfile::tempdir().unwrap();
    let (writer, journal) = Journal::create(dir.path(), 0xABCD, slots).unwrap();
    (dir, writer, journal)
}

fn file(dir: &Path) -> PathBuf {
    std::fs::read_dir(dir).unwrap().next().unwrap().unwrap().path()
}

fn entries(journal: &Journal) -> Vec<Entry> {
    let mut found = Vec::new();
    journal.read(journal.released(), journal.head(), |_, words, text| {
        let end = text.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        found.push((words, text[..end].to_vec()));
    });
    found
}

proptest! {
    #[test]
    fn what_was_appended_is_there_after_the_process_died(
        written in prop::collection::vec((any::<[u64; 3]>(), "[a-z]{0,200}"), 0..60),
    ) {
        let (dir, writer, journal) = fresh(1000);
        let mut expected = Vec::new();
        for (words, text) in &written {
            prop_assert!(writer.append(*words, text.as_bytes()));
            let kept = &text.as_bytes()[..text.len().min(TEXT_BYTES_MAX)];
            expected.push(([words[0], words[1], words[2] & !0xF], kept.to_vec()));
        }
        prop_assert_eq!(entries(&journal), expected.clone());
        // Nothing is closed or flushed: this is all that a killed process leaves.
        prop_assert_eq!(entries(&Journal::open(&file(dir.path())).unwrap()), expected);
    }

    #[test]
    fn the_ring_goes_round_without_mixing_rounds(
        rounds in prop::collection::vec((1usize..20, 0usize..60), 1..60),
    ) {
        let (dir, writer, journal) = fresh(64);
        let (mut next, mut read) = (0u64, 0u64);
        for (count, text) in rounds {
            for _ in 0..count {
                if writer.append([next, 0, 0], &vec![b'x'; text]) {
                    next += 1;
                }
            }
            let again = Journal::open(&file(dir.path())).unwrap();
            prop_assert_eq!(again.head(), journal.head());
            prop_assert_eq!(entries(&again), entries(&journal));
            journal.read(journal.released(), journal.head(), |position, words, _| {
                assert_eq!(words[0], read);
                read += 1;
                journal.release(position);
            });
            journal.sync().unwrap();
            prop_assert_eq!(read, next);
        }
    }

    #[test]
    fn a_torn_slot_ends_the_journal_and_is_never_an_entry(torn in 0u64..40, byte in 0u64..32, bit in 0u8..8) {
        let (dir, writer, _journal) = fresh(64);
        for i in 0..40 {
            writer.append([i, i, 0], b"");
        }
        let path = file(dir.path());
        let disk = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        let at = 4096 + torn * 32 + byte;
        let mut old = [0];
        disk.read_exact_at(&mut old, at).unwrap();
        disk.write_all_at(&[old[0] ^ 1 << bit], at).unwrap();
        let found = entries(&Journal::open(&path).unwrap());
        prop_assert_eq!(found.len() as u64, torn);
    }
}

#[test]
fn a_full_journal_takes_nothing_more_until_something_is_released() {
    let (_dir, writer, journal) = fresh(8);
    for i in 0..8 {
        assert!(writer.append([i, 0, 0], b""));
    }
    assert!(!writer.append([9, 0, 0], b""));
    journal.release(2);
    assert!(!writer.append([9, 0, 0], b""), "a power cut could take the release back");
    journal.sync().unwrap();
    assert!(!writer.append([9, 0, 0], &[b'x'; 50]), "its text does not fit");
    assert!(writer.append([9, 0, 0], &[b'x'; 20]));
    assert!(!writer.append([9, 0, 0], b""));
}

#[test]
fn what_was_released_is_not_read_again() {
    let (dir, writer, journal) = fresh(8);
    for i in 0..6 {
        writer.append([i, 0, 0], b"");
    }
    journal.release(4);
    let again = Journal::open(&file(dir.path())).unwrap();
    assert_eq!(entries(&again).iter().map(|(words, _)| words[0]).collect::<Vec<_>>(), [4, 5]);
    again.remove().unwrap();
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn a_file_that_is_no_journal_is_refused_with_a_reason() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.clicks");
    for (bytes, reason) in [
        (vec![], "empty"),
        (vec![7; 100], "too short"),
        (vec![7; 8192], "no journal"),
        (vec![0; 5000], "its creation was interrupted"),
    ] {
        std::fs::write(&path, bytes).unwrap();
        let refused = Journal::open(&path).err().unwrap().to_string();
        assert!(refused.contains(reason), "{refused}");
    }
    let (_writer, _journal) = Journal::create(dir.path(), 5, 16).unwrap();
    let path = dir.path().join("0000000000000005.clicks");
    let disk = OpenOptions::new().write(true).open(&path).unwrap();
    disk.write_all_at(&[2], 8).unwrap();
    assert!(Journal::open(&path).err().unwrap().to_string().contains("version 2"));
    disk.write_all_at(&[1], 8).unwrap();
    disk.write_all_at(&[9], 16).unwrap();
    assert!(Journal::open(&path).err().unwrap().to_string().contains("damaged"));
}

#[test]
fn another_journals_entries_are_not_its_own() {
    let (dir, writer, _journal) = fresh(16);
    let (other, _) = Journal::create(dir.path(), 0xEF, 16).unwrap();
    for i in 0..10 {
        writer.append([i, 0, 0], b"");
        other.append([100 + i, 0, 0], b"");
    }
    let (one, two) = (dir.path().join("000000000000abcd.clicks"), dir.path().join("00000000000000ef.clicks"));
    let slots = std::fs::read(&two).unwrap()[4096..].to_vec();
    OpenOptions::new().write(true).open(&one).unwrap().write_all_at(&slots, 4096).unwrap();
    assert!(entries(&Journal::open(&one).unwrap()).is_empty());
}

#[test]
fn syncing_follows_the_ring() {
    let (_dir, writer, journal) = fresh(8);
    for i in 0..30 {
        assert!(writer.append([i, 0, 0], b""));
        journal.release(journal.head());
        journal.sync().unwrap();
    }
    journal.sync().unwrap();
}

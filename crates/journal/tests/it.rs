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
        (vec![0; 4095], "too short"),
        (vec![7; 8192], "no journal"),
        // Zeros where a journal says what it is, and something behind them.
        ([vec![0; 8], vec![7; 8184]].concat(), "no journal"),
        (vec![0; 4096], "its creation was interrupted"),
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
fn a_journal_that_lost_its_end_or_grew_is_damaged() {
    for bytes in [4096 + 15 * 32, 4096 + 17 * 32] {
        let (dir, writer, _journal) = fresh(16);
        assert!(writer.append([1, 2, 0], b""));
        OpenOptions::new().write(true).open(file(dir.path())).unwrap().set_len(bytes).unwrap();
        assert!(Journal::open(&file(dir.path())).err().unwrap().to_string().contains("damaged"), "{bytes}");
    }
}

#[test]
fn a_journal_is_a_header_and_its_slots_and_knows_its_id_and_their_number() {
    let (dir, _writer, journal) = fresh(24);
    assert_eq!(std::fs::metadata(file(dir.path())).unwrap().len(), 4096 + 24 * 32);
    let again = Journal::open(&file(dir.path())).unwrap();
    for journal in [journal, again] {
        assert_eq!((journal.id(), journal.slots(), journal.head(), journal.released()), (0xABCD, 24, 0, 0));
    }
}

#[test]
fn a_text_of_192_bytes_is_kept_whole_and_of_a_longer_one_what_is_beyond_is_cut_off() {
    let (_dir, writer, journal) = fresh(64);
    for length in [24, 25, 191, 192, 193, 500] {
        assert!(writer.append([length as u64, 0, 0], &vec![b'x'; length]));
    }
    let lengths: Vec<usize> = entries(&journal).iter().map(|(_, text)| text.len()).collect();
    assert_eq!(lengths, [24, 25, 191, 192, 192, 192]);
}

#[test]
fn reading_ends_at_the_given_position_and_before_an_entry_that_goes_beyond_it() {
    let (_dir, writer, journal) = fresh(64);
    let words = |number: u64| [number, u64::MAX - number, number << 4];
    writer.append(words(1), b"");
    writer.append(words(2), &[b'x'; 40]);
    writer.append(words(3), b"");
    let read = |from, to| {
        let mut found = Vec::new();
        let end = journal.read(from, to, |next, words, _| found.push((next, words)));
        (end, found)
    };
    // The second entry has two slots of text.
    assert_eq!(read(0, 5), (5, vec![(1, words(1)), (4, words(2)), (5, words(3))]));
    assert_eq!(read(1, 4), (4, vec![(4, words(2))]));
    assert_eq!(read(1, 3), (1, vec![]), "its text ends behind the position");
    assert_eq!(read(2, 5), (2, vec![]), "a slot of text is no entry");
    assert_eq!(read(5, 5), (5, vec![]));
    assert_eq!(read(5, 6), (5, vec![]), "nothing was appended there");
}

#[test]
fn a_release_never_goes_back() {
    let (dir, writer, journal) = fresh(8);
    (0..6).for_each(|i| assert!(writer.append([i, 0, 0], b"")));
    for (position, released) in [(3, 3), (2, 3), (0, 3), (5, 5)] {
        journal.release(position);
        assert_eq!(journal.released(), released);
    }
    assert_eq!(Journal::open(&file(dir.path())).unwrap().released(), 5);
}

#[test]
fn a_full_ring_is_found_whole_wherever_it_begins() {
    for released in [0, 3, 8, 13] {
        let (dir, writer, journal) = fresh(8);
        for i in 0..released {
            assert!(writer.append([i, 0, 0], b""));
            journal.release(i + 1);
            journal.sync().unwrap();
        }
        (released..released + 8).for_each(|i| assert!(writer.append([i, 0, 0], b"")));
        let again = Journal::open(&file(dir.path())).unwrap();
        assert_eq!((again.released(), again.head()), (released, released + 8));
        let found: Vec<u64> = entries(&again).iter().map(|(words, _)| words[0]).collect();
        assert_eq!(found, (released..released + 8).collect::<Vec<_>>());
    }
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

//! The files beside the database: backups, snapshots that come in, the note of commits; and the log's records by their bytes.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use waypost_protocol::UnixMs;
use waypost_store::archive::{self, ArchiveHead, ArchiveSum};
use waypost_store::machine::incoming::{Incoming, install_path};
use waypost_store::machine::snapshot;
use waypost_store::{Batch, Db, DbOptions, LogStore, Space, SpaceWatch, StoreError, Tree, create_durably};
use waypost_telemetry::Metrics;

fn open(dir: &Path) -> Db {
    Db::open(dir, &DbOptions { cache_bytes: 8 << 20, ..DbOptions::default() }, &Metrics::new()).unwrap()
}

/// A record of a machine's tree.
fn put(tree: &Tree, key: &[u8], payload: &[u8]) {
    let context = [tree.name().as_bytes(), b"/", key].concat();
    tree.insert(key, waypost_protocol::seal(&context, 1, payload)).unwrap();
}

fn fill(tree: &Tree, from: u16, count: u16) {
    for number in from..from + count {
        put(tree, &number.to_be_bytes(), &[number as u8; 700]);
    }
}

fn records(tree: &Tree) -> Vec<(Vec<u8>, Vec<u8>)> {
    tree.scan_prefix(b"").map(|record| record.unwrap()).map(|(key, value)| (key.to_vec(), value.to_vec())).collect()
}

fn head() -> ArchiveHead {
    ArchiveHead {
        created_at: UnixMs(1_800_000_000_000),
        version: "1.2.3".to_owned(),
        cluster: [7; 16],
        name: "here".to_owned(),
        groups: 2,
    }
}

/// An archive of a head and the trees of two groups.
fn archived(db: &Db, head: &ArchiveHead, dir: &Path) -> Vec<u8> {
    let mut bytes = head.encode();
    for group in 0..head.groups.min(2) {
        let path = dir.join(format!("{group}.snap"));
        let tree = db.tree(&format!("sm/{group}")).unwrap();
        snapshot::export(&tree, group, b"there", &fs::File::create(&path).unwrap(), 0).unwrap();
        bytes.extend(fs::read(path).unwrap());
    }
    let mut sum = ArchiveSum::default();
    let (start, rest) = bytes.split_at(bytes.len() / 3);
    sum.add(start);
    sum.add(rest);
    bytes.extend(sum.end());
    bytes
}

#[test]
fn a_backup_brings_every_record_to_another_database() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (from, to) = (open(one.path()), open(two.path()));
    let trees = [from.tree("sm/0").unwrap(), from.tree("sm/1").unwrap()];
    fill(&trees[0], 0, 3);
    fill(&trees[1], 0, 900);
    let bytes = archived(&from, &head(), one.path());
    assert_eq!(&bytes[..8], b"waypost\x01");
    assert_eq!(blake3::hash(&bytes[..bytes.len() - 32]).as_bytes()[..], bytes[bytes.len() - 32..]);
    assert_eq!(archive::verify(&bytes[..]).unwrap(), (head(), 903));
    assert_eq!(archive::import(&to, &bytes[..]).unwrap(), head());
    for tree in trees {
        assert_eq!(records(&to.tree(tree.name()).unwrap()), records(&tree), "{}", tree.name());
    }
}

#[test]
fn a_backup_that_is_damaged_cut_short_or_longer_is_refused_with_the_reason() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path());
    fill(&db.tree("sm/0").unwrap(), 0, 3);
    fill(&db.tree("sm/1").unwrap(), 0, 3);
    let sound = archived(&db, &head(), dir.path());
    let why = |bytes: &[u8]| archive::verify(bytes).unwrap_err().to_string();
    for cut in 0..sound.len() {
        let why = why(&sound[..cut]);
        assert!(cut >= 8 || why.contains("cut short"), "{cut}: {why}");
        let mut damaged = sound.clone();
        damaged[cut] ^= 1;
        assert!(archive::verify(&damaged[..]).is_err(), "{cut}");
    }
    assert!(why(b"wayposts and more").contains("does not begin"));
    assert!(why(&[&sound[..], b"!"].concat()).contains("the sum"));
    for groups in [0, (1 << 16) + 1] {
        let refused = why(&ArchiveHead { groups, ..head() }.encode());
        assert!(refused.contains(&format!("cannot have {groups} groups")), "{refused}");
    }
    // So many are possible; they are not there.
    assert!(!why(&ArchiveHead { groups: 1 << 16, ..head() }.encode()).contains("cannot have"));
    let payload = postcard::to_stdvec(&head()).unwrap();
    let sealed = waypost_protocol::seal(b"waypost backup", 9, &payload);
    let newer = [b"waypost\x01", &(sealed.len() as u32).to_le_bytes()[..], &sealed].concat();
    assert!(matches!(archive::verify(&newer[..]), Err(StoreError::UnknownVersion { version: 9, .. })));
}

#[test]
fn a_copy_of_a_tree_has_all_its_records_and_takes_none_that_is_damaged() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (from, to) = (open(one.path()).tree("sm/1").unwrap(), open(two.path()).tree("sm/1").unwrap());
    // Two batches, and what is left.
    fill(&from, 0, 600);
    archive::copy(&from, &to).unwrap();
    assert_eq!(records(&to), records(&from));
    from.insert(b"damaged", vec![1; 40]).unwrap();
    assert!(matches!(archive::copy(&from, &to), Err(StoreError::Corrupt { .. })));
}

#[test]
fn a_snapshot_comes_in_piece_by_piece_and_replaces_the_state() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let from = open(one.path()).tree("sm/1").unwrap();
    fill(&from, 0, 2000);
    let file = one.path().join("snap");
    snapshot::export(&from, 1, b"there", &fs::File::create(&file).unwrap(), 0).unwrap();
    let bytes = fs::read(file).unwrap();

    let to = open(two.path()).tree("sm/1").unwrap();
    fill(&to, 1500, 3000);
    let names = || -> Vec<String> {
        let files = fs::read_dir(two.path()).unwrap().flatten();
        let names = files.map(|file| file.file_name().to_string_lossy().into_owned());
        names.filter(|name| name.ends_with(".snap")).collect()
    };
    let incoming = Incoming::new(to.clone(), 1, two.path().to_owned());
    // Of an earlier transfer, longer than this one.
    incoming.write(0, &vec![9; bytes.len() + 100]).unwrap();
    incoming.clear().unwrap();
    incoming.clear().unwrap();
    assert_eq!(names(), Vec::<String>::new());
    let (start, rest) = bytes.split_at(100_000);
    incoming.write(0, start).unwrap();
    incoming.write(start.len() as u64, rest).unwrap();
    assert_eq!(names(), ["receive-1.snap"]);
    let received = incoming.complete().unwrap();
    assert_eq!((names(), fs::read(&received).unwrap() == bytes), (vec!["received-1.snap".to_owned()], true));
    assert!(!incoming.is_staged());
    incoming.stage(&received).unwrap();
    assert!(incoming.is_staged() && install_path(two.path(), 1).exists() && !received.exists());
    incoming.import().unwrap();
    assert_eq!(records(&to), records(&from));
    incoming.discard().unwrap();
    assert!(!incoming.is_staged());
    incoming.discard().unwrap();
    // A damaged one is not staged, and what cannot be removed is told.
    let damaged = two.path().join("damaged");
    fs::write(&damaged, &bytes[..bytes.len() - 1]).unwrap();
    assert!(incoming.stage(&damaged).is_err() && !incoming.is_staged());
    fs::create_dir(install_path(two.path(), 1)).unwrap();
    assert!(incoming.discard().is_err());
}

#[test]
fn records_of_the_log_have_the_bytes_and_the_bounds_that_are_documented() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path());
    let log = LogStore::open(&db, 3).unwrap();
    assert_eq!(log.name(), "log/3");
    log.append((5..9).map(|index| (index, vec![index as u8; 10]))).unwrap();
    log.put_meta("vote", b"me").unwrap();
    let tree = db.tree("log/3").unwrap();
    let stored = |key: &[u8], payload: &[u8]| {
        let context = [b"log/3/", key].concat();
        assert_eq!(tree.get(key).unwrap().as_deref(), Some(&waypost_protocol::seal(&context, 1, payload)[..]));
    };
    stored(b"e\0\0\0\0\0\0\0\x05", &[5; 10]);
    stored(b"mvote", b"me");
    // At least one entry, and no more once so many bytes are there.
    for (max, expected) in [(0, 1), (10, 1), (11, 2), (20, 2), (21, 3), (1000, 4)] {
        assert_eq!(log.read(0..100, max).unwrap().len(), expected, "{max}");
    }
    assert_eq!(log.read(6..8, 1000).unwrap(), [(6, vec![6; 10]), (7, vec![7; 10])]);
    assert_eq!(log.read(8..8, 1000).unwrap(), []);
    tree.insert(b"e\0\0\0\0\0\0\0\x06", vec![0; 30]).unwrap();
    assert!(log.read(6..7, 10).unwrap_err().to_string().contains("log/3 entry 6"));
    let newer = waypost_protocol::seal(b"log/3/mvote", 2, b"me");
    tree.insert(b"mvote", newer).unwrap();
    let error = log.get_meta("vote").unwrap_err();
    assert!(
        matches!(&error, StoreError::UnknownVersion { what, version: 2 } if what == "log/3 record mvote"),
        "{error}"
    );
    let (count, damaged) = log.verify().unwrap();
    assert_eq!((count, damaged.len()), (5, 2));
}

#[test]
fn a_purge_and_a_truncation_end_where_they_are_told_to() {
    let dir = tempfile::tempdir().unwrap();
    let log = LogStore::open(&open(dir.path()), 3).unwrap();
    log.append((0..=1024).map(|index| (index, vec![1]))).unwrap();
    let ends = || (log.first_index().unwrap(), log.last_index().unwrap());
    assert_eq!(ends(), (Some(0), Some(1024)));
    log.purge_to(0).unwrap();
    assert_eq!(ends(), (Some(1), Some(1024)));
    log.purge_to(512).unwrap();
    log.truncate_from(1024).unwrap();
    assert_eq!(ends(), (Some(513), Some(1023)));
    log.truncate_from(2000).unwrap();
    log.purge_to(5).unwrap();
    assert_eq!(ends(), (Some(513), Some(1023)));
    log.purge_to(u64::MAX).unwrap();
    assert_eq!(ends(), (None, None));
}

#[test]
fn a_database_with_fewer_commits_than_were_noted_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let note = dir.path().join("committed");
    let noted = || u64::from_le_bytes(fs::read(&note).unwrap()[..8].try_into().unwrap());
    {
        let db = open(dir.path());
        assert_eq!(noted(), 0);
        for commits in 1..=3 {
            db.tree("numbers").unwrap().insert(b"key", vec![1]).unwrap();
            db.commit().wait_blocking().unwrap();
            assert_eq!(noted(), commits);
        }
        db.close().unwrap();
    }
    let count = noted();
    let write = |count: u64, check: u64| fs::write(&note, [count.to_le_bytes(), check.to_le_bytes()].concat()).unwrap();
    // The commit threads give the database up a moment after its last handle.
    let deadline = Instant::now() + Duration::from_secs(30);
    let reopened = || loop {
        match Db::open(dir.path(), &DbOptions::default(), &Metrics::new()) {
            Err(StoreError::Locked { .. }) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(5)),
            opened => return opened.map(drop),
        }
    };
    // As many, fewer after a power cut, or a torn note: made anew.
    for (noted_now, check) in [(count, !count), (count - 1, !(count - 1)), (count + 5, 0)] {
        write(noted_now, check);
        reopened().unwrap();
    }
    assert_eq!(noted(), count);
    fs::write(&note, [1; 15]).unwrap();
    reopened().unwrap();
    assert_eq!(fs::read(&note).unwrap(), [count.to_le_bytes(), (!count).to_le_bytes()].concat());
    write(count + 1, !(count + 1));
    let lost = reopened().unwrap_err();
    assert!(matches!(lost, StoreError::Lost { noted, found, .. } if (noted, found) == (count + 1, count)), "{lost}");
}

#[test]
fn directories_are_made_with_those_above_them_and_files_in_the_way_are_told() {
    let dir = tempfile::tempdir().unwrap();
    create_durably(&dir.path().join("a/b/c")).unwrap();
    create_durably(&dir.path().join("a/b/c")).unwrap();
    assert!(dir.path().join("a/b/c").is_dir());
    fs::write(dir.path().join("file"), b"").unwrap();
    assert!(create_durably(&dir.path().join("file/below")).is_err());
}

#[test]
fn a_batch_counts_its_changes_and_makes_them_together() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path());
    let tree = db.tree("numbers").unwrap();
    tree.insert(b"old", vec![1]).unwrap();
    let mut batch = Batch::default();
    assert!(batch.is_empty());
    assert_eq!(batch.len(), 0);
    batch.insert(b"one", vec![1]);
    batch.insert(b"two", vec![2]);
    batch.remove(b"old");
    assert!(!batch.is_empty());
    assert_eq!(batch.len(), 3);
    tree.apply(batch).unwrap();
    let keys: Vec<Vec<u8>> = tree.scan_prefix(b"").map(|record| record.unwrap().0.to_vec()).collect();
    assert_eq!(keys, [b"one".to_vec(), b"two".to_vec()]);
    let backwards: Vec<Vec<u8>> = tree.range_from(b"on").rev().map(|record| record.unwrap().0.to_vec()).collect();
    assert_eq!(backwards, [b"two".to_vec(), b"one".to_vec()]);
    assert!(db.tree_names().contains(&"numbers".to_owned()));
    let files: u64 =
        fs::read_dir(dir.path().join("store")).unwrap().flatten().map(|file| file.metadata().unwrap().len()).sum();
    assert_eq!(db.size_on_disk(), files);
    let max = waypost_store::VALUE_BYTES_MAX;
    tree.insert(b"largest", vec![0; max]).unwrap();
    assert!(matches!(tree.insert(b"more", vec![0; max + 1]), Err(StoreError::TooLarge { .. })));
    let mut batch = Batch::default();
    batch.insert(b"more", vec![0; max + 1]);
    batch.insert(b"small", vec![0]);
    assert!(matches!(tree.apply(batch), Err(StoreError::TooLarge { .. })));
    assert_eq!((tree.get(b"more").unwrap(), tree.get(b"small").unwrap(), db.failure()), (None, None, None));
}

#[test]
fn free_space_is_what_the_file_system_says() {
    let dir = tempfile::tempdir().unwrap();
    let file = fs::File::create(dir.path().join("file")).unwrap();
    let stat = nix::sys::statvfs::fstatvfs(&file).unwrap();
    let space = SpaceWatch::new(dir.path()).check().unwrap();
    assert_eq!(space.total_bytes, stat.blocks() * stat.fragment_size());
    // Others write meanwhile; a wrong unit is off by orders of magnitude.
    let free = stat.blocks_available() * stat.fragment_size();
    for seen in [space.free_bytes, Space::of(&file).unwrap().free_bytes] {
        assert!(seen.abs_diff(free) < free / 2, "{seen} of {free}");
    }
}

/// The lengths of the chunks of a snapshot, without those that stand before them.
fn chunks(bytes: &[u8]) -> Vec<usize> {
    let (mut rest, mut lengths) = (bytes, Vec::new());
    while let [a, b, c, d, behind @ ..] = rest {
        let length = u32::from_le_bytes([*a, *b, *c, *d]) as usize;
        lengths.push(length);
        rest = &behind[length..];
    }
    lengths
}

#[test]
fn a_snapshot_has_chunks_of_256_kilobytes_and_none_that_is_empty() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path());
    let file = dir.path().join("snap");
    let written = |tree: &waypost_store::Tree| {
        snapshot::export(tree, 1, b"there", &fs::File::create(&file).unwrap(), 0).unwrap();
        assert_eq!(snapshot::verify(&file, 1).unwrap(), b"there");
        chunks(&fs::read(&file).unwrap())
    };
    // A header and an end.
    assert_eq!(written(&db.tree("sm/1").unwrap()).len(), 2);
    let tree = db.tree("sm/1").unwrap();
    for number in 0..100u32 {
        let key = number.to_be_bytes();
        let context = [b"sm/1/", &key[..]].concat();
        tree.insert(&key, waypost_protocol::seal(&context, 1, &[7; 8000])).unwrap();
    }
    let lengths = written(&tree);
    let records = &lengths[1..lengths.len() - 1];
    // 33 records of 8021 bytes are more than 256 KiB, 32 are not.
    assert_eq!(records.len(), 4);
    assert!(records[..3].iter().all(|length| (33 * 8021..33 * 8021 + 1000).contains(length)), "{records:?}");
    assert!(records[3] < 8200, "{records:?}");
}

#[test]
fn a_chunk_that_says_that_it_is_too_long_is_not_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("snap");
    for (length, why) in [(512 * 1024, "cut short"), (512 * 1024 + 1, "too long"), (u32::MAX, "too long")] {
        fs::write(&path, length.to_le_bytes()).unwrap();
        let refused = snapshot::verify(&path, 1).unwrap_err().to_string();
        assert!(refused.contains(why), "{length}: {refused}");
    }
}

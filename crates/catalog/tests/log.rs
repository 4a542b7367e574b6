//! The log of the catalog's file: commits go there, and it is written into the file beside those who write and read.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on can only panic")]

mod common;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use common::{changed, found, link, open, request, shard};
use waypost_catalog::{Catalog, ShardBatch};
use waypost_protocol::Link;
use waypost_protocol::listing::LinkFilter;

/// So many pages make a log long, and so many bytes are a page with its head.
const LONG_PAGES: u64 = 4_096;
const PAGE_BYTES: u64 = 4_096 + 24;

fn bytes(dir: &Path, name: &str) -> Vec<u8> {
    std::fs::read(dir.join(name)).unwrap()
}

fn log_bytes(dir: &Path) -> u64 {
    std::fs::metadata(dir.join("links.sqlite-wal")).unwrap().len()
}

/// Tells a thread to stop when it goes out of scope.
struct StopAtEnd<'a>(&'a AtomicBool);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Writes some links in a batch of each shard.
fn write_some(catalog: &Catalog, round: u64) {
    let links: Vec<Link> =
        (0..40).map(|n| link(0, &format!("c{round}-{n}"), &format!("https://example.com/{round}/{n}"))).collect();
    for of in (0..common::SHARDS).map(waypost_protocol::ShardId) {
        let changed = links.iter().filter(|link| shard(link) == of).cloned().map(changed).collect();
        catalog.write(&ShardBatch { changed, ..ShardBatch::of(of) }).unwrap();
    }
}

#[test]
fn no_commit_writes_into_the_file_as_long_as_somebody_writes_the_log_beside() {
    let dir = tempfile::tempdir().unwrap();
    let catalog = open(dir.path(), 200).catalog;
    let before = bytes(dir.path(), "links.sqlite");
    let mut rounds = 0;
    while !catalog.has_long_log() {
        assert!(log_bytes(dir.path()) < LONG_PAGES * PAGE_BYTES * 2, "nobody says that it is long");
        write_some(&catalog, rounds);
        rounds += 1;
    }
    assert!(bytes(dir.path(), "links.sqlite") == before, "a commit wrote the log into the file");
    catalog.write_log().unwrap();
    assert!(!catalog.has_long_log() && bytes(dir.path(), "links.sqlite").len() > before.len());
    // The next commit begins the log anew.
    let length = log_bytes(dir.path());
    (rounds..rounds + 10).for_each(|round| write_some(&catalog, round));
    assert!(log_bytes(dir.path()) <= length, "{} bytes, {length} before", log_bytes(dir.path()));
    assert_eq!(found(&catalog, "c3-7"), ["c3-7"]);
    drop(catalog);
    let opened = open(dir.path(), 200);
    assert_eq!((opened.began_anew, opened.catalog.sizes().unwrap().links), (None, (rounds + 10) * 40));
}

#[test]
fn a_log_that_nobody_writes_into_the_file_does_not_grow_without_end() {
    let dir = tempfile::tempdir().unwrap();
    let catalog = open(dir.path(), 200).catalog;
    let before = bytes(dir.path(), "links.sqlite").len();
    let mut rounds = 0;
    while bytes(dir.path(), "links.sqlite").len() == before {
        write_some(&catalog, rounds);
        rounds += 1;
        assert!(log_bytes(dir.path()) < 3 * LONG_PAGES * PAGE_BYTES, "{} bytes", log_bytes(dir.path()));
    }
    assert_eq!(catalog.sizes().unwrap().links, rounds * 40);
}

#[test]
fn a_writer_waits_while_somebody_else_has_the_lock_of_writers() {
    let dir = tempfile::tempdir().unwrap();
    let catalog = open(dir.path(), 200).catalog;
    write_some(&catalog, 0);
    let (locked, is_locked) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let other = rusqlite::Connection::open(dir.path().join("links.sqlite")).unwrap();
            other.execute_batch("BEGIN IMMEDIATE").unwrap();
            locked.send(()).unwrap();
            // Far less than a writer waits, and long enough for the one below to begin. If it begins later, the test shows nothing, and does not fail.
            std::thread::sleep(std::time::Duration::from_millis(200));
            other.execute_batch("ROLLBACK").unwrap();
        });
        is_locked.recv().unwrap();
        write_some(&catalog, 1);
    });
    assert_eq!(catalog.page(&request(LinkFilter::default())).unwrap().matches.unwrap().total, 80);
}

#[test]
fn links_are_written_and_listed_while_the_log_is_written_into_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let catalog = open(dir.path(), 200).catalog;
    let (stop, rounds) = (AtomicBool::new(false), 150);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                catalog.write_log().unwrap();
            }
        });
        // Also if an assertion fails: the scope waits for the thread.
        let _ends = StopAtEnd(&stop);
        for round in 0..rounds {
            write_some(&catalog, round);
            let page = catalog.page(&request(LinkFilter::default())).unwrap();
            assert_eq!(page.matches.unwrap().total, (round + 1) * 40);
        }
    });
    // Another file, whose log is another one.
    catalog.begin_anew().unwrap();
    catalog.write_log().unwrap();
    write_some(&catalog, 0);
    catalog.write_log().unwrap();
    drop(catalog);
    assert_eq!(open(dir.path(), 200).catalog.sizes().unwrap().links, 40);
}

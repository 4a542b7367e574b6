//! A catalog whose file is damaged, gone, of another version, read-only or full: it says so, it begins anew, and it loses nothing that it said it had.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on can only panic")]

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use common::{changed, found, link, open, request, shard, write};
use rusqlite::Connection;
use waypost_catalog::{Catalog, CatalogError, Options, Reason, RequestError, ShardBatch};
use waypost_protocol::listing::{LinkFilter, ListPosition, SortKey, SortValue};
use waypost_protocol::{KeyHash, Link, ShardId};

const FILE: &str = "links.sqlite";

fn links(count: usize) -> impl Iterator<Item = Link> {
    (0..count).map(|number| link(0, &format!("code{number}"), &format!("https://example.com/{number}")))
}

fn filled(dir: &Path, count: usize) -> Catalog {
    let catalog = open(dir, 50).catalog;
    write(&catalog, links(count));
    while catalog.maintain().unwrap() {}
    catalog
}

#[test]
fn a_new_catalog_says_that_there_was_none_and_an_existing_one_says_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let below = dir.path().join("made/catalog");
    assert_eq!(open(&below, 8).began_anew, Some(Reason::Missing));
    assert_eq!(open(&below, 8).began_anew, None);
    let mode = fs::metadata(below.join(FILE)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_file_of_another_version_or_of_something_else_begins_anew() {
    let dir = tempfile::tempdir().unwrap();
    drop(filled(dir.path(), 3));
    let conn = Connection::open(dir.path().join(FILE)).unwrap();
    conn.execute_batch("PRAGMA user_version = 99").unwrap();
    drop(conn);
    let opened = open(dir.path(), 8);
    assert_eq!(opened.began_anew, Some(Reason::OtherVersion { found: 99 }));
    assert_eq!(opened.catalog.sizes().unwrap().links, 0);
    drop(opened);
    fs::write(dir.path().join(FILE), "this is no database, and longer than a header of one is".repeat(20)).unwrap();
    let began_anew = open(dir.path(), 8).began_anew;
    assert!(matches!(began_anew, Some(Reason::Damaged { .. })), "{began_anew:?}");
    fs::write(dir.path().join(FILE), "").unwrap();
    assert!(open(dir.path(), 8).began_anew.is_some());
    assert_eq!(open(dir.path(), 8).began_anew, None);
}

#[test]
fn garbled_pages_are_found_at_the_latest_when_they_are_read_and_the_catalog_begins_anew() {
    let dir = tempfile::tempdir().unwrap();
    let catalog = filled(dir.path(), 400);
    catalog.begin_scan(ShardId(0)).unwrap();
    while !catalog.finish_scan(ShardId(0), 9).unwrap() {}
    drop(catalog);
    let path = dir.path().join(FILE);
    let mut bytes = fs::read(&path).unwrap();
    for page in bytes.chunks_mut(4096).skip(2) {
        page.iter_mut().for_each(|byte| *byte ^= 0x5a);
    }
    fs::write(&path, bytes).unwrap();
    let opened = open(dir.path(), 50);
    let catalog = opened.catalog;
    if opened.began_anew.is_none() {
        let error = catalog.page(&request(LinkFilter::default())).unwrap_err();
        assert!(error.is_damage(), "{error}");
        // Without anybody's help, the next start begins anew.
        let reopened = open(dir.path(), 50);
        assert!(matches!(reopened.began_anew, Some(Reason::Damaged { .. })));
    }
    catalog.begin_anew().unwrap();
    assert!(catalog.positions().unwrap().is_empty());
    write(&catalog, links(60));
    assert_eq!(found(&catalog, "code59"), ["code59"]);
    drop(catalog);
    assert_eq!(open(dir.path(), 50).began_anew, None);
}

#[test]
fn a_catalog_goes_on_after_a_beginning_that_failed() {
    let dir = tempfile::tempdir().unwrap();
    let below = dir.path().join("catalog");
    let catalog = filled(&below, 10);
    fs::remove_dir_all(&below).unwrap();
    // A file stands where the directory has to be.
    fs::write(&below, "").unwrap();
    assert!(catalog.begin_anew().is_err());
    let error = catalog.write(&ShardBatch::of(ShardId(0))).unwrap_err();
    assert!(error.is_damage(), "{error}");
    fs::remove_file(&below).unwrap();
    fs::create_dir(&below).unwrap();
    catalog.begin_anew().unwrap();
    write(&catalog, links(3));
    assert_eq!(found(&catalog, "code"), ["code0", "code1", "code2"]);
}

#[test]
fn a_file_that_somebody_removed_is_missed_at_the_next_batch() {
    for name in [FILE, "links.sqlite-wal", "links.sqlite-shm"] {
        let dir = tempfile::tempdir().unwrap();
        let catalog = filled(dir.path(), 10);
        fs::remove_file(dir.path().join(name)).unwrap();
        let error = catalog.write(&ShardBatch::of(ShardId(0))).unwrap_err();
        assert!(error.is_damage() && error.to_string().contains(name), "{error}");
        assert!(catalog.page(&request(LinkFilter::default())).unwrap_err().is_damage());
        catalog.begin_anew().unwrap();
        write(&catalog, links(3));
        assert_eq!(found(&catalog, "code"), ["code0", "code1", "code2"]);
        drop(catalog);
        assert_eq!(open(dir.path(), 50).began_anew, None);
    }
}

#[test]
fn a_directory_that_cannot_be_made_is_an_error_of_the_disk_and_not_damage() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), "").unwrap();
    let error = Catalog::open(&dir.path().join("file/catalog"), Options::default()).err().unwrap();
    assert!(matches!(error, CatalogError::Files(_)) && !error.is_damage());
    // Not even root can open a directory as a file.
    fs::create_dir(dir.path().join(FILE)).unwrap();
    let error = Catalog::open(dir.path(), Options::default()).err().unwrap();
    assert!(matches!(error, CatalogError::Disk(_)) && !error.is_damage(), "{error}");
}

#[test]
fn a_full_file_refuses_a_batch_whole_and_takes_it_once_there_is_room() {
    let dir = tempfile::tempdir().unwrap();
    let catalog = filled(dir.path(), 10);
    // No more than there are.
    catalog.limit_pages(1).unwrap();
    let all: Vec<Link> = links(3_000).filter(|link| shard(link) == ShardId(1)).collect();
    let batch = ShardBatch { changed: all.iter().cloned().map(changed).collect(), ..ShardBatch::of(ShardId(1)) };
    let error = catalog.write(&batch).unwrap_err();
    assert!(matches!(error, CatalogError::Disk(_)) && !error.is_damage(), "{error}");
    assert_eq!(catalog.sizes().unwrap().links, 10);
    assert_eq!(found(&catalog, "code").len(), 10);
    catalog.limit_pages(1 << 20).unwrap();
    catalog.write(&batch).unwrap();
    let listed = catalog.page(&request(LinkFilter { text: "code2999".to_owned(), ..LinkFilter::default() })).unwrap();
    assert_eq!(listed.rows.len(), usize::from(all.iter().any(|link| link.key.code.as_str() == "code2999")));
    while catalog.maintain().unwrap() {}
    let more = all.iter().filter(|link| link.key.code.as_str().len() > 5).count();
    assert!(more > 100 && catalog.sizes().unwrap().links >= more as u64);
    assert_eq!(open(dir.path(), 50).began_anew, None);
}

#[test]
fn a_position_of_another_order_is_the_mistake_of_the_caller() {
    let dir = tempfile::tempdir().unwrap();
    let catalog = filled(dir.path(), 10);
    let mut wrong = request(LinkFilter::default());
    wrong.after = Some(ListPosition { value: SortValue::Text(String::new()), hash: KeyHash(0) });
    let error = catalog.page(&wrong).unwrap_err();
    assert!(matches!(error, CatalogError::Request(RequestError::PositionOfOtherOrder)));
    wrong.sort.key = SortKey::Slug;
    assert!(catalog.page(&wrong).unwrap().rows.is_empty(), "descending, nothing is behind the empty slug");
    wrong.sort.key = SortKey::Visits;
    wrong.after = Some(ListPosition { value: SortValue::Number(u64::MAX), hash: KeyHash(u64::MAX) });
    assert_eq!(catalog.page(&wrong).unwrap().rows.len(), 10);
    // Nobody begins anew because of it.
    drop(catalog);
    assert_eq!(open(dir.path(), 50).began_anew, None);
}

//! The lists are the same at every step of the work that is deferred.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on can only panic")]

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use common::{changed, counts, link, open, request, shard, texts, write};
use waypost_catalog::{Catalog, Changed, ShardBatch};
use waypost_protocol::listing::{LinkFilter, Sort, SortKey};
use waypost_protocol::{KeyHash, Link, ShardId, UnixMs};

const KEYS: [SortKey; 6] =
    [SortKey::CreatedAt, SortKey::EditedAt, SortKey::Title, SortKey::Slug, SortKey::Visits, SortKey::LastVisit];

/// Links of which each order has some with a value of their own, and some without.
fn links(count: u64) -> Vec<Changed> {
    links_from(0, count)
}

fn links_from(first: u64, count: u64) -> Vec<Changed> {
    let one = |number: u64| {
        let title = if number.is_multiple_of(3) { format!("Title {}", number % 7) } else { String::new() };
        let mut link = texts(link(0, &format!("code{number}"), "https://example.com/"), &title, "", &["tag"]);
        link.created_at = UnixMs(number * 37 % 100);
        let visits = number % 5;
        Changed {
            link: Arc::new(link),
            counts: counts(visits, 0, visits / 2, 0),
            edited_at: number.is_multiple_of(4).then_some(UnixMs(number * 53 % 90)),
        }
    };
    (first..first + count).map(one).collect()
}

fn write_all(catalog: &Catalog, links: &[Changed]) {
    for shard in (0..common::SHARDS).map(ShardId) {
        let changed = links.iter().filter(|changed| common::shard(&changed.link) == shard).cloned().collect();
        catalog.write(&ShardBatch { changed, ..ShardBatch::of(shard) }).unwrap();
    }
}

/// All links in each order, page by page.
fn lists(catalog: &Catalog, filter: &LinkFilter, limit: u32) -> Vec<Vec<String>> {
    let orders = KEYS.into_iter().flat_map(|key| [false, true].map(|descending| Sort { key, descending }));
    orders
        .map(|sort| {
            let (mut list, mut more) = (Vec::new(), true);
            let mut request = request(filter.clone());
            (request.sort, request.limit) = (sort, limit);
            while more {
                let page = catalog.page(&request).unwrap();
                request.after = page.rows.last().map(|row| row.position.clone());
                more = page.more;
                list.extend(page.rows.into_iter().map(|row| row.key.code.as_str().to_owned()));
            }
            list
        })
        .collect()
}

#[test]
fn every_list_is_the_same_before_between_and_after_all_steps() {
    let links = links(120);
    let filters = [LinkFilter::default(), LinkFilter { tags: vec!["TAG".to_owned()], ..LinkFilter::default() }];
    let in_memory = tempfile::tempdir().unwrap();
    let catalog = open(in_memory.path(), 10_000).catalog;
    write_all(&catalog, &links);
    let expected = filters.each_ref().map(|filter| lists(&catalog, filter, 7));
    assert!(expected[0].iter().all(|list| list.len() == 120));
    let dir = tempfile::tempdir().unwrap();
    let mut catalog = open(dir.path(), 40).catalog;
    write_all(&catalog, &links);
    let mut steps = 0;
    while catalog.maintain().unwrap() {
        for (filter, expected) in filters.iter().zip(&expected) {
            assert_eq!(&lists(&catalog, filter, 7), expected, "after {steps} steps");
        }
        steps += 1;
        // As after a crash between two steps.
        if steps == 3 {
            drop(catalog);
            catalog = open(dir.path(), 40).catalog;
        }
    }
    assert!(steps >= 8 && catalog.sizes().unwrap().tail_links < 40);
}

#[test]
fn a_link_that_goes_or_changes_while_its_chunk_is_sealed_leaves_nothing_behind() {
    for steps in 0..10 {
        for crash in [false, true] {
            let dir = tempfile::tempdir().unwrap();
            let mut catalog = open(dir.path(), 1_000).catalog;
            let mut links = links(40);
            write_all(&catalog, &links);
            drop(catalog);
            catalog = open(dir.path(), 40).catalog;
            for _ in 0..steps {
                catalog.maintain().unwrap();
            }
            if crash {
                drop(catalog);
                catalog = open(dir.path(), 40).catalog;
            }
            let gone = links.split_off(30);
            for changed in &gone {
                let batch =
                    ShardBatch { removed: vec![changed.link.key.hash()], ..ShardBatch::of(shard(&changed.link)) };
                catalog.write(&batch).unwrap();
            }
            for changed in &mut links[..10] {
                changed.counts = counts(9, 1, 77, 0);
            }
            for changed in &mut links[10..20] {
                changed.edited_at = Some(UnixMs(95));
            }
            write_all(&catalog, &links);
            let plain = tempfile::tempdir().unwrap();
            let other = open(plain.path(), 1_000).catalog;
            write_all(&other, &links);
            let expected = lists(&other, &LinkFilter::default(), 3);
            assert_eq!(lists(&catalog, &LinkFilter::default(), 3), expected, "{steps} steps, {crash}");
            // Enough for the chunk to be sealed, if it was not.
            let more = links_from(1_000, 30);
            write_all(&catalog, &more);
            write_all(&other, &more);
            while catalog.maintain().unwrap() {}
            assert!(catalog.sizes().unwrap().tail_links < 40);
            let expected = lists(&other, &LinkFilter::default(), 3);
            assert_eq!(lists(&catalog, &LinkFilter::default(), 3), expected, "{steps} steps, {crash}");
        }
    }
}

#[test]
fn rows_that_get_new_numbers_during_a_scan_are_not_seen_by_it() {
    let dir = tempfile::tempdir().unwrap();
    let catalog = open(dir.path(), 20).catalog;
    let all: Vec<Link> = (0..400).map(|number| link(0, &format!("c{number}"), "https://example.com/")).collect();
    let some: Vec<Link> = all.into_iter().filter(|link| shard(link) == ShardId(2)).collect();
    write(&catalog, some.iter().cloned());
    while catalog.maintain().unwrap() {}
    let (removed, kept) = some.split_at(some.len() * 2 / 3);
    let removed: Vec<KeyHash> = removed.iter().map(|link| link.key.hash()).collect();
    catalog.begin_scan(ShardId(2)).unwrap();
    catalog.write(&ShardBatch { removed, ..ShardBatch::of(ShardId(2)) }).unwrap();
    let seen = ShardBatch { changed: vec![changed(kept[0].clone())], ..ShardBatch::of(ShardId(2)) };
    catalog.write(&seen).unwrap();
    while catalog.maintain().unwrap() {}
    while !catalog.finish_scan(ShardId(2), 1).unwrap() {}
    assert_eq!(catalog.sizes().unwrap().links, 1);
    assert_eq!(
        common::slugs(&catalog.page(&request(LinkFilter::default())).unwrap().rows),
        [kept[0].key.code.as_str()]
    );
}

/// The chunks become sparse while it goes on, so that rows that have to go get new numbers.
#[test]
fn a_shard_that_left_or_was_scanned_leaves_no_row_behind_however_many_there_are() {
    for chunk_links in [20, 100, 1_000] {
        for is_scan in [false, true] {
            let dir = tempfile::tempdir().unwrap();
            let catalog = open(dir.path(), chunk_links).catalog;
            let mut all = links(1_200);
            // Mostly those of the shard, or its rows would make no chunk sparse.
            all.retain(|changed| shard(&changed.link) == ShardId(2) || changed.link.key.code.as_str().ends_with('7'));
            write_all(&catalog, &all);
            while catalog.maintain().unwrap() {}
            let gone = ShardId(2);
            if is_scan {
                catalog.begin_scan(gone).unwrap();
                while !catalog.finish_scan(gone, 9).unwrap() {}
                assert_eq!(catalog.positions().unwrap().get(&gone), Some(&9));
            } else {
                while !catalog.forget(gone).unwrap() {}
            }
            let left = all.iter().filter(|changed| shard(&changed.link) != gone).count() as u64;
            assert_eq!(catalog.sizes().unwrap().links, left, "chunks of {chunk_links}");
            let page = catalog.page(&request(LinkFilter::default())).unwrap();
            assert_eq!(page.matches.unwrap().total, left);
        }
    }
}

/// Nobody waits for the removal of many rows: it goes on in parts, between which links are written, also of the same shard.
#[test]
fn links_that_are_written_while_a_scan_removes_others_stay() {
    let dir = tempfile::tempdir().unwrap();
    let catalog = open(dir.path(), 20).catalog;
    let of_shard = |changed: &Changed| shard(&changed.link) == ShardId(2);
    let all: Vec<Changed> = links(400).into_iter().filter(of_shard).collect();
    write_all(&catalog, &all);
    while catalog.maintain().unwrap() {}
    catalog.begin_scan(ShardId(2)).unwrap();
    let new: Vec<Changed> = links_from(1_000, 400).into_iter().filter(of_shard).collect();
    let mut written = Vec::new();
    // One that is listed still, and may be removed as soon as it is not told as changed; and new ones.
    let mut kept = all[all.len() - 1..].iter().chain(&new);
    while !catalog.finish_scan(ShardId(2), 9).unwrap() {
        assert!(!catalog.positions().unwrap().contains_key(&ShardId(2)), "it is not complete yet");
        if let Some(changed) = kept.next() {
            write_all(&catalog, std::slice::from_ref(changed));
            written.push(changed.link.key.code.as_str().to_owned());
        }
    }
    assert!(written.len() > 10, "there were parts");
    assert_eq!(catalog.positions().unwrap().get(&ShardId(2)), Some(&9));
    let mut request = request(LinkFilter::default());
    request.limit = 1_000;
    written.sort();
    assert_eq!(common::slugs(&catalog.page(&request).unwrap().rows), written);
}

/// Links are created and deleted all the time; those that are there throughout are on the pages exactly once.
#[test]
fn a_walk_over_all_pages_has_each_link_that_stays_once_while_others_come_and_go() {
    let dir = tempfile::tempdir().unwrap();
    let catalog = open(dir.path(), 50).catalog;
    let stay = links(200);
    write_all(&catalog, &stay);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut number = 0u64;
            while !stop.load(Ordering::Relaxed) {
                let new = |number: u64| link(0, &format!("new{number}"), "https://example.com/");
                write(&catalog, [new(number)]);
                if number >= 20 {
                    let old = new(number - 20);
                    let removed = vec![old.key.hash()];
                    catalog.write(&ShardBatch { removed, ..ShardBatch::of(shard(&old)) }).unwrap();
                }
                number += 1;
            }
        });
        for _ in 0..3 {
            for list in lists(&catalog, &LinkFilter::default(), 9) {
                let mut times: BTreeMap<&str, u32> = BTreeMap::new();
                list.iter().for_each(|slug| *times.entry(slug).or_default() += 1);
                for changed in &stay {
                    assert_eq!(times.get(changed.link.key.code.as_str()), Some(&1));
                }
                assert!(times.values().all(|times| *times == 1));
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
}

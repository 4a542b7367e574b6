//! The table holds what it should, and lets go what it may.

use std::collections::HashMap;

use proptest::prelude::*;
use waypost_protocol::{Code, LinkKey, ShardId, Target};

use super::bucket::WAYS;
use super::*;
use crate::entry::Trust;

const UNBOUNDED: u64 = 1 << 40;

fn key(code: &str) -> LinkKey {
    LinkKey::new(Code::parse_slug(code).unwrap())
}

fn entry(code: &str, target: &str) -> Entry {
    let target = Target::parse(&format!("https://example.com/{target}"), &[], 8192).unwrap();
    Entry::new(&key(code), &target, None, None, Trust::Replica(ShardId(0)))
}

fn put(table: &Table, code: &str, target: &str) {
    table.insert(entry(code, target));
}

fn get(table: &Table, code: &str) -> Option<String> {
    let key = key(code);
    let key = KeyRef::from(&key);
    let found = table.find(table.expect(&key), &key)?;
    Some(found.target().trim_start_matches("https://example.com/").to_owned())
}

/// A table with one part, as a small cache has.
fn one_part(bytes: u64) -> Table {
    let table = Table::new(1);
    table.set_limit(bytes);
    table
}

#[test]
fn nothing_is_lost_while_there_is_room_however_many_links_there_are() {
    for table in [one_part(UNBOUNDED), Table::new(256 << 20)] {
        for i in 0..50_000 {
            put(&table, &format!("code-{i}"), &i.to_string());
        }
        assert_eq!(table.len(), 50_000);
        for i in 0..50_000 {
            assert_eq!(get(&table, &format!("code-{i}")), Some(i.to_string()));
        }
        for i in (0..50_000).step_by(2) {
            assert!(table.remove(&KeyRef::from(&key(&format!("code-{i}")))));
        }
        assert_eq!(table.len(), 25_000);
        assert!((0..50_000).all(|i| get(&table, &format!("code-{i}")).is_some() == (i % 2 == 1)));
        let (places, links): (usize, usize) =
            (table.parts.iter().map(|part| part.0.read().buckets.len() * WAYS).sum(), 50_000);
        assert!(places < links * 5, "{places} places");
        table.clear();
        assert_eq!((table.len(), table.bytes()), (0, 0));
    }
}

#[test]
fn what_is_used_stays_and_what_was_used_once_goes() {
    let table = one_part(200 * entry("common-10", "x").bytes());
    for i in 0..100 {
        put(&table, &format!("common-{i}"), "x");
    }
    for i in 0..20_000 {
        put(&table, &format!("once-{i}"), "x");
        get(&table, &format!("common-{}", i % 100));
    }
    let stayed = (0..100).filter(|i| get(&table, &format!("common-{i}")).is_some()).count();
    assert!(stayed >= 95, "{stayed} of 100");
    assert!(table.len() >= 190);
}

#[test]
fn a_lower_limit_is_kept_to_and_a_link_beyond_all_limits_is_not_kept() {
    let table = one_part(100_000);
    for i in 0..1_000 {
        put(&table, &format!("code-{i}"), "x");
    }
    assert!(table.bytes() <= 100_000 && table.bytes() > 95_000);
    table.set_limit(10_000);
    assert!(table.bytes() <= 10_000 && table.bytes() > 9_000);
    put(&table, "large", &"x".repeat(8_000));
    assert!(get(&table, "large").is_some() && table.bytes() <= 10_000);
    table.set_limit(1_000);
    put(&table, "large", &"x".repeat(8_000));
    assert_eq!(get(&table, "large"), None);
    // Also a link that was small before. The others stay.
    put(&table, "other", "x");
    put(&table, "small", "x");
    put(&table, "small", &"x".repeat(8_000));
    assert_eq!(get(&table, "small"), None);
    assert_eq!((get(&table, "other"), table.len()), (Some("x".to_owned()), 1));
}

#[test]
fn a_lower_limit_gives_back_the_memory_of_the_places_and_loses_nothing_else() {
    let table = one_part(UNBOUNDED);
    for i in 0..50_000 {
        put(&table, &format!("code-{i}"), "x");
    }
    let one = entry("code-10000", "x").bytes();
    let mut before = table.parts[0].0.read().buckets.len();
    for room in [10_000, 1_000, 100, 10] {
        table.set_limit(room * one);
        assert!(table.len() as u64 >= room * 9 / 10, "{} of {room}", table.len());
        let part = table.parts[0].0.read();
        assert!(part.places() <= part.entries * 4 + 24, "{} places, {} links", part.places(), part.entries);
        assert!(part.buckets.len() < before && part.fresh.capacity() <= part.entries.max(4));
        before = part.buckets.len();
        drop(part);
        let found = (0..50_000).filter(|i| get(&table, &format!("code-{i}")).is_some()).count();
        assert_eq!(found, table.len());
    }
    // And it grows again.
    table.set_limit(UNBOUNDED);
    (0..5_000).for_each(|i| put(&table, &format!("code-{i}"), &i.to_string()));
    assert!((0..5_000).all(|i| get(&table, &format!("code-{i}")) == Some(i.to_string())));
}

#[test]
fn uses_that_two_threads_count_at_once_are_those_of_their_entry() {
    let begun = AtomicU64::new(0);
    let buckets: Vec<_> = (0..5_000).map(|_| super::bucket::Bucket::default()).collect();
    let count = || {
        for (bucket, both) in buckets.iter().zip((2..).step_by(2)) {
            begun.fetch_add(1, Ordering::SeqCst);
            while begun.load(Ordering::SeqCst) < both {
                std::thread::yield_now();
            }
            (0..4).for_each(|_| bucket.used(2));
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(count);
        count();
    });
    for bucket in &buckets {
        assert_eq!([1, 2, 3].map(|place| bucket.uses(place)), [0, 3, 0]);
    }
}

#[test]
fn links_that_come_and_go_leave_nothing_behind() {
    let table = one_part(100 * entry("code-00", "x").bytes());
    (10..105).for_each(|i| put(&table, &format!("code-{i}"), "x"));
    for _ in 0..1_000 {
        put(&table, "code-00", "x");
        assert!(table.remove(&KeyRef::from(&key("code-00"))));
    }
    let part = table.parts[0].0.read();
    assert!(part.fresh.len() <= part.entries + 1, "{} of {}", part.fresh.len(), part.entries);
    assert_eq!(part.entries, 95);
}

#[test]
fn a_link_that_comes_back_soon_stays_although_it_was_not_used_in_between() {
    let table = one_part(200 * entry("code-00", "x").bytes());
    (1000..1200).for_each(|i| put(&table, &format!("code-{i}"), "x"));
    put(&table, "back", "x");
    let is_there = || {
        table.parts[0]
            .0
            .read()
            .buckets
            .iter()
            .flat_map(|bucket| &bucket.entries)
            .flatten()
            .any(|of| of.key().code == b"back")
    };
    let mut i = 2000;
    while is_there() {
        put(&table, &format!("code-{i}"), "x");
        i += 1;
    }
    put(&table, "back", "x");
    (0..60).for_each(|j| put(&table, &format!("code-{}", i + j), "x"));
    assert!(is_there(), "sixty links that were used once have pushed it out");
}

#[test]
fn many_threads_find_only_what_was_put() {
    let table = Table::new(300_000);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let table = &table;
            scope.spawn(move || {
                for i in 0..30_000 {
                    let code = format!("code-{}", (i * 7 + thread * 13) % 5_000);
                    match i % 3 {
                        0 => put(table, &code, &code),
                        1 => assert!(get(table, &code).is_none_or(|found| found == code)),
                        _ => drop(table.remove(&KeyRef::from(&key(&code)))),
                    }
                }
            });
        }
    });
    let found = (0..5_000).filter(|i| get(&table, &format!("code-{i}")).is_some()).count();
    assert_eq!(found, table.len());
}

#[derive(Debug, Clone)]
enum Step {
    Put(u16, u8),
    Remove(u16),
    Get(u16),
    Clear,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let code = 0u16..300;
    let step = prop_oneof![
        400 => (code.clone(), any::<u8>()).prop_map(|(code, target)| Step::Put(code, target)),
        200 => code.clone().prop_map(Step::Remove),
        200 => code.prop_map(Step::Get),
        1 => Just(Step::Clear),
    ];
    prop::collection::vec(step, 0..1_200)
}

proptest! {
    #[test]
    fn it_holds_what_a_map_would(steps in steps()) {
        let (table, mut model) = (one_part(UNBOUNDED), HashMap::new());
        let code = |number: u16| format!("code-{number}");
        for step in steps {
            match step {
                Step::Put(number, target) => {
                    put(&table, &code(number), &target.to_string());
                    model.insert(number, target.to_string());
                }
                Step::Remove(number) => {
                    prop_assert_eq!(table.remove(&KeyRef::from(&key(&code(number)))), model.remove(&number).is_some());
                }
                Step::Get(number) => prop_assert_eq!(get(&table, &code(number)), model.get(&number).cloned()),
                Step::Clear => {
                    table.clear();
                    model.clear();
                }
            }
        }
        prop_assert_eq!(table.len(), model.len());
        let bytes: u64 = model.iter().map(|(number, target)| entry(&code(*number), target).bytes()).sum();
        prop_assert_eq!(table.bytes(), bytes);
        for number in 0..300 {
            prop_assert_eq!(get(&table, &code(number)), model.get(&number).cloned());
        }
    }
}

#[test]
fn what_is_loaded_ahead_is_the_bucket_in_which_a_look_up_begins() {
    let table = Table::new(4 << 20);
    let begins_where_it_is_loaded = |code: &str| {
        let key = key(code);
        let hash = table.expect(&KeyRef::from(&key));
        let at = hash.part(table.parts.len());
        let loaded = part::first_bucket(table.buckets_at[at].load(Ordering::Relaxed), hash);
        let part = table.parts[at].0.read();
        std::ptr::eq(loaded, &part.buckets[hash.first(part.buckets.len())])
    };
    let codes: Vec<String> = (1000..9000).map(|i| format!("code-{i}")).collect();
    for code in &codes {
        put(&table, code, "x");
        assert!(begins_where_it_is_loaded(code), "{code}");
    }
    table.set_limit(1 << 16);
    assert!(codes.iter().all(|code| begins_where_it_is_loaded(code)), "after it has shrunk");
    assert!(!codes.iter().all(|code| table.remove(&KeyRef::from(&key(code)))), "some had to go");
    table.clear();
    assert!(codes.iter().all(|code| begins_where_it_is_loaded(code)), "after it was cleared");
}

#[test]
fn whether_a_link_is_there_is_nearly_always_known_before_the_link_is_looked_at() {
    let table = Table::new(4 << 20);
    (1000..9000).for_each(|i| put(&table, &format!("code-{i}"), "x"));
    let likely = |codes: std::ops::Range<u32>| {
        codes.filter(|i| table.approach(table.expect(&KeyRef::from(&key(&format!("code-{i}")))))).count()
    };
    // Some are in their second bucket, and a print has sixteen bits.
    assert!(likely(1000..9000) > 6000 && likely(10_000..18_000) < 100);
}

//! The memory of a catalog stays within its budget whatever the texts and tags of its links are. Alone in its process, whose memory it looks at.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on can only panic")]

mod common;

use common::{changed, found, link, shard, texts};
use waypost_catalog::{Catalog, Options, ShardBatch};
use waypost_protocol::properties::{NOTE_CHARS_MAX, TAGS_MAX};

/// What a catalog may take: `Options::default` says so.
const BUDGET_BYTES: u64 = 48 << 20;
const LINKS: u64 = 200;

/// Numbers that look drawn.
struct Drawn(u64);

impl Drawn {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    /// A text of characters of which every three that follow each other are new.
    fn text(&mut self, chars: usize) -> String {
        (0..chars).map(|_| char::from_u32(0x4e00 + (self.next() % 20_000) as u32).unwrap()).collect()
    }
}

/// The most memory that the process has had since it began, or since it was forgotten.
fn peak_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

#[test]
fn texts_and_tags_that_are_all_different_take_no_more_memory_than_there_is_for_them() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { chunk_links: LINKS as usize, ..Options::default() };
    let catalog = Catalog::open(dir.path(), options).unwrap().catalog;
    let mut drawn = Drawn(1);
    let before = peak_bytes();
    for number in 0..LINKS {
        let tags: Vec<String> = (0..TAGS_MAX).map(|tag| format!("{number}-{tag}-{}", drawn.text(8))).collect();
        let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
        let note = drawn.text(NOTE_CHARS_MAX);
        let new = texts(link(0, &format!("code{number}"), "https://example.com/"), "", &note, &tags);
        catalog.write(&ShardBatch { changed: vec![changed(new.clone())], ..ShardBatch::of(shard(&new)) }).unwrap();
    }
    while catalog.maintain().unwrap() {}
    assert_eq!(catalog.sizes().unwrap().tail_links, 0, "all are sealed");
    let took = peak_bytes() - before;
    assert!(took <= BUDGET_BYTES, "{} MiB", took >> 20);
    // What was written in parts is found.
    let (mut again, number) = (Drawn(1), LINKS / 2);
    let note = (0..=number).map(|_| {
        (0..TAGS_MAX).for_each(|_| drop(again.text(8)));
        again.text(NOTE_CHARS_MAX)
    });
    let word: String = note.last().unwrap().chars().skip(1_000).take(9).collect();
    assert_eq!(found(&catalog, &word), [format!("code{number}")]);
    let three: String = word.chars().skip(3).take(3).collect();
    assert!(found(&catalog, &three).contains(&format!("code{number}")));
}

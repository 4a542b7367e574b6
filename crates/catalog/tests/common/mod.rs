//! Links for the tests of the catalog, and the questions that they ask.

#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "each test binary uses a part of it, and a test that cannot go on can only panic"
)]

use std::path::Path;
use std::sync::Arc;

use waypost_catalog::{Catalog, Changed, Opened, Options, ShardBatch};
use waypost_protocol::link::{LinkCounts, Visits};
use waypost_protocol::listing::{LinkFilter, ListedRow, PageRequest, Sort};
use waypost_protocol::properties::{NOTE, Note, Property, TAGS, TITLE, Tags, Title};
use waypost_protocol::{Code, Domain, FieldChanges, Link, LinkKey, LinkSpec, ShardId, Target, UnixMs};

/// The shards of the tests.
pub const SHARDS: u32 = 4;
/// The present of the tests.
pub const NOW: UnixMs = UnixMs(1_000);

/// A catalog that seals after every few links, in many steps, and moves a few at once.
pub fn open(dir: &Path, chunk_links: usize) -> Opened {
    let small = Options { chunk_links, postings_bytes: 4_000, rows_at_once: 3, ..Options::default() };
    Catalog::open(dir, small).unwrap()
}

/// A link to a target.
pub fn link(domain: u32, slug: &str, target: &str) -> Link {
    Link {
        key: LinkKey { domain: Domain(domain), code: Code::parse_slug(slug).unwrap() },
        spec: LinkSpec::to(Target::parse(target, &[], 8192).unwrap()),
        created_at: UnixMs(500),
        version: 1,
        written_at: 1,
        created_by: 0,
        generated: false,
    }
}

/// Sets a property of a link.
pub fn set<T: serde::Serialize + serde::de::DeserializeOwned>(link: &mut Link, property: Property<T>, value: &T) {
    let mut changes = FieldChanges::default();
    property.change(&mut changes, Some(value));
    link.spec.fields.change(&changes);
}

/// Sets the texts of a link.
pub fn texts(mut link: Link, title: &str, note: &str, tags: &[&str]) -> Link {
    Title::parse(title).unwrap().iter().for_each(|title| set(&mut link, TITLE, title));
    Note::parse(note).unwrap().iter().for_each(|note| set(&mut link, NOTE, note));
    Tags::parse(tags).unwrap().iter().for_each(|tags| set(&mut link, TAGS, tags));
    link
}

/// Counts.
pub fn counts(total: u64, bots: u64, last: u64, used: u64) -> LinkCounts {
    LinkCounts { visits: Visits { total, bots, last: UnixMs(last) }, used }
}

/// A link that was never visited or edited.
pub fn changed(link: Link) -> Changed {
    Changed { link: Arc::new(link), counts: LinkCounts::default(), edited_at: None }
}

/// The shard of a link.
pub fn shard(link: &Link) -> ShardId {
    link.key.shard(SHARDS)
}

/// Writes links, each to its shard.
pub fn write(catalog: &Catalog, links: impl IntoIterator<Item = Link>) {
    for link in links {
        let batch = ShardBatch { changed: vec![changed(link.clone())], ..ShardBatch::of(shard(&link)) };
        catalog.write(&batch).unwrap();
    }
}

/// Asks for the first links of all shards.
pub fn request(filter: LinkFilter) -> PageRequest {
    PageRequest {
        shards: (0..SHARDS).map(ShardId).collect(),
        filter,
        sort: Sort::default(),
        after: None,
        limit: 100,
        now: NOW,
        count: true,
    }
}

/// The slugs of the links with a text, sorted.
pub fn found(catalog: &Catalog, text: &str) -> Vec<String> {
    let page = catalog.page(&request(LinkFilter { text: text.to_owned(), ..LinkFilter::default() })).unwrap();
    let matches = page.matches.unwrap();
    assert_eq!((matches.total, matches.is_minimum), (page.rows.len() as u64, false), "{text:?}");
    slugs(&page.rows)
}

/// The slugs of rows, sorted.
pub fn slugs(rows: &[ListedRow]) -> Vec<String> {
    let mut slugs: Vec<String> = rows.iter().map(|row| row.key.code.as_str().to_owned()).collect();
    slugs.sort();
    slugs
}

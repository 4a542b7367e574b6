//! Whatever is written to a catalog: its lists are those of a plain map of the links.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on can only panic")]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use common::{NOW, SHARDS, counts, link, set, texts};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use waypost_catalog::{Catalog, Changed, ShardBatch, TagsRequest, fold};
use waypost_protocol::link::LinkCounts;
use waypost_protocol::listing::{
    ENDS_SOON_MS, LinkFilter, ListPosition, Matches, PageRequest, Sort, SortKey, SortValue, StateFilter, TagCount,
};
use waypost_protocol::properties::{DISABLED, MAX_VISITS, MaxVisits, PASSWORD, Set, TAGS, TITLE, VALID_SINCE};
use waypost_protocol::{Domain, FieldChanges, KeyHash, Link, LinkState, ShardId, UnixMs};

const SLUGS: [&str; 12] = ["a", "B", "ab", "Abc", "spring-sale", "SPRING", "x1", "x2", "x3", "été", "straße", "zz-Top"];
const TARGETS: [&str; 6] = [
    "https://example.com/",
    "https://www.example.com/aa/aaa?q=ABC",
    "http://example.org/%C3%BCber%20uns",
    "https://xn--bcher-kva.example/b/c",
    "https://a.b/'\"%22*()^-OR-AND-NEAR",
    "https://longer.example/abcabcabcabcabcabc",
];
const TITLES: [&str; 6] = ["", "", "Été à la plage", "été", "Sale 50%", "日本語のリンク"];
const NOTES: [&str; 4] = ["", "", "first line\nsecond lïne 🎉", "шалом שָׁלוֹם"];
const TAG_NAMES: [&str; 5] = ["News", "news", "NEWS", "été", "b c"];
const TEXTS: [&str; 32] = [
    "",
    " ",
    "a",
    "é",
    "E",
    "b",
    "ab",
    "aa",
    "ple",
    "exam",
    "example.com",
    "https://example",
    "https",
    "ttps://e",
    "ABCabc",
    "caba",
    "über",
    "%c3%bc",
    "uns",
    "ete plage",
    "line second",
    "日",
    "本語",
    "🎉",
    "שלום",
    "'",
    "\"",
    "* OR",
    "zz",
    "NEAR",
    "50%",
    "spring sale",
];

/// A step of a history.
#[derive(Debug, Clone)]
enum Step {
    Write(Vec<(usize, Draw)>),
    Remove(usize),
    Count(usize, LinkCounts),
    /// A shard is written anew, with only some of its links; and some are written meanwhile.
    Scan(u32, BTreeSet<usize>, Vec<(usize, Draw)>),
    Forget(u32),
    Maintain,
    Reopen,
    Ask(Question),
}

/// What a link is made of.
#[derive(Debug, Clone)]
struct Draw {
    target: &'static str,
    title: &'static str,
    note: &'static str,
    tags: Vec<&'static str>,
    created: u64,
    edited: Option<u64>,
    since: Option<u64>,
    until: Option<u64>,
    limit: Option<u64>,
    disabled: bool,
    protected: bool,
    counts: LinkCounts,
}

#[derive(Debug, Clone)]
struct Question {
    shards: Vec<u32>,
    filter: LinkFilter,
    sort: Sort,
    limit: u32,
}

fn some_counts() -> impl Strategy<Value = LinkCounts> {
    (0..3u64, 0..2u64, 0..3u64, 0..3u64).prop_map(|(total, bots, last, used)| counts(total, bots, last * 100, used))
}

fn draw() -> impl Strategy<Value = Draw> {
    let time = || prop_oneof![3 => Just(None), 1 => (990..1010u64).prop_map(Some)];
    let texts = (select(&TARGETS[..]), select(&TITLES[..]), select(&NOTES[..]), vec(select(&TAG_NAMES[..]), 0..3));
    let until = || prop_oneof![4 => time(), 1 => Just(Some(NOW.0 + ENDS_SOON_MS + 1))];
    let times = (0..6u64, time(), time(), until());
    let state = (
        prop_oneof![2 => Just(None), 1 => (1..3u64).prop_map(Some)],
        prop::bool::weighted(0.2),
        prop::bool::weighted(0.2),
    );
    (texts, times, state, some_counts()).prop_map(|(texts, times, state, counts)| {
        let (target, title, note, tags) = texts;
        let (created, edited, since, until) = times;
        let (limit, disabled, protected) = state;
        Draw {
            target,
            title,
            note,
            tags,
            created: created * 100,
            edited,
            since,
            until,
            limit,
            disabled,
            protected,
            counts,
        }
    })
}

fn question() -> impl Strategy<Value = Question> {
    let keys =
        [SortKey::CreatedAt, SortKey::EditedAt, SortKey::Title, SortKey::Slug, SortKey::Visits, SortKey::LastVisit];
    let states = [
        StateFilter::Active,
        StateFilter::NotYet,
        StateFilter::Expired,
        StateFilter::Exhausted,
        StateFilter::Disabled,
        StateFilter::Protected,
        StateFilter::EndsSoon,
    ];
    let tags = || prop_oneof![2 => Just(vec![]), 1 => vec(select(&["NEWS", "été", "Ete", "b c"][..]), 1..3)];
    let is_any = prop::bool::weighted(0.3);
    let filter = (
        prop_oneof![1 => Just(""), 1 => select(&TEXTS[..])],
        prop_oneof![9 => Just(None), 1 => (0..24usize).prop_map(Some)],
        (tags(), any::<bool>(), tags()),
        (prop::option::weighted(0.2, 0..2u32), prop::option::weighted(0.1, 0..2u32)),
        prop::option::weighted(0.4, select(states.to_vec())),
        (prop::option::weighted(0.2, 0..600u64), prop::option::weighted(0.2, 0..600u64)),
    );
    let filter =
        filter.prop_map(|(text, key, (tags, all_tags, exclude), (domain, excluded), state, (from, to))| LinkFilter {
            text: text.to_owned(),
            key: key.map(|at| key_of(at).hash()),
            tags: tags.into_iter().map(str::to_owned).collect(),
            all_tags,
            exclude_tags: exclude.into_iter().map(str::to_owned).collect(),
            domain: domain.map(Domain),
            exclude_domains: excluded.into_iter().map(Domain).collect(),
            state,
            created_from: from.map(UnixMs),
            created_to: to.map(UnixMs),
        });
    let shards = prop_oneof![3 => Just((0..SHARDS).collect()), 1 => vec(0..SHARDS, 0..3)];
    (shards, filter, select(keys.to_vec()), any::<bool>(), 1..4u32, is_any).prop_map(
        |(shards, filter, key, descending, limit, is_any)| Question {
            shards,
            filter: if is_any { LinkFilter::default() } else { filter },
            sort: Sort { key, descending },
            limit,
        },
    )
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => vec((0..24usize, draw()), 1..8).prop_map(Step::Write),
        3 => (0..24usize).prop_map(Step::Remove),
        4 => ((0..24usize), some_counts()).prop_map(|(at, counts)| Step::Count(at, counts)),
        1 => (0..SHARDS, prop::collection::btree_set(0..24usize, 0..24), vec((0..24usize, draw()), 0..3))
            .prop_map(|(shard, kept, meanwhile)| Step::Scan(shard, kept, meanwhile)),
        1 => (0..SHARDS).prop_map(Step::Forget),
        5 => Just(Step::Maintain),
        1 => Just(Step::Reopen),
        10 => question().prop_map(Step::Ask),
    ]
}

/// The key of a link by its number: each slug is in two domains.
fn key_of(at: usize) -> waypost_protocol::LinkKey {
    link((at / SLUGS.len()) as u32, SLUGS[at % SLUGS.len()], TARGETS[0]).key
}

fn made(at: usize, draw: &Draw) -> Changed {
    let mut link = link((at / SLUGS.len()) as u32, SLUGS[at % SLUGS.len()], draw.target);
    link = texts(link, draw.title, draw.note, &draw.tags);
    link.created_at = UnixMs(draw.created);
    link.spec.valid_until = draw.until.map(UnixMs);
    draw.since.iter().for_each(|since| set(&mut link, VALID_SINCE, &UnixMs(*since)));
    draw.limit.iter().for_each(|limit| set(&mut link, MAX_VISITS, &MaxVisits::try_from(*limit).unwrap()));
    if draw.disabled {
        set(&mut link, DISABLED, &Set);
    }
    if draw.protected {
        let mut changes = FieldChanges::default();
        changes.set(PASSWORD.tag(), Some(vec![1]));
        link.spec.fields.change(&changes);
    }
    Changed { link: Arc::new(link), counts: draw.counts, edited_at: draw.edited.map(UnixMs) }
}

/// The plain map.
#[derive(Default)]
struct Model(BTreeMap<KeyHash, Changed>);

impl Model {
    fn write(&mut self, changed: &Changed) {
        self.0.insert(changed.link.key.hash(), changed.clone());
    }

    fn list(&self, question: &Question) -> Vec<(ListPosition, String)> {
        let fitting = self.0.values().filter(|changed| fits(changed, question));
        let mut list: Vec<(ListPosition, String)> = fitting
            .map(|changed| {
                let key = &changed.link.key;
                let position = ListPosition { value: value(changed, question.sort.key), hash: key.hash() };
                (position, format!("{}/{}", key.domain.0, key.code))
            })
            .collect();
        list.sort();
        if question.sort.descending {
            list.reverse();
        }
        list
    }

    fn tags(&self) -> Vec<TagCount> {
        let mut tags: BTreeMap<String, BTreeMap<String, u64>> = BTreeMap::new();
        for changed in self.0.values() {
            for tag in TAGS.of(&changed.link.spec.fields).iter().flat_map(|tags| tags.iter()) {
                *tags.entry(tag.to_lowercase()).or_default().entry(tag.to_owned()).or_default() += 1;
            }
        }
        let tag = |(folded, spellings): (String, BTreeMap<String, u64>)| {
            let most = *spellings.values().max().unwrap();
            let tag = spellings.iter().find(|(_, links)| **links == most).unwrap().0.clone();
            TagCount { tag, folded, links: spellings.values().sum() }
        };
        tags.into_iter().map(tag).collect()
    }
}

fn value(changed: &Changed, key: SortKey) -> SortValue {
    let (link, visits) = (&changed.link, changed.counts.visits);
    match key {
        SortKey::CreatedAt => SortValue::Number(link.created_at.0),
        SortKey::EditedAt => SortValue::Number(changed.edited_at.unwrap_or(link.created_at).0),
        SortKey::Title => {
            SortValue::Text(TITLE.of(&link.spec.fields).map_or(String::new(), |title| fold(title.as_str())))
        }
        SortKey::Slug => SortValue::Text(fold(link.key.code.as_str())),
        SortKey::Visits => SortValue::Number(visits.total + visits.bots),
        SortKey::LastVisit => SortValue::Number(visits.last.0),
    }
}

fn fits(changed: &Changed, question: &Question) -> bool {
    let (link, filter) = (&changed.link, &question.filter);
    let fields = &link.spec.fields;
    let state = |state: StateFilter| match (state, link.spec.state(changed.counts.used, NOW)) {
        (StateFilter::Protected, _) => PASSWORD.is_in(fields),
        (StateFilter::Active, is) => is == LinkState::Active,
        (StateFilter::NotYet, is) => is == LinkState::NotYet,
        (StateFilter::Expired, is) => is == LinkState::Expired,
        (StateFilter::Exhausted, is) => is == LinkState::Exhausted,
        (StateFilter::Disabled, is) => is == LinkState::Disabled,
        (StateFilter::EndsSoon, is) => {
            is == LinkState::Active && link.spec.valid_until.is_some_and(|until| until.0 <= NOW.0 + ENDS_SOON_MS)
        }
    };
    let has: Vec<String> = TAGS.of(fields).iter().flat_map(|tags| tags.iter()).map(str::to_lowercase).collect();
    let is_tagged = |tag: &String| has.contains(&tag.to_lowercase());
    let tags = match filter.all_tags {
        true => filter.tags.iter().all(is_tagged),
        false => filter.tags.is_empty() || filter.tags.iter().any(is_tagged),
    };
    question.shards.contains(&link.key.shard(SHARDS).0)
        && filter.key.is_none_or(|key| key == link.key.hash())
        && tags
        && !filter.exclude_tags.iter().any(is_tagged)
        && filter.domain.is_none_or(|domain| domain == link.key.domain)
        && !filter.exclude_domains.contains(&link.key.domain)
        && filter.state.is_none_or(state)
        && filter.created_from.is_none_or(|from| link.created_at >= from)
        && filter.created_to.is_none_or(|to| link.created_at < to)
        && filter.text.split_whitespace().all(|word| has_word(link, &fold(word)))
}

fn has_word(link: &Link, word: &str) -> bool {
    let fields = &link.spec.fields;
    let bare = word.strip_prefix("https://").unwrap_or(word);
    let target = link.spec.target.as_str();
    let readable = target.replace("%C3%BC", "ü").replace("%20", " ").replace("%22", "\"");
    let title = TITLE.of(fields).map(|title| title.as_str().to_owned()).unwrap_or_default();
    let note = waypost_protocol::properties::NOTE.of(fields).map(|note| note.as_str().to_owned()).unwrap_or_default();
    [link.key.code.as_str(), target, &readable, &title, &note].iter().any(|text| fold(text).contains(bare))
}

/// All pages of a list, one after the other.
fn walk(catalog: &Catalog, question: &Question) -> (Vec<(ListPosition, String)>, Matches) {
    let mut request = PageRequest {
        shards: question.shards.iter().copied().map(ShardId).collect(),
        filter: question.filter.clone(),
        sort: question.sort,
        after: None,
        limit: question.limit,
        now: NOW,
        count: true,
    };
    let (mut list, mut first) = (Vec::new(), None);
    loop {
        let page = catalog.page(&request).unwrap();
        let matches = page.matches.unwrap();
        assert_eq!(*first.get_or_insert(matches), matches);
        assert!(
            page.rows.len() <= question.limit as usize && (!page.more || page.rows.len() == question.limit as usize)
        );
        request.after = page.rows.last().map(|row| row.position.clone());
        let rows = page.rows.into_iter();
        list.extend(rows.map(|row| (row.position, format!("{}/{}", row.key.domain.0, row.key.code))));
        if !page.more {
            return (list, first.unwrap());
        }
    }
}

fn run(steps: Vec<Step>, chunk_links: usize) {
    let dir = tempfile::tempdir().unwrap();
    let mut catalog = common::open(dir.path(), chunk_links).catalog;
    let (mut model, mut positions) = (Model::default(), BTreeMap::new());
    let batch_of = |changed: &Changed| ShardBatch {
        changed: vec![changed.clone()],
        position: Some(7),
        ..ShardBatch::of(changed.link.key.shard(SHARDS))
    };
    for step in steps {
        match step {
            Step::Write(draws) => {
                for shard in (0..SHARDS).map(ShardId) {
                    let made = draws.iter().map(|(at, draw)| made(*at, draw));
                    let changed: Vec<Changed> =
                        made.filter(|changed| changed.link.key.shard(SHARDS) == shard).collect();
                    changed.iter().for_each(|changed| model.write(changed));
                    catalog.write(&ShardBatch { changed, ..ShardBatch::of(shard) }).unwrap();
                }
            }
            Step::Remove(at) => {
                let key = key_of(at);
                model.0.remove(&key.hash());
                catalog.write(&ShardBatch { removed: vec![key.hash()], ..ShardBatch::of(key.shard(SHARDS)) }).unwrap();
            }
            Step::Count(at, counts) => {
                let key = key_of(at);
                model.0.entry(key.hash()).and_modify(|changed| changed.counts = counts);
                let counts = vec![(key.hash(), counts)];
                catalog.write(&ShardBatch { counts, ..ShardBatch::of(key.shard(SHARDS)) }).unwrap();
            }
            Step::Scan(shard, kept, meanwhile) => {
                let shard = ShardId(shard);
                let kept: BTreeSet<KeyHash> = kept.into_iter().map(|at| key_of(at).hash()).collect();
                catalog.begin_scan(shard).unwrap();
                model.0.retain(|hash, changed| changed.link.key.shard(SHARDS) != shard || kept.contains(hash));
                for changed in model.0.values().filter(|changed| changed.link.key.shard(SHARDS) == shard) {
                    catalog.write(&batch_of(changed)).unwrap();
                    catalog.maintain().unwrap();
                }
                for changed in meanwhile.iter().map(|(at, draw)| made(*at, draw)) {
                    catalog.write(&batch_of(&changed)).unwrap();
                    model.write(&changed);
                }
                assert!(!catalog.positions().unwrap().contains_key(&shard));
                while !catalog.finish_scan(shard, 5).unwrap() {}
                positions = catalog.positions().unwrap();
                assert_eq!(positions.get(&shard), Some(&5));
            }
            Step::Forget(shard) => {
                while !catalog.forget(ShardId(shard)).unwrap() {}
                model.0.retain(|_, changed| changed.link.key.shard(SHARDS).0 != shard);
                positions.remove(&ShardId(shard));
                assert!(!catalog.positions().unwrap().contains_key(&ShardId(shard)));
            }
            Step::Maintain => {
                catalog.maintain().unwrap();
            }
            Step::Reopen => {
                let positions = catalog.positions().unwrap();
                drop(catalog);
                let opened = common::open(dir.path(), chunk_links);
                assert_eq!(opened.began_anew, None);
                catalog = opened.catalog;
                assert_eq!(catalog.positions().unwrap(), positions);
            }
            Step::Ask(question) => {
                let (list, matches) = walk(&catalog, &question);
                let expected = model.list(&question);
                assert_eq!(matches, Matches { total: expected.len() as u64, is_minimum: false }, "{question:?}");
                assert_eq!(list, expected, "{question:?}");
            }
        }
        assert_eq!(catalog.sizes().unwrap().links, model.0.len() as u64);
    }
    let all = TagsRequest { shards: (0..SHARDS).map(ShardId).collect(), limit: 100, ..TagsRequest::default() };
    assert_eq!(catalog.tags(&all).unwrap().tags, model.tags());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn the_lists_of_a_catalog_are_those_of_a_plain_map(steps in vec(step(), 1..40), chunk_links in 1..12usize) {
        run(steps, chunk_links);
    }
}

//! Measures the catalog alone: how fast it is filled, what it takes, and how long pages, filters and searches last. `make bench-lists` runs it.
//!
//! Times are those of the wall clock and, behind a slash, of the processor: on a machine with other work only the latter can be compared.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot be set up can only panic")]
#![expect(clippy::print_stdout, reason = "a benchmark prints what it measures")]

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};
use waypost_catalog::{Catalog, Changed, Options, ShardBatch, TagsRequest};
use waypost_protocol::link::{LinkCounts, Visits};
use waypost_protocol::listing::{LinkFilter, PageRequest, Sort, SortKey, StateFilter};
use waypost_protocol::properties::{
    DISABLED, MAX_VISITS, MaxVisits, Property, Set, TAGS, TITLE, Tags, Title, VALID_SINCE,
};
use waypost_protocol::{Code, Domain, FieldChanges, Link, LinkKey, LinkSpec, ShardId, Target, UnixMs};

const NOW: u64 = 1_800_000_000_000;
const SHARDS: u32 = 16;
const BATCH: u64 = 4_000;
const TAG_COUNT: u64 = 50;

/// What is measured.
struct Corpus {
    urls: Vec<String>,
    links: u64,
}

fn main() {
    let mut corpus = Corpus { urls: Vec::new(), links: 1_000_000 };
    let mut dir = PathBuf::from("bench-out/catalog");
    let mut rate_only = false;
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--urls" => {
                corpus.urls =
                    std::fs::read_to_string(args.next().unwrap()).unwrap().lines().map(str::to_owned).collect()
            }
            "--links" => corpus.links = args.next().unwrap().parse().unwrap(),
            "--dir" => dir = args.next().unwrap().into(),
            "--fill-only" => rate_only = true,
            _ => panic!("unknown argument {arg}; --urls FILE (one a line), --links NUMBER, --dir DIR, --fill-only"),
        }
    }
    if corpus.urls.is_empty() {
        corpus.urls = (0..20_000).map(generated_url).collect();
    }
    let _ = std::fs::remove_dir_all(&dir);
    let before = memory();
    let catalog = Catalog::open(&dir, Options::default()).unwrap().catalog;
    let (ended, until) = mpsc::channel::<()>();
    std::thread::scope(|scope| {
        scope.spawn(|| write_logs(&catalog, until));
        fill(&catalog, &corpus, before);
        if !rate_only {
            live(&catalog, &corpus);
        }
        drop(ended);
    });
    if !rate_only {
        pages(&catalog, &corpus);
        filters(&catalog, &corpus);
        searches(&catalog, &corpus);
        println!("memory after all: {}", memory_text(before));
        let started = Instant::now();
        drop(catalog);
        let opened = Catalog::open(&dir, Options::default()).unwrap();
        println!("closed and opened again in {:.2} s", started.elapsed().as_secs_f64());
        assert!(opened.began_anew.is_none());
    }
    std::fs::remove_dir_all(&dir).unwrap();
}

/// Writes the log into the file whenever it is long, as a node does, until the other end is dropped.
fn write_logs(catalog: &Catalog, until: mpsc::Receiver<()>) {
    let (mut all, mut times) = (Spent::default(), 0);
    while until.recv_timeout(Duration::from_millis(10)) == Err(RecvTimeoutError::Timeout) {
        if catalog.has_long_log() {
            let spent = Spent::of(|| catalog.write_log().unwrap());
            all.wall += spent.wall;
            all.cpu += spent.cpu;
            times += 1;
        }
    }
    println!(
        "the log was written into the file {times} times, beside: {:.1?}, {:.1?} of the processor",
        all.wall, all.cpu
    );
}

fn fill(catalog: &Catalog, corpus: &Corpus, before: (u64, u64)) {
    let (mut writing, mut longest) = (Spent::default(), Duration::ZERO);
    for shard in 0..SHARDS {
        catalog.begin_scan(ShardId(shard)).unwrap();
    }
    for first in (0..corpus.links).step_by(BATCH as usize) {
        let batch = batch(corpus, first..(first + BATCH).min(corpus.links));
        let spent = Spent::of(|| catalog.write(&batch).unwrap());
        longest = longest.max(spent.wall);
        writing.wall += spent.wall;
        writing.cpu += spent.cpu;
    }
    let ending = Spent::of(|| {
        for shard in 0..SHARDS {
            while !catalog.finish_scan(ShardId(shard), 1).unwrap() {}
        }
        while catalog.maintain().unwrap() {}
    });
    let sizes = catalog.sizes().unwrap();
    let seconds = (writing.wall + ending.wall).as_secs_f64();
    let cpu = (writing.cpu + ending.cpu).as_secs_f64();
    println!(
        "{} links in {seconds:.1} s, {cpu:.1} s of the processor: {:.0} a second",
        sizes.links,
        sizes.links as f64 / cpu
    );
    println!("the longest batch of {BATCH}: {longest:.0?}; the end of the scans: {:.0?}", ending.wall);
    println!("{:.0} bytes a link on disk", sizes.disk_bytes as f64 / sizes.links as f64);
    println!(
        "memory: {}; of it for the {} newest links {} KiB",
        memory_text(before),
        sizes.tail_links,
        sizes.tail_bytes / 1024
    );
}

/// Small batches, as they come while links are created.
fn live(catalog: &Catalog, corpus: &Corpus) {
    let mut times = Vec::new();
    for round in 0..200 {
        let first = corpus.links + round * 200;
        let batch = batch(corpus, first..first + 200);
        times.push(Spent::of(|| catalog.write(&batch).unwrap()));
    }
    report("write 200 new links", times);
    let mut times = Vec::new();
    for round in 0..50u64 {
        let mut batch = ShardBatch::of(ShardId(0));
        for at in 0..1_000 {
            let number = scattered(round * 1_000 + at) % corpus.links;
            batch
                .counts
                .push((link(corpus, number).link.key.hash(), counts(1 + scattered(number) % 1_000, NOW + round)));
        }
        times.push(Spent::of(|| catalog.write(&batch).unwrap()));
    }
    report("write 1,000 counts", times);
}

fn pages(catalog: &Catalog, corpus: &Corpus) {
    for key in
        [SortKey::CreatedAt, SortKey::EditedAt, SortKey::Title, SortKey::Slug, SortKey::Visits, SortKey::LastVisit]
    {
        for descending in [true, false] {
            let mut request = request(LinkFilter::default());
            request.sort = Sort { key, descending };
            let order = format!("{key:?} {}", if descending { "descending" } else { "ascending" });
            report(&format!("first page, {order}"), repeat(20, || page(catalog, &request)));
            let last = 1_000.min(corpus.links / 100).saturating_sub(1);
            for _ in 0..last {
                request.after = catalog.page(&request).unwrap().rows.last().map(|row| row.position.clone());
            }
            report(&format!("thousandth page, {order}"), repeat(20, || page(catalog, &request)));
        }
    }
}

fn filters(catalog: &Catalog, corpus: &Corpus) {
    let none = LinkFilter::default;
    let tag = |number: u64| format!("tag {number}");
    let span = corpus.links * 1_000;
    let mut all = vec![
        ("nothing", none()),
        ("a tag", LinkFilter { tags: vec![tag(7)], ..none() }),
        ("one of three tags", LinkFilter { tags: vec![tag(7), tag(8), tag(9)], ..none() }),
        ("two tags at once", LinkFilter { tags: vec![tag(7), tag(8)], all_tags: true, ..none() }),
        ("not a tag", LinkFilter { exclude_tags: vec![tag(7)], ..none() }),
        ("the domain of all", LinkFilter { domain: Some(Domain(0)), ..none() }),
        ("a domain without links", LinkFilter { domain: Some(Domain(1)), ..none() }),
        (
            "created in the middle half",
            LinkFilter {
                created_from: Some(UnixMs(NOW - span * 3 / 4)),
                created_to: Some(UnixMs(NOW - span / 4)),
                ..none()
            },
        ),
        (
            "created in one minute",
            LinkFilter {
                created_from: Some(UnixMs(NOW - span / 2)),
                created_to: Some(UnixMs(NOW - span / 2 + 60_000)),
                ..none()
            },
        ),
        (
            "a tag, active, and the middle half",
            LinkFilter {
                tags: vec![tag(7)],
                state: Some(StateFilter::Active),
                created_from: Some(UnixMs(NOW - span * 3 / 4)),
                created_to: Some(UnixMs(NOW - span / 4)),
                ..none()
            },
        ),
    ];
    use StateFilter::{Active, Disabled, EndsSoon, Exhausted, Expired, NotYet, Protected};
    for (name, state) in [
        ("active", Active),
        ("not yet", NotYet),
        ("expired", Expired),
        ("exhausted", Exhausted),
        ("disabled", Disabled),
        ("protected", Protected),
        ("ends soon", EndsSoon),
    ] {
        all.push((name, LinkFilter { state: Some(state), ..none() }));
    }
    for (name, filter) in all {
        let request = request(filter);
        let total = catalog.page(&request).unwrap().matches.unwrap().total;
        report(&format!("filter: {name} ({total})"), repeat(20, || page(catalog, &request)));
    }
    let mut some = request(none());
    some.shards.truncate(5);
    report("filter: five of the shards", repeat(20, || page(catalog, &some)));
    let tags = TagsRequest { shards: (0..SHARDS).map(ShardId).collect(), limit: 1_000, ..TagsRequest::default() };
    report("all tags", repeat(20, || catalog.tags(&tags).unwrap()));
}

fn searches(catalog: &Catalog, corpus: &Corpus) {
    for (name, key) in
        [("newest first", SortKey::CreatedAt), ("by title", SortKey::Title), ("by visits", SortKey::Visits)]
    {
        let (mut times, mut slowest, mut totals) = (Vec::new(), (Duration::ZERO, String::new(), 0), Vec::new());
        for round in 0..1_000u64 {
            let url = &corpus.urls[scattered(round) as usize % corpus.urls.len()];
            let chars: Vec<char> = url.chars().collect();
            let length = (1 + scattered(round + 7) as usize % 20).min(chars.len());
            let start = scattered(round + 11) as usize % (chars.len() - length + 1);
            let text: String = chars[start..start + length].iter().collect();
            let mut request = request(LinkFilter { text: text.clone(), ..LinkFilter::default() });
            request.sort = Sort { key, descending: true };
            let mut total = 0;
            let spent = Spent::of(|| total = catalog.page(&request).unwrap().matches.unwrap().total);
            if spent.cpu > slowest.0 {
                slowest = (spent.cpu, text, total);
            }
            totals.push(total);
            times.push(spent);
        }
        totals.sort_unstable();
        report(&format!("search, 1,000 words of 1 to 20 characters, {name}"), times);
        println!(
            "    slowest: {:?} for {:?} with {} links; median {} links",
            slowest.0, slowest.1, slowest.2, totals[500]
        );
    }
}

fn page(catalog: &Catalog, request: &PageRequest) -> usize {
    catalog.page(request).unwrap().rows.len()
}

fn request(filter: LinkFilter) -> PageRequest {
    PageRequest {
        shards: (0..SHARDS).map(ShardId).collect(),
        filter,
        sort: Sort::default(),
        after: None,
        limit: 100,
        now: UnixMs(NOW),
        count: true,
    }
}

/// A batch of links of one shard.
fn batch(corpus: &Corpus, numbers: std::ops::Range<u64>) -> ShardBatch {
    let shard = ShardId((numbers.start / BATCH) as u32 % SHARDS);
    ShardBatch { changed: numbers.map(|number| link(corpus, number)).collect(), ..ShardBatch::of(shard) }
}

/// The link with a number: the newest has the last one.
fn link(corpus: &Corpus, number: u64) -> Changed {
    let drawn = scattered(number);
    let url = &corpus.urls[drawn as usize % corpus.urls.len()];
    let again = number / corpus.urls.len() as u64;
    let url = if again == 0 { url.clone() } else { format!("{}/{again:x}", url.trim_end_matches('/')) };
    let target =
        Target::parse(&url, &[], 8192).unwrap_or_else(|_| Target::parse(&generated_url(number), &[], 8192).unwrap());
    let mut spec = LinkSpec::to(target);
    let mut fields = FieldChanges::default();
    if number.is_multiple_of(3) {
        let words: Vec<&str> =
            url.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| word.len() > 3).take(4).collect();
        set(&mut fields, TITLE, Title::parse(&words.join(" ")).unwrap());
    }
    set(&mut fields, TAGS, Tags::parse(&[format!("Tag {}", drawn / 7 % TAG_COUNT)]).unwrap());
    match drawn / 11 % 100 {
        0 => set(&mut fields, DISABLED, Some(Set)),
        1 => set(&mut fields, MAX_VISITS, Some(MaxVisits::try_from(10).unwrap())),
        2 => set(&mut fields, VALID_SINCE, Some(UnixMs(NOW + 1))),
        3 | 4 => spec.valid_until = Some(UnixMs(NOW - 1)),
        5 => spec.valid_until = Some(UnixMs(NOW + drawn % 1_000_000)),
        _ => {}
    }
    spec.fields.change(&fields);
    let created_at = UnixMs((NOW + number * 1_000).saturating_sub(corpus.links * 1_000));
    let edited = (drawn / 13).is_multiple_of(20);
    let visited = (drawn / 17).is_multiple_of(2);
    let link = Link {
        key: LinkKey::new(code(number)),
        spec,
        created_at,
        version: 1 + u32::from(edited),
        written_at: number,
        created_by: 0,
        generated: true,
    };
    let counts =
        if visited { counts(1 + drawn % 100, created_at.0 + drawn % 1_000_000) } else { LinkCounts::default() };
    Changed { link: Arc::new(link), counts, edited_at: edited.then(|| created_at.saturating_add_ms(drawn % 1_000_000)) }
}

fn set<T: serde::Serialize + serde::de::DeserializeOwned>(
    fields: &mut FieldChanges,
    property: Property<T>,
    value: Option<T>,
) {
    if let Some(value) = value {
        property.change(fields, Some(&value));
    }
}

fn counts(total: u64, last: u64) -> LinkCounts {
    LinkCounts { visits: Visits { total, bots: total / 10, last: UnixMs(last) }, used: total }
}

fn code(number: u64) -> Code {
    const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    // Odd, so that every number has another code.
    let mut rest = number.wrapping_mul(2_862_933_555_777) % 62u64.pow(7);
    let digits: String = (0..7)
        .map(|_| {
            let digit = DIGITS[(rest % 62) as usize];
            rest /= 62;
            char::from(digit)
        })
        .collect();
    Code::from_path(&digits).unwrap()
}

fn generated_url(number: u64) -> String {
    let drawn = scattered(number);
    let word =
        |shift: u32| (0..4).map(|at| char::from(b'a' + (drawn >> (shift + at * 3)) as u8 % 26)).collect::<String>();
    format!("https://www.{}{}.example/{}/{}-{number}", word(0), word(7), word(20), word(33))
}

/// A number that looks drawn (splitmix64).
fn scattered(number: u64) -> u64 {
    let mut z = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

/// What something took.
#[derive(Clone, Copy, Default)]
struct Spent {
    wall: Duration,
    cpu: Duration,
}

impl Spent {
    fn of<T>(run: impl FnOnce() -> T) -> Self {
        let cpu = || Duration::from(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).unwrap());
        let (started, cpu_before) = (Instant::now(), cpu());
        std::hint::black_box(run());
        Self { wall: started.elapsed(), cpu: cpu() - cpu_before }
    }
}

fn repeat<T>(times: usize, mut run: impl FnMut() -> T) -> Vec<Spent> {
    (0..times).map(|_| Spent::of(&mut run)).collect()
}

fn report(name: &str, times: Vec<Spent>) {
    let of = |what: fn(&Spent) -> Duration| {
        let mut times: Vec<f64> = times.iter().map(|spent| what(spent).as_secs_f64() * 1e3).collect();
        times.sort_by(f64::total_cmp);
        (times[times.len() / 2], times[(times.len() * 99).div_ceil(100) - 1])
    };
    let (wall, cpu) = (of(|spent| spent.wall), of(|spent| spent.cpu));
    println!("{name}: p50 {:.2} ms / {:.2}, p99 {:.2} ms / {:.2}", wall.0, cpu.0, wall.1, cpu.1);
}

/// Resident memory, and the part of it that is no file, in KiB.
fn memory() -> (u64, u64) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let of = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    (of("VmRSS:"), of("RssAnon:"))
}

fn memory_text(before: (u64, u64)) -> String {
    let now = memory();
    format!(
        "{:.1} MiB more than before, {:.1} of it anonymous",
        (now.0 - before.0) as f64 / 1024.0,
        (now.1 - before.1) as f64 / 1024.0
    )
}

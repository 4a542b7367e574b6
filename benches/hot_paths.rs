//! Criterion benchmarks of what a redirect and a create are made of. `make bench` runs them.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot be set up can only panic")]
#![expect(clippy::print_stdout, reason = "a benchmark prints what it measures")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use waypost_click_counter::{Agent, Geo, JournalOptions, Journals, Outbox, Recorder, Visit, Visitor};
use waypost_journal::Journal;
use waypost_protocol::clicks::ClickBatch;
use waypost_protocol::command::{Batch, Create, ShardCommand};
use waypost_protocol::messages::{GetLink, LinkStore};
use waypost_protocol::permutation::Permutation;
use waypost_protocol::sketch::Register;
use waypost_protocol::{Code, Domain, KeyHash, Link, LinkKey, LinkSpec, NodeId, ShardId, Target, UnixMs, list};
use waypost_redirector::{Lookup, ReadView, Source};
use waypost_runtime::{Answer, Ask, OnExhausted, Spec, Supervision, supervise_some};
use waypost_store::machine::{Machine, ShardMachine};
use waypost_store::{Db, DbOptions, LogStore};
use waypost_telemetry::Metrics;

const NOW: UnixMs = UnixMs(1_800_000_000_000);

fn target(number: u64) -> Target {
    Target::parse(&format!("https://www.example.com/articles/2026/{number:010}/index.html"), &[], 8192).unwrap()
}

fn link(code: Code, number: u64) -> Link {
    Link {
        key: LinkKey::new(code),
        created_at: NOW,
        version: 1,
        written_at: number,
        created_by: 0,
        generated: true,
        spec: LinkSpec { target: target(number), valid_until: None, fields: Default::default() },
    }
}

fn codes(c: &mut Criterion) {
    let permutation = Permutation::new([7; 32]);
    let mut counter = 0;
    c.bench_function("code/permutation", |b| {
        b.iter(|| {
            counter += 1;
            permutation.code(black_box(counter))
        });
    });
    let key = LinkKey::new(permutation.code(1).unwrap());
    c.bench_function("code/shard", |b| b.iter(|| black_box(&key).shard(16)));
    c.bench_function("target/parse", |b| {
        b.iter(|| Target::parse(black_box("https://www.example.com/articles/2026/index.html?q=1"), &[], 8192));
    });
}

fn records(c: &mut Criterion) {
    let link = link(Permutation::new([7; 32]).code(1).unwrap(), 1);
    let bytes = postcard::to_stdvec(&link).unwrap();
    c.bench_function("record/encode and seal", |b| {
        b.iter(|| waypost_protocol::seal(b"sm/1/b0", 1, &postcard::to_stdvec(black_box(&link)).unwrap()));
    });
    c.bench_function("record/decode", |b| b.iter(|| postcard::from_bytes::<Link>(black_box(&bytes)).unwrap()));
}

fn redirects(c: &mut Criterion) {
    let metrics = Metrics::new();
    let view = ReadView::new(256 << 20, 1, Duration::from_secs(1), &metrics);
    view.believe(ShardId(0), Instant::now() + Duration::from_secs(86_400));
    let permutation = Permutation::new([7; 32]);
    let codes: Vec<Code> = (0..100_000).filter_map(|counter| permutation.code(counter)).collect();
    for (number, code) in codes.iter().enumerate() {
        let key = LinkKey::new(code.clone());
        let fill = view.begin_fill(&key);
        view.finish_fill(fill, &key, &target(number as u64), None, None, Source::Replica(ShardId(0)));
    }
    let mut next = 0;
    let mut code = || {
        next = (next + 7919) % codes.len();
        codes[next].as_str()
    };
    c.bench_function("redirect/cache look-up of 100,000", |b| {
        let at = Instant::now();
        b.iter(|| view.lookup(Domain::default(), black_box(code()), NOW, at));
    });
    let dir = tempfile::tempdir().unwrap();
    let (recorder, journal) = recorder(dir.path(), &metrics);
    let plain = Visitor { address: Some([203, 0, 113, 7].into()), ..Visitor::default() };
    c.bench_function("redirect/look-up, response, click", |b| {
        b.iter(|| {
            let code = black_box(code());
            let Lookup::Redirect(link) = view.lookup(Domain::default(), code, NOW, Instant::now()) else {
                unreachable!()
            };
            recorder.visit(link.link(), NOW, &plain);
            make_room(&journal);
            waypost::http::found(link.location())
        });
    });
}

/// What the counter and the sync do for a journal, so seldom that it does not count.
fn make_room(journal: &Journal) {
    if journal.head() - journal.released() > 1 << 19 {
        journal.release(journal.head());
        journal.sync().unwrap();
    }
}

/// A recorder, and its journal as a reader sees it.
fn recorder(dir: &std::path::Path, metrics: &Metrics) -> (Recorder, Journal) {
    let options = JournalOptions { directory: dir.to_owned(), slots: 1 << 20, visitor_secret: [7; 32], record: true };
    let journals = Journals::open(options, Arc::new(Geo::open(None).unwrap()), metrics).unwrap();
    let recorder = journals.recorder().unwrap();
    let journal = journals.current().remove(0);
    (recorder, journal)
}

const BROWSER: &[u8] =
    b"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36";

fn clicks(c: &mut Criterion) {
    let metrics = Metrics::new();
    let dir = tempfile::tempdir().unwrap();
    let (writer, journal) = Journal::create(dir.path(), 1, 1 << 20).unwrap();
    c.bench_function("clicks/append to the journal", |b| {
        b.iter(|| {
            writer.append(black_box([1, 2, 3 << 4]), b"");
            make_room(&journal);
        });
    });
    let dir = tempfile::tempdir().unwrap();
    let (recorder, journal) = recorder(dir.path(), &metrics);
    let browser = Visitor {
        address: Some([203, 0, 113, 7].into()),
        user_agent: BROWSER,
        referrer: b"https://www.example.org/somewhere",
        language: b"de-CH,de;q=0.9,en;q=0.8",
        ..Visitor::default()
    };
    c.bench_function("clicks/record a browser's visit", |b| {
        b.iter(|| {
            recorder.visit(KeyHash(black_box(77)), NOW, black_box(&browser));
            make_room(&journal);
        });
    });
    c.bench_function("clicks/classify a user agent for the first time", |b| {
        b.iter(|| Agent::of(black_box(std::str::from_utf8(BROWSER).unwrap())));
    });
    // What a million visits of a hundred thousand links become.
    let gather = |outbox: &mut Outbox, taken: &mut dyn FnMut(&ClickBatch)| {
        let mut random = 88_172_645_463_325_252u64;
        for position in 1..=1_000_000u64 {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let visit = Visit {
                link: Some(KeyHash((random % 100_000).wrapping_mul(0x9E37_79B9_7F4A_7C15))),
                at: NOW,
                agent: Agent::of(""),
                country: *b"DE",
                language: *b"de",
                visitor: Some(Register::of(random)),
            };
            outbox.add(1, (position - 1, position), &visit, b"example.org", None);
            if position == 1_000_000 || !outbox.has_room() {
                for shard in (0..16).map(ShardId) {
                    while let Some(batch) = outbox.next(shard, 1).pop() {
                        taken(&batch);
                        outbox.delivered(shard);
                    }
                }
            }
        }
    };
    let mut outbox = Outbox::new(NodeId(1), 16);
    outbox.begin(1, 0);
    let (mut batches, mut bytes) = (0, 0);
    gather(&mut outbox, &mut |batch| {
        batches += 1;
        bytes += postcard::to_stdvec(batch).unwrap().len();
    });
    println!("clicks/1,000,000 visits of 100,000 links: {batches} commands, {bytes} bytes");
    let mut slow = c.benchmark_group("clicks");
    slow.sample_size(10);
    slow.bench_function("gather 1,000,000 visits of 100,000 links", |b| {
        b.iter_batched(
            || {
                let mut outbox = Outbox::new(NodeId(1), 16);
                outbox.begin(1, 0);
                outbox
            },
            |mut outbox| {
                gather(&mut outbox, &mut |batch| _ = black_box(batch.spans.len()));
                outbox.waiting()
            },
            BatchSize::PerIteration,
        );
    });
    slow.finish();
}

fn store(c: &mut Criterion) {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path(), &DbOptions::default(), &Metrics::new()).unwrap();
    let (mut machine, _) = ShardMachine::open(db.tree("sm/1").unwrap()).unwrap();
    let permutation = Permutation::new([7; 32]);
    let mut number = 0;
    let mut create = || {
        number += 1;
        let key = LinkKey::new(permutation.code(number).unwrap());
        let new = Create {
            key,
            created_by: 0,
            generated: true,
            find_existing: false,
            idempotency: None,
            spec: LinkSpec { target: target(number), valid_until: None, fields: Default::default() },
        };
        (number, Batch { level: Default::default(), at: NOW, commands: vec![ShardCommand::from(new)] })
    };
    c.bench_function("store/apply a create", |b| {
        b.iter_batched(&mut create, |(index, batch)| machine.apply(index, &batch).unwrap(), BatchSize::SmallInput);
    });
    machine.checkpoint(b"").unwrap();
    let known = LinkKey::new(permutation.code(1).unwrap());
    c.bench_function("store/get from a block", |b| b.iter(|| machine.get(black_box(&known)).unwrap()));
    let log = LogStore::open(&db, 1).unwrap();
    let mut index = 0;
    c.bench_function("store/append a log entry of 1 KiB", |b| {
        b.iter(|| {
            index += 1;
            log.append([(index, vec![7; 1024])]).unwrap();
        });
    });
    c.bench_function("store/append and commit", |b| {
        b.iter(|| {
            index += 1;
            log.append([(index, vec![7; 1024])]).unwrap();
            db.commit().wait_blocking().unwrap();
        });
    });
}

struct Echo;

impl actix::Actor for Echo {
    type Context = actix::Context<Self>;
}

waypost_runtime::rebuilt!(Echo);

impl actix::Handler<Ask<GetLink>> for Echo {
    type Result = Answer<GetLink>;

    fn handle(&mut self, ask: Ask<GetLink>, _: &mut Self::Context) -> Answer<GetLink> {
        ask.open().1.now(Ok(None))
    }
}

fn calls(c: &mut Criterion) {
    let system = actix::System::new();
    let spec = Spec {
        name: "echo",
        inflight_max: 64,
        slow_reads_max: 0,
        restarts_max: 1,
        restart_window: Duration::from_secs(1),
        backoff_first: Duration::ZERO,
        backoff_max: Duration::ZERO,
        on_exhausted: OnExhausted::Stop,
        needed: true,
    };
    let supervision = Supervision::new(&Metrics::new());
    let key = LinkKey::new(Code::from_path("abc").unwrap());
    for (name, arbiter) in
        [("actor/call, same thread", None), ("actor/call, other thread", Some(actix::Arbiter::new()))]
    {
        let echo = system.block_on(async {
            let handle = arbiter.as_ref().map_or_else(actix::Arbiter::current, actix::Arbiter::handle);
            supervise_some::<list![GetLink], LinkStore, Echo>(spec.clone(), &supervision, &handle, || Echo).await
        });
        c.bench_function(name, |b| {
            b.iter(|| {
                let message = GetLink { shard: ShardId(0), key: key.clone(), strong: false, leader: false };
                system.block_on(echo.call(message, Duration::from_secs(5))).unwrap()
            });
        });
    }
}

criterion_group!(benches, codes, records, redirects, clicks, store, calls);
criterion_main!(benches);

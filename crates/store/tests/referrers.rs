//! Endless different referrers to one link: what they take, in memory and on disk, is bounded.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::print_stdout, reason = "a test says what it counted")]

use std::sync::Arc;

use smallvec::smallvec;
use waypost_protocol::clicks::{ClickBatch, ClickDelta, JournalSpan, Tally};
use waypost_protocol::command::{Batch, Create, RecordClicks, ShardCommand};
use waypost_protocol::sketch::Register;
use waypost_protocol::{Code, LinkKey, LinkSpec, NodeId, Target, UnixMs};
use waypost_store::machine::{Machine, ShardMachine};
use waypost_store::{Db, DbOptions};
use waypost_telemetry::Metrics;

/// What a batch of clicks has at most.
const STRINGS: u64 = 200;

/// When a shard of a node writes a checkpoint.
const CHECKPOINT_BYTES: u64 = 1 << 20;

const DAY: u32 = 20_000;
const LEVEL: waypost_protocol::Level = waypost_protocol::Level::CURRENT;
const NOW: UnixMs = UnixMs(DAY as u64 * 24 * 3_600_000);

fn create(machine: &mut ShardMachine, slug: &str) -> LinkKey {
    let key = LinkKey::new(Code::parse_slug(slug).unwrap());
    let new = Create {
        key: key.clone(),
        created_by: 0,
        generated: false,
        find_existing: false,
        idempotency: None,
        spec: LinkSpec {
            target: Target::parse("https://example.com/", &[], 8192).unwrap(),
            valid_until: None,
            fields: Default::default(),
        },
    };
    machine.apply(1, &Batch { level: LEVEL, at: NOW, commands: vec![ShardCommand::from(new)] }).unwrap();
    key
}

#[test]
fn a_day_of_a_link_takes_some_tens_of_bytes() {
    const LINKS: u64 = 2_560;
    let dir = tempfile::tempdir().unwrap();
    let db =
        Db::open(dir.path(), &DbOptions { cache_bytes: 8 << 20, ..DbOptions::default() }, &Metrics::new()).unwrap();
    let tree = db.tree("sm/1").unwrap();
    let mut machine = ShardMachine::open(tree.clone()).unwrap().0;
    let strings: Vec<String> = ["news.example.org", "Firefox", "Windows", "Desktop", "de"].map(str::to_owned).to_vec();
    for number in 0..LINKS {
        let link = create(&mut machine, &format!("link{number}")).hash();
        let tallies = smallvec![Tally { bot: false, values: [0, 0, 1, 2, 3, 4, 5], count: 3 }];
        let visitors = (0..3).map(|i| Register::of((number * 3 + i).wrapping_mul(0x9E37_79B9_7F4A_7C15))).collect();
        let deltas = vec![ClickDelta { link, hour: DAY * 24 + 9, last: NOW, tallies, visitors }];
        let spans = vec![JournalSpan { journal: 1, from: number, upto: number + 1 }];
        let clicks = ClickBatch { node: NodeId(1), spans, strings: strings.clone(), deltas, orphans: Vec::new() };
        let batch = Batch { level: LEVEL, at: NOW, commands: vec![ShardCommand::from(RecordClicks(Arc::new(clicks)))] };
        machine.apply(2 + number, &batch).unwrap();
    }
    machine.checkpoint(b"x").unwrap();
    let bytes = |prefix: &[u8]| tree.scan_prefix(prefix).map(|entry| entry.unwrap().1.len()).sum::<usize>() as u64;
    let (day, total) = (bytes(b"t") / LINKS, bytes(b"v") / LINKS);
    println!("three visits of three people: {day} bytes for the day of a link, {total} bytes for its totals");
    assert!((10..100).contains(&day) && total < 40, "{day}, {total}");
}

#[test]
fn endless_referrers_of_one_link_take_no_more_than_their_bounds() {
    // Ten million in a long run: see `make soak-referrers`.
    let referrers: u64 = std::env::var("TEST_REFERRERS").ok().and_then(|text| text.parse().ok()).unwrap_or(100_000);
    let dir = tempfile::tempdir().unwrap();
    let db =
        Db::open(dir.path(), &DbOptions { cache_bytes: 8 << 20, ..DbOptions::default() }, &Metrics::new()).unwrap();
    let tree = db.tree("sm/1").unwrap();
    let mut machine = ShardMachine::open(tree.clone()).unwrap().0;
    let key = create(&mut machine, "popular");
    let (day, at) = (DAY, NOW);
    let (mut pending, mut stored) = (0, 0);
    for batch in 0..referrers / STRINGS {
        let strings = (0..STRINGS).map(|i| format!("a-host-of-some-length-{}.example", batch * STRINGS + i)).collect();
        let tally = |i: u16| Tally { bot: false, values: [0, 0, i + 1, 0, 0, 0, 0], count: 1 };
        let tallies = (0..STRINGS as u16).map(tally).collect();
        let delta = ClickDelta { link: key.hash(), hour: day * 24, last: at, tallies, visitors: smallvec![] };
        let spans = vec![JournalSpan { journal: 1, from: batch, upto: batch + 1 }];
        let clicks = ClickBatch { node: NodeId(1), spans, strings, deltas: vec![delta], orphans: Vec::new() };
        machine
            .apply(
                2 + batch,
                &Batch { level: LEVEL, at, commands: vec![ShardCommand::from(RecordClicks(Arc::new(clicks)))] },
            )
            .unwrap();
        pending = pending.max(machine.pending_bytes());
        if machine.pending_bytes() >= CHECKPOINT_BYTES || batch + 1 == referrers / STRINGS {
            machine.checkpoint(b"x").unwrap();
            let bytes = tree.scan_prefix(b"t").map(|entry| entry.unwrap().1.len()).sum::<usize>();
            stored = stored.max(bytes);
        }
    }
    println!("{referrers} referrers: at most {pending} bytes pending, {stored} bytes of statistics stored");
    assert!(pending < 2 * CHECKPOINT_BYTES, "{pending}");
    // Fifty values of the link, three hundred of the sum of all.
    assert!(stored < 32 * 1024, "{stored}");
    let stats = machine.stats(Some(&key), day * 24..(day + 1) * 24).unwrap().unwrap();
    assert_eq!((stats.total.people, stats.values.len()), (referrers, 51));
    assert_eq!(stats.values.iter().map(|(.., counts)| counts.people).sum::<u64>(), referrers);
}

//! A proposer whose clock jumps: what its commands leave behind.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use smallvec::smallvec;
use waypost_protocol::clicks::{ClickBatch, ClickDelta, JournalSpan, OrphanDelta, Tally};
use waypost_protocol::command::{Batch, Create, RecordClicks, ShardCommand, ShardOutcome};
use waypost_protocol::digest::IdempotencyKey;
use waypost_protocol::{Code, Level, Link, LinkKey, LinkSpec, NodeId, Target, UnixMs};
use waypost_store::machine::{Machine, ShardMachine};
use waypost_store::{Db, DbOptions};
use waypost_telemetry::Metrics;

const DAY_MS: u64 = 24 * 3_600_000;
const NOW: u64 = 20_000 * DAY_MS;
const JUMP: u64 = 40 * DAY_MS;

struct Shard {
    _dir: tempfile::TempDir,
    machine: ShardMachine,
    index: u64,
    clicks: u64,
    level: Level,
}

impl Shard {
    fn new(level: Level) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let options = DbOptions { cache_bytes: 8 << 20, ..DbOptions::default() };
        let tree = Db::open(dir.path(), &options, &Metrics::new()).unwrap().tree("sm/1").unwrap();
        let machine = ShardMachine::open(tree).unwrap().0;
        Self { _dir: dir, machine, index: 0, clicks: 0, level }
    }

    fn apply(&mut self, at: u64, command: ShardCommand) -> ShardOutcome {
        self.index += 1;
        let batch = Batch { level: self.level, at: UnixMs(at), commands: vec![command] };
        self.machine.apply(self.index, &batch).unwrap().remove(0)
    }

    fn create(&mut self, at: u64, slug: &str, key: Option<u8>) -> Box<Link> {
        let new = Create {
            key: LinkKey::new(Code::parse_slug(slug).unwrap()),
            created_by: 0,
            generated: true,
            find_existing: false,
            idempotency: key.map(|key| (IdempotencyKey([key; 16]), 7)),
            spec: LinkSpec {
                target: Target::parse("https://example.com/", &[], 8192).unwrap(),
                valid_until: None,
                fields: Default::default(),
            },
        };
        match self.apply(at, ShardCommand::from(new)) {
            ShardOutcome::Created(link) => link,
            other => panic!("{other:?}"),
        }
    }

    fn clicks(&mut self, at: u64, paths: &[String], link: Option<(&LinkKey, u64)>) {
        let spans = vec![JournalSpan { journal: 1, from: self.clicks, upto: self.clicks + 1 }];
        self.clicks += 1;
        let orphan = |path| OrphanDelta { path, count: 1, last: UnixMs(at) };
        let tallies = smallvec![Tally { bot: false, values: [0; 7], count: 1 }];
        let delta = |(link, last): (&LinkKey, u64)| ClickDelta {
            link: link.hash(),
            hour: (NOW / 3_600_000) as u32,
            last: UnixMs(last),
            tallies,
            visitors: smallvec![],
        };
        let clicks = ClickBatch {
            node: NodeId(1),
            spans,
            strings: paths.to_vec(),
            deltas: link.map(delta).into_iter().collect(),
            orphans: (1..=paths.len() as u16).map(orphan).collect(),
        };
        assert_eq!(self.apply(at, ShardCommand::from(RecordClicks(Arc::new(clicks)))), ShardOutcome::Done);
    }
}

#[test]
fn times_are_right_again_when_the_clock_is() {
    let mut shard = Shard::new(Level::ONE);
    shard.create(NOW, "before", None);
    assert_eq!(shard.create(NOW + JUMP, "meanwhile", None).created_at, UnixMs(NOW + JUMP));
    assert_eq!(shard.create(NOW + 4_000, "after", None).created_at, UnixMs(NOW + 4_000));
    assert_eq!(shard.machine.applied_at(), UnixMs(NOW + 4_000));
}

#[test]
fn before_level_1_times_never_step_back_as_version_0_1_has_it() {
    let mut shard = Shard::new(Level::BASE);
    shard.create(NOW + JUMP, "meanwhile", None);
    assert_eq!(shard.create(NOW, "after", None).created_at, UnixMs(NOW + JUMP));
    // From the first entry of level 1 on they do.
    shard.level = Level::ONE;
    assert_eq!(shard.create(NOW, "later", None).created_at, UnixMs(NOW));
}

#[test]
fn a_retry_after_a_jump_makes_no_second_link() {
    let mut shard = Shard::new(Level::ONE);
    let first = shard.create(NOW, "first", Some(1));
    shard.create(NOW + JUMP, "meanwhile", Some(2));
    assert_eq!(shard.create(NOW + 4_000, "second", Some(1)).key, first.key);
    // Also on a replica that was started anew.
    shard.machine.checkpoint(b"").unwrap();
    shard.machine.reopen().unwrap();
    assert_eq!(shard.create(NOW + 5_000, "third", Some(1)).key, first.key);
    assert_ne!(shard.create(NOW + 2 * DAY_MS, "fourth", Some(1)).key, first.key, "keys count for a day");
}

#[test]
fn hours_of_statistics_are_kept_while_the_time_is_in_doubt() {
    let mut shard = Shard::new(Level::ONE);
    let link = shard.create(NOW, "link", None);
    shard.clicks(NOW, &[], Some((&link.key, NOW)));
    let now = Arc::new(AtomicU64::new(0));
    let told = now.clone();
    shard.machine.fold_by(Arc::new(move || Some(told.load(Ordering::Relaxed)).filter(|now| *now > 0).map(UnixMs)));
    let hours = |shard: &mut Shard| {
        shard.machine.checkpoint(b"").unwrap();
        let today = (NOW / 3_600_000) as u32;
        shard.machine.stats(Some(&link.key), today..today + 24).unwrap().unwrap().hours.len()
    };
    assert_eq!(hours(&mut shard), 1);
    shard.create(NOW + 100 * DAY_MS, "meanwhile", None);
    assert_eq!(hours(&mut shard), 1, "the command's time alone decides nothing");
    // Nor does the listener go with a snapshot.
    shard.machine.reopen().unwrap();
    assert_eq!(hours(&mut shard), 1);
    now.store(NOW + 100 * DAY_MS, Ordering::Relaxed);
    assert_eq!(hours(&mut shard), 0, "the time is sure, and the hours are old");
}

#[test]
fn a_jump_empties_no_list_of_orphans() {
    let paths = |range: std::ops::Range<u32>| range.map(|number| format!("/path{number}")).collect::<Vec<_>>();
    let mut shard = Shard::new(Level::ONE);
    shard.clicks(NOW, &paths(0..150), None);
    shard.clicks(NOW + JUMP, &paths(150..152), None);
    shard.clicks(NOW + 4_000, &[], None);
    let known = shard.machine.orphans().len();
    assert!(known >= 148, "{known} of 150 are left");
    // In its time what is old makes room.
    shard.clicks(NOW + JUMP, &paths(200..260), None);
    assert!(shard.machine.orphans().iter().any(|orphan| orphan.path == "/path259"));
}

#[test]
fn a_last_visit_in_the_future_is_corrected_by_the_next() {
    let mut shard = Shard::new(Level::ONE);
    let link = shard.create(NOW, "link", None);
    shard.clicks(NOW + JUMP, &[], Some((&link.key, NOW + JUMP)));
    shard.clicks(NOW + 4_000, &[], Some((&link.key, NOW + 4_000)));
    let (_, visits) = shard.machine.get(&link.key).unwrap().unwrap();
    assert_eq!((visits.total, visits.last.0 <= NOW + 4_000 + 3_600_000), (2, true), "{visits:?}");
}

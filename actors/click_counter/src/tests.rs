//! A drain without actors: what it moves, gives up, finds again and deletes, step by step.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use waypost_protocol::{KeyHash, NodeId, ShardId, UnixMs};
use waypost_runtime::ActorRef;
use waypost_telemetry::Metrics;

use crate::drain::Drain;
use crate::room::MOVE_BYTES_MAX;
use crate::spill::Spill;
use crate::{Geo, JournalOptions, Journals, Recorder, Seed, Visitor, clicks_left};

const SHARDS: u32 = 4;

/// The shard whose clicks these tests record.
const OWN: ShardId = ShardId(0);

/// The size of a visit without text in a spill.
const VISIT_BYTES: u64 = 48;

struct Fixture {
    seed: Seed,
    recorder: Recorder,
    lost: waypost_telemetry::Counter,
}

impl Fixture {
    fn new(directory: &Path, slots: u64, spill_bytes: u64) -> Self {
        let metrics = Metrics::new();
        let options = JournalOptions { directory: directory.to_owned(), slots, visitor_secret: [7; 32], record: true };
        let journals = Journals::open(options, Arc::new(Geo::open(None).unwrap()), &metrics).unwrap();
        let recorder = journals.recorder().unwrap();
        let lost = journals.lost();
        let seed = Seed {
            journals,
            links: ActorRef::sharded(Vec::new()),
            node: NodeId(1),
            shards: SHARDS,
            interval: Duration::from_secs(1),
            spill_bytes,
            is_level_one: Arc::new(|| true),
            read_only: Arc::new(AtomicBool::new(false)),
            metrics,
        };
        Self { seed, recorder, lost }
    }

    /// Records visits to links of [`OWN`], each to another one.
    fn visit(&self, count: u64) {
        let links = (0..).map(|i: u64| KeyHash(i.wrapping_mul(0x9E37_79B9_7F4A_7C15)));
        for link in links.filter(|link| link.shard(SHARDS) == OWN).take(count as usize) {
            self.recorder.visit(link, UnixMs(1_790_000_000_000), &Visitor::default());
        }
    }

    /// A drain that has read everything, with so many stalled shards.
    fn drain(&self, stalled: u32) -> Drain {
        let drain = Drain::new(&self.seed);
        (0..stalled).for_each(|shard| drain.outbox.borrow_mut().set_stalled(ShardId(shard), true));
        while drain.read_on() > 0 {}
        drain
    }
}

fn spilled(directory: &Path) -> u64 {
    std::fs::metadata(directory.join("shard-0.spill")).map_or(0, |file| file.len())
}

#[test]
fn a_visit_whose_link_is_not_found_is_not_recorded() {
    let dir = tempfile::tempdir().unwrap();
    let fixture = Fixture::new(dir.path(), 64, 0);
    let journal = || fixture.seed.journals.current()[0].clone();
    let (at, visitor) = (UnixMs(1_790_000_000_000), Visitor { referrer: b"https://a.example/", ..Visitor::default() });
    fixture.recorder.visit_found(at, &visitor, || None);
    assert_eq!(journal().head(), 0);
    fixture.recorder.visit_found(at, &visitor, || Some(KeyHash(7)));
    fixture.recorder.visit_found(at, &Visitor::default(), || Some(KeyHash(8)));
    let mut found = Vec::new();
    journal().read(0, journal().head(), |_, words, text| found.push((words[0], text.to_vec())));
    assert_eq!(found.iter().map(|(link, _)| *link).collect::<Vec<_>>(), [7, 8]);
    assert!(found[0].1.starts_with(b"a.example\0") && found[1].1.is_empty(), "{found:?}");
}

#[tokio::test]
async fn what_is_moved_at_a_time_is_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let fixture = Fixture::new(dir.path(), 200_000, 1 << 30);
    fixture.visit(190_000);
    let drain = fixture.drain(SHARDS);
    let (mut before, mut moves) = (0, 0);
    while drain.make_room().await {
        drain.release();
        let now = spilled(dir.path());
        assert!(now - before <= MOVE_BYTES_MAX + VISIT_BYTES, "{} bytes were in memory", now - before);
        (before, moves) = (now, moves + 1);
    }
    assert!(moves >= 2, "{moves}");
    let journal = fixture.seed.journals.current().pop().unwrap();
    assert!(journal.head() - journal.released() < journal.slots() / 2, "there is no room");
}

#[tokio::test]
async fn a_round_of_reading_ends_although_visits_go_on_being_recorded() {
    let dir = tempfile::tempdir().unwrap();
    let fixture = Fixture::new(dir.path(), 1 << 20, 0);
    fixture.visit(10_000);
    let drain = Drain::new(&fixture.seed);
    // Of few links, so that they need few batches, and the outbox has room.
    let record = async {
        loop {
            (0..100).for_each(|_| fixture.visit(20));
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        biased;
        () = crate::read_new(&drain) => {}
        () = record => {}
    }
    assert_eq!(fixture.lost.get(), 0, "nothing was released in the meantime");
    assert!(drain.unread_slots() > 0 && drain.outbox.borrow().waiting() >= 10_000);
}

#[tokio::test]
async fn nothing_is_read_when_no_shard_takes_clicks_and_the_spills_are_full() {
    let dir = tempfile::tempdir().unwrap();
    let fixture = Fixture::new(dir.path(), 10_000, 100 << 10);
    fixture.visit(10_000);
    let drain = fixture.drain(SHARDS);
    assert!(drain.make_room().await);
    drain.release();
    for _ in 0..10 {
        assert!(!drain.make_room().await);
        assert!(!drain.has_step(), "it is read for nothing");
    }
    let full = spilled(dir.path());
    assert!((90 << 10..=100 << 10).contains(&full), "{full} bytes are spilled");
    assert_eq!(fixture.lost.get(), 0, "nobody else has use for the room");
}

#[tokio::test]
async fn only_as_much_is_given_up_as_others_have_use_for() {
    let dir = tempfile::tempdir().unwrap();
    let fixture = Fixture::new(dir.path(), 200_000, 0);
    let drain = fixture.drain(1);
    for (recorded, lost) in [(99_000, 0..1), (51_000, 0..1), (40_000, 20_000..66_000)] {
        fixture.visit(recorded);
        while drain.read_on() > 0 {}
        while drain.make_room().await {
            drain.release();
        }
        assert!(!drain.has_step(), "it is read for nothing");
        assert!(lost.contains(&fixture.lost.get()), "{} are lost", fixture.lost.get());
    }
}

#[tokio::test]
async fn a_disk_that_refuses_a_spill_is_not_asked_again_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let fixture = Fixture::new(dir.path(), 200_000, 1 << 30);
    fixture.visit(120_000);
    let drain = fixture.drain(1);
    // This directory blocks the spill's file name.
    std::fs::create_dir(dir.path().join("shard-0.spill")).unwrap();
    assert!(!drain.make_room().await);
    assert!(!drain.has_step(), "it is read for nothing");
    // As with a full spill: the other shards need the room.
    fixture.visit(70_000);
    while drain.read_on() > 0 {}
    while drain.make_room().await {}
    assert!(fixture.lost.get() > 0);
}

#[tokio::test]
async fn nothing_is_read_for_a_spill_while_the_disk_is_nearly_full() {
    let dir = tempfile::tempdir().unwrap();
    let fixture = Fixture::new(dir.path(), 10_000, 1 << 20);
    fixture.visit(6_000);
    let drain = fixture.drain(1);
    fixture.seed.read_only.store(true, Ordering::Relaxed);
    assert!(!drain.has_step(), "it is read for nothing");
    fixture.seed.read_only.store(false, Ordering::Relaxed);
    assert!(drain.make_room().await);
    assert_eq!(spilled(dir.path()), Spill::START + 6_000 * VISIT_BYTES);
}

#[tokio::test]
async fn before_level_one_nothing_is_spilled_and_what_is_given_up_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    let mut fixture = Fixture::new(dir.path(), 200_000, 1 << 30);
    fixture.seed.is_level_one = Arc::new(|| false);
    fixture.visit(190_000);
    let drain = fixture.drain(1);
    while drain.make_room().await {
        drain.release();
    }
    // An earlier release would not find a spill.
    assert_eq!(spilled(dir.path()), 0);
    assert!(fixture.lost.get() > 0);
}

#[tokio::test]
async fn nothing_of_a_journal_goes_out_before_what_is_in_a_spill_that_cannot_be_read() {
    let dir = tempfile::tempdir().unwrap();
    let fixture = Fixture::new(dir.path(), 10_000, 1 << 20);
    fixture.visit(6_000);
    let drain = fixture.drain(1);
    assert!(drain.make_room().await);
    drain.release();
    fixture.visit(10);
    drop(drain);
    let (spill, aside) = (dir.path().join("shard-0.spill"), dir.path().join("aside"));
    std::fs::rename(&spill, &aside).unwrap();
    std::fs::create_dir(&spill).unwrap();
    let options = JournalOptions { directory: dir.path().to_owned(), slots: 1, visitor_secret: [7; 32], record: true };
    let started = Journals::open(options, Arc::new(Geo::open(None).unwrap()), &Metrics::new());
    let refused = started.err().expect("a start refuses it").to_string();
    assert!(refused.contains("shard-0.spill"), "{refused}");
    // After a panic of the actor, the process goes on, and the file may come back.
    let drain = Drain::new(&fixture.seed);
    assert_eq!((drain.read_on(), drain.read_on()), (0, 0));
    assert_eq!(drain.outbox.borrow().waiting(), 0, "the later visits would be sent before the spilled ones");
    std::fs::remove_dir(&spill).unwrap();
    std::fs::rename(&aside, &spill).unwrap();
    let since = std::time::Instant::now();
    while drain.outbox.borrow().waiting() < 6_010 {
        assert!(since.elapsed() < Duration::from_secs(60), "{} are waiting", drain.outbox.borrow().waiting());
        while drain.read_on() > 0 {}
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn damage_to_a_spill_costs_what_it_hits_and_holds_up_nothing() {
    use std::os::unix::fs::FileExt;
    let dir = tempfile::tempdir().unwrap();
    let fixture = Fixture::new(dir.path(), 10_000, 1 << 20);
    fixture.visit(6_000);
    let drain = fixture.drain(1);
    assert!(drain.make_room().await);
    drain.release();
    drop(drain);
    let file = std::fs::OpenOptions::new().write(true).open(dir.path().join("shard-0.spill")).unwrap();
    let hit = |click: u64| file.write_all_at(&[0xFF; 4], 64 + click * VISIT_BYTES).unwrap();
    hit(1_000);
    let drain = fixture.drain(0);
    assert_eq!(fixture.lost.get(), 1);
    // While it is open, too.
    hit(3_000);
    hit(3_001);
    let mut sent = 0;
    let since = std::time::Instant::now();
    while spilled(dir.path()) > 0 {
        assert!(since.elapsed() < Duration::from_secs(60), "{sent} were sent");
        drain.read_again(OWN);
        if !drain.outbox.borrow_mut().next(OWN, 1).is_empty() {
            sent += drain.outbox.borrow_mut().delivered(OWN);
        }
        drain.release();
    }
    assert_eq!((sent, fixture.lost.get()), (5_997, 3));
}

#[tokio::test]
async fn a_counter_that_was_rebuilt_changes_no_file_of_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let fixture = Fixture::new(dir.path(), 10_000, 1 << 20);
    fixture.visit(6_000);
    let former = fixture.drain(1);
    assert!(former.make_room().await);
    former.release();
    let next = fixture.drain(1);
    fixture.visit(1_000);
    while former.read_on() > 0 {}
    let journal = fixture.seed.journals.current().pop().unwrap();
    let (released, counted) = (journal.released(), [(journal.id(), journal.head())]);
    // The answer to its last batch comes late.
    former.outbox.borrow_mut().start_again(OWN, &counted);
    former.release();
    former.end_journals(true).await;
    assert!(!former.make_room().await);
    assert!(spilled(dir.path()) > 0, "the spill of the next one is gone");
    assert_eq!(journal.released(), released);
    while next.read_on() > 0 {}
    next.outbox.borrow_mut().start_again(OWN, &counted);
    next.release();
    assert_eq!((spilled(dir.path()), journal.released()), (0, journal.head()));
}

#[tokio::test]
async fn spilled_clicks_are_among_those_that_a_node_still_has() {
    let dir = tempfile::tempdir().unwrap();
    let fixture = Fixture::new(dir.path(), 10_000, 1 << 20);
    fixture.visit(6_000);
    let drain = fixture.drain(1);
    assert_eq!(clicks_left(dir.path()), 6_000);
    assert!(drain.make_room().await);
    drain.release();
    assert_eq!(clicks_left(dir.path()), 6_000);
    drain.outbox.borrow_mut().start_again(OWN, &[(fixture.seed.journals.current()[0].id(), 6_000)]);
    drain.release();
    assert_eq!(clicks_left(dir.path()), 0);
}

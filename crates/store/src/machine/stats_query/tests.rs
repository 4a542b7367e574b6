//! Questions about statistics, with everything that may happen between two of their steps.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use smallvec::smallvec;
use waypost_protocol::clicks::{ClickBatch, ClickDelta, JournalSpan, Tally};
use waypost_protocol::command::{Batch, Create, Delete, Edit, RecordClicks, ResetStats, ShardCommand};
use waypost_protocol::sketch::Register;
use waypost_protocol::{Code, LinkPatch, LinkSpec, NodeId, Target, UnixMs};
use waypost_telemetry::Metrics;

use super::*;
use crate::machine::Machine;
use crate::tree::READS;
use crate::{Db, DbOptions};

const FIRST_DAY: u32 = 20_000;

struct Shard {
    _dir: tempfile::TempDir,
    _db: Db,
    machine: RefCell<ShardMachine>,
    index: Cell<u64>,
    position: Cell<u64>,
    /// The day of the leader's clock.
    today: Cell<u32>,
}

fn key(name: &str) -> LinkKey {
    LinkKey::new(Code::parse_slug(name).unwrap())
}

impl Shard {
    /// With a link "one", visited twice on each of so many days, all but the last in a checkpoint.
    fn visited(days: u32) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let options = DbOptions { cache_bytes: 8 << 20, ..DbOptions::default() };
        let db = Db::open(dir.path(), &options, &Metrics::new()).unwrap();
        let machine = RefCell::new(ShardMachine::open(db.tree("sm/1").unwrap()).unwrap().0);
        let shard = Self {
            _dir: dir,
            _db: db,
            machine,
            index: Cell::new(0),
            position: Cell::new(0),
            today: Cell::new(FIRST_DAY),
        };
        shard.create();
        for day in 0..days {
            shard.checkpoint();
            shard.visit(day);
        }
        shard
    }

    fn apply(&self, command: ShardCommand) {
        let index = self.index.replace(self.index.get() + 1);
        let batch = Batch {
            level: waypost_protocol::Level::CURRENT,
            at: UnixMs(u64::from(self.today.get()) * 24 * 3_600_000),
            commands: vec![command],
        };
        self.machine.borrow_mut().apply(index, &batch).unwrap();
    }

    fn create(&self) {
        self.create_as("one");
    }

    fn create_as(&self, name: &str) {
        self.apply(ShardCommand::from(Create {
            key: key(name),
            created_by: 0,
            generated: false,
            find_existing: false,
            idempotency: None,
            spec: LinkSpec {
                target: Target::parse("https://example.com/", &[], 8192).unwrap(),
                valid_until: None,
                fields: Default::default(),
            },
        }));
    }

    fn visit(&self, day: u32) {
        self.visit_as("one", day * 24 + 7, false, 2);
    }

    /// Visits of a link in an hour since the first day.
    fn visit_as(&self, name: &str, hour: u32, bot: bool, count: u32) {
        let day = hour / 24;
        self.today.set(self.today.get().max(FIRST_DAY + day));
        let from = self.position.replace(self.position.get() + 1);
        let delta = ClickDelta {
            link: key(name).hash(),
            hour: FIRST_DAY * 24 + hour,
            last: UnixMs(1),
            tallies: smallvec![Tally { bot, values: [0, 0, 1, 0, 0, 0, 0], count }],
            visitors: smallvec![Register(day | 1)],
        };
        self.apply(ShardCommand::from(RecordClicks(Arc::new(ClickBatch {
            node: NodeId(1),
            spans: vec![JournalSpan { journal: 1, from, upto: from + 1 }],
            strings: vec!["host.example".to_owned()],
            deltas: vec![delta],
            orphans: Vec::new(),
        }))));
    }

    fn checkpoint(&self) {
        self.machine.borrow_mut().checkpoint(b"x").unwrap();
    }

    /// Asks, and does something before each lock, which is given its number.
    fn ask(&self, link: Option<LinkKey>, before: impl Fn(u32)) -> Option<Stats> {
        let locks = Cell::new(0);
        let query = StatsQuery::new(link, FIRST_DAY * 24..(FIRST_DAY + 500) * 24);
        let locked = |step: &mut dyn FnMut(&ShardMachine) -> Result<(), StoreError>| {
            before(locks.replace(locks.get() + 1));
            step(&self.machine.borrow())
        };
        told(query.answer(locked).unwrap())
    }
}

fn told(told: Told) -> Option<Stats> {
    match told {
        Told::Stats(stats) => Some(*stats),
        Told::NoLink => None,
        Told::Changing => panic!("it has to be asked again"),
    }
}

fn sum(stats: &Stats) -> u64 {
    let days: u64 = stats.days.iter().map(|(_, counts, _)| counts.people).sum();
    let hours: u64 = stats.hours.iter().map(|(_, counts)| counts.people).sum();
    let values: u64 = stats.values.iter().map(|(.., counts)| counts.people).sum();
    // Hours of long ago are folded into their days.
    assert!(days == values && days >= hours, "{stats:?}");
    days
}

#[test]
fn years_are_read_while_the_state_is_not_locked() {
    let shard = Shard::visited(300);
    for link in [Some(key("one")), None] {
        let (inside, longest) = (Cell::new(0), Cell::new(0));
        let before = READS.get();
        let query = StatsQuery::new(link, FIRST_DAY * 24..(FIRST_DAY + 3_700) * 24);
        let stats = query.answer(|step| {
            let before = READS.get();
            step(&shard.machine.borrow())?;
            let reads = READS.get() - before;
            inside.set(inside.get() + reads);
            longest.set(longest.get().max(reads));
            Ok(())
        });
        assert_eq!(sum(&told(stats.unwrap()).unwrap()), 600);
        assert!(READS.get() - before >= 3_700, "every day is looked for");
        assert!(inside.get() <= 1, "the link is found under the lock, and nothing else: {}", inside.get());
    }
}

#[test]
fn a_checkpoint_between_two_steps_loses_no_visit_and_doubles_none() {
    let steps = 2 + 500 / DAYS_AT_ONCE + 4;
    for link in [Some(key("one")), None] {
        for first in 0..steps {
            let shard = Shard::visited(100);
            // The last day is in memory until the checkpoint, and in its record afterwards.
            let stats = shard
                .ask(link.clone(), |lock| {
                    if lock == first {
                        shard.checkpoint()
                    }
                })
                .unwrap();
            assert_eq!((sum(&stats), stats.total.people, stats.days.len()), (200, 200, 100), "before lock {first}");
        }
    }
}

#[test]
fn visits_and_checkpoints_at_every_step_are_counted_as_they_come() {
    for link in [Some(key("one")), None] {
        for checkpoints in [1, 2, 5] {
            let shard = Shard::visited(60);
            let stats = shard.ask(link.clone(), |lock| {
                shard.visit(40 + lock % 20);
                shard.visit(59);
                if lock % checkpoints == 0 {
                    shard.checkpoint();
                }
            });
            let stats = stats.unwrap();
            let last = 2 * shard.position.get();
            assert!((120..=last).contains(&sum(&stats)), "{} of {last}", sum(&stats));
            let settled = shard.ask(link.clone(), |_| {}).unwrap();
            assert_eq!((sum(&settled), settled.total.people), (last, last));
        }
    }
}

#[test]
fn a_link_that_is_reset_deleted_or_made_anew_meanwhile_is_told_of_as_it_is_then() {
    for first in 1..8 {
        let shard = Shard::visited(200);
        let reset = || shard.apply(ShardCommand::from(ResetStats { key: key("one") }));
        let stats = shard
            .ask(Some(key("one")), |lock| {
                if lock == first {
                    reset()
                }
            })
            .unwrap();
        assert_eq!((sum(&stats), stats.total.people), (0, 0), "reset before lock {first}");
        // Again and again: it has to be asked again, and nobody waits for days that are read under the lock.
        shard.visit(180);
        shard.checkpoint();
        let locks = Cell::new(0);
        let query = StatsQuery::new(Some(key("one")), FIRST_DAY * 24..(FIRST_DAY + 500) * 24);
        let again = query.answer(|step| {
            if locks.replace(locks.get() + 1) > 0 {
                reset();
                shard.visit(185);
            }
            let before = READS.get();
            step(&shard.machine.borrow())?;
            assert!(READS.get() - before <= 1, "{} reads under the lock", READS.get() - before);
            Ok(())
        });
        assert_eq!(again.unwrap(), Told::Changing);
        assert_eq!(sum(&shard.ask(Some(key("one")), |_| {}).unwrap()), 2);
        let delete = || shard.apply(ShardCommand::from(Delete { key: key("one"), if_version: None }));
        let gone = shard.ask(Some(key("one")), |lock| {
            if lock == first {
                delete()
            }
        });
        assert_eq!(gone, None, "deleted before lock {first}");
    }
}

#[test]
fn a_state_that_was_replaced_by_a_snapshot_is_asked_from_the_start() {
    for link in [Some(key("one")), None] {
        for first in 1..6 {
            let shard = Shard::visited(150);
            let stats = shard.ask(link.clone(), |lock| {
                if lock == first {
                    shard.checkpoint();
                    shard.machine.borrow_mut().reopen().unwrap();
                }
            });
            let stats = stats.unwrap();
            assert_eq!((sum(&stats), stats.total.people), (300, 300), "replaced before lock {first}");
        }
    }
}

#[test]
fn the_most_visited_links_are_named_also_when_a_checkpoint_moves_them() {
    for first in 0..20 {
        let shard = Shard::visited(3);
        shard.checkpoint();
        let edit = |lock| {
            let target = Target::parse(&format!("https://example.com/{lock}"), &[], 8192).ok();
            shard.apply(ShardCommand::from(Edit {
                key: key("one"),
                if_version: None,
                patch: LinkPatch { target, valid_until: None, fields: Default::default() },
                by: None,
            }));
            shard.checkpoint();
        };
        let stats = shard
            .ask(None, |lock| {
                if lock >= first {
                    edit(lock)
                }
            })
            .unwrap();
        assert_eq!(stats.top, [(key("one"), Counts { people: 6, bots: 0 })], "from lock {first} on");
    }
}

/// The names of the links with the most visits from one hour since the first day to another, and how many they have.
fn top(shard: &Shard, hours: Range<u32>, whose: Whose) -> (Ranking, Vec<(String, u64)>) {
    let hours = FIRST_DAY * 24 + hours.start..FIRST_DAY * 24 + hours.end;
    let query = StatsQuery::new(None, hours).ranked_by(whose);
    let stats = told(query.answer(|step| step(&shard.machine.borrow())).unwrap()).unwrap();
    let name = |(key, counts): &(LinkKey, Counts)| (key.code.to_string(), whose.of(*counts));
    (stats.ranking, stats.top.iter().map(name).collect())
}

#[test]
fn the_most_visited_links_are_those_of_the_range_and_of_the_kind() {
    let shard = Shard::visited(0);
    shard.create_as("two");
    shard.create_as("bots");
    shard.visit_as("one", 5, false, 9);
    shard.visit_as("two", 30, false, 3);
    shard.checkpoint();
    shard.visit_as("one", 31, false, 1);
    shard.visit_as("two", 47, true, 1);
    shard.visit_as("bots", 31, true, 7);
    let named = |links: &[(&str, u64)]| {
        (Ranking::AsAsked, links.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect::<Vec<_>>())
    };
    for moved in [false, true] {
        if moved {
            shard.checkpoint();
        }
        assert_eq!(top(&shard, 0..100, Whose::People), named(&[("one", 10), ("two", 3)]), "all days");
        assert_eq!(top(&shard, 24..48, Whose::People), named(&[("two", 3), ("one", 1)]), "the second day");
        assert_eq!(top(&shard, 31..48, Whose::People), named(&[("one", 1)]), "some of its hours");
        assert_eq!(top(&shard, 48..72, Whose::People), named(&[]), "the day after");
        assert_eq!(top(&shard, 0..100, Whose::Bots), named(&[("bots", 7), ("two", 1)]));
        assert_eq!(top(&shard, 24..48, Whose::All), named(&[("bots", 7), ("two", 4), ("one", 1)]));
        assert_eq!(top(&shard, 0..24, Whose::Bots), named(&[]));
    }
    shard.apply(ShardCommand::from(ResetStats { key: key("two") }));
    assert_eq!(top(&shard, 24..48, Whose::All), named(&[("bots", 7), ("one", 1)]), "what was forgotten");
}

#[test]
fn without_a_ranking_all_else_is_the_same_and_no_link_is_read() {
    let shard = Shard::visited(5);
    shard.create_as("two");
    shard.visit_as("two", 30, false, 3);
    let ask = |query: StatsQuery| {
        let before = READS.get();
        let stats = told(query.answer(|step| step(&shard.machine.borrow())).unwrap()).unwrap();
        (stats, READS.get() - before)
    };
    let query = || StatsQuery::new(None, FIRST_DAY * 24..(FIRST_DAY + 3) * 24);
    let ((ranked, with_links), (stats, reads)) = (ask(query()), ask(query().unranked()));
    assert_eq!(stats, Stats { top: Vec::new(), ranking: stats.ranking, ..ranked });
    assert!(reads < with_links && reads <= 3, "{reads}, {with_links}");
}

#[test]
fn the_most_visited_links_have_as_many_visits_as_each_says_itself() {
    let shard = Shard::visited(0);
    let names: Vec<String> = (0..600).map(|i| format!("link{i}")).collect();
    names.iter().for_each(|name| shard.create_as(name));
    // A series of numbers without a pattern, the same each time.
    let mut state = 1_u64;
    let mut draw = |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    for i in 0..1500 {
        let name = &names[draw(600) as usize];
        shard.visit_as(name, (i / 125) * 24 + draw(24) as u32, draw(3) == 0, draw(40) as u32 + 1);
        if i % 400 == 399 {
            shard.checkpoint();
        }
    }
    for (hours, whose) in
        [(0..300, Whose::People), (70..95, Whose::All), (24..200, Whose::Bots), (230..288, Whose::People)]
    {
        let range = FIRST_DAY * 24 + hours.start..FIRST_DAY * 24 + hours.end;
        let of = |name: &String| {
            let stats = shard.machine.borrow().stats(Some(&key(name)), range.clone()).unwrap().unwrap();
            stats.days.iter().map(|(_, counts, _)| whose.of(*counts)).sum::<u64>()
        };
        let mut expected: Vec<u64> = names.iter().map(of).filter(|count| *count > 0).collect();
        expected.sort_unstable_by(|one, two| two.cmp(one));
        expected.truncate(50);
        let (ranking, found) = top(&shard, hours.clone(), whose);
        assert_eq!(ranking, Ranking::AsAsked);
        assert_eq!(found.iter().map(|(_, count)| *count).collect::<Vec<_>>(), expected, "{hours:?} {whose:?}");
        for (name, count) in found {
            assert_eq!(of(&name), count, "{name} in {hours:?}");
        }
    }
}

#[test]
fn a_search_that_would_read_too_much_names_no_links_and_says_so() {
    let shard = Shard::visited(0);
    let days = 4_200;
    for day in 0..days {
        shard.visit(day);
    }
    shard.checkpoint();
    assert_eq!(top(&shard, 24..days * 24, Whose::People).0, Ranking::TooMany);
    assert_eq!(
        top(&shard, 0..days * 24, Whose::People),
        (Ranking::AsAsked, vec![("one".to_owned(), 8_400)]),
        "all in memory"
    );
    assert_eq!(top(&shard, 24..1_000 * 24, Whose::People), (Ranking::AsAsked, vec![("one".to_owned(), 1_998)]));
}

#[test]
fn a_checkpoint_during_the_search_doubles_no_visit() {
    for first in 0..12 {
        let shard = Shard::visited(20);
        let locks = Cell::new(0);
        let query = StatsQuery::new(None, (FIRST_DAY + 5) * 24..(FIRST_DAY + 100) * 24);
        let stats = query.answer(|step| {
            if locks.replace(locks.get() + 1) == first {
                shard.checkpoint();
            }
            step(&shard.machine.borrow())
        });
        let stats = told(stats.unwrap()).unwrap();
        assert_eq!(stats.top, [(key("one"), Counts { people: 30, bots: 0 })], "before lock {first}");
    }
}

//! Under which hour and day visits count, and for how long hours are known.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::ops::Range;

use smallvec::smallvec;
use waypost_protocol::clicks::{ClickDelta, Tally};
use waypost_protocol::command::{Batch, ResetStats, ShardCommand};
use waypost_protocol::{Code, LinkKey, UnixMs};
use waypost_store::machine::{Machine, ShardMachine};
use waypost_store::{Db, Tree};

use super::shards::{LEVEL, at, clicks, filled, open};

const DAY: u32 = 20_000;

fn key(number: u32) -> LinkKey {
    LinkKey::new(Code::parse_slug(&format!("code{number}")).unwrap())
}

fn visits(number: u32, hour: u32, count: u32, position: u64) -> ShardCommand {
    let tallies = smallvec![Tally { bot: false, values: [0; 7], count }];
    let delta = ClickDelta { link: key(number).hash(), hour, last: UnixMs(1), tallies, visitors: smallvec![] };
    clicks((position, position + 1), Vec::new(), vec![delta])
}

fn shard() -> (tempfile::TempDir, Tree, ShardMachine) {
    let dir = tempfile::tempdir().unwrap();
    let db: Db = open(dir.path());
    let tree = db.tree("sm/1").unwrap();
    let machine = filled(tree.clone(), 12);
    (dir, tree, machine)
}

fn hours(machine: &ShardMachine, number: u32, range: Range<u32>) -> Vec<(u32, u64)> {
    let stats = machine.stats(Some(&key(number)), range).unwrap().unwrap();
    stats.hours.iter().map(|(hour, counts)| (*hour, counts.people)).collect()
}

#[test]
fn a_visit_counts_under_its_hour_if_that_is_near_the_present_and_else_under_the_present_hour() {
    let (_dir, _tree, mut machine) = shard();
    let present = DAY * 24 + 13;
    let cases = [
        (present, present),
        (present - 90 * 24, present - 90 * 24),
        (present - 90 * 24 - 1, present),
        (present + 24, present + 24),
        (present + 25, present),
        (0, present),
        (u32::MAX, present),
    ];
    for (number, (hour, _)) in (0..).zip(cases) {
        // The last millisecond of the hour.
        let now = UnixMs(u64::from(present + 1) * 3_600_000 - 1);
        let commands = vec![visits(number, hour, 3, u64::from(number))];
        machine.apply(1000 + u64::from(number), &Batch { level: LEVEL, at: now, commands }).unwrap();
    }
    for (number, (hour, counted)) in (0..).zip(cases) {
        assert_eq!(hours(&machine, number, 0..present + 1000), [(counted, 3)], "of the hour {hour}");
    }
    assert_eq!(machine.stats(None, 0..present + 1000).unwrap().unwrap().total.people, 3 * cases.len() as u64);
}

#[test]
fn hours_are_known_for_ninety_days_and_the_visits_of_a_day_for_ever() {
    let (_dir, tree, mut machine) = shard();
    let all = 0..(DAY + 500) * 24;
    for (position, (day, hour)) in (0..).zip([(DAY, 3), (DAY + 1, 5), (DAY + 2, 7)]) {
        machine.apply(1000 + position, &at(day.into(), visits(1, day * 24 + hour, 2, position))).unwrap();
    }
    machine.checkpoint(b"x").unwrap();
    let mut known = |later: u32| {
        let reset = ShardCommand::from(ResetStats { key: key(9) });
        machine.apply(2000 + u64::from(later), &at(u64::from(DAY + later), reset)).unwrap();
        machine.checkpoint(b"x").unwrap();
        let stats = machine.stats(Some(&key(1)), all.clone()).unwrap().unwrap();
        let days: Vec<(u32, u64)> = stats.days.iter().map(|(day, counts, _)| (day - DAY, counts.people)).collect();
        assert_eq!(days, [(0, 2), (1, 2), (2, 2)], "{later} days later");
        hours(&machine, 1, all.clone()).into_iter().map(|(hour, _)| hour / 24 - DAY).collect::<Vec<_>>()
    };
    assert_eq!(known(89), [0, 1, 2]);
    assert_eq!(known(90), [0, 1, 2], "the first is ninety days old");
    assert_eq!(known(91), [1, 2]);
    assert_eq!(known(92), [2]);
    assert_eq!(known(93), Vec::<u32>::new());
    let again = ShardMachine::open(tree).unwrap().0;
    assert!(hours(&again, 1, all).is_empty());
}

#[test]
fn a_shard_that_was_away_for_a_while_makes_days_of_hours_one_day_with_each_checkpoint() {
    let (_dir, tree, mut machine) = shard();
    for day in 0..3 {
        machine
            .apply(1000 + u64::from(day), &at((DAY + day).into(), visits(1, (DAY + day) * 24, 1, day.into())))
            .unwrap();
    }
    machine.checkpoint(b"x").unwrap();
    for left in [2, 1, 0] {
        machine = ShardMachine::open(tree.clone()).unwrap().0;
        machine.apply(2000, &at((DAY + 200).into(), ShardCommand::from(ResetStats { key: key(9) }))).unwrap();
        machine.checkpoint(b"x").unwrap();
        assert_eq!(hours(&machine, 1, 0..(DAY + 500) * 24).len(), left);
    }
}

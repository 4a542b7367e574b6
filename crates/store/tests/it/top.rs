//! The links with the most visits: how many are named, and in which order.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use smallvec::smallvec;
use waypost_protocol::clicks::{ClickDelta, Ranking, Tally};
use waypost_protocol::{Code, LinkKey, UnixMs};
use waypost_store::machine::{Machine, ShardMachine};

use super::shards::{at, clicks, filled, open};

const DAY: u32 = 20_000;

fn key(number: u32) -> LinkKey {
    LinkKey::new(Code::parse_slug(&format!("code{number}")).unwrap())
}

/// Visits on one day, as many for each link as `count` says.
fn visit(machine: &mut ShardMachine, day: u32, links: u32, count: impl Fn(u32) -> u32) {
    let delta = |number: u32| {
        let tallies = smallvec![Tally { bot: false, values: [0; 7], count: count(number) }];
        let hour = (DAY + day) * 24 + 6;
        ClickDelta { link: key(number).hash(), hour, last: UnixMs(1), tallies, visitors: smallvec![] }
    };
    let span = (u64::from(day), u64::from(day) + 1);
    let all = clicks(span, Vec::new(), (0..links).map(delta).collect());
    machine.apply(5000 + span.0, &at((DAY + day).into(), all)).unwrap();
}

fn top(machine: &ShardMachine, days: std::ops::Range<u32>) -> Vec<(String, u64)> {
    let stats = machine.stats(None, (DAY + days.start) * 24..(DAY + days.end) * 24).unwrap().unwrap();
    assert_eq!(stats.ranking, Ranking::AsAsked);
    stats.top.into_iter().map(|(key, counts)| (key.code.to_string(), counts.people)).collect()
}

#[test]
fn fifty_links_are_named_the_most_visited_first() {
    for links in [49, 50, 51, 300] {
        let dir = tempfile::tempdir().unwrap();
        let mut machine = filled(open(dir.path()).tree("sm/1").unwrap(), 300);
        // The first day for all; on the second the other way round.
        visit(&mut machine, 0, links, |number| 1000 + number);
        machine.checkpoint(b"x").unwrap();
        visit(&mut machine, 1, links, |number| 2 * (links - number));
        for checkpoint in [false, true] {
            if checkpoint {
                machine.checkpoint(b"x").unwrap();
            }
            let named = |number: u32, count: u32| (format!("code{number}"), u64::from(count));
            let total: Vec<_> = (0..links.min(50)).map(|at| named(at, 1000 + 2 * links - at)).collect();
            assert_eq!(top(&machine, 0..9), total, "{links} links, all days");
            let first: Vec<_> = (0..links).rev().take(50).map(|number| named(number, 1000 + number)).collect();
            assert_eq!(top(&machine, 0..1), first, "{links} links, the first day");
            let second: Vec<_> = (0..links.min(50)).map(|at| named(at, 2 * (links - at))).collect();
            assert_eq!(top(&machine, 1..2), second, "{links} links, the second day");
        }
    }
}

#[test]
fn visits_of_several_days_that_no_checkpoint_has_written_are_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let mut machine = filled(open(dir.path()).tree("sm/1").unwrap(), 3);
    for day in 0..3 {
        visit(&mut machine, day, 3, |number| 10 * (day + 1) + number);
    }
    for day in 0..3 {
        let named = |number: u32| (format!("code{number}"), u64::from(10 * (day + 1) + number));
        assert_eq!(top(&machine, day..day + 1), [2, 1, 0].map(named), "day {day}");
    }
    assert_eq!(top(&machine, 1..3)[0], ("code2".to_owned(), 22 + 32));
}

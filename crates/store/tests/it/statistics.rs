//! Statistics of links over days: what is kept apart, what is summed up, and what goes.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use smallvec::smallvec;
use waypost_protocol::clicks::{ClickDelta, Tally};
use waypost_protocol::command::{Delete, ShardCommand};
use waypost_protocol::sketch::Register;
use waypost_protocol::{Code, LinkKey, UnixMs};
use waypost_store::Tree;
use waypost_store::machine::{Machine, ShardMachine, verify_tree};

use super::shards::{at, clicks, filled, open, visitor};

#[test]
fn hours_are_folded_into_days_after_a_while_and_add_up_to_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path());
    let mut machine = filled(db.tree("sm/1").unwrap(), 3);
    let link = LinkKey::new(Code::parse_slug("code1").unwrap());
    let day = 20_000;
    for hour in 0..30 {
        let tally = Tally { bot: false, values: [0, 0, 0, 1, 0, 0, 0], count: 2 };
        let delta = ClickDelta {
            link: link.hash(),
            hour: day * 24 + hour,
            last: UnixMs(1),
            tallies: smallvec![tally],
            visitors: smallvec![Register::of(u64::from(hour) << 50 | 1)],
        };
        let hour = u64::from(hour);
        machine
            .apply(100 + hour, &at(u64::from(day) + 1, clicks((hour, hour + 1), vec!["Safari".into()], vec![delta])))
            .unwrap();
        machine.checkpoint(b"x").unwrap();
    }
    let range = day * 24..(day + 2) * 24;
    let before = machine.stats(Some(&link), range.clone()).unwrap().unwrap();
    assert_eq!((before.hours.len(), before.days.len()), (30, 2));
    assert_eq!(
        before.days.iter().map(|(_, counts, uniques)| (counts.people, *uniques)).collect::<Vec<_>>(),
        [(48, 24), (12, 6)]
    );
    assert_eq!(before.visitors.count(), 30);
    // A hundred days later, with checkpoints now and then.
    for index in 0..600u64 {
        let later = clicks((30 + index, 31 + index), Vec::new(), Vec::new());
        machine.apply(200 + index, &at(u64::from(day) + 100, later)).unwrap();
        machine.checkpoint(b"x").unwrap();
    }
    let machine = ShardMachine::open(db.tree("sm/1").unwrap()).unwrap().0;
    let after = machine.stats(Some(&link), range).unwrap().unwrap();
    assert!(after.hours.is_empty());
    assert_eq!((after.days, after.values, after.visitors), (before.days, before.values, before.visitors));
}

#[test]
fn a_link_with_endless_referrers_keeps_the_most_frequent_and_sums_up_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path());
    let tree = db.tree("sm/1").unwrap();
    let mut machine = filled(tree.clone(), 600);
    let day = 20_000u32;
    let mut position = 0;
    for round in 0..20u64 {
        for number in [0, 1, 299, 599] {
            let link = LinkKey::new(Code::parse_slug(&format!("code{number}")).unwrap());
            let strings: Vec<String> = (0..200)
                .map(|i| {
                    if i < 5 { format!("often{i}.example") } else { format!("{}.{round}.{i}.example", "x".repeat(60)) }
                })
                .collect();
            let tallies = (0..200u16)
                .map(|i| Tally { bot: false, values: [0, 0, i + 1, 0, 0, 0, 0], count: if i < 5 { 100 } else { 1 } })
                .collect();
            let visitors = (0..500u64).map(|i| visitor(round * 500 + i)).collect();
            let delta = ClickDelta { link: link.hash(), hour: day * 24 + 5, last: UnixMs(1), tallies, visitors };
            machine
                .apply(1000 + position, &at(day.into(), clicks((position, position + 1), strings, vec![delta])))
                .unwrap();
            position += 1;
        }
        machine.checkpoint(b"x").unwrap();
    }
    let total = 20 * (500 + 195);
    let machine = ShardMachine::open(tree.clone()).unwrap().0;
    for number in [0, 1, 299, 599] {
        let link = LinkKey::new(Code::parse_slug(&format!("code{number}")).unwrap());
        let stats = machine.stats(Some(&link), day * 24..(day + 1) * 24).unwrap().unwrap();
        let of = |text: &str| stats.values.iter().find(|(_, value, _)| value == text).map(|(.., counts)| counts.people);
        assert!(stats.values.len() <= 51, "{}", stats.values.len());
        assert_eq!(of("often3.example"), Some(2000));
        assert_eq!(stats.values.iter().map(|(.., counts)| counts.people).sum::<u64>(), total);
        let uniques = stats.visitors.count();
        assert!((9_700..10_300).contains(&uniques), "{uniques} of 10000");
    }
    let all = machine.stats(None, day * 24..(day + 1) * 24).unwrap().unwrap();
    assert_eq!(all.days[0].1.people, 4 * total);
    assert_eq!(all.top.len(), 4);
    assert_eq!(verify_tree(&tree).unwrap().1, Vec::<String>::new());
}

#[test]
fn what_deleted_links_leave_is_removed_from_the_database() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path());
    let tree = db.tree("sm/1").unwrap();
    let mut machine = filled(tree.clone(), 300);
    let records = |prefix: &[u8]| tree.scan_prefix(prefix).count();
    let mut position = 0;
    for day in 20_000..20_005u32 {
        for number in 0..300 {
            let link = LinkKey::new(Code::parse_slug(&format!("code{number}")).unwrap());
            // One link has so many visitors that they have a record of their own.
            let count = if number == 7 { 400 } else { 1 };
            let visitors = (0..count).map(|i| visitor(u64::from(day) * 1000 + i)).collect();
            let tallies = smallvec![Tally { bot: false, values: [0, 0, 1, 0, 0, 0, 0], count: 1 }];
            let delta = ClickDelta { link: link.hash(), hour: day * 24, last: UnixMs(1), tallies, visitors };
            let strings = vec![format!("host{number}.example")];
            machine
                .apply(1000 + position, &at(day.into(), clicks((position, position + 1), strings, vec![delta])))
                .unwrap();
            position += 1;
        }
        machine.checkpoint(b"x").unwrap();
    }
    // For each day: the link's, and that of all links.
    assert_eq!(records(b"h"), 10);
    let text = |needle: &str| {
        let holds = |value: &[u8]| value.windows(needle.len()).any(|part| part == needle.as_bytes());
        tree.scan_prefix(b"t").map(Result::unwrap).filter(|(_, value)| holds(value)).count()
    };
    assert!(text("host7.example") >= 5);
    for number in 0..299 {
        let key = LinkKey::new(Code::parse_slug(&format!("code{number}")).unwrap());
        machine.apply(5000 + number, &at(20_005, ShardCommand::from(Delete { key, if_version: None }))).unwrap();
    }
    for _ in 0..4 {
        machine.checkpoint(b"x").unwrap();
    }
    assert_eq!(records(b"h"), 5, "those of all links stay");
    let left = ShardMachine::open(tree.clone()).unwrap().0;
    let all = left.stats(None, 20_000 * 24..20_010 * 24);
    assert_eq!(all.unwrap().unwrap().total.people, 1500);
    let kept = LinkKey::new(Code::parse_slug("code299").unwrap());
    let kept = left.stats(Some(&kept), 20_000 * 24..20_010 * 24).unwrap().unwrap();
    assert_eq!(kept.days.len(), 5);
    // The strings of the sum of all links name hosts as well; pages of links do no more.
    assert!(text("host7.example") <= 5, "{}", text("host7.example"));
}

fn key(number: u32) -> LinkKey {
    LinkKey::new(Code::parse_slug(&format!("code{number}")).unwrap())
}

/// Visits of a link from some pages, one from each, by these visitors.
fn visits(number: u32, position: u64, strings: Vec<String>, visitors: impl Iterator<Item = Register>) -> ShardCommand {
    let tally = |i: usize| Tally { bot: false, values: [0, 0, i as u16 + 1, 0, 0, 0, 0], count: 1 };
    let tallies = (0..strings.len()).map(tally).collect();
    let visitors = visitors.collect();
    let delta = ClickDelta { link: key(number).hash(), hour: 20_000 * 24, last: UnixMs(1), tallies, visitors };
    clicks((position, position + 1), strings, vec![delta])
}

#[test]
fn of_a_long_referrer_the_last_eighty_bytes_are_kept_in_whole_characters() {
    let dir = tempfile::tempdir().unwrap();
    let mut machine = filled(open(dir.path()).tree("sm/1").unwrap(), 1);
    let texts = [
        "x".repeat(80),
        format!("{}{}", "y".repeat(20), "z".repeat(80)),
        "ä".repeat(50),
        format!("{}x", "ä".repeat(40)),
    ];
    machine.apply(1, &at(20_000, visits(0, 0, texts.to_vec(), std::iter::empty()))).unwrap();
    let stats = machine.stats(Some(&key(0)), 20_000 * 24..20_001 * 24).unwrap().unwrap();
    let found: Vec<String> = stats.values.into_iter().map(|(_, text, _)| text).collect();
    assert_eq!(found, ["x".repeat(80), "z".repeat(80), format!("{}x", "ä".repeat(39)), "ä".repeat(40)]);
}

#[test]
fn more_than_256_registers_of_visitors_have_a_record_of_their_own() {
    for (many, records) in [(256, 0), (257, 2)] {
        let dir = tempfile::tempdir().unwrap();
        let tree = open(dir.path()).tree("sm/1").unwrap();
        let mut machine = filled(tree.clone(), 1);
        let registers = |from: u64, many: u64| (from..from + many).map(|index| Register::of(index << 50 | 1));
        machine.apply(1, &at(20_000, visits(0, 0, vec!["a.example".into()], registers(0, many)))).unwrap();
        machine.checkpoint(b"x").unwrap();
        // The link's, and that of all links.
        assert_eq!(tree.scan_prefix(b"h").count(), records, "{many}");
        let unique = |machine: &ShardMachine, key: Option<LinkKey>| {
            machine.stats(key.as_ref(), 20_000 * 24..20_001 * 24).unwrap().unwrap().visitors.registers().len()
        };
        assert_eq!((unique(&machine, Some(key(0))), unique(&machine, None)), (many as usize, many as usize));
        // Some of them again, and two more.
        machine.apply(2, &at(20_000, visits(0, 1, vec!["a.example".into()], registers(many - 5, 7)))).unwrap();
        machine.checkpoint(b"x").unwrap();
        let machine = ShardMachine::open(tree.clone()).unwrap().0;
        assert_eq!(unique(&machine, Some(key(0))), many as usize + 2);
        assert_eq!(tree.scan_prefix(b"h").count(), 2);
    }
}

#[test]
fn a_day_with_much_to_tell_is_in_several_records_of_sixteen_kilobytes_and_in_one_again_when_its_links_are_gone() {
    let dir = tempfile::tempdir().unwrap();
    let tree = open(dir.path()).tree("sm/1").unwrap();
    let mut machine = filled(tree.clone(), 200);
    for number in 0..200 {
        let referrers = (0..40).map(|i| format!("{number}.{i}.{}.example", "r".repeat(40))).collect();
        machine
            .apply(1000 + u64::from(number), &at(20_000, visits(number, number.into(), referrers, std::iter::empty())))
            .unwrap();
    }
    machine.checkpoint(b"x").unwrap();
    // Records of the links' page; the sum of all links has a page of its own.
    let records = |tree: &Tree| -> Vec<usize> {
        tree.scan_prefix(b"t\x4e\x20\0\0\0\0").map(|record| record.unwrap().1.len()).collect()
    };
    let sizes = records(&tree);
    assert!(sizes.len() > 10 && sizes.iter().all(|bytes| *bytes <= 17 * 1024), "{sizes:?}");
    assert!(sizes[..sizes.len() - 1].iter().all(|bytes| *bytes > 12 * 1024), "{sizes:?}");
    let again = ShardMachine::open(tree.clone()).unwrap().0;
    for number in 0..200 {
        let stats = again.stats(Some(&key(number)), 20_000 * 24..20_001 * 24).unwrap().unwrap();
        assert_eq!((stats.values.len(), stats.days[0].1.people), (40, 40), "{number}");
    }
    for number in 1..200 {
        let delete = Delete { key: key(number), if_version: None };
        machine.apply(2000 + u64::from(number), &at(20_000, delete.into())).unwrap();
    }
    machine.checkpoint(b"x").unwrap();
    assert_eq!(records(&tree).len(), 1);
    let kept = ShardMachine::open(tree).unwrap().0.stats(Some(&key(0)), 20_000 * 24..20_001 * 24).unwrap().unwrap();
    assert_eq!(kept.values.len(), 40);
}

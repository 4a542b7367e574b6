//! The list of links that crawlers may follow: whatever is done to links, it names those that are marked, and no others.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use waypost_protocol::command::{Batch, Create, Delete, Edit, RemoveExpired, ShardCommand};
use waypost_protocol::properties::{CRAWLABLE, Set};
use waypost_protocol::{Code, Domain, FieldChanges, Level, LinkKey, LinkPatch, LinkSpec, Target, UnixMs};
use waypost_store::machine::{Machine, ShardMachine};
use waypost_store::{Db, DbOptions};
use waypost_telemetry::Metrics;

fn key(slug: &str) -> LinkKey {
    LinkKey::new(Code::parse_slug(slug).unwrap())
}

fn mark(crawlable: bool) -> FieldChanges {
    let mut changes = FieldChanges::default();
    CRAWLABLE.change(&mut changes, crawlable.then_some(&Set));
    changes
}

fn create(slug: &str, crawlable: bool, until: Option<u64>) -> ShardCommand {
    let target = Target::parse("https://example.com/", &[], 100).unwrap();
    let mut spec = LinkSpec { valid_until: until.map(UnixMs), ..LinkSpec::to(target) };
    spec.fields.change(&mark(crawlable));
    Create { key: key(slug), spec, created_by: 0, generated: false, find_existing: false, idempotency: None }.into()
}

fn edit(slug: &str, crawlable: bool) -> ShardCommand {
    let patch = LinkPatch { fields: mark(crawlable), ..LinkPatch::default() };
    Edit { key: key(slug), if_version: None, patch, by: None }.into()
}

#[test]
fn the_list_follows_every_change_and_is_the_same_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let db =
        Db::open(dir.path(), &DbOptions { cache_bytes: 8 << 20, ..DbOptions::default() }, &Metrics::new()).unwrap();
    let (mut machine, _) = ShardMachine::open(db.tree("sm/1").unwrap()).unwrap();
    let mut index = 0;
    let mut apply = |machine: &mut ShardMachine, command: ShardCommand| {
        index += 1;
        machine.apply(index, &Batch { level: Level::CURRENT, at: UnixMs(1000), commands: vec![command] }).unwrap();
    };
    let listed = |machine: &ShardMachine| -> Vec<String> {
        machine.crawlable(Domain::default(), 10, 1000).iter().map(Code::to_string).collect()
    };
    let check = |machine: &mut ShardMachine, expected: &[&str]| {
        assert_eq!(listed(machine), expected);
        machine.checkpoint(b"").unwrap();
        machine.reopen().unwrap();
        assert_eq!(listed(machine), expected, "after a restart");
    };
    for (slug, crawlable, until) in [("b", true, None), ("c", false, None), ("a", true, Some(500)), ("d", true, None)] {
        apply(&mut machine, create(slug, crawlable, until));
    }
    check(&mut machine, &["a", "b", "d"]);
    // Claimed already.
    apply(&mut machine, create("c", true, None));
    apply(&mut machine, edit("b", false));
    apply(&mut machine, edit("d", true));
    check(&mut machine, &["a", "d"]);
    apply(&mut machine, edit("c", true));
    apply(&mut machine, RemoveExpired { keys: vec![key("a")], before: UnixMs(600) }.into());
    check(&mut machine, &["c", "d"]);
    apply(&mut machine, Delete { key: key("d"), if_version: None }.into());
    check(&mut machine, &["c"]);
    assert_eq!(machine.crawlable(Domain(1), 10, 1000), []);
    apply(&mut machine, create("e", true, None));
    assert_eq!([10, 11, 21, 22].map(|bytes| machine.crawlable(Domain::default(), 10, bytes).len()), [0, 1, 1, 2]);
}

//! Limits of visits: how many are used is a part of the state, like the links.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use waypost_protocol::command::{Batch, Create, Delete, Edit, ResetStats, ShardCommand, ShardOutcome, UseVisit};
use waypost_protocol::properties::{MAX_VISITS, REDIRECT_STATUS, RedirectStatus, VALID_SINCE};
use waypost_protocol::{Code, Domain, FieldChanges, Level, LinkKey, LinkPatch, LinkSpec, SpecError, Target, UnixMs};
use waypost_store::machine::{Machine, ShardMachine, snapshot};
use waypost_store::{Db, DbOptions, Tree};
use waypost_telemetry::Metrics;

const TREE: &str = "sm/1";

fn open(dir: &std::path::Path) -> Db {
    Db::open(dir, &DbOptions { cache_bytes: 8 << 20, ..DbOptions::default() }, &Metrics::new()).unwrap()
}

fn key(slug: &str) -> LinkKey {
    LinkKey::new(Code::parse_slug(slug).unwrap())
}

struct Shard {
    machine: ShardMachine,
    index: u64,
    level: Level,
}

impl Shard {
    fn new(tree: Tree) -> Self {
        Self { machine: ShardMachine::open(tree).unwrap().0, index: 0, level: Level::THREE }
    }

    fn apply(&mut self, command: impl Into<ShardCommand>) -> ShardOutcome {
        self.index += 1;
        let batch = Batch { level: self.level, at: UnixMs(1_700_000_000_000), commands: vec![command.into()] };
        self.machine.apply(self.index, &batch).unwrap().remove(0)
    }

    fn create(&mut self, slug: &str, limit: Option<u64>) {
        let spec = LinkSpec::to(Target::parse("https://example.com/", &[], 100).unwrap());
        let (idempotency, created_by, generated, find_existing) = (None, 0, false, false);
        let new = Create { key: key(slug), spec, created_by, generated, find_existing, idempotency };
        assert!(matches!(self.apply(new), ShardOutcome::Created(_)));
        if limit.is_some() {
            self.limit(slug, limit);
        }
    }

    fn edit(&mut self, slug: &str, patch: LinkPatch) -> ShardOutcome {
        self.apply(Edit { key: key(slug), if_version: None, patch, by: None })
    }

    fn limit(&mut self, slug: &str, limit: Option<u64>) {
        let mut patch = LinkPatch::default();
        MAX_VISITS.change(&mut patch.fields, limit.map(|limit| limit.try_into().unwrap()).as_ref());
        assert!(matches!(self.edit(slug, patch), ShardOutcome::Edited(_)));
    }

    /// How many of so many visits are let pass.
    fn visits(&mut self, slug: &str, many: usize) -> usize {
        (0..many).filter(|_| self.apply(UseVisit { key: key(slug) }) == ShardOutcome::Done).count()
    }

    fn used(&self, slug: &str) -> u64 {
        self.machine.used_visits(&key(slug))
    }
}

#[test]
fn as_many_visits_pass_as_the_limit_has_and_a_higher_one_or_none_opens_the_link_again() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path());
    let mut shard = Shard::new(db.tree(TREE).unwrap());
    shard.create("limited", Some(3));
    shard.create("free", None);
    assert_eq!((shard.visits("limited", 5), shard.visits("free", 5)), (3, 5));
    assert_eq!((shard.used("limited"), shard.used("free")), (3, 0));
    assert_eq!(shard.apply(UseVisit { key: key("limited") }), ShardOutcome::Exhausted);
    assert_eq!(shard.apply(UseVisit { key: key("nothing") }), ShardOutcome::NotFound);
    // Statistics are another thing.
    shard.apply(ResetStats { key: key("limited") });
    assert_eq!(shard.visits("limited", 1), 0);
    shard.limit("limited", Some(5));
    assert_eq!(shard.visits("limited", 5), 2);
    shard.limit("limited", Some(2));
    assert_eq!((shard.visits("limited", 1), shard.used("limited")), (0, 5));
    shard.limit("limited", None);
    assert_eq!((shard.visits("limited", 9), shard.used("limited")), (9, 0));
    shard.limit("limited", Some(1));
    assert_eq!(shard.visits("limited", 9), 1);
    // Nor does the next link of a code, or in a slot, have visits of the last one.
    shard.apply(Delete { key: key("limited"), if_version: None });
    shard.create("limited", Some(2));
    assert_eq!(shard.visits("limited", 9), 2);
}

#[test]
fn a_link_whose_visits_are_used_is_not_found_by_its_properties() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path());
    let mut shard = Shard::new(db.tree(TREE).unwrap());
    let mut spec = LinkSpec::to(Target::parse("https://example.com/", &[], 100).unwrap());
    let mut changes = FieldChanges::default();
    MAX_VISITS.change(&mut changes, Some(&1.try_into().unwrap()));
    spec.fields.change(&changes);
    let find = |slug: &str| {
        let (idempotency, created_by, generated, find_existing) = (None, 0, true, true);
        Create { key: key(slug), spec: spec.clone(), created_by, generated, find_existing, idempotency }
    };
    let code = |outcome: ShardOutcome| match outcome {
        ShardOutcome::Created(link) | ShardOutcome::Existing(link) => link.key.code.to_string(),
        other => panic!("{other:?}"),
    };
    let found = |shard: &Shard| {
        let found = shard.machine.existing(Domain::default(), &spec, UnixMs(1_700_000_000_000)).unwrap();
        found.map(|link| link.key.code.to_string())
    };
    assert_eq!(code(shard.apply(find("one"))), "one");
    assert_eq!((code(shard.apply(find("two"))), found(&shard)), ("one".to_owned(), Some("one".to_owned())));
    assert_eq!(shard.visits("one", 2), 1);
    assert_eq!(found(&shard), None);
    assert_eq!(code(shard.apply(find("two"))), "two");
    assert_eq!((code(shard.apply(find("three"))), found(&shard)), ("two".to_owned(), Some("two".to_owned())));
}

#[test]
fn used_visits_are_in_checkpoints_and_snapshots() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path());
    let tree = db.tree(TREE).unwrap();
    let mut shard = Shard::new(tree.clone());
    // More than a page of slots.
    (0..300).for_each(|number| shard.create(&format!("l{number}"), None));
    for (slug, limit) in [("l0", 9), ("l299", 3), ("l150", 1)] {
        shard.limit(slug, Some(limit));
        shard.visits(slug, 2);
    }
    assert!(shard.machine.pending_bytes() > 0);
    shard.machine.checkpoint(b"one").unwrap();
    let used = |shard: &Shard| ["l0", "l1", "l150", "l299"].map(|slug| shard.used(slug));
    let mut again = Shard::new(tree.clone());
    assert_eq!(used(&again), [2, 0, 1, 2]);
    // The only one of its page leaves no record.
    let pages = |tree: &Tree| tree.scan_prefix(b"u").count();
    assert_eq!(pages(&tree), 2);
    again.limit("l299", None);
    again.visits("l0", 1);
    again.machine.checkpoint(b"two").unwrap();
    assert_eq!((used(&Shard::new(tree.clone())), pages(&tree)), ([3, 0, 1, 0], 1));

    let path = dir.path().join("snapshot");
    snapshot::export(&tree, 1, b"two", &std::fs::File::create(&path).unwrap(), 0).unwrap();
    let other = tempfile::tempdir().unwrap();
    let copied = open(other.path()).tree(TREE).unwrap();
    assert_eq!(snapshot::import(&copied, 1, &path).unwrap(), b"two");
    assert_eq!(used(&Shard::new(copied)), [3, 0, 1, 0]);
}

#[test]
fn the_record_of_used_visits_keeps_its_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path());
    let tree = db.tree(TREE).unwrap();
    let mut shard = Shard::new(tree.clone());
    shard.create("limited", Some(500));
    shard.visits("limited", 300);
    shard.machine.checkpoint(b"position").unwrap();
    let (key, value) = tree.scan_prefix(b"u").next().unwrap().unwrap();
    assert_eq!(&*key, b"u\0\0\0\0");
    // Version 1, one slot, number 0, 300 visits; then the checksum.
    assert_eq!(value[..value.len() - 16], [1, 1, 0, 0xac, 2]);
}

#[test]
fn an_edit_that_does_not_fit_what_stays_is_refused_since_level_3() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path());
    let mut shard = Shard::new(db.tree(TREE).unwrap());
    shard.level = Level::TWO;
    shard.create("link", None);
    let since = |since: u64| {
        let mut fields = FieldChanges::default();
        VALID_SINCE.change(&mut fields, Some(&UnixMs(since)));
        LinkPatch { fields, ..LinkPatch::default() }
    };
    let until = |until: u64| LinkPatch { valid_until: Some(Some(UnixMs(until))), ..LinkPatch::default() };
    assert!(matches!(shard.edit("link", until(10)), ShardOutcome::Edited(_)));
    // As all members of a cluster of that level do.
    assert!(matches!(shard.edit("link", since(11)), ShardOutcome::Edited(_)));
    shard.level = Level::THREE;
    let status = |status: Option<RedirectStatus>| {
        let mut fields = FieldChanges::default();
        REDIRECT_STATUS.change(&mut fields, status.as_ref());
        LinkPatch { fields, ..LinkPatch::default() }
    };
    assert!(matches!(shard.edit("link", status(None)), ShardOutcome::Edited(_)), "what does not fit already stays");
    assert!(matches!(shard.edit("link", since(9)), ShardOutcome::Edited(_)));
    assert_eq!(shard.edit("link", since(10)), ShardOutcome::Refused(SpecError::BeginAfterEnd));
    assert_eq!(shard.edit("link", until(9)), ShardOutcome::Refused(SpecError::BeginAfterEnd));
    assert!(matches!(shard.edit("link", until(20)), ShardOutcome::Edited(_)));
    shard.limit("link", Some(5));
    let permanent = status(Some(RedirectStatus::MovedPermanently));
    assert_eq!(shard.edit("link", permanent.clone()), ShardOutcome::Refused(SpecError::PermanentLimited));
    shard.limit("link", None);
    assert!(matches!(shard.edit("link", permanent), ShardOutcome::Edited(_)));
}

//! Which link find-existing answers: the oldest one to a URL that is there.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use waypost_protocol::command::{Create, Delete, Edit, ShardCommand};
use waypost_protocol::{Code, Domain, LinkKey, LinkPatch, LinkSpec, Target, UnixMs};
use waypost_store::machine::ShardMachine;

use super::log::Log;
use super::shards::{LEVEL, open};

fn key(slug: &str) -> LinkKey {
    LinkKey::new(Code::parse_slug(slug).unwrap())
}

fn spec(path: &str) -> LinkSpec {
    LinkSpec::to(Target::parse(&format!("https://example.com/{path}"), &[], 100).unwrap())
}

fn existing(machine: &ShardMachine, path: &str) -> Option<String> {
    let link = machine.existing(Domain::default(), &spec(path), UnixMs(1)).unwrap();
    link.map(|link| link.key.code.to_string())
}

#[test]
fn of_links_to_one_url_the_oldest_is_found_and_the_next_when_that_one_is_gone_or_leads_elsewhere() {
    for stored in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let db = open(dir.path());
        let mut log = Log::<ShardMachine>::open(&db, "sm/1");
        for (slug, generated) in [("chosen", false), ("one", true), ("two", true), ("three", true)] {
            let (idempotency, created_by, find_existing) = (None, 0, false);
            let new = Create { key: key(slug), spec: spec("a"), created_by, generated, find_existing, idempotency };
            log.apply(LEVEL, ShardCommand::from(new));
        }
        if stored {
            log.checkpoint();
            log = Log::open(&db, "sm/1");
        }
        assert_eq!((existing(&log.machine, "a").as_deref(), existing(&log.machine, "b")), (Some("one"), None));
        log.apply(LEVEL, ShardCommand::from(Delete { key: key("one"), if_version: None }));
        assert_eq!(existing(&log.machine, "a").as_deref(), Some("two"));
        let patch = LinkPatch { target: Some(spec("b").target), ..LinkPatch::default() };
        log.apply(LEVEL, ShardCommand::from(Edit { key: key("two"), if_version: None, patch, by: None }));
        let found = (existing(&log.machine, "a"), existing(&log.machine, "b"));
        assert_eq!(found, (Some("three".to_owned()), Some("two".to_owned())));
    }
}

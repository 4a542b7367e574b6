//! Shards with links, and commands for them.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use waypost_protocol::clicks::{ClickBatch, ClickDelta, JournalSpan};
use waypost_protocol::command::{Batch, Create, RecordClicks, ShardCommand};
use waypost_protocol::sketch::Register;
use waypost_protocol::{Code, Level, LinkKey, LinkSpec, NodeId, Target, UnixMs};
use waypost_store::machine::{Machine, ShardMachine};
use waypost_store::{Db, DbOptions};
use waypost_telemetry::Metrics;

pub(super) const START: u64 = 1_000_000;
pub(super) const LEVEL: Level = Level::CURRENT;

pub(super) fn open(dir: &std::path::Path) -> Db {
    Db::open(dir, &DbOptions { cache_bytes: 8 << 20, ..DbOptions::default() }, &Metrics::new()).unwrap()
}

/// A shard with so many links, `code0` and on, all of them in a checkpoint.
pub(super) fn filled(tree: waypost_store::Tree, links: u16) -> ShardMachine {
    let (mut machine, _) = ShardMachine::open(tree).unwrap();
    for number in 0..links {
        let new = Create {
            key: LinkKey::new(Code::parse_slug(&format!("code{number}")).unwrap()),
            created_by: 0,
            generated: true,
            find_existing: false,
            idempotency: None,
            spec: LinkSpec {
                target: Target::parse(&format!("https://example.com/{number}"), &[], 8192).unwrap(),
                valid_until: None,
                fields: Default::default(),
            },
        };
        let batch = Batch { level: LEVEL, at: UnixMs(START), commands: vec![ShardCommand::from(new)] };
        machine.apply(u64::from(number), &batch).unwrap();
    }
    machine.checkpoint(b"here").unwrap();
    machine
}

pub(super) fn clicks(span: (u64, u64), strings: Vec<String>, deltas: Vec<ClickDelta>) -> ShardCommand {
    let spans = vec![JournalSpan { journal: 1, from: span.0, upto: span.1 }];
    ShardCommand::from(RecordClicks(Arc::new(ClickBatch {
        node: NodeId(1),
        spans,
        strings,
        deltas,
        orphans: Vec::new(),
    })))
}

pub(super) fn visitor(number: u64) -> Register {
    let hash = blake3::hash(&number.to_le_bytes());
    Register::of(u64::from_le_bytes(hash.as_bytes()[..8].try_into().unwrap()))
}

pub(super) const DAY_MS: u64 = 24 * 3_600_000;

pub(super) fn at(day: u64, command: ShardCommand) -> Batch<ShardCommand> {
    Batch { level: LEVEL, at: UnixMs(day * DAY_MS), commands: vec![command] }
}

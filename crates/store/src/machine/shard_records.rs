//! The stored form of a shard. A checkpoint writes the changed records, in one atomic batch.
//!
//! | key | record |
//! |---|---|
//! | `m` | position in the log, and the small parts of the state |
//! | `b` + number | a block of links (`block.rs`) |
//! | `c` + number | a block of histories (`histories.rs`); since level 3 |
//! | `v` + page | the visits of 256 slots |
//! | `t`, `h` | statistics of visits (`stats_page.rs`) |
//! | `o` | orphan visits (`orphans.rs`) |
//! | `j` + node | the counted positions of the node's journals (`positions.rs`) |
//! | `u` + page | used visits of limited links (`used_visits.rs`) |
//! | `i` + number | idempotency keys, in the order of their arrival (`idempotency.rs`) |

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use waypost_protocol::clicks::Counts;
use waypost_protocol::{Level, NoRecord, Record, UnixMs};

use super::record::{META_KEY, SHARD_META_VERSION, seal};
use crate::Tree;

/// What a checkpoint writes whole.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct ShardMeta {
    /// The proposer's time of the last entry; before level 1 the largest.
    pub(super) applied_at: UnixMs,
    /// How far the clicks of each journal were counted, and when that was last told; since level 1 only of journals of which nothing
    /// was heard since (`positions.rs`).
    pub(super) journals: BTreeMap<u64, JournalPosition>,
    /// Days before this one since 1970 have no hours any more.
    pub(super) folded: u32,
    /// The first day that has statistics; 0 = none has.
    pub(super) first_day: u32,
    /// The next day whose records are searched for statistics of deleted links; `u32::MAX` = no link was deleted since the last search.
    pub(super) sweep: u32,
    /// All visits ever, also of links that are no more.
    pub(super) total: Counts,
}

/// How far the clicks of a journal were counted.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(super) struct JournalPosition {
    pub(super) position: u64,
    /// When that was last told.
    pub(super) heard: UnixMs,
}

/// Version 1 of the record `m`, which is written at level 0.
#[derive(Serialize, Deserialize)]
pub(super) struct MetaRecordV1 {
    position: Vec<u8>,
    next_block: u32,
    meta: ShardMeta,
}

impl Record for MetaRecordV1 {
    const VERSION: u8 = 1;
    type Previous = NoRecord;

    fn migrate(previous: NoRecord) -> Self {
        match previous {}
    }
}

/// Version 2 of the record `m`, since level 1.
#[derive(Serialize, Deserialize)]
pub(super) struct MetaRecord {
    pub(super) position: Vec<u8>,
    pub(super) next_block: u32,
    pub(super) meta: ShardMeta,
    pub(super) level: Level,
}

const _: () = assert!(MetaRecord::VERSION == SHARD_META_VERSION);

impl Record for MetaRecord {
    const VERSION: u8 = 2;
    type Previous = MetaRecordV1;

    fn migrate(previous: MetaRecordV1) -> Self {
        let MetaRecordV1 { position, next_block, meta } = previous;
        Self { position, next_block, meta, level: Level::BASE }
    }
}

impl MetaRecord {
    /// Seals the record, in the version of its level.
    pub(super) fn seal(self, tree: &Tree) -> Vec<u8> {
        let Self { position, next_block, meta, level } = self;
        let (version, payload) = match level {
            Level::BASE => (MetaRecordV1::VERSION, MetaRecordV1 { position, next_block, meta }.write()),
            _ => (Self::VERSION, Self { position, next_block, meta, level }.write()),
        };
        seal(tree.name(), META_KEY, version, &payload)
    }
}

//! The shards that an answer lacks.

use waypost_protocol::ShardId;

/// The numbers of shards, as answers name them.
pub(in crate::http) fn numbers<'a>(shards: impl IntoIterator<Item = &'a ShardId>) -> Vec<u32> {
    shards.into_iter().map(|shard| shard.0).collect()
}

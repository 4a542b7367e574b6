//! What the state of a shard takes of memory.

use super::ShardMachine;

/// What the state of a shard takes of memory, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ShardMemory {
    /// The index of links, and links that are in no block yet.
    pub index: u64,
    /// The visits of links.
    pub counters: u64,
}

impl ShardMachine {
    /// About how much memory the state takes.
    pub fn memory(&self) -> ShardMemory {
        ShardMemory { index: self.links.memory(), counters: self.counters.memory() }
    }
}

//! What a node knows of its memory: how much it may take, how much it has taken, and what it refuses for want of it. `node/memory.rs` looks.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use waypost_telemetry::memory_limit;

use crate::config::MemoryBudget;

/// The memory of the node, for all who have to know.
#[derive(Debug, Default)]
pub struct NodeMemory {
    /// What the node may take, in bytes; 0 = it is not guarded.
    pub budget: u64,
    taken: AtomicU64,
    /// Set while no links are created.
    pub short: Arc<AtomicBool>,
    /// Set while no log entries are taken.
    pub exhausted: Arc<AtomicBool>,
}

impl NodeMemory {
    /// The memory that the configuration allows.
    pub fn new(budget: MemoryBudget) -> Self {
        let budget = match budget {
            MemoryBudget::Auto => memory_limit().unwrap_or(0),
            MemoryBudget::Off => 0,
            MemoryBudget::Bytes(bytes) => bytes,
        };
        Self { budget, ..Self::default() }
    }

    /// Notes the memory that is taken.
    pub fn note(&self, taken: u64) {
        self.taken.store(taken, Ordering::Relaxed);
    }

    /// The anonymous memory that the process had taken at the last look, and its budget, in bytes; `None` = it is not guarded.
    pub fn report(&self) -> Option<(u64, u64)> {
        (self.budget > 0).then(|| (self.taken.load(Ordering::Relaxed), self.budget))
    }

    /// Whether no links are created because memory is short.
    pub fn is_short(&self) -> bool {
        self.short.load(Ordering::Relaxed)
    }
}

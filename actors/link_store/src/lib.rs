//! LinkStore: the links of the shards on this node. One actor for each shard.
//!
//! Guarantee: a created link is durable on a quorum before the caller gets the answer. The actor holds nothing that
//! cannot be rebuilt: the state is in the group, and the group's state is in its log.

mod catalog;
mod keys;
mod leader_budget;
mod shard;
mod stats;
mod visits;

use std::time::Duration;

use waypost_runtime::{OnExhausted, Spec};

pub use catalog::{CatalogSeed, CatalogStatus, NodeCatalog, SEEN_MAX, Scan};
pub use leader_budget::LeaderBudget;
pub use shard::{LinkStoreActor, Seed};
pub use stats::Readers;

/// Bounds and restart policy. `inflight_max` is the number of requests that one shard may hold, `statistics_max` that of
/// statistics requests.
///
/// After three panics a minute the process exits: something is wrong with the state or the code. A restart of the process
/// replays the log, which a fourth restart of the actor would not.
pub fn spec(inflight_max: usize, statistics_max: usize) -> Spec {
    Spec {
        name: "link_store",
        inflight_max,
        slow_reads_max: statistics_max,
        restarts_max: 3,
        restart_window: Duration::from_secs(60),
        backoff_first: Duration::from_millis(10),
        backoff_max: Duration::from_secs(1),
        on_exhausted: OnExhausted::ExitProcess,
        needed: true,
    }
}

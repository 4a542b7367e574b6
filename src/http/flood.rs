//! What a request for a code costs its client: a client that has used up its budget of unknown codes (`unknown.rs`) is refused before another
//! node is asked.

use std::net::IpAddr;
use std::time::Instant;

use waypost_consensus::Standing;
use waypost_protocol::LinkKey;

use super::problem::Problem;
use super::state::NodeState;

/// Refuses to look further for a code, if its client has used up its budget and the code is unknown here.
pub(super) async fn refuse_flood(node: &NodeState, client: Option<IpAddr>, key: &LinkKey) -> Result<(), Problem> {
    let is_over = client.is_some_and(|client| node.unknown.is_over(client, Instant::now()));
    if !is_over || may_be_known(node, key).await {
        return Ok(());
    }
    node.unknown.refused.inc();
    Err(Problem::too_many_unknown())
}

/// Refuses a preview, if its client has used up its budget: each one asks the shard of the link, as an unknown code does, and nobody has to follow them.
pub(super) fn refuse_preview(node: &NodeState, client: Option<IpAddr>) -> Result<(), Problem> {
    if client.is_none_or(|client| !node.unknown.is_over(client, Instant::now())) {
        return Ok(());
    }
    node.unknown.refused.inc();
    Err(Problem::too_many_unknown())
}

/// Charges the client for a code that no node knew, or for a preview.
pub(super) fn note_unknown(node: &NodeState, client: Option<IpAddr>) {
    if let Some(client) = client {
        node.unknown.charge(client, Instant::now());
    }
}

/// Whether the replica of this node has the link, or cannot tell because it lags.
async fn may_be_known(node: &NodeState, key: &LinkKey) -> bool {
    let shard = key.shard(node.shards);
    let Some(group) = node.groups.shard(shard).filter(|_| node.groups.holds(shard)) else { return false };
    match node.fresh.sure(shard).await {
        // If it cannot be read, the shard's actor has to answer.
        Standing::Fresh(_) | Standing::Leaderless => !matches!(group.read(|machine| machine.get(key)), Ok(None)),
        Standing::Lags | Standing::Unsure => true,
    }
}

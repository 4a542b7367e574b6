//! The steps of a stop: the node hands over the groups that it leads, lets open requests end, and closes its store.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use waypost_consensus::Groups;
use waypost_link_store::NodeCatalog;
use waypost_store::Db;

use super::error::NodeError;
use crate::lifecycle::Lifecycle;
use crate::limits::HAND_OVER_MAX;

/// How often a stopping node checks whether requests are still open.
pub(super) const DRAIN_LOOK: Duration = Duration::from_millis(50);

/// Waits until no request is being answered, in two checks in a row. Idle connections are not waited for: their clients
/// could keep a node from stopping for as long as they like.
pub(super) async fn end_requests(lifecycle: &Lifecycle, grace: Duration) {
    let deadline = tokio::time::Instant::now() + grace;
    let mut quiet = 0;
    while quiet < 2 {
        if tokio::time::Instant::now() >= deadline {
            tracing::warn!(open = lifecycle.open_requests(), "requests did not end in time");
            return;
        }
        tokio::time::sleep(DRAIN_LOOK).await;
        quiet = if lifecycle.open_requests() == 0 { quiet + 1 } else { 0 };
    }
}

/// Hands over the groups that this node leads, so that nobody has to wait for an election.
pub(super) async fn hand_over(groups: &Arc<Groups>, engine: &tokio::runtime::Handle) {
    let groups = groups.clone();
    // Awaited below.
    let handing = engine.spawn(async move {
        let shards = groups.shards().iter().filter(|group| group.is_leader() && group.voters().len() > 1);
        let shards = join_all(shards.map(|group| group.hand_over(None, HAND_OVER_MAX))).await;
        let cluster = groups.cluster();
        let cluster = match cluster.is_leader() && cluster.voters().len() > 1 {
            true => cluster.hand_over(None, HAND_OVER_MAX).await,
            false => true,
        };
        shards.into_iter().all(|moved| moved) && cluster
    });
    if !matches!(handing.await, Ok(true)) {
        tracing::warn!("not all groups found another leader before the stop; they will elect one");
    }
}

/// Closes the groups, each with a checkpoint, then the catalog, which has what they have by then, and then the store.
///
/// # Errors
/// If a group or the store does not close in order.
pub(super) async fn close(
    groups: Arc<Groups>,
    catalog: Arc<NodeCatalog>,
    db: Db,
    engine: &tokio::runtime::Handle,
) -> Result<(), NodeError> {
    let failed = |error: tokio::task::JoinError| NodeError::Start(error.to_string());
    // Awaited here, all of them.
    engine.spawn(async move { groups.close().await }).await.map_err(failed)??;
    tokio::task::spawn_blocking(move || catalog.stop()).await.map_err(failed)?;
    tokio::task::spawn_blocking(move || db.close()).await.map_err(failed)??;
    Ok(())
}

//! What a starting node waits for before it says that it is ready.

use std::time::Duration;

use waypost_consensus::{Freshness, Groups};

use super::services::Services;
use crate::cluster::PlacementController;
use crate::limits::{CATCH_UP_MAX, KNOWN_MAX};

/// How often it is looked whether the node is ready.
const LOOK: Duration = Duration::from_millis(10);

/// Waits until the cluster is bootstrapped and knows this node, and its replicas have caught up.
pub(super) async fn wait(services: &Services) {
    bootstrapped(&services.controller).await;
    known_to_cluster(&services.groups).await;
    caught_up(&services.fresh).await;
}

/// Waits until the cluster is bootstrapped, for as long as that takes: before, there is nothing to serve. Logs what it waits for.
async fn bootstrapped(controller: &PlacementController) {
    let mut told = String::new();
    while let Some(why) = controller.pending_bootstrap() {
        if why != told {
            tracing::info!("the cluster is being created: {why}");
            told = why;
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Waits until group 0 knows this node: only then is it part of the cluster. Without a majority that may take long, and
/// redirects go on meanwhile, so it is not waited for without end.
async fn known_to_cluster(groups: &Groups) {
    let deadline = tokio::time::Instant::now() + KNOWN_MAX;
    let known = || groups.cluster().read(|machine| machine.state().nodes.contains_key(&groups.node()));
    while !known() && tokio::time::Instant::now() < deadline {
        tokio::time::sleep(LOOK).await;
    }
}

/// Waits until the replicas of this node show what was acknowledged before it started.
async fn caught_up(fresh: &Freshness) {
    let deadline = tokio::time::Instant::now() + CATCH_UP_MAX;
    while fresh.catching_up() > 0 {
        if tokio::time::Instant::now() >= deadline {
            tracing::warn!(
                shards = fresh.catching_up(),
                "some replicas have not caught up yet; others answer for them"
            );
            return;
        }
        tokio::time::sleep(LOOK).await;
    }
}

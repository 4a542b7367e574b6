//! `/health/live` and `/health/ready`, for orchestrators and load balancers.

use actix_web::{HttpResponse, web};
use serde::Serialize;
use utoipa::ToSchema;
use waypost_consensus::GroupStatus;

use super::problem::Problem;
use super::state::NodeState;

/// The process runs.
#[derive(Serialize, ToSchema)]
pub(super) struct Live {
    #[schema(example = "live")]
    status: &'static str,
}

/// The node answers requests.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Ready {
    #[schema(example = "ready")]
    status: &'static str,
    /// Whether it accepts changes of all links.
    writable: bool,
    /// The number of shards.
    shards: u32,
    /// Groups without a leader.
    leaderless: Vec<u32>,
    /// What the node has too little of: `disk` (it refuses changes), `memory` (it creates no links).
    short_of: Vec<&'static str>,
    /// Services that panicked too often and stay down, and without which redirects go on.
    given_up: Vec<&'static str>,
}

/// The process runs and its HTTP workers answer.
#[utoipa::path(get, path = "/health/live", operation_id = "getLiveness", tag = "Health",
    responses((status = 200, description = "The process runs", body = Live)))]
pub(super) async fn live() -> HttpResponse {
    HttpResponse::Ok().json(Live { status: "live" })
}

/// The node answers requests: its state includes everything that had been acknowledged when it started, as far as it could ask a leader. A
/// node that is read-only, short of memory, or has groups without a leader, is ready, because redirects go on; `writable` is false then.
#[utoipa::path(get, path = "/health/ready", operation_id = "getReadiness", tag = "Health",
    responses((status = 200, description = "The node answers requests", body = Ready)))]
pub(super) async fn ready(node: web::Data<NodeState>) -> Result<HttpResponse, Problem> {
    if node.draining() {
        return Err(Problem::not_ready("the server is stopping"));
    }
    // Redirects need no leader: a replica answers them. So in a cluster a group without a leader does not make the node unready.
    let alone = |group: &GroupStatus| group.voters.len() == 1 && group.voters.contains(&node.groups.node());
    let leaderless: Vec<u32> = node
        .groups
        .status()
        .iter()
        .filter(|group| group.led_by.is_none() && !group.voters.is_empty())
        .map(|group| group.group)
        .collect();
    if let Some(group) = node.groups.status().iter().find(|group| alone(group) && !group.leader) {
        return Err(Problem::not_ready(format!("group {} has no leader", group.group)));
    }
    if node.groups.cluster().read(|machine| !machine.state().nodes.contains_key(&node.groups.node())) {
        return Err(Problem::not_ready("the cluster does not know this node yet"));
    }
    let given_up = node.supervision.given_up();
    if let Some(down) = given_up.iter().find(|down| down.needed) {
        let actor = down.actor;
        return Err(Problem::not_ready(format!(
            "the service {actor} panicked too often and stays down; start the node again, and report the panic in its log"
        )));
    }
    if let Some(why) = node.app.pending_bootstrap() {
        return Err(Problem::not_ready(format!("the cluster is being created: {why}")));
    }
    let behind = node.fresh.catching_up();
    if behind > 0 {
        return Err(Problem::not_ready(format!("the replicas of {behind} shards are catching up")));
    }
    let short = [("disk", node.app.is_read_only()), ("memory", node.memory.is_short())];
    let short_of: Vec<&str> = short.into_iter().filter(|(_, short)| *short).map(|(what, _)| what).collect();
    Ok(HttpResponse::Ok().json(Ready {
        status: "ready",
        writable: leaderless.is_empty() && short_of.is_empty(),
        shards: node.shards,
        leaderless,
        short_of,
        given_up: given_up.iter().map(|down| down.actor).collect(),
    }))
}

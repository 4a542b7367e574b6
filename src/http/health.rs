//! `/health/live` and `/health/ready`, for orchestrators and load balancers.

use std::sync::atomic::Ordering;

use actix_web::{HttpResponse, web};
use serde_json::json;

use super::problem::Problem;
use super::state::NodeState;

/// The process runs and its HTTP workers answer.
pub(super) async fn live() -> HttpResponse {
    HttpResponse::Ok().json(json!({ "status": "live" }))
}

/// The node answers requests: its state is what had been acknowledged before the last stop. A node that is read-only for
/// want of space is ready, since redirects go on, and says so.
pub(super) async fn ready(node: web::Data<NodeState>) -> Result<HttpResponse, Problem> {
    if node.draining() {
        return Err(Problem::not_ready("the server is stopping"));
    }
    let status = node.groups.status();
    if let Some(group) = status.iter().find(|group| !group.leader) {
        return Err(Problem::not_ready(format!("group {} has no leader", group.group)));
    }
    Ok(HttpResponse::Ok().json(json!({
        "status": "ready",
        "writable": !node.read_only.load(Ordering::Relaxed),
        "shards": node.shards,
    })))
}

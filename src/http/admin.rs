//! The admin listener: metrics and health, on loopback by default.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use actix_server::Server;
use actix_service::{IntoServiceFactory, Service, ServiceFactory, map_config};
use actix_web::dev::AppConfig;
use actix_web::error::InternalError;
use actix_web::{App, HttpResponse, web};
use serde::Deserialize;
use waypost_protocol::command::{Command, NodeRecord, Outcome};
use waypost_telemetry::Metrics;

use super::answer::{self, reads, route};
use super::authorized::{AdministerCluster, Authorized};
use super::health;
use super::problem::Problem;
use super::state::NodeState;
use super::wire::{self, Addresses, ConnectionLimits, Tracked};
use crate::cluster::{NodeView, RetireError};
use crate::limits::ADMIN_CONNECTIONS_MAX;

async fn render(metrics: web::Data<Metrics>) -> HttpResponse {
    HttpResponse::Ok().content_type("text/plain; version=0.0.4; charset=utf-8").body(metrics.render())
}

/// The cluster as this node sees it.
async fn cluster(node: web::Data<NodeState>) -> HttpResponse {
    HttpResponse::Ok().json(node.controller.view().await)
}

fn node_named(node: &NodeState, name: &str) -> Result<NodeRecord, Problem> {
    let fits = |record: &NodeRecord| record.name == name || record.id.0.to_string() == name;
    node.controller.nodes().into_iter().find(fits).ok_or_else(|| Problem::unknown_node(name))
}

/// Why a node is not drained.
fn last_to_store() -> Problem {
    Problem::conflict(
        "no other node could hold its links: it is the only one that stores any, or all others are drained; add or undrain one first",
    )
}

/// `drain` or `undrain`.
async fn drain(
    _: Authorized<AdministerCluster>,
    path: web::Path<(String, String)>,
    node: web::Data<NodeState>,
) -> Result<HttpResponse, Problem> {
    let (name, action) = path.into_inner();
    let drain = match action.as_str() {
        "drain" => true,
        "undrain" => false,
        _ => return Err(Problem::not_found()),
    };
    let record = node_named(&node, &name)?;
    let can_take = |other: &NodeRecord| other.stores() && !other.drain && other.id != record.id;
    if drain && record.stores() && !node.controller.nodes().iter().any(can_take) {
        return Err(last_to_store());
    }
    match node.controller.change(Command::DrainNode { node: record.id, drain }).await {
        Ok(Outcome::Done) => Ok(HttpResponse::NoContent().finish()),
        Ok(Outcome::NodeNeeded { .. }) => Err(last_to_store()),
        Ok(_) => Err(Problem::unknown_node(&name)),
        Err(why) => Err(Problem::not_ready(why)),
    }
}

async fn remove(
    _: Authorized<AdministerCluster>,
    path: web::Path<String>,
    node: web::Data<NodeState>,
) -> Result<HttpResponse, Problem> {
    let record = node_named(&node, &path)?;
    let nodes = node.controller.nodes();
    if record.stores() && nodes.iter().filter(|node| node.stores() && node.id != record.id).count() == 0 {
        return Err(Problem::conflict("it is the only node that stores links; add another one first"));
    }
    let view = node.controller.view().await;
    let holds = |seen: &NodeView| {
        let groups = seen.status.iter().flat_map(|status| &status.groups);
        seen.record.id == record.id && groups.into_iter().any(|group| group.group != 0)
    };
    if view.nodes.iter().any(holds) {
        return Err(Problem::conflict(
            "it is up and holds links; drain it first, and wait until it is empty (`waypost cluster remove` does)",
        ));
    }
    match node.controller.remove(record.id).await {
        Ok(()) => Ok(HttpResponse::NoContent().finish()),
        Err(RetireError::NotAMember) => Err(Problem::unknown_node(&path)),
        Err(error @ (RetireError::Needed(_) | RetireError::Placed(_))) => {
            Err(Problem::conflict(format!("{error}. Start it again, or wait until the others have caught up")))
        }
        Err(error @ RetireError::Stays(_)) => {
            Err(Problem::conflict(format!("{error}; or stop it, and remove it then")))
        }
        Err(error @ RetireError::Undecided(_)) => Err(Problem::not_ready(error.to_string())),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct MoveLeader {
    /// 0 = the cluster's own group; `n` = shard `n - 1`.
    group: u32,
    /// The name of the node that is to lead it.
    to: String,
}

async fn move_leader(
    _: Authorized<AdministerCluster>,
    body: web::Json<MoveLeader>,
    node: web::Data<NodeState>,
) -> Result<HttpResponse, Problem> {
    let to = node_named(&node, &body.to)?.id;
    let view = node.controller.view().await;
    let leads = |view: &NodeView| {
        view.status.as_ref().is_some_and(|status| status.groups.iter().any(|g| g.group == body.group && g.leader))
    };
    let Some(from) = view.nodes.iter().find(|view| leads(view)).map(|view| view.record.id) else {
        return Err(Problem::not_ready(format!("group {} has no leader now", body.group)));
    };
    if from == to {
        return Ok(HttpResponse::NoContent().finish());
    }
    let voters = view.nodes.iter().flat_map(|seen| seen.status.iter().flat_map(|status| &status.groups));
    if !voters.into_iter().any(|report| report.group == body.group && report.leader && report.voters.contains(&to)) {
        return Err(Problem::conflict(format!("{} is no voter of group {}", body.to, body.group)));
    }
    match node.controller.move_leader(from, body.group, to).await {
        Ok(()) => Ok(HttpResponse::NoContent().finish()),
        Err(why) => Err(Problem::not_ready(why)),
    }
}

/// What this listener does not have, the public one may.
async fn elsewhere(node: web::Data<NodeState>) -> HttpResponse {
    let there = format!("redirects and the API are on the public one, {}", node.address.listener());
    Problem::wrong_listener("admin", there).response()
}

/// The longest body: every request that has one names a group and a node.
const BODY_MAX: usize = 4096;

/// What connections to the admin listener may cost: it is for scrapes and for people.
fn limits() -> ConnectionLimits {
    ConnectionLimits {
        connections_max: ADMIN_CONNECTIONS_MAX,
        addresses: Addresses::new(ADMIN_CONNECTIONS_MAX / 4, Vec::new()),
        keep_alive: Duration::from_secs(75),
        request: Duration::from_secs(5),
        write: Duration::from_secs(10),
    }
}

/// Serves `/metrics`, the health routes and the administration of the cluster.
///
/// # Errors
/// When the listener cannot be used.
pub fn admin_server(listener: TcpListener, node: Arc<NodeState>, metrics: Metrics) -> std::io::Result<Server> {
    let of_connections = metrics.clone();
    // One worker: scrapes are rare, and the cores belong to the redirects.
    wire::serve("admin", "admin-worker", listener, 1, limits(), &of_connections, move || {
        let (node, metrics) = (node.clone(), metrics.clone());
        async move {
            let app = App::new()
                .app_data(web::Data::from(node))
                .app_data(web::Data::new(metrics))
                .app_data(web::JsonConfig::default().limit(BODY_MAX))
                .wrap_fn(|request, service| {
                    let answer = service.call(request);
                    async move {
                        match answer.await {
                            Ok(response) => Ok(answer::uniform(response, BODY_MAX)),
                            Err(error) => {
                                let response = answer::problem_of(&error, BODY_MAX);
                                Err(InternalError::from_response("the request was refused", response).into())
                            }
                        }
                    }
                })
                .service(route("/metrics", "GET, HEAD").route(reads().to(render)))
                .service(route("/health/live", "GET, HEAD").route(reads().to(health::live)))
                .service(route("/health/ready", "GET, HEAD").route(reads().to(health::ready)))
                .service(route("/cluster", "GET, HEAD").route(reads().to(cluster)))
                .service(route("/cluster/nodes/{name}/{action}", "POST").route(web::post().to(drain)))
                .service(route("/cluster/nodes/{name}", "DELETE").route(web::delete().to(remove)))
                .service(route("/cluster/move-leader", "POST").route(web::post().to(move_leader)))
                .default_service(web::to(elsewhere));
            let app = map_config(app, |_: ()| AppConfig::default());
            Ok(Tracked::new(app.into_factory().new_service(()).await?))
        }
    })
}

//! The admin listener: metrics and health, on loopback by default.

use std::net::TcpListener;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix_server::Server;
use actix_service::{IntoServiceFactory, Service, ServiceFactory, map_config};
use actix_web::dev::AppConfig;
use actix_web::error::InternalError;
use actix_web::{App, HttpRequest, HttpResponse, web};
use serde::Deserialize;
use waypost_telemetry::Metrics;

use super::answer::{self, reads, route};
use super::authorized::{AdministerCluster, Authorized};
use super::dashboard::Listener;
use super::health;
use super::pages;
use super::problem::Problem;
use super::state::NodeState;
use super::ui;
use super::wire::{self, Addresses, ConnectionLimits, NoFastPath, Served, Tracked};
use crate::app::Principal;
use crate::limits::ADMIN_CONNECTIONS_MAX;

async fn render(metrics: web::Data<Metrics>) -> HttpResponse {
    HttpResponse::Ok().content_type("text/plain; version=0.0.4; charset=utf-8").body(metrics.render())
}

/// The cluster as this node sees it.
async fn cluster(principal: Principal, node: web::Data<NodeState>) -> Result<HttpResponse, Problem> {
    Ok(HttpResponse::Ok().json(node.app.cluster(&principal).await?))
}

/// `drain` or `undrain`.
async fn drain(
    caller: Authorized<AdministerCluster>,
    path: web::Path<(String, String)>,
    node: web::Data<NodeState>,
) -> Result<HttpResponse, Problem> {
    let (name, action) = path.into_inner();
    let drain = match action.as_str() {
        "drain" => true,
        "undrain" => false,
        _ => return Err(Problem::not_found()),
    };
    node.app.drain_node(&caller.principal, &name, drain).await?;
    Ok(HttpResponse::NoContent().finish())
}

async fn remove(
    caller: Authorized<AdministerCluster>,
    path: web::Path<String>,
    node: web::Data<NodeState>,
) -> Result<HttpResponse, Problem> {
    node.app.remove_node(&caller.principal, &path).await?;
    Ok(HttpResponse::NoContent().finish())
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
    caller: Authorized<AdministerCluster>,
    body: web::Json<MoveLeader>,
    node: web::Data<NodeState>,
) -> Result<HttpResponse, Problem> {
    node.app.move_leader(&caller.principal, body.group, &body.to).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// What this listener does not have, the public one may.
async fn elsewhere(request: HttpRequest, node: web::Data<NodeState>) -> HttpResponse {
    let there = format!("redirects and the API are on the public one, {}", node.address.listener());
    pages::answer(&request, &Problem::wrong_listener("admin", there))
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

/// Serves `/metrics`, the health routes, the administration of the cluster, and the dashboard.
///
/// # Errors
/// When the listener cannot be used.
pub fn admin_server(listener: TcpListener, node: Arc<NodeState>, metrics: Metrics) -> std::io::Result<Server> {
    let of_connections = metrics.clone();
    // One worker: scrapes are rare, and the cores belong to the redirects.
    wire::serve("admin", "admin-worker", listener, 1, limits(), &of_connections, move || {
        let (node, metrics) = (node.clone(), metrics.clone());
        async move {
            let pages = node.clone();
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
                .configure(|config| ui::register(config, &pages, Listener::Admin))
                .default_service(web::to(elsewhere));
            let app = map_config(app, |_: ()| AppConfig::default());
            let service = Rc::new(Tracked::new(app.into_factory().new_service(()).await?));
            Ok(Served { service, fast: NoFastPath })
        }
    })
}

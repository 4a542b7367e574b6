//! The admin listener: metrics and health, on loopback by default.

use std::net::TcpListener;
use std::sync::Arc;

use actix_web::{App, HttpResponse, HttpServer, dev::Server, web};
use waypost_telemetry::Metrics;

use super::health;
use super::problem::Problem;
use super::state::NodeState;

async fn render(metrics: web::Data<Metrics>) -> HttpResponse {
    HttpResponse::Ok().content_type("text/plain; version=0.0.4; charset=utf-8").body(metrics.render())
}

/// Serves `/metrics` and the health routes.
///
/// # Errors
/// When the listener cannot be used.
pub fn admin_server(listener: TcpListener, node: Arc<NodeState>, metrics: Metrics) -> std::io::Result<Server> {
    let server = HttpServer::new(move || {
        App::new()
            .app_data(web::Data::from(node.clone()))
            .app_data(web::Data::new(metrics.clone()))
            .route("/metrics", web::get().to(render))
            .route("/health/live", web::get().to(health::live))
            .route("/health/ready", web::get().to(health::ready))
            .default_service(web::to(|| async { Problem::not_found().response() }))
    });
    // One worker: scrapes are rare, and the cores belong to the redirects.
    Ok(server.workers(1).disable_signals().listen(listener)?.run())
}

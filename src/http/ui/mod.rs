//! The dashboard: its pages and their forms. They call the application layer, as the API does.
//!
//! ```text
//! guard.rs    who may see it
//! context.rs  what every view needs, from the request
//! reply.rs    HTML as an answer, with the headers of all pages
//! files.rs    style sheet, scripts, icons
//! home.rs     the first page
//! ```

mod context;
mod files;
mod guard;
mod home;
mod reply;

use actix_web::web::{self, ServiceConfig};

use super::answer::{reads, route};

/// The path of the dashboard.
pub(super) const BASE: &str = "/ui";

/// Registers the pages.
pub(super) fn register(config: &mut ServiceConfig) {
    let at = |path: &str| format!("{BASE}{path}");
    config
        .service(route(BASE, "GET, HEAD").route(reads().to(home::to_home)))
        .service(route(&at("/"), "GET, HEAD").route(reads().to(home::home)))
        .service(route(&at("/assets/{path:.*}"), "GET, HEAD").route(reads().to(files::asset)))
        .service(web::resource(at("/{rest:.*}")).to(reply::nothing));
}

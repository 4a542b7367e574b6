//! The dashboard: its pages and their forms. They call the application layer, as the API does.
//!
//! ```text
//! guard.rs        who may see it, and change something
//! context.rs      what every view needs, from the request
//! reply.rs        HTML as an answer, with the headers of all pages
//! failure.rs      refusals as pages
//! preferences.rs  theme and language
//! files.rs        style sheet, scripts, icons
//! home.rs         the first page
//! create.rs       a new link
//! links_of.rs     links as views show them
//! refused.rs      why a form was refused, in the language of the page
//! ```

mod context;
mod create;
mod failure;
mod files;
mod guard;
mod home;
mod links_of;
mod preferences;
mod refused;
mod reply;

use actix_web::dev::Service;
use actix_web::web::{self, ServiceConfig};

use super::answer::{reads, route};

/// The path of the dashboard.
pub(super) const BASE: &str = "/ui";

/// Registers the pages.
pub(super) fn register(config: &mut ServiceConfig) {
    let pages = web::scope(BASE)
        .wrap_fn(|request, service| {
            let answer = service.call(request);
            async move { answer.await.map(failure::shown) }
        })
        .service(route("", "GET, HEAD").route(reads().to(home::to_home)))
        .service(route("/", "GET, HEAD").route(reads().to(home::home)))
        .service(route("/new", "GET, HEAD").route(reads().to(home::new)))
        .service(route("/links", "POST").route(web::post().to(create::create)))
        .service(route("/links/undo", "POST").route(web::post().to(create::undo)))
        .service(route("/preferences", "POST").route(web::post().to(preferences::choose)))
        .service(route("/assets/{path:.*}", "GET, HEAD").route(reads().to(files::asset)))
        .default_service(web::to(reply::nothing));
    config.service(pages);
}

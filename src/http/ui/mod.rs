//! The dashboard: its pages and their forms. They call the application layer, as the API does.
//!
//! ```text
//! guard.rs        who may see it, and change something: intent.rs tells pages of others apart, cookies.rs has the token
//! sign_in.rs      signing in and out
//! sessions.rs     who is signed in
//! context.rs      what every view needs, from the request
//! reply.rs        HTML as an answer, with the headers of all pages
//! drafts.rs       what was typed when the session had ended
//! failure.rs      refusals as pages
//! preferences.rs  theme, language and keys
//! files.rs        style sheet, scripts, icons
//! home.rs         the first page
//! create.rs       a new link
//! create_form.rs  its form
//! links.rs        the list of links
//! bulk.rs         changes of many links
//! bulk_all.rs     changes of all links that fit a filter
//! bulk_outcome.rs why some of them could not be changed
//! tools.rs        bookmarks, the installed app, the search keyword
//! links_of.rs     links as views show them
//! refused.rs      why a form was refused, in the language of the page
//! tags.rs         the tags
//! domains.rs      the domains
//! cluster.rs      the nodes and the shards
//! link/           one link
//! stats.rs        statistics of a link, of all links, and of a tag; period.rs has their time, top.rs the most visited links
//! ```

mod bulk;
mod bulk_all;
mod bulk_outcome;
mod cluster;
mod context;
mod cookies;
mod create;
mod create_form;
mod domains;
mod drafts;
mod failure;
mod files;
mod guard;
mod home;
mod intent;
mod link;
mod links;
mod links_of;
mod period;
mod preferences;
mod refused;
mod reply;
mod sessions;
mod sign_in;
mod stats;
mod tags;
mod tools;
mod top;

use std::sync::Arc;

use actix_web::dev::Service;
use actix_web::guard::fn_guard;
use actix_web::middleware::from_fn;
use actix_web::web::{self, ServiceConfig};

use super::answer::{reads, route};
use super::dashboard::Listener;
use super::state::NodeState;
use crate::limits::FORM_BYTES_MAX;

/// Registers the pages on a listener, if it serves them.
pub(super) fn register(config: &mut ServiceConfig, node: &Arc<NodeState>, listener: Listener) {
    let Some(dashboard) = node.dashboard.as_ref().filter(|dashboard| dashboard.is_on(listener)) else { return };
    let path = dashboard.path().to_owned();
    let body_max = node.body_max_bytes.max(FORM_BYTES_MAX);
    let node = node.clone();
    let serves = fn_guard(move |context| {
        let head = context.head();
        node.dashboard().serves(listener, head.headers(), head.peer_addr)
    });
    let pages = web::scope(&path)
        .guard(serves)
        .app_data(listener)
        .app_data(web::PayloadConfig::new(body_max))
        .wrap(from_fn(drafts::around))
        .wrap(from_fn(guard::around))
        // Around the guard, whose refusals are pages as well.
        .wrap_fn(|request, service| {
            let answer = service.call(request);
            async move { answer.await.map(failure::shown) }
        })
        .service(route("", "GET, HEAD").route(reads().to(home::to_home)))
        .service(route("/", "GET, HEAD").route(reads().to(home::home)))
        .service(route("/new", "GET, HEAD").route(reads().to(home::new)))
        .service(
            route("/links", "GET, HEAD, POST").route(reads().to(links::list)).route(web::post().to(create::create)),
        )
        .service(route("/links/bulk", "POST").route(web::post().to(bulk::bulk)))
        .service(route("/links/columns", "POST").route(web::post().to(links::columns)))
        .service(route("/links/export", "GET, HEAD").route(reads().to(links::export)))
        .service(route("/links/undo", "POST").route(web::post().to(create::undo)))
        .service(route("/tags", "GET, HEAD").route(reads().to(tags::tags)))
        .service(route("/tags/edit", "GET, HEAD").route(reads().to(tags::edit)))
        .service(route("/tags/replace", "POST").route(web::post().to(tags::replace)))
        .service(route("/domains", "GET, HEAD").route(reads().to(domains::domains)))
        .service(
            route("/domains/new", "GET, HEAD, POST")
                .route(reads().to(domains::new))
                .route(web::post().to(domains::make)),
        )
        .service(
            route("/domains/edit", "GET, HEAD, POST")
                .route(reads().to(domains::settings))
                .route(web::post().to(domains::edit)),
        )
        .service(
            route("/domains/remove", "GET, HEAD, POST")
                .route(reads().to(domains::ask_removal))
                .route(web::post().to(domains::remove)),
        )
        .service(route("/cluster", "GET, HEAD").route(reads().to(cluster::cluster)))
        .service(
            route("/cluster/drain", "GET, HEAD, POST")
                .route(reads().to(cluster::ask_drain))
                .route(web::post().to(cluster::drain)),
        )
        .service(route("/cluster/undrain", "POST").route(web::post().to(cluster::undrain)))
        .service(route("/cluster/leader", "POST").route(web::post().to(cluster::leader)))
        .service(route("/cluster/backup", "POST").route(web::post().to(cluster::take_backup)))
        .service(route("/tools", "GET, HEAD").route(reads().to(tools::tools)))
        .service(route("/manifest.webmanifest", "GET, HEAD").route(reads().to(tools::manifest)))
        .service(route("/opensearch.xml", "GET, HEAD").route(reads().to(tools::opensearch)))
        .service(route("/preferences", "POST").route(web::post().to(preferences::choose)))
        .service(route("/assets/{path:.*}", "GET, HEAD").route(reads().to(files::asset)))
        .service(
            route("/sign-in", "GET, HEAD, POST")
                .route(reads().to(sign_in::form))
                .route(web::post().to(sign_in::with_key)),
        )
        .service(
            route("/sign-in/{secret}", "GET, HEAD, POST")
                .route(reads().to(sign_in::link))
                .route(web::post().to(sign_in::with_link)),
        )
        .service(route("/sign-out", "POST").route(web::post().to(sign_in::out)))
        .service(route("/sessions", "GET, HEAD").route(reads().to(sessions::list)))
        .service(route("/sessions/end", "POST").route(web::post().to(sessions::end)))
        .service(route("/sessions/end-others", "POST").route(web::post().to(sessions::end_others)))
        .configure(link::register)
        .configure(stats::register)
        .default_service(web::to(reply::nothing));
    config.service(pages);
}

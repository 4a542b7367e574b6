//! One link: its pages, each of which has the same head.
//!
//! ```text
//! shown.rs    what stands above all of them
//! edit.rs     its properties, and what happens if two people change them
//! delete.rs   its deletion, and the way back
//! rules.rs    its rules
//! tester.rs   what a visitor would get
//! qr.rs       its QR code
//! history.rs  its former targets
//! ```

mod delete;
mod edit;
mod history;
mod qr;
mod rules;
mod shown;
mod tester;

use actix_web::web::{self, ServiceConfig};
pub(super) use shown::{Named, Shown, address};

use crate::http::answer::{reads, route};

/// Registers the pages of a link. The slashes of its code are escaped in a path.
pub(super) fn register(config: &mut ServiceConfig) {
    const READ_AND_CHANGE: &str = "GET, HEAD, POST";
    config
        .service(route("/link/{code}", READ_AND_CHANGE).route(reads().to(edit::show)).route(web::post().to(edit::save)))
        .service(route("/link/{code}/state", "POST").route(web::post().to(edit::set_state)))
        .service(
            route("/link/{code}/delete", READ_AND_CHANGE)
                .route(reads().to(delete::ask))
                .route(web::post().to(delete::delete)),
        )
        .service(
            route("/deleted/{token}", READ_AND_CHANGE)
                .route(reads().to(delete::deleted))
                .route(web::post().to(delete::undo)),
        )
        .service(
            route("/link/{code}/rules", READ_AND_CHANGE)
                .route(reads().to(rules::show))
                .route(web::post().to(rules::change)),
        )
        .service(route("/link/{code}/qr", "GET, HEAD").route(reads().to(qr::show)))
        .service(route("/link/{code}/qr.svg", "GET, HEAD").route(reads().to(qr::svg)))
        .service(route("/link/{code}/qr.png", "GET, HEAD").route(reads().to(qr::png)))
        .service(route("/link/{code}/history", "GET, HEAD").route(reads().to(history::show)))
        .service(route("/link/{code}/restore", "POST").route(web::post().to(history::restore)));
}

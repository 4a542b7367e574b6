//! `GET /{code}`: the same answer on both paths.
//!
//! The front service (`front.rs`) answers plain requests for a cached link without the actix-web `App`; all others
//! come here through the `App`. Both build their response with [`found`], so a visitor sees no difference.

use std::net::IpAddr;
use std::time::Instant;

use actix_http::body::BoxBody;
use actix_http::header::{CACHE_CONTROL, HeaderValue, LOCATION};
use actix_http::{Response, StatusCode};
use actix_web::http::Method;
use actix_web::{HttpRequest, HttpResponse, web};
use waypost_click_counter::Visitor;
use waypost_protocol::messages::{Resolution, Resolve};
use waypost_protocol::typed::code_in_path;
use waypost_protocol::{Domain, KeyHash, LinkKey};
use waypost_redirector::Lookup;

use super::evidence::Sender;
use super::openapi::OfLink;
use super::origin::reachable;
use super::pages;
use super::problem::Problem;
use super::site_files::is_site_file;
use super::state::WorkerState;
use super::unknown::{note_unknown, refuse_flood};
use super::visitor::{limited_client, visitor};
use crate::app::Permission;

/// A link may be edited, so nobody may cache the answer, not even the visitor's browser.
const NO_STORE: HeaderValue = HeaderValue::from_static("private, no-store");

/// The redirect to a prepared location.
pub fn found(location: HeaderValue) -> Response<BoxBody> {
    let mut response = Response::with_body(StatusCode::FOUND, BoxBody::new(()));
    let headers = response.headers_mut();
    headers.insert(LOCATION, location);
    headers.insert(CACHE_CONTROL, NO_STORE);
    response
}

/// Follows a link.
//
// The path through the `App`: codes that are not cached, `HEAD`, paths as people type them, unknown and expired codes.
#[utoipa::path(get, path = "/{code}", operation_id = "visitLink", tag = "Visitors", params(OfLink),
    responses((status = 302, description = "The target of the link", headers(("Location" = String, description = "The target")))))]
pub(super) async fn visit(request: HttpRequest, worker: web::Data<WorkerState>) -> HttpResponse {
    let client = limited_client(&worker.visitors, request.headers(), request.peer_addr());
    match resolve(request.path(), &worker, client).await {
        Ok((link, location)) => {
            if request.method() == Method::GET
                && let Some(visitor) = visitor_of(&request, &worker)
            {
                worker.recorder.visit(link, (worker.node.clock)(), &visitor);
            }
            found(location).into()
        }
        // `waypost cluster` requests this path of the other listener.
        Err(problem) if problem.is_unknown_link() && request.path() == "/cluster" => {
            of_the_admin_listener(request, worker).await
        }
        Err(problem) => {
            if problem.is_unknown_link() && !is_site_file(request.path()) {
                orphan(&request, &worker);
            }
            pages::answer(&request, &problem)
        }
    }
}

/// `GET /`: there is no page, but the request counts as an orphan visit.
#[utoipa::path(get, path = "/", operation_id = "getBase", tag = "Visitors", responses())]
pub(super) async fn base(request: HttpRequest, worker: web::Data<WorkerState>) -> HttpResponse {
    orphan(&request, &worker);
    pages::answer(&request, &Problem::not_found())
}

/// Every path without a route: a short URL with an additional slash, or an unknown path.
pub(super) async fn elsewhere(request: HttpRequest, worker: web::Data<WorkerState>) -> HttpResponse {
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    if reads && code_in_path(request.path()).is_some_and(|code| !code.is_reserved()) {
        return visit(request, worker).await;
    }
    pages::answer(&request, &Problem::not_found())
}

/// Paths of the admin listener. Clients that may change links learn where it is.
pub(super) async fn of_the_admin_listener(request: HttpRequest, worker: web::Data<WorkerState>) -> HttpResponse {
    let principal = worker.node.app.authenticate(&Sender(&request));
    let there = match principal.require(Permission::ReadLinks) {
        Ok(()) => {
            format!("metrics and the cluster's administration are on the admin one, {}", reachable(worker.node.admin))
        }
        Err(_) => {
            "metrics and the cluster's administration are on the admin one: `admin` of the [[node]] in cluster.toml, \
                   http://127.0.0.1:9090 unless that was changed"
                .to_owned()
        }
    };
    pages::answer(&request, &Problem::wrong_listener("public", there))
}

fn visitor_of<'a>(request: &'a HttpRequest, worker: &WorkerState) -> Option<Visitor<'a>> {
    if !worker.recorder.is_on() {
        return None;
    }
    visitor(&worker.visitors, request.headers(), request.peer_addr(), request.uri().query())
}

/// Records an orphan visit.
fn orphan(request: &HttpRequest, worker: &WorkerState) {
    if request.method() == Method::GET && worker.redirects && visitor_of(request, worker).is_some() {
        worker.recorder.orphan(request.path(), (worker.node.clock)());
    }
}

/// The link of a path, without the characters that no code begins or ends with. The front service has already looked up the unchanged
/// path.
async fn resolve(path: &str, worker: &WorkerState, client: Option<IpAddr>) -> Result<(KeyHash, HeaderValue), Problem> {
    if worker.node.closed() {
        return Err(Problem::not_ready("the server is stopping"));
    }
    if !worker.redirects {
        return Err(Problem::not_found());
    }
    let Some(code) = code_in_path(path) else { return Err(Problem::unknown_link()) };
    let now = (worker.node.clock)();
    match worker.node.view.lookup(Domain::default(), code.as_str(), now, Instant::now()) {
        Lookup::Redirect(location, link) => {
            worker.metrics.hit();
            return Ok((link, location));
        }
        Lookup::Expired => return Err(Problem::expired_link()),
        Lookup::Miss => worker.metrics.miss(),
    }
    let key = LinkKey::new(code);
    let link = key.hash();
    refuse_flood(&worker.node, client, &key).await?;
    match worker.redirector.call(Resolve { key }, worker.node.timeout).await? {
        Resolution::Unknown => {
            note_unknown(&worker.node, client);
            Err(Problem::unknown_link())
        }
        Resolution::Found { valid_until: Some(until), .. } if until <= now => Err(Problem::expired_link()),
        Resolution::Found { target, .. } => {
            let location = HeaderValue::from_str(target.as_str())
                .expect("invariant: a target is visible ASCII, which is what a header value may be");
            Ok((link, location))
        }
    }
}

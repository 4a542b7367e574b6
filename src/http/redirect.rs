//! `GET /{code}`: the same answer on both paths.
//!
//! The fast path (`fast.rs`) and the front service (`front.rs`) answer plain requests for a link that is cached, or in a replica of this node, without the
//! actix-web `App`; all others come here through the `App`. A visitor sees no difference.

use std::time::Instant;

use actix_http::body::BoxBody;
use actix_http::header::{CACHE_CONTROL, HeaderValue, LOCATION};
use actix_http::{Response, StatusCode};
use actix_web::http::Method;
use actix_web::{HttpMessage as _, HttpRequest, HttpResponse, web};
use waypost_click_counter::Visitor;
use waypost_protocol::messages::{Resolution, Resolve};
use waypost_protocol::properties::RedirectStatus;
use waypost_protocol::typed::code_in_path;
use waypost_protocol::{CallError, Code, KeyHash, LinkKey, Site, Target, UnixMs};
use waypost_redirector::{Asked, Decision, Lookup};

use super::evidence::Sender;
use super::flood::{note_unknown, refuse_flood};
use super::limited::limit;
use super::openapi::{BelowLink, OfLink};
use super::origin::reachable;
use super::pages;
use super::paths::{asked, asked_of_segments, below_a_code, is_mistyped, may_be_below_a_code, others};
use super::preview::{LinkPreview, preview_of_segments};
use super::problem::Problem;
use super::ruled::RuledVisitor;
use super::site_files::is_site_file;
use super::state::WorkerState;
use super::unlock::{Form, given, pass};
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
// The path through the `App`: codes that neither the cache nor a replica of this node has, links that do more than leading to their target, `HEAD`, paths
// as people type them, unknown and expired codes.
#[utoipa::path(get, path = "/{code}", operation_id = "visitLink", tag = "Visitors", params(OfLink),
    responses(
        (status = 301, description = "As 302; the link asks for it", headers(("Location" = String, description = "The target"))),
        (status = 302, description = "The target of the link", headers(("Location" = String, description = "The target"))),
        (status = 307, description = "As 302; the link asks for it", headers(("Location" = String, description = "The target"))),
        (status = 308, description = "As 301; the link asks for it", headers(("Location" = String, description = "The target")))
    ))]
pub(super) async fn visit(request: HttpRequest, worker: web::Data<WorkerState>) -> HttpResponse {
    answer_visitor(&request, &worker, None).await
}

/// Follows a protected link with its password, as the form of its page does. The password is never in the URL.
//
// A link without a password is followed as with `GET`: its owner may have removed the password since the visitor saw the page.
#[utoipa::path(post, path = "/{code}", operation_id = "unlockLink", tag = "Visitors", params(OfLink),
    request_body(content = Form, content_type = "application/x-www-form-urlencoded"),
    responses((status = 303, description = "The target of the link", headers(("Location" = String, description = "The target")))))]
pub(super) async fn unlock(request: HttpRequest, body: web::Payload, worker: web::Data<WorkerState>) -> HttpResponse {
    match given(&request, body).await {
        Ok(form) => answer_visitor(&request, &worker, Some(&form.password)).await,
        Err(problem) => problem.response(),
    }
}

/// Answers a visitor, who may have sent a password.
pub(super) async fn answer_visitor(
    request: &HttpRequest,
    worker: &web::Data<WorkerState>,
    password: Option<&str>,
) -> HttpResponse {
    let path = request.path();
    let Some(site) = worker.node.visited(request) else {
        return pages::answer(request, &Problem::not_found());
    };
    let (asked, is_below) = asked(&site, path);
    let mut followed = follow(request, &site, asked, is_below, worker, password).await;
    if is_unknown(&followed) {
        for (code, rest) in others(&site, path) {
            let needs_rest = rest.is_some();
            followed = follow(request, &site, Some((code, rest)), needs_rest, worker, password).await;
            if !is_unknown(&followed) {
                break;
            }
        }
    }
    let mut response = match followed {
        Ok(response) => response,
        // `waypost cluster` requests this path of the other listener.
        Err(problem) if problem.is_unknown_link() && path == "/cluster" => {
            of_the_admin_listener(request.clone(), worker.clone()).await
        }
        // No link was meant.
        Err(problem) if problem.is_unknown_link() && is_below => pages::answer_visitor(request, &Problem::not_found()),
        Err(problem) => {
            let is_file = is_site_file(path);
            if problem.is_unknown_link() && !is_file {
                orphan(request, &site, worker);
            }
            match instead(&site, &problem).filter(|_| !is_file) {
                _ if problem.is_unknown_link() && is_mistyped(&site, path) => {
                    pages::answer_visitor(request, &Problem::mistyped_link())
                }
                Some(url) => elsewhere_on(url),
                None => pages::answer_visitor(request, &problem),
            }
        }
    };
    // What the form of a page is answered with is always requested by `GET`, wherever it leads: the password must not be sent on.
    if request.method() == Method::POST && response.status().is_redirection() {
        *response.status_mut() = StatusCode::SEE_OTHER;
        response.headers_mut().insert(CACHE_CONTROL, NO_STORE);
    }
    response
}

fn is_unknown(followed: &Result<HttpResponse, Problem>) -> bool {
    matches!(followed, Err(problem) if problem.is_unknown_link())
}

/// Follows a link that forwards the path (`forwardPath`), or, on a domain with `multiSegment`, a link whose slug has several segments; with `+` at its end, shows where
/// that one leads.
//
// Also a short URL with something typed after its end.
#[utoipa::path(get, path = "/{code}/{rest}", operation_id = "visitBelowLink", tag = "Visitors", params(OfLink, BelowLink),
    responses(
        (status = 200, description = "Where the link leads, if the path ends with `+`", content(
            (LinkPreview = "application/json"), (String = "text/html"))),
        (status = 301, description = "As 302; the link asks for it", headers(("Location" = String, description = "The target"))),
        (status = 302, description = "The target of the link, with the rest of the path", headers(("Location" = String, description = "The target"))),
        (status = 307, description = "As 302; the link asks for it", headers(("Location" = String, description = "The target"))),
        (status = 308, description = "As 301; the link asks for it", headers(("Location" = String, description = "The target")))
    ))]
pub(super) async fn visit_below(
    request: HttpRequest,
    body: web::Payload,
    worker: web::Data<WorkerState>,
) -> HttpResponse {
    elsewhere(request, body, worker).await
}

/// Follows a protected link that forwards the path, with its password.
#[utoipa::path(post, path = "/{code}/{rest}", operation_id = "unlockBelowLink", tag = "Visitors", params(OfLink, BelowLink),
    request_body(content = Form, content_type = "application/x-www-form-urlencoded"),
    responses((status = 303, description = "The target of the link, with the rest of the path", headers(("Location" = String, description = "The target")))))]
pub(super) async fn unlock_below(
    request: HttpRequest,
    body: web::Payload,
    worker: web::Data<WorkerState>,
) -> HttpResponse {
    elsewhere(request, body, worker).await
}

/// Where the domain sends a visitor who would get this problem.
fn instead<'a>(site: &'a Site, problem: &Problem) -> Option<&'a Target> {
    match problem.status() {
        StatusCode::NOT_FOUND if problem.is_unknown_link() => site.unknown_url.as_ref(),
        StatusCode::GONE => site.expired_url.as_ref(),
        _ => None,
    }
}

/// The redirect to a page that a domain names.
fn elsewhere_on(url: &Target) -> HttpResponse {
    match HeaderValue::from_str(url.as_str()) {
        Ok(location) => found(location).into(),
        Err(_) => unreachable!("invariant: a target is visible ASCII"),
    }
}

/// `GET /`: a redirect if the domain has a base URL; there is no page. The request counts as an orphan visit.
#[utoipa::path(get, path = "/", operation_id = "getBase", tag = "Visitors",
    responses((status = 302, description = "The base URL of the domain", headers(("Location" = String, description = "The base URL")))))]
pub(super) async fn base(request: HttpRequest, worker: web::Data<WorkerState>) -> HttpResponse {
    let site = worker.node.visited(&request).filter(|_| !worker.node.closed());
    let Some(site) = site else { return pages::answer(&request, &Problem::not_found()) };
    orphan(&request, &site, &worker);
    match site.base_url.as_ref().filter(|_| worker.redirects) {
        Some(url) => elsewhere_on(url),
        None => pages::answer(&request, &Problem::not_found()),
    }
}

/// Every path without another route: one below a code, a slug of several segments, a short URL with something typed around it, or an unknown path.
pub(super) async fn elsewhere(
    request: HttpRequest,
    body: web::Payload,
    worker: web::Data<WorkerState>,
) -> HttpResponse {
    let path = request.path();
    let is_code = code_in_path(path).is_some_and(|code| !code.is_reserved());
    let has_segments = || worker.node.visited(&request).is_some_and(|site| site.multi_segment);
    if is_code || below_a_code(path).is_some() || has_segments() && asked_of_segments(path).0.is_some() {
        match *request.method() {
            Method::GET | Method::HEAD => {
                return match preview_of_segments(&request, &worker).await {
                    Some(preview) => preview,
                    None => visit(request, worker).await,
                };
            }
            Method::POST => return unlock(request, body, worker).await,
            _ => {}
        }
    }
    let is_ours = path.len() > 1 && path.ends_with('/') && !may_be_below_a_code(path);
    let problem = if is_ours { Problem::slash_at_end() } else { Problem::not_found() };
    pages::answer(&request, &problem)
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
fn orphan(request: &HttpRequest, site: &Site, worker: &WorkerState) {
    if request.method() == Method::GET && worker.redirects && visitor_of(request, worker).is_some() {
        worker.recorder.orphan(site.domain, request.path(), (worker.node.clock)());
    }
}

/// Answers a visitor of a code, and of a path below it. The front service has already looked up the unchanged path.
async fn follow(
    request: &HttpRequest,
    site: &Site,
    asked: Option<(Code, Option<&str>)>,
    is_below: bool,
    worker: &WorkerState,
    password: Option<&str>,
) -> Result<HttpResponse, Problem> {
    if worker.node.closed() {
        return Err(Problem::not_ready("the server is stopping"));
    }
    if !worker.redirects {
        return Err(Problem::not_found());
    }
    let Some((code, rest)) = asked else { return Err(Problem::unknown_link()) };
    let now = (worker.node.clock)();
    let query = request.uri().query();
    let default_status = site.default_status;
    let mut asked = Asked { now, query, rest, needs_rest: is_below, limit: None, default_status, unlocked: false };
    let key = site.key(code);
    let link = key.hash();
    let (found_as, was_cached) = look_up(request, worker, &key, now).await?;
    let hit = || was_cached.then(|| worker.metrics.hit());
    let special = match found_as {
        Lookup::Redirect(_) | Lookup::Expired if is_below => return Err(Problem::unknown_link()),
        Lookup::Redirect(plain) => {
            hit();
            count(request, worker, link, now);
            let status = plain.status(default_status);
            let mut response = found(plain.location());
            *response.status_mut() = status_code(status);
            return Ok(response.into());
        }
        Lookup::Expired => return Err(Problem::expired_link()),
        Lookup::Miss => return Err(Problem::unknown_link()),
        Lookup::Special(special) => {
            hit();
            special
        }
    };
    let visitor = RuledVisitor::of(request, worker, link);
    loop {
        // What has to be asked is asked once.
        match special.decide(&asked, &visitor) {
            Decision::AskPassword(hash) if !asked.unlocked => {
                pass(request, worker, link, hash, password).await?;
                asked.unlocked = true;
            }
            Decision::AskLimit if asked.limit.is_none() => {
                asked.limit = Some(limit(request, worker, key.clone()).await?);
            }
            decision => return answer(request, worker, link, now, decision),
        }
    }
}

/// The answer of the Redirector about a link, if it was asked before the `App`: an extension of the request.
pub(super) struct Resolved {
    pub(super) key: LinkKey,
    pub(super) answer: Result<Resolution, CallError>,
}

impl Resolved {
    fn of(request: &HttpRequest, key: &LinkKey) -> Option<Self> {
        request.extensions_mut().remove::<Self>().filter(|resolved| resolved.key == *key)
    }
}

/// Looks for a link: in the cache, in the replicas of this node, and then elsewhere; `Miss` = there is none. Tells also whether it was in the cache.
async fn look_up(
    request: &HttpRequest,
    worker: &WorkerState,
    key: &LinkKey,
    now: UnixMs,
) -> Result<(Lookup, bool), Problem> {
    let client = || limited_client(&worker.visitors, request.headers(), request.peer_addr());
    let answer = match Resolved::of(request, key) {
        // What the Redirector has answered already is not looked up again.
        Some(resolved) => resolved.answer,
        None => {
            match worker.node.view.lookup(key.domain, key.code.as_str(), now, Instant::now()) {
                Lookup::Miss => worker.metrics.miss(),
                cached => return Ok((cached, true)),
            }
            if let Some(read) = worker.here.look_up(key, now) {
                return Ok((read, false));
            }
            refuse_flood(&worker.node, client(), key).await?;
            worker.redirector.call(Resolve { key: key.clone() }, worker.node.timeout).await
        }
    };
    match answer? {
        Resolution::Unknown => {
            note_unknown(&worker.node, client());
            Ok((Lookup::Miss, false))
        }
        Resolution::Found { target, valid_until, fields } => {
            Ok((Lookup::of(key, &target, valid_until, &fields, now), false))
        }
    }
}

/// The answer that was decided. A redirect to the target is a visit.
fn answer(
    request: &HttpRequest,
    worker: &WorkerState,
    link: KeyHash,
    now: UnixMs,
    decision: Decision<'_>,
) -> Result<HttpResponse, Problem> {
    let header = |text: &str| {
        // A target is visible ASCII, and so is what the request line of a visitor can add to it.
        HeaderValue::from_str(text).map_err(|_| Problem::malformed("the path cannot be added to the target"))
    };
    match decision {
        Decision::Redirect { location, status, max_age_s } => {
            let mut response = found(header(&location)?);
            *response.status_mut() = status_code(status);
            if let Some(kept) = kept(max_age_s) {
                response.headers_mut().insert(CACHE_CONTROL, kept);
            }
            count(request, worker, link, now);
            Ok(response.into())
        }
        Decision::Instead(url) => Ok(found(header(url)?).into()),
        Decision::NotYet => Err(Problem::link_not_yet()),
        Decision::Expired => Err(Problem::expired_link()),
        Decision::Exhausted => Err(Problem::exhausted_link()),
        Decision::Disabled => Err(Problem::disabled_link()),
        Decision::AskLimit | Decision::AskPassword(_) => {
            unreachable!("invariant: what was asked for once is not asked for again")
        }
        Decision::NothingBelow => Err(Problem::unknown_link()),
        Decision::Unreadable => Err(Problem::unreadable_link()),
    }
}

fn status_code(status: RedirectStatus) -> StatusCode {
    StatusCode::from_u16(status.into()).unwrap_or(StatusCode::FOUND)
}

/// How long a browser may keep a redirect; `None` = not at all.
fn kept(max_age_s: u64) -> Option<HeaderValue> {
    let text = (max_age_s > 0).then(|| format!("private, max-age={max_age_s}"))?;
    HeaderValue::from_str(&text).ok()
}

/// Counts a visit, if the request is one.
fn count(request: &HttpRequest, worker: &WorkerState, link: KeyHash, now: UnixMs) {
    if request.method() != Method::HEAD
        && let Some(visitor) = visitor_of(request, worker)
    {
        worker.recorder.visit(link, now, &visitor);
    }
}

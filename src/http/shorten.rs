//! `POST /shorten`: create a link.

use actix_web::http::header::LOCATION;
use actix_web::{HttpRequest, HttpResponse, web};
use waypost_protocol::link::LinkCounts;

use super::authorized::{Authorized, WriteLinks};
use super::body::{essence, is_json, parse_json, unmarked};
use super::link_json::{GivenLink, LinkJson};
use super::openapi::RetrySafely;
use super::problem::Problem;
use super::state::NodeState;
use crate::app::{CreatedLink, NewLink, Principal};

const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// Creates a link from a JSON object, or from a body that is only the URL.
#[utoipa::path(post, path = "/shorten", tag = "Links", params(RetrySafely),
    request_body(content((GivenLink = "application/json"), (String = "text/plain"))),
    responses(
        (status = 201, description = "The link was created, now or when the request was first sent", body = LinkJson,
            headers(("Location" = String, description = "The short URL"))),
        (status = 200, description = "The link existed already (`findIfExists`)", body = LinkJson,
            headers(("Location" = String, description = "The short URL")))
    ))]
pub(super) async fn shorten(
    caller: Authorized<WriteLinks>,
    request: HttpRequest,
    body: web::Bytes,
    node: web::Data<NodeState>,
) -> Result<HttpResponse, Problem> {
    let body = parse_body(&request, &body)?;
    let (link, is_new) = match create(&caller.principal, &request, &body, &node).await? {
        CreatedLink::New(link) => (link, true),
        CreatedLink::Existing(link) => (link, false),
    };
    let mut response = if is_new { HttpResponse::Created() } else { HttpResponse::Ok() };
    let counts = match is_new {
        true => counts_of_new(&request),
        false => node.app.counts(&link).await,
    };
    let json = node.link_json(&request, &link, counts);
    Ok(response.insert_header((LOCATION, json.short_url.clone())).json(json))
}

/// What is counted of a link that was created by a request: nothing. A request with a key may be a repetition, of a link that was visited since;
/// as in bulk, nothing is said then, and nothing is read.
pub(super) fn counts_of_new(request: &HttpRequest) -> Option<LinkCounts> {
    (!request.headers().contains_key(IDEMPOTENCY_KEY)).then(LinkCounts::default)
}

/// Creates the given link, once for each `Idempotency-Key`.
pub(super) async fn create(
    principal: &Principal,
    request: &HttpRequest,
    given: &GivenLink,
    node: &NodeState,
) -> Result<CreatedLink, Problem> {
    // Bytes that are no text are no key, as an empty one is.
    let idempotency_key = request.headers().get(IDEMPOTENCY_KEY).map(|value| value.to_str().unwrap_or_default());
    let own_hosts = node.own_hosts(request);
    let new = NewLink { idempotency_key, ..given.new_link(&own_hosts)? };
    let created = node.app.create_link(principal, new).await;
    created.map_err(|error| Problem::of_creation(error, |key| node.short_url(request, key)))
}

fn parse_body(request: &HttpRequest, body: &[u8]) -> Result<GivenLink, Problem> {
    let body = unmarked(body);
    let looks_like_json = || body.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{');
    match essence(request)?.as_deref() {
        Some(json) if is_json(json) => parse_json(body),
        Some("text/plain") => parse_text(body),
        None if looks_like_json() => parse_json(body),
        None => parse_text(body),
        Some(other) => Err(Problem::unsupported_media_type(format!(
            "\"{other}\" is not read here; send application/json, or text/plain with only the URL"
        ))),
    }
}

fn parse_text(body: &[u8]) -> Result<GivenLink, Problem> {
    let text = std::str::from_utf8(body)
        .map_err(|_| Problem::malformed("the body is not UTF-8; send the URL as plain text"))?;
    // `Target::parse` drops the line ends that `curl -d @file` and editors leave.
    Ok(GivenLink::to(text.to_owned()))
}

//! `POST /api/v1/links`, and `GET`, `PUT`, `PATCH`, `DELETE /api/v1/links/{code}`.

use actix_web::http::header::{ETAG, LOCATION};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder, web};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};
use waypost_protocol::Link;
use waypost_protocol::link::LinkCounts;
use waypost_protocol::messages::LinkView;

use super::authorized::{Authorized, ReadLinks, WriteLinks};
use super::body::parse_json_only;
use super::if_match::{IfMatch, none_match};
use super::link_json::{GivenEdit, GivenLink, LinkJson};
use super::openapi::{OfDomain, OfLink, OnlyIf, RetrySafely, UnlessKnown};
use super::problem::Problem;
use super::shorten;
use super::state::NodeState;
use crate::app::{self, CreatedLink, Guard, LinkName, PutLink};

/// How a link is read: `?consistency=strong` includes every change that was acknowledged before, on any node.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ReadQuery {
    /// `strong` includes every change that was acknowledged before, on any node.
    #[serde(default)]
    #[param(inline, default = "local")]
    consistency: Consistency,
    /// The host of the link's domain; without it the default domain.
    #[param(example = "go.example")]
    domain: Option<String>,
}

#[derive(Debug, Default, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Consistency {
    #[default]
    Local,
    Strong,
}

pub(super) fn etag(link: &Link) -> String {
    format!("\"{}\"", link.link_version())
}

pub(super) fn describe(
    mut answer: HttpResponseBuilder,
    request: &HttpRequest,
    node: &NodeState,
    link: &Link,
    counts: Option<LinkCounts>,
) -> HttpResponse {
    answer.insert_header((ETAG, etag(link))).json(node.link_json(request, link, counts))
}

/// A new link, with the address that its tag is for.
fn created(request: &HttpRequest, node: &NodeState, link: &Link, counts: Option<LinkCounts>) -> HttpResponse {
    let mut answer = HttpResponse::Created();
    answer.insert_header((LOCATION, node.link_url(request, &link.key)));
    describe(answer, request, node, link, counts)
}

/// Creates a link.
#[utoipa::path(post, path = "/api/v1/links", operation_id = "createLink", tag = "Links", params(RetrySafely), request_body = GivenLink,
    responses(
        (status = 201, description = "The link was created, now or when the request was first sent", body = LinkJson,
            headers(("Location" = String, description = "The link in the API"), ("ETag" = String, description = "Identifies this state of the link"))),
        (status = 200, description = "The link existed already (`findIfExists`)", body = LinkJson, headers(("ETag" = String, description = "Identifies this state of the link")))
    ))]
pub(super) async fn post(
    caller: Authorized<WriteLinks>,
    request: HttpRequest,
    body: web::Bytes,
    node: web::Data<NodeState>,
) -> Result<HttpResponse, Problem> {
    let body: GivenLink = parse_json_only(&request, &body)?;
    Ok(match shorten::create(&caller.principal, &request, &body, &node).await? {
        CreatedLink::New(link) => {
            let counts = shorten::counts_of_new(&request);
            created(&request, &node, &link, counts)
        }
        CreatedLink::Existing(link) => {
            let counts = node.app.counts(&link).await;
            describe(HttpResponse::Ok(), &request, &node, &link, counts)
        }
    })
}

/// Creates the link of a code, or replaces everything that is given for it.
#[utoipa::path(put, path = "/api/v1/links/{code}", operation_id = "putLink", tag = "Links", params(OfLink, OfDomain, OnlyIf, UnlessKnown),
    request_body = GivenLink,
    responses(
        (status = 201, description = "The link was created", body = LinkJson,
            headers(("Location" = String, description = "The link in the API"), ("ETag" = String, description = "Identifies this state of the link"))),
        (status = 200, description = "The link has this specification now", body = LinkJson, headers(("ETag" = String, description = "Identifies this state of the link")))
    ))]
pub(super) async fn put(
    caller: Authorized<WriteLinks>,
    request: HttpRequest,
    path: web::Path<String>,
    query: web::Query<OfDomain>,
    body: web::Bytes,
    node: web::Data<NodeState>,
) -> Result<HttpResponse, Problem> {
    let body: GivenLink = parse_json_only(&request, &body)?;
    let own_hosts = node.own_hosts(&request);
    let name = query.name(&path);
    let new = body.put_at(name, &own_hosts)?;
    let (condition, fault) = IfMatch::condition(request.headers());
    let put = node.app.put_link(&caller.principal, LinkName { domain: new.domain, ..name }, new, &condition).await;
    Ok(match put.map_err(|error| Problem::of_put(error, fault, condition.matches_not == Some(Guard::Any)))? {
        PutLink::Created(link) => created(&request, &node, &link, Some(LinkCounts::default())),
        PutLink::Replaced(link) => {
            let counts = node.app.counts(&link).await;
            describe(HttpResponse::Ok(), &request, &node, &link, counts)
        }
    })
}

/// Answers a link.
#[utoipa::path(get, path = "/api/v1/links/{code}", operation_id = "getLink", tag = "Links", params(OfLink, ReadQuery, UnlessKnown),
    responses(
        (status = 200, description = "The link", body = LinkJson, headers(("ETag" = String, description = "Identifies this state of the link"))),
        (status = 304, description = "The link has a state that `If-None-Match` names", headers(("ETag" = String, description = "Identifies this state of the link")))
    ))]
pub(super) async fn get(
    caller: Authorized<ReadLinks>,
    request: HttpRequest,
    path: web::Path<String>,
    query: web::Query<ReadQuery>,
    node: web::Data<NodeState>,
) -> Result<HttpResponse, Problem> {
    let consistency = match query.consistency {
        Consistency::Local => app::Consistency::Local,
        Consistency::Strong => app::Consistency::Strong,
    };
    let name = LinkName { domain: query.domain.as_deref(), code: &path };
    let LinkView { link, counts } = node.app.link(&caller.principal, name, consistency).await?;
    let unchanged = match none_match(request.headers()) {
        None => false,
        Some(Guard::Any) => true,
        Some(Guard::OneOf(versions)) => versions.contains(&link.link_version()),
    };
    if unchanged {
        return Ok(HttpResponse::NotModified().insert_header((ETAG, etag(&link))).finish());
    }
    Ok(describe(HttpResponse::Ok(), &request, &node, &link, Some(counts)))
}

/// Changes what the body names.
#[utoipa::path(patch, path = "/api/v1/links/{code}", operation_id = "editLink", tag = "Links", params(OfLink, OfDomain, OnlyIf),
    request_body = GivenEdit,
    responses((status = 200, description = "The changed link", body = LinkJson, headers(("ETag" = String, description = "Identifies this state of the link")))))]
pub(super) async fn patch(
    caller: Authorized<WriteLinks>,
    request: HttpRequest,
    path: web::Path<String>,
    query: web::Query<OfDomain>,
    body: web::Bytes,
    node: web::Data<NodeState>,
) -> Result<HttpResponse, Problem> {
    let body: GivenEdit = parse_json_only(&request, &body)?;
    let own_hosts = node.own_hosts(&request);
    let edit = body.edit(&own_hosts)?;
    let IfMatch { guard, fault } = IfMatch::of(request.headers());
    let edited = node.app.edit_link(&caller.principal, query.name(&path), edit, guard).await;
    let edited = edited.map_err(|error| Problem::of_change(error, fault))?;
    let counts = node.app.counts(&edited).await;
    Ok(describe(HttpResponse::Ok(), &request, &node, &edited, counts))
}

/// Deletes a link.
#[utoipa::path(delete, path = "/api/v1/links/{code}", operation_id = "deleteLink", tag = "Links", params(OfLink, OfDomain, OnlyIf),
    responses((status = 204, description = "The link is deleted")))]
pub(super) async fn delete(
    caller: Authorized<WriteLinks>,
    request: HttpRequest,
    path: web::Path<String>,
    query: web::Query<OfDomain>,
    node: web::Data<NodeState>,
) -> Result<HttpResponse, Problem> {
    let IfMatch { guard, fault } = IfMatch::of(request.headers());
    let deleted = node.app.delete_link(&caller.principal, query.name(&path), guard).await;
    deleted.map_err(|error| Problem::of_change(error, fault))?;
    Ok(HttpResponse::NoContent().finish())
}

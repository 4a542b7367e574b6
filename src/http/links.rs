//! `GET`, `PATCH`, `DELETE /api/v1/links/{code}`.

use actix_web::http::header::{ETAG, IF_NONE_MATCH};
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;
use waypost_protocol::Link;

use super::authorized::{Authorized, ReadLinks, WriteLinks};
use super::body::parse_json_only;
use super::if_match::IfMatch;
use super::link_json::{GivenEdit, LinkJson};
use super::problem::Problem;
use super::state::NodeState;
use crate::app;

/// How a link is read: `?consistency=strong` includes every change that was acknowledged before, on any node.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ReadQuery {
    #[serde(default)]
    consistency: Consistency,
}

#[derive(Debug, Default, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Consistency {
    #[default]
    Local,
    Strong,
}

fn etag(link: &Link) -> String {
    format!("\"{}\"", link.link_version())
}

fn describe(request: &HttpRequest, node: &NodeState, link: &Link) -> HttpResponse {
    let short_url = node.address.short_url(request, link.key.code.as_str());
    HttpResponse::Ok().insert_header((ETAG, etag(link))).json(LinkJson::new(link, &short_url))
}

/// Answers a link.
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
    let link = node.app.link(&caller.principal, &path, consistency).await?;
    let tag = etag(&link);
    let known = request.headers().get(IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    if known.is_some_and(|known| known == "*" || known.split(',').any(|one| one.trim().trim_start_matches("W/") == tag))
    {
        return Ok(HttpResponse::NotModified().insert_header((ETAG, tag)).finish());
    }
    Ok(describe(&request, &node, &link))
}

/// Changes the target or the end of a link.
pub(super) async fn patch(
    caller: Authorized<WriteLinks>,
    request: HttpRequest,
    path: web::Path<String>,
    body: web::Bytes,
    node: web::Data<NodeState>,
) -> Result<HttpResponse, Problem> {
    let body: GivenEdit = parse_json_only(&request, &body)?;
    let own_hosts = node.address.own_hosts(&request);
    let edit = body.edit(&own_hosts)?;
    let IfMatch { guard, fault } = IfMatch::of(request.headers());
    let edited = node.app.edit_link(&caller.principal, &path, edit, guard).await;
    Ok(describe(&request, &node, &edited.map_err(|error| Problem::of_change(error, fault))?))
}

/// Deletes a link.
pub(super) async fn delete(
    caller: Authorized<WriteLinks>,
    request: HttpRequest,
    path: web::Path<String>,
    node: web::Data<NodeState>,
) -> Result<HttpResponse, Problem> {
    let IfMatch { guard, fault } = IfMatch::of(request.headers());
    let deleted = node.app.delete_link(&caller.principal, &path, guard).await;
    deleted.map_err(|error| Problem::of_change(error, fault))?;
    Ok(HttpResponse::NoContent().finish())
}

//! `GET /api/v1/links`: lists of links, as pages, or whole as CSV and NDJSON.
//!
//! ```text
//! query.rs    the parameters
//! cursor.rs   where a page begins
//! partial.rs  the shards that an answer lacks
//! stream.rs   whole lists
//! table.rs    links as rows
//! ```

mod cursor;
mod partial;
mod query;
mod stream;
mod table;

use std::borrow::Cow;

use actix_web::http::Method;
use actix_web::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder, web};
pub(super) use cursor::Cursor;
use futures_util::stream::unfold;
pub(super) use partial::numbers;
use query::Format;
pub(super) use query::{Asked, ListQuery, SweepQuery, domain_of, positive};
use serde::Serialize;
pub use stream::LIST_STREAMS_MAX;
use stream::Walk;
use utoipa::ToSchema;

use super::accept::{wants_csv, wants_lines};
use super::answer::without_body;
use super::authorized::{Authorized, ReadLinks};
use super::link_json::LinkJson;
use super::problem::Problem;
use super::state::NodeState;
use crate::app::{ListRequest, Principal};

/// A page of a list.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = LinkList)]
pub(super) struct ListJson {
    /// The links.
    #[schema(max_items = 1000)]
    items: Vec<LinkJson>,
    /// The `cursor` of the next page; `null` if this is the last one.
    #[schema(required)]
    next_cursor: Option<String>,
    /// How many links there are on all pages.
    total: u64,
    /// `true` if not all links were counted, because `q` fits very many, or shards are missing: there are at least as many.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schema(required = false)]
    total_is_minimum: bool,
    /// The shards that no node could answer for, or not completely: links of them are missing. Absent if the answer is complete.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false, min_items = 1)]
    partial: Vec<u32>,
}

/// Lists links.
///
/// Follow `nextCursor` until it is `null`. A link that is there all the time is on one page, and on one only, whatever is created, changed and deleted
/// meanwhile; but a link whose place in the order changes may be missed or come twice (`createdAt` and `slug` never change).
///
/// As CSV and NDJSON, which `format` or `Accept` asks for, the answer has all links. If it could not be completed, its last line says so, and the connection
/// breaks.
#[utoipa::path(get, path = "/api/v1/links", operation_id = "listLinks", tag = "Links", params(ListQuery),
    responses((status = 200, description = "A page, or the whole list as CSV or NDJSON",
        content((ListJson = "application/json"), (String = "text/csv"), (String = "application/x-ndjson")))))]
pub(super) async fn list(
    caller: Authorized<ReadLinks>,
    request: HttpRequest,
    query: web::Query<ListQuery>,
    node: web::Data<NodeState>,
) -> Result<HttpResponse, Problem> {
    let format = match query.format()? {
        Some(format) => format,
        None if wants_lines(&request) => Format::Ndjson,
        None if wants_csv(&request) => Format::Csv,
        None => Format::Json,
    };
    let asked = query.asked(&node, &caller.principal, |text| node.own_link(&request, text))?;
    let mut head = match format {
        Format::Json => return page(&caller, &request, &node, asked).await,
        Format::Csv => csv_head(),
        Format::Ndjson => {
            let mut head = HttpResponse::Ok();
            head.insert_header((CONTENT_TYPE, "application/x-ndjson"));
            head
        }
    };
    if request.method() == Method::HEAD {
        return Ok(without_body(head));
    }
    let walk = Walk::begin(node, request, caller.principal, asked, format).await?;
    Ok(head.streaming(unfold(walk, Walk::next)))
}

/// The head of an answer that is a table.
fn csv_head() -> HttpResponseBuilder {
    let mut head = HttpResponse::Ok();
    head.insert_header((CONTENT_TYPE, "text/csv; charset=utf-8"))
        .insert_header((CONTENT_DISPOSITION, "attachment; filename=\"links.csv\""));
    head
}

/// Sends a whole list as CSV.
pub(super) async fn whole_as_csv(
    node: web::Data<NodeState>,
    request: HttpRequest,
    principal: Principal,
    asked: Asked,
) -> Result<HttpResponse, Problem> {
    let walk = Walk::begin(node, request, principal, asked, Format::Csv).await?;
    Ok(csv_head().streaming(unfold(walk, Walk::next)))
}

/// Sends some links as CSV.
pub(super) fn some_as_csv(links: &[LinkJson]) -> HttpResponse {
    let head = table::COLUMNS.map(Cow::from).to_vec();
    let rows = links.iter().map(|link| table::row(link).into_iter().map(Cow::from).collect());
    csv_head().body(table::csv(std::iter::once(head).chain(rows)))
}

async fn page(
    caller: &Authorized<ReadLinks>,
    request: &HttpRequest,
    node: &NodeState,
    asked: Asked,
) -> Result<HttpResponse, Problem> {
    let limit = asked.page_links()?;
    let Asked { filter, sort, print, cursor, seen, .. } = asked;
    let after = cursor.map(|cursor| cursor.after);
    let ask = ListRequest { filter, sort, after, limit, count: true, seen };
    let listed = node.app.list_links(&caller.principal, ask).await?;
    let matches = listed.matches.unwrap_or_default();
    Ok(HttpResponse::Ok().json(ListJson {
        items: listed.items.iter().map(|(_, view)| node.link_json(request, &view.link, Some(view.counts))).collect(),
        next_cursor: listed.next.map(|after| Cursor::write(print, after)),
        total: matches.total,
        total_is_minimum: matches.is_minimum,
        partial: numbers(&listed.partial),
    }))
}

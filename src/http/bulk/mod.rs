//! `POST /api/v1/bulk`: many changes in one request, with a result for each.
//!
//! As JSON the request is read whole. As NDJSON, one item a line, request and answer are streams of any length: the node holds no more than the
//! items that it works on. `items.rs` reads the items.

mod items;

use std::rc::Rc;

use actix_web::http::header::CONTENT_TYPE;
use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use futures_util::stream;
use serde::Serialize;
use serde_json::Value;
use tokio::sync::OwnedSemaphorePermit;
use utoipa::ToSchema;
use waypost_protocol::OwnHost;
use waypost_protocol::link::LinkCounts;

use super::authorized::{Authorized, WriteLinks};
use super::body::{essence, is_json};
use super::if_match::IfMatch;
use super::link_json::LinkJson;
use super::links::etag;
use super::openapi::RetrySafely;
use super::problem::{Document, Problem};
use super::state::NodeState;
use super::wire::Conn;
use crate::app::{BulkDone, BulkError, Principal};
use items::{Given, GivenItem, Source};

/// The most bulk requests of one node at a time, which bounds their memory.
pub const BULK_REQUESTS_MAX: usize = 4;

/// What became of an item.
#[derive(Serialize, ToSchema)]
#[schema(as = BulkResult)]
pub(super) struct ItemResult {
    /// Its place in the request, from 0.
    index: u64,
    /// The status that it would have been answered with alone.
    status: u16,
    /// The tag of the link.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    etag: Option<String>,
    /// The link, unless it was deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    link: Option<LinkJson>,
    /// Why it was not done.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Document>, nullable = false)]
    problem: Option<Value>,
}

/// A result for each item, in their order.
#[cfg_attr(not(test), expect(dead_code, reason = "for the document only"))]
#[derive(Serialize, ToSchema)]
#[schema(as = BulkAnswer)]
pub(super) struct Results {
    /// The results.
    results: Vec<ItemResult>,
    /// How many items were not done.
    failed: usize,
}

/// A bulk request that is being answered.
struct Bulk {
    node: web::Data<NodeState>,
    principal: Principal,
    own_hosts: Vec<OwnHost>,
    /// For short URLs.
    request: HttpRequest,
    key: Option<String>,
    source: Source,
    /// The index of the next item.
    index: u64,
    failed: usize,
    ended: bool,
    /// Held while the request is answered.
    _permit: OwnedSemaphorePermit,
}

impl Bulk {
    /// The results of the next items.
    async fn results(&mut self) -> Vec<ItemResult> {
        let given = self.source.next().await;
        let first = self.index;
        self.index += given.len() as u64;
        let stops = self.node.draining().then(|| Problem::not_ready("the server is stopping"));
        let mut changes = Vec::with_capacity(given.len());
        let mut results = Vec::with_capacity(given.len());
        for (index, item) in (first..).zip(&given) {
            let item = stops.clone().map_or(item.as_ref().map_err(Clone::clone), Err);
            match item.and_then(|item| item.change(&self.own_hosts)) {
                Ok(change) => {
                    changes.push((index, change));
                    results.push(None);
                }
                Err(problem) => results.push(Some(refused(index, &problem))),
            }
        }
        let mut done = self.node.app.bulk(&self.principal, changes, self.key.as_deref()).await.into_iter();
        let results = (first..).zip(results).zip(&given).filter_map(|((index, result), item)| {
            let tags = item.as_ref().ok().and_then(GivenItem::if_match);
            let keyed = self.key.is_some() || item.as_ref().is_ok_and(GivenItem::has_key);
            result.or_else(|| done.next().map(|done| self.result(index, done, tags, keyed)))
        });
        let results: Vec<ItemResult> = results.collect();
        self.failed += results.iter().filter(|result| result.problem.is_some()).count();
        results
    }

    fn result(&self, index: u64, done: Result<BulkDone, BulkError>, tags: Option<&str>, keyed: bool) -> ItemResult {
        let fault = IfMatch::of_text(tags).fault;
        let (status, link, counts) = match done {
            // With a key, it may have been created, and visited, before.
            Ok(BulkDone::Created(link)) => (201, link, (!keyed).then(LinkCounts::default)),
            Ok(BulkDone::Is(link)) => (200, link, None),
            Ok(BulkDone::Deleted) => return ItemResult { index, status: 204, etag: None, link: None, problem: None },
            Err(error) => {
                let problem = match error {
                    BulkError::Create(error) => {
                        Problem::of_creation(error, |key| self.node.short_url(&self.request, key))
                    }
                    BulkError::Put(error) => Problem::of_put(error, fault, false),
                    BulkError::Change(error) => Problem::of_change(error, fault),
                };
                return refused(index, &problem);
            }
        };
        let json = self.node.link_json(&self.request, &link, counts);
        ItemResult { index, status, etag: Some(etag(&link)), link: Some(json), problem: None }
    }

    /// The next lines of an NDJSON answer.
    async fn lines(mut self) -> Option<(Result<Bytes, actix_web::Error>, Self)> {
        let results = self.results().await;
        if results.is_empty() {
            return None;
        }
        let mut lines = Vec::new();
        for result in &results {
            lines.extend(json_of(result));
            lines.push(b'\n');
        }
        Some((Ok(lines.into()), self))
    }

    /// The next part of a JSON answer.
    async fn json(mut self) -> Option<(Result<Bytes, actix_web::Error>, Self)> {
        if self.ended {
            return None;
        }
        let first = self.index == 0;
        let results = self.results().await;
        let mut text = if first { b"{\"results\":[".to_vec() } else { Vec::new() };
        for (at, result) in results.iter().enumerate() {
            if !first || at > 0 {
                text.push(b',');
            }
            text.extend(json_of(result));
        }
        if results.is_empty() {
            self.ended = true;
            text.extend(format!("],\"failed\":{}}}", self.failed).into_bytes());
        }
        Some((Ok(text.into()), self))
    }
}

fn json_of(result: &ItemResult) -> Vec<u8> {
    serde_json::to_vec(result).expect("invariant: a result of texts and numbers is JSON")
}

fn refused(index: u64, problem: &Problem) -> ItemResult {
    let document = serde_json::from_slice(&problem.document()).ok();
    ItemResult { index, status: problem.status().as_u16(), etag: None, link: None, problem: document }
}

/// Creates, puts, changes and deletes links, and answers a result for each item.
///
/// The items of one code are done in their order, and those of different codes in any. An item that cannot be done leaves the others
/// alone. If the connection breaks, send the same request with the same `Idempotency-Key` again: creates that were done are not done twice.
/// As `application/x-ndjson`, request and answer have an item a line and any length; read the answer while you send.
#[utoipa::path(post, path = "/api/v1/bulk", operation_id = "changeLinks", tag = "Links", params(RetrySafely),
    request_body(content((Given = "application/json"), (String = "application/x-ndjson"))),
    responses((status = 200, description = "A result for each item, in their order",
        content((Results = "application/json"), (String = "application/x-ndjson")))))]
pub(super) async fn bulk(
    caller: Authorized<WriteLinks>,
    request: HttpRequest,
    payload: web::Payload,
    node: web::Data<NodeState>,
) -> Result<HttpResponse, Problem> {
    let permit = node.bulk_requests.clone().try_acquire_owned();
    let permit = permit
        .map_err(|_| Problem::not_ready(format!("{BULK_REQUESTS_MAX} bulk requests are being answered already")))?;
    let lines = match essence(&request)?.as_deref() {
        Some("application/x-ndjson" | "application/jsonl") => true,
        None => false,
        Some(json) if is_json(json) => false,
        Some(other) => {
            return Err(Problem::unsupported_media_type(format!(
                "\"{other}\" is not read here; send application/json, or application/x-ndjson with an item a line"
            )));
        }
    };
    let source = if lines {
        if let Some(conn) = request.conn_data::<Rc<Conn>>() {
            conn.stream_body();
        }
        Source::lines(payload, node.body_max_bytes)
    } else {
        Source::json(payload, node.body_max_bytes).await?
    };
    let key = request.headers().get("idempotency-key").map(|key| key.to_str().unwrap_or_default().to_owned());
    let bulk = Bulk {
        principal: caller.principal,
        own_hosts: node.own_hosts(&request),
        request,
        node,
        key,
        source,
        index: 0,
        failed: 0,
        ended: false,
        _permit: permit,
    };
    let mut answer = HttpResponse::Ok();
    Ok(if lines {
        answer.insert_header((CONTENT_TYPE, "application/x-ndjson")).streaming(stream::unfold(bulk, Bulk::lines))
    } else {
        answer.insert_header((CONTENT_TYPE, "application/json")).streaming(stream::unfold(bulk, Bulk::json))
    })
}

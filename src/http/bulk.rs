//! `POST /api/v1/bulk`: many changes in one request, with a result for each.
//!
//! As JSON the request is read whole, and has at most [`ITEMS_MAX`] items. As NDJSON, one item a line, request and answer are streams of any
//! length: the node holds no more than the items that it works on.

use std::fmt;
use std::rc::Rc;

use actix_web::http::header::CONTENT_TYPE;
use actix_web::{HttpRequest, HttpResponse, web};
use bytes::{Buf, Bytes, BytesMut};
use futures_util::{FutureExt, StreamExt, stream};
use serde::de::{self, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::sync::OwnedSemaphorePermit;
use utoipa::ToSchema;
use waypost_protocol::OwnHost;
use waypost_protocol::link::LinkCounts;

use super::authorized::{Authorized, WriteLinks};
use super::body::{essence, is_json, parse_json, unmarked};
use super::if_match::IfMatch;
use super::link_json::{GivenEdit, GivenLink, LinkJson};
use super::links::etag;
use super::openapi::RetrySafely;
use super::problem::{Document, Problem};
use super::state::NodeState;
use super::wire::Conn;
use crate::app::{BULK_AT_ONCE_MAX, BulkChange, BulkDone, BulkError, Condition, LinkName, NewLink, Principal};

/// The most items of a JSON request. More of them are sent as NDJSON.
const ITEMS_MAX: usize = 1000;

/// The longest JSON request: room for as many items with the longest URLs.
const BODY_BYTES_MAX: usize = 10 * 1024 * 1024;

/// The most bulk requests of one node at a time, which bounds their memory.
pub const BULK_REQUESTS_MAX: usize = 4;

/// Many changes.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = BulkRequest)]
pub(super) struct Given {
    /// At most 1,000 of them.
    #[schema(value_type = Vec<GivenItem>, max_items = 1000)]
    items: Items,
}

/// The texts of the items, each of which is read when its turn comes: a parsed text takes many times its length.
struct Items(Vec<Box<RawValue>>);

impl<'de> Deserialize<'de> for Items {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Read;

        impl<'de> Visitor<'de> for Read {
            type Value = Items;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a list of at most {ITEMS_MAX} items")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Items, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = list.next_element()? {
                    // Nothing is read after that many.
                    if items.len() == ITEMS_MAX {
                        return Err(de::Error::custom(TOO_MANY));
                    }
                    items.push(item);
                }
                Ok(Items(items))
            }
        }

        from.deserialize_seq(Read)
    }
}

/// What the error of a list with too many items begins with.
const TOO_MANY: &str = "too many items";

/// One of many changes.
#[derive(Deserialize, ToSchema)]
#[serde(tag = "op", rename_all = "lowercase", deny_unknown_fields)]
#[schema(as = BulkItem)]
enum GivenItem {
    /// Creates a link.
    Create {
        /// The link.
        link: GivenLink,
        /// As the header `Idempotency-Key` of a create alone, in place of that of the whole request.
        #[serde(rename = "idempotencyKey")]
        #[schema(min_length = 1, max_length = 255)]
        idempotency_key: Option<String>,
    },
    /// Creates the link of a code, or replaces it.
    Put {
        /// The code.
        code: String,
        /// The host of its domain; without it the default domain.
        domain: Option<String>,
        /// The link.
        link: GivenLink,
        /// As the header `If-Match`.
        #[serde(rename = "ifMatch")]
        if_match: Option<String>,
    },
    /// Changes a link.
    Edit {
        /// The code.
        code: String,
        /// The host of its domain; without it the default domain.
        domain: Option<String>,
        /// The changes.
        changes: GivenEdit,
        /// As the header `If-Match`.
        #[serde(rename = "ifMatch")]
        if_match: Option<String>,
    },
    /// Deletes a link.
    Delete {
        /// The code.
        code: String,
        /// The host of its domain; without it the default domain.
        domain: Option<String>,
        /// As the header `If-Match`.
        #[serde(rename = "ifMatch")]
        if_match: Option<String>,
    },
}

impl GivenItem {
    fn change<'a>(&'a self, own_hosts: &'a [OwnHost]) -> Result<BulkChange<'a>, Problem> {
        let guard = |tags: &Option<String>| IfMatch::of_text(tags.as_deref()).guard;
        Ok(match self {
            Self::Create { link, idempotency_key } => {
                BulkChange::Create(NewLink { idempotency_key: idempotency_key.as_deref(), ..link.new_link(own_hosts)? })
            }
            Self::Put { code, domain, link, if_match } => {
                let name = LinkName { domain: domain.as_deref(), code };
                let new = link.put_at(name, own_hosts)?;
                BulkChange::Put {
                    name: LinkName { domain: new.domain, ..name },
                    new,
                    condition: Condition { matches: if_match.as_ref().map(|_| guard(if_match)), matches_not: None },
                }
            }
            Self::Edit { code, domain, changes, if_match } => {
                let name = LinkName { domain: domain.as_deref(), code };
                BulkChange::Edit { name, edit: changes.edit(own_hosts)?, guard: guard(if_match) }
            }
            Self::Delete { code, domain, if_match } => {
                BulkChange::Delete { name: LinkName { domain: domain.as_deref(), code }, guard: guard(if_match) }
            }
        })
    }

    fn has_key(&self) -> bool {
        matches!(self, Self::Create { idempotency_key: Some(_), .. })
    }

    fn if_match(&self) -> Option<&str> {
        match self {
            Self::Create { .. } => None,
            Self::Put { if_match, .. } | Self::Edit { if_match, .. } | Self::Delete { if_match, .. } => {
                if_match.as_deref()
            }
        }
    }
}

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
#[derive(Serialize, ToSchema)]
#[schema(as = BulkAnswer)]
pub(super) struct Results {
    /// The results.
    results: Vec<ItemResult>,
    /// How many items were not done.
    failed: usize,
}

/// The items of a request, as they come.
enum Source {
    /// Those of a JSON request.
    Read(std::vec::IntoIter<Box<RawValue>>, usize),
    /// Those of an NDJSON request.
    Lines(Lines),
}

impl Source {
    /// The next items, at most [`BULK_AT_ONCE_MAX`]; none = there are no more.
    async fn next(&mut self) -> Vec<Result<GivenItem, Problem>> {
        match self {
            Self::Read(items, max) => {
                let parse = |item: Box<RawValue>| item_in(item.get().as_bytes(), *max);
                items.take(BULK_AT_ONCE_MAX).map(parse).collect()
            }
            Self::Lines(lines) => lines.next().await,
        }
    }
}

/// The lines of a body.
struct Lines {
    payload: web::Payload,
    buffer: BytesMut,
    line_max: usize,
    ended: bool,
}

impl Lines {
    async fn next(&mut self) -> Vec<Result<GivenItem, Problem>> {
        let mut items = Vec::new();
        while items.len() < BULK_AT_ONCE_MAX {
            if let Some(line) = self.line() {
                let line = unmarked(&line).trim_ascii();
                if !line.is_empty() {
                    items.push(item_in(line, self.line_max));
                }
                continue;
            }
            if self.ended {
                break;
            }
            if self.buffer.len() > self.line_max {
                items.push(Err(Problem::line_too_long(self.line_max)));
                self.buffer.clear();
                self.ended = true;
                break;
            }
            // Items that are there do not wait for those that are still to come.
            let piece = match items.is_empty() {
                true => self.payload.next().await,
                false => match self.payload.next().now_or_never() {
                    Some(piece) => piece,
                    None => break,
                },
            };
            match piece {
                Some(Ok(piece)) => self.buffer.extend_from_slice(&piece),
                Some(Err(_)) => {
                    // The connection broke, perhaps within a line.
                    self.buffer.clear();
                    self.ended = true;
                }
                None => self.ended = true,
            }
        }
        items
    }

    /// Takes a line out of the buffer. The last one needs no line end.
    fn line(&mut self) -> Option<Bytes> {
        if let Some(end) = memchr::memchr(b'\n', &self.buffer) {
            let line = self.buffer.split_to(end).freeze();
            self.buffer.advance(1);
            return Some(line);
        }
        (self.ended && !self.buffer.is_empty()).then(|| self.buffer.split().freeze())
    }
}

/// The item in a text of at most `max` bytes.
fn item_in(text: &[u8], max: usize) -> Result<GivenItem, Problem> {
    if text.len() > max {
        return Err(Problem::malformed(format!("an item has at most {max} bytes")));
    }
    parse_json(text)
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
                    BulkError::Put(error) => Problem::of_put(error, fault),
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

/// Reads the items of a JSON request.
async fn read(mut payload: web::Payload) -> Result<Vec<Box<RawValue>>, Problem> {
    let mut body = BytesMut::new();
    while let Some(piece) = payload.next().await {
        let piece = piece.map_err(|error| Problem::malformed(error.to_string()))?;
        if body.len() + piece.len() > BODY_BYTES_MAX {
            return Err(Problem::bulk_too_large(BODY_BYTES_MAX));
        }
        body.extend_from_slice(&piece);
    }
    let body = unmarked(&body);
    match serde_json::from_slice::<Given>(body) {
        Err(error) if error.to_string().starts_with(TOO_MANY) => {
            let many = format!(
                "at most {ITEMS_MAX} items are read as JSON; send more of them as application/x-ndjson, one a line"
            );
            Err(Problem::invalid("items", many))
        }
        _ => parse_json(body).map(|given: Given| given.items.0),
    }
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
    let lines = match essence(&request).as_deref() {
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
        Source::Lines(Lines { payload, buffer: BytesMut::new(), line_max: node.body_max_bytes, ended: false })
    } else {
        Source::Read(read(payload).await?.into_iter(), node.body_max_bytes)
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

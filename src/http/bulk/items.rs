//! The items of a bulk request, as they come.

use std::fmt;

use actix_web::web;
use bytes::{Buf, Bytes, BytesMut};
use futures_util::{FutureExt, StreamExt};
use serde::de::{self, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use utoipa::ToSchema;
use waypost_protocol::OwnHost;

use crate::app::{BULK_AT_ONCE_MAX, BulkChange, Condition, LinkName, NewLink};
use crate::http::body::{parse_json, unmarked};
use crate::http::if_match::IfMatch;
use crate::http::link_json::{GivenEdit, GivenLink};
use crate::http::problem::Problem;

/// The most items of a JSON request. More of them are sent as NDJSON.
const ITEMS_MAX: usize = 1000;

/// The longest JSON request: room for as many items with the longest URLs.
const BODY_BYTES_MAX: usize = 10 * 1024 * 1024;

/// Many changes.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = BulkRequest)]
pub(in crate::http) struct Given {
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
pub(super) enum GivenItem {
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
    /// The change that it asks for.
    pub(super) fn change<'a>(&'a self, own_hosts: &'a [OwnHost]) -> Result<BulkChange<'a>, Problem> {
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

    /// Whether it can be sent again.
    pub(super) fn has_key(&self) -> bool {
        matches!(self, Self::Create { idempotency_key: Some(_), .. })
    }

    /// Its `ifMatch`.
    pub(super) fn if_match(&self) -> Option<&str> {
        match self {
            Self::Create { .. } => None,
            Self::Put { if_match, .. } | Self::Edit { if_match, .. } | Self::Delete { if_match, .. } => {
                if_match.as_deref()
            }
        }
    }
}

/// The items of a request, as they come.
pub(super) enum Source {
    /// Those of a JSON request, and the most bytes of each.
    Read(std::vec::IntoIter<Box<RawValue>>, usize),
    /// Those of an NDJSON request.
    Lines(Lines),
}

impl Source {
    /// Reads the items of a JSON request. Each has at most `max` bytes.
    pub(super) async fn json(payload: web::Payload, max: usize) -> Result<Self, Problem> {
        Ok(Self::Read(read(payload).await?.into_iter(), max))
    }

    /// The items of an NDJSON request, in lines of at most `max` bytes.
    pub(super) fn lines(payload: web::Payload, max: usize) -> Self {
        Self::Lines(Lines { payload, buffer: BytesMut::new(), line_max: max, ended: false })
    }

    /// The next items, at most [`BULK_AT_ONCE_MAX`]; none = there are no more.
    pub(super) async fn next(&mut self) -> Vec<Result<GivenItem, Problem>> {
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
pub(super) struct Lines {
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

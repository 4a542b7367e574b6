//! `GET /generate-key`: codes that will never be issued again.

use actix_web::{HttpRequest, HttpResponse, web};
use futures_util::future::try_join_all;
use serde::{Deserialize, Serialize};
use waypost_protocol::messages::{GetLink, NextKeys};
use waypost_protocol::{CallError, Code, LinkKey};

use super::permit::Permit;
use super::problem::Problem;
use super::state::WorkerState;

/// The most keys one request may ask for.
const COUNT_MAX: u32 = 1000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Query {
    count: Option<String>,
}

#[derive(Serialize)]
struct Keys {
    key: String,
    keys: Vec<String>,
}

/// Answers fresh keys, each usable once as `customSlug`.
pub(super) async fn generate(
    _: Permit,
    request: HttpRequest,
    worker: web::Data<WorkerState>,
) -> Result<HttpResponse, Problem> {
    let node = &worker.node;
    let query = web::Query::<Query>::from_query(request.query_string())
        .map_err(|_| Problem::malformed("the only parameter is count"))?;
    let count = match &query.count {
        None => 1,
        Some(text) => text
            .parse()
            .ok()
            .filter(|count| (1..=COUNT_MAX).contains(count))
            .ok_or_else(|| Problem::invalid("count", format!("count has to be a number from 1 to {COUNT_MAX}")))?,
    };
    node.writable().map_err(CallError::from)?;
    let mut keys: Vec<String> = Vec::with_capacity(count as usize);
    while keys.len() < count as usize {
        let request = NextKeys { shard: None, count: count - keys.len() as u32 };
        let codes = node.keys.call(request, node.timeout).await?;
        keys.extend(
            try_join_all(codes.into_iter().map(|code| unless_taken(&worker, code))).await?.into_iter().flatten(),
        );
    }
    Ok(HttpResponse::Ok().json(Keys { key: keys.first().cloned().unwrap_or_default(), keys }))
}

/// The code, unless somebody has made an alias of the same text.
async fn unless_taken(worker: &WorkerState, code: Code) -> Result<Option<String>, CallError> {
    let key = LinkKey::new(code.clone());
    let message = GetLink { shard: key.shard(worker.node.shards), key, strong: true, leader: true };
    let taken = worker.node.links.call(message, worker.node.timeout).await?.is_some();
    Ok((!taken).then(|| code.to_string()))
}

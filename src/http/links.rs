//! `GET`, `PATCH`, `DELETE /api/v1/links/{code}` and `GET /analytics/{code}`.

use std::time::Instant;

use actix_web::http::header::{ETAG, IF_MATCH, IF_NONE_MATCH};
use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Deserialize, Deserializer, Serialize};
use waypost_protocol::clicks::HOUR_MS;
use waypost_protocol::messages::{Changed, DeleteLink, EditLink, GetLink, LinkStore, LinkView};
use waypost_protocol::{CallError, Code, Link, LinkKey, LinkVersion, Request, Target};

use super::access::presents_key;
use super::if_match::Guard;
use super::link_json::{LinkJson, parse_time};
use super::permit::Permit;
use super::problem::Problem;
use super::shorten;
use super::state::WorkerState;
use super::stats::of_key;
use super::times::format_time;
use super::unknown::{note_unknown, refuse_flood};
use super::visitor::limited_client;
use crate::config::AnalyticsRule;

pub(super) fn key_of(path: &str) -> Result<LinkKey, Problem> {
    Code::from_path(path).map(LinkKey::new).ok_or_else(Problem::unknown_link)
}

/// How a link is read: `?consistency=strong` sees every change that was acknowledged before, on whichever node.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ReadQuery {
    #[serde(default)]
    consistency: Consistency,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Consistency {
    /// What this node's replica has.
    #[default]
    Local,
    /// What a quorum has.
    Strong,
}

pub(super) async fn get_link(worker: &WorkerState, path: &str, strong: bool) -> Result<LinkView, Problem> {
    let key = key_of(path)?;
    // Who changed it through this node sees the change.
    let leader = worker.node.view.only_leader(&key, Instant::now());
    let message = GetLink { shard: key.shard(worker.node.shards), key, strong, leader };
    worker.node.links.call(message, worker.node.timeout).await?.ok_or_else(Problem::unknown_link)
}

/// Asks for a change, and makes sure that this node does not answer from before it any more when the caller hears of it.
async fn change<M: Request<Service = LinkStore>>(
    worker: &WorkerState,
    key: &LinkKey,
    message: M,
) -> Result<M::Reply, CallError> {
    let node = &worker.node;
    let reply = node.links.call(message, node.timeout).await?;
    // Also when the own replica has applied it: another node may lead or hold the shard when it is asked for next.
    node.view.changed_here(key, Instant::now());
    Ok(reply)
}

fn etag(link: &Link) -> String {
    format!("\"{}\"", link.link_version())
}

fn describe(request: &HttpRequest, worker: &WorkerState, link: &Link) -> HttpResponse {
    let short_url = worker.node.address.short_url(request, link.key.code.as_str());
    HttpResponse::Ok().insert_header((ETAG, etag(link))).json(LinkJson::new(link, &short_url))
}

/// Describes a link.
pub(super) async fn get(
    _: Permit,
    request: HttpRequest,
    path: web::Path<String>,
    query: web::Query<ReadQuery>,
    worker: web::Data<WorkerState>,
) -> Result<HttpResponse, Problem> {
    let found = get_link(&worker, &path, query.consistency == Consistency::Strong).await?;
    let tag = etag(&found.link);
    let known = request.headers().get(IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    if known.is_some_and(|known| known == "*" || known.split(',').any(|one| one.trim().trim_start_matches("W/") == tag))
    {
        return Ok(HttpResponse::NotModified().insert_header((ETAG, tag)).finish());
    }
    Ok(describe(&request, &worker, &found.link))
}

/// The state that the change has to find; `None` = any.
async fn guarded(request: &HttpRequest, worker: &WorkerState, path: &str) -> Result<Option<LinkVersion>, Problem> {
    let headers = request.headers().get_all(IF_MATCH);
    let values: Vec<&str> = headers.map(|value| value.to_str().unwrap_or_default()).collect();
    let Some(guard) = Guard::read(&values) else { return Ok(None) };
    match (&guard.versions[..], guard.fault) {
        ([version], None) => Ok(Some(*version)),
        // None or several: the state now decides which is meant, and the change then guards that.
        (versions, fault) => {
            let current = get_link(worker, path, true).await?.link.link_version();
            if versions.contains(&current) {
                return Ok(Some(current));
            }
            Err(match fault {
                Some(fault) => Problem::unusable_tag(fault, current),
                None => Problem::precondition_failed(current),
            })
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Edit {
    long_url: Option<String>,
    /// Absent = as it is; `null` = no end.
    #[serde(default, deserialize_with = "present")]
    valid_until: Option<Option<String>>,
}

fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<String>>, D::Error> {
    Option::<String>::deserialize(deserializer).map(Some)
}

/// Changes a link's target or end.
pub(super) async fn patch(
    _: Permit,
    request: HttpRequest,
    path: web::Path<String>,
    body: web::Bytes,
    worker: web::Data<WorkerState>,
) -> Result<HttpResponse, Problem> {
    let node = &worker.node;
    let edit: Edit = shorten::parse_json_only(&request, &body)?;
    if edit.long_url.is_none() && edit.valid_until.is_none() {
        return Err(Problem::malformed("nothing to change: send longUrl, validUntil, or both"));
    }
    let own = node.address.own_hosts(&request);
    let target = edit
        .long_url
        .map(|url| Target::parse(&url, &own, node.url_max_bytes))
        .transpose()
        .map_err(|error| Problem::bad_url(&error))?;
    let valid_until =
        edit.valid_until.map(|until| until.map(|text| parse_time(&text, (node.clock)())).transpose()).transpose()?;
    node.writable().map_err(CallError::from)?;
    let if_version = guarded(&request, &worker, &path).await?;
    let key = key_of(&path)?;
    let message = EditLink { shard: key.shard(node.shards), key: key.clone(), if_version, target, valid_until };
    match change(&worker, &key, message).await? {
        Changed::Edited(link) => Ok(describe(&request, &worker, &link)),
        Changed::VersionMismatch { current } => Err(Problem::precondition_failed(current)),
        Changed::NotFound | Changed::Deleted => Err(Problem::unknown_link()),
    }
}

/// Deletes a link.
pub(super) async fn delete(
    _: Permit,
    request: HttpRequest,
    path: web::Path<String>,
    worker: web::Data<WorkerState>,
) -> Result<HttpResponse, Problem> {
    let node = &worker.node;
    let if_version = guarded(&request, &worker, &path).await?;
    node.writable().map_err(CallError::from)?;
    let key = key_of(&path)?;
    let message = DeleteLink { shard: key.shard(node.shards), key: key.clone(), if_version };
    match change(&worker, &key, message).await? {
        Changed::Deleted => Ok(HttpResponse::NoContent().finish()),
        Changed::VersionMismatch { current } => Err(Problem::precondition_failed(current)),
        Changed::NotFound | Changed::Edited(_) => Err(Problem::unknown_link()),
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Analytics {
    short_code: String,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    details: Option<Details>,
    total_clicks: u64,
    bot_clicks: u64,
    last_30_days: LastDays,
    /// As `GET /{code}` tells everybody.
    expired: bool,
    /// Told without a leader: totals may be lower than what was told before.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    stale: bool,
}

/// What does not concern everybody: where the link leads, perhaps no more, and when.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Details {
    long_url: String,
    created_at: String,
    valid_until: Option<String>,
    last_accessed: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LastDays {
    clicks: u64,
    unique_visitors: u64,
}

/// Whether a request is told everything about a link, or only its totals.
fn is_told_all(request: &HttpRequest, worker: &WorkerState) -> Result<bool, Problem> {
    let access = || worker.node.access.check(request);
    match worker.node.analytics {
        AnalyticsRule::Full => Ok(true),
        AnalyticsRule::Key => access().map(|_| true),
        // A key that is wrong is not ignored: its owner would miss what the right one shows.
        AnalyticsRule::Totals if presents_key(request) => access().map(|_| true),
        AnalyticsRule::Totals => Ok(access().is_ok()),
    }
}

/// The totals of a link, and for whoever may change links everything else.
pub(super) async fn analytics(
    request: HttpRequest,
    path: web::Path<String>,
    worker: web::Data<WorkerState>,
) -> Result<HttpResponse, Problem> {
    let all = is_told_all(&request, &worker)?;
    let node = &worker.node;
    let client = limited_client(&worker.visitors, request.headers(), request.peer_addr());
    refuse_flood(node, client, &key_of(&path)?).await?;
    let found = get_link(&worker, &path, false).await;
    let LinkView { link, visits } = found.inspect_err(|problem| {
        if problem.is_unknown_link() {
            note_unknown(node, client);
        }
    })?;
    let now = (node.clock)();
    let to = (now.0 / HOUR_MS) as u32 + 1;
    let from = (to.saturating_sub(1) / 24).saturating_sub(29) * 24;
    let (stats, stale) = of_key(node, &link.key, &(from..to)).await?;
    let stats = stats.unwrap_or_default();
    // Nodes of version 0.1 do not tell it.
    let last = stats.last.max(visits.last);
    let clicks = stats.days.iter().map(|(_, counts, _)| counts.people).sum();
    Ok(HttpResponse::Ok().json(Analytics {
        short_code: link.key.code.to_string(),
        details: all.then(|| Details {
            long_url: link.target.as_str().to_owned(),
            created_at: format_time(link.created_at),
            valid_until: link.valid_until.map(format_time),
            last_accessed: (stats.total.people > 0).then(|| format_time(last)),
        }),
        total_clicks: stats.total.people,
        bot_clicks: stats.total.bots,
        last_30_days: LastDays { clicks, unique_visitors: stats.visitors.count() },
        expired: link.expired(now),
        stale,
    }))
}

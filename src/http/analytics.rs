//! `GET /analytics/{code}`: a summary of the statistics of a link.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use utoipa::ToSchema;
use waypost_protocol::properties::RULES;

use super::flood::{note_unknown, refuse_flood};
use super::link_json::StateJson;
use super::openapi::{OfDomain, OfLink};
use super::problem::Problem;
use super::state::WorkerState;
use super::visitor::limited_client;
use crate::app::{Answer, Principal, ReadError, SummaryDetails};
use crate::times::format_time;

/// A summary of the statistics of a link.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Summary)]
pub(super) struct Analytics {
    short_code: String,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    #[schema(inline)]
    details: Option<Details>,
    /// Visits by people since the link was created, or its statistics were deleted.
    total_clicks: u64,
    /// Visits by bots in that time.
    bot_clicks: u64,
    last_30_days: LastDays,
    /// Whether the end of the link has passed.
    expired: bool,
    /// What visitors get now.
    state: StateJson,
    /// Answered without a leader: totals may be lower than in earlier answers.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    stale: bool,
}

/// The part that is not public: the target, perhaps expired, and the times.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Details {
    #[schema(format = "uri")]
    long_url: String,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    valid_until: Option<String>,
    /// The time of the last visit by a person.
    #[schema(format = DateTime)]
    last_accessed: Option<String>,
    /// Whether the link has rules, which lead some visitors elsewhere.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    has_rules: bool,
}

impl From<SummaryDetails> for Details {
    fn from(SummaryDetails { link, last_visit }: SummaryDetails) -> Self {
        Self {
            long_url: link.spec.target.as_str().to_owned(),
            created_at: format_time(link.created_at),
            valid_until: link.spec.valid_until.map(format_time),
            last_accessed: last_visit.map(format_time),
            has_rules: RULES.is_in(&link.spec.fields),
        }
    }
}

/// Visits by people in the last 30 days.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct LastDays {
    clicks: u64,
    unique_visitors: u64,
}

/// Answers the totals of a link, and everything else to callers that may read statistics.
#[utoipa::path(get, path = "/analytics/{code}", operation_id = "getSummary", tag = "Statistics", params(OfLink, OfDomain),
    responses((status = 200, description = "The totals; with a key also the target and times", body = Analytics)))]
pub(super) async fn analytics(
    principal: Principal,
    request: HttpRequest,
    path: web::Path<String>,
    query: web::Query<OfDomain>,
    worker: web::Data<WorkerState>,
) -> Result<HttpResponse, Problem> {
    let node = &worker.node;
    let client = limited_client(&worker.visitors, request.headers(), request.peer_addr());
    let name = query.name(&path);
    let key = node.app.key_of(name).map_err(ReadError::from)?;
    if let Some(key) = &key {
        refuse_flood(node, client, key).await?;
    }
    let summary = node.app.summary(&principal, name).await;
    let Answer { value: summary, stale } = summary.inspect_err(|error| {
        if *error == ReadError::NotFound && key.is_some() {
            note_unknown(node, client);
        }
    })?;
    Ok(HttpResponse::Ok().json(Analytics {
        short_code: summary.code.to_string(),
        details: summary.details.map(Details::from),
        total_clicks: summary.clicks,
        bot_clicks: summary.bot_clicks,
        last_30_days: LastDays { clicks: summary.recent_clicks, unique_visitors: summary.recent_visitors },
        expired: summary.expired,
        state: summary.state.into(),
        stale,
    }))
}

//! Live totals, as server-sent events.

use std::time::Duration;

use actix_web::http::Method;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use futures_util::stream;
use serde_json::json;
use tokio::sync::OwnedSemaphorePermit;
use waypost_protocol::clicks::Counts;
use waypost_protocol::session::SessionId;

use super::answer::without_body;
use super::authorized::{Authorized, ReadStatistics};
use super::openapi::{OfDomain, OfLink};
use super::problem::Problem;
use super::state::NodeState;
use super::stats::no_parameters;
use crate::app::{Answer, LinkName, Principal, ReadError};
use crate::times::format_time;

/// The most live streams of one node: each asks the shards every second.
pub const LIVE_STREAMS_MAX: usize = 64;

/// The interval of events.
const LIVE_EVERY: Duration = Duration::from_secs(1);

/// The length of a live stream, in events; a browser then reconnects by itself.
const LIVE_TICKS_MAX: u32 = 3600;

/// The length of the stream of a page of the dashboard, in events. Its browser then comes back with its session, if that still counts.
const PAGE_TICKS_MAX: u32 = 60;

/// What a stream tells the totals of.
struct Subject {
    node: web::Data<NodeState>,
    principal: Principal,
    /// The link, with the domain that was named; `None` = all links.
    link: Option<(Option<String>, String)>,
    /// The session of the browser, for a page: the stream ends with it.
    session: Option<SessionId>,
}

impl Subject {
    async fn totals(&self) -> Result<Answer<Counts>, ReadError> {
        let name = self.link.as_ref().map(|(domain, code)| LinkName { domain: domain.as_deref(), code });
        self.node.app.totals(&self.principal, name).await
    }
}

/// One of the live streams.
struct Live {
    subject: Subject,
    told: Option<Counts>,
    ticks: u32,
    ticks_max: u32,
    /// Held while the stream lives.
    _permit: OwnedSemaphorePermit,
}

impl Live {
    fn begin(subject: Subject, ticks_max: u32) -> Result<Self, Problem> {
        let permit = subject.node.live_streams.clone().try_acquire_owned();
        let permit =
            permit.map_err(|_| Problem::not_ready(format!("{LIVE_STREAMS_MAX} live streams are open already")))?;
        Ok(Self { subject, told: None, ticks: 0, ticks_max, _permit: permit })
    }

    /// The next event: the totals if they have changed, else a comment that keeps the connection open.
    async fn next(mut self) -> Option<(Result<Bytes, actix_web::Error>, Self)> {
        if self.ticks > 0 {
            tokio::time::sleep(LIVE_EVERY).await;
        }
        self.ticks += 1;
        let signed_out = self.subject.session.is_some_and(|session| !self.subject.node.app.is_session_open(session));
        if signed_out || self.subject.node.draining() || self.ticks > self.ticks_max {
            return None;
        }
        let text = match self.subject.totals().await {
            // Totals of a replica may go back, so they are not sent, and the stream waits for the leader.
            Ok(Answer { stale: true, .. }) => ": the shard has no leader now\n\n".to_owned(),
            Ok(Answer { value: total, .. }) if self.told != Some(total) => {
                let before = self.told.replace(total).unwrap_or(total);
                let event = json!({
                    "totalClicks": total.people,
                    "botClicks": total.bots,
                    "newClicks": total.people.saturating_sub(before.people),
                    "at": format_time(self.subject.node.app.now()),
                });
                format!("event: clicks\ndata: {event}\n\n")
            }
            Ok(_) => ":\n\n".to_owned(),
            Err(ReadError::NotFound | ReadError::Domain(_) | ReadError::Denied(_)) => return None,
            Err(ReadError::Call(_)) => ": the shard does not answer now\n\n".to_owned(),
        };
        Some((Ok(Bytes::from(text)), self))
    }
}

async fn live(request: &HttpRequest, subject: Subject, ticks_max: u32) -> Result<HttpResponse, Problem> {
    // An unknown link gets an error, not a stream without events.
    subject.totals().await?;
    let mut head = HttpResponse::Ok();
    head.insert_header((CONTENT_TYPE, "text/event-stream"))
        .insert_header((CACHE_CONTROL, "no-store"))
        .insert_header(("x-accel-buffering", "no"));
    if request.method() == Method::HEAD {
        return Ok(without_body(head));
    }
    Ok(head.streaming(stream::unfold(Live::begin(subject, ticks_max)?, Live::next)))
}

/// Streams the totals of a link as server-sent events.
#[utoipa::path(get, path = "/api/v1/links/{code}/stats/live", operation_id = "streamLinkTotals", tag = "Statistics", params(OfLink, OfDomain),
    responses((status = 200, description = "An endless stream: an event `clicks` whenever the totals have changed", body = String,
        content_type = "text/event-stream")))]
pub(super) async fn live_of_link(
    caller: Authorized<ReadStatistics>,
    request: HttpRequest,
    path: web::Path<String>,
    query: web::Query<OfDomain>,
    node: web::Data<NodeState>,
) -> Result<HttpResponse, Problem> {
    let link = Some((query.into_inner().domain, path.into_inner()));
    live(&request, Subject { node, principal: caller.principal, link, session: None }, LIVE_TICKS_MAX).await
}

/// The stream of a link's totals, for a page that is seen with a session.
pub(super) async fn stream_of_link(
    request: &HttpRequest,
    node: web::Data<NodeState>,
    (principal, session): (Principal, SessionId),
    domain: Option<String>,
    code: String,
) -> Result<HttpResponse, Problem> {
    let subject = Subject { node, principal, link: Some((domain, code)), session: Some(session) };
    live(request, subject, PAGE_TICKS_MAX).await
}

/// Streams the totals of all links.
#[utoipa::path(get, path = "/api/v1/stats/live", operation_id = "streamTotals", tag = "Statistics",
    responses((status = 200, description = "An endless stream: an event `clicks` whenever the totals have changed", body = String,
        content_type = "text/event-stream")))]
pub(super) async fn live_of_all(
    caller: Authorized<ReadStatistics>,
    request: HttpRequest,
    node: web::Data<NodeState>,
) -> Result<HttpResponse, Problem> {
    no_parameters(&request, "a live stream tells totals, of people and bots apart")?;
    live(&request, Subject { node, principal: caller.principal, link: None, session: None }, LIVE_TICKS_MAX).await
}

//! Totals as they grow, as server-sent events.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use actix_web::http::Method;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use futures_util::stream;
use serde_json::json;
use waypost_protocol::LinkKey;
use waypost_protocol::clicks::{Counts, Whose};

use super::answer::without_body;
use super::links::key_of;
use super::permit::Permit;
use super::problem::Problem;
use super::state::{NodeState, WorkerState};
use super::stats::{Told, ask, no_parameters};
use super::times::format_time;

/// Live streams that one node serves at once: each asks the shards every second.
const LIVE_MAX: usize = 64;

/// How often a live stream tells.
const LIVE_EVERY: Duration = Duration::from_secs(1);

/// How long a live stream lasts; a browser then connects anew by itself.
const LIVE_TICKS_MAX: u32 = 3600;

/// One of the live streams; counts while it lives.
struct Live {
    worker: web::Data<WorkerState>,
    key: Option<LinkKey>,
    told: Option<Counts>,
    ticks: u32,
}

impl Live {
    fn begin(worker: web::Data<WorkerState>, key: Option<LinkKey>) -> Result<Self, Problem> {
        let began = Self { worker, key, told: None, ticks: 0 };
        if began.worker.node.live_streams.fetch_add(1, Ordering::AcqRel) >= LIVE_MAX {
            return Err(Problem::not_ready(format!("{LIVE_MAX} live streams are open already")));
        }
        Ok(began)
    }

    /// The next event: the totals when they have changed, else a comment that keeps the connection up.
    async fn next(mut self) -> Option<(Result<Bytes, actix_web::Error>, Self)> {
        let node: Arc<NodeState> = self.worker.node.clone();
        if self.ticks > 0 {
            tokio::time::sleep(LIVE_EVERY).await;
        }
        self.ticks += 1;
        if node.draining() || self.ticks > LIVE_TICKS_MAX {
            return None;
        }
        let text = match ask(&node, self.key.as_ref(), &(0..0), Whose::People).await {
            // Totals of a replica may go back: they are not told, and the leader is waited for.
            Ok(Told { stale: true, .. }) => ": the shard has no leader now\n\n".to_owned(),
            Ok(Told { answer: stats, .. }) if self.told != Some(stats.total) => {
                let before = self.told.replace(stats.total).unwrap_or(stats.total);
                let event = json!({
                    "totalClicks": stats.total.people,
                    "botClicks": stats.total.bots,
                    "newClicks": stats.total.people.saturating_sub(before.people),
                    "at": format_time((node.clock)()),
                });
                format!("event: clicks\ndata: {event}\n\n")
            }
            Ok(_) => ":\n\n".to_owned(),
            Err(problem) if problem.is_unknown_link() => return None,
            Err(_) => ": the shard does not answer now\n\n".to_owned(),
        };
        Some((Ok(Bytes::from(text)), self))
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.worker.node.live_streams.fetch_sub(1, Ordering::AcqRel);
    }
}

async fn live(
    request: &HttpRequest,
    worker: web::Data<WorkerState>,
    key: Option<LinkKey>,
) -> Result<HttpResponse, Problem> {
    // An unknown link is told so, and not by a stream without events.
    ask(&worker.node, key.as_ref(), &(0..0), Whose::People).await?;
    let mut head = HttpResponse::Ok();
    head.insert_header((CONTENT_TYPE, "text/event-stream"))
        .insert_header((CACHE_CONTROL, "no-store"))
        .insert_header(("x-accel-buffering", "no"));
    if request.method() == Method::HEAD {
        return Ok(without_body(head));
    }
    Ok(head.streaming(stream::unfold(Live::begin(worker, key)?, Live::next)))
}

/// The totals of a link as they grow, as server-sent events.
pub(super) async fn live_of_link(
    _: Permit,
    request: HttpRequest,
    path: web::Path<String>,
    worker: web::Data<WorkerState>,
) -> Result<HttpResponse, Problem> {
    no_parameters(&request, "a live stream tells totals, of people and bots apart")?;
    let key = key_of(&path)?;
    live(&request, worker, Some(key)).await
}

/// The totals of all links as they grow.
pub(super) async fn live_of_all(
    _: Permit,
    request: HttpRequest,
    worker: web::Data<WorkerState>,
) -> Result<HttpResponse, Problem> {
    no_parameters(&request, "a live stream tells totals, of people and bots apart")?;
    live(&request, worker, None).await
}

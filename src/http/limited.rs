//! Links with a limit of visits: the leader of the shard says whether one is left.

use std::time::Instant;

use actix_web::HttpRequest;
use actix_web::http::Method;
use waypost_protocol::LinkKey;
use waypost_protocol::messages::MayVisit;
use waypost_redirector::Limit;

use super::problem::Problem;
use super::state::WorkerState;
use super::visitor::{described, limited_client};

/// Asks the leader of the shard whether a visit of the link's limit is left, and uses it up: unless the visitor is a bot, or the browser
/// loads the page in advance. Who wants not to be counted does use it up, because otherwise everybody could.
///
/// # Errors
/// If the client has asked too often, or nobody can tell.
pub(super) async fn limit(request: &HttpRequest, worker: &WorkerState, key: LinkKey) -> Result<Limit, Problem> {
    let client = limited_client(&worker.visitors, request.headers(), request.peer_addr());
    if !worker.node.limited.take(client, Instant::now()) {
        return Err(Problem::too_many_visits());
    }
    let visitor = described(&worker.visitors, request.headers(), request.peer_addr());
    let uses_up = request.method() != Method::HEAD && worker.recorder.is_person(&visitor);
    match worker.node.app.may_visit(key, uses_up).await.map_err(Problem::of_limit)? {
        MayVisit::Yes => Ok(Limit::Left),
        MayVisit::Exhausted => Ok(Limit::Exhausted),
        MayVisit::NotFound => Err(Problem::unknown_link()),
    }
}

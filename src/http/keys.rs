//! `GET /generate-key`: codes that will never be issued again.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};

use super::authorized::{Authorized, WriteLinks};
use super::problem::Problem;
use super::state::NodeState;
use crate::app::CodesError;

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

/// Answers fresh codes, each usable once as `customSlug`.
pub(super) async fn generate(
    caller: Authorized<WriteLinks>,
    request: HttpRequest,
    node: web::Data<NodeState>,
) -> Result<HttpResponse, Problem> {
    let query = web::Query::<Query>::from_query(request.query_string())
        .map_err(|_| Problem::malformed("the only parameter is count"))?;
    let count = query.count.as_deref().map_or(Ok(1), str::parse).map_err(|_| CodesError::Count)?;
    let codes = node.app.issue_codes(&caller.principal, count).await?;
    let keys: Vec<String> = codes.iter().map(ToString::to_string).collect();
    Ok(HttpResponse::Ok().json(Keys { key: keys.first().cloned().unwrap_or_default(), keys }))
}

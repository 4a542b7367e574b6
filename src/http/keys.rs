//! `GET /generate-key`: codes that will never be issued again.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::authorized::{Authorized, WriteLinks};
use super::problem::Problem;
use super::state::NodeState;
use crate::app::CodesError;

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Query {
    /// How many codes.
    #[param(value_type = u32, required = false, minimum = 1, maximum = 1000, default = 1)]
    count: Option<String>,
    /// The host of the domain that is to have the links; without it the default domain.
    #[param(example = "go.example")]
    domain: Option<String>,
}

/// Codes that are not issued again.
#[derive(Serialize, ToSchema)]
pub(super) struct Keys {
    /// The first of `keys`.
    key: String,
    /// The codes.
    keys: Vec<String>,
}

/// Answers fresh codes in the format of a domain, each usable once as `customSlug` there.
#[utoipa::path(get, path = "/generate-key", operation_id = "generateKeys", tag = "Links", params(Query),
    responses((status = 200, description = "New codes", body = Keys)))]
pub(super) async fn generate(
    caller: Authorized<WriteLinks>,
    request: HttpRequest,
    node: web::Data<NodeState>,
) -> Result<HttpResponse, Problem> {
    let query = web::Query::<Query>::from_query(request.query_string())
        .map_err(|_| Problem::malformed("the only parameters are count and domain"))?;
    let count = query.count.as_deref().map_or(Ok(1), str::parse).map_err(|_| CodesError::Count)?;
    let codes = node.app.issue_codes(&caller.principal, query.domain.as_deref(), count).await?;
    let keys: Vec<String> = codes.iter().map(ToString::to_string).collect();
    Ok(HttpResponse::Ok().json(Keys { key: keys.first().cloned().unwrap_or_default(), keys }))
}

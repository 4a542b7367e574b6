//! `/api/v1/tags`: the tags of all links, with the numbers of their links; rename, merge and remove them.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use waypost_protocol::properties::{TAG_CHARS_MAX, Tags};

use super::authorized::{Authorized, ReadLinks, WriteLinks};
use super::body::parse_json_only;
use super::list::{domain_of, numbers, positive};
use super::problem::Problem;
use super::state::NodeState;
use super::sweep::{ProgressJson, Sweeping};
use crate::app::ListedTags;

/// The tags of an answer, unless the request says otherwise.
const TAGS: u64 = 100;

/// The most tags of an answer.
const TAGS_MAX: u64 = 1000;

/// Which tags.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct TagsQuery {
    /// A part of the tag, in any case.
    #[param(example = "sale", max_length = 64)]
    q: Option<String>,
    /// How many tags at most.
    #[param(value_type = Option<u64>, minimum = 1, maximum = 1000, default = 100)]
    limit: Option<String>,
    /// The host of a domain, or `DEFAULT`; without it links of all domains.
    #[param(example = "go.example")]
    domain: Option<String>,
}

/// Whose links.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct TagQuery {
    /// The host of a domain, or `DEFAULT`; without it links of all domains.
    #[param(example = "go.example")]
    domain: Option<String>,
}

/// A tag of the path.
#[expect(dead_code, reason = "for the document only")]
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct OfTag {
    /// The tag, compared without case.
    #[param(min_length = 1, max_length = 64, example = "sale")]
    tag: String,
}

/// Tags.
#[derive(Serialize, ToSchema)]
#[schema(as = TagList)]
pub(super) struct TagsJson {
    /// The tags, those of the most links first.
    tags: Vec<TagJson>,
    /// How many tags there are that fit.
    total: usize,
    /// `true` if there are more tags than were looked at: those behind the first 20,000, by the alphabet, are not in the answer.
    #[serde(rename = "totalIsMinimum", skip_serializing_if = "std::ops::Not::not")]
    #[schema(required = false)]
    total_is_minimum: bool,
    /// The shards that no node could answer for, or not completely: their links are not counted. Absent if the answer is complete.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false, min_items = 1)]
    partial: Vec<u32>,
}

/// A tag.
#[derive(Serialize, ToSchema)]
#[schema(as = Tag)]
struct TagJson {
    /// The tag, as one of its links writes it.
    tag: String,
    /// How many links have it.
    links: u64,
}

/// What a tag is to be.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = TagEdit)]
pub(super) struct GivenTag {
    /// The new tag. Links that have it already keep it once.
    #[schema(min_length = 1, max_length = 64)]
    tag: String,
}

/// Lists the tags of all links.
#[utoipa::path(get, path = "/api/v1/tags", operation_id = "listTags", tag = "Links", params(TagsQuery),
    responses((status = 200, description = "The tags", body = TagsJson)))]
pub(super) async fn list(
    caller: Authorized<ReadLinks>,
    query: web::Query<TagsQuery>,
    node: web::Data<NodeState>,
) -> Result<HttpResponse, Problem> {
    let limit = query.limit.as_deref().map(|text| positive("limit", text)).transpose()?.unwrap_or(TAGS);
    if limit > TAGS_MAX {
        return Err(Problem::invalid(
            "limit",
            format!("limit can be {TAGS_MAX} at most; ask for a part of the tag with q"),
        ));
    }
    let part = Tags::folded(query.q.as_deref().unwrap_or_default());
    if part.chars().count() > TAG_CHARS_MAX {
        return Err(Problem::invalid("q", format!("q: a tag has at most {TAG_CHARS_MAX} characters")));
    }
    let domain = domain_of(&node, &caller.principal, query.domain.as_deref())?;
    let ListedTags { mut tags, more, partial } = node.app.list_tags(&caller.principal, domain).await?;
    tags.retain(|tag| tag.folded.contains(&part));
    tags.sort_by(|one, other| (other.links, &one.folded).cmp(&(one.links, &other.folded)));
    let total = tags.len();
    tags.truncate(limit as usize);
    Ok(HttpResponse::Ok().json(TagsJson {
        tags: tags.into_iter().map(|tag| TagJson { tag: tag.tag, links: tag.links }).collect(),
        total,
        total_is_minimum: more || !partial.is_empty(),
        partial: numbers(&partial),
    }))
}

/// Renames a tag in all links, or merges it with another one.
///
/// Read the answer to its end: when the connection breaks, the rest stays as it is. Send the same request again to go on.
#[utoipa::path(patch, path = "/api/v1/tags/{tag}", operation_id = "renameTag", tag = "Links", params(OfTag, TagQuery), request_body = GivenTag,
    responses((status = 200, description = "What was done; as NDJSON a line for every few links, and the last line when it has ended",
        content((ProgressJson = "application/json"), (String = "application/x-ndjson")))))]
pub(super) async fn patch(
    caller: Authorized<WriteLinks>,
    request: HttpRequest,
    path: web::Path<String>,
    query: web::Query<TagQuery>,
    body: web::Bytes,
    node: web::Data<NodeState>,
) -> Result<HttpResponse, Problem> {
    let body: GivenTag = parse_json_only(&request, &body)?;
    replace(caller, &request, &path, Some(&body.tag), &query, node).await
}

/// Removes a tag from all links. The links stay.
///
/// Read the answer to its end: when the connection breaks, the rest stays as it is. Send the same request again to go on.
#[utoipa::path(delete, path = "/api/v1/tags/{tag}", operation_id = "deleteTag", tag = "Links", params(OfTag, TagQuery),
    responses((status = 200, description = "What was done; as NDJSON a line for every few links, and the last line when it has ended",
        content((ProgressJson = "application/json"), (String = "application/x-ndjson")))))]
pub(super) async fn delete(
    caller: Authorized<WriteLinks>,
    request: HttpRequest,
    path: web::Path<String>,
    query: web::Query<TagQuery>,
    node: web::Data<NodeState>,
) -> Result<HttpResponse, Problem> {
    replace(caller, &request, &path, None, &query, node).await
}

async fn replace(
    caller: Authorized<WriteLinks>,
    request: &HttpRequest,
    tag: &str,
    with: Option<&str>,
    query: &TagQuery,
    node: web::Data<NodeState>,
) -> Result<HttpResponse, Problem> {
    let domain = domain_of(&node, &caller.principal, query.domain.as_deref())?;
    let sweep = node.app.replace_tag(&caller.principal, tag, with, domain).await;
    let sweep = sweep.map_err(|error| Problem::of_change(error, None))?;
    Sweeping::answer(node, request, caller.principal, sweep).await
}

//! The tags: list, rename and merge them. To remove one is a change of the links that have it (`bulk.rs`).

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use waypost_protocol::properties::{TAG_CHARS_MAX, Tags};

use super::bulk_all::Sweeping;
use super::context::context;
use super::guard::{Change, SignedIn};
use super::refused;
use super::reply::{page, with_status};
use crate::app::{ChangeError, ListedTags, Principal};
use crate::http::problem::Problem;
use crate::http::state::NodeState;
use crate::ui::{Action, Form, Section, TagPage, TagRow, TagsPage};

/// The tags on a page. With more, people search.
const TAGS_SHOWN: usize = 500;

/// The tags whose text contains `part`, those of the most links first, and how many shards are missing.
async fn tags_with(principal: &Principal, node: &NodeState, part: &str) -> Result<(Vec<TagRow>, u64), Problem> {
    // Of more than 20,000 tags the rest is not in it: whoever has so many searches by links.
    let ListedTags { mut tags, partial, .. } = node.app.list_tags(principal, None).await?;
    let part = Tags::folded(part);
    tags.retain(|tag| tag.folded.contains(&part));
    tags.sort_by(|one, other| (other.links, &one.folded).cmp(&(one.links, &other.folded)));
    Ok((tags.into_iter().map(|tag| TagRow::new(tag.tag, tag.links)).collect(), partial.len() as u64))
}

/// The list of tags.
pub(super) async fn tags(
    caller: SignedIn,
    request: HttpRequest,
    node: web::Data<NodeState>,
) -> Result<HttpResponse, Problem> {
    let form = Form::read(request.query_string().as_bytes());
    let part: String = form.value("q").trim().chars().take(TAG_CHARS_MAX).collect();
    let (mut tags, missing) = tags_with(&caller.principal, &node, &part).await?;
    let more = tags.len().saturating_sub(TAGS_SHOWN) as u64;
    tags.truncate(TAGS_SHOWN);
    page(&request, &TagsPage { cx: context(&request, &node, Section::Tags), part, tags, more, missing })
}

/// How many links have a tag.
async fn links_of(principal: &Principal, node: &NodeState, tag: &str) -> Result<u64, Problem> {
    let (tags, _) = tags_with(principal, node, tag).await?;
    Ok(tags.iter().find(|row| Tags::folded(&row.tag) == Tags::folded(tag)).map_or(0, |row| row.links))
}

/// A tag, to rename or remove it.
pub(super) async fn edit(
    caller: SignedIn,
    request: HttpRequest,
    node: web::Data<NodeState>,
) -> Result<HttpResponse, Problem> {
    let form = Form::read(request.query_string().as_bytes());
    let tag = form.value("tag").to_owned();
    let links = links_of(&caller.principal, &node, &tag).await?;
    if links == 0 {
        return Err(Problem::not_found());
    }
    let form = Form::of([("with".to_owned(), tag.clone())]);
    page(&request, &TagPage { cx: context(&request, &node, Section::Tags), tag: TagRow::new(tag, links), form })
}

/// Puts another tag in the place of one in all links that have it.
pub(super) async fn replace(
    caller: Change,
    request: HttpRequest,
    body: web::Bytes,
    node: web::Data<NodeState>,
) -> Result<HttpResponse, Problem> {
    let mut form = Form::read(&body);
    let cx = context(&request, &node, Section::Tags);
    let (tag, with) = (form.value("tag").to_owned(), form.given("with").unwrap_or_default().to_owned());
    let reason = match with.as_str() {
        "" => cx.t("tags.empty").into(),
        _ => match node.app.replace_tag(&caller.principal, &tag, Some(&with), None).await {
            Ok(sweep) => {
                let (action, back) = (Action::Rename { tag, with }, format!("{}/tags", cx.base));
                return Sweeping::answer(caller.principal, node, cx, action, back, sweep);
            }
            Err(ChangeError::Tags(error)) => refused::property(&cx, error),
            Err(error) => return Err(Problem::of_change(error, None)),
        },
    };
    let links = links_of(&caller.principal, &node, &tag).await?;
    form.refuse("with", reason);
    with_status(StatusCode::UNPROCESSABLE_ENTITY, &request, &TagPage { cx, tag: TagRow::new(tag, links), form })
}

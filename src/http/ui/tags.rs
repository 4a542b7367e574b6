//! The tags: list, rename, merge and remove them.

use std::time::{Duration, Instant};

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use waypost_protocol::properties::{TAG_CHARS_MAX, Tags};

use super::context::{base, context};
use super::guard::{Change, SignedIn};
use super::reply::{go_to_with, page, with_status};
use crate::app::{ChangeError, ListedTags, Principal, Sweep};
use crate::http::problem::Problem;
use crate::http::state::NodeState;
use crate::ui::{Form, Section, TagPage, TagProgress, TagRow, TagsPage};

/// The tags on a page. With more, people search.
const TAGS_SHOWN: usize = 500;

/// How long the change of a tag goes on before the page tells how far it is: a browser waits for that without a sign.
const SLICE: Duration = Duration::from_secs(2);

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
    page(&request, &TagPage { cx: context(&request, &node, Section::Tags), tag, form, links })
}

/// Puts another tag in the place of one in all links that have it, or removes it. Long changes are made in slices: the page tells how far it is, and asks for
/// the next.
pub(super) async fn replace(
    caller: Change,
    request: HttpRequest,
    body: web::Bytes,
    node: web::Data<NodeState>,
) -> Result<HttpResponse, Problem> {
    let mut form = Form::read(&body);
    let tag = form.value("tag").to_owned();
    let with = form.given("with").filter(|_| form.value("do") != "remove").map(str::to_owned);
    let number = |name: &str| form.value(name).parse::<u64>().ok();
    let (before, links) = (number("done").unwrap_or(0), number("links"));
    let links = match links {
        Some(links) => links,
        None => links_of(&caller.principal, &node, &tag).await?,
    };
    let cx = context(&request, &node, Section::Tags);
    match form.value("do") {
        "remove" if form.is_on("sure") => {}
        "remove" => form.refuse("sure", cx.t("tags.unsure")),
        _ if with.is_none() => form.refuse("with", cx.t("tags.empty")),
        _ => {}
    }
    if form.is_refused() {
        return with_status(StatusCode::UNPROCESSABLE_ENTITY, &request, &TagPage { cx, tag, form, links });
    }
    let sweep = match node.app.replace_tag(&caller.principal, &tag, with.as_deref(), None).await {
        Ok(sweep) => sweep,
        Err(ChangeError::Tags(error)) => {
            form.refuse("with", error.to_string());
            return with_status(StatusCode::UNPROCESSABLE_ENTITY, &request, &TagPage { cx, tag, form, links });
        }
        Err(error) => return Err(Problem::of_change(error, None)),
    };
    let Slice { changed, failed, ended, stopped } = slice(&caller.principal, &node, sweep).await;
    // The same links would fail again, without end.
    let stuck = failed > 0 && (ended || changed == 0);
    let changed = before.saturating_add(changed);
    if ended && failed == 0 && stopped.is_none() {
        let key = if with.is_some() { "tags.renamed" } else { "tags.removed" };
        return Ok(go_to_with(&request, &format!("{}/tags", base(&request)), key, None));
    }
    let view = TagProgress {
        cx,
        tag,
        with: with.unwrap_or_default(),
        done: changed,
        failed,
        links,
        stopped: stopped.or_else(|| stuck.then(|| "some links could not be changed; try again".to_owned())),
    };
    page(&request, &view)
}

/// What a slice of a change has done.
struct Slice {
    changed: u64,
    failed: u64,
    ended: bool,
    stopped: Option<String>,
}

async fn slice(principal: &Principal, node: &NodeState, mut sweep: Sweep) -> Slice {
    let until = Instant::now() + SLICE;
    let mut slice = Slice { changed: 0, failed: 0, ended: false, stopped: None };
    while Instant::now() < until {
        if node.draining() {
            slice.stopped = Some("the server is stopping".to_owned());
            return slice;
        }
        match node.app.sweep_step(principal, &mut sweep).await {
            Ok(Some(step)) => {
                slice.changed += step.changed.len() as u64;
                slice.failed += step.failed.len() as u64;
            }
            Ok(None) => {
                slice.ended = true;
                if sweep.partial().next().is_some() {
                    slice.stopped = Some("the links of some shards cannot be listed now".to_owned());
                }
                return slice;
            }
            Err(error) => {
                slice.stopped = Some(error.to_string());
                return slice;
            }
        }
    }
    slice
}

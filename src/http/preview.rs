//! `GET /{code}+`: where a link leads, without following or counting it.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use utoipa::ToSchema;
use waypost_protocol::LinkState;
use waypost_protocol::typed::segments_of;
use waypost_redirector::choose;

use super::accept::wants_page;
use super::flood::{note_unknown, refuse_preview};
use super::openapi::OfLink;
use super::pages::{self, languages, varied, with_page};
use super::problem::Problem;
use super::ruled::RuledVisitor;
use super::state::WorkerState;
use super::visitor::limited_client;
use crate::pages::Preview;
use crate::times::format_time;

/// What everybody may see of a link who has its short URL: what a redirect tells, and its age.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct LinkPreview {
    #[schema(format = "uri")]
    short_url: String,
    #[schema(format = "uri")]
    long_url: String,
    #[schema(format = DateTime)]
    created_at: String,
    title: Option<String>,
    /// Whether the link has rules, which lead other visitors elsewhere. `longUrl` is where the sender of this request would be led.
    varies: bool,
}

/// Shows where a link leads, without counting a visit: a page for people, JSON for programs.
#[utoipa::path(get, path = "/{code}+", operation_id = "previewLink", tag = "Visitors", params(OfLink),
    responses((status = 200, description = "Where the link leads", content(
        (LinkPreview = "application/json"), (String = "text/html")))))]
pub(super) async fn preview(
    request: HttpRequest,
    path: web::Path<String>,
    worker: web::Data<WorkerState>,
) -> HttpResponse {
    match shown(&request, &path, &worker).await {
        Ok(response) => response,
        Err(problem) => pages::answer(&request, &problem),
    }
}

/// The preview of a link whose slug has several segments; `None` if the path asks for none, or there is no such link: the path may be one below a link.
pub(super) async fn preview_of_segments(request: &HttpRequest, worker: &WorkerState) -> Option<HttpResponse> {
    let text = request.path().strip_prefix('/')?.strip_suffix('+').filter(|text| text.contains('/'))?;
    worker.node.visited(request).filter(|site| site.multi_segment)?;
    let code = segments_of(text).filter(|code| !code.is_reserved())?;
    match shown(request, code.as_str(), worker).await {
        Ok(response) => Some(response),
        Err(problem) if problem.is_unknown_link() => None,
        Err(problem) => Some(pages::answer(request, &problem)),
    }
}

async fn shown(request: &HttpRequest, code: &str, worker: &WorkerState) -> Result<HttpResponse, Problem> {
    let node = &worker.node;
    if node.closed() {
        return Err(Problem::not_ready("the server is stopping"));
    }
    if !worker.redirects {
        return Err(Problem::not_found());
    }
    let client = limited_client(&worker.visitors, request.headers(), request.peer_addr());
    let site = node.visited(request).ok_or_else(Problem::not_found)?;
    refuse_preview(node, client)?;
    let key = site.key_in(code).ok_or_else(Problem::unknown_link)?;
    note_unknown(node, client);
    let preview = node.app.preview(key.clone()).await?;
    match preview.state {
        LinkState::Active => {}
        LinkState::NotYet => return Err(Problem::link_not_yet()),
        LinkState::Expired => return Err(Problem::expired_link()),
        LinkState::Exhausted => return Err(Problem::exhausted_link()),
        LinkState::Disabled => return Err(Problem::disabled_link()),
    }
    if preview.protected {
        return Err(Problem::protected_link());
    }
    let chosen = preview.rules.as_ref().and_then(|rules| {
        let visitor = RuledVisitor::of(request, worker, key.hash());
        choose(rules, (node.clock)(), request.uri().query(), &visitor)
    });
    let (target, varies) = (chosen.unwrap_or(&preview.target).as_str(), preview.rules.is_some());
    let short_url = node.short_url(request, &key);
    let created_at = format_time(preview.created_at);
    if !wants_page(request) {
        let long_url = target.to_owned();
        let title = preview.title.map(|title| title.as_str().to_owned());
        return Ok(varied(HttpResponse::Ok().json(LinkPreview { short_url, long_url, created_at, title, varies })));
    }
    let day = created_at.split('T').next().unwrap_or_default();
    let title = preview.title.as_ref().map_or("", |title| title.as_str());
    let link = Preview { target, title, short_url: &short_url, created: day, varies };
    Ok(with_page(HttpResponse::Ok().finish(), &node.pages.preview(&link, &languages(request))))
}

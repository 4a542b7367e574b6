//! The page about bookmarks and the installed app, and the two documents that browsers read for these.

use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE, VARY, X_CONTENT_TYPE_OPTIONS};
use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;

use super::context::{base, context};
use super::guard::SignedIn;
use super::reply::page;
use crate::http::problem::Problem;
use crate::http::state::NodeState;
use crate::ui::{self, OpenSearch, Section, ToolsView};

/// Browsers look at it now and then; a new version of the server may have other icons.
const ONE_HOUR: &str = "public, max-age=3600";

/// The page.
pub(super) async fn tools(
    _: SignedIn,
    request: HttpRequest,
    node: web::Data<NodeState>,
) -> Result<HttpResponse, Problem> {
    let address = address(&request, &node);
    page(&request, &ToolsView { cx: context(&request, &node, Section::Elsewhere), address })
}

/// The manifest of the web app. Browsers read it without cookies, and it tells nothing.
pub(super) async fn manifest(request: HttpRequest, node: web::Data<NodeState>) -> HttpResponse {
    let manifest = ui::manifest(&context(&request, &node, Section::None));
    document("application/manifest+json").body(manifest)
}

/// The search description. Browsers read it without cookies, and it tells nothing.
pub(super) async fn opensearch(request: HttpRequest, node: web::Data<NodeState>) -> HttpResponse {
    let cx = context(&request, &node, Section::None);
    let description = OpenSearch { cx, address: address(&request, &node) }.render();
    let description = description.expect("invariant: writing a document to memory does not fail");
    document("application/opensearchdescription+xml").body(description)
}

fn document(kind: &'static str) -> actix_web::HttpResponseBuilder {
    let mut response = HttpResponse::Ok();
    response
        .insert_header((CONTENT_TYPE, kind))
        .insert_header((CACHE_CONTROL, ONE_HOUR))
        .insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((VARY, "accept-language, cookie, host"));
    response
}

/// The address of the dashboard for the browser that asks.
fn address(request: &HttpRequest, node: &NodeState) -> String {
    let api = node.address.api_url(request);
    format!("{}{}", api.strip_suffix("/api/v1").unwrap_or(&api), base(request))
}

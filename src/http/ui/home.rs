//! The first page.

use actix_web::{HttpRequest, HttpResponse, web};

use super::BASE;
use super::context::context;
use super::guard::SignedIn;
use super::reply::{go_to, page};
use crate::http::problem::Problem;
use crate::http::state::NodeState;
use crate::ui::{HomeView, Section};

/// The path without the slash.
pub(super) async fn to_home() -> HttpResponse {
    go_to(&format!("{BASE}/"))
}

/// The first page.
pub(super) async fn home(
    _: SignedIn,
    request: HttpRequest,
    node: web::Data<NodeState>,
) -> Result<HttpResponse, Problem> {
    page(&request, &HomeView { cx: context(&request, &node, Section::Home) })
}

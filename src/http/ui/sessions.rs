//! The sessions: who is signed in, and an end to it.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;
use waypost_protocol::session::SessionId;

use super::context::context;
use super::guard::{Change, SignedIn};
use super::reply::{go_to, page};
use super::sign_in::left;
use crate::http::problem::Problem;
use crate::http::state::NodeState;
use crate::ui::{Section, SessionRow, SessionsView};

/// The list.
pub(super) async fn list(
    signed_in: SignedIn,
    request: HttpRequest,
    node: web::Data<NodeState>,
) -> Result<HttpResponse, Problem> {
    let own = signed_in.session.id;
    let rows = node.app.sessions(&signed_in.principal)?.into_iter().map(|view| SessionRow {
        id: format!("{:016x}", view.id.0),
        is_own: view.id == own,
        view,
    });
    page(&request, &SessionsView { cx: context(&request, &node, Section::Sessions), rows: rows.collect() })
}

/// Which session to end.
#[derive(Deserialize)]
pub(super) struct Form {
    id: String,
}

/// Ends a session.
pub(super) async fn end(
    signed_in: Change,
    request: HttpRequest,
    form: web::Form<Form>,
    node: web::Data<NodeState>,
) -> Result<HttpResponse, Problem> {
    let id = u64::from_str_radix(&form.id, 16).map_err(|_| Problem::malformed("this is not the id of a session"))?;
    node.app.end_session(&signed_in.principal, SessionId(id)).await?;
    if SessionId(id) == signed_in.session.id {
        return Ok(left(&request, &node, signed_in.session.secure));
    }
    Ok(go_to(&to_list(&node)))
}

/// Ends all other sessions.
pub(super) async fn end_others(signed_in: Change, node: web::Data<NodeState>) -> Result<HttpResponse, Problem> {
    node.app.end_other_sessions(&signed_in.principal, signed_in.session.id).await?;
    Ok(go_to(&to_list(&node)))
}

fn to_list(node: &NodeState) -> String {
    format!("{}/sessions", node.dashboard().path())
}

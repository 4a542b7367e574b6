//! Deletes a link, and brings it back.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};

use super::super::context::context;
use super::super::guard::{Change, SignedIn};
use super::super::refused;
use super::super::reply::{go_to_with, page, with_status};
use super::shown::{Named, Shown, address, guard_of};
use crate::app::{ChangeError, Consistency, CreateError, Deletion, UndoError};
use crate::http::problem::Problem;
use crate::http::state::NodeState;
use crate::ui::{Context, Failure, FailureView, Form, LinkDeleteView, LinkDeletedView, Section, Tab};

/// Asks whether the link is to be deleted.
pub(super) async fn ask(
    caller: SignedIn,
    request: HttpRequest,
    path: web::Path<String>,
    node: web::Data<NodeState>,
) -> Result<HttpResponse, Problem> {
    let Shown { cx, head, .. } =
        Shown::read(&caller.principal, &request, &node, &path, Tab::Edit, Consistency::Local).await?;
    page(&request, &LinkDeleteView { cx, head, changed: false })
}

/// Deletes the link, if it is the one that was shown.
pub(super) async fn delete(
    caller: Change,
    request: HttpRequest,
    path: web::Path<String>,
    body: web::Bytes,
    node: web::Data<NodeState>,
) -> Result<HttpResponse, Problem> {
    let named = Named::of(&request, &path);
    let guard = guard_of(&Form::read(&body));
    match node.app.delete_for_a_while(&caller.principal, named.name(), guard).await {
        Ok(token) => {
            Ok(go_to_with(&request, &format!("{}/deleted/{token}", node.dashboard().path()), "link.now-deleted", None))
        }
        Err(ChangeError::VersionMismatch { .. }) => {
            let Shown { cx, head, .. } =
                Shown::read(&caller.principal, &request, &node, &path, Tab::Edit, Consistency::Strong).await?;
            with_status(StatusCode::CONFLICT, &request, &LinkDeleteView { cx, head, changed: true })
        }
        Err(error) => Err(Problem::of_change(error, None)),
    }
}

/// Shows what was deleted, with the way back.
pub(super) async fn deleted(
    caller: SignedIn,
    request: HttpRequest,
    token: web::Path<String>,
    node: web::Data<NodeState>,
) -> Result<HttpResponse, Problem> {
    let cx = context(&request, &node, Section::Links);
    match node.app.deletion(&caller.principal, &token) {
        Ok(deletion) => page(&request, &view(cx, deletion, &request, &node, None)),
        Err(error) => not_shown(error, cx, &request, &node),
    }
}

/// Brings a deleted link back.
pub(super) async fn undo(
    caller: Change,
    request: HttpRequest,
    token: web::Path<String>,
    node: web::Data<NodeState>,
) -> Result<HttpResponse, Problem> {
    let cx = context(&request, &node, Section::Links);
    let refusal = match node.app.undo_delete(&caller.principal, &token).await {
        Ok(link) => return Ok(go_to_with(&request, &address(&node, &link.key, ""), "link.is-back", None)),
        Err(UndoError::Link(CreateError::SlugTaken { .. })) => cx.t("link.undo-taken").to_owned(),
        Err(UndoError::Link(CreateError::Call(error))) => refused::call(&cx, &error),
        Err(error) => return not_shown(error, cx, &request, &node),
    };
    match node.app.deletion(&caller.principal, &token) {
        Ok(deletion) => {
            let view = view(cx, deletion, &request, &node, Some(refusal));
            with_status(StatusCode::CONFLICT, &request, &view)
        }
        Err(error) => not_shown(error, cx, &request, &node),
    }
}

fn view(
    cx: Context,
    deletion: Deletion,
    request: &HttpRequest,
    node: &NodeState,
    refusal: Option<String>,
) -> LinkDeletedView {
    let Deletion { token, key, target, until } = deletion;
    let short_url = node.short_url(request, &key);
    LinkDeletedView { cx, token, short_url, target: target.as_str().to_owned(), until, refusal }
}

/// Says why a deletion is not shown. Another node may know it.
fn not_shown(error: UndoError, cx: Context, request: &HttpRequest, node: &NodeState) -> Result<HttpResponse, Problem> {
    match error {
        UndoError::Gone => {
            let view = FailureView { cx, failure: Failure::DeletionGone, detail: String::new() };
            with_status(StatusCode::NOT_FOUND, request, &view)
        }
        UndoError::Link(error) => Err(Problem::of_creation(error, |key| node.short_url(request, key))),
    }
}

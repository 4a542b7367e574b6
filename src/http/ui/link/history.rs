//! The history of a link, and the way back to a former target.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};

use super::super::guard::{Change, SignedIn};
use super::super::reply::{go_to_with, page, with_status};
use super::shown::{Named, Shown, address, guard_of};
use crate::app::{Author, ChangeError, Consistency, HistoryError, Principal, Revision};
use crate::http::link_json::field_name;
use crate::http::problem::Problem;
use crate::http::state::NodeState;
use crate::ui::{Entry, Form, LinkHistoryView, Tab, field_label};

/// Shows the history.
pub(super) async fn show(
    caller: SignedIn,
    request: HttpRequest,
    path: web::Path<String>,
    node: web::Data<NodeState>,
) -> Result<HttpResponse, Problem> {
    page(&request, &view(&caller.principal, &request, &node, &path, None).await?)
}

async fn view(
    principal: &Principal,
    request: &HttpRequest,
    node: &NodeState,
    code: &str,
    refusal: Option<fn(&crate::ui::Context) -> String>,
) -> Result<LinkHistoryView, Problem> {
    let Shown { cx, head, named, view } =
        Shown::read(principal, request, node, code, Tab::History, Consistency::Local).await?;
    let history = node.app.history(principal, named.name()).await;
    let history = history.map_err(|error| Problem::of_history(error, None))?;
    let target = view.link.spec.target.as_str();
    let oldest = history.last().map(|entry| entry.version);
    let entries = history.into_iter().map(|revision| entry(revision, target, oldest)).collect();
    let refusal = refusal.map(|refusal| refusal(&cx));
    Ok(LinkHistoryView { cx, head, entries, refusal })
}

fn entry(revision: Revision, current: &str, oldest: Option<u32>) -> Entry {
    let Revision { version, target, at, by, target_changed, changed } = revision;
    let labels = changed.into_iter().filter_map(field_name).map(|name| match name {
        "rules" => "link.tab.rules",
        name => field_label(name),
    });
    Entry {
        version,
        is_current: target.as_str() == current,
        is_first: oldest == Some(version),
        target: target.as_str().to_owned(),
        at,
        by: by.map(|author| match author {
            Author::Account => ("history.by.account", None),
            Author::Admin => ("history.by.admin", None),
            Author::Key(number) => ("history.by.key", Some(number.into())),
        }),
        changed: target_changed.then(|| field_label("longUrl")).into_iter().chain(labels).collect(),
    }
}

/// Lets the link lead where it led before. It asks nothing: that is an edit like any other, and can be taken back in the same way.
pub(super) async fn restore(
    caller: Change,
    request: HttpRequest,
    path: web::Path<String>,
    body: web::Bytes,
    node: web::Data<NodeState>,
) -> Result<HttpResponse, Problem> {
    let form = Form::read(&body);
    let named = Named::of(&request, &path);
    // A text that is no number is no entry.
    let version = form.value("entry").parse().unwrap_or(0);
    let own_hosts = node.own_hosts(&request);
    let principal = &caller.principal;
    let restored = node.app.restore_target(principal, named.name(), version, &guard_of(&form), &own_hosts).await;
    let refusal: fn(&crate::ui::Context) -> String = match restored {
        Ok(link) => return Ok(go_to_with(&request, &address(&node, &link.key, "/history"), "history.restored", None)),
        Err(HistoryError::NoEntry) => |cx| cx.t("history.gone").to_owned(),
        Err(HistoryError::Link(ChangeError::VersionMismatch { .. })) => |cx| cx.t("history.changed").to_owned(),
        Err(HistoryError::Link(ChangeError::Url(_))) => |cx| cx.t("history.not-a-target").to_owned(),
        Err(error) => return Err(Problem::of_history(error, None)),
    };
    let view = view(principal, &request, &node, &path, Some(refusal)).await?;
    with_status(StatusCode::CONFLICT, &request, &view)
}

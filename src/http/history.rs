//! `GET /api/v1/links/{code}/history`, and `POST …/history/{id}/restore`.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use utoipa::ToSchema;

use super::authorized::{Authorized, ReadLinks, WriteLinks};
use super::if_match::IfMatch;
use super::link_json::{LinkJson, field_name};
use super::links::describe;
use super::openapi::{OfDomain, OfEntry, OfLink, OnlyIf};
use super::problem::Problem;
use super::state::NodeState;
use crate::app::{Author, HistoryError, Revision};
use crate::times::format_time;

/// The history of a link.
#[derive(Serialize, ToSchema)]
#[schema(as = LinkHistory)]
pub(super) struct HistoryJson {
    /// The entries, newest first. The last one is how the link was before its first edit, and stays.
    #[schema(min_items = 1, max_items = 65)]
    entries: Vec<EntryJson>,
}

/// What one edit made of a link.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = HistoryEntry)]
struct EntryJson {
    /// Identifies the entry within the link: the first number in the `ETag` that the link had then.
    id: u32,
    /// Where the link led since then.
    #[schema(format = "uri")]
    long_url: String,
    /// When; `null` if it was not recorded.
    #[schema(format = DateTime)]
    changed_at: Option<String>,
    /// Who: `admin` is the admin key, and `account` the account of the server without a key; more values may come. `null` if it
    /// was not recorded.
    #[schema(example = "admin")]
    by: Option<String>,
    /// The names of the properties that the edit has changed; none for the first entry.
    #[schema(example = json!(["longUrl", "title"]))]
    changed: Vec<&'static str>,
}

impl From<Revision> for EntryJson {
    fn from(revision: Revision) -> Self {
        let Revision { version, target, at, by, target_changed, changed } = revision;
        Self {
            id: version,
            long_url: target.as_str().to_owned(),
            changed_at: at.map(format_time),
            by: by.map(|author| match author {
                Author::Account => "account".to_owned(),
                Author::Admin => "admin".to_owned(),
                Author::Key(number) => format!("key-{number}"),
            }),
            changed: target_changed
                .then_some("longUrl")
                .into_iter()
                .chain(changed.into_iter().filter_map(field_name))
                .collect(),
        }
    }
}

/// Answers where a link has led, and who changed what of it.
///
/// At most the last 32 changes of `longUrl`, the last 32 edits of other properties since the oldest of these, and the first entry, which stays. Very long URLs leave
/// room for fewer. Edits that changed nothing have no entry.
#[utoipa::path(get, path = "/api/v1/links/{code}/history", operation_id = "getLinkHistory", tag = "Links", params(OfLink, OfDomain),
    responses((status = 200, description = "The history", body = HistoryJson)))]
pub(super) async fn of_link(
    caller: Authorized<ReadLinks>,
    path: web::Path<String>,
    query: web::Query<OfDomain>,
    node: web::Data<NodeState>,
) -> Result<HttpResponse, Problem> {
    let history = node.app.history(&caller.principal, query.name(&path)).await;
    let history = history.map_err(|error| Problem::of_history(error, None))?;
    Ok(HttpResponse::Ok().json(HistoryJson { entries: history.into_iter().map(EntryJson::from).collect() }))
}

/// Lets a link lead where it led before; its other properties stay.
///
/// This is an edit, and has an entry of its own. If the link leads there already, nothing is changed.
#[utoipa::path(post, path = "/api/v1/links/{code}/history/{id}/restore", operation_id = "restoreLink", tag = "Links", params(OfEntry, OfDomain, OnlyIf),
    responses((status = 200, description = "The changed link", body = LinkJson, headers(("ETag" = String, description = "Identifies this state of the link")))))]
pub(super) async fn restore(
    caller: Authorized<WriteLinks>,
    request: HttpRequest,
    path: web::Path<(String, String)>,
    query: web::Query<OfDomain>,
    node: web::Data<NodeState>,
) -> Result<HttpResponse, Problem> {
    let (code, id) = path.into_inner();
    let IfMatch { guard, fault } = IfMatch::of(request.headers());
    let refused = |error| Problem::of_history(error, fault);
    // A text that is no number is no entry.
    let version = id.parse().map_err(|_| refused(HistoryError::NoEntry))?;
    let own_hosts = node.own_hosts(&request);
    let restored = node.app.restore_target(&caller.principal, query.name(&code), version, &guard, &own_hosts).await;
    let link = restored.map_err(refused)?;
    let counts = node.app.counts(&link).await;
    Ok(describe(HttpResponse::Ok(), &request, &node, &link, counts))
}

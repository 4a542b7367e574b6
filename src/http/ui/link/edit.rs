//! The form of a link's properties.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use jiff::tz::TimeZone;
use serde_json::{Map, Value, json};
use waypost_protocol::{Link, LinkVersion};

use super::super::context::path_of_ours;
use super::super::guard::{Change, SignedIn};
use super::super::refused;
use super::super::reply::{go_to_with, page, with_status};
use super::shown::{Named, Shown, address};
use crate::app::{ChangeError, Consistency, Guard, LinkName, Principal};
use crate::http::link_json::GivenEdit;
use crate::http::problem::Problem;
use crate::http::state::NodeState;
use crate::ui::{
    Clash, Form, LinkConflictView, LinkEditView, Tab, changed_since, edit_of, field_label, field_names, form_of, prints,
};

/// How often a change begins again because the link was changed between its read and its write. Each time somebody else has succeeded.
const TRIES_MAX: usize = 4;

/// Shows the form.
pub(super) async fn show(
    caller: SignedIn,
    request: HttpRequest,
    path: web::Path<String>,
    node: web::Data<NodeState>,
) -> Result<HttpResponse, Problem> {
    let shown = Shown::read(&caller.principal, &request, &node, &path, Tab::Edit, Consistency::Local).await?;
    let form = form_of(&shown.view.link, &shown.cx.zone);
    page(&request, &view(shown, form, None))
}

/// The page of a form. `base` are the prints with which it was first shown, if it was sent already.
fn view(shown: Shown, form: Form, base: Option<String>) -> LinkEditView {
    let base = base.unwrap_or_else(|| prints(&form));
    let zone = zone_name(&shown.cx.zone);
    LinkEditView { cx: shown.cx, head: shown.head, form, base, zone }
}

fn zone_name(zone: &TimeZone) -> String {
    zone.iana_name().unwrap_or("UTC").to_owned()
}

/// Saves what was changed of a form.
pub(super) async fn save(
    caller: Change,
    request: HttpRequest,
    path: web::Path<String>,
    body: web::Bytes,
    node: web::Data<NodeState>,
) -> Result<HttpResponse, Problem> {
    let sent = Form::read(&body);
    for _ in 0..TRIES_MAX {
        let mut shown = Shown::read(&caller.principal, &request, &node, &path, Tab::Edit, Consistency::Strong).await?;
        // Times are those of the zone in which the form has shown them.
        if let Ok(zone) = TimeZone::get(sent.value("zone")) {
            shown.cx.zone = zone;
        }
        let mut form = sent.clone();
        let changes = match changes(&mut form, &shown) {
            Changes::These(changes) => changes,
            Changes::Clash(clashes) => return conflict(&request, shown, form, clashes),
        };
        let link = &shown.view.link;
        let place = address(&node, &link.key, "");
        if changes.is_empty() {
            return Ok(go_to_with(&request, &place, "link.unchanged", None));
        }
        let edit: Result<GivenEdit, _> = serde_json::from_value(Value::Object(changes));
        let edit = edit.map_err(|error| Problem::malformed(error.to_string()))?;
        let own_hosts = node.own_hosts(&request);
        let guard = Guard::OneOf(vec![link.link_version()]);
        let edited = match edit.edit(&own_hosts) {
            Ok(edit) => node.app.edit_link(&caller.principal, shown.named.name(), edit, guard).await,
            Err(problem) => {
                refused::value(&shown.cx, &mut form, problem)?;
                return again(&request, shown, form, &sent);
            }
        };
        match edited {
            Ok(_) => return Ok(go_to_with(&request, &place, "link.saved", None)),
            Err(ChangeError::VersionMismatch { .. }) => {}
            Err(error) => {
                refused::change(&shown.cx, &mut form, error)?;
                return again(&request, shown, form, &sent);
            }
        }
    }
    Err(Problem::unavailable("the link is changed all the time; this request changed nothing"))
}

/// The form again, with what was typed and the reasons.
fn again(request: &HttpRequest, mut shown: Shown, form: Form, sent: &Form) -> Result<HttpResponse, Problem> {
    // The link as it was when the form was first shown stays what changes are compared with.
    shown.head.version = sent.value("version").to_owned();
    let view = view(shown, form, Some(sent.value("base").to_owned()));
    with_status(StatusCode::UNPROCESSABLE_ENTITY, request, &view)
}

/// What a form is to change.
enum Changes {
    /// These properties.
    These(Map<String, Value>),
    /// Some of them were changed by somebody else, too.
    Clash(Vec<Clash>),
}

/// Compares a form with what it was when it was first shown, and with the link as it is now. Fields that only somebody else has changed stay as they
/// are now, and are put into the form.
fn changes(form: &mut Form, shown: &Shown) -> Changes {
    let now = form_of(&shown.view.link, &shown.cx.zone);
    let (base, version) = (form.value("base").to_owned(), form.value("version").parse::<LinkVersion>().ok());
    let is_current = version == Some(shown.view.link.link_version());
    let by_others = if is_current { Vec::new() } else { changed_since(&now, &base) };
    let mut mine = changed_since(form, &base);
    for name in field_names() {
        let by_others = by_others.contains(&name);
        // Who has given up a field has seen what stands there now, unless it was changed once more.
        let given_up = !by_others && picks_theirs(form, name);
        if given_up || by_others && !mine.contains(&name) {
            form.set(name, now.value(name));
            mine.retain(|other| *other != name);
        }
    }
    mine.retain(|name| form.value(name) != now.value(name));
    let clashes: Vec<Clash> = mine
        .iter()
        .filter(|name| by_others.contains(*name))
        .map(|name| Clash {
            name,
            label: field_label(name),
            theirs: now.value(name).to_owned(),
            mine: form.value(name).to_owned(),
            picks_theirs: picks_theirs(form, name),
        })
        .collect();
    if !clashes.is_empty() {
        return Changes::Clash(clashes);
    }
    let mut changes = edit_of(form, &mine, &shown.cx.zone);
    match (form.value("passwordChange"), form.value("password")) {
        ("remove", _) => drop(changes.insert("password".to_owned(), Value::Null)),
        ("set", password) => drop(changes.insert("password".to_owned(), json!(password))),
        (_, "") => {}
        // Who types a password means it.
        (_, password) => drop(changes.insert("password".to_owned(), json!(password))),
    }
    Changes::These(changes)
}

/// Whether the page of a conflict was answered with what stands in a field now.
fn picks_theirs(form: &Form, name: &str) -> bool {
    form.value(&format!("pick.{name}")) == "theirs"
}

fn conflict(request: &HttpRequest, shown: Shown, form: Form, clashes: Vec<Clash>) -> Result<HttpResponse, Problem> {
    let base = prints(&form_of(&shown.view.link, &shown.cx.zone));
    let password_lost = !form.value("password").is_empty() || form.value("passwordChange") == "remove";
    let zone = zone_name(&shown.cx.zone);
    let view = LinkConflictView { cx: shown.cx, head: shown.head, clashes, form, base, zone, password_lost };
    with_status(StatusCode::CONFLICT, request, &view)
}

/// Disables or enables the link.
pub(super) async fn set_state(
    caller: Change,
    request: HttpRequest,
    path: web::Path<String>,
    body: web::Bytes,
    node: web::Data<NodeState>,
) -> Result<HttpResponse, Problem> {
    let form = Form::read(&body);
    let named = Named::of(&request, &path);
    let disabled = form.is_on("disabled");
    let link = set_disabled(&node, &request, &caller.principal, named.name(), disabled).await;
    let link = link.map_err(|error| Problem::of_change(error, None))?;
    let back = match form.given("back") {
        Some(back) => path_of_ours(node.dashboard().path(), back),
        None => address(&node, &link.key, ""),
    };
    Ok(go_to_with(&request, &back, if disabled { "link.now-disabled" } else { "link.now-enabled" }, None))
}

async fn set_disabled(
    node: &NodeState,
    request: &HttpRequest,
    principal: &Principal,
    name: LinkName<'_>,
    disabled: bool,
) -> Result<Link, ChangeError> {
    let edit: GivenEdit =
        serde_json::from_value(json!({ "disabled": disabled })).expect("invariant: an edit may have this");
    let own_hosts = node.own_hosts(request);
    let edit = edit.edit(&own_hosts).expect("invariant: a flag is within its limits");
    node.app.edit_link(principal, name, edit, Guard::Any).await
}

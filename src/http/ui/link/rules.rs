//! The rules of a link: their editor, and what a visitor would get.

use std::collections::HashMap;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use jiff::tz::TimeZone;
use serde_json::json;
use waypost_click_counter::Agent;
use waypost_protocol::OwnHost;
use waypost_protocol::properties::RULES;
use waypost_protocol::rules::{Device, Rules, RulesError};

use super::super::guard::{Change, SignedIn};
use super::super::refused;
use super::super::reply::{go_to_with, page, with_status};
use super::shown::{Shown, address, guard_of};
use super::tester::{Described, verdict};
use crate::app::{ChangeError, Consistency, RulesFault};
use crate::http::link_json::GivenEdit;
use crate::http::problem::Problem;
use crate::http::rules_json::{RuleJson, given_alone};
use crate::http::state::NodeState;
use crate::ui::{Context, Form, LinkRulesView, Names, RulesForm, Tab};

/// Shows the editor.
pub(super) async fn show(
    caller: SignedIn,
    request: HttpRequest,
    path: web::Path<String>,
    node: web::Data<NodeState>,
) -> Result<HttpResponse, Problem> {
    let principal = &caller.principal;
    let shown = Shown::read(principal, &request, &node, &path, Tab::Rules, Consistency::Local).await?;
    let rules = RULES.read(&shown.view.link.spec.fields);
    let rules = rules.map_err(|_| Problem::unreadable_link())?;
    let rules = RulesForm::of(rules.as_ref(), &shown.cx.zone);
    page(&request, &view(shown, rules, Form::default()))
}

fn view(shown: Shown, rules: RulesForm, visitor: Form) -> LinkRulesView {
    let lower = |names: &mut dyn Iterator<Item = &'static str>| names.map(str::to_lowercase).collect();
    LinkRulesView {
        zone: shown.cx.zone.iana_name().unwrap_or("UTC").to_owned(),
        cx: shown.cx,
        head: shown.head,
        rules,
        is_changed: false,
        visitor,
        verdict: None,
        names: Names {
            devices: Device::NAMES.map(|(name, _)| name.to_owned()).to_vec(),
            browsers: lower(&mut Agent::browsers()),
            systems: lower(&mut Agent::systems()),
        },
        refusal: None,
    }
}

/// Does what a button of the editor says. Only one saves.
pub(super) async fn change(
    caller: Change,
    request: HttpRequest,
    path: web::Path<String>,
    body: web::Bytes,
    node: web::Data<NodeState>,
) -> Result<HttpResponse, Problem> {
    let principal = &caller.principal;
    let form = Form::read(&body);
    let sent: HashMap<String, String> = form_urlencoded::parse(&body).into_owned().collect();
    let mut shown = Shown::read(principal, &request, &node, &path, Tab::Rules, Consistency::Strong).await?;
    if let Ok(zone) = TimeZone::get(form.value("zone")) {
        shown.cx.zone = zone;
    }
    let mut rules = RulesForm::read(&sent);
    let button = form.value("do").to_owned();
    rules.apply(&button, &sent);
    let own_hosts = node.own_hosts(&request);
    let mut status = StatusCode::OK;
    let mut refusal = None;
    let mut told = None;
    let mut visitor = form.clone();
    let is_checked = matches!(button.as_str(), "check" | "test" | "save");
    let checked = if is_checked { check(&mut rules, &node, &own_hosts, &shown.cx)? } else { None };
    match (button.as_str(), checked) {
        ("save", Some(_)) => {
            let edit = json!({ "rules": rules.json(&shown.cx.zone) });
            let edit: GivenEdit =
                serde_json::from_value(edit).map_err(|error| Problem::malformed(error.to_string()))?;
            let edit = edit.edit(&own_hosts)?;
            match node.app.edit_link(principal, shown.named.name(), edit, guard_of(&form)).await {
                Ok(link) => {
                    let place = address(&node, &link.key, "/rules");
                    return Ok(go_to_with(&request, &place, "rules.saved", None));
                }
                Err(ChangeError::VersionMismatch { .. }) => {
                    // Saving again then means to overwrite: the form has the present version now, and says so.
                    refusal = Some(shown.cx.t("rules.conflict").to_owned());
                    status = StatusCode::CONFLICT;
                }
                Err(error) => {
                    let mut errors = Form::default();
                    refused::change(&shown.cx, &mut errors, error)?;
                    refusal = errors.errors().first().map(|error| error.reason.text.clone());
                    status = StatusCode::UNPROCESSABLE_ENTITY;
                }
            }
        }
        ("test", Some(checked)) => match Described::of(&form, &shown.view.link, &node.geo, &node.split_key) {
            Ok(described) => {
                let default_status = node.app.site(shown.view.link.key.domain).default_status;
                let asked = (&form, &shown.cx, default_status);
                let (link, counts) = (&shown.view.link, shown.view.counts);
                told = Some(verdict(link, counts, checked.as_ref(), &rules, &described, asked));
            }
            Err((field, key)) => visitor.refuse(field, shown.cx.t(key)),
        },
        _ => {}
    }
    if is_checked && rules.is_refused() || visitor.is_refused() {
        status = StatusCode::UNPROCESSABLE_ENTITY;
    }
    let saved = RULES.of(&shown.view.link.spec.fields);
    let is_changed = RulesForm::of(saved.as_ref(), &shown.cx.zone).json(&shown.cx.zone) != rules.json(&shown.cx.zone);
    if status != StatusCode::CONFLICT {
        // The state that the editor began with stays the one that is to be changed.
        shown.head.version = form.value("version").to_owned();
    }
    let view = LinkRulesView { is_changed, verdict: told, refusal, ..view(shown, rules, visitor) };
    with_status(status, &request, &view)
}

/// Checks the rules, and puts each reason beside what is wrong; `None` if something is.
fn check(
    form: &mut RulesForm,
    node: &NodeState,
    own_hosts: &[OwnHost],
    cx: &Context,
) -> Result<Option<Option<Rules>>, Problem> {
    let json: Vec<RuleJson> =
        serde_json::from_value(form.json(&cx.zone)).map_err(|error| Problem::malformed(error.to_string()))?;
    let mut all = Vec::with_capacity(json.len());
    for (given, rule) in json.iter().zip(&mut form.rules) {
        let new = match given_alone(given) {
            Ok(new) => new,
            Err(places) => {
                for at in places {
                    if let Some(condition) = rule.conditions.get_mut(at) {
                        condition.error = Some(cx.t(condition.hint()).to_owned());
                    }
                }
                continue;
            }
        };
        match node.app.rules_given(std::slice::from_ref(&new), own_hosts) {
            Ok(_) => all.push(new),
            Err(RulesFault::Url { share, error, .. }) => {
                if let Some(target) = rule.targets.get_mut(share.map_or(0, |share| share - 1)) {
                    target.error = Some(refused::url(cx, &error));
                }
            }
            Err(RulesFault::Limits(RulesError::Weight { share, .. })) => {
                if let Some(target) = rule.targets.get_mut(share - 1) {
                    target.error = Some(cx.t("rules.refused.weight").to_owned());
                }
            }
            Err(RulesFault::Limits(error)) => rule.error = Some(limit(&error, cx)),
        }
    }
    if form.is_refused() {
        return Ok(None);
    }
    match node.app.rules_given(&all, own_hosts) {
        Ok(rules) => Ok(Some(rules)),
        Err(RulesFault::Limits(error)) => {
            form.error = Some(limit(&error, cx));
            Ok(None)
        }
        Err(error @ RulesFault::Url { .. }) => Err(error.into()),
    }
}

fn limit(error: &RulesError, cx: &Context) -> String {
    let key = match error {
        RulesError::TooMany(_) => "rules.refused.too-many",
        RulesError::TooManyConditions { .. } => "rules.refused.too-many-conditions",
        RulesError::Shares { .. } => "rules.refused.shares",
        RulesError::Weight { .. } => "rules.refused.weight",
        RulesError::TooLong(_) => "rules.refused.too-long",
    };
    cx.t(key).to_owned()
}

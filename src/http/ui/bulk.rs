//! Changes of the selected links; those of all that fit the filter are asked for here, and made in `bulk_all.rs`.

use std::time::Duration;

use actix_web::{HttpRequest, HttpResponse, web};
use futures_util::future::join_all;
use tokio::time::{Instant, timeout_at};
use waypost_protocol::listing::{LinkFilter, Matches, Sort};
use waypost_protocol::messages::LinkView;
use waypost_protocol::properties::{DISABLED, PropertyError, Set, TAGS, Tags};
use waypost_protocol::{FieldChanges, Link};

use super::bulk_all::{Sweeping, edit_tags, sweep_of};
use super::bulk_outcome::{fail, note};
use super::context::{context, path_of_ours};
use super::guard::Change;
use super::links::asked;
use super::refused;
use super::reply::{go_to, go_to_with, page};
use crate::app::{
    BULK_AT_ONCE_MAX, BulkChange, BulkError, ChangeError, Consistency, Guard, LinkEdit, LinkName, ListRequest,
    Principal,
};
use crate::http::list::some_as_csv;
use crate::http::problem::Problem;
use crate::http::state::NodeState;
use crate::ui::{Action, BulkAskView, BulkDoneView, Context, Form, NAMED_LINKS_MAX, Outcome, Reason, Section};

/// Does with many links what the form asks for, or asks before.
pub(super) async fn bulk(
    caller: Change,
    request: HttpRequest,
    body: web::Bytes,
    node: web::Data<NodeState>,
) -> Result<HttpResponse, Problem> {
    let cx = context(&request, &node, Section::Links);
    let form = Form::read(&body);
    let back = path_of_ours(&cx.base, form.value("back"));
    let names: Vec<String> = form.all("link").map(str::to_owned).collect();
    let all = form.is_on("all");
    if names.len() > NAMED_LINKS_MAX && !all {
        return Ok(go_to_with(&request, &back, "bulk.too-many", Some(NAMED_LINKS_MAX as u64)));
    }
    if names.is_empty() && !all {
        return Ok(go_to_with(&request, &back, "bulk.none", None));
    }
    let filter = Form::read(form.value("filter").as_bytes());
    if form.value("action") == "export" {
        return match all {
            true => Ok(go_to(&format!("{}/links/export?{}", cx.base, filter.query()))),
            false => Ok(selected_as_csv(&caller.principal, &request, &node, &names).await),
        };
    }
    let Some(action) = Action::of(&form) else {
        return Ok(go_to_with(&request, &back, "bulk.no-tag", None));
    };
    if let Action::Tag(tag) | Action::Untag(tag) = &action
        && Tags::parse(&[tag]).is_err()
    {
        return Ok(go_to_with(&request, &back, "bulk.bad-tag", None));
    }
    let confirmed = form.is_on("confirmed");
    if all {
        let asked = asked(&caller.principal, &request, &node, &cx, &filter)?.filter;
        if !confirmed {
            let (matches, missing) = count(&caller.principal, &node, asked).await?;
            let Matches { total, is_minimum } = matches;
            let view = BulkAskView { cx, action, links: total, is_minimum, missing, names: Vec::new(), filter, back };
            return page(&request, &view);
        }
        let sweep = sweep_of(&caller.principal, &node, &action, asked).await?;
        return Sweeping::answer(caller.principal, node, cx, action, back, sweep);
    }
    if action.inverse().is_none() && !confirmed {
        let links = names.len() as u64;
        let view = BulkAskView { cx, action, links, is_minimum: false, missing: 0, names, filter, back };
        return page(&request, &view);
    }
    let outcome = change(&caller.principal, &node, &cx, &action, &names).await;
    page(&request, &BulkDoneView { cx, action, outcome, back })
}

/// A link by its name in forms.
fn named(name: &str) -> LinkName<'_> {
    let (host, code) = name.split_once(' ').unwrap_or(("", name));
    LinkName { domain: Some(host).filter(|host| !host.is_empty()), code }
}

async fn selected_as_csv(
    principal: &Principal,
    request: &HttpRequest,
    node: &NodeState,
    names: &[String],
) -> HttpResponse {
    let mut links = Vec::with_capacity(names.len());
    for names in names.chunks(BULK_AT_ONCE_MAX) {
        let views = join_all(names.iter().map(|name| node.app.link(principal, named(name), Consistency::Local))).await;
        // One that is gone is not in it.
        let views = views.into_iter().flatten();
        links.extend(views.map(|LinkView { link, counts }| node.link_json(request, &link, Some(counts))));
    }
    some_as_csv(&links)
}

/// How many links fit a filter, and how many shards are missing.
async fn count(principal: &Principal, node: &NodeState, filter: LinkFilter) -> Result<(Matches, u64), Problem> {
    let ask = ListRequest { filter, sort: Sort::default(), after: None, limit: 1, count: true, seen: None };
    let listed = node.app.list_links(principal, ask).await?;
    Ok((listed.matches.unwrap_or_default(), listed.partial.len() as u64))
}

/// The change of one link that an action makes; `None` if the link is as it should be already.
fn edit_of(action: &Action, link: &Link) -> Result<Option<FieldChanges>, PropertyError> {
    let mut changes = FieldChanges::default();
    let fields = &link.spec.fields;
    let Some(tags) = edit_tags(action) else {
        if *action != Action::Delete {
            let disable = *action == Action::Disable;
            if DISABLED.is_in(fields) == disable {
                return Ok(None);
            }
            DISABLED.change(&mut changes, disable.then_some(&Set));
        }
        return Ok(Some(changes));
    };
    let (before, after) = (TAGS.of(fields), tags.of(TAGS.of(fields).as_ref())?);
    if before == after {
        return Ok(None);
    }
    TAGS.change(&mut changes, after.as_ref());
    Ok(Some(changes))
}

/// Whether the next links may be begun: a quarter of the time is left for those that have begun.
fn is_time_left(elapsed: Duration, timeout: Duration) -> bool {
    elapsed < timeout * 3 / 4
}

/// Changes links by their names, each in the state in which it was read. It ends before the time of the request is up, so that what was done can be told, and
/// taken back.
async fn change(principal: &Principal, node: &NodeState, cx: &Context, action: &Action, names: &[String]) -> Outcome {
    let mut outcome = Outcome::new(node.body_max_bytes);
    let began = Instant::now();
    let end = began + node.timeout;
    let mut rest = names;
    while !rest.is_empty() {
        let names = &rest[..rest.len().min(BULK_AT_ONCE_MAX)];
        let views = join_all(names.iter().map(|name| node.app.link(principal, named(name), Consistency::Local)));
        let views = match is_time_left(began.elapsed(), node.timeout) {
            true => timeout_at(end, views).await.ok(),
            false => None,
        };
        let Some(views) = views else {
            outcome.stopped = Some(cx.count("bulk.time-up", &(rest.len() as u64)));
            break;
        };
        rest = &rest[names.len()..];
        let mut changes = Vec::with_capacity(names.len());
        let mut changing = Vec::with_capacity(names.len());
        for (name, view) in names.iter().zip(views) {
            let link = match view {
                Ok(view) => view.link,
                Err(error) => {
                    note(&mut outcome, cx, name, &ChangeError::from(error));
                    continue;
                }
            };
            let guard = Guard::OneOf(vec![link.link_version()]);
            match edit_of(action, &link) {
                Ok(None) => outcome.unchanged += 1,
                Err(error) => fail(&mut outcome, name, refused::property(cx, error)),
                Ok(Some(_)) if *action == Action::Delete => {
                    changes.push((changes.len() as u64, BulkChange::Delete { name: named(name), guard }));
                    changing.push(name);
                }
                Ok(Some(fields)) => {
                    let edit = LinkEdit { fields, ..LinkEdit::default() };
                    changes.push((changes.len() as u64, BulkChange::Edit { name: named(name), edit, guard }));
                    changing.push(name);
                }
            }
        }
        let Ok(done) = timeout_at(end, node.app.bulk(principal, changes, None)).await else {
            // They are on their way.
            changing.iter().for_each(|name| fail(&mut outcome, name, cx.t("failure.unknown-text").to_owned()));
            continue;
        };
        for (name, done) in changing.into_iter().zip(done) {
            match done {
                Ok(_) => outcome.change(name.clone()),
                Err(BulkError::Change(error)) => note(&mut outcome, cx, name, &error),
                Err(error) => fail(&mut outcome, name, Reason::in_english(error.to_string())),
            }
        }
    }
    outcome
}

#[cfg(test)]
mod tests {
    use waypost_protocol::{Code, LinkKey, LinkSpec, Target, UnixMs};

    use super::*;

    fn link(tags: &[&str], disabled: bool) -> Link {
        let mut spec = LinkSpec::to(Target::parse("https://example.com", &[], 8192).unwrap());
        let mut changes = FieldChanges::default();
        TAGS.change(&mut changes, Tags::parse(tags).unwrap().as_ref());
        DISABLED.change(&mut changes, disabled.then_some(&Set));
        spec.fields.change(&changes);
        let key = LinkKey::new(Code::parse_slug("abc").unwrap());
        Link { key, spec, created_at: UnixMs(1), version: 1, written_at: 1, created_by: 0, generated: false }
    }

    fn tags_after(action: &Action, tags: &[&str]) -> Option<Vec<String>> {
        let mut link = link(tags, false);
        link.spec.fields.change(&edit_of(action, &link).unwrap()?);
        Some(TAGS.of(&link.spec.fields).iter().flat_map(|tags| tags.iter().map(str::to_owned)).collect())
    }

    #[test]
    fn a_link_that_is_as_it_should_be_is_not_changed() {
        let (tag, untag) = (Action::Tag("New".to_owned()), Action::Untag("New".to_owned()));
        assert_eq!(tags_after(&tag, &["a"]), Some(vec!["a".to_owned(), "New".to_owned()]));
        assert_eq!((tags_after(&tag, &["new"]), tags_after(&untag, &["a"])), (None, None));
        assert_eq!(tags_after(&untag, &["a", "NEW"]), Some(vec!["a".to_owned()]));
        assert_eq!(edit_of(&Action::Disable, &link(&[], true)).unwrap(), None);
        assert_eq!(edit_of(&Action::Enable, &link(&[], false)).unwrap(), None);
        assert!(edit_of(&Action::Enable, &link(&[], true)).unwrap().is_some());
        let many: Vec<String> = (0..32).map(|number| number.to_string()).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert!(edit_of(&tag, &link(&many, false)).is_err());
    }

    #[test]
    fn no_links_are_begun_when_the_time_is_nearly_up() {
        let timeout = Duration::from_secs(4);
        assert!(is_time_left(Duration::ZERO, timeout) && is_time_left(Duration::from_millis(2999), timeout));
        assert!(!is_time_left(Duration::from_secs(3), timeout) && !is_time_left(timeout, timeout));
    }

    #[test]
    fn a_link_is_named_with_its_domain() {
        assert_eq!((named("go.example a/b").domain, named("go.example a/b").code), (Some("go.example"), "a/b"));
        assert_eq!((named(" abc").domain, named(" abc").code, named("abc").code), (None, "abc", "abc"));
    }
}

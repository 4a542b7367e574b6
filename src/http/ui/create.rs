//! A new link: from the form of the first page, and back again.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use waypost_protocol::messages::LinkView;
use waypost_protocol::properties::{TAGS, TITLE, Tags, Title};
use waypost_protocol::{FieldChanges, Fields, Link};

use super::context::{base, context, wants_part};
use super::create_form::{can_undo, has_more, idempotency_key, made, offered};
use super::guard::Change;
use super::reply::{go_to, go_to_with, page, with_status};
use super::{home, refused};
use crate::app::{ChangeError, Consistency, CreatedLink, Guard, LinkName, NewLink, Principal, ReadError};
use crate::http::problem::Problem;
use crate::http::state::NodeState;
use crate::ui::{Context, Create, CreateView, Form, Section, escaped};

/// Creates a link, or finds one that is the same.
pub(super) async fn create(
    caller: Change,
    request: HttpRequest,
    body: web::Bytes,
    node: web::Data<NodeState>,
) -> Result<HttpResponse, Problem> {
    let cx = context(&request, &node, Section::Home);
    let mut form = Form::read(&body);
    let Some((link, existed)) = created(&caller.principal, &request, &node, &cx, &mut form).await? else {
        let create = Create { more: has_more(&form), form, ..offered(&caller.principal, &node)? };
        // A browser takes an error of a part for one of the page, and says so in its console.
        if wants_part(&request) {
            return page(&request, &CreateView { cx, create });
        }
        let view = home::view(&caller.principal, &request, &node, cx, create).await?;
        return with_status(StatusCode::UNPROCESSABLE_ENTITY, &request, &view);
    };
    if !wants_part(&request) {
        let site = node.app.site(link.key.domain);
        let domain = site.host.as_ref().map(|host| format!("&domain={host}")).unwrap_or_default();
        let new = if existed { "" } else { "&new=1" };
        return Ok(go_to(&format!("{}/?made={}{domain}{new}", cx.base, escaped(link.key.code.as_str()))));
    }
    let counts = if existed { node.app.counts(&link).await.unwrap_or_default() } else { Default::default() };
    let made = Some(made(&request, &node, &LinkView { link, counts }, existed));
    page(&request, &CreateView { cx, create: Create { made, ..offered(&caller.principal, &node)? } })
}

/// Creates the link of a form, and says whether it was there before; `None` if the form was refused.
async fn created(
    principal: &Principal,
    request: &HttpRequest,
    node: &NodeState,
    cx: &Context,
    form: &mut Form,
) -> Result<Option<(Link, bool)>, Problem> {
    let fields = fields_of(cx, form);
    if form.is_refused() {
        return Ok(None);
    }
    let own_hosts = node.own_hosts(request);
    let url = with_scheme(form.value("longUrl"));
    let slug = form.given("customSlug");
    let key = idempotency_key(form);
    let new = NewLink {
        domain: form.given("domain"),
        url: &url,
        slug,
        fields,
        find_existing: slug.is_none() && !form.is_on("always"),
        idempotency_key: key.as_deref(),
        own_hosts: &own_hosts,
        ..NewLink::default()
    };
    match node.app.create_link(principal, new).await {
        Ok(CreatedLink::New(link)) => Ok(Some((link, false))),
        Ok(CreatedLink::Existing(link)) => Ok(Some((link, true))),
        Err(error) => {
            refused::creation(cx, form, error, |key| node.short_url(request, key))?;
            Ok(None)
        }
    }
}

/// The title and the tags of a form.
fn fields_of(cx: &Context, form: &mut Form) -> Fields {
    let mut changes = FieldChanges::default();
    match Title::parse(form.value("title")) {
        Ok(title) => TITLE.change(&mut changes, title.as_ref()),
        Err(error) => form.refuse("title", refused::property(cx, error)),
    }
    let texts: Vec<&str> = form.value("tags").split(',').map(str::trim).filter(|tag| !tag.is_empty()).collect();
    match Tags::parse(&texts) {
        Ok(tags) => TAGS.change(&mut changes, tags.as_ref()),
        Err(error) => form.refuse("tags", refused::property(cx, error)),
    }
    let mut fields = Fields::default();
    fields.change(&changes);
    fields
}

/// A URL as people type it: without a scheme it is one of https.
fn with_scheme(text: &str) -> String {
    let text = text.trim();
    let head = text.split(['/', '?', '#']).next().unwrap_or_default();
    let named = head.split_once(':').is_some_and(|(before, _)| {
        // Of a host, a port may stand behind the colon.
        !before.contains('.') && before != "localhost" && !before.starts_with('[')
    });
    if text.is_empty() || named || text.contains("://") { text.to_owned() } else { format!("https://{text}") }
}

/// Deletes a link that was just made, unless somebody has changed or visited it since. The next page can bring it back.
pub(super) async fn undo(
    caller: Change,
    request: HttpRequest,
    body: web::Bytes,
    node: web::Data<NodeState>,
) -> Result<HttpResponse, Problem> {
    let form = Form::read(&body);
    let home = format!("{}/", base(&request));
    let version = form.value("version").parse().map_err(|()| Problem::malformed("the form names no version"))?;
    let name = LinkName { domain: form.given("domain"), code: form.value("code") };
    let stays = || Ok(go_to_with(&request, &home, "create.changed", None));
    match node.app.link(&caller.principal, name, Consistency::Strong).await {
        Ok(view) if !can_undo(&view.link, view.counts, (node.clock)()) => return stays(),
        // One that is gone may have been deleted by the same form.
        Ok(_) | Err(ReadError::NotFound) => {}
        Err(error) => return Err(Problem::of_change(error.into(), None)),
    }
    match node.app.delete_for_a_while(&caller.principal, name, Guard::OneOf(vec![version])).await {
        Ok(token) => Ok(go_to_with(&request, &format!("{home}deleted/{token}"), "create.undone", None)),
        Err(ChangeError::VersionMismatch { .. }) => stays(),
        Err(ChangeError::NotFound) => Ok(go_to_with(&request, &home, "create.gone", None)),
        Err(error) => Err(Problem::of_change(error, None)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_without_a_scheme_is_one_of_https() {
        for (text, url) in [
            ("example.com/a:b", "https://example.com/a:b"),
            (" example.com:8443?x ", "https://example.com:8443?x"),
            ("localhost:8080", "https://localhost:8080"),
            ("[::1]:80/", "https://[::1]:80/"),
            ("http://example.com", "http://example.com"),
            ("mailto:a@example.com", "mailto:a@example.com"),
            ("javascript:alert(1)", "javascript:alert(1)"),
            ("", ""),
        ] {
            assert_eq!(with_scheme(text), url);
        }
    }

    #[test]
    fn the_title_and_the_tags_of_a_form_are_checked() {
        let cx = Context::example("en");
        let mut form = Form::read(b"title=+Hello+&tags=a%2C+b%2C%2C");
        let fields = fields_of(&cx, &mut form);
        assert_eq!(TITLE.of(&fields).unwrap().as_str(), "Hello");
        assert_eq!(TAGS.of(&fields).unwrap().iter().collect::<Vec<_>>(), ["a", "b"]);
        assert!(!form.is_refused() && has_more(&form));
        let mut form = Form::of([("title".to_owned(), "x".repeat(513)), ("tags".to_owned(), "y".repeat(65))]);
        fields_of(&cx, &mut form);
        assert!(form.error("title").is_some() && form.error("tags").is_some());
    }
}

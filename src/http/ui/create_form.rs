//! The form for a new link, as the first page has it, and the link that was made with it.

use actix_web::HttpRequest;

use super::links_of::qr_of;
use crate::app::{Consistency, LinkName, Principal};
use crate::http::problem::Problem;
use crate::http::state::NodeState;
use crate::ui::{Create, Form, LinkItem, Made};

/// Whether a form has more than a URL.
pub(super) fn has_more(form: &Form) -> bool {
    ["customSlug", "title", "tags", "domain", "always"].iter().any(|name| form.given(name).is_some())
}

/// An empty form, with the domains that can be chosen.
pub(super) fn offered(principal: &Principal, node: &NodeState) -> Result<Create, Problem> {
    let domains = node.app.domains(principal)?;
    let domains = domains.iter().filter_map(|site| site.host.as_ref().map(ToString::to_string)).collect();
    Ok(Create { domains, ..Create::default() })
}

/// What was made, with its QR code.
pub(super) fn made(link: LinkItem, existed: bool) -> Made {
    let qr = qr_of(&link.short_url);
    Made { link, existed, qr }
}

/// The link that a query names as made: it is shown once more when the page is loaded again.
pub(super) async fn made_before(
    principal: &Principal,
    request: &HttpRequest,
    node: &NodeState,
    query: &Form,
) -> Option<Made> {
    let name = LinkName { domain: query.given("domain"), code: query.given("made")? };
    let view = node.app.link(principal, name, Consistency::Local).await.ok()?;
    let item = node.link_item(request, &view.link, view.counts);
    Some(made(item, query.value("new") != "1"))
}

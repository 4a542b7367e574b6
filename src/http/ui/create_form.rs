//! The form for a new link, as the first page has it, and the link that was made with it.

use actix_web::HttpRequest;
use waypost_protocol::link::LinkCounts;
use waypost_protocol::messages::LinkView;
use waypost_protocol::{Link, UnixMs};

use super::links_of::qr_of;
use crate::app::{Consistency, LinkName, Principal};
use crate::http::problem::Problem;
use crate::http::state::NodeState;
use crate::ui::{Create, Form, Made};

/// Whether a form has more than a URL.
pub(super) fn has_more(form: &Form) -> bool {
    ["customSlug", "title", "tags", "domain", "always"].iter().any(|name| form.given(name).is_some())
}

/// Random bytes that identify a form.
const KEY_BYTES: usize = 16;

/// The idempotency key of a form that was sent, without one if the form has none: the same form with other contents is another request.
pub(super) fn idempotency_key(form: &Form) -> Option<String> {
    let key = form
        .given("key")
        .filter(|key| key.len() == 2 * KEY_BYTES && key.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
    Some(format!("dashboard {key} {}", blake3::hash(form.query().as_bytes()).to_hex()))
}

/// An empty form, with the domains that can be chosen.
pub(super) fn offered(principal: &Principal, node: &NodeState) -> Result<Create, Problem> {
    let domains = node.app.domains(principal)?;
    let domains = domains.iter().filter_map(|site| site.host.as_ref().map(ToString::to_string)).collect();
    let key: [u8; KEY_BYTES] = rand::random();
    let key = key.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(Create { domains, key, ..Create::default() })
}

/// How long a link that was made can be undone by one click, in milliseconds.
const UNDO_MS: u64 = 10 * 60_000;

/// Whether a link can be undone: nobody can have come to rely on it. The address of the page may name any link.
pub(super) fn can_undo(link: &Link, counts: LinkCounts, now: UnixMs) -> bool {
    let LinkCounts { visits, used } = counts;
    let age = now.0.saturating_sub(link.created_at.0);
    link.version == 1 && age <= UNDO_MS && visits.total == 0 && visits.bots == 0 && used == 0
}

/// What was made, or found, with its QR code.
pub(super) fn made(request: &HttpRequest, node: &NodeState, view: &LinkView, existed: bool) -> Made {
    let LinkView { link, counts } = view;
    let undo = !existed && can_undo(link, *counts, (node.clock)());
    let link = node.link_item(request, link, *counts);
    let qr = qr_of(&link.short_url);
    Made { link, existed, undo, qr }
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
    Some(made(request, node, &view, query.value("new") != "1"))
}

#[cfg(test)]
mod tests {
    use waypost_protocol::link::Visits;
    use waypost_protocol::{Code, LinkKey, LinkSpec, Target};

    use super::*;

    #[test]
    fn a_form_that_is_sent_twice_is_one_request_and_with_other_contents_another() {
        let key = |text: &str| idempotency_key(&Form::read(text.as_bytes()));
        let form = format!("key={}&longUrl=https://a.example", "0f".repeat(KEY_BYTES));
        assert!(key(&form).is_some() && key(&form) == key(&form));
        assert_ne!(key(&form), key(&format!("{form}/b")));
        for bad in ["longUrl=x", "key=&longUrl=x", "key=0f&longUrl=x", "key=%C3%BC"] {
            assert_eq!(key(bad), None, "{bad}");
        }
    }

    #[test]
    fn only_a_new_link_that_nobody_has_changed_or_visited_can_be_undone() {
        let link = |version, created_at| {
            let key = LinkKey::new(Code::parse_slug("abc").unwrap());
            let spec = LinkSpec::to(Target::parse("https://example.com", &[], 8192).unwrap());
            Link { key, spec, created_at: UnixMs(created_at), version, written_at: 1, created_by: 0, generated: true }
        };
        let visited = |total, bots, used| LinkCounts { visits: Visits { total, bots, ..Visits::default() }, used };
        let now = UnixMs(1_000_000_000);
        let (new, none) = (link(1, now.0), LinkCounts::default());
        assert!(can_undo(&new, none, now) && can_undo(&new, none, UnixMs(now.0 + UNDO_MS)));
        // The clock of another node may be ahead.
        assert!(can_undo(&link(1, now.0 + 5), none, now));
        assert!(!can_undo(&new, none, UnixMs(now.0 + UNDO_MS + 1)));
        assert!(!can_undo(&link(2, now.0), none, now));
        for counts in [visited(1, 0, 0), visited(0, 1, 0), visited(0, 0, 1)] {
            assert!(!can_undo(&new, counts, now));
        }
    }
}

//! The link that a request is about, and what stands above all of its pages.

use actix_web::HttpRequest;
use waypost_protocol::LinkKey;
use waypost_protocol::messages::LinkView;
use waypost_protocol::properties::{MAX_VISITS, PASSWORD, RULES, TAGS, TITLE, VALID_SINCE};
use waypost_protocol::rules::Rules;

use super::super::context::context;
use crate::app::{Consistency, Guard, LinkName, Principal};
use crate::http::problem::Problem;
use crate::http::state::NodeState;
use crate::ui::{Context, Form, LinkHead, Section, State, Tab, escaped};

/// The link that a request is about.
pub struct Named {
    pub code: String,
    pub domain: Option<String>,
}

impl Named {
    /// The link of a path, in the domain that the query names.
    pub fn of(request: &HttpRequest, code: &str) -> Self {
        let domain = Form::read(request.query_string().as_bytes()).given("domain").map(str::to_owned);
        Self { code: code.to_owned(), domain }
    }

    pub fn name(&self) -> LinkName<'_> {
        LinkName { domain: self.domain.as_deref(), code: &self.code }
    }
}

/// The link of a request, and what stands above all of its pages.
pub struct Shown {
    pub cx: Context,
    pub head: LinkHead,
    pub view: LinkView,
    pub named: Named,
}

impl Shown {
    /// Reads the link of a request.
    pub async fn read(
        principal: &Principal,
        request: &HttpRequest,
        node: &NodeState,
        code: &str,
        tab: Tab,
        consistency: Consistency,
    ) -> Result<Self, Problem> {
        let named = Named::of(request, code);
        let view = node.app.link(principal, named.name(), consistency).await?;
        let cx = context(request, node, Section::Links);
        let head = head(request, node, &view, tab);
        Ok(Self { cx, head, view, named })
    }
}

/// The address of a page of a link: `end` is such as `/stats`.
pub fn address(node: &NodeState, key: &LinkKey, end: &str) -> String {
    let (path, query) = place(node, key);
    format!("{path}{end}{query}")
}

/// The path of the pages of a link, and the query that names its domain.
fn place(node: &NodeState, key: &LinkKey) -> (String, String) {
    let host = node.app.site(key.domain).host.as_ref().map(ToString::to_string);
    let query = host.map_or_else(String::new, |host| format!("?domain={}", escaped(&host)));
    (format!("{}/link/{}", node.dashboard().path(), escaped(key.code.as_str())), query)
}

fn head(request: &HttpRequest, node: &NodeState, view: &LinkView, tab: Tab) -> LinkHead {
    let LinkView { link, counts } = view;
    let fields = &link.spec.fields;
    let (path, query) = place(node, &link.key);
    LinkHead {
        short_url: node.short_url(request, &link.key),
        path,
        query,
        domain: node.app.site(link.key.domain).host.as_ref().map(ToString::to_string),
        target: link.spec.target.as_str().to_owned(),
        title: TITLE.of(fields).map(|title| title.as_str().to_owned()),
        tags: TAGS.of(fields).map(|tags| tags.iter().map(str::to_owned).collect()).unwrap_or_default(),
        state: State(link.spec.state(counts.used, (node.clock)())),
        since: VALID_SINCE.of(fields),
        until: link.spec.valid_until,
        limit: MAX_VISITS.of(fields).map(|limit| limit.get()),
        protected: PASSWORD.is_in(fields),
        rules: RULES.of(fields).as_ref().map_or(0, |rules: &Rules| rules.iter().count() as u64),
        people: counts.visits.total,
        bots: counts.visits.bots,
        created_at: link.created_at,
        edits: u64::from(link.version.saturating_sub(1)),
        version: link.link_version().to_string(),
        tab,
    }
}

/// The state that a form was made of: its change is refused if the link has another one. A form without one cannot be sent.
pub(super) fn guard_of(form: &Form) -> Guard {
    Guard::OneOf(form.value("version").parse().into_iter().collect())
}

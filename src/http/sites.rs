//! Domains in requests and answers: which one a visitor is on, and which host a short URL has.

use std::sync::Arc;

use actix_web::HttpRequest;
use waypost_protocol::link::LinkCounts;
use waypost_protocol::{Hosts, Link, LinkKey, OfHost, OwnHost, Site};

use super::link_json::LinkJson;
use super::origin::escaped_segment;
use super::state::NodeState;

impl NodeState {
    /// The domain that a visitor is on; `None` if there is nothing for visitors at this host.
    pub(super) fn visited(&self, request: &HttpRequest) -> Option<Arc<Site>> {
        let domains = self.groups.domains().load();
        if self.groups.domains().is_plain() {
            return Some(domains.default_site().clone());
        }
        self.address.site(&domains, request.headers(), request.peer_addr()).cloned()
    }

    /// The short URL of a link.
    pub(super) fn short_url(&self, request: &HttpRequest, key: &LinkKey) -> String {
        let domains = self.groups.domains().load();
        let site = domains.site(key.domain).unwrap_or(domains.default_site());
        self.address.short_url(request, &domains, site.host.as_ref(), key.code.as_str())
    }

    /// The URL of a link in the API.
    pub(super) fn link_url(&self, request: &HttpRequest, key: &LinkKey) -> String {
        let base = self.address.api_url(request);
        let domain = match &self.app.site(key.domain).host {
            None => String::new(),
            Some(host) => format!("?domain={host}"),
        };
        format!("{base}/links/{}{domain}", escaped_segment(key.code.as_str()))
    }

    /// The hosts of this server and of all domains: a link to one of them would be a loop.
    pub(super) fn own_hosts(&self, request: &HttpRequest) -> Vec<OwnHost> {
        let mut own = self.address.own_hosts(request);
        if !self.groups.domains().is_plain() {
            let domains = self.app.all_domains();
            let hosts = Hosts::new(move |host| matches!(domains.of_host(host), OfHost::Site(_)));
            own.push(OwnHost::OneOf { hosts, port: self.address.port(request) });
        }
        own
    }

    /// A link as JSON.
    pub(super) fn link_json(&self, request: &HttpRequest, link: &Link, counts: Option<LinkCounts>) -> LinkJson {
        let site = self.app.site(link.key.domain);
        LinkJson::new(link, counts, &self.short_url(request, &link.key), &site, (self.clock)())
    }
}

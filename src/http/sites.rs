//! Domains in requests and answers: which one a visitor is on, and which host a short URL has.

use std::sync::Arc;

use actix_web::HttpRequest;
use url::Url;
use waypost_protocol::link::LinkCounts;
use waypost_protocol::typed::{code_in_path, segments_in_path};
use waypost_protocol::{Code, Hosts, Link, LinkKey, OfHost, OwnHost, Site};

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

    /// The link of a short URL of this server, with or without its scheme; `None` if the text is none.
    pub(super) fn own_link(&self, request: &HttpRequest, text: &str) -> Option<LinkKey> {
        let url = url_in(text)?;
        let domains = self.app.all_domains();
        let site = match domains.of_host(url.host_str()?) {
            OfHost::Site(site) => site,
            OfHost::Removed => return None,
            OfHost::Unknown => {
                let own = self.address.own_hosts(request).iter().any(|own| own.is(&url));
                own.then(|| domains.default_site())?
            }
        };
        Some(site.key(code_of(&url, site.multi_segment)?))
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

/// The URL that a text may be, perhaps without its scheme or with the punctuation of a sentence around it.
fn url_in(text: &str) -> Option<Url> {
    let text = text.trim_start_matches(|c: char| !c.is_alphanumeric() && c != '[');
    let lower = text.get(..8).unwrap_or(text).to_ascii_lowercase();
    let url = match lower.starts_with("http://") || lower.starts_with("https://") {
        true => Url::parse(text),
        false => Url::parse(&format!("http://{text}")),
    };
    url.ok().filter(|url| url.username().is_empty() && url.password().is_none())
}

/// The code of a short URL. Where slugs have one segment, what follows is added to the target.
fn code_of(url: &Url, multi_segment: bool) -> Option<Code> {
    match multi_segment {
        true => segments_in_path(url.path()),
        false => url.path_segments()?.find(|part| !part.is_empty()).and_then(code_in_path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str, multi_segment: bool) -> Option<(String, String)> {
        let url = url_in(text)?;
        Some((url.host_str()?.to_owned(), code_of(&url, multi_segment)?.to_string()))
    }

    #[test]
    fn a_short_url_is_found_in_the_text_that_was_pasted() {
        let abc = || Some(("go.example".to_owned(), "abc".to_owned()));
        for text in [
            "https://go.example/abc",
            "HTTP://GO.example:8080/abc",
            "go.example/abc",
            "(https://go.example/abc).",
            "<go.example/abc>",
            "https://go.example/abc/?utm=1#x",
            "https://go.example/abc+",
        ] {
            assert_eq!((of(text, false), of(text, true)), (abc(), abc()), "{text}");
        }
        for text in ["", "/", "abc", "go.example", "https://go.example/", "https://", "a@b.example/abc", "[/abc"] {
            assert_eq!((of(text, false), of(text, true)), (None, None), "{text}");
        }
        assert_eq!(of("https://go.example/abc/more", false), abc());
        assert_eq!(of("https://go.example/abc/more", true).unwrap().1, "abc/more");
        assert_eq!(of("[::1]:8080/m%C3%BCnchen", false).unwrap().1, "münchen");
    }
}

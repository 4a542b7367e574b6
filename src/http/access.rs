//! Who may create and change links.
//!
//! Without a key, changes are open only to this machine. With one, or on any other address, a request has to carry it.

use actix_web::HttpRequest;
use actix_web::http::header::{AUTHORIZATION, HOST, HeaderName, ORIGIN};
use url::{Host, Url};
use waypost_protocol::digest::KeyDigest;

use super::problem::Problem;

/// What every admin key begins with, so that people and scanners recognise one.
pub const KEY_PREFIX: &str = "wp_admin_";

/// The rule that holds for this node.
pub struct Access {
    open: bool,
    stored: Box<dyn Fn() -> Option<KeyDigest> + Send + Sync>,
}

/// Headers by which a proxy tells of whom it speaks for: with one of these, a request on a loopback listener does not come
/// from this machine.
const FORWARDED: &[&str] = &["forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via"];

impl Access {
    /// A request for a change has to carry the key whose digest is `stored` in the cluster, at that moment. As long as there
    /// is none, changes are `open`, or nobody can make any.
    pub fn new(open: bool, stored: impl Fn() -> Option<KeyDigest> + Send + Sync + 'static) -> Self {
        Self { open, stored: Box::new(stored) }
    }

    /// The number of the key that the request carries (0 = open access), for the record of who created a link.
    ///
    /// # Errors
    /// `401` without the right key, `403` for a page of another site that tries to use an open server.
    pub(super) fn check(&self, request: &HttpRequest) -> Result<u32, Problem> {
        match (self.stored)() {
            None if self.open => Self::check_open(request).map(|()| 0),
            None => Err(Problem::unauthorized("the cluster has no admin key yet")),
            Some(digest) => {
                let key = presented(request).ok_or_else(|| {
                    Problem::unauthorized("send the admin key as `X-Api-Key: …` or `Authorization: Bearer …`")
                })?;
                if KeyDigest::of(key).matches(&digest) {
                    Ok(1)
                } else {
                    Err(Problem::unauthorized("the API key is not valid"))
                }
            }
        }
    }

    fn check_open(request: &HttpRequest) -> Result<(), Problem> {
        if FORWARDED.iter().any(|name| request.headers().contains_key(*name)) {
            return Err(Problem::unauthorized(
                "the request came through a proxy and no admin key is set; start the server with WAYPOST_ADMIN_KEY",
            ));
        }
        // A page in a browser on this machine must not be able to create links behind its user's back: not across origins,
        // and not under a name of its own that it has pointed at this machine.
        let text = |name: HeaderName| request.headers().get(name).map(|value| value.to_str().unwrap_or_default());
        if text(HOST).is_some_and(|host| !is_this_machine(host)) {
            return Err(Problem::forbidden(
                "an open server changes links only for requests to localhost or 127.0.0.1; use that address, or start the \
                 server with WAYPOST_ADMIN_KEY",
            ));
        }
        let foreign = text(ORIGIN).is_some_and(|origin| {
            origin.split_once("://").is_none_or(|(_, host)| !is_this_machine(host) || Some(host) != text(HOST))
        });
        let site = text(HeaderName::from_static("sec-fetch-site"));
        if foreign || site.is_some_and(|site| !matches!(site, "same-origin" | "none")) {
            return Err(Problem::forbidden("a page of another origin may not change links on an open server"));
        }
        Ok(())
    }
}

/// Whether a `Host` names this machine from its own point of view.
fn is_this_machine(host: &str) -> bool {
    let Ok(url) = Url::parse(&format!("http://{host}/")) else { return false };
    is_loopback(&url)
}

/// Whether a URL's host is a loopback address or `localhost`.
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name.trim_end_matches('.') == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.to_canonical().is_loopback(),
        None => false,
    }
}

fn presented(request: &HttpRequest) -> Option<&str> {
    let headers = request.headers();
    let key = match headers.get("x-api-key") {
        Some(key) => key.to_str().ok()?,
        None => {
            let (scheme, key) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
            if !scheme.eq_ignore_ascii_case("bearer") {
                return None;
            }
            key
        }
    };
    Some(key.trim())
}

//! Who may create and change links, and who may do more than that.
//!
//! Without a key, a request is served only if it comes from a process of the server's own account on this machine, which could read the data
//! directory anyway, and no header says that it is passed on for somebody else. Backups and changes of the cluster always need a key
//! (docs/adr/0019).

use actix_web::HttpRequest;
use actix_web::http::header::{AUTHORIZATION, HOST, HeaderMap, HeaderName, ORIGIN};
use url::{Host, Url};
use waypost_protocol::digest::KeyDigest;

use super::account::{Connection, Owner};
use super::problem::{KeyNeeded, Problem};

/// What every admin key begins with, so that people and scanners recognise one.
pub const KEY_PREFIX: &str = "wp_admin_";

/// What the key in `DATA/cli.key` begins with, so that the commands can tell that it is for this machine only.
pub const CLI_KEY_PREFIX: &str = "wp_cli_";

/// The number of the admin key, for the record of who created a link.
const ADMIN: u32 = 1;

/// The number of those who need no key, and of the command line's, which only they can read.
const OWN_ACCOUNT: u32 = 0;

/// The rule that holds for this node.
pub struct Access {
    open: bool,
    command_line: Option<KeyDigest>,
    stored: Box<dyn Fn() -> Option<KeyDigest> + Send + Sync>,
}

impl Access {
    /// A request for a change has to carry the key whose digest is `stored` in the cluster, at that moment. As long as there
    /// is none, changes are `open` to the own account, or nobody can make any.
    pub fn new(open: bool, stored: impl Fn() -> Option<KeyDigest> + Send + Sync + 'static) -> Self {
        Self { open, command_line: None, stored: Box::new(stored) }
    }

    /// The key in `DATA/cli.key` is taken as well, from those who can read it.
    #[must_use]
    pub fn with_command_line(mut self, key: Option<KeyDigest>) -> Self {
        self.command_line = key;
        self
    }

    /// The number of the key that the request carries (0 = the own account), for the record of who created a link.
    ///
    /// # Errors
    /// `401` without the right key, `403` for a page of another site that tries to use an open server.
    pub(super) fn check(&self, request: &HttpRequest) -> Result<u32, Problem> {
        let stored = (self.stored)();
        match self.key_of(request, stored.as_ref()) {
            Key::Known(number) => Ok(number),
            Key::None | Key::Unknown if stored.is_none() && self.open => self.check_open(request).map(|()| OWN_ACCOUNT),
            Key::None => Err(Problem::key_needed(KeyNeeded::Missing, stored.is_some())),
            Key::Unknown => Err(Problem::key_needed(KeyNeeded::Unknown, stored.is_some())),
        }
    }

    /// The same for what always needs a key: a backup has everything in it, and a node that is removed is gone.
    ///
    /// # Errors
    /// `401` without one.
    pub(super) fn check_key(&self, request: &HttpRequest) -> Result<u32, Problem> {
        let stored = (self.stored)();
        match self.key_of(request, stored.as_ref()) {
            Key::Known(number) => Ok(number),
            Key::None => Err(Problem::key_needed(KeyNeeded::Always, stored.is_some())),
            Key::Unknown => Err(Problem::key_needed(KeyNeeded::Unknown, stored.is_some())),
        }
    }

    fn key_of(&self, request: &HttpRequest, stored: Option<&KeyDigest>) -> Key {
        let Some(key) = presented(request) else { return Key::None };
        let digest = KeyDigest::of(key);
        // Only the own account and root can read it. From anybody else it was found out, as by whoever listens where a server was expected.
        let of_a_reader =
            || !is_passed_on(request.headers()) && matches!(self.owner(request), Owner::Own | Owner::Root);
        if stored.is_some_and(|stored| digest.matches(stored)) {
            Key::Known(ADMIN)
        } else if self.command_line.as_ref().is_some_and(|key| digest.matches(key)) && of_a_reader() {
            Key::Known(OWN_ACCOUNT)
        } else {
            Key::Unknown
        }
    }

    fn check_open(&self, request: &HttpRequest) -> Result<(), Problem> {
        if is_passed_on(request.headers()) {
            return Err(Problem::key_needed(KeyNeeded::PassedOn, false));
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
        match self.owner(request) {
            Owner::Own => Ok(()),
            Owner::Other | Owner::Root => Err(Problem::key_needed(KeyNeeded::OtherAccount, false)),
            Owner::Unknown => Err(Problem::key_needed(KeyNeeded::UnknownAccount, false)),
        }
    }

    fn owner(&self, request: &HttpRequest) -> Owner {
        let connection = request.conn_data::<Connection>();
        connection.zip(request.peer_addr()).map_or(Owner::Unknown, |(connection, peer)| connection.owner(peer))
    }
}

enum Key {
    None,
    Unknown,
    Known(u32),
}

/// Whether a header says that somebody passes the request on for somebody else.
fn is_passed_on(headers: &HeaderMap) -> bool {
    headers.keys().any(|name| is_of_a_proxy(name.as_str()))
}

/// Header names by which proxies tell of whom they speak for, in lower case. By rule, since each product has names of its own.
fn is_of_a_proxy(name: &str) -> bool {
    const NAMES: &[&str] =
        &["forwarded", "via", "x-forwarded", "x-real-ip", "client-ip", "cdn-loop", "front-end-https", "x-arr-ssl"];
    const BEGINNINGS: &[&str] = &[
        "forwarded-",
        "x-forwarded-",
        "x-original-",
        "x-originating-",
        "x-envoy-",
        "x-azure-",
        "x-proxy",
        "cf-",
        "fastly-",
        "tailscale-",
        "x-remote-",
        "x-ssl-",
        "x-vercel-",
        "fly-",
    ];
    const ENDS: &[&str] = &["-client-ip", "-real-ip", "-forwarded-for"];
    NAMES.contains(&name)
        || BEGINNINGS.iter().any(|beginning| name.starts_with(beginning))
        || ENDS.iter().any(|end| name.ends_with(end))
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

/// Whether a request carries a key, right or wrong.
pub(super) fn presents_key(request: &HttpRequest) -> bool {
    request.headers().contains_key("x-api-key") || request.headers().contains_key(AUTHORIZATION)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_headers_of_proxies_are_known_by_rule() {
        for name in [
            "forwarded",
            "via",
            "x-forwarded-for",
            "x-forwarded-proto",
            "x-forwarded-port",
            "x-forwarded-server",
            "x-forwarded-anything",
            "x-real-ip",
            "x-original-url",
            "x-original-forwarded-for",
            "x-envoy-external-address",
            "x-envoy-original-path",
            "x-azure-clientip",
            "x-azure-fdid",
            "cf-connecting-ip",
            "cf-ray",
            "true-client-ip",
            "x-client-ip",
            "x-cluster-client-ip",
            "fastly-client-ip",
            "client-ip",
            "cdn-loop",
            "front-end-https",
            "forwarded-for",
            "tailscale-user-login",
            "wl-proxy-client-ip",
        ] {
            assert!(is_of_a_proxy(name), "{name}");
        }
        for name in [
            "host",
            "accept",
            "accept-language",
            "user-agent",
            "content-type",
            "content-length",
            "authorization",
            "x-api-key",
            "x-request-id",
            "traceparent",
            "idempotency-key",
            "if-match",
            "origin",
            "referer",
            "sec-fetch-site",
            "connection",
            "cookie",
            "x-forward",
            "device",
            "cfg",
        ] {
            assert!(!is_of_a_proxy(name), "{name}");
        }
    }
}

//! Where the dashboard of a node is: its path, the listeners and the host that serve it, and its addresses.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use actix_http::header::HeaderMap;
use actix_web::HttpRequest;
use url::Url;
use waypost_protocol::bare_host;
use waypost_telemetry::Metrics;

use super::evidence::is_this_machine;
use super::forwarded::visited_host;
use super::origin::reachable;
use super::sign_ins::SignInAttempts;
use super::visitor::limited_client;
use crate::app::SessionToken;
use crate::config::{DashboardConfig, DashboardListener, VisitorRules};

/// One of the two listeners of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Listener {
    Public,
    Admin,
}

/// The addresses of a node.
#[derive(Debug, Clone)]
pub struct NodeAddresses {
    /// Of the public listener.
    pub public: SocketAddr,
    /// Of the admin listener.
    pub admin: SocketAddr,
    /// `[http] public_url`.
    pub public_url: Option<Url>,
}

/// The dashboard of a node.
pub struct Dashboard {
    config: DashboardConfig,
    addresses: NodeAddresses,
    visitors: VisitorRules,
    pub(super) attempts: SignInAttempts,
}

impl Dashboard {
    /// A dashboard as it is configured. `visitors` says whose headers about clients are believed.
    pub fn new(config: DashboardConfig, addresses: NodeAddresses, visitors: VisitorRules, metrics: &Metrics) -> Self {
        Self { config, addresses, visitors, attempts: SignInAttempts::new(metrics) }
    }

    /// Its path, without a slash at its end.
    pub(super) fn path(&self) -> &str {
        &self.config.path
    }

    /// How long a session lasts at most.
    pub(super) fn session_max(&self) -> Duration {
        self.config.session_max
    }

    /// Whether a listener serves it.
    pub(super) fn is_on(&self, listener: Listener) -> bool {
        matches!(
            (self.config.listener, listener),
            (DashboardListener::Both, _)
                | (DashboardListener::Public, Listener::Public)
                | (DashboardListener::Admin, Listener::Admin)
        )
    }

    /// Whether a listener serves it to a request with these headers from `peer`.
    pub(super) fn serves(&self, listener: Listener, headers: &HeaderMap, peer: Option<SocketAddr>) -> bool {
        let Some(host) = self.config.host.as_ref().filter(|_| listener == Listener::Public) else { return true };
        let peer = peer.map(|peer| peer.ip());
        let visited = visited_host(headers, &self.visitors.trusted_proxies, peer);
        let visited = visited.as_deref().unwrap_or_default();
        let is_here = || peer.is_some_and(|peer| peer.to_canonical().is_loopback()) && is_this_machine(visited);
        bare_host(visited).eq_ignore_ascii_case(host.as_str()) || is_here()
    }

    /// The client whose budget of wrong keys a request uses; `None` if it has none of its own.
    pub(super) fn client(&self, request: &HttpRequest) -> Option<IpAddr> {
        limited_client(&self.visitors, request.headers(), request.peer_addr())
    }

    /// Its address for browsers on this machine, without a slash at its end; `None` if no listener that serves it is on a loopback address.
    pub fn local_url(&self) -> Option<String> {
        let NodeAddresses { public, admin, .. } = self.addresses;
        let on_loopback = |address: &SocketAddr| {
            let ip = address.ip().to_canonical();
            ip.is_loopback() || ip.is_unspecified()
        };
        let public = Some(public).filter(|address| self.is_on(Listener::Public) && on_loopback(address));
        let admin = Some(admin).filter(|address| self.is_on(Listener::Admin) && on_loopback(address));
        public.or(admin).map(|address| format!("{}{}", reachable(address), self.path()))
    }

    /// Its address for everybody, without a slash at its end, as far as this node knows it.
    pub fn url(&self) -> String {
        let NodeAddresses { public, admin, public_url } = &self.addresses;
        if !self.is_on(Listener::Public) {
            return format!("{}{}", reachable(*admin), self.path());
        }
        match (public_url, &self.config.host) {
            (Some(url), host) => {
                let mut url = url.clone();
                if let Some(host) = host {
                    // A name that was normalised by the same parser.
                    url.set_host(Some(host.as_str())).expect("invariant: the host of a dashboard is the host of a URL");
                }
                format!("{}{}", url.as_str().trim_end_matches('/'), self.path())
            }
            (None, Some(host)) => format!("http://{host}:{}{}", public.port(), self.path()),
            (None, None) => format!("{}{}", reachable(*public), self.path()),
        }
    }

    /// The address of a page on the admin listener, if the dashboard is there.
    pub(super) fn admin_page(&self, path: &str) -> Option<String> {
        let admin = Some(self.addresses.admin).filter(|_| self.is_on(Listener::Admin));
        admin.map(|admin| format!("{}{}{path}", reachable(admin), self.path()))
    }

    /// The address of a one-time link.
    pub(super) fn one_time_url(base: &str, secret: &SessionToken) -> String {
        format!("{base}/sign-in/{}", secret.reveal())
    }

    /// What a node that starts says of it. `make` makes a one-time link, which only a person in front of a terminal is shown: elsewhere, what is
    /// printed is kept for others.
    pub fn announcement(&self, is_terminal: bool, make: impl FnOnce() -> SessionToken) -> String {
        match self.local_url().filter(|_| is_terminal) {
            Some(base) => Self::one_time_url(&base, &make()),
            None => format!("{}/", self.url()),
        }
    }

    /// Charges a client for a key, before it is compared. `false`: there were too many wrong ones.
    pub(super) fn may_try(&self, request: &HttpRequest) -> bool {
        self.attempts.take(self.client(request), Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use actix_http::header::{HOST, HeaderName, HeaderValue};
    use waypost_protocol::domain::HostName;

    use super::*;

    fn dashboard(listener: DashboardListener, host: &str, public: &str, admin: &str, url: &str) -> Dashboard {
        let config = DashboardConfig {
            path: "/ui".to_owned(),
            listener,
            host: HostName::parse(host).ok(),
            session_idle: Duration::from_secs(60),
            session_max: Duration::from_secs(60),
        };
        let addresses = NodeAddresses {
            public: public.parse().unwrap(),
            admin: admin.parse().unwrap(),
            public_url: Url::parse(url).ok(),
        };
        let visitors = VisitorRules { trusted_proxies: vec!["10.0.0.0/8".parse().unwrap()], ..VisitorRules::default() };
        Dashboard::new(config, addresses, visitors, &Metrics::new())
    }

    use DashboardListener::{Admin, Both, Public};

    #[test]
    fn the_address_on_this_machine_is_that_of_a_listener_that_serves_it_there() {
        for (listener, public, admin, expected) in [
            (Both, "127.0.0.1:8080", "127.0.0.1:9090", Some("http://127.0.0.1:8080/ui")),
            (Both, "0.0.0.0:80", "127.0.0.1:9090", Some("http://127.0.0.1:80/ui")),
            (Both, "[::]:80", "127.0.0.1:9090", Some("http://[::1]:80/ui")),
            (Both, "192.0.2.1:80", "127.0.0.1:9090", Some("http://127.0.0.1:9090/ui")),
            (Public, "192.0.2.1:80", "127.0.0.1:9090", None),
            (Admin, "127.0.0.1:8080", "127.0.0.1:9090", Some("http://127.0.0.1:9090/ui")),
            (Admin, "127.0.0.1:8080", "192.0.2.1:9090", None),
        ] {
            let found = dashboard(listener, "", public, admin, "").local_url();
            assert_eq!(found.as_deref(), expected, "{listener:?} {public} {admin}");
        }
    }

    #[test]
    fn a_node_that_starts_shows_a_secret_to_a_terminal_only_and_makes_none_otherwise() {
        let secret = SessionToken::parse(&"a".repeat(64)).unwrap();
        let told = |listener, host: &str, public: &str, url: &str, is_terminal| {
            let dashboard = dashboard(listener, host, public, "127.0.0.1:9090", url);
            dashboard.announcement(is_terminal, || {
                assert!(is_terminal, "a link was made for nobody");
                secret.clone()
            })
        };
        let link = |base: &str| format!("{base}/sign-in/{}", "a".repeat(64));
        for (listener, host, public, url, at_terminal, elsewhere) in [
            (Both, "", "127.0.0.1:8080", "", link("http://127.0.0.1:8080/ui"), "http://127.0.0.1:8080/ui/"),
            (Admin, "", "127.0.0.1:8080", "", link("http://127.0.0.1:9090/ui"), "http://127.0.0.1:9090/ui/"),
            (Both, "", "0.0.0.0:80", "https://go.example/", link("http://127.0.0.1:80/ui"), "https://go.example/ui/"),
            (
                Both,
                "dash.example",
                "0.0.0.0:80",
                "https://go.example/",
                link("http://127.0.0.1:80/ui"),
                "https://dash.example/ui/",
            ),
            (Both, "dash.example", "0.0.0.0:81", "", link("http://127.0.0.1:81/ui"), "http://dash.example:81/ui/"),
            (Public, "", "192.0.2.1:80", "", "http://192.0.2.1:80/ui/".to_owned(), "http://192.0.2.1:80/ui/"),
        ] {
            assert_eq!(told(listener, host, public, url, true), at_terminal);
            assert_eq!(told(listener, host, public, url, false), elsewhere);
        }
    }

    #[test]
    fn a_host_binds_the_public_listener_and_leaves_this_machine_its_loopback_addresses() {
        let dashboard = dashboard(Both, "dash.example", "0.0.0.0:80", "0.0.0.0:90", "");
        let serves = |listener, peer: &str, host: &str, forwarded: Option<&str>| {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, HeaderValue::from_str(host).unwrap());
            if let Some(forwarded) = forwarded {
                let name = HeaderName::from_static("x-forwarded-host");
                headers.insert(name, HeaderValue::from_str(forwarded).unwrap());
            }
            dashboard.serves(listener, &headers, Some(format!("{peer}:1").parse().unwrap()))
        };
        for (peer, host, forwarded, expected) in [
            ("192.0.2.7", "dash.example", None, true),
            ("192.0.2.7", "DASH.example.:80", None, true),
            ("192.0.2.7", "go.example", None, false),
            ("192.0.2.7", "127.0.0.1", None, false),
            ("192.0.2.7", "inner", Some("dash.example"), false),
            ("10.0.0.1", "inner", Some("dash.example"), true),
            ("10.0.0.1", "dash.example", Some("go.example"), false),
            ("127.0.0.1", "127.0.0.1:80", None, true),
            ("127.0.0.1", "localhost:80", None, true),
            ("127.0.0.1", "go.example", None, false),
        ] {
            assert_eq!(serves(Listener::Public, peer, host, forwarded), expected, "{peer} {host} {forwarded:?}");
            assert!(serves(Listener::Admin, peer, host, forwarded));
        }
    }
}

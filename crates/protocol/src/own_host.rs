//! The addresses of this server, which no link may lead to.

use std::fmt;
use std::sync::Arc;

use url::{Host, Url};

/// A host and port under which this server is reached.
#[derive(Debug, Clone)]
pub enum OwnHost {
    /// A name or an address.
    Named {
        /// The host, in its normal form.
        host: String,
        /// The port.
        port: Option<u16>,
    },
    /// All names and addresses of the loopback interface.
    Loopback {
        /// The port.
        port: u16,
    },
    /// Many names.
    OneOf {
        /// The hosts.
        hosts: Hosts,
        /// The port.
        port: Option<u16>,
    },
}

/// Names that are looked up, because there may be many.
#[derive(Clone)]
pub struct Hosts(Arc<dyn Fn(&str) -> bool + Send + Sync>);

impl Hosts {
    /// The names for which `contains` holds. It is asked in lower case, and perhaps with the dot that may end a name.
    pub fn new(contains: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(contains))
    }
}

impl fmt::Debug for Hosts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hosts").finish_non_exhaustive()
    }
}

impl OwnHost {
    /// The host and port of a URL; `None` if it has no host.
    pub fn of_url(url: &Url) -> Option<Self> {
        Some(Self::Named { host: bare(url.host()?), port: url.port_or_known_default() })
    }

    /// Whether a URL leads there.
    pub fn is(&self, url: &Url) -> bool {
        let port = url.port_or_known_default();
        match self {
            // The default ports count as the server's own on any of its ports: a proxy may listen there for it.
            Self::Named { host, port: own } => {
                url.host().map(bare).as_deref() == Some(host) && (port == *own || matches!(port, Some(80 | 443)))
            }
            Self::OneOf { hosts, port: own } => {
                let Some(Host::Domain(name)) = url.host() else { return false };
                (hosts.0)(name) && (port == *own || matches!(port, Some(80 | 443)))
            }
            Self::Loopback { port: own } => {
                let here = match url.host() {
                    Some(Host::Domain(name)) => {
                        let name = name.trim_end_matches('.');
                        name == "localhost" || name.ends_with(".localhost")
                    }
                    Some(Host::Ipv4(address)) => address.is_loopback() || address.is_unspecified(),
                    Some(Host::Ipv6(address)) => {
                        let address = address.to_canonical();
                        address.is_loopback() || address.is_unspecified()
                    }
                    None => false,
                };
                here && port == Some(*own)
            }
        }
    }
}

/// A host without the dot that may end it.
fn bare(host: Host<&str>) -> String {
    match host {
        Host::Domain(domain) => domain.trim_end_matches('.').to_owned(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is(own: &OwnHost, url: &str) -> bool {
        own.is(&Url::parse(url).unwrap())
    }

    #[test]
    fn a_name_is_the_servers_own_on_its_port_and_on_the_default_ports() {
        let own = OwnHost::of_url(&Url::parse("http://s.example:8080/").unwrap()).unwrap();
        for url in ["http://s.example:8080/x", "http://S.Example.:8080", "http://s.example", "https://s.example/"] {
            assert!(is(&own, url), "{url}");
        }
        for url in ["http://s.example:8081", "http://a.s.example:8080", "http://t.example:8080", "data:text/html,x"] {
            assert!(!is(&own, url), "{url}");
        }
        assert!(OwnHost::of_url(&Url::parse("data:text/html,x").unwrap()).is_none());
    }

    #[test]
    fn many_names_are_looked_up_in_lower_case() {
        let hosts = Hosts::new(|name| matches!(name, "a.example" | "b.example" | "b.example."));
        let own = OwnHost::OneOf { hosts, port: Some(8080) };
        for url in ["http://a.example:8080", "http://A.EXAMPLE", "https://b.example", "http://b.example.:8080/x"] {
            assert!(is(&own, url), "{url}");
        }
        for url in ["http://a.example:8081", "http://c.example:8080", "http://c.example", "http://127.0.0.1:8080"] {
            assert!(!is(&own, url), "{url}");
        }
        assert!(format!("{own:?}").contains("Hosts"));
    }

    #[test]
    fn the_loopback_interface_has_many_names_and_addresses() {
        let own = OwnHost::Loopback { port: 8080 };
        for host in ["localhost", "LOCALHOST.", "a.localhost", "127.0.0.1", "127.9.9.9", "0.0.0.0", "2130706433"] {
            assert!(is(&own, &format!("http://{host}:8080/")), "{host}");
        }
        for host in ["[::1]", "[::]", "[::ffff:127.0.0.1]"] {
            assert!(is(&own, &format!("https://{host}:8080/")), "{host}");
        }
        for url in [
            "http://localhost",
            "http://localhost:8081",
            "http://mylocalhost:8080",
            "http://localhost.example:8080",
            "http://128.0.0.1:8080",
            "http://[2001:db8::1]:8080",
            "data:text/html,x",
        ] {
            assert!(!is(&own, url), "{url}");
        }
    }
}

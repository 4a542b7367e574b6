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
    pub(crate) fn is(&self, url: &Url) -> bool {
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

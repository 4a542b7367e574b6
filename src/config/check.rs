//! Checks of single values, with messages that say what to write instead.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use url::Url;
use waypost_transport::TlsFiles;

use super::address::{PeerAddress, parse_listen};
use super::explain::suggest;
use super::origin::Origins;
use super::service::ServiceName;
use super::valid::NodeConfig;
use super::{ConfigError, raw};
use crate::limits::Range;

/// Whether two listeners would share an address: a wildcard address includes the others.
fn overlap(one: IpAddr, other: IpAddr) -> bool {
    // An IPv6 socket for all addresses takes IPv4, too.
    let all = |all: IpAddr, other: IpAddr| all.is_unspecified() && (all.is_ipv6() || other.is_ipv4());
    one == other || all(one, other) || all(other, one)
}

pub(super) struct Checker<'a> {
    pub(super) origins: &'a Origins<'a>,
}

impl Checker<'_> {
    pub(super) fn invalid(&self, key: &str, message: impl Into<String>) -> ConfigError {
        ConfigError::Invalid { place: self.origins.place(key), message: format!("{key}: {}", message.into()) }
    }

    pub(super) fn range(&self, key: &str, value: impl Into<u64>, possible: &Range) -> Result<u64, ConfigError> {
        let (value, min, max) = (value.into(), possible.start(), possible.end());
        if possible.contains(&value) {
            return Ok(value);
        }
        Err(self.invalid(key, format!("{value} is out of range; use {min} to {max}")))
    }

    /// A number of things.
    pub(super) fn count(&self, key: &str, value: impl Into<u64>, possible: &Range) -> Result<usize, ConfigError> {
        self.range(key, value, possible).map(|count| count as usize)
    }

    pub(super) fn millis(&self, key: &str, value: u32, possible: &Range) -> Result<Duration, ConfigError> {
        self.range(key, value, possible).map(Duration::from_millis)
    }

    pub(super) fn seconds(&self, key: &str, value: u32, possible: &Range) -> Result<Duration, ConfigError> {
        self.range(key, value, possible).map(Duration::from_secs)
    }

    pub(super) fn address(&self, key: &str, text: &str, port: u16) -> Result<SocketAddr, ConfigError> {
        parse_listen(text, port).map_err(|why| self.invalid(key, why))
    }

    /// Refuses a node that would listen twice at one address. `key` is the source of the addresses.
    pub(super) fn addresses_differ(&self, node: &NodeConfig, key: &str) -> Result<(), ConfigError> {
        let addresses = [node.http, node.admin, node.peer_listen];
        for (i, one) in addresses.iter().enumerate() {
            // Port 0 asks the system for any free port.
            let collides =
                |other: &&SocketAddr| one.port() != 0 && one.port() == other.port() && overlap(one.ip(), other.ip());
            match addresses[i + 1..].iter().find(collides) {
                Some(other) if other == one => return Err(self.invalid(key, format!("{one} is used twice"))),
                Some(other) => {
                    return Err(self.invalid(key, format!("{one} and {other} are the same port of the same address")));
                }
                None => {}
            }
        }
        Ok(())
    }

    /// Checks the log level.
    pub(super) fn log_level(&self, text: &str) -> Result<String, ConfigError> {
        waypost_telemetry::check_level(text).map_err(|error| self.invalid("[log] level", error.to_string()))?;
        Ok(text.to_owned())
    }

    pub(super) fn networks(&self, key: &str, text: &str) -> Result<Vec<IpNet>, ConfigError> {
        let network = |part: &str| {
            let single = || part.parse::<std::net::IpAddr>().map(IpNet::from);
            part.parse().or_else(|_| single()).map_err(|_| {
                self.invalid(key, format!("\"{part}\" is not a network; write networks like 10.0.0.0/8, 2001:db8::/32"))
            })
        };
        text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(network).collect()
    }

    pub(super) fn node(&self, raw: &raw::Node) -> Result<NodeConfig, ConfigError> {
        let key = |name: &str| format!("[[node]] {name} of \"{}\"", raw.name);
        let plain = |text: &str| {
            !text.is_empty()
                && text.len() <= 63
                && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
        };
        for (name, text) in [("name", &raw.name), ("zone", &raw.zone)] {
            if !plain(text) {
                return Err(self.invalid(&key(name), "use 1 to 63 letters, digits, \"-\", \"_\" and \".\""));
            }
        }
        if raw.data_dir.is_empty() {
            return Err(self.invalid(&key("data_dir"), "it is empty; set it to a directory"));
        }
        let names: Vec<&str> = ServiceName::ALL.iter().map(|name| name.as_str()).collect();
        let services = raw
            .services
            .iter()
            .map(|service| {
                ServiceName::ALL.into_iter().find(|name| name.as_str() == service).ok_or_else(|| {
                    self.invalid(
                        &key("services"),
                        format!("unknown service \"{service}\"; {}", suggest(service, &names)),
                    )
                })
            })
            .collect::<Result<BTreeSet<_>, _>>()?;
        if services.is_empty() {
            return Err(self.invalid(&key("services"), format!("name at least one of {}", names.join(", "))));
        }
        let peer = PeerAddress::parse(&raw.peer).ok_or_else(|| {
            let text = &raw.peer;
            let right = "127.0.0.1:7400, [::1]:7400 or links-1.example:7400";
            self.invalid(&key("peer"), format!("\"{text}\" is not an address; write one like {right}"))
        })?;
        let node = NodeConfig {
            name: raw.name.clone(),
            http: self.address(&key("http"), &raw.http, 8080)?,
            admin: self.address(&key("admin"), &raw.admin, 9090)?,
            peer_listen: match raw.peer_listen.as_str() {
                "" => peer.listen(),
                address => self.address(&key("peer_listen"), address, 7400)?,
            },
            peer,
            data_dir: PathBuf::from(&raw.data_dir),
            zone: raw.zone.clone(),
            services,
        };
        self.addresses_differ(&node, &key("http, admin, peer"))?;
        Ok(node)
    }
}

pub(super) fn select(
    nodes: &[NodeConfig],
    wanted: Option<&str>,
    check: &Checker<'_>,
) -> Result<NodeConfig, ConfigError> {
    let names: Vec<&str> = nodes.iter().map(|node| node.name.as_str()).collect();
    match (wanted, nodes) {
        (Some(name), _) => nodes.iter().find(|node| node.name == name).cloned().ok_or_else(|| {
            check.invalid("--node (WAYPOST_NODE)", format!("there is no node \"{name}\"; {}", suggest(name, &names)))
        }),
        (None, [only]) => Ok(only.clone()),
        (None, _) => Err(check.invalid(
            "--node (WAYPOST_NODE)",
            format!("the file lists several nodes; select one of {}", names.join(", ")),
        )),
    }
}

pub(super) fn public_url(text: &str, check: &Checker<'_>) -> Result<Option<Url>, ConfigError> {
    if text.is_empty() {
        return Ok(None);
    }
    let invalid = || {
        check.invalid(
            "[http] public_url",
            format!("\"{text}\" is not a public URL; write one like \"https://go.example\", without a path"),
        )
    };
    let url = Url::parse(text).map_err(|_| invalid())?;
    let plain = matches!(url.scheme(), "http" | "https")
        && url.path() == "/"
        && url.query().is_none()
        && url.fragment().is_none()
        && url.username().is_empty()
        && url.password().is_none()
        && url.has_host()
        && url.domain().is_none_or(|name| !name.trim_end_matches('.').split('.').any(str::is_empty));
    if plain { Ok(Some(url)) } else { Err(invalid()) }
}

/// The endpoint for traces: a collector that speaks plain HTTP, because it runs beside the node.
pub(super) fn trace_endpoint(text: &str, check: &Checker<'_>) -> Result<Option<String>, ConfigError> {
    if text.is_empty() {
        return Ok(None);
    }
    let usable = |url: &Url| {
        url.scheme() == "http"
            && url.has_host()
            && url.query().is_none()
            && url.fragment().is_none()
            && url.username().is_empty()
            && url.password().is_none()
    };
    match Url::parse(text).ok().filter(usable) {
        Some(url) => Ok(Some(url.as_str().trim_end_matches('/').to_owned())),
        None => Err(check.invalid(
            "[traces] endpoint",
            format!(
                "\"{text}\" is not an endpoint; write one like \"http://127.0.0.1:4318\". It is plain HTTP: for a collector elsewhere, run one \
                 beside the node that passes traces on"
            ),
        )),
    }
}

/// The certificates of the peer port: all three files, or none.
pub(super) fn tls(raw: &raw::Peer, check: &Checker<'_>) -> Result<Option<TlsFiles>, ConfigError> {
    match [&raw.tls_ca, &raw.tls_cert, &raw.tls_key].map(|file| !file.is_empty()) {
        [false, false, false] => Ok(None),
        [true, true, true] => Ok(Some(TlsFiles {
            ca: PathBuf::from(&raw.tls_ca),
            cert: PathBuf::from(&raw.tls_cert),
            key: PathBuf::from(&raw.tls_key),
        })),
        _ => Err(check.invalid("[peer] tls_ca, tls_cert, tls_key", "name all three files, or none")),
    }
}

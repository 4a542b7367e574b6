//! The default node of a command: the one that `serve` would run with the same variables.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use url::Url;

use super::client::Failed;
use super::{exit, variables};
use crate::config::{self, NodeConfig, Overrides};

/// One of the two listeners of a node.
struct Listener {
    option: &'static str,
    variable: &'static str,
    /// Its port in the shipped defaults.
    port: u16,
    of: fn(&NodeConfig) -> SocketAddr,
}

const PUBLIC: Listener = Listener { option: "--server", variable: "WAYPOST_LISTEN", port: 8080, of: |node| node.http };

const ADMIN: Listener =
    Listener { option: "--admin", variable: "WAYPOST_ADMIN_LISTEN", port: 9090, of: |node| node.admin };

/// The URL of the public listener, without a slash at its end.
pub(super) fn public(given: Option<&str>) -> Result<String, Failed> {
    url(given, &PUBLIC)
}

/// The URL of the admin listener.
pub(super) fn admin(given: Option<&str>) -> Result<String, Failed> {
    url(given, &ADMIN)
}

/// The data directory of the node that WAYPOST_CONFIG and WAYPOST_NODE select.
pub(super) fn data_dir() -> Option<PathBuf> {
    let variables = variables::all().ok()?;
    let (file, node) = (variables.get("WAYPOST_CONFIG")?, variables.get("WAYPOST_NODE").cloned());
    let overrides = Overrides { file: Some(file.into()), node, ..Overrides::default() };
    let nodes = config::nodes(&overrides, &variables::of_keys().ok()?).ok()?;
    let first = nodes.first()?.data_dir.clone();
    nodes.iter().all(|node| node.data_dir == first).then_some(first)
}

/// An address that was given: a URL, or the address of a listener on this machine as `serve` takes it.
fn given_url(given: &str, listener: &Listener) -> Result<String, Failed> {
    let given = given.trim().trim_end_matches('/');
    let of_this_machine = || config::parse_listen(given, listener.port).ok().map(reached);
    let local = of_this_machine().filter(|address| address.ip().is_loopback());
    let url = local.map_or_else(|| given.to_owned(), |address| format!("http://{address}"));
    let usable = |url: &Url| matches!(url.scheme(), "http" | "https") && url.has_host();
    match Url::parse(&url).is_ok_and(|url| usable(&url)) {
        true => Ok(url),
        false => Err(Failed::new(
            exit::USAGE,
            format!("{} {given}: write it as http://host:port, or https://host", listener.option),
        )),
    }
}

fn url(given: Option<&str>, listener: &Listener) -> Result<String, Failed> {
    let usage = |message: String| Failed::new(exit::USAGE, message);
    // A mistyped name would lead the command to another node than the one that is meant, or leave it without a key.
    let variables = variables::all_known().map_err(|error| usage(error.to_string()))?;
    if let Some(given) = given {
        return given_url(given, listener);
    }
    let address = match (variables.get(listener.variable), variables.get("WAYPOST_CONFIG")) {
        (Some(text), _) => {
            config::parse_listen(text, listener.port).map_err(|why| usage(format!("{}: {why}", listener.variable)))?
        }
        (None, Some(file)) => {
            let node = variables.get("WAYPOST_NODE").cloned();
            let overrides = Overrides { file: Some(file.into()), node, ..Overrides::default() };
            let nodes = config::nodes(&overrides, &variables::of_keys().map_err(|error| usage(error.to_string()))?)
                .map_err(|error| usage(error.to_string()))?;
            one_of(&nodes, listener).map_err(|names| {
                let option = listener.option;
                usage(format!("{file} (WAYPOST_CONFIG) lists several nodes; say which with WAYPOST_NODE ({names}), or give {option}"))
            })?
        }
        (None, None) => SocketAddr::from((Ipv4Addr::LOCALHOST, listener.port)),
    };
    if address.port() == 0 {
        let option = listener.option;
        return Err(usage(format!(
            "the port of {address} is known to the running node only; give {option} http://HOST:PORT"
        )));
    }
    Ok(format!("http://{}", reached(address)))
}

/// The address at which all nodes listen. The entries of nodes in containers are often alike, and only one of them is here.
fn one_of(nodes: &[NodeConfig], listener: &Listener) -> Result<SocketAddr, String> {
    match nodes {
        [] => Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, listener.port))),
        [first, others @ ..] => {
            let address = (listener.of)(first);
            match others.iter().all(|node| (listener.of)(node) == address) {
                true => Ok(address),
                false => Err(nodes.iter().map(|node| node.name.as_str()).collect::<Vec<_>>().join(", ")),
            }
        }
    }
}

/// A wildcard address is reached over loopback.
fn reached(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

//! The ports of a node: bound before anything else, and announced when the node is ready.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener};

use super::error::NodeError;
use crate::config::Config;

/// The bound ports for HTTP.
pub(super) struct Listeners {
    pub(super) public: TcpListener,
    pub(super) admin: TcpListener,
    pub(super) addresses: Addresses,
}

/// The addresses of the node, with the ports that the system chose.
#[derive(Debug, Clone, Copy)]
pub(super) struct Addresses {
    pub(super) public: SocketAddr,
    pub(super) admin: SocketAddr,
}

impl Listeners {
    /// Binds both ports of the configuration.
    ///
    /// # Errors
    /// [`NodeError::Listen`] with advice.
    pub(super) fn bind(config: &Config) -> Result<Self, NodeError> {
        let public = bind(config.node.http, "[[node]] http, or --listen")?;
        let admin = bind(config.node.admin, "[[node]] admin, or --admin-listen")?;
        let addresses = Addresses { public: public.local_addr()?, admin: admin.local_addr()? };
        Ok(Self { public, admin, addresses })
    }
}

impl Addresses {
    /// Whether only processes of this machine can reach the node.
    pub(super) fn are_local(&self, config: &Config) -> bool {
        // With a public URL elsewhere, a proxy forwards requests to the listener on loopback.
        self.public.ip().to_canonical().is_loopback()
            && self.admin.ip().to_canonical().is_loopback()
            && config.public_url.as_ref().is_none_or(crate::http::is_loopback)
    }

    /// Prints the line that scripts wait for and read the ports from, with addresses that can be opened on this machine. It does not matter if nobody reads it.
    pub(super) fn announce(&self) {
        let [public, admin] = [self.public, self.admin].map(crate::http::reachable);
        crate::say!("waypost is ready: {public} (admin {admin})");
    }
}

/// Binds a port. `key` is the source of the address.
///
/// # Errors
/// [`NodeError::Listen`] with advice.
pub(super) fn bind(address: SocketAddr, key: &'static str) -> Result<TcpListener, NodeError> {
    TcpListener::bind(address).map_err(|error| NodeError::Listen { address, key, reason: why_not(&error) })
}

/// Why the node cannot listen on a port, and what to do.
fn why_not(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::AddrInUse => "another process listens there; stop it, or give another address".to_owned(),
        ErrorKind::AddrNotAvailable => "this machine has no such address".to_owned(),
        ErrorKind::PermissionDenied => format!(
            "{} may not; a port below 1024 needs root or the capability CAP_NET_BIND_SERVICE",
            crate::account::Account::own()
        ),
        _ => error.to_string(),
    }
}

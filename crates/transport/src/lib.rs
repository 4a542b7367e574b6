//! Requests between nodes over TCP.
//!
//! ```text
//! caller ─► Transport ─► Link (one for each peer and lane) ─► writer ─► TCP ─► session ─► PeerService
//!                          └ reconnects, with growing pauses       ◄─ reader ◄─┘
//! ```
//!
//! A link has one task that writes everything that is queued and then flushes once, and one task that reads answers. Answers find
//! their request by number. Queues are bounded; a full queue refuses at once.

mod closed;
mod dial;
mod frame;
mod greeting;
mod handshake;
mod limits;
mod link;
mod metrics;
mod names;
mod secret;
mod session;
mod tls;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use waypost_protocol::peer::{BoxFuture, Lane, PeerError, Peers};
use waypost_protocol::peer_request::{PeerRequest, read_reply};
use waypost_protocol::{Kind, NodeId};
use waypost_tasks::Tasks;
use waypost_telemetry::Metrics;

pub use dial::{Dial, MemoryNet, Stream, TcpDial};
pub use frame::{Frame, FrameError, PROTOCOL_VERSIONS};
pub use handshake::Identity;
pub use limits::{FRAME_BYTES_MAX, SessionLimits};
pub use secret::Secret;
pub use session::{listen, serve_stream};
pub use tls::{TlsClient, TlsError, TlsFiles, TlsServer, install_tls};

use link::Link;
use metrics::TransportMetrics;
use names::Names;

/// The connections from this node to all others. Cheap to clone.
#[derive(Clone)]
pub struct Transport {
    inner: Arc<Inner>,
}

struct Inner {
    identity: Identity,
    dial: Arc<dyn Dial>,
    addresses: RwLock<HashMap<NodeId, String>>,
    names: Names,
    links: Mutex<HashMap<(NodeId, Lane), Link>>,
    metrics: TransportMetrics,
    tasks: Tasks,
}

impl Transport {
    /// A transport that knows no other node yet. Links run on `runtime`.
    pub fn new(identity: Identity, dial: Arc<dyn Dial>, metrics: &Metrics, runtime: tokio::runtime::Handle) -> Self {
        let inner = Inner {
            identity,
            dial,
            addresses: RwLock::default(),
            names: Names::default(),
            links: Mutex::default(),
            metrics: TransportMetrics::new(metrics),
            tasks: Tasks::new(metrics).on(&runtime),
        };
        Self { inner: Arc::new(inner) }
    }

    /// The identity of this node.
    pub fn identity(&self) -> &Identity {
        &self.inner.identity
    }

    /// Sets the address of a node, as `host:port`. A link to another address is closed.
    pub fn set_address(&self, node: NodeId, address: &str) {
        if self.inner.addresses.read().get(&node).is_some_and(|known| known == address) {
            return;
        }
        let old = self.inner.addresses.write().insert(node, address.to_owned());
        if old.is_some() {
            self.inner.links.lock().retain(|(to, _), _| *to != node);
        }
    }

    /// Sets the name of a node in messages.
    pub fn set_name(&self, node: NodeId, name: &str) {
        self.inner.names.set(node, name);
    }

    /// Removes a node that has left.
    pub fn forget(&self, node: NodeId) {
        self.inner.addresses.write().remove(&node);
        self.inner.names.forget(node);
        self.inner.links.lock().retain(|(to, _), _| *to != node);
    }

    /// Sends one request to the node at an address, whatever its id, on a connection of its own. Used to find a cluster.
    ///
    /// # Errors
    /// [`PeerError`]; a refused handshake is `Refused` with the reason.
    pub async fn ask<R: PeerRequest>(
        &self,
        address: &str,
        request: &R,
        within: Duration,
    ) -> Result<R::Reply, PeerError> {
        let asking =
            link::ask_once(&self.inner.identity, &*self.inner.dial, address, R::KIND, request.encode(), within);
        let answer = tokio::time::timeout(within, asking).await.unwrap_or(Err(PeerError::Timeout))?;
        read_reply::<R>(&answer)
    }

    fn link(&self, to: NodeId, lane: Lane) -> Result<Link, PeerError> {
        let mut links = self.inner.links.lock();
        if let Some(link) = links.get(&(to, lane)) {
            return Ok(link.clone());
        }
        let address = self.inner.addresses.read().get(&to).cloned();
        let address = address.ok_or_else(|| PeerError::Unreachable("its address is not known".to_owned()))?;
        let inner = &self.inner;
        let peer = link::Peer { node: to, address, names: inner.names.clone() };
        let link = Link::start(inner.identity.clone(), inner.dial.clone(), peer, lane, &inner.metrics, &inner.tasks);
        links.insert((to, lane), link.clone());
        Ok(link)
    }
}

impl Peers for Transport {
    fn call(
        &self,
        to: NodeId,
        lane: Lane,
        kind: Kind,
        scope: u32,
        body: Vec<u8>,
        within: Duration,
    ) -> BoxFuture<'_, Result<Vec<u8>, PeerError>> {
        Box::pin(async move { self.link(to, lane)?.call(kind, scope, body, within).await })
    }
}

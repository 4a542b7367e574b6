//! The handshake: both sides say who they are and prove that they know the cluster's secret.
//!
//! ```text
//! dialer  ─ Hello(version, cluster, id, name, whom it wants, nonce) ─►  listener
//!         ◄─ Welcome(cluster, id, name, nonce, proof) or Refused(why) ─
//!         ─ Proof ─►
//!         ◄─ Ready or Refused(why) ─
//! ```
//!
//! A proof is blake3, keyed with the secret, over the side's name, the Hello and the Welcome, so it fits no other handshake.
//! The secret itself is never sent. Without TLS, what follows the handshake is not protected.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use parking_lot::RwLock;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;
use tokio_util::codec::{Framed, LengthDelimitedCodec};
use waypost_protocol::NodeId;
use waypost_protocol::peer::Sender;

use crate::dial::Stream;
use crate::frame::{PROTOCOL_VERSION, codec};

/// The longest message of a handshake.
const MESSAGE_BYTES_MAX: usize = 1024;

const MAGIC: [u8; 8] = *b"waypost\0";

/// The secret that all nodes of a cluster share.
#[derive(Clone)]
pub struct Secret([u8; 32]);

impl Secret {
    /// The secret made of a text. The empty text is no secret: it protects against mistakes only.
    pub fn new(text: &str) -> Self {
        Self(blake3::derive_key("waypost 2026-11 secret of the peers", text.as_bytes()))
    }
}

/// Who a node says it is.
#[derive(Clone)]
pub struct Identity {
    /// Its id.
    pub node: NodeId,
    /// Its name in `cluster.toml`.
    pub name: String,
    /// The secret of its cluster.
    pub secret: Secret,
    /// The cluster that it belongs to; `None` until it does.
    pub cluster: Arc<RwLock<Option<[u8; 16]>>>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Hello {
    magic: [u8; 8],
    version: u8,
    cluster: Option<[u8; 16]>,
    node: u64,
    name: String,
    wanted: Option<u64>,
    nonce: [u8; 32],
}

#[derive(Debug, Serialize, Deserialize)]
enum Reply {
    Welcome { cluster: Option<[u8; 16]>, node: u64, name: String, nonce: [u8; 32], proof: [u8; 32] },
    Refused(String),
    Ready,
}

/// Why a handshake failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HandshakeError {
    #[error("the connection broke: {0}")]
    Io(#[from] std::io::Error),
    #[error("the connection was closed during the handshake")]
    Closed,
    #[error("{0}")]
    Refused(String),
}

type Wire = Framed<Box<dyn Stream>, LengthDelimitedCodec>;

fn refused(why: impl Into<String>) -> HandshakeError {
    HandshakeError::Refused(why.into())
}

async fn send<T: Serialize>(wire: &mut Wire, message: &T) -> Result<Vec<u8>, HandshakeError> {
    let bytes = postcard::to_stdvec(message).expect("invariant: our own structs have no shape that postcard refuses");
    wire.send(Bytes::from(bytes.clone())).await?;
    Ok(bytes)
}

async fn receive<T: for<'a> Deserialize<'a>>(wire: &mut Wire) -> Result<(T, Vec<u8>), HandshakeError> {
    let bytes = wire.next().await.ok_or(HandshakeError::Closed)??.to_vec();
    let message = postcard::from_bytes(&bytes).map_err(|_| refused("what listens there is no waypost peer port"))?;
    Ok((message, bytes))
}

fn proof(secret: &Secret, side: &[u8], hello: &[u8], node: u64, nonce: &[u8; 32]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_keyed(&secret.0);
    for part in [side, hello, &node.to_le_bytes(), nonce] {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    *hasher.finalize().as_bytes()
}

/// Whether two nodes belong together; a node without a cluster may speak to any, to find one.
fn clusters_fit(one: Option<[u8; 16]>, other: Option<[u8; 16]>) -> bool {
    one.is_none() || other.is_none() || one == other
}

/// Who is at the other end of a connection.
#[derive(Clone)]
pub(crate) struct Peer {
    pub(crate) node: NodeId,
    pub(crate) name: String,
    cluster: Option<[u8; 16]>,
}

impl Peer {
    /// The peer as it is seen now: a node may join its cluster after the connection was made.
    pub(crate) fn sender(&self, own: &Identity) -> Sender {
        let member = self.cluster.is_some() && self.cluster == *own.cluster.read();
        Sender { node: self.node, name: self.name.clone(), member }
    }
}

/// The dialer's side. `wanted` is the node that is to answer, if that is known.
pub(crate) async fn dial(
    identity: &Identity,
    wanted: Option<NodeId>,
    stream: Box<dyn Stream>,
) -> Result<(NodeId, Box<dyn Stream>), HandshakeError> {
    let mut wire = Framed::new(stream, codec(MESSAGE_BYTES_MAX));
    let own = *identity.cluster.read();
    let hello = Hello {
        magic: MAGIC,
        version: PROTOCOL_VERSION,
        cluster: own,
        node: identity.node.0,
        name: identity.name.clone(),
        wanted: wanted.map(|node| node.0),
        nonce: rand::random(),
    };
    let hello_bytes = send(&mut wire, &hello).await?;
    let (node, name) = match receive(&mut wire).await?.0 {
        Reply::Refused(why) => return Err(HandshakeError::Refused(why)),
        Reply::Ready => return Err(refused("the handshake is out of order")),
        Reply::Welcome { cluster: _, node, name, nonce, proof: shown } => {
            let expected = proof(&identity.secret, b"listener", &hello_bytes, node, &nonce);
            if !bool::from(expected.ct_eq(&shown)) {
                return Err(refused(format!(
                    "\"{name}\" does not know the secret of this cluster; [cluster] secret has to be the same on all nodes"
                )));
            }
            let own_proof = proof(&identity.secret, b"dialer", &hello_bytes, node, &nonce);
            send(&mut wire, &own_proof).await?;
            (node, name)
        }
    };
    match receive(&mut wire).await?.0 {
        Reply::Ready => {}
        Reply::Refused(why) => return Err(HandshakeError::Refused(why)),
        Reply::Welcome { .. } => return Err(refused("the handshake is out of order")),
    }
    if wanted.is_some_and(|wanted| wanted.0 != node) {
        return Err(refused(format!("another node answers there: \"{name}\"")));
    }
    Ok((NodeId(node), wire.into_inner()))
}

/// The listener's side.
pub(crate) async fn answer(
    identity: &Identity,
    stream: Box<dyn Stream>,
) -> Result<(Peer, Box<dyn Stream>), HandshakeError> {
    let mut wire = Framed::new(stream, codec(MESSAGE_BYTES_MAX));
    let (hello, hello_bytes): (Hello, _) = receive(&mut wire).await?;
    let own = *identity.cluster.read();
    let objection = if hello.magic != MAGIC {
        Some("this is a waypost peer port".to_owned())
    } else if hello.version != PROTOCOL_VERSION {
        let (theirs, ours) = (hello.version, PROTOCOL_VERSION);
        Some(format!("\"{}\" speaks peer protocol {theirs}, \"{}\" speaks {ours}", hello.name, identity.name))
    } else if !clusters_fit(own, hello.cluster) {
        Some(format!(
            "\"{}\" belongs to another cluster than \"{}\"; two clusters cannot be joined. Check the addresses in \
             cluster.toml, or empty the data directory of the node that is to move",
            hello.name, identity.name
        ))
    } else if hello.wanted.is_some_and(|wanted| wanted != identity.node.0) {
        Some(format!(
            "\"{}\" looks for another node at this address; \"{}\" has a new id, perhaps because its data directory was \
             emptied",
            hello.name, identity.name
        ))
    } else if hello.node == identity.node.0 {
        Some("a node has reached itself; check the peer addresses in cluster.toml".to_owned())
    } else {
        None
    };
    if let Some(why) = objection {
        send(&mut wire, &Reply::Refused(why.clone())).await?;
        return Err(HandshakeError::Refused(why));
    }
    let nonce: [u8; 32] = rand::random();
    let node = identity.node.0;
    let shown = proof(&identity.secret, b"listener", &hello_bytes, node, &nonce);
    let welcome = Reply::Welcome { cluster: own, node, name: identity.name.clone(), nonce, proof: shown };
    send(&mut wire, &welcome).await?;
    let (shown, _): ([u8; 32], _) = receive(&mut wire).await?;
    let expected = proof(&identity.secret, b"dialer", &hello_bytes, node, &nonce);
    if !bool::from(expected.ct_eq(&shown)) {
        let why = format!("\"{}\" does not know the secret of this cluster", hello.name);
        send(&mut wire, &Reply::Refused(why.clone())).await?;
        return Err(HandshakeError::Refused(why));
    }
    send(&mut wire, &Reply::Ready).await?;
    Ok((Peer { node: NodeId(hello.node), name: hello.name, cluster: hello.cluster }, wire.into_inner()))
}

//! The handshake: both sides identify themselves and prove that they know the cluster's secret.
//!
//! ```text
//! dialer  ─ Hello(first version, cluster, id, name, whom it wants, nonce, versions) ─►  listener
//!         ◄─ Welcome(cluster, id, name, nonce, proof, version) or Refused(why) ─
//!         ─ Proof ─►
//!         ◄─ Ready or Refused(why) ─
//! ```
//!
//! A proof is blake3, keyed with the secret, over the side's name, the Hello and the Welcome, so it is valid for no other handshake.
//! The secret itself is never sent. Without TLS, the bytes after the handshake are not protected.
//!
//! The messages follow the rules of `waypost_protocol::codec`. Version 0.1 sends and reads them without the versions at their ends,
//! and then speaks the first version. The listener chooses the newest common version.

use std::ops::RangeInclusive;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use parking_lot::RwLock;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;
use tokio_util::codec::{Framed, LengthDelimitedCodec};
use waypost_protocol::peer::Sender;
use waypost_protocol::{NodeId, codec};

use crate::closed::{is_closed, told};
use crate::dial::Stream;
use crate::frame::{PROTOCOL_VERSIONS, codec as frames};
use crate::greeting::{FIRST_VERSION, Hello, MAGIC, Reply, common_version, side};
use crate::limits::MESSAGE_BYTES_MAX;
use crate::secret::{Secret, proof};

/// The hint if two nodes have different secrets.
const SAME_SECRET: &str =
    "WAYPOST_CLUSTER_SECRET, or the file named by WAYPOST_CLUSTER_SECRET_FILE, has to hold the same on all nodes";

/// The identity that a node states.
#[derive(Clone)]
pub struct Identity {
    /// Its id.
    pub node: NodeId,
    /// Its name in `cluster.toml`.
    pub name: String,
    /// The secret of its cluster.
    pub secret: Secret,
    /// The cluster that it belongs to; `None` until it belongs to one.
    pub cluster: Arc<RwLock<Option<[u8; 16]>>>,
}

/// Why a handshake failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HandshakeError {
    #[error("the connection broke: {}", told(.0))]
    Io(#[from] std::io::Error),
    #[error("the connection was closed during the handshake")]
    Closed,
    #[error("{0}")]
    Refused(String),
}

impl HandshakeError {
    /// Whether the other side went away, for example because it only probed the port.
    pub(crate) fn is_closed(&self) -> bool {
        match self {
            Self::Io(error) => is_closed(error),
            Self::Closed => true,
            Self::Refused(_) => false,
        }
    }
}

type Wire = Framed<Box<dyn Stream>, LengthDelimitedCodec>;

fn refused(why: impl Into<String>) -> HandshakeError {
    HandshakeError::Refused(why.into())
}

async fn send<T: Serialize>(wire: &mut Wire, message: &T) -> Result<Vec<u8>, HandshakeError> {
    let bytes = codec::encode(message);
    wire.send(Bytes::from(bytes.clone())).await?;
    Ok(bytes)
}

async fn receive<T: for<'a> Deserialize<'a>>(wire: &mut Wire) -> Result<(T, Vec<u8>), HandshakeError> {
    let bytes = wire.next().await.ok_or(HandshakeError::Closed)??.to_vec();
    let message = codec::decode(&bytes).map_err(|_| refused("what listens there is no waypost peer port"))?;
    Ok((message, bytes))
}

/// Whether two nodes may talk to each other. A node without a cluster may talk to any node, to find a cluster.
fn clusters_fit(one: Option<[u8; 16]>, other: Option<[u8; 16]>) -> bool {
    one.is_none() || other.is_none() || one == other
}

/// The node at the other end of a connection.
#[derive(Clone)]
pub(crate) struct Peer {
    pub(crate) node: NodeId,
    pub(crate) name: String,
    /// The agreed version of frames.
    pub(crate) version: u8,
    cluster: Option<[u8; 16]>,
}

impl Peer {
    /// The peer as it is now: a node may join its cluster after the connection was made.
    pub(crate) fn sender(&self, own: &Identity) -> Sender {
        let member = self.cluster.is_some() && self.cluster == *own.cluster.read();
        Sender { node: self.node, name: self.name.clone(), member }
    }
}

/// A dialled connection after the handshake.
pub(crate) struct Dialled {
    /// The name of the node that answered.
    pub(crate) name: String,
    pub(crate) stream: Box<dyn Stream>,
    /// The agreed version of frames.
    pub(crate) version: u8,
}

/// The dialer's side. `wanted` is the id of the expected node, if it is known.
pub(crate) async fn dial(
    identity: &Identity,
    wanted: Option<NodeId>,
    stream: Box<dyn Stream>,
) -> Result<Dialled, HandshakeError> {
    dial_with(identity, wanted, stream, PROTOCOL_VERSIONS).await
}

async fn dial_with(
    identity: &Identity,
    wanted: Option<NodeId>,
    stream: Box<dyn Stream>,
    versions: RangeInclusive<u8>,
) -> Result<Dialled, HandshakeError> {
    let mut wire = Framed::new(stream, frames(MESSAGE_BYTES_MAX));
    let own = *identity.cluster.read();
    let hello = Hello {
        magic: MAGIC,
        version: FIRST_VERSION,
        cluster: own,
        node: identity.node.0,
        name: identity.name.clone(),
        wanted: wanted.map(|node| node.0),
        nonce: rand::random(),
        oldest: *versions.start(),
        newest: *versions.end(),
    };
    let hello_bytes = send(&mut wire, &hello).await?;
    let (node, name, version) = match receive(&mut wire).await?.0 {
        Reply::Refused(why) => return Err(HandshakeError::Refused(why)),
        Reply::Ready => return Err(refused("the handshake is out of order")),
        Reply::Welcome { cluster: _, node, name, nonce, proof: shown, version } => {
            let version = if version == 0 { FIRST_VERSION } else { version };
            let expected = proof(&identity.secret, &side(b"listener", version), &hello_bytes, node, &nonce);
            if !bool::from(expected.ct_eq(&shown)) {
                return Err(refused(format!("\"{name}\" does not know the secret of this cluster; {SAME_SECRET}")));
            }
            if !versions.contains(&version) {
                return Err(refused(format!("\"{name}\" speaks peer protocol {version}, this node does not")));
            }
            let own_proof = proof(&identity.secret, &side(b"dialer", version), &hello_bytes, node, &nonce);
            send(&mut wire, &own_proof).await?;
            (node, name, version)
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
    Ok(Dialled { name, stream: wire.into_inner(), version })
}

/// The listener's side.
pub(crate) async fn answer(
    identity: &Identity,
    stream: Box<dyn Stream>,
) -> Result<(Peer, Box<dyn Stream>), HandshakeError> {
    answer_with(identity, stream, PROTOCOL_VERSIONS).await
}

async fn answer_with(
    identity: &Identity,
    stream: Box<dyn Stream>,
    versions: RangeInclusive<u8>,
) -> Result<(Peer, Box<dyn Stream>), HandshakeError> {
    let mut wire = Framed::new(stream, frames(MESSAGE_BYTES_MAX));
    let (hello, hello_bytes): (Hello, _) = receive(&mut wire).await?;
    let own = *identity.cluster.read();
    let common = common_version(&versions, &hello.versions());
    let objection = if hello.magic != MAGIC {
        Some("this is a waypost peer port".to_owned())
    } else if common.is_none() {
        let spoken = |versions: RangeInclusive<u8>| match versions.start() == versions.end() {
            true => versions.start().to_string(),
            false => format!("{} to {}", versions.start(), versions.end()),
        };
        Some(format!(
            "\"{}\" speaks peer protocol {}, \"{}\" speaks {}; upgrade the older one",
            hello.name,
            spoken(hello.versions()),
            identity.name,
            spoken(versions)
        ))
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
    let version = common.expect("invariant: there is a common version, or an objection");
    let shown = proof(&identity.secret, &side(b"listener", version), &hello_bytes, node, &nonce);
    let welcome = Reply::Welcome { cluster: own, node, name: identity.name.clone(), nonce, proof: shown, version };
    send(&mut wire, &welcome).await?;
    let (shown, _): ([u8; 32], _) = receive(&mut wire).await?;
    let expected = proof(&identity.secret, &side(b"dialer", version), &hello_bytes, node, &nonce);
    if !bool::from(expected.ct_eq(&shown)) {
        let why = format!("\"{}\" does not know the secret of this cluster; {SAME_SECRET}", hello.name);
        send(&mut wire, &Reply::Refused(why.clone())).await?;
        return Err(HandshakeError::Refused(why));
    }
    send(&mut wire, &Reply::Ready).await?;
    let peer = Peer { node: NodeId(hello.node), name: hello.name, version, cluster: hello.cluster };
    Ok((peer, wire.into_inner()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(node: u64) -> Identity {
        let cluster = Arc::new(RwLock::new(Some([3; 16])));
        Identity { node: NodeId(node), name: format!("n{node}"), secret: Secret::new("secret"), cluster }
    }

    async fn greet(
        dialer: RangeInclusive<u8>,
        listener: RangeInclusive<u8>,
    ) -> (Result<u8, String>, Result<u8, String>) {
        let (one, two) = tokio::io::duplex(1 << 12);
        let (first, second) = (identity(1), identity(2));
        let (dialled, answered) = tokio::join!(
            dial_with(&first, Some(NodeId(2)), Box::new(one), dialer),
            answer_with(&second, Box::new(two), listener),
        );
        let dialled = dialled.map(|dialled| dialled.version).map_err(|error| error.to_string());
        (dialled, answered.map(|(peer, _)| peer.version).map_err(|error| error.to_string()))
    }

    #[tokio::test]
    async fn two_nodes_speak_the_newest_version_that_both_know() {
        for (dialer, listener, common) in [(2..=2, 2..=4, 2), (2..=4, 2..=3, 3), (3..=5, 2..=4, 4), (2..=2, 2..=2, 2)] {
            assert_eq!(greet(dialer, listener).await, (Ok(common), Ok(common)));
        }
    }

    #[tokio::test]
    async fn nodes_without_a_common_version_refuse_each_other_and_name_what_they_speak() {
        for (dialer, listener) in [(2..=2, 3..=4), (3..=4, 2..=2)] {
            let (dialled, answered) = greet(dialer, listener).await;
            let (dialled, answered) = (dialled.unwrap_err(), answered.unwrap_err());
            assert_eq!(dialled, answered);
            assert!(dialled.contains("3 to 4") && dialled.contains("peer protocol"), "{dialled}");
        }
    }

    /// The messages of version 0.1, which end before the versions.
    #[derive(Serialize, Deserialize)]
    struct FirstHello {
        magic: [u8; 8],
        version: u8,
        cluster: Option<[u8; 16]>,
        node: u64,
        name: String,
        wanted: Option<u64>,
        nonce: [u8; 32],
    }

    #[derive(Serialize, Deserialize)]
    enum FirstReply {
        Welcome { cluster: Option<[u8; 16]>, node: u64, name: String, nonce: [u8; 32], proof: [u8; 32] },
        Refused(String),
        Ready,
    }

    #[tokio::test]
    async fn a_dialer_of_version_0_1_is_answered_in_its_version() {
        let (one, two) = tokio::io::duplex(1 << 12);
        let (old, new) = (identity(1), identity(2));
        let dialer = async {
            let mut wire: Wire = Framed::new(Box::new(one), frames(MESSAGE_BYTES_MAX));
            let hello = FirstHello {
                magic: MAGIC,
                version: 2,
                cluster: *old.cluster.read(),
                node: 1,
                name: "n1".to_owned(),
                wanted: None,
                nonce: [7; 32],
            };
            let bytes = postcard::to_stdvec(&hello).unwrap();
            wire.send(Bytes::from(bytes.clone())).await.unwrap();
            let reply = wire.next().await.unwrap().unwrap();
            let Ok(FirstReply::Welcome { node, nonce, proof: shown, .. }) = postcard::from_bytes(&reply) else {
                panic!("it was not welcomed")
            };
            assert_eq!(shown, proof(&old.secret, b"listener", &bytes, node, &nonce));
            send(&mut wire, &proof(&old.secret, b"dialer", &bytes, node, &nonce)).await.unwrap();
            let reply = wire.next().await.unwrap().unwrap();
            matches!(postcard::from_bytes(&reply), Ok(FirstReply::Ready))
        };
        let (ready, answered) = tokio::join!(dialer, answer_with(&new, Box::new(two), 2..=4));
        assert!(ready);
        assert_eq!(answered.map(|(peer, _)| peer.version).ok(), Some(2));
    }

    #[tokio::test]
    async fn a_listener_of_version_0_1_is_spoken_to_in_its_version() {
        let (one, two) = tokio::io::duplex(1 << 12);
        let (new, old) = (identity(1), identity(2));
        let listener = async {
            let mut wire: Wire = Framed::new(Box::new(two), frames(MESSAGE_BYTES_MAX));
            let bytes = wire.next().await.unwrap().unwrap();
            let hello: FirstHello = postcard::from_bytes(&bytes).unwrap();
            assert_eq!(hello.version, 2);
            let nonce = [9; 32];
            let shown = proof(&old.secret, b"listener", &bytes, 2, &nonce);
            let cluster = *old.cluster.read();
            let welcome = FirstReply::Welcome { cluster, node: 2, name: "n2".to_owned(), nonce, proof: shown };
            send(&mut wire, &welcome).await.unwrap();
            let (shown, _): ([u8; 32], _) = receive(&mut wire).await.unwrap();
            assert_eq!(shown, proof(&old.secret, b"dialer", &bytes, 2, &nonce));
            send(&mut wire, &FirstReply::Ready).await.unwrap();
        };
        let (dialled, ()) = tokio::join!(dial_with(&new, None, Box::new(one), 2..=4), listener);
        assert_eq!(dialled.map(|dialled| dialled.version).ok(), Some(2));
    }
}

//! Requests between nodes that are no messages to actors. `impl PeerRequest` declares one; whoever answers them has a list of them.
//!
//! From the list follow the dispatch to the answers and who may ask. A request without an answer, a request that is sent and not in its
//! list, and a number that is used twice do not compile.

use std::future::Future;
use std::time::Duration;

use serde::{Serialize, de::DeserializeOwned};

use crate::NodeId;
use crate::codec::{self, DecodeError};
use crate::kinds::{Kind, Kinds};
use crate::peer::{BoxFuture, Lane, PeerError, Peers};

/// A request to another node, and the reply that belongs to it.
pub trait PeerRequest: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// What the node answers.
    type Reply: Serialize + DeserializeOwned + Send + 'static;
    /// All requests of whoever answers this one; see [`list!`](crate::list).
    type List: PeerRequestList;
    /// The number on the wire.
    const KIND: Kind;
    /// Stable name.
    const NAME: &'static str;
    /// The connection that it takes.
    const LANE: Lane;
    /// Whether only members of the cluster may ask.
    const MEMBERS_ONLY: bool = true;

    /// The bytes of the request.
    fn encode(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// Reads a request.
    ///
    /// # Errors
    /// When the bytes are no such request.
    fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        codec::decode(body)
    }

    /// The bytes of a reply.
    fn encode_reply(reply: &Self::Reply) -> Vec<u8> {
        codec::encode(reply)
    }

    /// Reads a reply.
    ///
    /// # Errors
    /// When the bytes are no such reply.
    fn decode_reply(body: &[u8]) -> Result<Self::Reply, DecodeError> {
        codec::decode(body)
    }
}

/// Requests that are answered together: `()`, or a request and a list.
pub trait PeerRequestList: 'static {
    /// Their numbers and names.
    const KINDS: &'static Kinds;

    /// Whether only members may send the request with this number. One that is not in the list is for members.
    fn is_members_only(kind: Kind) -> bool;
}

impl PeerRequestList for () {
    const KINDS: &'static Kinds = &Kinds::End;

    fn is_members_only(_: Kind) -> bool {
        true
    }
}

impl<R: PeerRequest, Rest: PeerRequestList> PeerRequestList for (R, Rest) {
    const KINDS: &'static Kinds = &Kinds::Of(R::KIND, R::NAME, Rest::KINDS);

    fn is_members_only(kind: Kind) -> bool {
        if kind == R::KIND { R::MEMBERS_ONLY } else { Rest::is_members_only(kind) }
    }
}

/// Answers requests of one kind. `C` is what it has to know besides: the sender, the scope, the deadline.
pub trait AnswersPeers<R: PeerRequest, C>: Sync {
    /// The reply, or why there is none.
    fn answer(&self, request: R, context: C) -> impl Future<Output = Result<R::Reply, PeerError>> + Send;
}

/// A list of requests of which `T` answers each.
pub trait AnsweredByPeer<T: ?Sized, C>: PeerRequestList {
    /// Decodes a request, has it answered, and encodes the reply. One that is not in the list is refused.
    fn dispatch(by: &T, kind: Kind, body: Vec<u8>, context: C) -> BoxFuture<'_, Result<Vec<u8>, PeerError>>;
}

impl<T: ?Sized, C> AnsweredByPeer<T, C> for () {
    fn dispatch(_: &T, _: Kind, _: Vec<u8>, _: C) -> BoxFuture<'_, Result<Vec<u8>, PeerError>> {
        Box::pin(async { Err(PeerError::Refused("there is no such request".to_owned())) })
    }
}

impl<T, C, R, Rest> AnsweredByPeer<T, C> for (R, Rest)
where
    T: AnswersPeers<R, C> + ?Sized,
    C: Send + 'static,
    R: PeerRequest,
    Rest: AnsweredByPeer<T, C>,
{
    fn dispatch(by: &T, kind: Kind, body: Vec<u8>, context: C) -> BoxFuture<'_, Result<Vec<u8>, PeerError>> {
        if kind != R::KIND {
            return Rest::dispatch(by, kind, body, context);
        }
        Box::pin(async move {
            let request = R::decode(&body).map_err(|error| PeerError::Refused(error.to_string()))?;
            drop(body);
            Ok(R::encode_reply(&by.answer(request, context).await?))
        })
    }
}

impl dyn Peers + '_ {
    /// Sends a request and waits for the reply, at most `within`. `scope` is the group that it concerns, or 0.
    ///
    /// # Errors
    /// See [`PeerError`].
    pub async fn ask<R: PeerRequest>(
        &self,
        to: NodeId,
        scope: u32,
        request: &R,
        within: Duration,
    ) -> Result<R::Reply, PeerError> {
        const { assert!(R::List::KINDS.contains(R::KIND), "the request is not in the list of those that are answered") };
        let answer = self.call(to, R::LANE, R::KIND, scope, request.encode(), within).await?;
        read_reply::<R>(&answer)
    }
}

/// Reads what a peer has answered.
///
/// # Errors
/// [`PeerError::Unreadable`].
pub fn read_reply<R: PeerRequest>(answer: &[u8]) -> Result<R::Reply, PeerError> {
    R::decode_reply(answer).map_err(|error| PeerError::Unreadable(error.to_string()))
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use serde::Deserialize;

    use super::*;
    use crate::list;

    type Requests = list![Double, Greet];

    #[derive(Serialize, Deserialize)]
    struct Double(u32);

    #[derive(Serialize, Deserialize)]
    struct Greet {
        name: String,
    }

    impl PeerRequest for Double {
        type Reply = u32;
        type List = Requests;
        const KIND: Kind = Kind(1);
        const NAME: &'static str = "double";
        const LANE: Lane = Lane::Consensus;
    }

    impl PeerRequest for Greet {
        type Reply = String;
        type List = Requests;
        const KIND: Kind = Kind(2);
        const NAME: &'static str = "greet";
        const LANE: Lane = Lane::Calls;
        const MEMBERS_ONLY: bool = false;
    }

    struct Node;

    impl AnswersPeers<Double, u32> for Node {
        async fn answer(&self, Double(number): Double, scope: u32) -> Result<u32, PeerError> {
            Ok(2 * number + scope)
        }
    }

    impl AnswersPeers<Greet, u32> for Node {
        async fn answer(&self, Greet { name }: Greet, _: u32) -> Result<String, PeerError> {
            Ok(format!("hello, {name}"))
        }
    }

    /// Answers by the node, and notes the lanes.
    #[derive(Default)]
    struct Wire(Mutex<Vec<Lane>>);

    impl Peers for Wire {
        fn call(
            &self,
            _: NodeId,
            lane: Lane,
            kind: Kind,
            scope: u32,
            body: Vec<u8>,
            _: Duration,
        ) -> BoxFuture<'_, Result<Vec<u8>, PeerError>> {
            self.0.lock().unwrap().push(lane);
            Requests::dispatch(&Node, kind, body, scope)
        }
    }

    /// Runs a future that never waits.
    fn now<T>(future: impl Future<Output = T>) -> T {
        match std::pin::pin!(future).poll(&mut std::task::Context::from_waker(std::task::Waker::noop())) {
            std::task::Poll::Ready(value) => value,
            std::task::Poll::Pending => panic!("it waits"),
        }
    }

    #[test]
    fn a_request_reaches_its_answer_by_its_number_on_its_lane() {
        let wire = Wire::default();
        let peers: &dyn Peers = &wire;
        assert_eq!(now(peers.ask(NodeId(1), 5, &Double(20), Duration::ZERO)), Ok(45));
        let greet = Greet { name: "a".to_owned() };
        assert_eq!(now(peers.ask(NodeId(1), 0, &greet, Duration::ZERO)), Ok("hello, a".to_owned()));
        assert_eq!(*wire.0.lock().unwrap(), [Lane::Consensus, Lane::Calls]);
    }

    #[test]
    fn what_is_no_request_is_refused() {
        let refused = |kind, body: &[u8]| {
            matches!(now(Requests::dispatch(&Node, kind, body.to_vec(), 0)), Err(PeerError::Refused(_)))
        };
        assert!(refused(Kind(3), &[]), "a number without a request");
        assert!(refused(Kind(1), &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff]), "a body that is no number");
    }

    #[test]
    fn an_answer_that_cannot_be_read_says_so() {
        assert!(matches!(read_reply::<Greet>(&[1, 0xff]), Err(PeerError::Unreadable(_))));
    }

    #[test]
    fn only_members_may_ask_unless_the_request_says_otherwise() {
        assert!(Requests::is_members_only(Kind(1)) && !Requests::is_members_only(Kind(2)));
        assert!(Requests::is_members_only(Kind(3)), "nobody is let in by a number that is not known");
    }
}

//! The lifecycle of a node: one state, and the events that move it. The HTTP handlers, the peer port and the shutdown read the same one.
//!
//! ```text
//!              Started             Stop                 HandedOver          RequestsEnded
//! Starting ───────────► Serving ─────────► HandingOver ───────────► Draining ───────────► Closed
//!                        │  ▲                                                               ▲
//!              LeaveBegan│  │LeaveFailed                                                    │
//!                        ▼  │                                                               │
//!                      Leaving ─────────────── Stop, or Removed from any state ─────────────┘
//! ```
//!
//! `node/life.rs` starts and stops a node, `node/leave.rs` lets it leave the cluster; nobody else moves the state.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

/// The state of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum State {
    /// It is opening its store, joining its cluster and starting its services.
    Starting,
    /// It answers all requests.
    Serving,
    /// An operator removes it from the cluster. It answers no redirects, so that all its clicks can be counted. If it cannot
    /// leave, it serves again.
    Leaving,
    /// It was told to stop, and hands over the groups that it leads. It still answers all requests.
    HandingOver,
    /// It answers requests on open connections, and closes each connection after its answer.
    Draining,
    /// Its last clicks are being counted, or were counted. It answers no redirects until the process ends.
    Closed,
}

/// The events that change the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// Its listeners answer.
    Started,
    /// It begins to leave the cluster.
    LeaveBegan,
    /// It stays a member after all.
    LeaveFailed,
    /// The cluster has removed it: the shards accept no more clicks from it.
    Removed,
    /// It is told to stop.
    Stop,
    /// Other nodes lead its former groups, or did not take them over in time.
    HandedOver,
    /// No request is being answered any more, or the grace period is over.
    RequestsEnded,
}

impl State {
    const ALL: [Self; 6] =
        [Self::Starting, Self::Serving, Self::Leaving, Self::HandingOver, Self::Draining, Self::Closed];

    /// The state after an event; `None` when the event cannot occur in this state.
    pub fn next(self, event: Event) -> Option<Self> {
        use Event::{HandedOver, LeaveBegan, LeaveFailed, Removed, RequestsEnded, Started, Stop};
        match (self, event) {
            (_, Removed) => Some(Self::Closed),
            (Self::Starting, Started) | (Self::Leaving, LeaveFailed) => Some(Self::Serving),
            (Self::Serving, LeaveBegan) => Some(Self::Leaving),
            (Self::Starting | Self::Serving, Stop) => Some(Self::HandingOver),
            (Self::HandingOver, HandedOver) => Some(Self::Draining),
            (Self::Draining, RequestsEnded) => Some(Self::Closed),
            // While it stops, a node can still leave, and a node that leaves can be stopped. Either way no redirect is answered again.
            (Self::HandingOver | Self::Draining, LeaveBegan) | (Self::Leaving, Stop) => Some(Self::Closed),
            (Self::Closed, LeaveBegan | LeaveFailed | Stop | HandedOver | RequestsEnded) => Some(Self::Closed),
            _ => None,
        }
    }

    /// Whether every answer closes its connection.
    pub fn closes_connections(self) -> bool {
        matches!(self, Self::Leaving | Self::Draining | Self::Closed)
    }

    /// Whether redirects are refused, so that no click comes after the last count.
    pub fn refuses_redirects(self) -> bool {
        matches!(self, Self::Leaving | Self::Closed)
    }

    /// Whether the process is about to end: the node should lead no group.
    pub fn is_stopping(self) -> bool {
        matches!(self, Self::HandingOver | Self::Draining | Self::Closed)
    }
}

/// An event that cannot occur in the state of the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the node is {state:?}, so {event:?} cannot occur")]
pub struct Refused {
    /// The state, which stays.
    pub state: State,
    /// The event.
    pub event: Event,
}

/// The state of this node, and the requests in progress.
#[derive(Debug)]
pub struct Lifecycle {
    state: AtomicU8,
    /// Requests that the `App` is answering, and those whose link is being read. What is answered from the cache has none: that is done at once.
    open_requests: AtomicUsize,
}

impl Default for Lifecycle {
    fn default() -> Self {
        Self { state: AtomicU8::new(State::Starting as u8), open_requests: AtomicUsize::new(0) }
    }
}

impl Lifecycle {
    /// The state. Every redirect asks for it, so it is one load.
    pub fn state(&self) -> State {
        // A request is counted (`begin_request`) before it reads the state. If it sees the node open, the count is seen by whoever closes the node.
        State::ALL[usize::from(self.state.load(Ordering::SeqCst))]
    }

    /// Applies an event. Returns the new state.
    ///
    /// # Errors
    /// If the event cannot occur in the present state, which then stays.
    pub fn advance(&self, event: Event) -> Result<State, Refused> {
        let next = |state: u8| State::ALL[usize::from(state)].next(event).map(|next| next as u8);
        match self.state.fetch_update(Ordering::SeqCst, Ordering::SeqCst, next) {
            Ok(_) => Ok(self.state()),
            Err(state) => Err(Refused { state: State::ALL[usize::from(state)], event }),
        }
    }

    /// Applies an event that is always possible in the state from which it comes. A mistake is logged, and changes nothing.
    pub fn follow(&self, event: Event) {
        if let Err(refused) = self.advance(event) {
            tracing::error!(%refused, "the lifecycle of the node is out of order");
        }
    }

    /// Counts a request until the guard is dropped.
    pub fn begin_request(self: &Arc<Self>) -> OpenRequest {
        self.open_requests.fetch_add(1, Ordering::SeqCst);
        OpenRequest { lifecycle: self.clone() }
    }

    /// The number of requests in progress.
    pub fn open_requests(&self) -> usize {
        self.open_requests.load(Ordering::SeqCst)
    }
}

/// A request in progress, until this is dropped.
#[derive(Debug)]
pub struct OpenRequest {
    lifecycle: Arc<Lifecycle>,
}

impl OpenRequest {
    /// Whether the answer closes its connection.
    pub fn closes_connection(&self) -> bool {
        self.lifecycle.state().closes_connections()
    }
}

impl Drop for OpenRequest {
    fn drop(&mut self) {
        self.lifecycle.open_requests.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENTS: [Event; 7] = [
        Event::Started,
        Event::LeaveBegan,
        Event::LeaveFailed,
        Event::Removed,
        Event::Stop,
        Event::HandedOver,
        Event::RequestsEnded,
    ];

    fn after(events: &[Event]) -> State {
        let lifecycle = Lifecycle::default();
        for event in events {
            lifecycle.advance(*event).unwrap();
        }
        lifecycle.state()
    }

    #[test]
    fn a_node_that_is_stopped_hands_over_then_drains_and_answers_no_redirects_only_at_the_end() {
        let lifecycle = Lifecycle::default();
        let mut seen = Vec::new();
        for event in [Event::Started, Event::Stop, Event::HandedOver, Event::RequestsEnded] {
            let state = lifecycle.advance(event).unwrap();
            seen.push((state.is_stopping(), state.closes_connections(), state.refuses_redirects()));
        }
        assert_eq!(seen, [(false, false, false), (true, false, false), (true, true, false), (true, true, true)]);
    }

    #[test]
    fn a_node_that_leaves_answers_no_redirects_and_serves_again_when_it_stays() {
        let leaving = after(&[Event::Started, Event::LeaveBegan]);
        assert!(leaving.refuses_redirects() && leaving.closes_connections() && !leaving.is_stopping());
        assert_eq!(after(&[Event::Started, Event::LeaveBegan, Event::LeaveFailed]), State::Serving);
    }

    #[test]
    fn no_redirect_is_answered_again_once_a_node_is_closed_or_removed_or_leaves_while_it_stops() {
        for event in EVENTS {
            assert!(matches!(State::Closed.next(event), None | Some(State::Closed)), "{event:?}");
        }
        for state in State::ALL {
            assert_eq!(state.next(Event::Removed), Some(State::Closed), "{state:?}");
        }
        assert_eq!(after(&[Event::Started, Event::LeaveBegan, Event::Stop, Event::LeaveFailed]), State::Closed);
        assert_eq!(after(&[Event::Started, Event::Stop, Event::LeaveBegan, Event::LeaveFailed]), State::Closed);
        assert_eq!(after(&[Event::Started, Event::LeaveBegan, Event::Stop, Event::HandedOver]), State::Closed);
    }

    #[test]
    fn an_event_that_cannot_occur_changes_nothing() {
        let lifecycle = Lifecycle::default();
        for event in [Event::LeaveBegan, Event::LeaveFailed, Event::HandedOver, Event::RequestsEnded] {
            assert_eq!(lifecycle.advance(event), Err(Refused { state: State::Starting, event }));
        }
        lifecycle.advance(Event::Started).unwrap();
        assert!(lifecycle.advance(Event::Started).is_err());
        assert_eq!(lifecycle.state(), State::Serving);
    }

    #[test]
    fn a_request_is_open_until_its_guard_is_dropped() {
        let lifecycle = Arc::new(Lifecycle::default());
        let (one, other) = (lifecycle.begin_request(), lifecycle.begin_request());
        assert_eq!(lifecycle.open_requests(), 2);
        drop(one);
        assert_eq!(lifecycle.open_requests(), 1);
        drop(other);
        assert_eq!(lifecycle.open_requests(), 0);
    }
}

//! A link: this node's connection to one peer on one lane, kept up as long as it is needed.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use parking_lot::Mutex;
use tokio::sync::{Mutex as AsyncMutex, mpsc, oneshot};
use tokio::time::{Instant, timeout};
use tokio_util::codec::Framed;
use waypost_protocol::peer::{Lane, PeerError};
use waypost_protocol::{Kind, NodeId};
use waypost_tasks::{Task, Tasks};

use crate::closed::{CLOSED, told};
use crate::dial::Dial;
use crate::frame::{Frame, codec};
use crate::handshake::{self, Dialled, Identity};
use crate::limits::{CONNECT_MAX, FRAME_BYTES_MAX, PAUSE_FIRST, PAUSE_MAX, PING_AFTER, QUEUE_MAX, SILENCE_MAX};
use crate::metrics::{Open, TransportMetrics};
use crate::names::Names;

type Answer = oneshot::Sender<Result<Vec<u8>, PeerError>>;

struct Outgoing {
    kind: Kind,
    scope: u32,
    body: Vec<u8>,
    deadline: Instant,
    answer: Answer,
}

/// The other end of a link.
pub(crate) struct Peer {
    pub(crate) node: NodeId,
    pub(crate) address: String,
    /// The names of nodes, for messages.
    pub(crate) names: Names,
}

/// Whether a link waits before it tries again. Requests then fail at once.
#[derive(Default)]
struct Down {
    now: AtomicBool,
    /// The reason of the last failure.
    why: Mutex<String>,
}

/// Ends when the last handle is dropped.
#[derive(Clone)]
pub(crate) struct Link {
    queue: mpsc::Sender<Outgoing>,
    down: Arc<Down>,
    metrics: TransportMetrics,
}

impl Link {
    pub(crate) fn start(
        identity: Identity,
        dial: Arc<dyn Dial>,
        to: Peer,
        lane: Lane,
        metrics: &TransportMetrics,
        tasks: &Tasks,
    ) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE_MAX);
        let down = Arc::<Down>::default();
        let link = Self { queue, down: down.clone(), metrics: metrics.clone() };
        let upkeep = Upkeep { identity, dial, to, lane, down, metrics: metrics.clone() };
        let (upkeep, waiting) = (Arc::new(upkeep), Arc::new(AsyncMutex::new(waiting)));
        tasks.spawn(Task::PeerLink, move || upkeep.clone().run(waiting.clone()));
        link
    }

    pub(crate) async fn call(
        &self,
        kind: Kind,
        scope: u32,
        body: Vec<u8>,
        within: Duration,
    ) -> Result<Vec<u8>, PeerError> {
        if self.down.now.load(Ordering::Acquire) {
            return Err(PeerError::Unreachable(self.down.why.lock().clone()));
        }
        let (answer, answered) = oneshot::channel();
        let deadline = Instant::now() + within;
        self.queue.try_send(Outgoing { kind, scope, body, deadline, answer }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => {
                self.metrics.overloaded.inc();
                PeerError::Overloaded
            }
            mpsc::error::TrySendError::Closed(_) => PeerError::Unreachable("the link has ended".to_owned()),
        })?;
        self.metrics.sent.inc();
        match tokio::time::timeout_at(deadline, answered).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(PeerError::Lost),
            Err(_) => Err(PeerError::Timeout),
        }
    }
}

/// The task that keeps the connection up.
struct Upkeep {
    identity: Identity,
    dial: Arc<dyn Dial>,
    to: Peer,
    lane: Lane,
    down: Arc<Down>,
    metrics: TransportMetrics,
}

impl Upkeep {
    /// The name of the peer in messages.
    fn peer(&self) -> String {
        self.to.names.of(self.to.node)
    }

    async fn run(self: Arc<Self>, queue: Arc<AsyncMutex<mpsc::Receiver<Outgoing>>>) {
        // No other task takes this lock. After a panic the next run of this task continues with the requests that wait.
        let mut queue = queue.lock().await;
        let mut failures = 0u32;
        loop {
            match self.connect().await {
                Ok(dialled) => {
                    failures = 0;
                    self.to.names.set(self.to.node, &dialled.name);
                    self.down.now.store(false, Ordering::Release);
                    let open = Open::new(&self.metrics.links_up);
                    let ended = session(dialled, &mut queue, &self.metrics).await;
                    drop(open);
                    match ended {
                        Ended::NotWanted => return,
                        Ended::Broken(why) => {
                            tracing::info!(peer = self.peer(), lane = ?self.lane, why, "the connection to a node has ended");
                        }
                    }
                }
                Err(why) => {
                    failures += 1;
                    self.metrics.connect_failures.inc();
                    // The first failure is worth a log line; the following ones mostly are not.
                    if failures == 1 || failures.is_multiple_of(60) {
                        tracing::warn!(peer = self.peer(), address = self.to.address, lane = ?self.lane, why, "a node cannot be reached");
                    }
                    self.down.why.lock().clone_from(&why);
                    self.down.now.store(true, Ordering::Release);
                    loop {
                        match queue.try_recv() {
                            Ok(waiting) => {
                                let _ = waiting.answer.send(Err(PeerError::Unreachable(why.clone())));
                            }
                            Err(mpsc::error::TryRecvError::Empty) => break,
                            Err(mpsc::error::TryRecvError::Disconnected) => return,
                        }
                    }
                }
            }
            let pause = PAUSE_FIRST.saturating_mul(1 << failures.min(8)).min(PAUSE_MAX);
            // Jitter, so that a node that has returned is not contacted by all others at once.
            tokio::time::sleep(pause.mul_f64(rand::random_range(0.5..1.0))).await;
            if queue.is_closed() && queue.is_empty() {
                return;
            }
        }
    }

    async fn connect(&self) -> Result<Dialled, String> {
        let connecting = async {
            let stream = self.dial.dial(&self.to.address).await.map_err(|error| told(&error))?;
            handshake::dial(&self.identity, Some(self.to.node), stream).await.map_err(|error| error.to_string())
        };
        timeout(CONNECT_MAX, connecting).await.unwrap_or_else(|_| Err("no answer in time".to_owned()))
    }
}

enum Ended {
    NotWanted,
    Broken(String),
}

/// Requests that were sent and are not answered yet.
type Pending = Arc<Mutex<HashMap<u64, (Answer, Instant)>>>;

async fn session(dialled: Dialled, queue: &mut mpsc::Receiver<Outgoing>, metrics: &TransportMetrics) -> Ended {
    let Dialled { stream, version, .. } = dialled;
    let (mut sink, mut frames) = Framed::new(stream, codec(FRAME_BYTES_MAX)).split();
    let pending: Pending = Arc::default();
    let answers = pending.clone();
    let read = async move {
        loop {
            let frame = match timeout(SILENCE_MAX, frames.next()).await {
                Err(_) => return "the node is silent".to_owned(),
                Ok(None) => return CLOSED.to_owned(),
                Ok(Some(Err(error))) => return told(&error),
                Ok(Some(Ok(bytes))) => Frame::decode(bytes),
            };
            let (id, answer) = match frame {
                Err(error) => return error.to_string(),
                Ok((Frame::Pong, _)) => continue,
                Ok((Frame::Answer { id }, body)) => (id, Ok(body.to_vec())),
                Ok((Frame::Refusal { id, overloaded: true }, _)) => (id, Err(PeerError::Overloaded)),
                Ok((Frame::Refusal { id, .. }, why)) => {
                    (id, Err(PeerError::Refused(String::from_utf8_lossy(&why).into_owned())))
                }
                Ok(_) => return "the node sends requests where answers belong".to_owned(),
            };
            // Without an entry, the caller no longer waits: the answer came too late.
            if let Some((waiting, _)) = answers.lock().remove(&id) {
                let _ = waiting.send(answer);
            }
        }
    };
    let write = async {
        let mut next_id = 0u64;
        loop {
            let first = match timeout(PING_AFTER, queue.recv()).await {
                Ok(Some(first)) => Some(first),
                Ok(None) => return Ended::NotWanted,
                Err(_) => None,
            };
            let now = Instant::now();
            pending.lock().retain(|_, (_, deadline)| *deadline > now);
            let fed = match first {
                None => sink.feed(Frame::Ping.encode(version, b"")).await,
                Some(first) => {
                    let mut result = Ok(());
                    let mut next = Some(first);
                    while let Some(outgoing) = next {
                        let Some(left) = outgoing.deadline.checked_duration_since(now).filter(|left| !left.is_zero())
                        else {
                            next = queue.try_recv().ok();
                            continue;
                        };
                        next_id += 1;
                        let within_ms = left.as_millis().min(u32::MAX.into()) as u32;
                        let Outgoing { kind, scope, body, answer, deadline } = outgoing;
                        let request = Frame::Request { id: next_id, kind: kind.0, scope, within_ms };
                        let frame = request.encode(version, &body);
                        pending.lock().insert(next_id, (answer, deadline));
                        result = sink.feed(frame).await;
                        if result.is_err() {
                            break;
                        }
                        next = queue.try_recv().ok();
                    }
                    result
                }
            };
            let flushed = match fed {
                Ok(()) => timeout(SILENCE_MAX, sink.flush())
                    .await
                    .unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into())),
                Err(error) => Err(error),
            };
            if let Err(error) = flushed {
                return Ended::Broken(told(&error));
            }
        }
    };
    let ended = tokio::select! {
        why = read => Ended::Broken(why),
        ended = write => ended,
    };
    for (_, (waiting, _)) in pending.lock().drain() {
        metrics.lost.inc();
        let _ = waiting.send(Err(PeerError::Lost));
    }
    ended
}

/// One request on a connection of its own, to whoever listens at `address`.
pub(crate) async fn ask_once(
    identity: &Identity,
    dial: &dyn Dial,
    address: &str,
    kind: Kind,
    body: Vec<u8>,
    within: Duration,
) -> Result<Vec<u8>, PeerError> {
    let unreachable = |error: String| PeerError::Unreachable(error);
    let stream = dial.dial(address).await.map_err(|error| unreachable(told(&error)))?;
    let dialled = handshake::dial(identity, None, stream).await.map_err(|error| match error {
        handshake::HandshakeError::Refused(why) => PeerError::Refused(why),
        other => unreachable(other.to_string()),
    })?;
    let Dialled { stream, version, .. } = dialled;
    let mut wire = Framed::new(stream, codec(FRAME_BYTES_MAX));
    let request = Frame::Request { id: 1, kind: kind.0, scope: 0, within_ms: within.as_millis() as u32 };
    wire.send(request.encode(version, &body)).await.map_err(|_| PeerError::Lost)?;
    let bytes = wire.next().await.ok_or(PeerError::Lost)?.map_err(|_| PeerError::Lost)?;
    match Frame::decode(bytes) {
        Ok((Frame::Answer { .. }, body)) => Ok(body.to_vec()),
        Ok((Frame::Refusal { overloaded: true, .. }, _)) => Err(PeerError::Overloaded),
        Ok((Frame::Refusal { .. }, why)) => Err(PeerError::Refused(String::from_utf8_lossy(&why).into_owned())),
        _ => Err(PeerError::Lost),
    }
}

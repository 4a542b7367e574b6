//! A connection that answers redirects by itself, before actix-http sees anything of it.
//!
//! Requests that the fast path knows are answered from the worker's read buffer. Redirects that were read together are written together. The first
//! request that it does not know ends that: the stream, with all bytes that were not answered, goes to actix-http for ever.
//! An idle connection has no buffer.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use actix_http::Response;
use actix_http::body::BoxBody;
use actix_http::error::DispatchError;
use actix_service::Service;
use tokio::io::{AsyncRead, AsyncWrite};

use super::conn::{Busy, Reason};
use super::encode::{NotInMemory, encode};
use super::framing::Rest;
use super::refusal;
use super::stream::Guarded;
use crate::http::problem::Problem;

/// Answers are written when they have so many bytes, before more requests are looked at: the longest `Location` is 8 KiB.
const ANSWER_BYTES: usize = 32 * 1024;

/// How often a connection reads or looks at what it kept before the other connections of its worker have their turn.
const TURNS: usize = 2;

/// The longest head that is waited for here. A longer one is left to actix-http, which has the limit for all.
const HEAD_BYTES: usize = 8 * 1024;

/// Knows some requests, and answers them.
pub(in crate::http) trait FastPath {
    /// An answer that takes a while.
    type Answer: Future<Output = Option<Response<BoxBody>>> + Unpin;

    /// Whether it knows any request, so that it matters which connections are handed on.
    const KNOWS_SOME: bool = true;

    /// Looks at the request at the beginning of `bytes`. An answer that is there at once is added to `answers`.
    fn step(&self, bytes: &[u8], peer: Option<SocketAddr>, answers: &mut Vec<u8>) -> Step<Self::Answer>;
}

/// What the beginning of some bytes is.
pub(in crate::http) enum Step<A> {
    /// A request of so many bytes, which was answered.
    Answered(Taken),
    /// A request of so many bytes, whose answer is being made.
    Ask(Taken, A),
    /// A request that is not complete, and may be one that is known here.
    Partial,
    /// Anything else.
    Unknown,
}

/// A request that was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::http) struct Taken {
    /// Its length in bytes.
    pub(in crate::http) length: usize,
    /// The client closes the connection after the answer.
    pub(in crate::http) closes: bool,
    /// The answer has no body.
    pub(in crate::http) head_only: bool,
    /// What it asks for was read from the store, which takes as long as many answers that are in memory.
    pub(in crate::http) was_read: bool,
}

/// A listener without a fast path.
pub(in crate::http) struct NoFastPath;

impl FastPath for NoFastPath {
    type Answer = std::future::Ready<Option<Response<BoxBody>>>;

    const KNOWS_SOME: bool = false;

    fn step(&self, _: &[u8], _: Option<SocketAddr>, _: &mut Vec<u8>) -> Step<Self::Answer> {
        Step::Unknown
    }
}

/// One connection, from its acceptance to its end.
pub(in crate::http) struct Connection<S, P: FastPath, H: Service<(Guarded<S>, Option<SocketAddr>)>> {
    state: State<S, P, H>,
    fast: Rc<P>,
    http: Rc<H>,
    peer: Option<SocketAddr>,
}

enum State<S, P: FastPath, H: Service<(Guarded<S>, Option<SocketAddr>)>> {
    Fast(Box<Fast<S, P>>),
    HandedOn(Pin<Box<H::Future>>),
    Ended,
}

struct Fast<S, P: FastPath> {
    stream: Guarded<S>,
    /// Answers that are not written yet.
    answers: Vec<u8>,
    written: usize,
    /// The answer that is being made.
    asked: Option<Asked<P>>,
    next: Next,
}

struct Asked<P: FastPath> {
    taken: Taken,
    answer: P::Answer,
    _busy: Busy,
}

/// What follows when everything is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// Requests that were read already, or are read.
    Request,
    /// What was read is not a whole request.
    More,
    HandOn,
    Close,
}

/// What a poll of the fast part has come to.
enum Outcome {
    HandOn,
    End(io::Result<()>),
}

impl<S, P, H> Connection<S, P, H>
where
    P: FastPath,
    H: Service<(Guarded<S>, Option<SocketAddr>)>,
{
    pub(super) fn new(stream: Guarded<S>, peer: Option<SocketAddr>, fast: Rc<P>, http: Rc<H>) -> Self {
        let fast_part = Fast { stream, answers: Vec::new(), written: 0, asked: None, next: Next::Request };
        Self { state: State::Fast(Box::new(fast_part)), fast, http, peer }
    }
}

impl<S, P, H> Future for Connection<S, P, H>
where
    S: AsyncRead + AsyncWrite + Unpin,
    P: FastPath,
    H: Service<(Guarded<S>, Option<SocketAddr>), Response = (), Error = DispatchError>,
{
    type Output = Result<(), DispatchError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        loop {
            match &mut this.state {
                State::Fast(fast) => match ready!(fast.poll(cx, &this.fast, this.peer)) {
                    Outcome::HandOn => {
                        let State::Fast(fast) = std::mem::replace(&mut this.state, State::Ended) else { continue };
                        this.state = State::HandedOn(Box::pin(this.http.call((fast.stream, this.peer))));
                    }
                    Outcome::End(ended) => {
                        this.state = State::Ended;
                        return Poll::Ready(ended.map_err(DispatchError::Io));
                    }
                },
                State::HandedOn(handed_on) => {
                    let ended = ready!(handed_on.as_mut().poll(cx));
                    this.state = State::Ended;
                    return Poll::Ready(ended);
                }
                State::Ended => return Poll::Ready(Ok(())),
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin, P: FastPath> Fast<S, P> {
    fn poll(&mut self, cx: &mut Context<'_>, path: &P, peer: Option<SocketAddr>) -> Poll<Outcome> {
        self.stream.conn().watch(cx);
        let mut turns = 0;
        loop {
            if let Err(error) = ready!(self.write(cx)) {
                return Poll::Ready(Outcome::End(Err(error)));
            }
            if let Some(asked) = &mut self.asked {
                let answer = ready!(Pin::new(&mut asked.answer).poll(cx));
                let taken = asked.taken;
                self.asked = None;
                match answer {
                    Some(answer) => self.answer_with(answer, taken),
                    None => self.fail(),
                }
                continue;
            }
            if turns == TURNS && matches!(self.next, Next::Request | Next::More) {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            turns += 1;
            match (self.next, self.stream.conn().doomed()) {
                // Its client is told why.
                (Next::HandOn, _) | (_, Some(Reason::Head)) => return Poll::Ready(Outcome::HandOn),
                (Next::Close, _) | (_, Some(_)) => {
                    let ended = ready!(Pin::new(&mut self.stream).poll_shutdown(cx));
                    return Poll::Ready(Outcome::End(ended));
                }
                (Next::Request, None) if self.stream.keeps() => self.take_kept(path, peer),
                (Next::Request | Next::More, None) => {
                    if let Err(error) = ready!(self.read(cx, path, peer)) {
                        return Poll::Ready(Outcome::End(Err(error)));
                    }
                }
            }
        }
    }

    /// Writes the answers that there are.
    fn write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.answers.is_empty() {
            return Poll::Ready(Ok(()));
        }
        while self.written < self.answers.len() {
            self.written += ready!(self.stream.send(cx, &self.answers[self.written..]))?;
        }
        self.written = 0;
        // The buffer goes back to the worker.
        self.stream.worker().give_back(std::mem::take(&mut self.answers));
        let conn = self.stream.conn();
        conn.flushed();
        if self.stream.keeps() {
            conn.has_read();
        }
        Poll::Ready(Ok(()))
    }

    /// Reads, and answers what was read.
    fn read(&mut self, cx: &mut Context<'_>, path: &P, peer: Option<SocketAddr>) -> Poll<io::Result<()>> {
        let worker = self.stream.worker().clone();
        let mut buffer = worker.buffer.borrow_mut();
        let length = ready!(self.stream.receive(cx, &mut buffer))?;
        self.stream.conn().has_read();
        if length == 0 {
            // actix-http answers to a request that was broken off.
            self.next = if self.stream.keeps() { Next::HandOn } else { Next::Close };
        } else if self.stream.keeps() {
            self.stream.keep_more(&buffer[..length]);
            drop(buffer);
            self.take_kept(path, peer);
        } else {
            let taken = self.take(&buffer[..length], path, peer);
            if taken < length {
                self.stream.keep(&buffer[taken..length]);
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Answers what was kept.
    fn take_kept(&mut self, path: &P, peer: Option<SocketAddr>) {
        let (kept, at) = self.stream.take_kept();
        let taken = at + self.take(&kept[at..], path, peer);
        if taken < kept.len() {
            self.stream.put_back(kept, taken);
        }
    }

    /// Answers the requests at the beginning of some bytes. Returns how many bytes were taken.
    fn take(&mut self, bytes: &[u8], path: &P, peer: Option<SocketAddr>) -> usize {
        let mut at = 0;
        self.next = Next::Request;
        if self.answers.capacity() == 0 {
            self.answers = self.stream.worker().answers();
        }
        while at < bytes.len() && self.next == Next::Request && self.answers.len() < ANSWER_BYTES {
            match path.step(&bytes[at..], peer, &mut self.answers) {
                Step::Answered(taken) => {
                    at += taken.length;
                    if taken.closes {
                        self.next = Next::Close;
                    }
                    // The next one has to wait until other connections have had their turn.
                    if taken.was_read {
                        break;
                    }
                }
                Step::Ask(taken, answer) => {
                    at += taken.length;
                    let _busy = Busy::begin(self.stream.conn(), Rest::None);
                    self.asked = Some(Asked { taken, answer, _busy });
                    break;
                }
                Step::Partial if bytes.len() - at < HEAD_BYTES => self.next = Next::More,
                Step::Partial | Step::Unknown => {
                    self.next = Next::HandOn;
                    if P::KNOWS_SOME {
                        self.stream.worker().handed_on();
                    }
                }
            }
        }
        if self.answers.is_empty() {
            self.stream.worker().give_back(std::mem::take(&mut self.answers));
        }
        at
    }

    fn answer_with(&mut self, answer: Response<BoxBody>, taken: Taken) {
        let closes = taken.closes || !answer.head().keep_alive();
        match encode(answer, taken.head_only, closes, &mut self.answers) {
            Ok(()) if closes => self.next = Next::Close,
            Ok(()) => {}
            Err(NotInMemory) => self.fail(),
        }
    }

    /// There is an answer that cannot be sent.
    fn fail(&mut self) {
        tracing::warn!("an answer ended early, or is too large for a connection that answers redirects");
        let problem = Problem::internal("the answer could not be made to its end");
        self.answers.extend_from_slice(&refusal::whole(&problem));
        self.next = Next::Close;
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::time::Duration;

    use actix_service::fn_service;
    use tokio::io::AsyncWriteExt as _;
    use waypost_telemetry::Metrics;

    use super::super::addresses::Addresses;
    use super::super::worker::{ConnectionLimits, Connections};
    use super::*;

    /// Answers each byte at once, as a request of a link that was read from the store, or from memory.
    struct Answers {
        was_read: bool,
        answered: Cell<usize>,
    }

    impl FastPath for Answers {
        type Answer = std::future::Ready<Option<Response<BoxBody>>>;

        fn step(&self, _: &[u8], _: Option<SocketAddr>, answers: &mut Vec<u8>) -> Step<Self::Answer> {
            self.answered.set(self.answered.get() + 1);
            answers.push(b'!');
            Step::Answered(Taken { length: 1, closes: false, head_only: false, was_read: self.was_read })
        }
    }

    /// How many of nine pipelined requests are answered before other connections have their turn.
    async fn answered_in_a_turn(was_read: bool) -> usize {
        let limits = ConnectionLimits {
            connections_max: 4,
            addresses: Addresses::new(10, Vec::new()),
            keep_alive: Duration::from_secs(75),
            request: Duration::from_secs(5),
            write: Duration::from_secs(10),
        };
        let connections = Connections::new("public", &limits, &Metrics::new());
        let (mut client, server) = tokio::io::duplex(1024);
        client.write_all(b"123456789").await.unwrap();
        let stream = Guarded::new(server, connections.add(None), connections.clone());
        let http = fn_service(|_: (Guarded<_>, Option<SocketAddr>)| std::future::ready(Ok::<_, DispatchError>(())));
        let answers = Rc::new(Answers { was_read, answered: Cell::new(0) });
        let mut connection = Connection::new(stream, None, answers.clone(), Rc::new(http));
        let mut cx = Context::from_waker(std::task::Waker::noop());
        assert!(Pin::new(&mut connection).poll(&mut cx).is_pending());
        answers.answered.get()
    }

    #[tokio::test]
    async fn requests_that_are_read_from_the_store_give_way_to_other_connections() {
        assert_eq!(answered_in_a_turn(false).await, 9);
        assert_eq!(answered_in_a_turn(true).await, TURNS);
    }
}

//! The accepted stream of a connection, as actix-http reads and writes it.
//!
//! actix-http reads as long as bytes arrive, decodes all requests in them, and keeps all their answers in memory. So this stream stops
//! reading: it passes on a few heads, or a piece of a wanted body, and nothing more until the socket has taken the answers.
//! A request costs a copy of its head and a few comparisons.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::conn::{Conn, Reason};
use super::escape::{GROWTH_MAX, Targets};
use super::framing::{Heads, Piece};
use super::refusal;
use super::worker::Connections;
use crate::http::problem::Problem;

/// The longest head of a request: a URL of the largest size, and cookies.
pub(in crate::http) const HEAD_BYTES_MAX: usize = 32 * 1024;

/// The most bytes that are read and discarded after the last answer, so that the answer is not lost to a client that still sends.
const LINGER_BYTES_MAX: usize = 4 << 20;

/// A stream that reads no more than the node can answer.
pub(in crate::http) struct Guarded<S> {
    io: S,
    conn: Rc<Conn>,
    worker: Rc<Connections>,
    /// Bytes that were read but not passed on yet; at most what a worker reads at once.
    kept: Vec<u8>,
    kept_at: usize,
    heads: Heads,
    targets: Targets,
    /// Bytes were passed on, and their answers are not written yet.
    turn: bool,
    /// Several heads were passed on together.
    several: bool,
    /// Reading was refused, so only this stream can wake the reader.
    refused: bool,
    /// An answer made by this stream, the last one of the connection.
    own: Bytes,
    /// Nothing is read or written any more except that answer.
    closing: bool,
    /// The number of bytes that may still be read and discarded.
    linger: usize,
    shut: bool,
    /// The last answer is one to what is no request.
    malformed: bool,
}

impl<S> Guarded<S> {
    pub(super) fn new(io: S, conn: Rc<Conn>, worker: Rc<Connections>) -> Self {
        Self {
            io,
            conn,
            worker,
            kept: Vec::new(),
            kept_at: 0,
            heads: Heads::default(),
            targets: Targets::default(),
            turn: false,
            several: false,
            refused: false,
            own: Bytes::new(),
            closing: false,
            linger: 0,
            shut: false,
            malformed: false,
        }
    }

    /// The state of the connection.
    pub(super) fn conn(&self) -> &Rc<Conn> {
        &self.conn
    }

    /// The connections of its worker.
    pub(super) fn worker(&self) -> &Rc<Connections> {
        &self.worker
    }
}

impl Guarded<tokio::net::TcpStream> {
    /// This server's address of the connection.
    pub(super) fn local_addr(&self) -> Option<std::net::SocketAddr> {
        self.io.local_addr().ok()
    }
}

impl<S> Guarded<S> {
    /// Ends the connection with an answer of this stream.
    fn close_with(&mut self, answer: Bytes) {
        self.own = answer;
        self.closing = true;
        self.linger = LINGER_BYTES_MAX;
    }

    /// Passes on a part of the bytes; returns its length.
    fn hand_on(&mut self, bytes: &[u8], buf: &mut ReadBuf<'_>) -> usize {
        let bytes = &bytes[..bytes.len().min(buf.remaining())];
        self.conn.has_read();
        let of_body = self.conn.rest.borrow_mut().take(bytes);
        let length = if of_body > 0 {
            if !self.conn.rest.borrow().is_open() {
                self.conn.has_body();
            }
            buf.put_slice(&bytes[..of_body]);
            of_body
        } else {
            self.hand_on_heads(bytes, buf)
        };
        self.turn = true;
        length
    }

    /// Passes on a few heads, or a part of one, with the target of the first one escaped.
    fn hand_on_heads(&mut self, bytes: &[u8], buf: &mut ReadBuf<'_>) -> usize {
        let escape = self.targets.need(bytes) && buf.remaining() >= GROWTH_MAX;
        let bytes = if escape { &bytes[..bytes.len().min(buf.remaining() / GROWTH_MAX)] } else { bytes };
        let one_by_one = escape || self.targets.may_need_later(bytes);
        let Piece { length, heads } = if one_by_one { self.heads.one(bytes) } else { self.heads.piece(bytes) };
        self.several = heads > 1;
        let bytes = &bytes[..length];
        if escape {
            self.targets.escape(bytes, |escaped| buf.put_slice(escaped));
        } else {
            buf.put_slice(bytes);
        }
        self.targets.passed(bytes, heads > 0);
        length
    }

    /// Keeps bytes that were read, in place of others.
    pub(super) fn keep(&mut self, bytes: &[u8]) {
        self.kept.clear();
        self.kept_at = 0;
        self.keep_more(bytes);
    }

    /// Keeps bytes behind those that are kept.
    pub(super) fn keep_more(&mut self, bytes: &[u8]) {
        // A client whose requests never end together with what is read must not make this grow.
        self.kept.drain(..self.kept_at);
        self.kept_at = 0;
        self.kept.extend_from_slice(bytes);
    }

    /// Whether bytes are kept.
    pub(super) fn keeps(&self) -> bool {
        self.kept_at < self.kept.len()
    }

    /// Takes the kept bytes out, and the position of the first that was not passed on.
    pub(super) fn take_kept(&mut self) -> (Vec<u8>, usize) {
        (std::mem::take(&mut self.kept), std::mem::take(&mut self.kept_at))
    }

    /// Puts kept bytes back, of which the first `at` were passed on.
    pub(super) fn put_back(&mut self, kept: Vec<u8>, at: usize) {
        (self.kept, self.kept_at) = (kept, at);
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Guarded<S> {
    /// Reads into the worker's buffer; returns the number of bytes.
    pub(super) fn receive(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(buffer);
        ready!(Pin::new(&mut self.io).poll_read(cx, &mut buffer))?;
        Poll::Ready(Ok(buffer.filled().len()))
    }

    /// Writes a part of some bytes; returns the number of bytes.
    pub(super) fn send(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if let Some(error) = self.cut_off() {
            return Poll::Ready(Err(error));
        }
        match Pin::new(&mut self.io).poll_write(cx, bytes) {
            Poll::Ready(Ok(0)) => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            Poll::Ready(Ok(sent)) => {
                self.conn.wrote(sent);
                Poll::Ready(Ok(sent))
            }
            Poll::Pending => {
                self.conn.blocks();
                Poll::Pending
            }
            failed => failed,
        }
    }

    /// Sends the stream's own answer.
    fn send_own(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.own.is_empty() {
            let own = self.own.clone();
            let sent = ready!(self.send(cx, &own))?;
            self.own.advance(sent);
        }
        Poll::Ready(Ok(()))
    }

    /// The error of a connection whose client does not take its answers.
    fn cut_off(&self) -> Option<io::Error> {
        (self.conn.doomed() == Some(Reason::Write)).then(|| io::ErrorKind::TimedOut.into())
    }

    /// Reads the first bytes of a turn.
    fn read(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.keeps() {
            let kept = std::mem::take(&mut self.kept);
            self.kept_at += self.hand_on(&kept[self.kept_at..], buf);
            if self.kept_at < kept.len() {
                self.kept = kept;
            }
            // Otherwise the memory is freed: a connection that seldom pipelines need not keep it.
        } else {
            let worker = self.worker.clone();
            let mut buffer = worker.buffer.borrow_mut();
            let length = ready!(self.receive(cx, &mut buffer))?;
            if length == 0 {
                return Poll::Ready(Ok(()));
            }
            let handed_on = self.hand_on(&buffer[..length], buf);
            if handed_on < length {
                self.keep(&buffer[handed_on..length]);
            }
        }
        if self.heads.begun() > HEAD_BYTES_MAX {
            self.worker.malformed(431);
            self.close_with(refusal::whole(&Problem::head_too_large()));
        }
        Poll::Ready(Ok(()))
    }

    /// Sends what is left, says that nothing follows, and waits for the client to end too.
    fn shut_down(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.own.is_empty() {
            ready!(self.send_own(cx))?;
            self.conn.flushed();
        }
        if !self.shut {
            ready!(Pin::new(&mut self.io).poll_shutdown(cx))?;
            self.shut = true;
            if self.keeps() || self.conn.rest.borrow().is_open() {
                self.linger = LINGER_BYTES_MAX;
            }
            self.closing = true;
            self.kept = Vec::new();
            self.conn.closes();
        }
        if self.linger > 0 {
            ready!(self.drain(cx));
        }
        Poll::Ready(Ok(()))
    }

    /// Discards further bytes, until the client closes or the limit is reached.
    fn drain(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let worker = self.worker.clone();
        let mut buffer = worker.buffer.borrow_mut();
        while self.linger > 0 && !self.conn.is_cut_off() {
            match ready!(self.receive(cx, &mut buffer)) {
                Ok(length @ 1..) => self.linger = self.linger.saturating_sub(length),
                Ok(0) | Err(_) => break,
            }
        }
        self.linger = 0;
        Poll::Ready(())
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Guarded<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.conn.watch(cx);
        if let Some(reason) = this.conn.doomed()
            && !this.closing
        {
            this.closing = true;
            if reason == Reason::Head {
                this.close_with(refusal::whole(&Problem::head_timeout()));
            }
        }
        if this.closing {
            // The end of the stream, for actix-http.
            return Poll::Ready(Ok(()));
        }
        if !this.turn && !this.conn.is_blocked() && this.conn.may_read() {
            return this.read(cx, buf);
        }
        if this.turn && !this.keeps() && !this.conn.is_blocked() && this.conn.may_read() {
            // Registers for the next bytes. There usually are none yet, which is known without a system call.
            let worker = this.worker.clone();
            let mut buffer = worker.buffer.borrow_mut();
            let length = ready!(this.receive(cx, &mut buffer))?;
            if length == 0 {
                return Poll::Ready(Ok(()));
            }
            this.keep(&buffer[..length]);
        }
        this.refused = true;
        Poll::Pending
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Guarded<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if let Some(error) = this.cut_off() {
            return Poll::Ready(Err(error));
        }
        if this.closing && !this.own.is_empty() && !this.malformed {
            // Nothing follows the last answer.
            return Poll::Ready(Ok(bytes.len()));
        }
        if !this.malformed
            && !this.conn.is_busy()
            && let Some((answer, status)) = refusal::replaced(bytes, this.several)
        {
            this.worker.malformed(status.as_u16());
            this.close_with(answer);
            this.malformed = true;
        }
        if this.malformed {
            // actix-http drops the stream as soon as its answer to what is no request is taken, and does not shut it down before.
            return this.shut_down(cx).map_ok(|()| bytes.len());
        }
        match Pin::new(&mut this.io).poll_write(cx, bytes) {
            Poll::Ready(Ok(sent)) => {
                this.conn.wrote(sent);
                Poll::Ready(Ok(sent))
            }
            Poll::Pending => {
                this.conn.watch(cx);
                this.conn.blocks();
                Poll::Pending
            }
            failed => failed,
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.own.is_empty() {
            ready!(this.send_own(cx))?;
        }
        this.conn.flushed();
        this.turn = false;
        if this.refused && this.conn.may_read() {
            this.refused = false;
            cx.waker().wake_by_ref();
        }
        Pin::new(&mut this.io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().shut_down(cx)
    }
}

impl<S> Drop for Guarded<S> {
    fn drop(&mut self) {
        self.worker.remove(&self.conn);
    }
}

//! The accepted stream of a connection, as actix-http reads and writes it.
//!
//! actix-http reads as long as bytes come, decodes all requests that are in them, and keeps all their answers in memory. So reading stops
//! here: it is given a few heads, or a piece of a body that is waited for, and nothing more before what it wrote has been taken by the
//! socket. A request costs a copy of its head and a few comparisons.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::conn::{Conn, Reason};
use super::framing::{Heads, Piece};
use super::refusal;
use super::worker::Connections;
use crate::http::problem::Problem;

/// The longest head of a request: a URL of the largest size, and cookies.
pub(in crate::http) const HEAD_BYTES_MAX: usize = 32 * 1024;

/// What is still read, and thrown away, after the last answer, so that it is not lost to a client that is still sending.
const LINGER_BYTES_MAX: usize = 4 << 20;

/// A stream that reads no more than what can be answered.
pub(in crate::http) struct Guarded<S> {
    io: S,
    conn: Rc<Conn>,
    worker: Rc<Connections>,
    /// Read and not handed on yet; at most what a worker reads at once.
    kept: Vec<u8>,
    kept_at: usize,
    heads: Heads,
    /// Something was handed on, and its answers are not written.
    turn: bool,
    /// Several heads were handed on together.
    several: bool,
    /// Reading was refused, so nobody but this stream wakes the reader.
    refused: bool,
    /// An answer of this stream's own, the last one of the connection.
    own: Bytes,
    /// Nothing more is read or written but that.
    closing: bool,
    /// Of what may still be read and thrown away; 0 = nothing is.
    linger: usize,
    shut: bool,
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
            turn: false,
            several: false,
            refused: false,
            own: Bytes::new(),
            closing: false,
            linger: 0,
            shut: false,
        }
    }

    /// What is known of the connection.
    pub(super) fn conn(&self) -> &Rc<Conn> {
        &self.conn
    }
}

impl Guarded<tokio::net::TcpStream> {
    /// This server's address of the connection.
    pub(super) fn local_addr(&self) -> Option<std::net::SocketAddr> {
        self.io.local_addr().ok()
    }
}

impl<S> Guarded<S> {
    /// Ends the connection with an answer of its own.
    fn close_with(&mut self, answer: Bytes) {
        self.own = answer;
        self.closing = true;
        self.linger = LINGER_BYTES_MAX;
    }

    /// Hands on a piece of what came; answers its length.
    fn hand_on(&mut self, bytes: &[u8], buf: &mut ReadBuf<'_>) -> usize {
        let bytes = &bytes[..bytes.len().min(buf.remaining())];
        self.conn.has_read();
        let of_body = self.conn.rest.borrow_mut().take(bytes);
        let length = if of_body > 0 {
            if !self.conn.rest.borrow().is_open() {
                self.conn.has_body();
            }
            of_body
        } else {
            let Piece { length, heads } = self.heads.piece(bytes);
            self.several = heads > 1;
            length
        };
        buf.put_slice(&bytes[..length]);
        self.turn = true;
        length
    }

    fn keep(&mut self, bytes: &[u8]) {
        self.kept.clear();
        self.kept.extend_from_slice(bytes);
        self.kept_at = 0;
    }

    fn keeps(&self) -> bool {
        self.kept_at < self.kept.len()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Guarded<S> {
    /// Reads into the buffer of the worker; answers how much.
    fn receive(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(buffer);
        ready!(Pin::new(&mut self.io).poll_read(cx, &mut buffer))?;
        Poll::Ready(Ok(buffer.filled().len()))
    }

    /// Sends the answer of its own.
    fn send_own(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.own.is_empty() {
            match Pin::new(&mut self.io).poll_write(cx, &self.own) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(sent)) => {
                    self.conn.wrote(sent);
                    self.own.advance(sent);
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    self.conn.blocks();
                    return self.cut_off().map_or(Poll::Pending, |error| Poll::Ready(Err(error)));
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    /// The error of a connection whose client does not take its answers.
    fn cut_off(&self) -> Option<io::Error> {
        (self.conn.doomed() == Some(Reason::Write)).then(|| io::ErrorKind::TimedOut.into())
    }

    /// The first bytes of a turn.
    fn read(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.keeps() {
            let kept = std::mem::take(&mut self.kept);
            self.kept_at += self.hand_on(&kept[self.kept_at..], buf);
            if self.kept_at < kept.len() {
                self.kept = kept;
            }
            // Else it is given back: what pipelines seldom need not keep memory for it.
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

    /// Throws away what still comes, until the client ends too or it is enough.
    fn drain(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let worker = self.worker.clone();
        let mut buffer = worker.buffer.borrow_mut();
        while self.linger > 0 && self.conn.doomed().is_none() {
            match ready!(self.receive(cx, &mut buffer)) {
                Ok(length @ 1..) => self.linger = self.linger.saturating_sub(length),
                Ok(0) | Err(_) => break,
            }
        }
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
            // So that the socket tells when there is more. There is nothing yet, as a rule, and that is known without asking the system.
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
        if this.closing && !this.own.is_empty() {
            // Nothing follows the last answer.
            return Poll::Ready(Ok(bytes.len()));
        }
        if !this.conn.is_busy()
            && let Some((answer, status)) = refusal::replaced(bytes, this.several)
        {
            this.worker.malformed(status.as_u16());
            this.close_with(answer);
            return Poll::Ready(Ok(bytes.len()));
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
        let this = self.get_mut();
        if !this.own.is_empty() {
            ready!(this.send_own(cx))?;
            this.conn.flushed();
        }
        if !this.shut {
            ready!(Pin::new(&mut this.io).poll_shutdown(cx))?;
            this.shut = true;
            if this.keeps() || this.conn.rest.borrow().is_open() {
                this.linger = LINGER_BYTES_MAX;
            }
            this.closing = true;
            this.kept = Vec::new();
            this.conn.closes();
        }
        if this.linger > 0 {
            ready!(this.drain(cx));
        }
        Poll::Ready(Ok(()))
    }
}

impl<S> Drop for Guarded<S> {
    fn drop(&mut self) {
        self.worker.remove(&self.conn);
    }
}

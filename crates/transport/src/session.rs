//! The listening side: connections of other nodes, and the requests that come over them.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;
use tokio_util::codec::Framed;
use waypost_protocol::Kind;
use waypost_protocol::peer::{PeerError, PeerService, Sender};
use waypost_telemetry::Metrics;

use crate::dial::Stream;
use crate::frame::{FRAME_BYTES_MAX, Frame, codec};
use crate::handshake::{self, Identity};
use crate::metrics::SessionMetrics;
use crate::tls::TlsServer;

/// The bounds of the peer port.
#[derive(Debug, Clone, Copy)]
pub struct SessionLimits {
    /// Connections that may be open, with those whose handshake is under way. A cluster needs two for each other node.
    pub sessions_max: usize,
    /// Requests of one connection that may be in work.
    pub requests_max: usize,
    /// How long a handshake may take.
    pub handshake_max: Duration,
    /// How long a connection may be silent. Peers ping every second.
    pub silence_max: Duration,
}

impl Default for SessionLimits {
    fn default() -> Self {
        Self {
            sessions_max: 256,
            requests_max: 4096,
            handshake_max: Duration::from_secs(5),
            silence_max: Duration::from_secs(15),
        }
    }
}

/// Accepts connections for ever.
///
/// # Errors
/// When the listener cannot be used.
pub async fn listen(
    listener: std::net::TcpListener,
    tls: Option<TlsServer>,
    identity: Identity,
    service: Arc<dyn PeerService>,
    limits: SessionLimits,
    metrics: &Metrics,
) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = TcpListener::from_std(listener)?;
    let metrics = SessionMetrics::new(metrics);
    let places = Arc::new(Semaphore::new(limits.sessions_max));
    // A node that is refused comes again and again: the same reason is told once.
    let told = Arc::new(Mutex::new(String::new()));
    loop {
        let (stream, address) = match listener.accept().await {
            Ok(accepted) => accepted,
            // Too many open files, or a connection that was reset before it was accepted: neither ends the listener.
            Err(error) => {
                tracing::warn!(%error, "a connection of a node was not accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let Ok(place) = places.clone().try_acquire_owned() else {
            metrics.refused.inc();
            continue;
        };
        let (identity, service, metrics, tls) = (identity.clone(), service.clone(), metrics.clone(), tls.clone());
        let told = told.clone();
        tokio::spawn(async move {
            let _place = place;
            let greeted = timeout(limits.handshake_max, async {
                stream.set_nodelay(true).map_err(|error| error.to_string())?;
                let stream: Box<dyn Stream> = match tls {
                    None => Box::new(stream),
                    Some(tls) => Box::new(tls.accept(stream).await.map_err(|error| error.to_string())?),
                };
                handshake::answer(&identity, stream).await.map_err(|error| error.to_string())
            });
            match greeted.await.unwrap_or_else(|_| Err("the handshake took too long".to_owned())) {
                Ok((from, stream)) => run(stream, from, service, limits, &metrics).await,
                Err(why) => {
                    metrics.refused.inc();
                    let mut told = told.lock();
                    if *told != why {
                        tracing::warn!(%address, why, "a connection to the peer port was refused");
                        *told = why;
                    }
                }
            }
        });
    }
}

/// Serves one connection that came about in another way than over TCP: for tests.
pub async fn serve_stream(
    stream: Box<dyn Stream>,
    identity: &Identity,
    service: Arc<dyn PeerService>,
    limits: SessionLimits,
    metrics: &Metrics,
) {
    let metrics = SessionMetrics::new(metrics);
    match timeout(limits.handshake_max, handshake::answer(identity, stream)).await {
        Ok(Ok((from, stream))) => run(stream, from, service, limits, &metrics).await,
        _ => metrics.refused.inc(),
    }
}

async fn run(
    stream: Box<dyn Stream>,
    from: Sender,
    service: Arc<dyn PeerService>,
    limits: SessionLimits,
    metrics: &SessionMetrics,
) {
    metrics.sessions.inc();
    let (mut sink, mut frames) = Framed::new(stream, codec(FRAME_BYTES_MAX)).split();
    // As many answers as requests in work, and some room for pongs.
    let (answers, mut ready) = mpsc::channel::<Bytes>(limits.requests_max + 16);
    let places = Arc::new(Semaphore::new(limits.requests_max));
    let write = async {
        while let Some(first) = ready.recv().await {
            let mut next = Some(first);
            while let Some(frame) = next {
                if sink.feed(frame).await.is_err() {
                    return;
                }
                next = ready.try_recv().ok();
            }
            if !matches!(timeout(limits.silence_max, sink.flush()).await, Ok(Ok(()))) {
                return;
            }
        }
    };
    let read = async {
        loop {
            let bytes = match timeout(limits.silence_max, frames.next()).await {
                Ok(Some(Ok(bytes))) => bytes,
                Ok(Some(Err(error))) => {
                    metrics.broken.inc();
                    tracing::warn!(peer = from.name, %error, "a connection from a node was closed");
                    return;
                }
                Ok(None) | Err(_) => return,
            };
            let (id, kind, place, within_ms, body) = match Frame::decode(bytes) {
                Ok((Frame::Request { id, kind, place, within_ms }, body)) => (id, kind, place, within_ms, body),
                Ok((Frame::Ping, _)) => {
                    if answers.send(Frame::Pong.encode(b"")).await.is_err() {
                        return;
                    }
                    continue;
                }
                Ok(_) => return,
                Err(error) => {
                    metrics.broken.inc();
                    tracing::warn!(peer = from.name, %error, "a connection from a node was closed");
                    return;
                }
            };
            let Ok(place_held) = places.clone().try_acquire_owned() else {
                metrics.overloaded.inc();
                if answers.send(Frame::Refusal { id, overloaded: true }.encode(b"")).await.is_err() {
                    return;
                }
                continue;
            };
            metrics.served.inc();
            let (service, from, answers) = (service.clone(), from.clone(), answers.clone());
            tokio::spawn(async move {
                let within = Duration::from_millis(within_ms.into());
                let served = timeout(within, service.serve(from, Kind(kind), place, body.to_vec(), within)).await;
                let frame = match served {
                    Ok(Ok(answer)) if answer.len() < FRAME_BYTES_MAX - 128 => Frame::Answer { id }.encode(&answer),
                    Ok(Ok(_)) => Frame::Refusal { id, overloaded: false }.encode(b"the answer is too long"),
                    Ok(Err(PeerError::Overloaded)) => Frame::Refusal { id, overloaded: true }.encode(b""),
                    Ok(Err(PeerError::Refused(why))) => Frame::Refusal { id, overloaded: false }.encode(why.as_bytes()),
                    // What became of it is not known: the sender's own deadline tells it so.
                    Ok(Err(_)) | Err(_) => return,
                };
                let _ = answers.send(frame).await;
                drop(place_held);
            });
        }
    };
    tokio::select! { () = read => {}, () = write => {} }
    metrics.sessions.dec();
}

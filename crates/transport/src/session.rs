//! The listening side: connections from other nodes, and the requests that come over them.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, timeout};
use tokio_util::codec::Framed;
use waypost_protocol::Kind;
use waypost_protocol::peer::{PeerError, PeerService};
use waypost_tasks::{Task, Tasks};
use waypost_telemetry::Metrics;

use crate::closed::is_closed;
use crate::dial::Stream;
use crate::frame::{Frame, codec};
use crate::handshake::{self, Identity, Peer};
use crate::limits::{FRAME_BYTES_MAX, SessionLimits, TOLD_MAX};
use crate::metrics::{Open, SessionMetrics};
use crate::tls::TlsServer;

/// How often the same reason for a refusal is logged.
const TELL_AGAIN: Duration = Duration::from_secs(60);

/// The handshakes in progress, by address.
#[derive(Clone)]
struct Doors {
    limits: SessionLimits,
    open: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// One handshake in progress.
struct Door {
    doors: Doors,
    address: IpAddr,
}

impl Doors {
    fn new(limits: SessionLimits) -> Self {
        Self { limits, open: Arc::default() }
    }

    fn enter(&self, address: IpAddr) -> Option<Door> {
        let address = host(address);
        let mut open = self.open.lock();
        let of_address = open.get(&address).copied().unwrap_or(0);
        let full = open.values().sum::<usize>() >= self.limits.handshakes_max;
        if full || of_address >= self.limits.handshakes_per_address_max {
            return None;
        }
        open.insert(address, of_address + 1);
        Some(Door { doors: self.clone(), address })
    }
}

/// What counts as one address: an IPv4 address, or the IPv6 network of 64 bits that a host usually has for itself.
fn host(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        address => address,
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        let mut open = self.doors.open.lock();
        if let Some(count) = open.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.address);
            }
        }
    }
}

/// Accepts connections forever.
///
/// # Errors
/// If the listener cannot be used.
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
    let (metrics, tasks) = (SessionMetrics::new(metrics), Tasks::new(metrics));
    let permits = Arc::new(Semaphore::new(limits.sessions_max));
    let doors = Doors::new(limits);
    // A refused node tries again and again.
    let told = Arc::new(Mutex::new(HashMap::<String, Instant>::new()));
    loop {
        let (stream, address) = match listener.accept().await {
            Ok(accepted) => accepted,
            // Too many open files, or a connection that was reset before it was accepted: neither ends the listener.
            Err(error) => {
                tracing::warn!(%error, "a connection from a node could not be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let Some(door) = doors.enter(address.ip()) else {
            metrics.refused.inc();
            continue;
        };
        let permits = permits.clone();
        let (identity, service, metrics, tls) = (identity.clone(), service.clone(), metrics.clone(), tls.clone());
        let told = told.clone();
        let of_session = tasks.clone();
        tasks.spawn_once(Task::PeerSession, async move {
            let greeted = timeout(limits.handshake_max, async {
                stream.set_nodelay(true)?;
                let stream: Box<dyn Stream> = match tls {
                    None => Box::new(stream),
                    Some(tls) => Box::new(tls.accept(stream).await?),
                };
                handshake::answer(&identity, stream).await
            });
            let greeted = match greeted.await {
                // The probe of an orchestrator does no more than this.
                Ok(Err(error)) if error.is_closed() => {
                    metrics.refused.inc();
                    tracing::debug!(%address, "a connection to the peer port was closed before the handshake");
                    return;
                }
                Ok(greeted) => greeted.map_err(|error| error.to_string()),
                Err(_) => Err("the handshake took too long".to_owned()),
            };
            drop(door);
            let permit = permits.try_acquire_owned().map_err(|_| "there are too many connections of nodes".to_owned());
            match greeted.and_then(|greeted| Ok((greeted, permit?))) {
                Ok(((from, stream), _place)) => {
                    run(stream, from, &identity, service, limits, &metrics, &of_session).await
                }
                Err(why) => {
                    metrics.refused.inc();
                    let mut told = told.lock();
                    told.retain(|_, when| when.elapsed() < TELL_AGAIN);
                    if told.len() < TOLD_MAX && !told.contains_key(&why) {
                        tracing::warn!(%address, why, "a connection to the peer port was refused");
                        told.insert(why, Instant::now());
                    }
                }
            }
        });
    }
}

/// Serves one connection that was not made over TCP: for tests.
pub async fn serve_stream(
    stream: Box<dyn Stream>,
    identity: &Identity,
    service: Arc<dyn PeerService>,
    limits: SessionLimits,
    metrics: &Metrics,
) {
    let (metrics, tasks) = (SessionMetrics::new(metrics), Tasks::new(metrics));
    match timeout(limits.handshake_max, handshake::answer(identity, stream)).await {
        Ok(Ok((from, stream))) => run(stream, from, identity, service, limits, &metrics, &tasks).await,
        _ => metrics.refused.inc(),
    }
}

async fn run(
    stream: Box<dyn Stream>,
    from: Peer,
    own: &Identity,
    service: Arc<dyn PeerService>,
    limits: SessionLimits,
    metrics: &SessionMetrics,
    tasks: &Tasks,
) {
    let _open = Open::new(&metrics.sessions);
    let version = from.version;
    let (mut sink, mut frames) = Framed::new(stream, codec(FRAME_BYTES_MAX)).split();
    // As many answers as requests in progress, and some space for pongs.
    let (answers, mut ready) = mpsc::channel::<Bytes>(limits.requests_max + 16);
    let permits = Arc::new(Semaphore::new(limits.requests_max));
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
                Ok(Some(Err(error))) if is_closed(&error) => {
                    tracing::debug!(peer = from.name, "a connection from a node has ended");
                    return;
                }
                Ok(Some(Err(error))) => {
                    metrics.broken.inc();
                    tracing::warn!(peer = from.name, %error, "a connection from a node was closed");
                    return;
                }
                Ok(None) | Err(_) => return,
            };
            let (id, kind, scope, within_ms, body) = match Frame::decode(bytes) {
                Ok((Frame::Request { id, kind, scope, within_ms }, body)) => (id, kind, scope, within_ms, body),
                Ok((Frame::Ping, _)) => {
                    if answers.send(Frame::Pong.encode(version, b"")).await.is_err() {
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
            let Ok(permit) = permits.clone().try_acquire_owned() else {
                metrics.overloaded.inc();
                if answers.send(Frame::Refusal { id, overloaded: true }.encode(version, b"")).await.is_err() {
                    return;
                }
                continue;
            };
            metrics.served.inc();
            let (service, from, answers) = (service.clone(), from.sender(own), answers.clone());
            tasks.spawn_once(Task::PeerRequest, async move {
                let within = Duration::from_millis(within_ms.into());
                let served = timeout(within, service.serve(from, Kind(kind), scope, body.to_vec(), within)).await;
                let frame = match served {
                    Ok(Ok(answer)) if answer.len() < FRAME_BYTES_MAX - 128 => {
                        Frame::Answer { id }.encode(version, &answer)
                    }
                    Ok(Ok(_)) => Frame::Refusal { id, overloaded: false }.encode(version, b"the answer is too long"),
                    Ok(Err(PeerError::Overloaded)) => Frame::Refusal { id, overloaded: true }.encode(version, b""),
                    Ok(Err(PeerError::Refused(why))) => {
                        Frame::Refusal { id, overloaded: false }.encode(version, why.as_bytes())
                    }
                    // The outcome is unknown: the sender finds out by its own deadline.
                    Ok(Err(_)) | Err(_) => return,
                };
                let _ = answers.send(frame).await;
                drop(permit);
            });
        }
    };
    tokio::select! { () = read => {}, () = write => {} }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_a_whole_network_of_ipv6_has_the_handshakes_of_one_address() {
        let doors = Doors::new(SessionLimits { handshakes_per_address_max: 2, ..SessionLimits::default() });
        let enter = |address: &str| doors.enter(address.parse().unwrap());
        let (_first, second) = (enter("2001:db8::1"), enter("2001:db8::2"));
        assert!(second.is_some() && enter("2001:db8::ffff").is_none());
        assert!(enter("2001:db8:0:1::1").is_some(), "another network");
        drop(second);
        let again = enter("2001:db8::3");
        assert!(again.is_some() && enter("2001:db8::4").is_none(), "a permit that was given back");
        let _ipv4 = (enter("203.0.113.1"), enter("::ffff:203.0.113.1"));
        assert!(enter("203.0.113.1").is_none() && enter("203.0.113.2").is_some());
    }
}

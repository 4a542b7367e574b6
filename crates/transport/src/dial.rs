//! How connections are made: over TCP, with or without TLS, or in memory for tests.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::mpsc;
use waypost_protocol::peer::BoxFuture;

use crate::tls::TlsClient;

/// A connection.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Makes connections.
pub trait Dial: Send + Sync {
    /// Connects to the listener at `address`, which is written `host:port`.
    fn dial<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Stream>>>;
}

/// TCP, inside TLS if there are certificates.
pub struct TcpDial {
    from: Option<IpAddr>,
    tls: Option<TlsClient>,
}

impl TcpDial {
    /// Connects `from` the node's own peer address, if it has one, so that firewalls can distinguish nodes. With TLS,
    /// both sides show a certificate.
    pub fn new(from: Option<IpAddr>, tls: Option<TlsClient>) -> Self {
        Self { from, tls }
    }
}

impl TcpDial {
    async fn connect(&self, address: SocketAddr) -> io::Result<TcpStream> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        if let Some(from) = self.from.filter(|from| from.is_ipv4() == address.is_ipv4()) {
            socket.bind((from, 0).into())?;
        }
        socket.connect(address).await
    }
}

impl Dial for TcpDial {
    fn dial<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Stream>>> {
        Box::pin(async move {
            // A name is resolved each time, because a container that comes back has another address.
            let mut found = Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
            for address in tokio::net::lookup_host(address).await? {
                found = self.connect(address).await;
                if found.is_ok() {
                    break;
                }
            }
            let stream = found?;
            // A frame is written whole; waiting for more would only add latency.
            stream.set_nodelay(true)?;
            Ok(match &self.tls {
                None => Box::new(stream) as Box<dyn Stream>,
                Some(tls) => Box::new(tls.connect(stream).await?),
            })
        })
    }
}

/// Connections within a process: the same bytes as over TCP, without a socket.
#[derive(Clone, Default)]
pub struct MemoryNet {
    listeners: Arc<Mutex<HashMap<String, mpsc::UnboundedSender<DuplexStream>>>>,
}

impl MemoryNet {
    /// Listens at an address: receives the streams of its dialers.
    pub fn listen(&self, address: &str) -> mpsc::UnboundedReceiver<DuplexStream> {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.listeners.lock().insert(address.to_owned(), sender);
        receiver
    }
}

impl Dial for MemoryNet {
    fn dial<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Stream>>> {
        Box::pin(async move {
            let (near, far) = tokio::io::duplex(64 * 1024);
            let refused = || io::Error::from(io::ErrorKind::ConnectionRefused);
            let listener = self.listeners.lock().get(address).cloned().ok_or_else(refused)?;
            listener.send(far).map_err(|_| refused())?;
            Ok(Box::new(near) as Box<dyn Stream>)
        })
    }
}

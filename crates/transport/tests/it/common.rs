//! Nodes that talk to each other over TCP, over TLS or in memory.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use waypost_protocol::peer::{BoxFuture, Lane, PeerError, PeerService, Peers, Sender};
use waypost_protocol::{Kind, NodeId};
use waypost_telemetry::Metrics;
use waypost_transport::{
    Dial, Identity, MemoryNet, Secret, SessionLimits, TcpDial, TlsFiles, Transport, listen, serve_stream,
};

pub const ECHO: Kind = Kind(1);
pub const WHO: Kind = Kind(2);
pub const SLEEP: Kind = Kind(3);
pub const MEMBER: Kind = Kind(4);

pub const CLUSTER: [u8; 16] = [1; 16];
pub const REQUESTS_MAX: usize = 32;
pub const SESSIONS_MAX: usize = 24;
pub const HANDSHAKES_MAX: usize = 8;

pub const SECOND: Duration = Duration::from_secs(1);
pub const LATER: Duration = Duration::from_secs(20);

/// How bytes travel.
pub enum Net {
    Tcp,
    Tls { ca: Box<rcgen::CertifiedIssuer<'static, rcgen::KeyPair>>, dir: tempfile::TempDir },
    Memory { net: MemoryNet, next: AtomicU64 },
}

impl Net {
    pub fn tcp() -> Self {
        Self::Tcp
    }

    pub fn tls() -> Self {
        let mut parameters = rcgen::CertificateParams::new(Vec::new()).unwrap();
        parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let ca = rcgen::CertifiedIssuer::self_signed(parameters, rcgen::KeyPair::generate().unwrap()).unwrap();
        Self::Tls { ca: Box::new(ca), dir: tempfile::tempdir().unwrap() }
    }

    /// A certificate for one node, signed by the network's authority.
    pub fn files(&self, node: u64) -> Option<TlsFiles> {
        let Self::Tls { ca, dir } = self else { return None };
        let write = |name: &str, text: String| {
            let path = dir.path().join(format!("{node}.{name}.pem"));
            std::fs::write(&path, text).unwrap();
            path
        };
        let key = rcgen::KeyPair::generate().unwrap();
        let parameters = rcgen::CertificateParams::new(vec!["waypost-peer".to_owned()]).unwrap();
        let cert = parameters.signed_by(&key, ca).unwrap();
        Some(TlsFiles {
            ca: write("ca", ca.pem()),
            cert: write("cert", cert.pem()),
            key: write("key", key.serialize_pem()),
        })
    }
}

pub async fn over_all_nets(test: impl AsyncFn(Net)) {
    for net in [Net::tcp(), Net::tls(), Net::Memory { net: MemoryNet::default(), next: AtomicU64::new(0) }] {
        test(net).await;
    }
}

/// A node that answers.
pub struct Side {
    pub transport: Transport,
    pub address: String,
    pub metrics: Metrics,
    answers: Arc<Answers>,
    /// A runtime of its own, so that the node can disappear all at once, as a process does.
    runtime: Option<tokio::runtime::Runtime>,
}

#[derive(Default)]
struct Answers {
    served: Mutex<Vec<Kind>>,
}

impl PeerService for Answers {
    fn serve(
        &self,
        from: Sender,
        kind: Kind,
        _: u32,
        body: Vec<u8>,
        _: Duration,
    ) -> BoxFuture<'_, Result<Vec<u8>, PeerError>> {
        Box::pin(async move {
            self.served.lock().unwrap().push(kind);
            match kind {
                ECHO => Ok(body),
                MEMBER => Ok(vec![u8::from(from.member)]),
                WHO => Ok(from.node.0.to_le_bytes().to_vec()),
                SLEEP => {
                    tokio::time::sleep(LATER).await;
                    Ok(body)
                }
                _ => Err(PeerError::Refused("nobody knows that".to_owned())),
            }
        })
    }
}
impl Side {
    pub async fn start(net: &Net, node: u64) -> Self {
        Self::with(net, node, CLUSTER, "the secret of the tests", None).await
    }

    pub async fn start_at(net: &Net, node: u64, address: &str) -> Self {
        Self::with(net, node, CLUSTER, "the secret of the tests", Some(address)).await
    }

    pub async fn of_cluster(net: &Net, node: u64, cluster: [u8; 16], secret: &str) -> Self {
        Self::with(net, node, cluster, secret, None).await
    }

    async fn with(net: &Net, node: u64, cluster: [u8; 16], secret: &str, at: Option<&str>) -> Self {
        let identity = Identity {
            node: NodeId(node),
            name: format!("n{node}"),
            secret: Secret::new(secret),
            cluster: Arc::new(parking_lot::RwLock::new(Some(cluster))),
        };
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let metrics = Metrics::new();
        let answers = Arc::new(Answers::default());
        let limits = SessionLimits {
            requests_max: REQUESTS_MAX,
            sessions_max: SESSIONS_MAX,
            handshakes_per_address_max: HANDSHAKES_MAX,
            handshake_max: SECOND / 2,
            ..SessionLimits::default()
        };
        let (dial, address): (Arc<dyn Dial>, String) = match net {
            Net::Memory { net, next } => {
                let fresh = || format!("memory:{}", next.fetch_add(1, Ordering::Relaxed));
                let address = at.map_or_else(fresh, str::to_owned);
                let mut streams = net.listen(&address);
                let (identity, service, metrics) = (identity.clone(), answers.clone(), metrics.clone());
                runtime.spawn(async move {
                    while let Some(stream) = streams.recv().await {
                        let (identity, service, metrics) = (identity.clone(), service.clone(), metrics.clone());
                        tokio::spawn(async move {
                            serve_stream(Box::new(stream), &identity, service, limits, &metrics).await;
                        });
                    }
                });
                (Arc::new(net.clone()), address)
            }
            Net::Tcp | Net::Tls { .. } => {
                let (client, server) = net.files(node).map(|files| files.load().unwrap()).unzip();
                let listener = std::net::TcpListener::bind(at.unwrap_or("127.0.0.1:0")).unwrap();
                let address = listener.local_addr().unwrap().to_string();
                let (identity, service, metrics) = (identity.clone(), answers.clone(), metrics.clone());
                runtime.spawn(async move { listen(listener, server, identity, service, limits, &metrics).await });
                (Arc::new(TcpDial::new(None, client)), address)
            }
        };
        let transport = Transport::new(identity, dial, &metrics, runtime.handle().clone());
        Self { transport, address, metrics, answers, runtime: Some(runtime) }
    }

    pub fn knows(&self, other: &Self) {
        self.transport.set_address(other.transport.identity().node, &other.address);
    }

    pub async fn call(&self, to: u64, lane: Lane, kind: Kind, scope: u32, body: Vec<u8>) -> Result<Vec<u8>, PeerError> {
        self.transport.call(NodeId(to), lane, kind, scope, body, LATER).await
    }

    pub fn served(&self) -> usize {
        self.answers.served.lock().unwrap().len()
    }

    pub async fn has_asked(&self, kind: Kind) {
        eventually("the request has arrived", async || self.answers.served.lock().unwrap().contains(&kind)).await;
    }

    /// A metric's value.
    pub fn metric(&self, name: &str) -> f64 {
        let text = self.metrics.render();
        let line = text.lines().find(|line| line.split(' ').next() == Some(name)).unwrap_or_else(|| panic!("{text}"));
        line.rsplit(' ').next().unwrap().parse().unwrap()
    }

    pub async fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Drop for Side {
    fn drop(&mut self) {
        self.end();
    }
}
pub async fn eventually(what: &str, condition: impl AsyncFn() -> bool) {
    let deadline = Instant::now() + LATER;
    while !condition().await {
        assert!(Instant::now() < deadline, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
pub fn fails_with(result: Result<Vec<u8>, PeerError>, part: &str) {
    let error = result.unwrap_err();
    assert!(!error.outcome_unknown(), "{error}");
    assert!(error.to_string().contains(part), "{error}");
}

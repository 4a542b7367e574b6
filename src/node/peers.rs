//! The part of a node's start that needs other nodes: the peer port, the cluster, and the groups.

use std::net::TcpListener;
use std::sync::Arc;

use parking_lot::RwLock;
use waypost_consensus::{ClusterBinding, GroupOptions, GroupPlace, Groups, Members, NodeIdentity, OpenedCluster};
use waypost_protocol::command::{Bootstrap, NodeRecord};
use waypost_tasks::{Task, Tasks};
use waypost_telemetry::Metrics;
use waypost_transport::{Identity, Secret, SessionLimits, TcpDial, TlsServer, Transport};

use super::base::Base;
use super::error::NodeError;
use super::listen::bind;
use crate::cluster::{ClusterOrigin, NodeService, find_or_create, is_gone};
use crate::config::{Config, ServiceName};
use crate::wall_clock::wall_clock;

/// A node that belongs to a cluster and has its groups open.
pub(super) struct Joined {
    pub(super) identity: NodeIdentity,
    pub(super) groups: Arc<Groups>,
    pub(super) members: Arc<Members>,
    pub(super) transport: Transport,
    pub(super) service: Arc<NodeService>,
    pub(super) record: NodeRecord,
}

/// Opens the peer port and the groups. A new node first creates its cluster or joins one.
pub(super) async fn join(base: &Base) -> Result<Joined, NodeError> {
    let Base { config, db, engine, tasks, metrics, .. } = base;
    let mut identity = NodeIdentity::load(db, rand::random())?;
    let binding = Arc::new(RwLock::new(identity.cluster.map(|binding| binding.id)));
    let own = Identity {
        node: identity.id,
        name: config.node.name.clone(),
        secret: Secret::new(config.cluster_secret.reveal()),
        cluster: binding.clone(),
    };
    let (client, server) = match &config.tls {
        Some(files) => {
            let (client, server) = files.load()?;
            (Some(client), Some(server))
        }
        None => (None, None),
    };
    let members = Arc::new(Members::default());
    let service = Arc::new(NodeService::new(&config.node.name, config.digest(), binding.clone(), members.clone()));
    let from = Some(config.node.peer_listen.ip()).filter(|ip| !ip.is_unspecified());
    let transport = Transport::new(own.clone(), Arc::new(TcpDial::new(from, client)), metrics, engine.clone());
    let mut peer = config.node.peer.clone();
    if let Some(listener) = peer_port(config)? {
        if peer.port == 0 {
            peer.port = listener.local_addr()?.port();
        }
        listen_for_nodes(listener, server, own, service.clone(), &tasks.on(engine), metrics);
    }
    let record = NodeRecord {
        id: identity.id,
        name: config.node.name.clone(),
        peer: peer.to_string(),
        http: config.node.http.to_string(),
        zone: config.node.zone.clone(),
        services: config.node.services.iter().map(|service| service.as_str().to_owned()).collect(),
        drain: false,
    };
    if identity.cluster.is_none() {
        let found = binding_of(find_or_create(config, &transport, &record).await);
        identity.bind(db, found)?;
        *binding.write() = Some(found.id);
    }
    let bootstrap = identity.cluster.filter(|binding| binding.created).map(|binding| Bootstrap {
        cluster_id: binding.id,
        name: config.cluster_name.clone(),
        shards: config.shards,
        permutation_key: rand::random(),
        created_at: wall_clock(),
    });
    let place = GroupPlace {
        db: db.clone(),
        node: identity.id,
        address: record.peer.clone(),
        data_dir: config.node.data_dir.clone(),
        options: GroupOptions {
            checkpoint_bytes: config.checkpoint_bytes,
            log_kept_bytes: config.log_kept_bytes,
            free_min: config.free_space_low,
            clock: wall_clock,
        },
        peers: Arc::new(transport.clone()),
        level: Arc::default(),
        snapshot_turn: Arc::default(),
        tasks: tasks.on(engine),
    };
    let store = config.node.services.contains(&ServiceName::LinkStore);
    let (opened_service, opened_transport, opened) = (service.clone(), transport.clone(), members.clone());
    // Awaited below.
    let opening = engine.spawn(async move {
        let opened = OpenedCluster::open(place, bootstrap, opened).await?;
        // Until group 0 reports the nodes, the members in its log have the addresses.
        for (node, address) in opened.cluster().addresses() {
            opened_transport.set_address(node, &address);
        }
        opened.cluster().read(|machine| {
            machine.state().nodes.values().for_each(|node| opened_transport.set_name(node.id, &node.name));
        });
        opened_service.set_cluster(opened.cluster().clone());
        opened.open_shards(store).await
    });
    let groups = Arc::new(opening.await.map_err(|error| NodeError::Start(error.to_string()))??);
    let others = groups.cluster().addresses().into_iter().map(|(node, _)| node).filter(|node| *node != identity.id);
    if is_gone(&transport, others).await {
        return Err(NodeError::removed(config));
    }
    Ok(Joined { identity, groups, members, transport, service, record })
}

/// Accepts connections of other nodes for as long as the node runs.
fn listen_for_nodes(
    listener: TcpListener,
    tls: Option<TlsServer>,
    own: Identity,
    service: Arc<NodeService>,
    tasks: &Tasks,
    metrics: &Metrics,
) {
    let (stopping, metrics) = (tasks.clone(), metrics.clone());
    tasks.spawn(Task::PeerPort, move || {
        // The next run of the task listens on the same port.
        let listener = listener.try_clone();
        let (tls, own, service) = (tls.clone(), own.clone(), service.clone());
        let (stopping, metrics) = (stopping.clone(), metrics.clone());
        async move {
            let limits = SessionLimits::default();
            let listening = async { waypost_transport::listen(listener?, tls, own, service, limits, &metrics).await };
            if let Err(error) = listening.await {
                stopping.stop_process(Task::PeerPort, &error.to_string());
            }
        }
    });
}

fn binding_of(found: ClusterOrigin) -> ClusterBinding {
    match found {
        ClusterOrigin::Create => ClusterBinding { id: rand::random(), created: true },
        ClusterOrigin::Joined(id) => ClusterBinding { id, created: false },
    }
}

/// Listens for other nodes. A node that is alone in its file can be joined by others if that is safe; it runs without a peer port
/// if the port is taken. Without a secret and without certificates anybody could join, so no port is opened.
fn peer_port(config: &Config) -> Result<Option<TcpListener>, NodeError> {
    let address = config.node.peer_listen;
    if config.nodes.len() > 1 {
        return bind(address, "[[node]] peer_listen").map(Some);
    }
    let (secret, tls) = (!config.cluster_secret.is_empty(), config.tls.is_some());
    let safe = if address.ip().is_loopback() { secret || tls } else { secret && tls };
    if !safe {
        let needed = if address.ip().is_loopback() {
            "WAYPOST_CLUSTER_SECRET"
        } else {
            "WAYPOST_CLUSTER_SECRET and [peer] tls_*"
        };
        tracing::info!("no other node can join this one: that needs {needed}");
        return Ok(None);
    }
    match TcpListener::bind(address) {
        Ok(listener) => Ok(Some(listener)),
        Err(error) => {
            tracing::info!(%address, %error, "no other node can join: cannot listen on the peer port");
            Ok(None)
        }
    }
}

//! A node without a cluster: it creates one, or finds one and joins.
//!
//! Only one node of a file creates a cluster: a node that is alone in its file, or, of the nodes that store links, the first by
//! name, once every other node has answered that it is new too and has the same file. So an emptied node can never create a second cluster beside the first.

use std::time::Duration;

use futures_util::future::join_all;
use waypost_protocol::command::NodeRecord;
use waypost_protocol::peer::Peers;
use waypost_protocol::{Level, NodeId};
use waypost_transport::Transport;

use super::requests::{Join, Probe, Probed};
use crate::config::{Config, NodeConfig, ServiceName};
use crate::limits::{JOIN_MAX, PROBE_MAX};

/// The pause before all nodes are asked again.
const PAUSE: Duration = Duration::from_millis(300);

/// Whether one of the other nodes reports that this node was removed from the cluster.
pub async fn is_gone(peers: &dyn Peers, others: impl Iterator<Item = NodeId>) -> bool {
    let asking =
        others.map(|node| async move { peers.ask(node, 0, &Probe, PROBE_MAX).await.is_ok_and(|probed| probed.gone) });
    join_all(asking).await.into_iter().any(|gone| gone)
}

/// How a node gets its cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClusterOrigin {
    /// It creates one.
    Create,
    /// It has become a member of this one.
    Joined([u8; 16]),
}

/// Looks for the cluster of a new node, for as long as it takes.
pub async fn find_or_create(config: &Config, transport: &Transport, record: &NodeRecord) -> ClusterOrigin {
    let others: Vec<&NodeConfig> = config.nodes.iter().filter(|node| node.name != config.node.name).collect();
    if others.is_empty() {
        return ClusterOrigin::Create;
    }
    // It has to hold the first replicas, so it has to store links. It is chosen by name, because nodes need not agree on the order
    // of the file.
    let stores = |node: &NodeConfig| node.services.contains(&ServiceName::LinkStore);
    let possible = config.nodes.iter().filter(|node| stores(node));
    let first = possible.map(|node| &node.name).min() == Some(&config.node.name);
    // Nodes without links need not be waited for: they cannot have created a cluster before. If no other node stores
    // links, nobody else could report an existing cluster, so then all are waited for.
    let others_store = others.iter().any(|node| stores(node));
    let needs = |node: &NodeConfig| !others_store || stores(node);
    let needed = others.iter().filter(|node| needs(node)).count();
    let mut told = String::new();
    loop {
        let mut new = 0;
        // A node that belongs to a cluster keeps this node from creating another, even if it cannot admit it now.
        let mut exists = false;
        let mut silent = Vec::new();
        let mut differing = Vec::new();
        let mut earlier = Vec::new();
        for node in &others {
            match transport.ask(&node.peer.to_string(), &Probe, PROBE_MAX).await {
                Ok(Probed { cluster: Some(_), .. }) => {
                    exists = true;
                    if let Some(cluster) = join(transport, node, record).await {
                        return ClusterOrigin::Joined(cluster);
                    }
                }
                Ok(Probed { cluster: None, config: theirs, .. }) if theirs != config.digest() => {
                    differing.push(node.name.as_str());
                }
                // A cluster begins at the level of the node that creates it, so all its nodes have to run one version.
                Ok(Probed { level, .. }) if level != Level::CURRENT => earlier.push(node.name.as_str()),
                Ok(Probed { cluster: None, .. }) => new += usize::from(needs(node)),
                Err(error) => silent.push(format!("{} at {} ({error})", node.name, node.peer)),
            }
        }
        if first && !exists && differing.is_empty() && earlier.is_empty() && new == needed {
            return ClusterOrigin::Create;
        }
        let waiting = if !differing.is_empty() {
            format!(
                "the cluster.toml of {} is not the same as this node's; no cluster is created before it is",
                differing.join(", ")
            )
        } else if !earlier.is_empty() {
            format!("{} runs another version of waypost; a new cluster begins with one version", earlier.join(", "))
        } else if exists {
            "there is a cluster, which cannot take this node in now".to_owned()
        } else if silent.is_empty() {
            "all nodes are new; the first by name that stores links creates the cluster".to_owned()
        } else {
            format!("waiting for {}", silent.join(", "))
        };
        if waiting != told {
            tracing::info!("looking for the cluster: {waiting}");
            told = waiting;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn join(transport: &Transport, node: &NodeConfig, record: &NodeRecord) -> Option<[u8; 16]> {
    let request = Join { record: record.clone(), level: Level::CURRENT };
    match transport.ask(&node.peer.to_string(), &request, JOIN_MAX).await {
        Ok(cluster) => {
            tracing::info!(through = node.name, "this node is now a member of the cluster");
            Some(cluster)
        }
        Err(error) => {
            tracing::warn!(node = node.name, %error, "the cluster did not take this node in");
            None
        }
    }
}

//! A node without a cluster: it founds one, or finds one and joins.
//!
//! A cluster is founded only by a node that is alone in its file, or by the first node of the file once every other one has
//! answered that it is new too. So a node whose directory was emptied can never found a second cluster beside the first.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use waypost_protocol::command::NodeRecord;
use waypost_protocol::peer::kinds;
use waypost_transport::Transport;

use crate::config::{Config, NodeConfig};

/// How long one node may take to answer.
const ASK_MAX: Duration = Duration::from_secs(2);

/// The pause before all are asked again.
const PAUSE: Duration = Duration::from_millis(300);

/// The answer to the question what a node is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Probed {
    pub(super) name: String,
    pub(super) cluster: Option<[u8; 16]>,
}

/// How a node came by its cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// It is to create one.
    Create,
    /// It was made a member of this one.
    Joined([u8; 16]),
}

/// Looks for the cluster of a new node, for as long as it takes.
pub async fn find_or_found(config: &Config, transport: &Transport, record: &NodeRecord) -> Found {
    let others: Vec<&NodeConfig> = config.nodes.iter().filter(|node| node.name != config.node.name).collect();
    if others.is_empty() {
        return Found::Create;
    }
    let first = config.nodes.first().is_some_and(|node| node.name == config.node.name);
    let mut told = String::new();
    loop {
        let mut new = 0;
        let mut silent = Vec::new();
        for node in &others {
            match transport.ask(&node.peer.to_string(), kinds::PROBE, Vec::new(), ASK_MAX).await {
                Ok((_, answer)) => match postcard::from_bytes::<Probed>(&answer) {
                    Ok(Probed { cluster: Some(_), .. }) => {
                        if let Some(cluster) = join(transport, node, record).await {
                            return Found::Joined(cluster);
                        }
                    }
                    Ok(Probed { cluster: None, .. }) => new += 1,
                    Err(error) => silent.push(format!("{} ({error})", node.name)),
                },
                Err(error) => silent.push(format!("{} at {} ({error})", node.name, node.peer)),
            }
        }
        if first && new == others.len() {
            return Found::Create;
        }
        let waiting = if silent.is_empty() {
            "all nodes are new; the first of the file creates the cluster".to_owned()
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
    let body = postcard::to_stdvec(record).ok()?;
    match transport.ask(&node.peer.to_string(), kinds::JOIN, body, ASK_MAX * 3).await {
        Ok((_, answer)) => {
            let cluster = answer.try_into().ok()?;
            tracing::info!(through = node.name, "this node is now a member of the cluster");
            Some(cluster)
        }
        Err(error) => {
            tracing::warn!(node = node.name, %error, "the cluster did not take this node in");
            None
        }
    }
}

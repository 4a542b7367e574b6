//! Several nodes: forming, growing and shrinking, and what goes wrong between them.

mod faults;
mod form;

use std::net::SocketAddr;

use tempfile::TempDir;
use waypost_testkit::Cluster;

use crate::PROGRAM;

/// A running cluster of `count` nodes with all services, settled.
async fn cluster_of(count: usize) -> (TempDir, Cluster) {
    let dir = tempfile::tempdir().unwrap();
    let mut cluster = Cluster::new(PROGRAM, dir.path());
    let all: Vec<usize> = (0..count).map(|_| cluster.add(None).unwrap()).collect();
    cluster.start(&all).unwrap();
    cluster.settled(0, count.min(3)).await.unwrap();
    (dir, cluster)
}

fn addresses(cluster: &Cluster, nodes: &[usize]) -> Vec<SocketAddr> {
    nodes.iter().map(|node| cluster.node(*node).address()).collect()
}

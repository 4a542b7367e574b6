//! For tests: real processes of the built binary, alone and as a cluster, and clients that remember what was acknowledged.

mod client;
mod cluster;
mod history;
mod node;

pub use client::{Answer, Client};
pub use cluster::{Cluster, leaders};
pub use history::{Load, Tally};
pub use node::{Node, NodeBuilder};

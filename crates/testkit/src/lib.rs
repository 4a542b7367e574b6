//! For tests: real processes of the built binary, alone and as a cluster, and clients that remember what was acknowledged.

mod client;
mod cluster;
mod collector;
mod faults;
mod history;
mod life;
mod load;
mod node;
mod places;
mod proxy;
mod seed;
mod skip;
mod worker;

pub use client::{Answer, Client};
pub use cluster::{Cluster, leaders};
pub use collector::{Collector, SeenSpan};
pub use faults::Faults;
pub use history::Tally;
pub use load::Load;
pub use node::{Node, NodeBuilder, key_in};
pub use places::write_places;
pub use proxy::{Proxies, Rule};
pub use seed::{chance, pick};
pub use skip::cannot_run;

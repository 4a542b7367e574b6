//! For tests: real processes of the built binary, and clients that remember what was acknowledged.

mod client;
mod node;

pub use client::{Answer, Client};
pub use node::{Node, NodeBuilder};

//! Waypost: the node that the binary runs, its configuration, its HTTP surface and its command line.
//!
//! This floor wires: it reads the configuration, opens the store and the groups, starts the actors and the servers, and
//! stops them in reverse. What the actors decide is in `actors/`, what carries them in `crates/`.

pub mod check;
pub mod cli;
pub mod cluster;
pub mod config;
pub mod http;
pub mod node;
pub mod restore;

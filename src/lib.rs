//! Waypost: the node that the binary runs, its configuration, its HTTP surface and its command line.
//!
//! It reads the configuration, opens the store and the groups, starts the actors and the servers, and
//! stops them in reverse. `actors/` decide; `crates/` carry.

#[cfg(not(target_os = "linux"))]
compile_error!(
    "Waypost runs on Linux only (docs/operations.md, \"Supported systems\"): use a container or a virtual machine with Linux"
);

pub mod account;
pub mod app;
mod cells;
pub mod check;
pub mod cli;
pub mod cluster;
pub mod config;
pub mod http;
pub mod lifecycle;
mod limits;
pub mod memory;
pub mod node;
mod pages;
mod qr;
pub mod restore;
mod threads;
mod times;
mod ui;
pub mod wall_clock;

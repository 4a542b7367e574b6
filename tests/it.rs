//! The product as its users see it: real processes of the binary, over HTTP and the command line.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::print_stdout, reason = "a test says what it skipped, and what it counted")]

mod api;
mod backup;
mod catalog;
mod clicks;
mod clock;
mod cluster;
mod command_access;
mod command_domains;
mod command_line;
mod command_links;
mod command_lists;
mod command_tls;
mod connections;
mod dashboard_settings;
mod deployment;
mod documents;
mod fault;
mod generated;
mod golden;
mod levels;
mod local_cluster;
mod python_tools;
mod readme;
mod sessions;
mod settings;
mod supervision;
mod tidy;
mod ui;
mod ui_link;
mod ui_pages;

use tempfile::TempDir;
use waypost_testkit::{Node, NodeBuilder};

/// The binary that is tested.
const PROGRAM: &str = env!("CARGO_BIN_EXE_waypost");

/// A directory that is gone when the test ends, and how to start a node in it.
fn node_in_temp() -> (TempDir, NodeBuilder) {
    let dir = tempfile::tempdir().unwrap();
    let builder = NodeBuilder::new(PROGRAM, dir.path().join("data"));
    (dir, builder)
}

/// A running node with fresh data.
fn fresh_node() -> (TempDir, Node) {
    let (dir, builder) = node_in_temp();
    let node = builder.start().unwrap();
    (dir, node)
}

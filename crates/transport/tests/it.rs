//! What nodes can rely on between each other, and what strangers get.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "it/abuse.rs"]
mod abuse;
#[path = "it/common.rs"]
mod common;
#[path = "it/peers.rs"]
mod peers;

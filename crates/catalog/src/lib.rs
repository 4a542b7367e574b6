//! The catalog of a node: a derived index of its links, which answers lists, searches and tags. It can be lost: the shards have everything.
//!
//! Rows are kept in SQLite, behind this gate. New rows are appended to one table and kept in memory, the *tail* (`tail.rs`). Once the tail has a
//! chunk of them, it is *sealed* (`seal.rs`): their places in each order and their postings are written, sorted, so that even random keys
//! touch each page of the file once. Filters are sets of bits by chunk (`sets.rs`), orders are tables that are walked (`orders.rs`).
//!
//! All functions block: call them on a thread that may. One writer, and a few readers that never wait for it for long.

mod bits;
mod catalog;
mod changes;
mod error;
mod filter;
mod find;
mod fold;
mod keys;
mod orders;
mod page;
mod postings;
mod row;
mod scan;
mod schema;
mod seal;
mod sets;
mod tags;
mod tail;
mod types;
mod words;
mod writer;

pub use catalog::{Catalog, Opened};
pub use error::{CatalogError, Reason, RequestError};
pub use filter::Fits;
pub use fold::fold;
pub use types::{CatalogPage, Changed, Options, ShardBatch, Sizes, TagsPage, TagsRequest};

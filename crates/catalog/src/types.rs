//! What is written to a catalog and asked of it, beside the types of `waypost_protocol::listing`.

use std::sync::Arc;

use waypost_protocol::link::LinkCounts;
use waypost_protocol::listing::{COUNTED_MATCHES_MAX, ListedRow, Matches, TagCount};
use waypost_protocol::{Domain, KeyHash, Link, ShardId, UnixMs};

use crate::bits::CHUNK;

/// How a catalog works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// The memory for pages of the file that the writer keeps, in bytes.
    pub writer_cache_bytes: usize,
    /// The same for each reader.
    pub reader_cache_bytes: usize,
    /// The most lists that are read at a time. Others wait.
    pub readers: usize,
    /// So many links are kept in memory before they are sorted into the file: at most 32,768. Fewer take less memory and more writing.
    pub chunk_links: usize,
    /// The memory for postings while a chunk is sealed, about. With less it takes more steps.
    pub postings_bytes: usize,
    /// The most rows that are removed, or get new numbers, in one transaction: other writers wait for no longer.
    pub rows_at_once: usize,
    /// To count the links that a text fits, so many rows are read at most. The count is a minimum then.
    pub count_rows: u64,
}

impl Default for Options {
    /// With the tail (20 MiB at most, `seal.rs`) and a part of a batch, this is less than 48 MiB, whatever the texts are.
    fn default() -> Self {
        Self {
            writer_cache_bytes: 8 << 20,
            reader_cache_bytes: 2 << 20,
            readers: 3,
            chunk_links: CHUNK as usize,
            postings_bytes: 8 << 20,
            rows_at_once: 2_048,
            count_rows: 4 * COUNTED_MATCHES_MAX,
        }
    }
}

/// Changes of a shard. They are written in one transaction, or in several if their texts are long; the position is in the last one.
///
/// Batches of a shard have to be written in the order in which their links were read from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardBatch {
    /// Which shard.
    pub shard: ShardId,
    /// Links as they are now. One that is listed already with the same log index costs a look-up.
    pub changed: Vec<Changed>,
    /// Links that are no more. Those that are not listed are ignored.
    pub removed: Vec<KeyHash>,
    /// Links of which only the counts have changed. Those that are not listed are ignored.
    pub counts: Vec<(KeyHash, LinkCounts)>,
    /// The log index of the shard that is reached with this batch. Ignored as long as the shard is incomplete: its scan sets the first one.
    pub position: Option<u64>,
}

impl ShardBatch {
    /// No changes of a shard.
    pub fn of(shard: ShardId) -> Self {
        Self { shard, changed: Vec::new(), removed: Vec::new(), counts: Vec::new(), position: None }
    }
}

/// A link as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    /// The link.
    pub link: Arc<Link>,
    /// What is counted of it.
    pub counts: LinkCounts,
    /// The time of its last edit; `None` = it was never edited, or nobody knows when. It has to be the same on every node, because it is a place in an order.
    pub edited_at: Option<UnixMs>,
}

/// A page of a list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CatalogPage {
    /// Its rows, in the order that was asked for.
    pub rows: Vec<ListedRow>,
    /// How many links fit, if that was asked for.
    pub matches: Option<Matches>,
    /// Whether more rows follow.
    pub more: bool,
}

/// Asks which tags there are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TagsRequest {
    /// The shards whose links count.
    pub shards: Vec<ShardId>,
    /// The only domain whose links count.
    pub domain: Option<Domain>,
    /// Domains whose links do not count.
    pub exclude_domains: Vec<Domain>,
    /// The list begins behind this tag, in lower case.
    pub after: Option<String>,
    /// How many tags it has at most.
    pub limit: u32,
}

/// A part of the list of tags.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TagsPage {
    /// The tags, in the order of their lower case.
    pub tags: Vec<TagCount>,
    /// Whether more tags follow.
    pub more: bool,
}

/// How large a catalog is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sizes {
    /// Its links.
    pub links: u64,
    /// Those of them that are also kept in memory, because their chunk is not sealed yet.
    pub tail_links: u64,
    /// About the memory of these, in bytes.
    pub tail_bytes: u64,
    /// Its files, in bytes.
    pub disk_bytes: u64,
}

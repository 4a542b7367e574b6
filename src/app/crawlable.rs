//! The links that crawlers may follow.

use futures_util::future::try_join_all;
use waypost_protocol::messages::GetCrawlable;
use waypost_protocol::{CallError, Code, Domain, Level, ShardId};

use super::App;

impl App {
    /// The codes of a domain that crawlers may follow, in their order: at most about `bytes_max` bytes of them, each with
    /// [`GetCrawlable::CODE_BYTES`] more. They are as public as the file that lists them, so no permission is needed.
    ///
    /// # Errors
    /// If no replica of a shard answers.
    pub async fn crawlable(&self, domain: Domain, bytes_max: usize) -> Result<Vec<Code>, CallError> {
        // Before that there are no such links, and a node of an earlier version does not know the message.
        if self.parts.groups.level() < Level::THREE {
            return Ok(Vec::new());
        }
        let bytes_max = bytes_max as u32 / self.shards.max(1);
        let of = |shard| self.parts.links.call(GetCrawlable { shard, domain, bytes_max }, self.parts.timeout);
        let mut codes: Vec<Code> = try_join_all((0..self.shards).map(ShardId).map(of)).await?.concat();
        codes.sort_unstable();
        Ok(codes)
    }
}

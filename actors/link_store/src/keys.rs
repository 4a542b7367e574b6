//! The shard's own small stock of generated codes, so that a create seldom waits for the KeyAllocator.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use waypost_protocol::messages::{KeyAllocator, NextKeys};
use waypost_protocol::{CallError, Code, Domain, DomainTable, ServiceError, ShardId};
use waypost_runtime::ActorRef;

/// The number of codes of the default domain fetched at once: one message for this many creates.
const STOCK: u32 = 64;

/// The number of codes of another domain fetched at once: there may be many domains.
const STOCK_ELSEWHERE: u32 = 16;

/// How long the KeyAllocator may take: a lease is one write to group 0.
const TIMEOUT: Duration = Duration::from_secs(5);

pub(crate) struct Keys {
    shard: ShardId,
    allocator: ActorRef<KeyAllocator>,
    domains: Arc<DomainTable>,
    /// By domain, with the number from which on the format of the codes is used; bounded by the number of domains.
    stock: RefCell<HashMap<Domain, (u64, Vec<Code>)>>,
}

impl Keys {
    pub(crate) fn new(shard: ShardId, allocator: ActorRef<KeyAllocator>, domains: Arc<DomainTable>) -> Self {
        Self { shard, allocator, domains, stock: RefCell::default() }
    }

    /// Where the present format of a domain's codes begins, as far as this node has heard.
    fn format(&self, domain: Domain) -> u64 {
        self.domains.load().site(domain).map_or(0, |site| site.code_formats.begin())
    }

    /// Takes a code that belongs to this shard in a domain, and that nobody else gets.
    pub(crate) async fn next(&self, domain: Domain) -> Result<Code, ServiceError> {
        loop {
            let format = self.format(domain);
            if let Some((of, codes)) = self.stock.borrow_mut().get_mut(&domain)
                && *of == format
                && let Some(code) = codes.pop()
            {
                return Ok(code);
            }
            let count = if domain == Domain::default() { STOCK } else { STOCK_ELSEWHERE };
            let request = NextKeys { shard: Some(self.shard), count, domain };
            // In the heap, because nearly every create finds a code in the stock and would be moved with all parts of this call.
            let codes = Box::pin(self.allocator.call(request, TIMEOUT)).await.map_err(|error| match error {
                CallError::Service(error) => error,
                other => ServiceError::Unavailable(other.to_string()),
            })?;
            // Codes of a format that was left meanwhile are dropped.
            let mut stock = self.stock.borrow_mut();
            let (of, stocked) = stock.entry(domain).or_default();
            if *of != format {
                (*of, *stocked) = (format, Vec::new());
            }
            stocked.extend(codes);
        }
    }
}

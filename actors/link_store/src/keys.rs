//! The shard's own small stock of generated codes, so that a create seldom waits for the KeyAllocator.

use std::cell::RefCell;
use std::time::Duration;

use waypost_protocol::messages::{KeyAllocator, NextKeys};
use waypost_protocol::{CallError, Code, ServiceError, ShardId};
use waypost_runtime::ActorRef;

/// The number of codes fetched at once: one message for this many creates.
const STOCK: u32 = 64;

/// How long the KeyAllocator may take: a lease is one write to group 0.
const TIMEOUT: Duration = Duration::from_secs(5);

pub(crate) struct Keys {
    shard: ShardId,
    allocator: ActorRef<KeyAllocator>,
    stock: RefCell<Vec<Code>>,
}

impl Keys {
    pub(crate) fn new(shard: ShardId, allocator: ActorRef<KeyAllocator>) -> Self {
        Self { shard, allocator, stock: RefCell::default() }
    }

    /// Takes a code that belongs to this shard and that nobody else gets.
    pub(crate) async fn next(&self) -> Result<Code, ServiceError> {
        loop {
            if let Some(code) = self.stock.borrow_mut().pop() {
                return Ok(code);
            }
            let request = NextKeys { shard: Some(self.shard), count: STOCK };
            let codes = self.allocator.call(request, TIMEOUT).await.map_err(|error| match error {
                CallError::Service(error) => error,
                other => ServiceError::Unavailable(other.to_string()),
            })?;
            self.stock.borrow_mut().extend(codes);
        }
    }
}

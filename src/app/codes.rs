//! Codes that are never issued again, for callers that create links with them later.

use futures_util::future::try_join_all;
use waypost_protocol::messages::{GetLink, NextKeys};
use waypost_protocol::{CallError, Code, Domain, LinkKey, ServiceError};

use super::{App, Denied, Permission, Principal};

/// The most codes that one call issues.
pub const CODES_PER_CALL_MAX: u32 = 1000;

/// Why no codes were issued.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodesError {
    /// The principal has no permission.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// None, or more than [`CODES_PER_CALL_MAX`].
    #[error("the number of codes has to be from 1 to {CODES_PER_CALL_MAX}")]
    Count,
    /// The services do not answer.
    #[error(transparent)]
    Call(#[from] CallError),
}

impl From<ServiceError> for CodesError {
    fn from(error: ServiceError) -> Self {
        Self::Call(error.into())
    }
}

impl App {
    /// Issues codes, each usable once as the slug of a new link.
    ///
    /// # Errors
    /// See [`CodesError`]; codes that were taken from the lease before are skipped.
    pub async fn issue_codes(&self, principal: &Principal, count: u32) -> Result<Vec<Code>, CodesError> {
        principal.require(Permission::WriteLinks)?;
        if !(1..=CODES_PER_CALL_MAX).contains(&count) {
            return Err(CodesError::Count);
        }
        self.writable()?;
        let mut issued: Vec<Code> = Vec::with_capacity(count as usize);
        while issued.len() < count as usize {
            let request = NextKeys { shard: None, count: count - issued.len() as u32, domain: Domain::default() };
            let codes = self.parts.keys.call(request, self.parts.timeout).await?;
            let free = try_join_all(codes.into_iter().map(|code| self.unless_taken(code))).await?;
            issued.extend(free.into_iter().flatten());
        }
        Ok(issued)
    }

    /// The code, unless an alias with the same text exists.
    async fn unless_taken(&self, code: Code) -> Result<Option<Code>, CallError> {
        let key = LinkKey::new(code.clone());
        let message = GetLink { shard: key.shard(self.shards), key, strong: true, leader: true };
        let taken = self.parts.links.call(message, self.parts.timeout).await?.is_some();
        Ok((!taken).then_some(code))
    }
}

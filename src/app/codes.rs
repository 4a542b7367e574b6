//! Codes that are never issued again, for callers that create links with them later.

use futures_util::future::try_join_all;
use waypost_protocol::messages::{GetLink, NextKeys};
use waypost_protocol::{CallError, Code, LinkKey, ServiceError};

use super::{App, Denied, Permission, Principal, UnknownDomain};

/// The most codes that one call issues.
pub const CODES_PER_CALL_MAX: u32 = 1000;

/// Why no codes were issued.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodesError {
    /// The principal has no permission.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// There is no such domain.
    #[error(transparent)]
    Domain(#[from] UnknownDomain),
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
    /// Issues codes in the format of a domain, named as in [`super::LinkName`], each usable once as the slug of a new link of that domain.
    ///
    /// # Errors
    /// See [`CodesError`]; codes that were taken from the lease before are skipped.
    pub async fn issue_codes(
        &self,
        principal: &Principal,
        domain: Option<&str>,
        count: u32,
    ) -> Result<Vec<Code>, CodesError> {
        principal.require(Permission::WriteLinks)?;
        if !(1..=CODES_PER_CALL_MAX).contains(&count) {
            return Err(CodesError::Count);
        }
        let domain = self.site_named(domain)?.domain;
        self.writable()?;
        let mut issued: Vec<Code> = Vec::with_capacity(count as usize);
        while issued.len() < count as usize {
            let request = NextKeys { shard: None, count: count - issued.len() as u32, domain };
            let codes = self.parts.keys.call(request, self.parts.timeout).await?;
            let free = try_join_all(codes.into_iter().map(|code| self.unless_taken(LinkKey { domain, code }))).await?;
            issued.extend(free.into_iter().flatten());
        }
        Ok(issued)
    }

    /// The code of a key, unless an alias with the same text exists.
    async fn unless_taken(&self, key: LinkKey) -> Result<Option<Code>, CallError> {
        let code = key.code.clone();
        let message = GetLink { shard: key.shard(self.shards), key, strong: true, leader: true };
        let taken = self.parts.links.call(message, self.parts.timeout).await?.is_some();
        Ok((!taken).then_some(code))
    }
}

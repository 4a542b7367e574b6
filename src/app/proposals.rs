//! Commands that the application layer has group 0 do.

use std::time::Duration;

use waypost_consensus::ProposeError;
use waypost_protocol::command::{ClusterCommand, Command};
use waypost_protocol::{CallError, ServiceError};

use super::App;
use super::link_errors::NotYetSupported;

/// How often it is looked whether this node has heard of a change.
const LOOK: Duration = Duration::from_millis(5);

/// Why a command was not applied, or is not known to be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum NotApplied {
    /// Not all nodes of the cluster understand it.
    #[error(transparent)]
    NotYet(#[from] NotYetSupported),
    /// The cluster did not do it, or the outcome is unknown.
    #[error(transparent)]
    Call(#[from] CallError),
}

impl From<ProposeError> for NotApplied {
    fn from(error: ProposeError) -> Self {
        let told = error.to_string();
        let service = match error {
            ProposeError::NotYet { needed, level } => return NotYetSupported { needed, level }.into(),
            ProposeError::Stopped(_) => ServiceError::OutcomeUnknown(told),
            ProposeError::NoSpace => ServiceError::ReadOnly(told),
            ProposeError::TooLarge { .. } => ServiceError::TooLarge(told),
            ProposeError::Overloaded | ProposeError::NotLeader { .. } => ServiceError::Unavailable(told),
        };
        Self::Call(service.into())
    }
}

impl App {
    /// Has group 0 do a command, which is harmless if it is applied twice.
    pub(super) async fn propose<C>(&self, command: C, within: Duration) -> Result<C::Outcome, NotApplied>
    where
        C: Command<Group = ClusterCommand>,
    {
        Ok(self.parts.groups.cluster().propose_anywhere(command, within).await?.outcome)
    }

    /// Waits until this node has heard of a change that the cluster has made, so that its caller sees what it has written.
    pub(super) async fn heard<T>(&self, see: impl Fn() -> Option<T>) -> Result<T, ServiceError> {
        let since = tokio::time::Instant::now();
        loop {
            if let Some(seen) = see() {
                return Ok(seen);
            }
            if since.elapsed() > self.parts.timeout {
                let why = "the cluster has done it, and this node does not hear of it".to_owned();
                return Err(ServiceError::OutcomeUnknown(why));
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

//! Leaving the cluster: a running node that is to be removed stops redirects, sends every click to its shard, and removes itself.

use std::sync::Arc;

use waypost_consensus::Groups;
use waypost_protocol::messages::{ClickCounter, Flush};
use waypost_protocol::peer::BoxFuture;
use waypost_runtime::ActorRef;

use super::stop::end_requests;
use crate::cluster::{Leave, PlacementController, RetireError};
use crate::lifecycle::{Event, Lifecycle};
use crate::limits::{LEAVE_CLICKS_MAX, LEAVE_REQUESTS_MAX, SETTLE_MAX};

/// The parts of a running node that leaving needs.
pub(super) struct Leaving {
    pub(super) groups: Arc<Groups>,
    pub(super) controller: Arc<PlacementController>,
    pub(super) lifecycle: Arc<Lifecycle>,
    pub(super) clicks: ActorRef<ClickCounter>,
    /// Locked while the node leaves: a second request waits, and finds that it has left.
    pub(super) one_at_a_time: tokio::sync::Mutex<()>,
}

/// While this exists, the node is leaving. When it is dropped, the node serves again, unless it is no longer a member.
struct Attempt<'a> {
    node: &'a Leaving,
    has_left: bool,
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        // The answer to its removal may have been lost.
        let removed = self.has_left || self.node.is_removed();
        self.node.lifecycle.follow(if removed { Event::Removed } else { Event::LeaveFailed });
    }
}

impl Leaving {
    fn is_removed(&self) -> bool {
        let own = self.groups.node();
        self.groups.cluster().read(|machine| machine.state().gone.contains(&own))
    }

    async fn try_to(&self) -> Result<(), String> {
        let _alone = self.one_at_a_time.lock().await;
        let own = self.groups.node();
        match self.controller.may_leave(own, SETTLE_MAX).await {
            Ok(_) => {}
            // Another request was first.
            Err(RetireError::NotAMember) => return Ok(()),
            Err(error) => return Err(error.to_string()),
        }
        self.lifecycle.advance(Event::LeaveBegan).map_err(|_| "it is starting".to_owned())?;
        // The caller may stop waiting, which drops this future: then the node stays.
        let mut attempt = Attempt { node: self, has_left: false };
        end_requests(&self.lifecycle, LEAVE_REQUESTS_MAX).await;
        match self.clicks.call(Flush { last: false }, LEAVE_CLICKS_MAX).await {
            Ok(flushed) if flushed.waiting == 0 => {}
            Ok(flushed) => return Err(format!("{} of its clicks have not reached their shards", flushed.waiting)),
            Err(error) => return Err(format!("its clicks have not reached their shards: {error}")),
        }
        match self.controller.retire(own, SETTLE_MAX).await {
            // Not a member: an earlier attempt was applied, and its answer was lost.
            Ok(()) | Err(RetireError::NotAMember) => attempt.has_left = true,
            Err(error) => return Err(error.to_string()),
        }
        Ok(())
    }
}

impl Leave for Leaving {
    fn leave(&self) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(self.try_to())
    }
}

//! A node that runs and is to be taken out: it answers no redirects any more, brings every click to its shard, and takes itself out.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use waypost_protocol::messages::{ClickCounter, Flush};
use waypost_protocol::peer::BoxFuture;
use waypost_runtime::ActorRef;

use super::stop::end_requests;
use crate::cluster::{Leave, RetireError, SETTLE_MAX};
use crate::http::NodeState;

/// How long open requests may take to end.
const REQUESTS_MAX: Duration = Duration::from_secs(4);

/// How long the clicks may take to reach their shards.
const CLICKS_MAX: Duration = Duration::from_secs(10);

/// The part of a running node that can leave.
pub(super) struct Leaving {
    pub(super) node: Arc<NodeState>,
    pub(super) clicks: ActorRef<ClickCounter>,
    /// Held by whoever has it leave: a second one waits, and finds that it has left.
    pub(super) one_at_a_time: tokio::sync::Mutex<()>,
}

/// No redirects are answered until it is dropped, or for good, once the node is no member any more.
struct Closed<'a> {
    node: &'a NodeState,
    for_good: bool,
}

impl Drop for Closed<'_> {
    fn drop(&mut self) {
        let own = self.node.groups.node();
        // The answer to its removal may have been lost.
        let gone = || self.node.groups.cluster().read(|machine| machine.state().gone.contains(&own));
        self.node.leaving.store(self.for_good || gone(), Ordering::SeqCst);
    }
}

impl Leaving {
    async fn try_to(&self) -> Result<(), String> {
        let _alone = self.one_at_a_time.lock().await;
        let own = self.node.groups.node();
        match self.node.controller.may_leave(own, SETTLE_MAX).await {
            Ok(_) => {}
            // Another one who asked was first.
            Err(RetireError::NotAMember) => return Ok(()),
            Err(error) => return Err(error.to_string()),
        }
        // Whoever asked may go away meanwhile, and this with them: then the node stays.
        let mut closed = Closed { node: &self.node, for_good: false };
        self.node.leaving.store(true, Ordering::SeqCst);
        end_requests(&self.node, REQUESTS_MAX).await;
        match self.clicks.call(Flush { last: false }, CLICKS_MAX).await {
            Ok(flushed) if flushed.waiting == 0 => {}
            Ok(flushed) => return Err(format!("{} of its clicks have not reached their shards", flushed.waiting)),
            Err(error) => return Err(format!("its clicks have not reached their shards: {error}")),
        }
        match self.node.controller.retire(own, SETTLE_MAX).await {
            // Not a member: an earlier try of this retirement was applied, and its answer lost.
            Ok(()) | Err(RetireError::NotAMember) => closed.for_good = true,
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

/// How many clicks in a data directory no shard has counted, in slots of journals and of spills: a click takes at least one.
pub(super) fn clicks_left(data_dir: &Path) -> u64 {
    waypost_click_counter::clicks_left(&data_dir.join("journal"))
}

/// What to do with clicks that a removed node still has.
pub(super) fn clicks_hint(clicks: u64, data_dir: &Path) -> String {
    if clicks == 0 {
        return String::new();
    }
    let journal = data_dir.join("journal");
    format!(
        ". {clicks} slots of its click journals were not counted: keep {journal} when you empty the directory, and the node brings them in \
         when it has joined; or move the files in it into the same directory of another node, and restart that one (a `.spill` only where there is none of its name)",
        journal = journal.display()
    )
}

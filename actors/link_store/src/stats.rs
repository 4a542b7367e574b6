//! What a shard knows of visits: counting them, and telling.

use actix::prelude::*;
use futures_util::future::join_all;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use waypost_consensus::Group;
use waypost_protocol::ServiceError;
use waypost_protocol::clicks::Stats;
use waypost_protocol::command::{self, EndJournalsOutcome, RecordClicksOutcome, ResetStatsOutcome};
use waypost_protocol::messages::{Changed, EndJournals, GetOrphans, GetStats, RecordClicks, Recorded, ResetStats};
use waypost_runtime::{Answer, Ask};
use waypost_store::machine::{ShardMachine, StatsQuery, Told};

use crate::shard::{LinkStoreActor, Seed, failed, held_here, unreadable};

/// Permits to read statistics, shared by all shards of a node. Statistics are read on threads of their own, on half of the cores at
/// most, so that writes and redirects have the others. Each reader holds up to some megabytes.
pub struct Readers(Semaphore);

impl Default for Readers {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self(Semaphore::new((cores / 2).clamp(1, 8)))
    }
}

impl Handler<Ask<RecordClicks>> for LinkStoreActor {
    type Result = ResponseFuture<Answer<RecordClicks>>;

    fn handle(&mut self, ask: Ask<RecordClicks>, _: &mut Self::Context) -> Self::Result {
        let (request, responder) = ask.open();
        // Also while the node is read-only: redirects go on then, and counting them overwrites what is there.
        let group = self.seed.group.clone();
        responder.later(async move {
            // In the queue in this order, and together on disk.
            let batches = request.batches.into_iter().take(RecordClicks::BATCHES_MAX);
            let proposed = join_all(batches.map(|batch| group.propose(command::RecordClicks(batch)))).await;
            let mut counted = 0;
            for applied in proposed {
                match applied.map(|applied| applied.outcome) {
                    Ok(RecordClicksOutcome::Done) => counted += 1,
                    // What follows a batch that is not counted comes again with it.
                    _ if counted > 0 => break,
                    Ok(RecordClicksOutcome::ClicksOutOfStep(reached)) => return Ok(Recorded::OutOfStep(reached)),
                    Err(error) => return Err(failed(error)),
                }
            }
            Ok(Recorded::Counted(counted))
        })
    }
}

impl Handler<Ask<EndJournals>> for LinkStoreActor {
    type Result = ResponseFuture<Answer<EndJournals>>;

    fn handle(&mut self, ask: Ask<EndJournals>, _: &mut Self::Context) -> Self::Result {
        let (request, responder) = ask.open();
        let group = self.seed.group.clone();
        responder.later(async move { end_journals(&group, request.journals).await })
    }
}

/// Forgets positions of journals. Also while the node is read-only: there is less to keep then.
pub(crate) async fn end_journals(group: &Group<ShardMachine>, mut journals: Vec<u64>) -> Result<(), ServiceError> {
    journals.truncate(EndJournals::MAX);
    let EndJournalsOutcome::Done = group.propose(command::EndJournals { journals }).await.map_err(failed)?.outcome;
    Ok(())
}

impl Handler<Ask<ResetStats>> for LinkStoreActor {
    type Result = ResponseFuture<Answer<ResetStats>>;

    fn handle(&mut self, ask: Ask<ResetStats>, _: &mut Self::Context) -> Self::Result {
        let (request, responder) = ask.open();
        let (writable, group) = (self.writable(), self.seed.group.clone());
        responder.later(async move {
            writable?;
            match group.propose(command::ResetStats { key: request.key }).await.map_err(failed)?.outcome {
                ResetStatsOutcome::Edited(link) => Ok(Changed::Edited(link)),
                ResetStatsOutcome::NotFound => Ok(Changed::NotFound),
            }
        })
    }
}

/// Whether this node may tell statistics. A leader that is sure of itself has counted all that any other has told of, so that totals
/// do not go back for whoever asks several nodes in turn.
async fn may_tell(seed: &Seed, from_leader: bool) -> Result<(), ServiceError> {
    held_here(seed)?;
    if from_leader {
        seed.group.linearize(false).await.map_err(failed)?;
    }
    Ok(())
}

/// Reads statistics from this node's replica. Days come from the disk, perhaps thousands of them: not on the thread that
/// redirects wait for, and not for a caller who has gone.
async fn stats(seed: &Seed, request: GetStats, deadline: Instant) -> Result<Option<Stats>, ServiceError> {
    may_tell(seed, request.from_leader).await?;
    if let Some(stats) = read(seed, request.clone(), deadline).await? {
        return Ok(Some(stats));
    }
    // That there is no such link, only a leader may say: a follower may not have heard of it yet.
    seed.group.linearize(false).await.map_err(failed)?;
    read(seed, request, deadline).await
}

async fn read(seed: &Seed, request: GetStats, deadline: Instant) -> Result<Option<Stats>, ServiceError> {
    let group = seed.group.clone();
    let query = StatsQuery::new(request.key, request.from..request.to).ranked_by(request.whose);
    let query = if request.unranked { query.unranked() } else { query };
    let unavailable = |error: String| ServiceError::Unavailable(error);
    let permit = tokio::time::timeout_at(deadline, seed.readers.0.acquire()).await;
    let permit = permit.map_err(|_| unavailable("other statistics are read before".to_owned()))?;
    let _permit = permit.map_err(|error| unavailable(error.to_string()))?;
    let read = tokio::task::spawn_blocking(move || query.answer(|step| group.read_in_turn(step)));
    match read.await.map_err(|error| unavailable(error.to_string()))?.map_err(unreadable)? {
        Told::Stats(stats) => Ok(Some(*stats)),
        Told::NoLink => Ok(None),
        Told::Changing => {
            Err(unavailable("the statistics were reset or replaced again and again meanwhile".to_owned()))
        }
    }
}

impl Handler<Ask<GetStats>> for LinkStoreActor {
    type Result = ResponseFuture<Answer<GetStats>>;

    fn handle(&mut self, ask: Ask<GetStats>, _: &mut Self::Context) -> Self::Result {
        let (request, responder) = ask.open();
        let (seed, deadline) = (self.seed.clone(), responder.deadline());
        responder.later(async move { stats(&seed, request, deadline).await })
    }
}

impl Handler<Ask<GetOrphans>> for LinkStoreActor {
    type Result = ResponseFuture<Answer<GetOrphans>>;

    fn handle(&mut self, ask: Ask<GetOrphans>, _: &mut Self::Context) -> Self::Result {
        let (request, responder) = ask.open();
        let seed = self.seed.clone();
        responder.later(async move {
            may_tell(&seed, request.from_leader).await?;
            Ok(seed.group.read(|machine| machine.orphans()))
        })
    }
}

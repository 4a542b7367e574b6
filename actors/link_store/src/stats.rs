//! What a shard knows of visits: counting them, and telling.

use actix::prelude::*;
use futures_util::future::join_all;
use tokio::sync::Semaphore;
use waypost_protocol::ServiceError;
use waypost_protocol::command::{Command, Outcome};
use waypost_protocol::messages::{GetOrphans, GetStats, RecordClicks, Recorded, ResetStats};
use waypost_runtime::{Answer, Ask};

use crate::shard::{LinkShard, change, failed, held_here, unexpected, unreadable};

/// Statistics that are read at the same time, on threads of their own: more would only wait for the same disk, and each holds up to
/// some megabytes.
static READERS: Semaphore = Semaphore::const_new(4);

impl Handler<Ask<RecordClicks>> for LinkShard {
    type Result = ResponseFuture<Answer<RecordClicks>>;

    fn handle(&mut self, ask: Ask<RecordClicks>, _: &mut Self::Context) -> Self::Result {
        let (request, held) = ask.open();
        // Also while the node is read-only: redirects go on then, and counting them overwrites what is there.
        let group = self.seed.group.clone();
        held.later(async move {
            // In the queue in this order, and together on disk.
            let batches = request.batches.into_iter().take(RecordClicks::BATCHES_MAX);
            let proposed = join_all(batches.map(|batch| group.propose(Command::RecordClicks(batch)))).await;
            let mut counted = 0;
            for applied in proposed {
                match applied.map(|applied| applied.outcome) {
                    Ok(Outcome::Done) => counted += 1,
                    // What follows a batch that is not counted comes again with it.
                    _ if counted > 0 => break,
                    Ok(Outcome::ClicksOutOfStep(reached)) => return Ok(Recorded::OutOfStep(reached)),
                    Ok(other) => return Err(unexpected(&other)),
                    Err(error) => return Err(failed(error)),
                }
            }
            Ok(Recorded::Counted(counted))
        })
    }
}

impl Handler<Ask<ResetStats>> for LinkShard {
    type Result = ResponseFuture<Answer<ResetStats>>;

    fn handle(&mut self, ask: Ask<ResetStats>, _: &mut Self::Context) -> Self::Result {
        let (request, held) = ask.open();
        let (writable, group) = (self.writable(), self.seed.group.clone());
        held.later(async move {
            writable?;
            change(group, Command::ResetStats { key: request.key }).await
        })
    }
}

impl Handler<Ask<GetStats>> for LinkShard {
    type Result = ResponseFuture<Answer<GetStats>>;

    fn handle(&mut self, ask: Ask<GetStats>, _: &mut Self::Context) -> Self::Result {
        let (request, held) = ask.open();
        let seed = self.seed.clone();
        held.later(async move {
            held_here(&seed)?;
            let group = seed.group.clone();
            // Days are read from the disk, perhaps hundreds of them: not on the thread that redirects wait for.
            let _permit = READERS.acquire().await.map_err(|error| ServiceError::Unavailable(error.to_string()))?;
            let read = tokio::task::spawn_blocking(move || {
                group.read(|machine| machine.stats(request.key.as_ref(), request.from..request.to))
            });
            let read = read.await.map_err(|error| ServiceError::Unavailable(error.to_string()))?;
            read.map_err(unreadable)
        })
    }
}

impl Handler<Ask<GetOrphans>> for LinkShard {
    type Result = ResponseFuture<Answer<GetOrphans>>;

    fn handle(&mut self, ask: Ask<GetOrphans>, _: &mut Self::Context) -> Self::Result {
        let (_, held) = ask.open();
        let seed = self.seed.clone();
        held.later(async move {
            held_here(&seed)?;
            Ok(seed.group.read(|machine| machine.orphans()))
        })
    }
}

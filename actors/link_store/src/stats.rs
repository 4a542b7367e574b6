//! What a shard knows of visits: counting them, and telling.

use actix::prelude::*;
use waypost_protocol::ServiceError;
use waypost_protocol::command::{Command, Outcome};
use waypost_protocol::messages::{GetOrphans, GetStats, RecordClicks, Recorded, ResetStats};
use waypost_runtime::{Answer, Ask};

use crate::shard::{LinkShard, change, failed, held_here, unexpected, unreadable};

impl Handler<Ask<RecordClicks>> for LinkShard {
    type Result = ResponseFuture<Answer<RecordClicks>>;

    fn handle(&mut self, ask: Ask<RecordClicks>, _: &mut Self::Context) -> Self::Result {
        let (request, held) = ask.open();
        // Also while the node is read-only: redirects go on then, and counting them overwrites what is there.
        let group = self.seed.group.clone();
        held.later(async move {
            let applied = group.propose(Command::RecordClicks(request.batch)).await.map_err(failed)?;
            match applied.outcome {
                Outcome::Done => Ok(Recorded::Counted),
                Outcome::ClicksOutOfStep(reached) => Ok(Recorded::OutOfStep(reached)),
                other => Err(unexpected(&other)),
            }
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

//! Visits of links with a limit: each is a command of the shard, so that no more are let pass than the limit has, whichever node leads.

use actix::prelude::*;
use waypost_consensus::Group;
use waypost_protocol::ServiceError;
use waypost_protocol::command::{self, UseVisitOutcome};
use waypost_protocol::messages::{MayVisit, UseVisit};
use waypost_runtime::{Answer, Ask};
use waypost_store::machine::ShardMachine;

use crate::shard::{LinkStoreActor, failed, held_here, unreadable};

/// What the leader knows before it writes anything: visitors of an exhausted link, and those who use up no visit, cost no entry in the log.
async fn seen(group: &Group<ShardMachine>, request: &UseVisit) -> Result<MayVisit, ServiceError> {
    group.linearize(false).await.map_err(failed)?;
    let (found, used) = group.read(|machine| (machine.get(&request.key), machine.used_visits(&request.key)));
    Ok(match found.map_err(unreadable)? {
        None => MayVisit::NotFound,
        Some((link, _)) if link.spec.visits_left(used) == Some(0) => MayVisit::Exhausted,
        Some(_) => MayVisit::Yes,
    })
}

async fn use_visit(group: &Group<ShardMachine>, request: UseVisit) -> Result<MayVisit, ServiceError> {
    match group.propose(command::UseVisit { key: request.key }).await.map_err(failed)?.outcome {
        UseVisitOutcome::Done => Ok(MayVisit::Yes),
        UseVisitOutcome::Exhausted => Ok(MayVisit::Exhausted),
        UseVisitOutcome::NotFound => Ok(MayVisit::NotFound),
    }
}

impl Handler<Ask<UseVisit>> for LinkStoreActor {
    type Result = ResponseFuture<Answer<UseVisit>>;

    fn handle(&mut self, ask: Ask<UseVisit>, _: &mut Self::Context) -> Self::Result {
        let (request, responder) = ask.open();
        let (writable, seed) = (self.writable(), self.seed.clone());
        responder.later(async move {
            held_here(&seed)?;
            match seen(&seed.group, &request).await? {
                MayVisit::Yes if request.uses_up => {
                    writable?;
                    use_visit(&seed.group, request).await
                }
                seen => Ok(seen),
            }
        })
    }
}

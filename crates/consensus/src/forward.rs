//! Commands for a group that another node leads.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use waypost_protocol::command::{Command, GroupCommand};
use waypost_protocol::peer::PeerError;
use waypost_protocol::{Level, NodeId};
use waypost_store::machine::Machine;

use crate::group::Group;
use crate::proposer::{Applied, ProposeError};
use crate::wire::{Propose, ProposeAt, Proposed};

/// The pause before the leader is looked for again.
const PAUSE: Duration = Duration::from_millis(50);

impl<M: Machine> Group<M> {
    /// Proposes a command here, or sends it to the leader, until it was applied or `within` is over. For commands that may
    /// be applied twice without harm: one whose answer was lost is sent again.
    ///
    /// # Errors
    /// The last error, when the time is over; `TooLarge` and `NotYet` at once.
    pub async fn propose_anywhere<C>(&self, command: C, within: Duration) -> Result<Applied<C::Outcome>, ProposeError>
    where
        C: Command<Group = M::Command>,
    {
        let applied = self.propose_anywhere_any(command.into(), within).await?;
        // Perhaps another node has answered.
        let unfit = |other| ProposeError::Stopped(format!("the answer is not one to the command: {other:?}"));
        applied.of_command::<C>().map_err(unfit)
    }

    async fn propose_anywhere_any(
        &self,
        command: M::Command,
        within: Duration,
    ) -> Result<Applied<M::Outcome>, ProposeError> {
        let deadline = Instant::now() + within;
        loop {
            let error = match self.propose_any(command.clone()).await {
                Ok(applied) => return Ok(applied),
                Err(ProposeError::NotLeader { leader: Some(leader) }) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    let to = NodeId(leader);
                    match self.send(to, &command, left).await {
                        Ok(Proposed::Applied(index, outcome)) => return Ok(Applied { index, outcome }),
                        Ok(Proposed::NotLeader(leader)) => ProposeError::NotLeader { leader },
                        Ok(Proposed::Overloaded) => ProposeError::Overloaded,
                        Ok(Proposed::TooLarge(bytes, max)) => {
                            return Err(ProposeError::TooLarge { bytes: bytes as usize, max: max as usize });
                        }
                        // Its knowledge of the level may lag behind this node's.
                        Ok(Proposed::NotYet(needed, level)) => ProposeError::NotYet { needed, level },
                        Err(error) => ProposeError::Stopped(error.to_string()),
                    }
                }
                Err(error @ (ProposeError::TooLarge { .. } | ProposeError::NotYet { .. })) => return Err(error),
                Err(error) => error,
            };
            if Instant::now() + PAUSE >= deadline {
                return Err(error);
            }
            sleep(PAUSE).await;
        }
    }

    /// Sends a command to the leader.
    async fn send(
        &self,
        to: NodeId,
        command: &M::Command,
        within: Duration,
    ) -> Result<Proposed<M::Outcome>, PeerError> {
        match self.level().get().max(command.level()) {
            Level::BASE => {
                let request = Propose::<M::Command>::new(command.encode(Level::BASE));
                self.peers().ask(to, self.id(), &request, within).await
            }
            level => {
                let request = ProposeAt::<M::Command>::new(level, command.encode(level));
                self.peers().ask(to, self.id(), &request, within).await
            }
        }
    }
}

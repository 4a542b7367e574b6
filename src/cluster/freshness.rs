//! The question of one node to another for its log positions.

use std::sync::Arc;

use futures_util::future::join_all;
use tokio::time::timeout;
use waypost_consensus::{ANSWER_MAX, Committed, Members, Position, PositionQuery};
use waypost_protocol::peer::{PeerError, Peers};

use super::requests::{CommittedAt, GetCommitted, GetStatus};
use crate::limits::{GROUP_ANSWER_MAX, GROUPS_ASKED_MAX};

/// A query that uses the connections to other nodes.
pub fn position_query(peers: Arc<dyn Peers>) -> PositionQuery {
    Arc::new(move |node, groups| {
        let peers = peers.clone();
        Box::pin(async move {
            match peers.ask(node, 0, &GetCommitted { groups: groups.clone() }, ANSWER_MAX).await {
                Ok(answer) => {
                    let leads = answer.groups.into_iter();
                    let leads = leads.map(|(group, index, term)| (group, Position::Leads(Committed { index, term })));
                    let follows = answer.applied.into_iter().map(|(group, index)| (group, Position::Applied(index)));
                    Ok(leads.chain(follows).collect())
                }
                // A node of version 0.1 does not know the question. Its last log index is at least as high.
                Err(PeerError::Refused(_)) => {
                    let status = peers.ask(node, 0, &GetStatus, ANSWER_MAX).await?;
                    let led = status.groups.into_iter().filter(|group| group.leader && groups.contains(&group.group));
                    let leads = |index, term| Position::Leads(Committed { index, term });
                    Ok(led.map(|group| (group.group, leads(group.last, group.term))).collect())
                }
                Err(error) => Err(error),
            }
        })
    })
}

/// Answers such a question.
pub(super) async fn answer(members: &Members, asked: GetCommitted) -> CommittedAt {
    // All at once, and without slow ones: one group may be waiting for the disk.
    let asking = asked.groups.into_iter().take(GROUPS_ASKED_MAX).map(async |group| {
        let member = members.get(group)?;
        let committed = timeout(GROUP_ANSWER_MAX, member.committed()).await.ok().flatten();
        Some((group, committed.ok_or_else(|| member.applied())))
    });
    let mut at = CommittedAt { groups: Vec::new(), applied: Vec::new() };
    for (group, position) in join_all(asking).await.into_iter().flatten() {
        match position {
            Ok(Committed { index, term }) => at.groups.push((group, index, term)),
            Err(applied) => at.applied.push((group, applied)),
        }
    }
    at
}

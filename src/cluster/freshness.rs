//! The question of one node to another for the log positions of the groups that it leads.

use std::sync::Arc;

use futures_util::future::join_all;
use tokio::time::timeout;
use waypost_consensus::{ANSWER_MAX, Committed, CommittedQuery, Members};
use waypost_protocol::peer::{PeerError, Peers};

use super::requests::{CommittedAt, GetCommitted, GetStatus};
use crate::limits::{GROUP_ANSWER_MAX, GROUPS_ASKED_MAX};

/// A query that uses the connections to other nodes.
pub fn committed_query(peers: Arc<dyn Peers>) -> CommittedQuery {
    Arc::new(move |node, groups| {
        let peers = peers.clone();
        Box::pin(async move {
            match peers.ask(node, 0, &GetCommitted { groups: groups.clone() }, ANSWER_MAX).await {
                Ok(answer) => Ok(answer
                    .groups
                    .into_iter()
                    .map(|(group, index, term)| (group, Committed { index, term }))
                    .collect()),
                // A node of version 0.1 does not know the question. Its last log index is at least as high.
                Err(PeerError::Refused(_)) => {
                    let status = peers.ask(node, 0, &GetStatus, ANSWER_MAX).await?;
                    let led = status.groups.into_iter().filter(|group| group.leader && groups.contains(&group.group));
                    Ok(led.map(|group| (group.group, Committed { index: group.last, term: group.term })).collect())
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
        let Committed { index, term } = timeout(GROUP_ANSWER_MAX, member.committed()).await.ok()??;
        Some((group, index, term))
    });
    CommittedAt { groups: join_all(asking).await.into_iter().flatten().collect() }
}

//! The question of one node to another for the log positions of the groups that it leads.

use std::sync::Arc;

use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use tokio::time::timeout;
use waypost_consensus::{ANSWER_MAX, Committed, CommittedQuery, Members};
use waypost_protocol::codec::{DecodeError, decode, encode};
use waypost_protocol::peer::{Lane, PeerError, Peers, kinds};

use super::status::NodeStatus;
use crate::limits::{GROUP_ANSWER_MAX, GROUPS_ASKED_MAX};

#[derive(Serialize, Deserialize)]
struct Question {
    groups: Vec<u32>,
}

/// For the requested groups that the node leads: number, index, term.
#[derive(Serialize, Deserialize)]
struct Answer {
    groups: Vec<(u32, u64, u64)>,
}

/// A query that uses the connections to other nodes.
pub fn committed_query(peers: Arc<dyn Peers>) -> CommittedQuery {
    Arc::new(move |node, groups| {
        let peers = peers.clone();
        Box::pin(async move {
            let refused = |error: DecodeError| PeerError::Refused(error.to_string());
            let body = encode(&Question { groups: groups.clone() });
            match peers.call(node, Lane::Consensus, kinds::COMMITTED, 0, body, ANSWER_MAX).await {
                Ok(answer) => {
                    let answer: Answer = decode(&answer).map_err(refused)?;
                    Ok(answer
                        .groups
                        .into_iter()
                        .map(|(group, index, term)| (group, Committed { index, term }))
                        .collect())
                }
                // A node of version 0.1 does not know the question. Its last log index is at least as high.
                Err(PeerError::Refused(_)) => {
                    let answer = peers.call(node, Lane::Calls, kinds::STATUS, 0, Vec::new(), ANSWER_MAX).await?;
                    let status: NodeStatus = decode(&answer).map_err(refused)?;
                    let led = status.groups.into_iter().filter(|group| group.leader && groups.contains(&group.group));
                    Ok(led.map(|group| (group.group, Committed { index: group.last, term: group.term })).collect())
                }
                Err(error) => Err(error),
            }
        })
    })
}

/// Answers such a question.
pub(super) async fn answer(members: &Members, body: &[u8]) -> Result<Vec<u8>, PeerError> {
    let question: Question = decode(body).map_err(|error| PeerError::Refused(error.to_string()))?;
    // All at once, and without slow ones: one group may be waiting for the disk.
    let asking = question.groups.into_iter().take(GROUPS_ASKED_MAX).map(async |group| {
        let member = members.get(group)?;
        let Committed { index, term } = timeout(GROUP_ANSWER_MAX, member.committed()).await.ok()??;
        Some((group, index, term))
    });
    let groups = join_all(asking).await.into_iter().flatten().collect();
    Ok(encode(&Answer { groups }))
}

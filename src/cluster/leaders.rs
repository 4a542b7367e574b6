//! Decides which leader should move to which node.

use std::collections::BTreeMap;

use waypost_protocol::NodeId;
use waypost_store::machine::ClusterState;

use super::status::NodeStatus;

/// A transfer of a shard's leadership.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaderMove {
    /// The present leader.
    pub from: NodeId,
    /// The shard's group.
    pub group: u32,
    /// The future leader.
    pub to: NodeId,
}

/// The next transfer, if one is needed: away from a node that cannot or should not lead (it is drained, is stopping, or refuses new
/// links because its disk is full or its memory is short), else from the node that leads most to the one that leads least. `told` are the reports of the nodes that are up.
pub fn leader_move(state: &ClusterState, told: &BTreeMap<NodeId, NodeStatus>) -> Option<LeaderMove> {
    let drained = |node: NodeId| state.nodes.get(&node).is_some_and(|record| record.drain);
    let fit = |node: NodeId| {
        !drained(node) && told.get(&node).is_some_and(|status| !status.stopping && status.creates_links())
    };
    let led = |status: &NodeStatus| status.groups.iter().filter(|report| report.leader && report.group != 0).count();
    // Nodes that should lead nothing come first, then those that lead most.
    let mut sources: Vec<&NodeStatus> = told.values().filter(|status| led(status) > 0).collect();
    sources.sort_by_key(|status| (fit(status.node), std::cmp::Reverse(led(status)), status.node));
    let source = sources.first()?;
    for report in source.groups.iter().filter(|report| report.leader && report.group != 0) {
        let possible = told
            .values()
            .filter(|status| status.node != source.node && fit(status.node) && report.voters.contains(&status.node));
        let Some(target) = possible.min_by_key(|status| (led(status), status.node)) else { continue };
        if !fit(source.node) || led(source) > led(target) + 1 {
            return Some(LeaderMove { from: source.node, group: report.group, to: target.node });
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use waypost_protocol::Level;

    use super::super::status::{GroupReport, MemoryReport};
    use super::*;

    /// Those of three nodes that are up, each with the groups that it leads; all hold all groups.
    fn told(leads: &[(u64, &[u32])]) -> BTreeMap<NodeId, NodeStatus> {
        let voters: Vec<NodeId> = (1..=3).map(NodeId).collect();
        let status = |(id, led): &(u64, &[u32])| {
            let groups = (0..=9).map(|group| GroupReport {
                group,
                leader: led.contains(&group),
                voters: voters.clone(),
                changing: false,
                term: 1,
                applied: 1,
                last: 1,
            });
            let status = NodeStatus {
                node: NodeId(*id),
                version: String::new(),
                stopping: false,
                read_only: false,
                links: 0,
                config: 0,
                groups: groups.collect(),
                level: Level::CURRENT,
                catalog: None,
                disk: None,
                memory: None,
            };
            (NodeId(*id), status)
        };
        leads.iter().map(status).collect()
    }

    fn next(told: &BTreeMap<NodeId, NodeStatus>) -> Option<(u64, u64)> {
        leader_move(&ClusterState::default(), told).map(|next| (next.from.0, next.to.0))
    }

    #[test]
    fn leaders_move_from_who_leads_most_to_who_leads_least_until_they_are_even() {
        assert_eq!(next(&told(&[(1, &[1, 2, 3, 4]), (2, &[5, 6, 7]), (3, &[8, 9])])), Some((1, 3)));
        assert_eq!(next(&told(&[(1, &[1, 2, 3]), (2, &[4, 5, 6]), (3, &[7, 8])])), None);
        assert_eq!(next(&told(&[(1, &[0, 1]), (2, &[]), (3, &[2])])), None, "group 0 is not counted");
    }

    #[test]
    fn a_node_that_should_not_lead_hands_over_to_the_idlest_and_gets_nothing_back() {
        let short = Some(MemoryReport { taken_bytes: 9, budget_bytes: 10, short: true });
        let ways: [&dyn Fn(&mut NodeStatus); 3] =
            [&|status| status.stopping = true, &|status| status.read_only = true, &|status| status.memory = short];
        for unfit in ways {
            let mut told = told(&[(1, &[1]), (2, &[2, 3, 4, 5]), (3, &[6, 7, 8])]);
            unfit(told.get_mut(&NodeId(1)).unwrap());
            assert_eq!(next(&told), Some((1, 3)));
            told.values_mut().filter(|status| status.node == NodeId(1)).for_each(|status| status.groups.clear());
            assert_eq!(next(&told), None, "the others are even");
        }
    }

    #[test]
    fn leaders_stay_where_they_are_when_no_node_is_fit() {
        let mut told = told(&[(1, &[1, 2, 3]), (2, &[])]);
        told.values_mut().for_each(|status| status.read_only = true);
        assert_eq!(next(&told), None);
    }

    #[test]
    fn a_drained_node_leads_nothing() {
        let told = told(&[(1, &[1]), (2, &[2])]);
        let record = waypost_protocol::command::NodeRecord {
            id: NodeId(2),
            name: String::new(),
            peer: String::new(),
            http: String::new(),
            zone: String::new(),
            services: Vec::new(),
            drain: true,
        };
        let state = ClusterState { nodes: [(NodeId(2), record)].into(), ..ClusterState::default() };
        let moved = leader_move(&state, &told);
        assert_eq!(moved, Some(LeaderMove { from: NodeId(2), group: 2, to: NodeId(1) }));
    }
}

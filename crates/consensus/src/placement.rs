//! Which nodes should hold a group: rendezvous hashing, spread over zones.
//!
//! Each node draws a number for each group; the highest numbers win, first one of each zone. If a node joins or leaves, only
//! the groups that it wins or had won change (Thaler and Ravishankar, "Using name-based mappings to increase hit rates", 1998).

use std::collections::BTreeMap;

use waypost_protocol::NodeId;
use waypost_protocol::command::NodeRecord;

/// The voters that a group should have, in no particular order: as many replicas as configured, or as there are nodes. An even
/// number tolerates no more failures than one less would, but a replica is never given up for that.
pub fn choose_voters(group: u32, nodes: &[&NodeRecord], replicas: usize) -> Vec<NodeId> {
    let score = |node: &NodeRecord| {
        let drawn = blake3::hash(&[group.to_le_bytes().as_slice(), &node.id.0.to_le_bytes()].concat());
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&drawn.as_bytes()[..8]);
        u64::from_le_bytes(bytes)
    };
    let mut left: Vec<(&NodeRecord, u64)> = nodes.iter().map(|node| (*node, score(node))).collect();
    let mut zones: BTreeMap<&str, usize> = BTreeMap::new();
    let mut chosen = Vec::new();
    while chosen.len() < nodes.len().min(replicas) {
        let best = left
            .iter()
            .enumerate()
            .min_by_key(|(_, (node, score))| (zones.get(node.zone.as_str()).copied().unwrap_or(0), u64::MAX - score))
            .map(|(index, _)| index);
        let Some(best) = best else { break };
        let (node, _) = left.swap_remove(best);
        *zones.entry(node.zone.as_str()).or_default() += 1;
        chosen.push(node.id);
    }
    chosen.sort_unstable();
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(id: u64, zone: &str) -> NodeRecord {
        NodeRecord {
            id: NodeId(id),
            name: format!("n{id}"),
            peer: String::new(),
            http: String::new(),
            zone: zone.to_owned(),
            services: vec!["link_store".to_owned()],
            drain: false,
        }
    }

    #[test]
    fn there_are_as_many_copies_as_are_wished_and_possible() {
        let nodes: Vec<NodeRecord> = (0..6).map(|id| node(id, "a")).collect();
        let nodes: Vec<&NodeRecord> = nodes.iter().collect();
        let copies: Vec<usize> = (0..=6).map(|count| choose_voters(1, &nodes[..count], 3).len()).collect();
        assert_eq!(copies, [0, 1, 2, 3, 3, 3, 3]);
    }

    #[test]
    fn replicas_are_spread_over_zones() {
        let nodes: Vec<NodeRecord> = (0..9).map(|id| node(id, ["a", "b", "c"][id as usize % 3])).collect();
        let nodes: Vec<&NodeRecord> = nodes.iter().collect();
        for group in 0..64 {
            let mut zones: Vec<u64> = choose_voters(group, &nodes, 3).iter().map(|id| id.0 % 3).collect();
            zones.sort_unstable();
            assert_eq!(zones, [0, 1, 2], "group {group}");
        }
    }

    #[test]
    fn a_further_node_changes_only_the_groups_that_it_wins() {
        let nodes: Vec<NodeRecord> = (0..6).map(|id| node(id, "a")).collect();
        let before: Vec<&NodeRecord> = nodes[..5].iter().collect();
        let after: Vec<&NodeRecord> = nodes.iter().collect();
        let mut won = 0;
        for group in 0..256 {
            let (old, new) = (choose_voters(group, &before, 3), choose_voters(group, &after, 3));
            let kept = old.iter().filter(|id| new.contains(id)).count();
            if new.contains(&NodeId(5)) {
                won += 1;
                assert_eq!(kept, 2, "group {group}");
            } else {
                assert_eq!(old, new, "group {group}");
            }
        }
        assert!((90..170).contains(&won), "{won} of 256 groups, expected about half");
    }
}

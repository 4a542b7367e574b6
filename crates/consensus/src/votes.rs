//! What votes say about leaders.

use crate::types::{LogId, Vote};

/// Whether a vote is for an earlier leader than another one.
pub(crate) fn is_older(vote: &Vote, other: &Vote) -> bool {
    vote.partial_cmp(other) == Some(std::cmp::Ordering::Less)
}

/// Whether the leader of a vote may speak for a state that reaches to an entry. Several nodes may lead in one term, one after the
/// other, so the term alone does not say.
pub(crate) fn vouches_for(leader: &Vote, reaches: Option<&LogId>) -> bool {
    reaches.is_none_or(|id| id.leader_id <= leader.leader_id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::LeaderId;

    fn leads(term: u64, node_id: u64) -> Vote {
        Vote { leader_id: LeaderId { term, node_id }, committed: true }
    }

    #[test]
    fn a_leader_speaks_for_its_own_entries_and_earlier_ones_also_within_a_term() {
        let reaches = |term, node_id| LogId { leader_id: LeaderId { term, node_id }, index: 9 };
        for (term, node, vouched) in [(4, 9, true), (5, 2, true), (5, 3, true), (5, 4, false), (6, 1, false)] {
            assert_eq!(vouches_for(&leads(5, 3), Some(&reaches(term, node))), vouched, "{term} {node}");
        }
        assert!(vouches_for(&leads(5, 3), None));
    }

    #[test]
    fn a_leader_is_older_also_within_a_term() {
        assert!(is_older(&leads(5, 2), &leads(5, 3)) && is_older(&leads(4, 9), &leads(5, 1)));
        assert!(!is_older(&leads(5, 3), &leads(5, 3)) && !is_older(&leads(5, 4), &leads(5, 3)));
    }
}

//! A new cluster of one node out of a backup, or out of what stopped nodes have stored.
//!
//! Its groups begin with the state that is brought, an empty log, and this node as their only member. It is a cluster of its own,
//! with a new id: nodes of the old one, should they come back, are strangers to it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};
use std::path::PathBuf;

use openraft::{BasicNode, EntryPayload, Membership};
use waypost_protocol::command::Bootstrap;
use waypost_protocol::{NodeId, UnixMs};
use waypost_store::archive::{self, ArchiveHead};
use waypost_store::machine::incoming::install_path;
use waypost_store::machine::{ClusterMachine, Machine, ShardMachine, snapshot, stored_position};
use waypost_store::{Db, LogStore, StoreError};

use crate::error::OpenError;
use crate::format::{decode_entry, decode_position, encode_position};
use crate::identity::{ClusterBinding, NodeIdentity};
use crate::limits::{READ_BYTES, READ_ENTRIES};
use crate::types::{LeaderId, LogId, StoredMembership};

/// So many numbers for codes are skipped at least: what a cluster may have given out in a short time, and leased ahead of it.
const SKIPPED_MIN: u64 = 1 << 32;

/// In so many milliseconds of age half of all numbers are skipped. For the first years that is some 20,000 for every second, more than a
/// cluster gives out for long; it never is all of them, and grows all the time, so that a second restore of one backup begins
/// behind what the first has given out.
const HALF_AGE_MS: u64 = 176_000_000_000;

/// How many of the numbers that are left to skip, for a state that is so old: no code may be given a second time.
fn skipped(left: u64, age_ms: u64) -> u64 {
    let least = SKIPPED_MIN.min(left / 4);
    let rest = u128::from(left - least);
    least + (rest * u128::from(age_ms) / u128::from(age_ms.saturating_add(HALF_AGE_MS))) as u64
}

/// The node that a restored cluster begins with.
pub struct RestoreTarget<'a> {
    /// Its database: new, and empty.
    pub db: &'a Db,
    /// Where other nodes find it.
    pub address: String,
    /// Random ids of the node and of the cluster.
    pub node: NodeId,
    /// See `node`.
    pub cluster: [u8; 16],
    /// The time.
    pub now: UnixMs,
}

/// What a stopped node has stored.
pub struct StoppedNode {
    /// Its database.
    pub db: Db,
    /// Its data directory.
    pub data_dir: PathBuf,
}

/// What was restored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// How the cluster had been created; its id is the new one.
    pub bootstrap: Bootstrap,
    /// How many links there are.
    pub links: u64,
    /// The time of the last change in it, by the clocks of the nodes that made them.
    pub last_change: UnixMs,
}

impl RestoreTarget<'_> {
    /// Begins with a backup.
    ///
    /// # Errors
    /// When it is damaged or the store fails; the database is of no use then.
    pub fn restore_archive(self, file: impl Read) -> Result<(ArchiveHead, Restored), OpenError> {
        let head = archive::import(self.db, file)?;
        let restored = self.settle_all(|_| Ok(None), head.groups)?;
        Ok((head, restored))
    }

    /// Begins with what stopped nodes of one cluster have, each group from the node that has heard most of it. What stands in a
    /// log without having been acknowledged is taken too: whoever sent it does not know whether it was.
    ///
    /// # Errors
    /// When a group is nowhere, something is damaged, or a store fails.
    pub fn restore_copies(self, copies: &[StoppedNode]) -> Result<Restored, OpenError> {
        of_one_cluster(copies)?;
        let from = newest(copies, 0)?;
        bring(from, self.db, 0)?;
        // How many there are stands in the first of them, perhaps only in its log: that is applied once for this, and then, like
        // those of the others, to what is kept.
        let (mut cluster, stored) = ClusterMachine::open(self.db.tree("sm/0")?)?;
        replay(from, 0, &mut cluster, applied_of(stored.as_deref())?)?;
        let shards = cluster.state().bootstrap.as_ref().map_or(0, |bootstrap| bootstrap.shards);
        let mut sources = vec![from];
        for group in 1..=shards {
            let from = newest(copies, group)?;
            bring(from, self.db, group)?;
            sources.push(from);
        }
        self.settle_all(|group| Ok(sources.get(group as usize).copied()), shards + 1)
    }

    /// Gives every group its new position, after the log of `source` was applied to it.
    fn settle_all<'c>(
        self,
        source: impl Fn(u32) -> Result<Option<&'c StoppedNode>, OpenError>,
        groups: u32,
    ) -> Result<Restored, OpenError> {
        let mut identity = NodeIdentity::load(self.db, self.node.0)?;
        let mut bootstrap = None;
        let mut last_change = UnixMs(0);
        self.settle::<ClusterMachine>(0, source(0)?, |machine| {
            last_change = machine.state().applied_at;
            // The last change may bear a time that a wrong clock has given it. One in the future says nothing; the cluster's own age
            // is more than that of its last change.
            let created_at = machine.state().bootstrap.as_ref().map_or(UnixMs(0), |bootstrap| bootstrap.created_at);
            let since = if last_change > self.now { created_at } else { last_change };
            let age_ms = self.now.0.saturating_sub(since.0);
            bootstrap = Some(machine.begin_anew(self.cluster, self.node, |left| skipped(left, age_ms))?.clone());
            Ok(())
        })?;
        let bootstrap = bootstrap.expect("invariant: `settle` has called what sets it");
        if bootstrap.shards + 1 != groups {
            return Err(OpenError::Group {
                group: 0,
                detail: format!("the cluster has {} shards, and {} were brought", bootstrap.shards, groups - 1),
            });
        }
        let mut links = 0;
        for group in 1..groups {
            self.settle::<ShardMachine>(group, source(group)?, |machine| {
                links += machine.links() as u64;
                last_change = last_change.max(machine.applied_at());
                Ok(())
            })?;
        }
        identity.bind(self.db, ClusterBinding { id: self.cluster, created: true })?;
        Ok(Restored { bootstrap, links, last_change })
    }

    fn settle<M: Machine>(
        &self,
        group: u32,
        source: Option<&StoppedNode>,
        change: impl FnOnce(&mut M) -> Result<(), StoreError>,
    ) -> Result<(), OpenError> {
        let (mut machine, stored) = M::open(self.db.tree(&format!("sm/{group}"))?)?;
        let mut last = applied_of(stored.as_deref())?;
        if let Some(source) = source {
            last = replay(source, group, &mut machine, last)?;
        }
        change(&mut machine)?;
        // The end of the log of nobody, before every election: the first leader's entries come after it.
        let applied =
            LogId { leader_id: LeaderId { term: 0, node_id: self.node.0 }, index: last.map_or(0, |id| id.index) };
        let nodes = BTreeMap::from([(self.node.0, BasicNode::new(self.address.clone()))]);
        let members = Membership::new(vec![BTreeSet::from([self.node.0])], nodes)
            .expect("invariant: a group of one node that is known is a group");
        let position = encode_position(Some(&applied), &StoredMembership::new(Some(applied), members));
        Ok(machine.checkpoint(&position)?)
    }
}

/// Refuses copies of different clusters: one and the same may have been restored between them, and which of the two states counts
/// nobody here can know.
fn of_one_cluster(copies: &[StoppedNode]) -> Result<(), OpenError> {
    let bindings = copies.iter().map(|copy| NodeIdentity::binding_of(&copy.db)).collect::<Result<Vec<_>, _>>()?;
    let first = bindings.first().copied().flatten().map(|binding| binding.id);
    for (copy, binding) in copies.iter().zip(bindings) {
        let wrong = match binding {
            None => "belongs to no cluster yet",
            Some(binding) if Some(binding.id) != first => {
                "belongs to another cluster than the first of these directories"
            }
            Some(_) => continue,
        };
        return Err(OpenError::Group { group: 0, detail: format!("{} {wrong}", copy.data_dir.display()) });
    }
    Ok(())
}

fn applied_of(position: Option<&[u8]>) -> io::Result<Option<LogId>> {
    Ok(position.map(decode_position).transpose()?.and_then(|(applied, _)| applied))
}

/// Applies what stands in the log of `from` behind an entry; answers the last.
fn replay<M: Machine>(
    from: &StoppedNode,
    group: u32,
    machine: &mut M,
    applied: Option<LogId>,
) -> Result<Option<LogId>, OpenError> {
    let Some(log) = log_of(from, group)? else { return Ok(applied) };
    let mut last = applied;
    loop {
        let start = last.map_or(0, |id| id.index + 1);
        let entries = log.read(start..start + READ_ENTRIES, READ_BYTES)?;
        if entries.is_empty() {
            // Nothing more, or nothing that joins on.
            return match log.last_index()? {
                Some(index) if index >= start => {
                    Err(OpenError::Group { group, detail: format!("entry {start} of its log is missing") })
                }
                _ => Ok(last),
            };
        }
        for (index, bytes) in entries {
            let next = last.map_or(0, |id| id.index + 1);
            if index != next {
                return Err(OpenError::Group { group, detail: format!("entry {next} of its log is missing") });
            }
            let entry = decode_entry(index, &bytes)?;
            // Of a leader that was replaced before the state that came as a snapshot: it lost.
            if last.is_some_and(|last| entry.log_id.leader_id < last.leader_id) {
                return Ok(last);
            }
            if let EntryPayload::Normal(proposal) = &entry.payload {
                let batch = proposal.batch::<M::Command>().map_err(|error| StoreError::Corrupt {
                    what: format!("entry {index} of the log of group {group}"),
                    detail: error.to_string(),
                })?;
                machine.apply(index, &batch)?;
            }
            last = Some(entry.log_id);
        }
    }
}

/// The log of a group, if there is one. Looking for it makes none.
fn log_of(copy: &StoppedNode, group: u32) -> Result<Option<LogStore>, StoreError> {
    match copy.db.tree_names().contains(&format!("log/{group}")) {
        true => LogStore::open(&copy.db, group).map(Some),
        false => Ok(None),
    }
}

/// Copies the stored state of a group; one whose import was interrupted, from the file that it came in.
fn bring(from: &StoppedNode, db: &Db, group: u32) -> Result<(), StoreError> {
    let name = format!("sm/{group}");
    let unfinished = unfinished(from, group);
    if unfinished.exists() {
        snapshot::import(&db.tree(&name)?, group, &unfinished)?;
        return Ok(());
    }
    archive::copy(&from.db.tree(&name)?, &db.tree(&name)?)
}

fn unfinished(copy: &StoppedNode, group: u32) -> PathBuf {
    install_path(&copy.data_dir.join("snapshots"), group)
}

/// The one that has heard most of a group.
fn newest(copies: &[StoppedNode], group: u32) -> Result<&StoppedNode, OpenError> {
    let mut best = None;
    for copy in copies {
        if let Some(reach) = reach(copy, group)? {
            best = best.filter(|(known, _)| *known >= reach).or(Some((reach, copy)));
        }
    }
    best.map(|(_, copy)| copy).ok_or_else(|| OpenError::Group {
        group,
        detail: "none of these data directories holds it; add that of a node that does".to_owned(),
    })
}

/// The last entry that a node has of a group, in its state or its log: by leader and then by index.
fn reach(copy: &StoppedNode, group: u32) -> Result<Option<LogId>, OpenError> {
    let name = format!("sm/{group}");
    if !copy.db.tree_names().contains(&name) {
        return Ok(None);
    }
    let arrived = unfinished(copy, group);
    let position = match arrived.exists() {
        true => Some(snapshot::verify(&arrived, group)?),
        false => stored_position(&copy.db.tree(&name)?)?,
    };
    let of_log = match log_of(copy, group)? {
        Some(log) => match log.last_index()? {
            Some(last) => {
                log.read(last..last + 1, 1)?.first().map(|(at, bytes)| decode_entry(*at, bytes)).transpose()?
            }
            None => None,
        },
        None => None,
    };
    let ids = applied_of(position.as_deref())?.into_iter().chain(of_log.map(|entry| entry.log_id));
    Ok(ids.max())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use waypost_protocol::permutation::CODES;

    use super::skipped;

    #[test]
    fn a_state_of_a_year_skips_what_no_cluster_gives_out_in_that_time() {
        let year = 365 * 24 * 3600;
        assert!(skipped(CODES, 0) >= 1 << 32);
        assert!(skipped(CODES, year * 1000) / year > 15_000, "{}", skipped(CODES, year * 1000) / year);
        assert!(skipped(CODES, 100 * year * 1000) < CODES);
    }

    proptest! {
        #[test]
        fn a_later_restore_begins_behind_an_earlier_one_and_some_numbers_are_always_left(
            left in 4u64..=CODES, age in 0u64..4_000_000_000_000, later in 1_000u64..100_000_000_000,
        ) {
            let (first, second) = (skipped(left, age), skipped(left, age + later));
            prop_assert!(first > 0 && second < left);
            prop_assert!(second >= first);
            // As long as there are many, by a lot for every second.
            if left > CODES / 2 && age + later < 100_000_000_000 {
                prop_assert!((second - first) / (later / 1000) > 3_000, "{first} {second}");
            }
        }
    }
}

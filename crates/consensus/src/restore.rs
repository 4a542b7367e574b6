//! A new cluster of one node out of a backup, or out of what stopped nodes have stored.
//!
//! Its groups begin with the state that is brought, an empty log, and this node as their only member. It is a cluster of its own,
//! with a new id: nodes of the old one, should they come back, are strangers to it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};
use std::path::PathBuf;

use openraft::{BasicNode, EntryPayload, Membership};
use waypost_protocol::command::Founding;
use waypost_protocol::{NodeId, UnixMs};
use waypost_store::archive::{self, ArchiveHead};
use waypost_store::machine::{ClusterMachine, Machine, ShardMachine, snapshot, stored_position};
use waypost_store::{Db, LogStore, StoreError};

use crate::format::{decode_entry, decode_position, encode_position};
use crate::groups::{ClusterTie, NodeIdentity, OpenError};
use crate::state_machine::install_path;
use crate::types::{LeaderId, LogId, StoredMembership};

/// So many numbers for codes are skipped: more than a cluster can have given out since the state was noted (a day and night at
/// 50,000 a second), and little of all that there are (one in eight hundred). So no code is given a second time.
const SKIPPED: u64 = 1 << 32;

/// Log entries read at once.
const READ_ENTRIES: u64 = 256;
const READ_BYTES: usize = 4 << 20;

/// The node that a restored cluster begins with.
pub struct Beginning<'a> {
    /// Its database: new, and empty.
    pub db: &'a Db,
    /// Where other nodes find it.
    pub address: String,
    /// Random ids of the node and of the cluster.
    pub node: NodeId,
    /// See `node`.
    pub cluster: [u8; 16],
}

/// What a stopped node has stored.
pub struct Copy {
    /// Its database.
    pub db: Db,
    /// Its data directory.
    pub data_dir: PathBuf,
}

/// What was restored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// How the cluster had been created; its id is the new one.
    pub founding: Founding,
    /// How many links there are.
    pub links: u64,
    /// The time of the last change in it, by the clocks of the nodes that made them.
    pub last_change: UnixMs,
}

impl Beginning<'_> {
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
    pub fn restore_copies(self, copies: &[Copy]) -> Result<Restored, OpenError> {
        let from = newest(copies, 0)?;
        bring(from, self.db, 0)?;
        // How many there are stands in the first of them, perhaps only in its log.
        let (mut cluster, stored) = ClusterMachine::open(self.db.tree("sm/0")?)?;
        replay(from, 0, &mut cluster, index_of(stored.as_deref())?)?;
        let shards = cluster.state().founding.as_ref().map_or(0, |founding| founding.shards);
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
        source: impl Fn(u32) -> Result<Option<&'c Copy>, OpenError>,
        groups: u32,
    ) -> Result<Restored, OpenError> {
        let mut identity = NodeIdentity::load(self.db, self.node.0)?;
        let mut founding = None;
        let mut last_change = UnixMs(0);
        self.settle::<ClusterMachine>(0, source(0)?, |machine| {
            founding = Some(machine.begin_anew(self.cluster, SKIPPED)?.clone());
            last_change = machine.state().applied_at;
            Ok(())
        })?;
        let founding = founding.expect("invariant: `settle` has called what sets it");
        if founding.shards + 1 != groups {
            return Err(OpenError::Group {
                group: 0,
                detail: format!("the cluster has {} shards, and {} were brought", founding.shards, groups - 1),
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
        identity.tie(self.db, ClusterTie { id: self.cluster, created: true })?;
        Ok(Restored { founding, links, last_change })
    }

    fn settle<M: Machine>(
        &self,
        group: u32,
        source: Option<&Copy>,
        change: impl FnOnce(&mut M) -> Result<(), StoreError>,
    ) -> Result<(), OpenError> {
        let (mut machine, stored) = M::open(self.db.tree(&format!("sm/{group}"))?)?;
        let mut index = index_of(stored.as_deref())?;
        if let Some(source) = source {
            index = replay(source, group, &mut machine, index)?;
        }
        change(&mut machine)?;
        // The end of the log of nobody, before every election: the first leader's entries come after it.
        let applied = LogId { leader_id: LeaderId { term: 0, node_id: self.node.0 }, index: index.unwrap_or(0) };
        let nodes = BTreeMap::from([(self.node.0, BasicNode::new(self.address.clone()))]);
        let members = Membership::new(vec![BTreeSet::from([self.node.0])], nodes)
            .expect("invariant: a group of one node that is known is a group");
        let position = encode_position(Some(&applied), &StoredMembership::new(Some(applied), members));
        Ok(machine.checkpoint(&position)?)
    }
}

fn index_of(position: Option<&[u8]>) -> io::Result<Option<u64>> {
    Ok(position.map(decode_position).transpose()?.and_then(|(applied, _)| applied).map(|id| id.index))
}

/// Applies what stands in the log of `from` behind an index; answers the last index.
fn replay<M: Machine>(
    from: &Copy,
    group: u32,
    machine: &mut M,
    applied: Option<u64>,
) -> Result<Option<u64>, OpenError> {
    let log = LogStore::open(&from.db, group)?;
    let mut last = applied;
    loop {
        let start = last.map_or(0, |index| index + 1);
        let entries = log.read(start..start + READ_ENTRIES, READ_BYTES)?;
        if entries.is_empty() {
            return Ok(last);
        }
        for (index, bytes) in entries {
            if last.is_some_and(|last| index != last + 1) {
                return Err(OpenError::Group {
                    group,
                    detail: format!("its log goes from entry {} to {index}", last.unwrap_or(0)),
                });
            }
            if let EntryPayload::Normal(proposal) = decode_entry(index, &bytes)?.payload {
                machine.apply(index, &proposal.0)?;
            }
            last = Some(index);
        }
    }
}

/// Copies the stored state of a group; one whose import was interrupted, from the file that it came in.
fn bring(from: &Copy, db: &Db, group: u32) -> Result<(), StoreError> {
    let name = format!("sm/{group}");
    let unfinished = unfinished(from, group);
    if unfinished.exists() {
        snapshot::import(&db.tree(&name)?, group, &unfinished)?;
        return Ok(());
    }
    archive::copy(&from.db.tree(&name)?, &db.tree(&name)?)
}

fn unfinished(copy: &Copy, group: u32) -> PathBuf {
    install_path(&copy.data_dir.join("snapshots"), group)
}

/// The one that has heard most of a group.
fn newest(copies: &[Copy], group: u32) -> Result<&Copy, OpenError> {
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

/// The term and index of the last entry that a node has of a group, in its state or its log.
fn reach(copy: &Copy, group: u32) -> Result<Option<(u64, u64)>, OpenError> {
    let name = format!("sm/{group}");
    if !copy.db.tree_names().contains(&name) {
        return Ok(None);
    }
    let arrived = unfinished(copy, group);
    let position = match arrived.exists() {
        true => Some(snapshot::verify(&arrived, group)?),
        false => stored_position(&copy.db.tree(&name)?)?,
    };
    let of_state = match position.as_deref() {
        Some(position) => decode_position(position)?.0,
        None => None,
    };
    let log = LogStore::open(&copy.db, group)?;
    let of_log = match log.last_index()? {
        Some(last) => log.read(last..last + 1, 1)?.first().map(|(at, bytes)| decode_entry(*at, bytes)).transpose()?,
        None => None,
    };
    let ids = of_state.into_iter().chain(of_log.map(|entry| entry.log_id));
    Ok(ids.map(|id| (id.leader_id.term, id.index)).max())
}

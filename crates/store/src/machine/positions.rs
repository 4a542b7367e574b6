//! How far the clicks of each journal were counted, since level 1.
//!
//! A position that is forgotten while its journal is left would have its clicks counted again. So it is kept until the journal's end is
//! told (`EndJournals`), by the node that had it, or by the shard's leader when that node cannot come back. At level 0
//! positions are in the record `m`, and only the 512 that were heard of last are kept.
//!
//! | key | record |
//! |---|---|
//! | `j` + node `u64` | the journals of one node: number, position, when it was last heard of |

use std::collections::{BTreeMap, BTreeSet};

use waypost_protocol::{NodeId, UnixMs};

use super::record::{decode, encode, open_record, seal_record};
use crate::{Batch, StoreError, Tree};

const PREFIX: u8 = b'j';

/// Journals of one node: two lives with the most workers that can be configured. They are one record.
const OF_NODE_MAX: usize = 512;

/// About what a position takes in its record.
const POSITION_BYTES: u64 = 24;

type Journals = BTreeMap<u64, (u64, UnixMs)>;

/// The positions of all journals, by the node that has them.
#[derive(Default)]
pub(super) struct Positions {
    nodes: BTreeMap<NodeId, Journals>,
    /// Nodes whose record is to be written.
    changed: BTreeSet<NodeId>,
}

fn key_of(node: NodeId) -> [u8; 9] {
    let mut key = [PREFIX; 9];
    key[1..].copy_from_slice(&node.0.to_be_bytes());
    key
}

impl Positions {
    pub(super) fn open(tree: &Tree) -> Result<Self, StoreError> {
        let mut found = Self::default();
        for entry in tree.scan_prefix(&[PREFIX]) {
            let (key, value) = entry?;
            let node = key.get(1..9).and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_be_bytes);
            let journals: Vec<(u64, u64, UnixMs)> = decode("journals", open_record(tree, &key, &value)?)?;
            let journals = journals.into_iter().map(|(journal, position, heard)| (journal, (position, heard)));
            found.nodes.insert(NodeId(node), journals.collect());
        }
        Ok(found)
    }

    /// The position of a journal of a node; also of one that was another node's, and was brought to this one.
    pub(super) fn get(&self, node: NodeId, journal: u64) -> Option<u64> {
        let own = self.nodes.get(&node).and_then(|journals| journals.get(&journal));
        let position = own.or_else(|| self.nodes.values().find_map(|journals| journals.get(&journal)));
        position.map(|(position, _)| *position)
    }

    /// Whether a node may have positions of these journals besides those that it has.
    pub(super) fn has_room(&self, node: NodeId, journals: impl Iterator<Item = u64>) -> bool {
        let Some(known) = self.nodes.get(&node) else { return true };
        let new = journals.filter(|journal| !known.contains_key(journal)).count();
        new == 0 || known.len() + new <= OF_NODE_MAX
    }

    pub(super) fn set(&mut self, node: NodeId, journal: u64, position: u64, heard: UnixMs) {
        let known = self.nodes.entry(node).or_default();
        if known.insert(journal, (position, heard)).is_none() {
            let others = self.nodes.iter_mut().filter(|(other, _)| **other != node);
            for (other, journals) in others {
                if journals.remove(&journal).is_some() {
                    self.changed.insert(*other);
                }
            }
        }
        self.changed.insert(node);
    }

    /// Forgets journals that will never be heard of again.
    pub(super) fn end(&mut self, ended: &[u64]) {
        for (node, journals) in &mut self.nodes {
            for journal in ended {
                if journals.remove(journal).is_some() {
                    self.changed.insert(*node);
                }
            }
        }
    }

    /// The journals of nodes that are gone for good, if nothing was heard of them since `before`; at most `max`.
    pub(super) fn left_behind(&self, gone: impl Fn(NodeId) -> bool, before: UnixMs, max: usize) -> Vec<u64> {
        let of_gone = self.nodes.iter().filter(|(node, _)| gone(**node)).flat_map(|(_, journals)| journals);
        of_gone.filter(|(_, (_, heard))| *heard < before).map(|(journal, _)| *journal).take(max).collect()
    }

    pub(super) fn pending_bytes(&self) -> u64 {
        let positions = |node: &NodeId| self.nodes.get(node).map_or(1, |journals| journals.len() as u64 + 1);
        self.changed.iter().map(positions).sum::<u64>() * POSITION_BYTES
    }

    pub(super) fn write(&mut self, tree: &Tree, batch: &mut Batch) {
        for node in std::mem::take(&mut self.changed) {
            let key = key_of(node);
            let journals = self.nodes.get(&node).filter(|journals| !journals.is_empty());
            match journals {
                None => {
                    self.nodes.remove(&node);
                    batch.remove(&key);
                }
                Some(journals) => {
                    let of = |(journal, (position, heard)): (&u64, &(u64, UnixMs))| (*journal, *position, *heard);
                    let journals: Vec<(u64, u64, UnixMs)> = journals.iter().map(of).collect();
                    batch.insert(&key, seal_record(tree, &key, &encode(&journals)));
                }
            }
        }
    }
}

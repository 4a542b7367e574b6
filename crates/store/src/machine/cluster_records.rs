//! The stored form of the state of group 0.
//!
//! | key | record | since level |
//! |---|---|---|
//! | `m` | version 1: position and the whole state; version 2: position and the single values | 0; 1 |
//! | `n` + id `u64` | a member | 1 |
//! | `p` + group `u32` | the nodes that should hold a group | 1 |
//! | `g` + id `u64` | the log index at which a node was removed | 1 |
//! | `d` + number `u32` | a domain | 3 |
//! | `s` + id `u64` | a session of the dashboard | 3 |
//!
//! In version 1 everything was in one record, which must not grow above the largest value of the database. A checkpoint writes the
//! changed records, in one atomic batch.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use waypost_protocol::command::{Bootstrap, NodeRecord};
use waypost_protocol::digest::KeyDigest;
use waypost_protocol::session::SessionId;
use waypost_protocol::{Domain, Level, NoRecord, NodeId, Record, UnixMs};

use super::cluster_state::{ClusterState, Gone};
use super::record::{
    CLUSTER_META_VERSION, META_KEY, decode, encode, open_record, open_sealed, read_record, seal, seal_record,
};
use crate::{Batch, StoreError, Tree};

const NODE_PREFIX: u8 = b'n';
const PLACEMENT_PREFIX: u8 = b'p';
const GONE_PREFIX: u8 = b'g';
const DOMAIN_PREFIX: u8 = b'd';
const SESSION_PREFIX: u8 = b's';

/// The form of the records in the tree.
#[derive(Debug, Default)]
pub(super) enum StoredAs {
    /// Nothing, or the one record of level 0.
    #[default]
    Whole,
    /// Separate records for this state.
    Parts(Box<ClusterState>),
}

/// Version 1 of the record `m`.
#[derive(Serialize, Deserialize)]
struct WholeRecord {
    position: Vec<u8>,
    bootstrap: Option<Bootstrap>,
    next_key: u64,
    admin_key: Option<KeyDigest>,
    applied_at: UnixMs,
    nodes: BTreeMap<NodeId, NodeRecord>,
    placement: BTreeMap<u32, Vec<NodeId>>,
    gone: BTreeSet<NodeId>,
}

impl Record for WholeRecord {
    const VERSION: u8 = 1;
    type Previous = NoRecord;

    fn migrate(previous: NoRecord) -> Self {
        match previous {}
    }
}

/// Version 2 of the record `m`. It does not replace version 1 alone: the other parts of version 1 become separate records.
#[derive(Serialize, Deserialize)]
struct MetaRecord {
    position: Vec<u8>,
    level: Level,
    bootstrap: Option<Bootstrap>,
    next_key: u64,
    admin_key: Option<KeyDigest>,
    applied_at: UnixMs,
}

/// Reads the state of the last checkpoint, and its position.
pub(super) fn load(tree: &Tree) -> Result<(ClusterState, StoredAs, Option<Vec<u8>>), StoreError> {
    let Some(value) = tree.get(META_KEY)? else { return Ok(Default::default()) };
    let (version, payload) = open_sealed(tree.name(), META_KEY, &value)?;
    if version == WholeRecord::VERSION {
        let whole: WholeRecord = read_record(tree.name(), META_KEY, &value)?;
        let state = ClusterState {
            bootstrap: whole.bootstrap,
            level: Level::BASE,
            next_key: whole.next_key,
            admin_key: whole.admin_key,
            applied_at: whole.applied_at,
            nodes: whole.nodes,
            placement: whole.placement,
            gone: Gone(whole.gone.into_iter().map(|node| (node, 0)).collect()),
            domains: BTreeMap::new(),
            sessions: BTreeMap::new(),
        };
        return Ok((state, StoredAs::Whole, Some(whole.position)));
    }
    let meta: MetaRecord = decode("checkpoint", payload)?;
    let mut state = ClusterState {
        bootstrap: meta.bootstrap,
        level: meta.level,
        next_key: meta.next_key,
        admin_key: meta.admin_key,
        applied_at: meta.applied_at,
        ..ClusterState::default()
    };
    each(tree, NODE_PREFIX, |id, node| state.nodes.insert(NodeId(id), node))?;
    each(tree, PLACEMENT_PREFIX, |group, voters| state.placement.insert(group as u32, voters))?;
    each(tree, GONE_PREFIX, |id, index: u64| state.gone.0.insert(NodeId(id), index))?;
    each(tree, DOMAIN_PREFIX, |number, domain| state.domains.insert(Domain(number as u32), domain))?;
    each(tree, SESSION_PREFIX, |id, session| state.sessions.insert(SessionId(id), session))?;
    Ok((state.clone(), StoredAs::Parts(Box::new(state)), Some(meta.position)))
}

fn each<T: for<'a> Deserialize<'a>, R>(
    tree: &Tree,
    prefix: u8,
    mut put: impl FnMut(u64, T) -> R,
) -> Result<(), StoreError> {
    for entry in tree.scan_prefix(&[prefix]) {
        let (key, value) = entry?;
        let number = key[1..].iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
        put(number, decode("record of group 0", open_record(tree, &key, &value)?)?);
    }
    Ok(())
}

/// Writes the differences to the stored state, and the position. Returns the new stored form.
pub(super) fn write(
    tree: &Tree,
    state: &ClusterState,
    stored: &StoredAs,
    position: &[u8],
) -> Result<StoredAs, StoreError> {
    let mut batch = Batch::default();
    if state.level == Level::BASE {
        let whole = WholeRecord {
            position: position.to_vec(),
            bootstrap: state.bootstrap.clone(),
            next_key: state.next_key,
            admin_key: state.admin_key,
            applied_at: state.applied_at,
            nodes: state.nodes.clone(),
            placement: state.placement.clone(),
            gone: state.gone.into_iter().copied().collect(),
        };
        batch.insert(META_KEY, seal(tree.name(), META_KEY, WholeRecord::VERSION, &whole.write()));
        tree.apply(batch)?;
        return Ok(StoredAs::Whole);
    }
    let nothing = ClusterState::default();
    let known = match stored {
        StoredAs::Whole => &nothing,
        StoredAs::Parts(known) => known,
    };
    let long = |node: &NodeId| node.0.to_be_bytes();
    differing(tree, &mut batch, NODE_PREFIX, &known.nodes, &state.nodes, long);
    differing(tree, &mut batch, PLACEMENT_PREFIX, &known.placement, &state.placement, |group| group.to_be_bytes());
    differing(tree, &mut batch, GONE_PREFIX, &known.gone.0, &state.gone.0, long);
    differing(tree, &mut batch, DOMAIN_PREFIX, &known.domains, &state.domains, |domain| domain.0.to_be_bytes());
    differing(tree, &mut batch, SESSION_PREFIX, &known.sessions, &state.sessions, |session| session.0.to_be_bytes());
    let meta = MetaRecord {
        position: position.to_vec(),
        level: state.level,
        bootstrap: state.bootstrap.clone(),
        next_key: state.next_key,
        admin_key: state.admin_key,
        applied_at: state.applied_at,
    };
    batch.insert(META_KEY, seal(tree.name(), META_KEY, CLUSTER_META_VERSION, &encode(&meta)));
    tree.apply(batch)?;
    Ok(StoredAs::Parts(Box::new(state.clone())))
}

fn differing<K: Ord, V: PartialEq + Serialize, const N: usize>(
    tree: &Tree,
    batch: &mut Batch,
    prefix: u8,
    known: &BTreeMap<K, V>,
    now: &BTreeMap<K, V>,
    bytes: impl Fn(&K) -> [u8; N],
) {
    let key = |of: &K| [[prefix].as_slice(), &bytes(of)].concat();
    for (of, value) in now.iter().filter(|(of, value)| known.get(of) != Some(value)) {
        let key = key(of);
        batch.insert(&key, seal_record(tree, &key, &encode(value)));
    }
    for of in known.keys().filter(|of| !now.contains_key(of)) {
        batch.remove(&key(of));
    }
}

//! Commands that a group does not take, and those that must not stand in its log.

use std::sync::Arc;

use tempfile::tempdir;
use waypost_protocol::command::{Batch, ClusterCommand, Create, GroupCommand, RemoveNode, ShardCommand};
use waypost_protocol::{Level, NodeId};
use waypost_store::LogStore;

use super::replicas::{GROUP, LEADER, replica, replica_on};
use super::{clock, create};
use crate::ProposeError;
use crate::format::{decode_entry, encode_entry};
use crate::group::IfNew;
use crate::limits::COMMAND_BYTES_MAX;
use crate::types::{Entry, LogId, Proposal};

/// A create whose optional field makes it so large.
fn create_of(number: usize, bytes: usize) -> Create {
    let (_, mut command) = create(number);
    command.spec.fields.set(1, Some(vec![b'x'; bytes]));
    command
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_is_refused_while_the_level_is_too_low_and_when_it_is_too_large() {
    let root = tempdir().unwrap();
    let alone = replica(root.path(), LEADER, &Arc::default(), IfNew::Create).await;
    let refused = alone.group.propose(create_of(1, 10)).await;
    assert_eq!(refused, Err(ProposeError::NotYet { needed: Level::ONE, level: Level::BASE }));
    alone.group.level().raise(Level::ONE);
    alone.group.propose(create_of(1, 10)).await.unwrap();
    // The largest that is possible, and one byte more.
    let encoded = |bytes| ShardCommand::from(create_of(2, bytes)).encode(Level::ONE).len();
    let fits = COMMAND_BYTES_MAX - (encoded(COMMAND_BYTES_MAX) - COMMAND_BYTES_MAX);
    assert_eq!(encoded(fits), COMMAND_BYTES_MAX);
    alone.group.propose(create_of(2, fits)).await.unwrap();
    let refused = alone.group.propose(create_of(3, fits + 1)).await;
    let (bytes, max) = (COMMAND_BYTES_MAX + 1, COMMAND_BYTES_MAX);
    assert_eq!(refused, Err(ProposeError::TooLarge { bytes, max }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_of_another_kind_of_group_in_a_log_makes_the_store_fail() {
    let root = tempdir().unwrap();
    let alone = replica(root.path(), LEADER, &Arc::default(), IfNew::Create).await;
    alone.create(0..3).await;
    let (db, last) = (alone.db.clone(), alone.group.status().last);
    alone.group.close().await.unwrap();
    let log = LogStore::open(&db, GROUP).unwrap();
    let read = log.read(last..last + 1, 1).unwrap();
    let LogId { leader_id, index } = decode_entry(last, &read[0].1).unwrap().log_id;
    let commands = vec![ClusterCommand::from(RemoveNode { node: NodeId(7) })];
    let batch = Batch { level: Level::BASE, at: clock(), commands };
    let bytes = batch.encode();
    let log_id = LogId { leader_id, index: index + 1 };
    let entry = Entry { log_id, payload: openraft::EntryPayload::Normal(Proposal::new(batch, bytes)) };
    log.append([(index + 1, encode_entry(&entry))]).unwrap();
    let dir = root.path().to_owned();
    let again = db.clone();
    let opened = tokio::spawn(async move { replica_on(again, &dir, LEADER, &Arc::default(), IfNew::Create).await });
    assert!(opened.await.is_err(), "it was opened");
    let failure = db.failure().expect("the store goes on");
    assert!(failure.contains("is not one of a shard"), "{failure}");
}

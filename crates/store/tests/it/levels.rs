//! Levels: what a shard stores before and after all nodes of the cluster understand a later version.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use waypost_protocol::command::{Batch, ClusterCommand, Create, Edit, RaiseLevel, ShardCommand, ShardOutcome};
use waypost_protocol::digest::IdempotencyKey;
use waypost_protocol::{Code, FieldChanges, Fields, Level, LinkKey, LinkPatch, LinkSpec, Target, UnixMs};
use waypost_store::StoreError;
use waypost_store::machine::{ClusterMachine, Machine, ShardMachine, snapshot, stored_position};

use super::log::Log;
use super::shards::open;

fn new_link(fields: Fields) -> Create {
    Create {
        key: key(),
        created_by: 0,
        generated: false,
        find_existing: false,
        idempotency: None,
        spec: LinkSpec {
            target: Target::parse("https://example.com/a", &[], 8192).unwrap(),
            valid_until: None,
            fields,
        },
    }
}

fn key() -> LinkKey {
    LinkKey::new(Code::parse_slug("sale").unwrap())
}

fn edit(fields: FieldChanges) -> ShardCommand {
    let target = Some(Target::parse("https://example.com/b", &[], 8192).unwrap());
    ShardCommand::from(Edit {
        key: key(),
        if_version: None,
        patch: LinkPatch { target, valid_until: None, fields },
        by: None,
    })
}

#[test]
fn fields_that_this_version_does_not_know_survive_an_edit_a_checkpoint_and_a_snapshot() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path());
    let mut log = Log::<ShardMachine>::open(&db, "sm/1");
    let mut fields = Fields::default();
    fields.set(200, Some(b"of a later version".to_vec()));
    fields.set(201, Some(b"too".to_vec()));
    assert!(matches!(log.apply(Level::ONE, ShardCommand::from(new_link(fields))), ShardOutcome::Created(_)));
    log.checkpoint();
    let mut log = Log::<ShardMachine>::open(&db, "sm/1");
    let mut changes = FieldChanges::default();
    changes.set(201, None);
    changes.set(7, Some(b"seven".to_vec()));
    for changes in [FieldChanges::default(), changes] {
        assert!(matches!(log.apply(Level::ONE, edit(changes)), ShardOutcome::Edited(_)));
    }
    log.checkpoint();
    let path = dir.path().join("snapshot");
    let file = std::fs::File::create(&path).unwrap();
    snapshot::export(log.machine.tree(), 1, &log.index.to_le_bytes(), &file, 0).unwrap();
    let other = tempfile::tempdir().unwrap();
    let other = open(other.path());
    snapshot::import(&other.tree("sm/1").unwrap(), 1, &path).unwrap();
    for db in [&db, &other] {
        let log = Log::<ShardMachine>::open(db, "sm/1");
        let (link, _) = log.machine.get(&key()).unwrap().unwrap();
        let kept: Vec<(u8, &[u8])> = vec![(7, b"seven"), (200, b"of a later version")];
        assert_eq!(link.spec.fields.iter().collect::<Vec<_>>(), kept);
        assert_eq!((link.version, link.spec.target.as_str()), (3, "https://example.com/b"));
        assert_eq!(log.machine.level(), Level::ONE);
    }
}

#[test]
fn a_shard_writes_for_earlier_versions_until_its_log_shows_the_level() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path());
    let tree = db.tree("sm/1").unwrap();
    let mut log = Log::<ShardMachine>::open(&db, "sm/1");
    log.apply(Level::BASE, ShardCommand::from(new_link(Fields::default())));
    log.checkpoint();
    assert_eq!(tree.get(b"m").unwrap().unwrap()[0], 1);
    let mut log = Log::<ShardMachine>::open(&db, "sm/1");
    assert_eq!(log.machine.level(), Level::BASE);
    log.apply(Level::ONE, edit(FieldChanges::default()));
    log.checkpoint();
    assert_eq!(tree.get(b"m").unwrap().unwrap()[0], 2);
    // A leader that has not heard of the level yet changes nothing about it.
    let mut log = Log::<ShardMachine>::open(&db, "sm/1");
    log.apply(Level::BASE, edit(FieldChanges::default()));
    assert_eq!(log.machine.level(), Level::ONE);
    assert!(log.machine.get(&key()).unwrap().is_some());
}

#[test]
fn the_position_of_the_last_checkpoint_is_found_without_reading_the_state_at_every_level() {
    for level in [Level::BASE, Level::THREE] {
        let dir = tempfile::tempdir().unwrap();
        let db = open(dir.path());
        let mut shard = Log::<ShardMachine>::open(&db, "sm/1");
        let tree = shard.machine.tree().clone();
        assert_eq!(stored_position(&tree).unwrap(), None);
        shard.apply(level, ShardCommand::from(new_link(Fields::default())));
        shard.machine.checkpoint(b"there").unwrap();
        assert_eq!(stored_position(&tree).unwrap().as_deref(), Some(&b"there"[..]));
        let mut cluster = Log::<ClusterMachine>::open(&db, "sm/0");
        cluster.apply(level, ClusterCommand::from(RaiseLevel { level, members: vec![] }));
        cluster.machine.checkpoint(b"and here").unwrap();
        assert_eq!(stored_position(cluster.machine.tree()).unwrap().as_deref(), Some(&b"and here"[..]));
        tree.insert(b"m", vec![1; 40]).unwrap();
        assert!(matches!(stored_position(&tree), Err(StoreError::Corrupt { .. })));
    }
}

fn keyed(number: u32) -> ShardCommand {
    let mut name = [0; 16];
    name[..4].copy_from_slice(&number.to_le_bytes());
    let key = LinkKey::new(Code::parse_slug(&format!("k{number}")).unwrap());
    let new = Create { key, idempotency: Some((IdempotencyKey(name), 7)), ..new_link(Fields::default()) };
    ShardCommand::from(new)
}

#[test]
fn a_replica_that_was_restarted_remembers_no_idempotency_key_that_the_others_have_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path());
    let mut log = Log::<ShardMachine>::open(&db, "sm/1");
    // As many as a shard remembers, and then fifty more: half of the first record of them is forgotten.
    for number in 0..65_536 + 50 {
        log.apply(Level::ONE, keyed(number));
        if number == 65_535 {
            log.checkpoint();
        }
    }
    log.checkpoint();
    let mut restarted = Log::<ShardMachine>::open(&db, "sm/1");
    for forgotten in [0, 49] {
        // The same request under another slug: who remembers the key answers with the link that it made.
        let ShardCommand::Create(new) = keyed(forgotten) else { unreachable!() };
        let again = Create { key: LinkKey::new(Code::parse_slug(&format!("again{forgotten}")).unwrap()), ..*new };
        let command = ShardCommand::from(again);
        let (one, other) = (log.apply(Level::ONE, command.clone()), restarted.apply(Level::ONE, command));
        let slug = |outcome: &ShardOutcome| match outcome {
            ShardOutcome::Created(link) => link.key.code.as_str().to_owned(),
            other => panic!("{other:?}"),
        };
        assert_eq!(slug(&one), format!("again{forgotten}"));
        assert_eq!(slug(&one), slug(&other));
    }
}

#[test]
fn keys_that_were_too_old_before_the_level_rose_count_on_no_replica_after_it() {
    let outcomes = [false, true].map(|restarted_by_the_earlier_version| {
        let dir = tempfile::tempdir().unwrap();
        let db = open(dir.path());
        let mut log = Log::<ShardMachine>::open(&db, "sm/1");
        log.apply(Level::BASE, keyed(1));
        // A clock is forty days ahead for a moment.
        let ahead =
            Batch { level: Level::BASE, at: UnixMs(40 * 86_400_000), commands: vec![edit(FieldChanges::default())] };
        log.index += 1;
        log.machine.apply(log.index, &ahead).unwrap();
        if restarted_by_the_earlier_version {
            log.checkpoint();
            // It forgot keys by their age when it started.
            let tree = db.tree("sm/1").unwrap();
            for record in tree.scan_prefix(b"i") {
                tree.remove(&record.unwrap().0).unwrap();
            }
            log = Log::open(&db, "sm/1");
        }
        log.apply(Level::ONE, edit(FieldChanges::default()));
        let ShardCommand::Create(new) = keyed(1) else { unreachable!() };
        let again = Create { key: LinkKey::new(Code::parse_slug("again").unwrap()), ..*new };
        match log.apply(Level::ONE, ShardCommand::from(again)) {
            ShardOutcome::Created(link) => link.key.code.as_str().to_owned(),
            other => panic!("{other:?}"),
        }
    });
    assert_eq!(outcomes, ["again", "again"]);
}

#[test]
fn a_link_never_grows_beyond_what_can_be_stored() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path());
    let mut log = Log::<ShardMachine>::open(&db, "sm/1");
    log.apply(Level::ONE, ShardCommand::from(new_link(Fields::default())));
    let grow = |tag: u8| {
        let mut changes = FieldChanges::default();
        changes.set(tag, Some(vec![tag; 9_000]));
        edit(changes)
    };
    for tag in [1, 2] {
        assert!(matches!(log.apply(Level::ONE, grow(tag)), ShardOutcome::Edited(_)));
    }
    assert_eq!(log.apply(Level::ONE, grow(3)), ShardOutcome::LinkTooLarge { max: 20 * 1024 });
    log.checkpoint();
    let log = Log::<ShardMachine>::open(&db, "sm/1");
    assert_eq!(log.machine.get(&key()).unwrap().unwrap().0.version, 3);
}

#[test]
fn records_of_a_later_version_are_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path());
    for (name, machine) in [("sm/0", "group 0"), ("sm/1", "shard")] {
        let tree = db.tree(name).unwrap();
        let context = [name.as_bytes(), b"/m"].concat();
        tree.insert(b"m", waypost_protocol::seal(&context, 3, b"")).unwrap();
        let refused = match name {
            "sm/0" => ClusterMachine::open(tree).map(|_| ()),
            _ => ShardMachine::open(tree).map(|_| ()),
        };
        assert!(matches!(refused, Err(StoreError::UnknownVersion { version: 3, .. })), "{machine}: {refused:?}");
    }
}

//! The bytes of everything that is stored or replicated, pinned: a change of one of these loses data.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use waypost_protocol::clicks::{ClickBatch, ClickDelta, JournalSpan, OrphanDelta, Tally};
use waypost_protocol::command::{Batch, BatchError, Bootstrap, Command, NewLink, NodeRecord};
use waypost_protocol::digest::{IdempotencyKey, KeyDigest};
use waypost_protocol::sketch::Register;
use waypost_protocol::{
    Code, Domain, FieldChanges, Fields, KeyHash, Level, Link, LinkKey, LinkVersion, NodeId, Target, UnixMs,
};

const AT: UnixMs = UnixMs(1_700_000_000_000);

fn link_key() -> LinkKey {
    LinkKey { domain: Domain::default(), code: Code::parse_slug("spring-sale").unwrap() }
}

fn target(path: &str) -> Target {
    Target::parse(&format!("https://example.com/{path}"), &[], 8192).unwrap()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

fn node() -> Box<NodeRecord> {
    Box::new(NodeRecord {
        id: NodeId(300),
        name: "n1".into(),
        peer: "a:1".into(),
        http: "b:2".into(),
        zone: "z".into(),
        services: vec!["link_store".into()],
        drain: false,
    })
}

fn create() -> NewLink {
    NewLink {
        key: link_key(),
        target: target("a"),
        valid_until: Some(UnixMs(5)),
        created_by: 1,
        generated: false,
        find_existing: true,
        idempotency: Some((IdempotencyKey([9; 16]), 77)),
        fields: Fields::default(),
    }
}

fn clicks() -> ClickBatch {
    ClickBatch {
        node: NodeId(300),
        spans: vec![JournalSpan { journal: 5, from: 0, upto: 64 }],
        strings: vec!["de".into()],
        deltas: vec![ClickDelta {
            link: KeyHash(4),
            hour: 472_222,
            last: UnixMs(8),
            tallies: smallvec::smallvec![Tally { bot: false, values: [1, 0, 0, 0, 0, 0, 0], count: 3 }],
            visitors: smallvec::smallvec![Register(65)],
        }],
        orphans: vec![OrphanDelta { path: 1, count: 2, last: UnixMs(9) }],
    }
}

/// Each command as it is encoded in a batch of level 0. These bytes were written by version 0.1.
fn of_level_0() -> Vec<(Command, &'static str)> {
    let bootstrap = Bootstrap {
        cluster_id: [1; 16],
        name: "c".into(),
        shards: 16,
        permutation_key: [2; 32],
        created_at: UnixMs(1_700_000_000_000),
    };
    let edit = Command::Edit {
        key: link_key(),
        if_version: Some(LinkVersion { version: 2, written_at: 9 }),
        target: Some(target("b")),
        valid_until: Some(None),
        fields: FieldChanges::default(),
    };
    vec![
        (
            Command::Bootstrap(bootstrap),
            "80d095ffbc31010001010101010101010101010101010101016310020202020202020202020202020202020202020202020202020202020202020280d095ffbc31",
        ),
        (Command::LeaseKeys { node: NodeId(300), count: 4096 }, "80d095ffbc310101ac028020"),
        (
            Command::SetAdminKey { digest: KeyDigest([7; 32]), replace: true },
            "80d095ffbc310102070707070707070707070707070707070707070707070707070707070707070701",
        ),
        (Command::PutNode(node()), "80d095ffbc310103ac02026e3103613a3103623a32017a010a6c696e6b5f73746f726500"),
        (Command::RemoveNode { node: NodeId(300) }, "80d095ffbc310104ac02"),
        (Command::DrainNode { node: NodeId(300), drain: true }, "80d095ffbc310105ac0201"),
        (Command::Place { group: 3, voters: vec![NodeId(1), NodeId(300)] }, "80d095ffbc310106030201ac02"),
        (
            Command::Create(Box::new(create())),
            "80d095ffbc310107000b737072696e672d73616c651568747470733a2f2f6578616d706c652e636f6d2f61010501000101090909090909090909090909090909094d",
        ),
        (edit, "80d095ffbc310108000b737072696e672d73616c65010209011568747470733a2f2f6578616d706c652e636f6d2f620100"),
        (Command::Delete { key: link_key(), if_version: None }, "80d095ffbc310109000b737072696e672d73616c6500"),
        (
            Command::RemoveExpired { keys: vec![link_key()], before: UnixMs(6) },
            "80d095ffbc31010a01000b737072696e672d73616c6506",
        ),
        (
            Command::RecordClicks(Arc::new(clicks())),
            "80d095ffbc31010bac02010500400102646501049ee91c0801000100000000000003014101010209",
        ),
        (Command::ResetStats { key: link_key() }, "80d095ffbc31010c000b737072696e672d73616c65"),
    ]
}

#[test]
fn commands_of_level_0_keep_the_bytes_of_version_0_1() {
    for (command, expected) in of_level_0() {
        let batch = Batch { level: Level::BASE, at: AT, commands: vec![command] };
        assert_eq!(hex(&batch.encode()), expected, "{batch:?}");
        assert_eq!(Batch::decode(Level::BASE, &bytes(expected)), Ok(batch.clone()));
        // A command on its way to a leader is what stands in the batch.
        let command = &batch.commands[0];
        assert_eq!(hex(&command.encode(Level::BASE)), expected[14..]);
        for level in [Level::BASE, Level::ONE] {
            assert_eq!(Command::decode(level, &command.encode(level)), Ok(command.clone()));
        }
    }
}

#[test]
fn several_commands_of_level_0_follow_each_other_without_a_gap() {
    let commands: Vec<Command> = of_level_0().into_iter().map(|(command, _)| command).collect();
    let batch = Batch { level: Level::BASE, at: AT, commands };
    let expected: String = of_level_0().iter().map(|(_, hex)| &hex[14..]).collect();
    assert_eq!(hex(&batch.encode()), format!("80d095ffbc310d{expected}"));
    assert_eq!(Batch::decode(Level::BASE, &batch.encode()), Ok(batch));
}

#[test]
fn commands_of_level_1_keep_their_bytes() {
    let mut fields = Fields::default();
    fields.set(4, Some(b"hi".to_vec()));
    let mut changes = FieldChanges::default();
    changes.set(4, None);
    let create = Command::Create(Box::new(NewLink { fields, ..create() }));
    let edit = Command::Edit { key: link_key(), if_version: None, target: None, valid_until: None, fields: changes };
    let admit = Command::AdmitNode { record: node(), level: Level::ONE };
    let raise = Command::RaiseLevel { level: Level(1), members: vec![NodeId(1), NodeId(300)] };
    let retire = Command::RetireNode { node: NodeId(300), members: vec![NodeId(1), NodeId(300)] };
    let cases = [
        (
            create,
            "80d095ffbc310107000b737072696e672d73616c651568747470733a2f2f6578616d706c652e636f6d2f61010501000101090909090909090909090909090909094d0104026869",
        ),
        (edit, "80d095ffbc310108000b737072696e672d73616c65000000010400"),
        (admit, "80d095ffbc31010dac02026e3103613a3103623a32017a010a6c696e6b5f73746f72650001"),
        (raise, "80d095ffbc31010e010201ac02"),
        (Command::EndJournals { journals: vec![5, 300] }, "80d095ffbc31010f0205ac02"),
        (retire, "80d095ffbc310110ac020201ac02"),
    ];
    for (command, expected) in cases {
        assert_eq!(command.level(), Level::ONE);
        let batch = Batch { level: Level::ONE, at: AT, commands: vec![command] };
        assert_eq!(hex(&batch.encode()), expected, "{batch:?}");
        assert_eq!(Batch::decode(Level::ONE, &bytes(expected)), Ok(batch));
    }
    for (command, _) in of_level_0() {
        assert_eq!(command.level(), Level::BASE, "{command:?}");
        let batch = Batch { level: Level::ONE, at: AT, commands: vec![command] };
        assert_eq!(Batch::decode(Level::ONE, &batch.encode()), Ok(batch));
    }
}

#[test]
fn commands_of_a_later_version_are_refused_by_their_level() {
    let later = Level(Level::CURRENT.0 + 1);
    assert_eq!(Batch::decode(later, &[0; 8]), Err(BatchError::TooNew(later)));
    assert_eq!(Command::decode(later, &[0; 8]), Err(BatchError::TooNew(later)));
    let told = BatchError::TooNew(later).to_string();
    assert!(told.contains(&later.to_string()) && told.contains("later"), "{told}");
    for level in [Level::BASE, Level::ONE] {
        assert!(matches!(Batch::decode(level, &[1, 1, 0xf0]), Err(BatchError::Damaged(_))));
        assert!(matches!(Command::decode(level, &[0xf0]), Err(BatchError::Damaged(_))));
    }
}

#[test]
fn each_command_belongs_to_group_0_or_to_a_shard() {
    let for_cluster: Vec<bool> = of_level_0().iter().map(|(command, _)| command.is_for_cluster()).collect();
    assert_eq!(for_cluster, [[true; 7].as_slice(), &[false; 6]].concat());
    assert!(Command::AdmitNode { record: node(), level: Level::ONE }.is_for_cluster());
    assert!(Command::RetireNode { node: NodeId(1), members: Vec::new() }.is_for_cluster());
    assert!(Command::RaiseLevel { level: Level(1), members: Vec::new() }.is_for_cluster());
    assert!(!Command::EndJournals { journals: Vec::new() }.is_for_cluster());
}

#[test]
fn a_stored_link_keeps_its_bytes() {
    let mut fields = Fields::default();
    fields.set(3, Some(b"x".to_vec()));
    let link = Link {
        key: link_key(),
        target: target("a"),
        created_at: AT,
        valid_until: Some(UnixMs(5)),
        version: 2,
        written_at: 300,
        created_by: 1,
        generated: false,
        fields,
    };
    let expected =
        "000b737072696e672d73616c651568747470733a2f2f6578616d706c652e636f6d2f6180d095ffbc31010502ac02010001030178";
    assert_eq!(hex(&postcard::to_stdvec(&link).unwrap()), expected);
    assert_eq!(postcard::from_bytes::<Link>(&bytes(expected)).unwrap(), link);
}

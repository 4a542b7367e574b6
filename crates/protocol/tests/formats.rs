//! The bytes of everything that is stored or replicated, pinned: a change of one of these loses data.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use waypost_protocol::clicks::{ClickBatch, ClickDelta, JournalSpan, OrphanDelta, Tally};
use waypost_protocol::command::{
    AdmitNode, Batch, BatchError, Bootstrap, ClusterCommand, ClusterOutcome, Create, CreateCluster, Delete, DrainNode,
    Edit, EndJournals, GroupCommand, LeaseKeys, NodeRecord, Place, PutNode, RaiseLevel, RecordClicks, RemoveExpired,
    RemoveNode, ResetStats, RetireNode, SetAdminKey, ShardCommand, ShardOutcome, UseVisit,
};
use waypost_protocol::digest::{IdempotencyKey, KeyDigest};
use waypost_protocol::link::{LinkCounts, Visits};
use waypost_protocol::messages::{CreateLink, EditLink, LinkView};
use waypost_protocol::sketch::Register;
use waypost_protocol::{
    Code, Domain, FieldChanges, Fields, KeyHash, Level, Link, LinkKey, LinkPatch, LinkSpec, LinkVersion, NodeId,
    ShardId, SpecError, Target, UnixMs, codec,
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

fn node() -> NodeRecord {
    NodeRecord {
        id: NodeId(300),
        name: "n1".into(),
        peer: "a:1".into(),
        http: "b:2".into(),
        zone: "z".into(),
        services: vec!["link_store".into()],
        drain: false,
    }
}

fn create() -> Create {
    Create {
        key: link_key(),
        created_by: 1,
        generated: false,
        find_existing: true,
        idempotency: Some((IdempotencyKey([9; 16]), 77)),
        spec: LinkSpec { target: target("a"), valid_until: Some(UnixMs(5)), fields: Fields::default() },
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
fn of_group_0_at_level_0() -> Vec<(ClusterCommand, &'static str)> {
    let bootstrap = Bootstrap {
        cluster_id: [1; 16],
        name: "c".into(),
        shards: 16,
        permutation_key: [2; 32],
        created_at: UnixMs(1_700_000_000_000),
    };
    vec![
        (
            ClusterCommand::from(CreateCluster(bootstrap)),
            "80d095ffbc31010001010101010101010101010101010101016310020202020202020202020202020202020202020202020202020202020202020280d095ffbc31",
        ),
        (ClusterCommand::from(LeaseKeys { node: NodeId(300), count: 4096 }), "80d095ffbc310101ac028020"),
        (
            ClusterCommand::from(SetAdminKey { digest: KeyDigest([7; 32]), replace: true }),
            "80d095ffbc310102070707070707070707070707070707070707070707070707070707070707070701",
        ),
        (
            ClusterCommand::from(PutNode(node())),
            "80d095ffbc310103ac02026e3103613a3103623a32017a010a6c696e6b5f73746f726500",
        ),
        (ClusterCommand::from(RemoveNode { node: NodeId(300) }), "80d095ffbc310104ac02"),
        (ClusterCommand::from(DrainNode { node: NodeId(300), drain: true }), "80d095ffbc310105ac0201"),
        (ClusterCommand::from(Place { group: 3, voters: vec![NodeId(1), NodeId(300)] }), "80d095ffbc310106030201ac02"),
    ]
}

/// As [`of_group_0_at_level_0`].
fn of_shards_at_level_0() -> Vec<(ShardCommand, &'static str)> {
    let edit = ShardCommand::from(Edit {
        key: link_key(),
        if_version: Some(LinkVersion { version: 2, written_at: 9 }),
        patch: LinkPatch { target: Some(target("b")), valid_until: Some(None), fields: FieldChanges::default() },
        by: None,
    });
    vec![
        (
            ShardCommand::from(create()),
            "80d095ffbc310107000b737072696e672d73616c651568747470733a2f2f6578616d706c652e636f6d2f61010501000101090909090909090909090909090909094d",
        ),
        (edit, "80d095ffbc310108000b737072696e672d73616c65010209011568747470733a2f2f6578616d706c652e636f6d2f620100"),
        (
            ShardCommand::from(Delete { key: link_key(), if_version: None }),
            "80d095ffbc310109000b737072696e672d73616c6500",
        ),
        (
            ShardCommand::from(RemoveExpired { keys: vec![link_key()], before: UnixMs(6) }),
            "80d095ffbc31010a01000b737072696e672d73616c6506",
        ),
        (
            ShardCommand::from(RecordClicks(Arc::new(clicks()))),
            "80d095ffbc31010bac02010500400102646501049ee91c0801000100000000000003014101010209",
        ),
        (ShardCommand::from(ResetStats { key: link_key() }), "80d095ffbc31010c000b737072696e672d73616c65"),
    ]
}

fn batch<C>(level: Level, commands: Vec<C>) -> Batch<C> {
    Batch { level, at: AT, commands }
}

fn check_level_0<C: GroupCommand>(known: Vec<(C, &str)>) {
    for (command, expected) in &known {
        assert_eq!(command.level(), Level::BASE, "{command:?}");
        let batch = batch(Level::BASE, vec![command.clone()]);
        assert_eq!(hex(&batch.encode()), *expected, "{batch:?}");
        assert_eq!(Batch::decode(Level::BASE, &bytes(expected)), Ok(batch));
        // A command on its way to a leader is what stands in the batch.
        assert_eq!(hex(&command.encode(Level::BASE)), expected[14..]);
        for level in [Level::BASE, Level::ONE] {
            assert_eq!(C::decode(level, &command.encode(level)), Ok(command.clone()));
        }
    }
    // Several follow each other without a gap.
    let all: String = known.iter().map(|(_, hex)| &hex[14..]).collect();
    let batch = batch(Level::BASE, known.iter().map(|(command, _)| command.clone()).collect());
    assert_eq!(hex(&batch.encode()), format!("80d095ffbc31{:02x}{all}", known.len()));
    assert_eq!(Batch::decode(Level::BASE, &batch.encode()), Ok(batch));
    for (command, _) in known {
        let batch = self::batch(Level::ONE, vec![command]);
        assert_eq!(Batch::decode(Level::ONE, &batch.encode()), Ok(batch));
    }
}

fn check_level_1<C: GroupCommand>(known: Vec<(C, &str)>) {
    check_at(Level::ONE, known);
}

fn check_at<C: GroupCommand>(level: Level, known: Vec<(C, &str)>) {
    for (command, expected) in known {
        assert_eq!(command.level(), level);
        let batch = batch(level, vec![command]);
        assert_eq!(hex(&batch.encode()), expected, "{batch:?}");
        assert_eq!(Batch::decode(level, &bytes(expected)), Ok(batch));
    }
}

#[test]
fn commands_of_level_0_keep_the_bytes_of_version_0_1() {
    check_level_0(of_group_0_at_level_0());
    check_level_0(of_shards_at_level_0());
}

#[test]
fn commands_of_level_1_keep_their_bytes() {
    let mut fields = Fields::default();
    fields.set(4, Some(b"hi".to_vec()));
    let mut changes = FieldChanges::default();
    changes.set(4, None);
    let edit = Edit {
        key: link_key(),
        if_version: None,
        patch: LinkPatch { target: None, valid_until: None, fields: changes },
        by: None,
    };
    check_level_1::<ShardCommand>(vec![
        (
            Create { spec: LinkSpec { fields, ..create().spec }, ..create() }.into(),
            "80d095ffbc310107000b737072696e672d73616c651568747470733a2f2f6578616d706c652e636f6d2f61010501000101090909090909090909090909090909094d0104026869",
        ),
        (edit.into(), "80d095ffbc310108000b737072696e672d73616c65000000010400"),
        (EndJournals { journals: vec![5, 300] }.into(), "80d095ffbc31010f0205ac02"),
    ]);
    let members = vec![NodeId(1), NodeId(300)];
    check_level_1::<ClusterCommand>(vec![
        (
            AdmitNode { record: node(), level: Level::ONE }.into(),
            "80d095ffbc31010dac02026e3103613a3103623a32017a010a6c696e6b5f73746f72650001",
        ),
        (RaiseLevel { level: Level(1), members: members.clone() }.into(), "80d095ffbc31010e010201ac02"),
        (RetireNode { node: NodeId(300), members }.into(), "80d095ffbc310110ac020201ac02"),
    ]);
}

#[test]
fn an_edit_of_level_3_says_who_makes_it_among_its_optional_fields() {
    let edit = Edit { key: link_key(), if_version: None, patch: LinkPatch::default(), by: Some(300) };
    check_at::<ShardCommand>(
        Level::THREE,
        vec![(edit.into(), "80d095ffbc310108000b737072696e672d73616c65000000011d0102ac02")],
    );
}

#[test]
fn commands_of_level_3_keep_their_bytes() {
    check_at::<ShardCommand>(
        Level::THREE,
        vec![(UseVisit { key: link_key() }.into(), "80d095ffbc310114000b737072696e672d73616c65")],
    );
}

#[test]
fn outcomes_keep_their_bytes() {
    let cluster = [
        (ClusterOutcome::Done, "00"),
        (ClusterOutcome::AlreadyBootstrapped, "01"),
        (ClusterOutcome::Leased { start: 300, count: 7 }, "02ac0207"),
        (ClusterOutcome::KeysExhausted, "03"),
        (ClusterOutcome::AdminKeyExists, "04"),
        (ClusterOutcome::NotFound, "0b"),
        (ClusterOutcome::NodeNeeded { groups: 3 }, "0f03"),
        (ClusterOutcome::TooManyNodes { max: 300 }, "10ac02"),
        (ClusterOutcome::LevelTooLow { needed: Level::ONE }, "1101"),
        (ClusterOutcome::MembersChanged, "12"),
    ];
    for (outcome, expected) in cluster {
        assert_eq!(hex(&postcard::to_stdvec(&outcome).unwrap()), expected, "{outcome:?}");
        assert_eq!(postcard::from_bytes(&bytes(expected)), Ok(outcome));
    }
    let current = LinkVersion { version: 2, written_at: 300 };
    let shard = [
        (ShardOutcome::Done, "00"),
        (ShardOutcome::KeyTaken, "07"),
        (ShardOutcome::IdempotencyMismatch, "08"),
        (ShardOutcome::Deleted, "0a"),
        (ShardOutcome::NotFound, "0b"),
        (ShardOutcome::VersionMismatch { current }, "0c02ac02"),
        (ShardOutcome::Removed(300), "0dac02"),
        (ShardOutcome::ClicksOutOfStep(vec![(5, 300)]), "0e0105ac02"),
        (ShardOutcome::LinkTooLarge { max: 300 }, "13ac02"),
        (ShardOutcome::Refused(SpecError::PermanentLimited), "1405"),
        (ShardOutcome::Exhausted, "15"),
    ];
    for (outcome, expected) in shard {
        assert_eq!(hex(&postcard::to_stdvec(&outcome).unwrap()), expected, "{outcome:?}");
        assert_eq!(postcard::from_bytes(&bytes(expected)), Ok(outcome));
    }
    assert!(postcard::from_bytes::<ClusterOutcome>(&bytes("07")).is_err(), "an outcome of a shard");
}

#[test]
fn commands_of_a_later_version_are_refused_by_their_level() {
    let later = Level(Level::CURRENT.0 + 1);
    assert_eq!(Batch::<ShardCommand>::decode(later, &[0; 8]), Err(BatchError::TooNew(later)));
    assert_eq!(ShardCommand::decode(later, &[0; 8]), Err(BatchError::TooNew(later)));
    let told = BatchError::TooNew(later).to_string();
    assert!(told.contains(&later.to_string()) && told.contains("later"), "{told}");
}

#[test]
fn bytes_that_are_no_commands_are_refused() {
    for level in [Level::BASE, Level::ONE] {
        let unknown = BatchError::NotOfGroup { number: 0xf0, group: "a shard" };
        assert_eq!(Batch::<ShardCommand>::decode(level, &[1, 1, 0xf0]), Err(unknown.clone()));
        assert_eq!(ShardCommand::decode(level, &[0xf0]), Err(unknown));
        // A create and an edit that are cut short, no command, and fewer than the batch says.
        for cut in [&[7, 0][..], &[8, 0], &[]] {
            assert!(matches!(ShardCommand::decode(level, cut), Err(BatchError::Damaged(_))), "{cut:?}");
        }
        assert!(matches!(Batch::<ClusterCommand>::decode(level, &[1, 2, 4, 9]), Err(BatchError::Damaged(_))));
        assert!(matches!(Batch::<ClusterCommand>::decode(level, &[1, 0xff, 0xff, 3]), Err(BatchError::Damaged(_))));
    }
}

#[test]
fn a_command_is_read_by_its_own_kind_of_group_only() {
    for level in [Level::BASE, Level::ONE] {
        for (command, _) in of_group_0_at_level_0() {
            let refused = ShardCommand::decode(level, &command.encode(level)).unwrap_err();
            assert!(refused.to_string().contains("is not one of a shard"), "{refused}");
        }
        for (command, _) in of_shards_at_level_0() {
            let refused = ClusterCommand::decode(level, &command.encode(level)).unwrap_err();
            assert!(refused.to_string().contains("is not one of group 0"), "{refused}");
        }
    }
    // Commands of level 1 do not stand in a batch of level 0.
    let end = ShardCommand::from(EndJournals { journals: vec![5] }).encode(Level::ONE);
    assert!(ShardCommand::decode(Level::BASE, &end).is_err() && ShardCommand::decode(Level::ONE, &end).is_ok());
}

#[test]
fn a_stored_link_keeps_its_bytes() {
    let mut fields = Fields::default();
    fields.set(3, Some(b"x".to_vec()));
    let link = Link {
        key: link_key(),
        created_at: AT,
        version: 2,
        written_at: 300,
        created_by: 1,
        generated: false,
        spec: LinkSpec { target: target("a"), valid_until: Some(UnixMs(5)), fields },
    };
    let expected =
        "000b737072696e672d73616c651568747470733a2f2f6578616d706c652e636f6d2f6180d095ffbc31010502ac02010001030178";
    assert_eq!(hex(&postcard::to_stdvec(&link).unwrap()), expected);
    assert_eq!(postcard::from_bytes::<Link>(&bytes(expected)).unwrap(), link);
}

/// [`LinkView`] as it was before level 3.
#[derive(serde::Serialize, serde::Deserialize)]
struct LinkViewBefore {
    link: Link,
    visits: Visits,
}

#[test]
fn a_link_with_its_counts_is_read_by_earlier_versions_and_theirs_is_read() {
    let link = Link {
        key: link_key(),
        created_at: AT,
        version: 2,
        written_at: 300,
        created_by: 1,
        generated: false,
        spec: LinkSpec::to(target("a")),
    };
    let visits = Visits { total: 300, bots: 2, last: AT };
    let view = Some(LinkView { link: link.clone(), counts: LinkCounts { visits, used: 7 } });
    let before = codec::encode(&Some(LinkViewBefore { link: link.clone(), visits }));
    assert_eq!(codec::encode(&view), [&before[..], &[7]].concat());
    let read = codec::decode::<Option<LinkViewBefore>>(&codec::encode(&view)).unwrap().unwrap();
    assert_eq!((read.link, read.visits), (link.clone(), visits));
    let unknown = Some(LinkView { link, counts: LinkCounts { visits, used: 0 } });
    assert_eq!(codec::decode::<Option<LinkView>>(&before), Ok(unknown));
}

/// [`CreateLink`] and [`EditLink`] as version 0.1 has them.
#[derive(serde::Serialize, serde::Deserialize)]
struct CreateLinkBefore {
    shard: ShardId,
    slug: Option<Code>,
    target: Target,
    valid_until: Option<UnixMs>,
    find_existing: bool,
    created_by: u32,
    idempotency: Option<(IdempotencyKey, u64)>,
}

#[derive(serde::Serialize, serde::Deserialize)]
struct EditLinkBefore {
    shard: ShardId,
    key: LinkKey,
    if_version: Option<LinkVersion>,
    target: Option<Target>,
    valid_until: Option<Option<UnixMs>>,
}

#[test]
fn messages_with_a_spec_are_those_of_version_0_1_with_the_optional_fields_at_their_end() {
    let create = CreateLink {
        shard: ShardId(3),
        slug: Some(link_key().code),
        spec: LinkSpec { valid_until: Some(UnixMs(5)), ..LinkSpec::to(target("a")) },
        find_existing: true,
        created_by: 1,
        idempotency: Some((IdempotencyKey([9; 16]), 77)),
        domain: Domain::default(),
    };
    let before = codec::encode(&CreateLinkBefore {
        shard: create.shard,
        slug: create.slug.clone(),
        target: create.spec.target.clone(),
        valid_until: create.spec.valid_until,
        find_existing: create.find_existing,
        created_by: create.created_by,
        idempotency: create.idempotency,
    });
    assert_eq!(codec::encode(&create), [&before[..], &[0]].concat());
    assert_eq!(codec::decode::<CreateLink>(&before), Ok(create.clone()));
    assert_eq!(codec::encode(&codec::decode::<CreateLinkBefore>(&codec::encode(&create)).unwrap()), before);
    let elsewhere = CreateLink { domain: Domain(300), ..create.clone() };
    assert_eq!(codec::encode(&elsewhere), [&before[..], &[0, 0xac, 2]].concat());
    assert_eq!(codec::decode::<CreateLink>(&codec::encode(&elsewhere)), Ok(elsewhere));
    let patch = LinkPatch { target: Some(target("b")), valid_until: Some(None), ..LinkPatch::default() };
    let edit = EditLink { shard: ShardId(3), key: link_key(), if_version: None, patch, by: None };
    let before = codec::encode(&EditLinkBefore {
        shard: edit.shard,
        key: edit.key.clone(),
        if_version: edit.if_version,
        target: edit.patch.target.clone(),
        valid_until: edit.patch.valid_until,
    });
    assert_eq!(codec::encode(&edit), [&before[..], &[0, 0]].concat());
    assert_eq!(codec::decode::<EditLink>(&before), Ok(edit.clone()));
    assert_eq!(codec::decode::<EditLink>(&[&before[..], &[0]].concat()), Ok(edit.clone()), "as at level 2");
    let by = EditLink { by: Some(300), ..edit };
    assert_eq!(codec::encode(&by), [&before[..], &[0, 1, 0xac, 2]].concat());
    assert_eq!(codec::encode(&codec::decode::<EditLinkBefore>(&codec::encode(&by)).unwrap()), before);
    let mut with_fields = create;
    with_fields.spec.fields.set(4, Some(b"hi".to_vec()));
    assert_eq!(codec::decode::<CreateLink>(&codec::encode(&with_fields)), Ok(with_fields));
}

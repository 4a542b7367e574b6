//! The bytes of the commands about sessions, of what can come of them, and of the stored record, pinned.

use waypost_protocol::command::{Batch, ClusterCommand, ClusterOutcome, GroupCommand, ShardCommand};
use waypost_protocol::digest::KeyDigest;
use waypost_protocol::session::{EndOtherSessions, EndSession, OpenSession, RefreshSession, SessionId, SessionRecord};
use waypost_protocol::{Level, UnixMs};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn open(key: Option<KeyDigest>) -> OpenSession {
    OpenSession {
        token: KeyDigest([1; 32]),
        key,
        by: 300,
        at: UnixMs(301),
        idle_until: UnixMs(302),
        ends_at: UnixMs(303),
        secure: true,
        device: "Firefox".to_owned(),
    }
}

#[test]
fn commands_about_sessions_keep_their_bytes() {
    let (one, two, three) = ("01".repeat(32), "02".repeat(32), "03".repeat(32));
    let refresh = RefreshSession {
        session: SessionId(300),
        seen: KeyDigest([1; 32]),
        next: KeyDigest([2; 32]),
        at: UnixMs(301),
        idle_until: UnixMs(302),
        previous_until: UnixMs(303),
    };
    let commands: [(ClusterCommand, String); 5] = [
        (open(Some(KeyDigest([3; 32]))).into(), format!("1b{one}01{three}ac02ad02ae02af0201{}", "0746697265666f78")),
        (open(None).into(), format!("1b{one}00ac02ad02ae02af0201{}", "0746697265666f78")),
        (refresh.into(), format!("1cac02{one}{two}ad02ae02af02")),
        (EndSession { session: SessionId(300) }.into(), "1dac02".to_owned()),
        (EndOtherSessions { kept: SessionId(300) }.into(), "1eac02".to_owned()),
    ];
    for (command, expected) in commands {
        assert_eq!(command.level(), Level::THREE, "{command:?}");
        assert_eq!(hex(&command.encode(Level::THREE)), expected, "{command:?}");
        let batch = Batch { level: Level::THREE, at: UnixMs(1), commands: vec![command.clone()] };
        assert_eq!(Batch::decode(Level::THREE, &batch.encode()), Ok(batch));
        assert!(ShardCommand::decode(Level::THREE, &command.encode(Level::THREE)).is_err());
        assert!(ClusterCommand::decode(Level::BASE, &command.encode(Level::THREE)).is_err());
    }
}

#[test]
fn the_outcome_of_a_sign_in_with_an_old_key_keeps_its_bytes() {
    let bytes = postcard::to_stdvec(&ClusterOutcome::KeyChanged).unwrap();
    assert_eq!(hex(&bytes), "1d");
    assert_eq!(postcard::from_bytes(&bytes), Ok(ClusterOutcome::KeyChanged));
}

#[test]
fn the_record_of_a_session_keeps_its_bytes() {
    let record = SessionRecord {
        current: KeyDigest([1; 32]),
        next: Some(KeyDigest([2; 32])),
        previous: Some((KeyDigest([3; 32]), UnixMs(300))),
        by: 1,
        created_at: UnixMs(301),
        used_at: UnixMs(302),
        idle_until: UnixMs(303),
        ends_at: UnixMs(304),
        secure: true,
        device: "Firefox".to_owned(),
    };
    let expected = format!(
        "{}01{}01{}ac0201ad02ae02af02b00201{}",
        "01".repeat(32),
        "02".repeat(32),
        "03".repeat(32),
        "0746697265666f78"
    );
    let bytes = postcard::to_stdvec(&record).unwrap();
    assert_eq!(hex(&bytes), expected);
    assert_eq!(postcard::from_bytes(&bytes), Ok(record));
}

#[test]
fn the_id_of_a_session_is_the_first_64_bits_of_blake3_of_the_digest_of_its_first_token() {
    // By another implementation of BLAKE3.
    assert_eq!(SessionId::of(&KeyDigest([7; 32])), SessionId(0xe29d_a065_b485_afeb));
}

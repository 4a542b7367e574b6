//! The bytes of the commands about domains, and of what can come of them, pinned.

use waypost_protocol::command::{
    AddDomain, Batch, ClusterCommand, ClusterOutcome, GroupCommand, RemoveDomain, SetDomain, ShardCommand,
};
use waypost_protocol::domain::{CASE_INSENSITIVE, DEFAULT_STATUS, HostName};
use waypost_protocol::properties::{RedirectStatus, Set};
use waypost_protocol::{Domain, FieldChanges, Level, UnixMs};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn commands_about_domains_keep_their_bytes() {
    let mut settings = FieldChanges::default();
    CASE_INSENSITIVE.change(&mut settings, Some(&Set));
    let mut changes = FieldChanges::default();
    DEFAULT_STATUS.change(&mut changes, Some(&RedirectStatus::TemporaryRedirect));
    CASE_INSENSITIVE.change(&mut changes, None);
    let commands: [(ClusterCommand, &str); 3] = [
        (AddDomain { host: HostName::parse("a.b").unwrap(), settings }.into(), "1803612e6201050100"),
        (SetDomain { domain: Domain(300), changes }.into(), "19ac0202010102b3020500"),
        (RemoveDomain { domain: Domain(300) }.into(), "1aac02"),
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
fn settings_of_a_later_version_are_not_proposed() {
    let mut changes = FieldChanges::default();
    changes.set(200, Some(vec![1]));
    assert_eq!(ClusterCommand::from(SetDomain { domain: Domain(1), changes }).level(), Level::NEVER);
}

#[test]
fn outcomes_of_commands_about_domains_keep_their_bytes() {
    for (outcome, expected) in [
        (ClusterOutcome::DomainExists, "18"),
        (ClusterOutcome::DomainFixed, "19"),
        (ClusterOutcome::TooManyDomains { max: 300 }, "1aac02"),
        (ClusterOutcome::TooManyFormats, "1b"),
        (ClusterOutcome::FormatTooClose, "1c"),
    ] {
        let bytes = postcard::to_stdvec(&outcome).unwrap();
        assert_eq!(hex(&bytes), expected, "{outcome:?}");
        assert_eq!(postcard::from_bytes(&bytes), Ok(outcome));
    }
}

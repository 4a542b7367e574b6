//! Domains in the state of group 0: their numbers, what is fixed, what stays after a removal, and their records.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::sync::Arc;

use waypost_protocol::command::{
    AddDomain, Batch, ClusterCommand, ClusterOutcome, LeaseKeys, RaiseLevel, RemoveDomain, SetDomain,
};
use waypost_protocol::domain::{CASE_INSENSITIVE, CODE_FORMAT, DOMAINS_MAX, HostName, UNKNOWN_HOST_REFUSED};
use waypost_protocol::properties::Set;
use waypost_protocol::{Alphabet, CodeFormat, Domain, DomainTable, FieldChanges, Level, NodeId, OfHost, UnixMs};
use waypost_store::machine::{ClusterMachine, Machine, verify_tree};
use waypost_store::{Db, DbOptions};
use waypost_telemetry::Metrics;

fn open(dir: &Path) -> Db {
    Db::open(dir, &DbOptions::default(), &Metrics::new()).unwrap()
}

struct Cluster {
    machine: ClusterMachine,
    index: u64,
}

impl Cluster {
    fn open(db: &Db) -> Self {
        let (machine, position) = ClusterMachine::open(db.tree("sm/0").unwrap()).unwrap();
        Self { machine, index: position.map_or(0, |bytes| u64::from_le_bytes(bytes.try_into().unwrap())) }
    }

    fn at_level_3(db: &Db) -> Self {
        let mut cluster = Self::open(db);
        let raise = RaiseLevel { level: Level::THREE, members: Vec::new() };
        assert_eq!(cluster.apply(raise), ClusterOutcome::Done);
        cluster
    }

    fn apply(&mut self, command: impl Into<ClusterCommand>) -> ClusterOutcome {
        self.index += 1;
        let batch = Batch { level: Level::THREE, at: UnixMs(1_000 + self.index), commands: vec![command.into()] };
        self.machine.apply(self.index, &batch).unwrap().remove(0)
    }

    fn checkpoint(&mut self) {
        self.machine.checkpoint(&self.index.to_le_bytes()).unwrap();
    }

    fn add(&mut self, host: &str, folds: bool) -> ClusterOutcome {
        self.apply(AddDomain { host: HostName::parse(host).unwrap(), settings: folding(folds) })
    }

    fn number(&self, host: &str) -> Option<u32> {
        let named = |record: &waypost_protocol::domain::DomainRecord| {
            record.host.as_ref().is_some_and(|of| of.as_str() == host)
        };
        self.machine.state().domains.iter().find(|(_, record)| named(record)).map(|(domain, _)| domain.0)
    }
}

fn folding(folds: bool) -> FieldChanges {
    let mut settings = FieldChanges::default();
    CASE_INSENSITIVE.change(&mut settings, folds.then_some(&Set));
    settings
}

#[test]
fn a_domain_keeps_its_number_also_after_it_was_removed_and_what_was_fixed_stays() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path());
    let mut cluster = Cluster::at_level_3(&db);
    for (host, folds) in [("a.example", false), ("b.example", true)] {
        assert_eq!(cluster.add(host, folds), ClusterOutcome::Done);
        // The answer may have been lost.
        assert_eq!(cluster.add(host, folds), ClusterOutcome::Done);
        assert_eq!(cluster.add(host, !folds), ClusterOutcome::DomainExists);
    }
    assert_eq!((cluster.number("a.example"), cluster.number("b.example")), (Some(1), Some(2)));
    let set = |number, changes| SetDomain { domain: Domain(number), changes };
    assert_eq!(cluster.apply(set(1, folding(true))), ClusterOutcome::DomainFixed);
    assert_eq!(cluster.apply(set(2, folding(false))), ClusterOutcome::DomainFixed);
    assert_eq!(cluster.apply(set(2, folding(true))), ClusterOutcome::Done);
    assert_eq!(cluster.apply(set(3, folding(false))), ClusterOutcome::NotFound);

    assert_eq!(cluster.apply(RemoveDomain { domain: Domain(2) }), ClusterOutcome::Done);
    assert_eq!(cluster.apply(RemoveDomain { domain: Domain(2) }), ClusterOutcome::Done);
    assert_eq!(cluster.apply(RemoveDomain { domain: Domain(0) }), ClusterOutcome::NotFound);
    assert_eq!(cluster.apply(set(2, folding(true))), ClusterOutcome::NotFound);
    assert_eq!(cluster.add("c.example", false), ClusterOutcome::Done);
    assert_eq!(cluster.number("c.example"), Some(3), "a number was used again");
    assert_eq!(cluster.add("b.example", false), ClusterOutcome::DomainFixed);
    assert_eq!(cluster.add("b.example", true), ClusterOutcome::Done);
    assert_eq!(cluster.number("b.example"), Some(2));
}

#[test]
fn the_format_of_codes_is_used_from_the_next_number_on_and_from_the_first_in_a_new_domain() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path());
    let mut cluster = Cluster::at_level_3(&db);
    cluster.apply(LeaseKeys { node: NodeId(1), count: 4096 });
    let format = |length| CodeFormat::new(Alphabet::Lowercase, length, "", false).unwrap();
    let settings = |length: Option<u8>| {
        let mut settings = FieldChanges::default();
        CODE_FORMAT.change(&mut settings, length.map(format).as_ref());
        settings
    };
    let formats = |cluster: &Cluster, number: u32| {
        let formats = cluster.machine.state().domains[&Domain(number)].code_formats();
        (formats.begin(), formats.current())
    };
    let host = HostName::parse("a.example").unwrap();
    let add = |length| AddDomain { host: host.clone(), settings: settings(length) };
    assert_eq!(cluster.apply(add(Some(8))), ClusterOutcome::Done);
    assert_eq!(cluster.apply(add(Some(8))), ClusterOutcome::Done);
    assert_eq!(formats(&cluster, 1), (0, format(8)));
    for number in [0, 1] {
        assert_eq!(
            cluster.apply(SetDomain { domain: Domain(number), changes: settings(Some(9)) }),
            ClusterOutcome::Done
        );
        assert_eq!(formats(&cluster, number), (4096, format(9)));
    }
    // Another change of the domain leaves it alone.
    let mut other = FieldChanges::default();
    UNKNOWN_HOST_REFUSED.change(&mut other, Some(&Set));
    cluster.apply(LeaseKeys { node: NodeId(1), count: 1 });
    cluster.apply(SetDomain { domain: Domain(0), changes: other });
    assert_eq!(formats(&cluster, 0), (4096, format(9)));
    // A domain that is made again keeps the formats that it had.
    cluster.apply(RemoveDomain { domain: Domain(1) });
    assert_eq!(cluster.apply(add(None)), ClusterOutcome::Done);
    assert_eq!(formats(&cluster, 1), (4097, CodeFormat::default()));
    let change = |length: u8| SetDomain { domain: Domain(1), changes: settings(Some(length)) };
    let outcomes: Vec<ClusterOutcome> = (0..16).map(|turn| cluster.apply(change(8 + turn % 2))).collect();
    assert_eq!(outcomes.last(), Some(&ClusterOutcome::TooManyFormats));
}

#[test]
fn domains_are_records_of_their_own_and_the_table_of_a_node_follows_them() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path());
    let table = Arc::new(DomainTable::default());
    let mut cluster = Cluster::at_level_3(&db);
    cluster.machine.follow_domains(table.clone());
    cluster.checkpoint();
    assert_eq!(verify_tree(cluster.machine.tree()).unwrap(), (1, Vec::new()));
    assert!(table.is_plain());

    cluster.add("a.example", true);
    cluster.add("b.example", false);
    let mut changes = FieldChanges::default();
    UNKNOWN_HOST_REFUSED.change(&mut changes, Some(&Set));
    cluster.apply(SetDomain { domain: Domain(0), changes });
    cluster.apply(RemoveDomain { domain: Domain(2) });
    cluster.checkpoint();
    assert_eq!(verify_tree(cluster.machine.tree()).unwrap(), (4, Vec::new()));
    let before = cluster.machine.state().clone();

    let check = |table: &DomainTable| {
        let domains = table.load();
        assert!(!table.is_plain() && domains.default_site().unknown_host_refused);
        assert!(
            matches!(domains.of_host("a.example"), OfHost::Site(site) if site.domain == Domain(1) && site.case_insensitive)
        );
        assert_eq!(domains.of_host("b.example"), OfHost::Removed);
        assert_eq!(domains.of_host("c.example"), OfHost::Unknown);
    };
    check(&table);
    let mut again = Cluster::open(&db);
    assert_eq!(*again.machine.state(), before);
    let table = Arc::new(DomainTable::default());
    again.machine.follow_domains(table.clone());
    check(&table);
    // As after the installation of a snapshot.
    again.add("c.example", false);
    again.machine.reopen().unwrap();
    check(&table);
}

#[test]
fn a_cluster_has_a_bounded_number_of_domains() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path());
    let mut cluster = Cluster::at_level_3(&db);
    let mut changes = FieldChanges::default();
    UNKNOWN_HOST_REFUSED.change(&mut changes, Some(&Set));
    cluster.apply(SetDomain { domain: Domain(0), changes });
    for number in 0..DOMAINS_MAX {
        assert_eq!(cluster.add(&format!("d{number}.example"), false), ClusterOutcome::Done);
    }
    let full = ClusterOutcome::TooManyDomains { max: DOMAINS_MAX as u32 };
    assert_eq!(cluster.add("more.example", false), full);
    // A removed one still has its number, and its links.
    cluster.apply(RemoveDomain { domain: Domain(1) });
    assert_eq!(cluster.add("more.example", false), full);
    assert_eq!(cluster.add("d0.example", false), ClusterOutcome::Done);
}

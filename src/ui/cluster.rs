//! The cluster: its nodes, its shards, and what needs attention.

use std::collections::BTreeMap;

use askama::Template;
use waypost_protocol::NodeId;

use super::{Context, Section, Theme, format};
use crate::cluster::{ClusterView, GroupReport, NodeView};

/// The cluster as a node sees it.
#[derive(Template)]
#[template(path = "cluster.html")]
pub struct ClusterPage {
    /// What every view needs.
    pub cx: Context,
    /// The name of the cluster.
    pub name: String,
    /// The nodes, by their names.
    pub nodes: Vec<NodeRow>,
    /// The groups: the cluster's own, then the shards.
    pub groups: Vec<GroupRow>,
    /// How many groups have no leader.
    pub leaderless: u64,
    /// How many groups are being moved.
    pub moving: u64,
    /// How many shards have fewer replicas than configured.
    pub underreplicated: u64,
    /// What else needs attention, as the nodes say it.
    pub warnings: Vec<String>,
    /// Whether the cluster can be changed here.
    pub can_change: bool,
    /// Where it can, if not here; `None` = on no page.
    pub admin: Option<String>,
}

/// What a node is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeCondition {
    /// It answers.
    Up,
    /// It does not answer.
    Down,
    /// It is about to stop.
    Stopping,
    /// It is being emptied, or is empty.
    Draining,
    /// It refuses changes for want of space.
    ReadOnly,
    /// It creates no links for want of memory.
    NoMemory,
}

impl NodeCondition {
    fn of(node: &NodeView) -> Self {
        match &node.status {
            None => Self::Down,
            Some(status) if status.stopping => Self::Stopping,
            Some(_) if node.record.drain => Self::Draining,
            Some(status) if status.read_only => Self::ReadOnly,
            Some(status) if status.is_short_of_memory() => Self::NoMemory,
            Some(_) => Self::Up,
        }
    }

    /// The key of its text.
    pub fn text(self) -> &'static str {
        match self {
            Self::Up => "cluster.up",
            Self::Down => "cluster.down",
            Self::Stopping => "cluster.stopping",
            Self::Draining => "cluster.draining",
            Self::ReadOnly => "cluster.read-only",
            Self::NoMemory => "cluster.no-memory",
        }
    }

    /// How it is shown.
    pub fn class(self) -> &'static str {
        match self {
            Self::Up => "good",
            Self::Down | Self::ReadOnly | Self::NoMemory => "bad",
            Self::Stopping | Self::Draining => "warn",
        }
    }
}

/// A node.
#[derive(Debug, Clone)]
pub struct NodeRow {
    /// Its name.
    pub name: String,
    /// Where it is.
    pub zone: String,
    /// Its public listener.
    pub http: String,
    /// What it is doing.
    pub condition: NodeCondition,
    /// Whether it has made this page.
    pub asked: bool,
    /// Its version; empty = unknown.
    pub version: String,
    /// How many shards it has replicas of.
    pub holds: u64,
    /// How many groups it leads.
    pub leads: u64,
    /// The links in its replicas.
    pub links: u64,
    /// The entries that its replicas have still to apply.
    pub lag: u64,
    /// Its disk: free, total, and the used part in percent.
    pub disk: Option<(String, String, u64)>,
    /// How many shards its catalog has of those that it holds, if some are missing.
    pub catalog: Option<(u64, u64)>,
    /// Whether it stores links.
    pub stores: bool,
    /// Whether it is to be emptied.
    pub drained: bool,
}

/// A group.
#[derive(Debug, Clone)]
pub struct GroupRow {
    /// 0 = the cluster's own; `n` = shard `n - 1`.
    pub group: u32,
    /// The name of the node that leads it.
    pub leader: Option<String>,
    /// The nodes with replicas, and how many entries each has still to apply.
    pub replicas: Vec<(String, u64)>,
    /// Whether it is being moved.
    pub moving: bool,
    /// Whether it has fewer replicas than configured.
    pub underreplicated: bool,
    /// The nodes that could lead it.
    pub others: Vec<String>,
}

impl ClusterPage {
    /// Shows a cluster.
    pub fn of(cx: Context, view: &ClusterView, can_change: bool, admin: Option<String>) -> Self {
        let names: BTreeMap<NodeId, &str> =
            view.nodes.iter().map(|node| (node.record.id, node.record.name.as_str())).collect();
        let reports: Vec<(&str, &GroupReport)> = view
            .nodes
            .iter()
            .flat_map(|node| {
                let groups = node.status.iter().flat_map(|status| &status.groups);
                groups.map(|report| (node.record.name.as_str(), report))
            })
            .collect();
        // Of two that say that they lead, the later election counts.
        let leader_of = |group: u32| {
            let leads = reports.iter().filter(|(_, report)| report.group == group && report.leader);
            leads.max_by_key(|(_, report)| report.term).copied()
        };
        let last_of = |group: u32| {
            let of_group = reports.iter().filter(|(_, report)| report.group == group);
            of_group.map(|(_, report)| report.last).max().unwrap_or(0)
        };
        let groups = (0..=view.shards).map(|group| {
            let leader = leader_of(group);
            let last = last_of(group);
            let of_group = reports.iter().filter(|(_, report)| report.group == group);
            let mut replicas: Vec<(String, u64)> =
                of_group.map(|(name, report)| ((*name).to_owned(), last.saturating_sub(report.applied))).collect();
            replicas.sort();
            let voters = leader.iter().flat_map(|(_, report)| &report.voters);
            let mut others: Vec<String> =
                voters.filter_map(|id| names.get(id)).map(|name| (*name).to_owned()).collect();
            others.retain(|name| leader.is_none_or(|(leads, _)| name != leads));
            others.sort();
            GroupRow {
                group,
                leader: leader.map(|(name, _)| name.to_owned()),
                replicas,
                moving: view.moving.contains(&group),
                underreplicated: view.underreplicated.contains(&group),
                others,
            }
        });
        let node = |node: &NodeView| {
            let groups = node.status.as_ref().map_or(&[][..], |status| &status.groups);
            let lag = groups.iter().map(|report| last_of(report.group).saturating_sub(report.applied)).sum();
            let disk = node.status.as_ref().and_then(|status| status.disk).filter(|disk| disk.total_bytes > 0);
            let catalog = node.status.as_ref().and_then(|status| status.catalog.as_ref());
            NodeRow {
                name: node.record.name.clone(),
                zone: node.record.zone.clone(),
                http: node.record.http.clone(),
                condition: NodeCondition::of(node),
                asked: node.record.id == view.asked,
                version: node.status.as_ref().map(|status| status.version.clone()).unwrap_or_default(),
                holds: groups.iter().filter(|report| report.group != 0).count() as u64,
                leads: groups.iter().filter(|report| report.leader).count() as u64,
                links: node.status.as_ref().map_or(0, |status| status.links),
                lag,
                disk: disk.map(|disk| {
                    let used = disk.total_bytes.saturating_sub(disk.free_bytes);
                    let percent = u128::from(used) * 100 / u128::from(disk.total_bytes);
                    (format::bytes(disk.free_bytes), format::bytes(disk.total_bytes), percent as u64)
                }),
                catalog: catalog
                    .filter(|catalog| catalog.complete < catalog.held)
                    .map(|catalog| (catalog.complete.into(), catalog.held.into())),
                stores: node.record.stores(),
                drained: node.record.drain,
            }
        };
        let mut nodes: Vec<NodeRow> = view.nodes.iter().map(node).collect();
        nodes.sort_by(|one, other| one.name.cmp(&other.name));
        Self {
            cx,
            name: view.name.clone(),
            nodes,
            groups: groups.collect(),
            leaderless: view.leaderless.len() as u64,
            moving: view.moving.len() as u64,
            underreplicated: view.underreplicated.len() as u64,
            warnings: view.warnings.clone(),
            can_change,
            admin,
        }
    }

    /// Whether all is as it should be.
    pub fn is_well(&self) -> bool {
        self.leaderless == 0
            && self.underreplicated == 0
            && self.warnings.is_empty()
            && self.nodes.iter().all(|node| node.condition == NodeCondition::Up)
    }
}

/// Says what draining a node does before it is done.
#[derive(Template)]
#[template(path = "cluster_drain.html")]
pub struct DrainPage {
    /// What every view needs.
    pub cx: Context,
    /// The node.
    pub node: NodeRow,
    /// How many of its copies of shards other nodes can take.
    pub moved: u64,
    /// How many none can take: these shards have fewer copies then.
    pub dropped: u64,
    /// How many nodes that store links remain.
    pub left: u64,
    /// Why it is not drained, if that was tried.
    pub refused: Option<String>,
}

impl DrainPage {
    /// What draining a node of a cluster does; `None` if the cluster has no such node.
    pub fn of(page: ClusterPage, name: &str, refused: Option<String>) -> Option<Self> {
        let ClusterPage { cx, nodes, groups, .. } = page;
        let others: Vec<&str> = nodes
            .iter()
            .filter(|node| node.stores && !node.drained && node.name != name)
            .map(|node| node.name.as_str())
            .collect();
        let has = |row: &GroupRow, name: &str| row.replicas.iter().any(|(holder, _)| holder == name);
        let held = groups.iter().filter(|row| row.group != 0 && has(row, name));
        let (moved, dropped): (Vec<_>, Vec<_>) = held.partition(|row| others.iter().any(|other| !has(row, other)));
        let (moved, dropped, left) = (moved.len() as u64, dropped.len() as u64, others.len() as u64);
        let node = nodes.into_iter().find(|node| node.name == name)?;
        Some(Self { cx, node, moved, dropped, left, refused })
    }
}

#[cfg(test)]
mod tests {
    use waypost_protocol::Level;
    use waypost_protocol::command::NodeRecord;

    use super::*;
    use crate::cluster::{CatalogReport, DiskReport, NodeStatus};

    fn report(group: u32, leader: bool, term: u64, applied: u64) -> GroupReport {
        GroupReport { group, leader, voters: vec![NodeId(1), NodeId(2)], changing: false, term, applied, last: 100 }
    }

    fn node(id: u64, name: &str, groups: Option<Vec<GroupReport>>) -> NodeView {
        let record = NodeRecord {
            id: NodeId(id),
            name: name.to_owned(),
            peer: "127.0.0.1:7400".to_owned(),
            http: "127.0.0.1:8080".to_owned(),
            zone: "default".to_owned(),
            services: vec!["link_store".to_owned()],
            drain: false,
        };
        let status = groups.map(|groups| NodeStatus {
            node: NodeId(id),
            version: "0.1.0".to_owned(),
            stopping: false,
            read_only: false,
            links: 1234,
            config: 0,
            groups,
            level: Level::CURRENT,
            catalog: Some(CatalogReport {
                held: 2,
                complete: 1,
                reading: None,
                read: 0,
                links: 0,
                failure: String::new(),
            }),
            disk: Some(DiskReport { free_bytes: 1 << 30, total_bytes: 4 << 30 }),
            memory: None,
        });
        NodeView { record, status }
    }

    fn cluster(nodes: Vec<NodeView>) -> ClusterView {
        ClusterView {
            name: "links".to_owned(),
            cluster: "00".to_owned(),
            shards: 1,
            asked: NodeId(1),
            nodes,
            leaderless: Vec::new(),
            moving: Vec::new(),
            level: Level::CURRENT,
            underreplicated: Vec::new(),
            warnings: Vec::new(),
        }
    }

    fn page(view: &ClusterView, can_change: bool) -> ClusterPage {
        ClusterPage::of(Context::example("en"), view, can_change, Some("http://127.0.0.1:9090/ui/cluster".to_owned()))
    }

    #[test]
    fn a_cluster_shows_who_leads_who_lags_and_how_full_the_disks_are() {
        let one = node(1, "a", Some(vec![report(0, true, 3, 100), report(1, true, 3, 100)]));
        // It has not heard yet that it leads no more.
        let two = node(2, "b", Some(vec![report(0, false, 3, 90), report(1, true, 2, 40)]));
        let page = page(&cluster(vec![two, one]), true);
        assert_eq!(page.nodes.iter().map(|row| row.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        let (a, b) = (&page.nodes[0], &page.nodes[1]);
        assert_eq!((a.asked, a.holds, a.leads, a.lag, a.links), (true, 1, 2, 0, 1234));
        assert_eq!((b.asked, b.lag, b.catalog), (false, 70, Some((1, 2))));
        assert_eq!(a.disk, Some(("1.00 GiB".to_owned(), "4.00 GiB".to_owned(), 75)));
        let shard = &page.groups[1];
        assert_eq!(shard.leader.as_deref(), Some("a"));
        assert_eq!(shard.replicas, [("a".to_owned(), 0), ("b".to_owned(), 60)]);
        assert_eq!(shard.others, ["b"]);
        assert!(page.is_well());
        let html = page.render().unwrap();
        assert!(html.contains("1,234") && html.contains("Make it the leader") && html.contains("Drain"), "{html}");
    }

    #[test]
    fn what_needs_attention_is_said_and_nothing_can_be_changed_where_it_may_not() {
        let mut view = cluster(vec![node(1, "a", Some(vec![report(0, true, 1, 100)])), node(2, "b", None)]);
        view.leaderless = vec![1];
        view.underreplicated = vec![1];
        view.warnings = vec!["the clocks differ".to_owned()];
        let page = page(&view, false);
        assert!(!page.is_well());
        assert_eq!(page.nodes[1].condition, NodeCondition::Down);
        assert_eq!(page.groups[1].leader, None);
        let html = page.render().unwrap();
        for text in ["Down", "1 shard has no leader", "the clocks differ", "Too few copies", "127.0.0.1:9090"] {
            assert!(html.contains(text), "{text}: {html}");
        }
        assert!(!html.contains("<form method=\"post\" action=\"/ui/cluster"), "{html}");
    }

    #[test]
    fn draining_moves_what_another_node_can_take_and_says_what_has_fewer_copies_then() {
        let store =
            |id, name: &str, group| node(id, name, Some(vec![report(0, id == 1, 1, 100), report(group, true, 1, 100)]));
        let drain = |nodes: Vec<NodeView>, shards| {
            let view = ClusterView { shards, ..cluster(nodes) };
            DrainPage::of(page(&view, true), "a", None)
                .map(|page| (page.moved, page.dropped, page.left, page.render().unwrap()))
        };
        // The second node has no copy of the first shard yet.
        let (moved, dropped, left, html) = drain(vec![store(1, "a", 1), store(2, "b", 2)], 2).unwrap();
        assert_eq!((moved, dropped, left), (1, 0, 1));
        assert!(html.contains("1 copy of a shard moves to another node") && !html.contains("fewer copies"), "{html}");
        let (moved, dropped, left, html) =
            drain(vec![store(1, "a", 1), store(2, "b", 1), store(3, "c", 1)], 1).unwrap();
        assert_eq!((moved, dropped, left), (0, 1, 2));
        assert!(html.contains("1 shard has one copy less then") && html.contains("both of them are needed"), "{html}");
        assert!(drain(vec![store(2, "b", 1)], 1).is_none());
    }

    #[test]
    fn names_of_nodes_are_shown_and_not_run() {
        let hostile = "\"><script>alert(1)</script>";
        let view = cluster(vec![node(1, hostile, Some(vec![report(0, true, 1, 100), report(1, true, 1, 100)]))]);
        for can_change in [true, false] {
            let html = page(&view, can_change).render().unwrap();
            assert!(!html.contains("<script>alert") && html.contains("&#60;script&#62;alert(1)"), "{html}");
        }
    }
}

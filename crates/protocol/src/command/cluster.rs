//! The commands of group 0, which holds what the whole cluster agrees on, and what can come of each.

use super::GroupCommand;
use super::cluster_commands::{
    AddDomain, AdmitNode, CreateCluster, DrainNode, LeaseKeys, Place, PutNode, RaiseLevel, RemoveDomain, RemoveNode,
    RetireNode, SetAdminKey, SetDomain,
};
use crate::Level;
use crate::domain::level_of;
use crate::session::{EndOtherSessions, EndSession, OpenSession, RefreshSession};

commands! {
    /// A change to group 0.
    ClusterCommand {
        /// See [`CreateCluster`].
        0 = CreateCluster,
        /// See [`LeaseKeys`].
        1 = LeaseKeys,
        /// See [`SetAdminKey`].
        2 = SetAdminKey,
        /// See [`PutNode`].
        3 = PutNode,
        /// See [`RemoveNode`].
        4 = RemoveNode,
        /// See [`DrainNode`].
        5 = DrainNode,
        /// See [`Place`].
        6 = Place,
        /// See [`AdmitNode`].
        13 = AdmitNode,
        /// See [`RaiseLevel`].
        14 = RaiseLevel,
        /// See [`RetireNode`].
        16 = RetireNode,
        /// See [`AddDomain`].
        24 = AddDomain,
        /// See [`SetDomain`].
        25 = SetDomain,
        /// See [`RemoveDomain`].
        26 = RemoveDomain,
        /// See [`OpenSession`].
        27 = OpenSession,
        /// See [`RefreshSession`].
        28 = RefreshSession,
        /// See [`EndSession`].
        29 = EndSession,
        /// See [`EndOtherSessions`].
        30 = EndOtherSessions,
    }
}

impl GroupCommand for ClusterCommand {
    type Outcome = ClusterOutcome;

    const GROUP: &'static str = "group 0";
    const NUMBERS: &'static [u8] = Self::NUMBERS;

    fn level(&self) -> Level {
        match self {
            Self::AdmitNode(_) | Self::RetireNode(_) => Level::ONE,
            Self::RaiseLevel(raise) => raise.level,
            Self::AddDomain(add) => level_of(&add.settings),
            Self::SetDomain(set) => level_of(&set.changes),
            Self::RemoveDomain(_)
            | Self::OpenSession(_)
            | Self::RefreshSession(_)
            | Self::EndSession(_)
            | Self::EndOtherSessions(_) => Level::THREE,
            Self::CreateCluster(_)
            | Self::LeaseKeys(_)
            | Self::SetAdminKey(_)
            | Self::PutNode(_)
            | Self::RemoveNode(_)
            | Self::DrainNode(_)
            | Self::Place(_) => Level::BASE,
        }
    }

    fn raises_level(&self) -> bool {
        matches!(self, Self::RaiseLevel(_))
    }
}

numbered! {
    /// What came of a command of group 0.
    ClusterOutcome {
        /// It was done.
        0 = Done,
        /// The cluster exists already.
        1 = AlreadyBootstrapped,
        /// The numbers `start .. start + count` are the node's.
        2 = Leased {
            /// The first number.
            start: u64,
            /// How many.
            count: u64,
        },
        /// The counter space is spent.
        3 = KeysExhausted,
        /// There is an admin key already.
        4 = AdminKeyExists,
        /// There is no such node, domain or session.
        11 = NotFound,
        /// Groups need the node, and one that comes in its place cannot replace what it holds.
        15 = NodeNeeded {
            /// How many groups.
            groups: u32,
        },
        /// The cluster has as many nodes as it may have.
        16 = TooManyNodes {
            /// How many that are.
            max: u32,
        },
        /// The node understands less than the cluster uses.
        17 = LevelTooLow {
            /// The level of the cluster.
            needed: Level,
        },
        /// The cluster has other members than the command names; nothing was done.
        18 = MembersChanged,
        /// There is such a domain already, with other settings.
        24 = DomainExists,
        /// A setting that was fixed when the domain was made would change.
        25 = DomainFixed,
        /// The cluster has as many domains as it may have.
        26 = TooManyDomains {
            /// How many that are.
            max: u32,
        },
        /// The format of generated codes was changed too often.
        27 = TooManyFormats,
        /// Codes of the format could be mistyped codes of another one, or the other way round.
        28 = FormatTooClose,
        /// The key that was given is not the admin key any more.
        29 = KeyChanged,
    }
}

outcomes! {
    ClusterCommand => ClusterOutcome;

    CreateCluster =>
    /// What came of [`CreateCluster`].
    CreateClusterOutcome {
        /// The cluster is created.
        Done,
        /// The cluster exists already.
        AlreadyBootstrapped,
    }

    LeaseKeys =>
    /// What came of [`LeaseKeys`].
    LeaseKeysOutcome {
        /// The numbers `start .. start + count` are the node's.
        Leased {
            /// The first number.
            start: u64,
            /// How many.
            count: u64,
        },
        /// The counter space is spent.
        KeysExhausted,
    }

    SetAdminKey =>
    /// What came of [`SetAdminKey`].
    SetAdminKeyOutcome {
        /// The key is set.
        Done,
        /// There is an admin key already.
        AdminKeyExists,
    }

    PutNode =>
    /// What came of [`PutNode`].
    PutNodeOutcome {
        /// The record is noted.
        Done,
        /// The node is no member, or was removed.
        NotFound,
        /// Groups need the node that it would replace.
        NodeNeeded {
            /// How many groups.
            groups: u32,
        },
        /// Another member has its name.
        MembersChanged,
    }

    RemoveNode =>
    /// What came of [`RemoveNode`].
    RemoveNodeOutcome {
        /// The node is removed.
        Done,
        /// There is no such node.
        NotFound,
        /// Groups need the node.
        NodeNeeded {
            /// How many groups.
            groups: u32,
        },
        /// The level of the cluster asks for [`RetireNode`].
        MembersChanged,
    }

    DrainNode =>
    /// What came of [`DrainNode`].
    DrainNodeOutcome {
        /// It is noted.
        Done,
        /// There is no such node.
        NotFound,
        /// It is the last node that stores links.
        NodeNeeded {
            /// How many groups it holds.
            groups: u32,
        },
    }

    Place =>
    /// What came of [`Place`].
    PlaceOutcome {
        /// It is noted.
        Done,
    }

    AdmitNode =>
    /// What came of [`AdmitNode`].
    AdmitNodeOutcome {
        /// The node is a member.
        Done,
        /// Its id was removed.
        NotFound,
        /// Groups need the node that it would replace.
        NodeNeeded {
            /// How many groups.
            groups: u32,
        },
        /// The cluster has as many nodes as it may have.
        TooManyNodes {
            /// How many that are.
            max: u32,
        },
        /// The node understands less than the cluster uses.
        LevelTooLow {
            /// The level of the cluster.
            needed: Level,
        },
        /// Another member has its name; that one is retired first.
        MembersChanged,
    }

    RaiseLevel =>
    /// What came of [`RaiseLevel`].
    RaiseLevelOutcome {
        /// The cluster is at that level, or a higher one.
        Done,
        /// The cluster has other members than the command names.
        MembersChanged,
    }

    AddDomain =>
    /// What came of [`AddDomain`].
    AddDomainOutcome {
        /// It exists now, like this.
        Done,
        /// It existed with other settings.
        DomainExists,
        /// It was removed, and was made with other fixed settings.
        DomainFixed,
        /// The format of generated codes was changed too often.
        TooManyFormats,
        /// Codes of the format could be mistyped codes of another one, or the other way round.
        FormatTooClose,
        /// The cluster has as many domains as it may have.
        TooManyDomains {
            /// How many that are.
            max: u32,
        },
    }

    SetDomain =>
    /// What came of [`SetDomain`].
    SetDomainOutcome {
        /// It is noted.
        Done,
        /// There is no such domain.
        NotFound,
        /// The change is one of a fixed setting.
        DomainFixed,
        /// The format of generated codes was changed too often.
        TooManyFormats,
        /// Codes of the format could be mistyped codes of another one, or the other way round.
        FormatTooClose,
    }

    RemoveDomain =>
    /// What came of [`RemoveDomain`].
    RemoveDomainOutcome {
        /// It is removed.
        Done,
        /// There is no such domain.
        NotFound,
    }

    OpenSession =>
    /// What came of [`OpenSession`].
    OpenSessionOutcome {
        /// It is open.
        Done,
        /// The admin key was replaced meanwhile.
        KeyChanged,
    }

    RefreshSession =>
    /// What came of [`RefreshSession`].
    RefreshSessionOutcome {
        /// It is noted.
        Done,
        /// It has ended, or the token is none of its tokens any more.
        NotFound,
    }

    EndSession =>
    /// What came of [`EndSession`].
    EndSessionOutcome {
        /// It has ended.
        Done,
    }

    EndOtherSessions =>
    /// What came of [`EndOtherSessions`].
    EndOtherSessionsOutcome {
        /// They have ended.
        Done,
    }

    RetireNode =>
    /// What came of [`RetireNode`].
    RetireNodeOutcome {
        /// The node is removed.
        Done,
        /// There is no such node.
        NotFound,
        /// Groups need the node.
        NodeNeeded {
            /// How many groups.
            groups: u32,
        },
        /// The cluster has other members than the command names.
        MembersChanged,
    }
}

/// At level 0 the earlier command stands for [`AdmitNode`].
impl From<PutNodeOutcome> for AdmitNodeOutcome {
    fn from(outcome: PutNodeOutcome) -> Self {
        match outcome {
            PutNodeOutcome::Done => Self::Done,
            PutNodeOutcome::NotFound => Self::NotFound,
            PutNodeOutcome::NodeNeeded { groups } => Self::NodeNeeded { groups },
            PutNodeOutcome::MembersChanged => Self::MembersChanged,
        }
    }
}

/// At level 0 the earlier command stands for [`RetireNode`].
impl From<RemoveNodeOutcome> for RetireNodeOutcome {
    fn from(outcome: RemoveNodeOutcome) -> Self {
        match outcome {
            RemoveNodeOutcome::Done => Self::Done,
            RemoveNodeOutcome::NotFound => Self::NotFound,
            RemoveNodeOutcome::NodeNeeded { groups } => Self::NodeNeeded { groups },
            RemoveNodeOutcome::MembersChanged => Self::MembersChanged,
        }
    }
}

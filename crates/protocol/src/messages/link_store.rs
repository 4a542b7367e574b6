//! The messages of LinkStore. It has one actor for each shard, and a message names its shard.

use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::clicks::{ClickBatch, Orphan, Stats, Whose};
use crate::digest::{IdempotencyKey, UrlDigest};
use crate::link::LinkCounts;
use crate::message::{AnsweredBy, Class, Kind, Request, Retry, Service};
use crate::{
    Code, Domain, History, Level, Link, LinkKey, LinkPatch, LinkSpec, LinkVersion, ShardId, SpecError, Target, UnixMs,
    list,
};

/// The service that owns the shards placed on this node.
#[derive(Debug)]
pub struct LinkStore;

impl Service for LinkStore {
    const NAME: &'static str = "link_store";
    type Messages = list![
        CreateLink,
        GetLink,
        EditLink,
        DeleteLink,
        RecordClicks,
        Upkeep,
        GetStats,
        GetOrphans,
        ResetStats,
        EndJournals,
        GetHistory,
        GetCreated,
        GetCrawlable,
        UseVisit
    ];
}

/// Creates a link. Durable on a quorum before the reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateLink {
    /// The shard: that of the slug if there is one, else of the URL's digest.
    pub shard: ShardId,
    /// The requested alias; `None` = generate a code.
    pub slug: Option<Code>,
    /// What is given for it.
    pub spec: LinkSpec,
    /// Whether to answer with an existing link to the same URL, if there is one.
    pub find_existing: bool,
    /// The number of the caller's API key; 0 = open access.
    pub created_by: u32,
    /// The idempotency key, with a fingerprint of the request.
    pub idempotency: Option<(IdempotencyKey, u64)>,
    /// The domain that gets it. Older versions know the default one only: others are for clusters of level 3.
    pub domain: Domain,
}

/// Sent in this order: the parts of the spec stand where they did before there was one. Older versions do not know the optional fields. The default
/// domain is not sent, as before there were others.
impl Serialize for CreateLink {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let Self { shard, slug, spec, find_existing, created_by, idempotency, domain } = self;
        let LinkSpec { target, valid_until, fields } = spec;
        let domain = Some(domain).filter(|domain| **domain != Domain::default());
        match domain {
            None => (shard, slug, target, valid_until, find_existing, created_by, idempotency, fields).serialize(to),
            Some(domain) => {
                (shard, slug, target, valid_until, find_existing, created_by, idempotency, fields, domain).serialize(to)
            }
        }
    }
}

impl<'de> Deserialize<'de> for CreateLink {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let (shard, slug, target, valid_until, find_existing, created_by, idempotency, fields, domain) =
            Deserialize::deserialize(from)?;
        let spec = LinkSpec { target, valid_until, fields };
        Ok(Self { shard, slug, spec, find_existing, created_by, idempotency, domain })
    }
}

impl CreateLink {
    /// The lowest level of a cluster that understands it.
    pub fn level(&self) -> Level {
        let of_domain = if self.domain == Domain::default() { Level::BASE } else { Level::THREE };
        self.spec.level().max(of_domain).max(self.slug.as_ref().map_or(Level::BASE, Code::level))
    }

    /// The shard in which a link of a domain with this slug, or to this URL, is created.
    pub fn shard_for(domain: Domain, slug: Option<&Code>, target: &Target, shards: u32) -> ShardId {
        match slug {
            Some(code) => LinkKey { domain, code: code.clone() }.shard(shards),
            None => UrlDigest::of(domain, target.as_str()).shard(shards),
        }
    }
}

/// The reply to [`CreateLink`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Created {
    /// Created by this request (now, or when it was first sent).
    New(Box<Link>),
    /// A link to the same URL existed.
    Existing(Box<Link>),
    /// The slug names another link.
    SlugTaken,
    /// The idempotency key was used for a different request.
    IdempotencyMismatch,
}

/// Reads a link and its visits.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct GetLink {
    /// The shard of the key.
    pub shard: ShardId,
    /// Which link.
    pub key: LinkKey,
    /// Whether the answer has to include everything that was acknowledged before the question.
    pub strong: bool,
    /// Whether only a leader that is sure of its lease may answer, because other replicas may have an older state than the caller knows.
    pub leader: bool,
}

/// A link with what is counted of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkView {
    /// The link.
    pub link: Link,
    /// Its counts. Earlier versions do not send how many visits of its limit are used.
    pub counts: LinkCounts,
}

/// Asks whether a visitor may be sent to the target of a link with a limit of visits. For clusters of level 3.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UseVisit {
    /// The shard of the key.
    pub shard: ShardId,
    /// Which link.
    pub key: LinkKey,
    /// Whether this uses up a visit of the limit. Otherwise only the answer is wanted.
    pub uses_up: bool,
}

/// The reply to [`UseVisit`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum MayVisit {
    /// Yes. With `uses_up`, a visit of the limit is used, durably on a quorum; without a limit, nothing was counted.
    Yes,
    /// No: all visits of the limit are used.
    Exhausted,
    /// The link does not exist.
    NotFound,
}

/// Changes a link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EditLink {
    /// The shard of the key.
    pub shard: ShardId,
    /// Which link.
    pub key: LinkKey,
    /// The version that the editor saw; `None` = any.
    pub if_version: Option<LinkVersion>,
    /// What is changed. Older versions do not know the optional fields.
    pub patch: LinkPatch,
    /// The number of the editor's API key, for the history; 0 = open access. `None` = from an older version, which does not tell.
    pub by: Option<u32>,
}

/// Reads the link that an earlier [`CreateLink`] with the same idempotency key and fingerprint has created. For clusters of level 3.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct GetCreated {
    /// The shard of the create.
    pub shard: ShardId,
    /// The idempotency key.
    pub key: IdempotencyKey,
    /// The fingerprint of the request.
    pub fingerprint: u64,
}

/// Reads the history of a link. For clusters of level 3.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct GetHistory {
    /// The shard of the key.
    pub shard: ShardId,
    /// Which link.
    pub key: LinkKey,
}

/// The reply to [`GetHistory`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkHistory {
    /// The link.
    pub link: Link,
    /// Its history; empty if it was never edited.
    pub history: History,
}

/// The reply to [`EditLink`] and [`DeleteLink`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Changed {
    /// The link after the edit.
    Edited(Box<Link>),
    /// The link was deleted.
    Deleted,
    /// The link does not exist.
    NotFound,
    /// The link has another version.
    VersionMismatch {
        /// Its version.
        current: LinkVersion,
    },
    /// The link would have properties that do not fit each other; nothing was changed. In clusters of level 3.
    Refused(SpecError),
}

/// Deletes a link.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DeleteLink {
    /// The shard of the key.
    pub shard: ShardId,
    /// Which link.
    pub key: LinkKey,
    /// The version that the caller saw; `None` = any.
    pub if_version: Option<LinkVersion>,
}

/// Adds visits to the links of one shard.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RecordClicks {
    /// The shard of all the keys in the batch.
    pub shard: ShardId,
    /// The visits, at most [`RecordClicks::BATCHES_MAX`]: each begins where the one before ends.
    pub batches: Vec<Arc<ClickBatch>>,
}

impl RecordClicks {
    /// Batches of one call: together they come to disk as one, and stay well below what a frame may be.
    pub const BATCHES_MAX: usize = 16;
}

/// What became of [`RecordClicks`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Recorded {
    /// So many of the batches are counted, from the first, now or before.
    Counted(usize),
    /// The first does not begin where the last one ended; nothing was counted. Up to where each of its journals was.
    OutOfStep(Vec<(u64, u64)>),
}

/// Reads the statistics of a link, or of all links of a shard.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct GetStats {
    /// The shard of the key.
    pub shard: ShardId,
    /// Which link; `None` = all of the shard.
    pub key: Option<LinkKey>,
    /// The first hour since 1970 UTC that counts.
    pub from: u32,
    /// The hour after the last one that counts.
    pub to: u32,
    /// Whether the leader has to answer, so that totals never go back for whoever asks one node after another; `false`: any replica.
    /// Older versions do not know it and are content with any replica.
    pub from_leader: bool,
    /// By whose visits the links with the most of them are ranked. Older versions do not know it; see [`crate::clicks::Ranking`].
    pub whose: Whose,
    /// Whether nobody asks for the links with the most visits: to find them takes longer than all else. Older versions do not know it and rank.
    pub unranked: bool,
}

/// Reads the visits to what is no link.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct GetOrphans {
    /// Which shard.
    pub shard: ShardId,
    /// As for [`GetStats`].
    pub from_leader: bool,
}

/// Reads the codes of the links that crawlers may follow. For clusters of level 3.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct GetCrawlable {
    /// Which shard.
    pub shard: ShardId,
    /// Of which domain.
    pub domain: Domain,
    /// The most bytes of codes in the answer, each with [`GetCrawlable::CODE_BYTES`] more.
    pub bytes_max: u32,
}

impl GetCrawlable {
    /// What a code takes beside its own bytes, in `robots.txt` and, less, in the answer.
    pub const CODE_BYTES: usize = "Allow: /$\n".len();
}

/// Forgets how far the clicks of journals were counted, since they have ended: nothing of them is left that could be sent again. For
/// clusters of level 1.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct EndJournals {
    /// Which shard.
    pub shard: ShardId,
    /// The numbers of the journals, at most [`EndJournals::MAX`].
    pub journals: Vec<u64>,
}

impl EndJournals {
    /// Journals of one message.
    pub const MAX: usize = 512;
}

/// Forgets the statistics of a link.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ResetStats {
    /// The shard of the key.
    pub shard: ShardId,
    /// Which link.
    pub key: LinkKey,
}

/// One bounded round of upkeep on a shard.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Upkeep {
    /// Which shard.
    pub shard: ShardId,
    /// Links that ended before this time are removed.
    pub expired_before: UnixMs,
    /// At most so many of them.
    pub expired_max: u32,
    /// The record at which the last round of checking stopped; empty = from the start.
    pub scrub_from: Vec<u8>,
    /// At most so many records are checked.
    pub scrub_max: u32,
}

/// What a round of upkeep did.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct UpkeepDone {
    /// Links removed.
    pub expired: u32,
    /// Records whose checksum was verified.
    pub scrubbed: u32,
    /// What is damaged, in words.
    pub damaged: Vec<String>,
    /// Where the next round goes on; empty = it begins again.
    pub scrub_next: Vec<u8>,
}

fn told_by(leader: bool) -> AnsweredBy {
    if leader { AnsweredBy::Leader } else { AnsweredBy::AnyReplica }
}

/// `impl Request` for a message with a `shard`; in braces, what follows from the single message.
macro_rules! request {
    ($message:ty, $reply:ty, $kind:literal, $name:literal, $class:ident, $retry:ident, $by:ident $({ $($own:item)* })?) => {
        impl Request for $message {
            type Service = LinkStore;
            type Reply = $reply;
            const KIND: Kind = Kind($kind);
            const NAME: &'static str = $name;
            const CLASS: Class = Class::$class;
            const RETRY: Retry = Retry::$retry;
            const ANSWERED_BY: AnsweredBy = AnsweredBy::$by;

            fn shard(&self) -> Option<ShardId> {
                Some(self.shard)
            }

            $($($own)*)?
        }
    };
}

request!(CreateLink, Created, 0x0201, "create_link", Interactive, AfterBreak, Leader {
    // See docs/adr/0011. A generated code was told to nobody (an unused one may remain), find-existing finds the first link, and by the
    // idempotency key the shard knows the first request again. Without a key, an alias of the first would look like another's.
    fn retry(&self) -> Retry {
        if self.slug.is_none() || self.idempotency.is_some() { Retry::AfterBreak } else { Retry::Never }
    }
});
request!(GetLink, Option<LinkView>, 0x0202, "get_link", Read, Always, AnyReplica {
    fn answered_by(&self) -> AnsweredBy {
        told_by(self.strong || self.leader)
    }

    fn ask_leader(&mut self) {
        self.leader = true;
    }
});
request!(EditLink, Changed, 0x0203, "edit_link", Interactive, Never, Leader);
request!(DeleteLink, Changed, 0x0204, "delete_link", Interactive, Never, Leader);
request!(RecordClicks, Recorded, 0x0205, "record_clicks", Bulk, Always, Leader);
request!(Upkeep, UpkeepDone, 0x0206, "upkeep", Bulk, Always, ThisNode);
request!(GetStats, Option<Stats>, 0x0207, "get_stats", SlowRead, Always, AnyReplica {
    fn answered_by(&self) -> AnsweredBy {
        told_by(self.from_leader)
    }
});
request!(GetOrphans, Vec<Orphan>, 0x0208, "get_orphans", SlowRead, Always, AnyReplica {
    fn answered_by(&self) -> AnsweredBy {
        told_by(self.from_leader)
    }
});
request!(ResetStats, Changed, 0x0209, "reset_stats", Interactive, Never, Leader);
request!(GetCreated, Option<Link>, 0x0210, "get_created", Read, Always, Leader);
request!(GetHistory, Option<LinkHistory>, 0x020B, "get_history", Read, Always, Leader);
request!(EndJournals, (), 0x020A, "end_journals", Bulk, Always, Leader);
request!(GetCrawlable, Vec<Code>, 0x0218, "get_crawlable", SlowRead, Always, AnyReplica);
// A second delivery would use another visit.
request!(UseVisit, MayVisit, 0x020C, "use_visit", Interactive, Never, Leader);

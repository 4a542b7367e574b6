//! The actor of one shard: turns requests into commands, and outcomes into replies.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use actix::prelude::*;
use waypost_consensus::{Freshness, Group, ProposeError, Standing};
use waypost_protocol::command::{
    Create, CreateOutcome, Delete, DeleteOutcome, Edit, EditOutcome, RemoveExpired, RemoveExpiredOutcome,
};
use waypost_protocol::link::LinkCounts;
use waypost_protocol::messages::{
    Changed, CreateLink, Created, DeleteLink, EditLink, EndJournals, GetCrawlable, GetCreated, GetHistory, GetLink,
    KeyAllocator, LinkHistory, LinkView, Upkeep, UpkeepDone,
};
use waypost_protocol::{DomainTable, Level, Link, LinkKey, NodeId, ServiceError, ShardId, UnixMs};
use waypost_runtime::{ActorRef, Answer, Ask};
use waypost_store::machine::{Machine, ShardMachine, scrub_tree};

use crate::keys::Keys;
use crate::leader_budget::LeaderBudget;
use crate::stats::{Readers, end_journals};

/// How many generated codes may turn out to be taken by an alias before a create is given up. With a billion aliases the
/// chance of one is 1 in 3,500, so eight in a row mean that something else is wrong.
const KEY_TRIES_MAX: usize = 8;

/// Why no link is created while memory is short.
const MEMORY_SHORT: &str = "the node that has to create this link uses nearly all the memory that it may take; give it more ([limits] memory), or \
                            delete links";

/// What a shard's actor is built from, and rebuilt after a panic.
#[derive(Clone)]
pub struct Seed {
    /// Which shard.
    pub shard: ShardId,
    /// Its replicated group.
    pub group: Arc<Group<ShardMachine>>,
    /// Whether this node's replica may answer for the shard.
    pub holds: Arc<dyn Fn(ShardId) -> bool + Send + Sync>,
    /// Whether a node was taken out of the cluster, so that it cannot come back.
    pub gone: Arc<dyn Fn(NodeId) -> bool + Send + Sync>,
    /// How old this node's replica may be.
    pub fresh: Arc<Freshness>,
    /// How often leaders are asked about codes that this node's replicas do not know.
    pub leader_budget: Arc<LeaderBudget>,
    /// How many statistics are read at the same time.
    pub readers: Arc<Readers>,
    /// Where fresh codes come from.
    pub keys: ActorRef<KeyAllocator>,
    /// The domains.
    pub domains: Arc<DomainTable>,
    /// Set while the disk has too little free space for writes.
    pub read_only: Arc<AtomicBool>,
    /// Set while memory is too short for further links.
    pub memory_short: Arc<AtomicBool>,
    /// The clock.
    pub clock: fn() -> UnixMs,
}

/// The actor.
pub struct LinkStoreActor {
    pub(crate) seed: Rc<Seed>,
    keys: Rc<Keys>,
}

impl LinkStoreActor {
    /// The actor of a shard. It holds nothing but a stock of codes.
    pub fn new(seed: Seed) -> Self {
        let keys = Rc::new(Keys::new(seed.shard, seed.keys.clone(), seed.domains.clone()));
        Self { seed: Rc::new(seed), keys }
    }

    pub(crate) fn writable(&self) -> Result<(), ServiceError> {
        if self.seed.read_only.load(Ordering::Relaxed) {
            return Err(ServiceError::ReadOnly("the disk has too little free space".to_owned()));
        }
        Ok(())
    }

    /// Whether links can be created. Others can be changed and deleted while memory is short.
    fn creatable(&self) -> Result<(), ServiceError> {
        self.writable()?;
        if self.seed.memory_short.load(Ordering::Relaxed) {
            return Err(ServiceError::ReadOnly(MEMORY_SHORT.to_owned()));
        }
        Ok(())
    }
}

impl Actor for LinkStoreActor {
    type Context = Context<Self>;
}

waypost_runtime::rebuilt!(LinkStoreActor);

pub(crate) fn failed(error: ProposeError) -> ServiceError {
    match error {
        ProposeError::NotLeader { leader } => ServiceError::NotHere { leader: leader.map(NodeId) },
        ProposeError::Overloaded | ProposeError::NotYet { .. } => ServiceError::Unavailable(error.to_string()),
        ProposeError::TooLarge { .. } => ServiceError::TooLarge(error.to_string()),
        ProposeError::NoSpace => ServiceError::ReadOnly(error.to_string()),
        ProposeError::Stopped(_) => ServiceError::OutcomeUnknown(error.to_string()),
    }
}

fn link_too_large(max: u32) -> ServiceError {
    ServiceError::TooLarge(format!("a link takes at most {max} bytes with all its fields"))
}

pub(crate) fn unreadable(error: waypost_store::StoreError) -> ServiceError {
    // The store has failed by this, and the process stops (docs/adr/0015).
    tracing::error!(%error, "a link cannot be read");
    ServiceError::Unavailable("the link cannot be read".to_owned())
}

async fn create(seed: Rc<Seed>, keys: Rc<Keys>, request: CreateLink) -> Result<Created, ServiceError> {
    if request.find_existing && request.slug.is_none() {
        // Most requests of this kind find one: look before writing anything. The command looks again.
        seed.group.linearize(false).await.map_err(failed)?;
        let now = (seed.clock)();
        let found =
            seed.group.read(|machine| machine.existing(request.domain, &request.spec, now)).map_err(unreadable)?;
        if let Some(link) = found {
            return Ok(Created::Existing(Box::new((*link).clone())));
        }
    }
    for _ in 0..KEY_TRIES_MAX {
        let (code, generated) = match &request.slug {
            Some(slug) => (slug.clone(), false),
            None => (keys.next(request.domain).await?, true),
        };
        let command = Create {
            key: LinkKey { domain: request.domain, code },
            spec: request.spec.clone(),
            created_by: request.created_by,
            generated,
            find_existing: request.find_existing && generated,
            idempotency: request.idempotency,
        };
        match seed.group.propose(command).await.map_err(failed)?.outcome {
            CreateOutcome::Created(link) => return Ok(Created::New(link)),
            CreateOutcome::Existing(link) => return Ok(Created::Existing(link)),
            CreateOutcome::IdempotencyMismatch => return Ok(Created::IdempotencyMismatch),
            CreateOutcome::KeyTaken if generated => continue,
            CreateOutcome::KeyTaken => return Ok(Created::SlugTaken),
            CreateOutcome::LinkTooLarge { max } => return Err(link_too_large(max)),
        }
    }
    Err(ServiceError::Unavailable("no free code was found".to_owned()))
}

async fn edit(group: &Group<ShardMachine>, request: EditLink) -> Result<Changed, ServiceError> {
    let EditLink { shard: _, key, if_version, patch, by } = request;
    // Until all nodes keep histories, an edit does not say who makes it.
    let by = by.filter(|_| group.cluster_level() >= Level::THREE);
    match group.propose(Edit { key, if_version, patch, by }).await.map_err(failed)?.outcome {
        EditOutcome::Edited(link) => Ok(Changed::Edited(link)),
        EditOutcome::NotFound => Ok(Changed::NotFound),
        EditOutcome::VersionMismatch { current } => Ok(Changed::VersionMismatch { current }),
        EditOutcome::LinkTooLarge { max } => Err(link_too_large(max)),
        EditOutcome::Refused(reason) => Ok(Changed::Refused(reason)),
    }
}

async fn created(seed: &Seed, request: GetCreated) -> Result<Option<Link>, ServiceError> {
    held_here(seed)?;
    seed.group.linearize(false).await.map_err(failed)?;
    let found = seed.group.read(|machine| machine.created_by(&request.key, request.fingerprint)).map_err(unreadable)?;
    Ok(found.map(|link| (*link).clone()))
}

async fn history(seed: &Seed, request: GetHistory) -> Result<Option<LinkHistory>, ServiceError> {
    held_here(seed)?;
    seed.group.linearize(false).await.map_err(failed)?;
    let found = seed.group.read(|machine| machine.history(&request.key)).map_err(unreadable)?;
    Ok(found.map(|(link, history)| LinkHistory { link: (*link).clone(), history }))
}

async fn delete(group: &Group<ShardMachine>, request: DeleteLink) -> Result<Changed, ServiceError> {
    let DeleteLink { shard: _, key, if_version } = request;
    match group.propose(Delete { key, if_version }).await.map_err(failed)?.outcome {
        DeleteOutcome::Deleted => Ok(Changed::Deleted),
        DeleteOutcome::NotFound => Ok(Changed::NotFound),
        DeleteOutcome::VersionMismatch { current } => Ok(Changed::VersionMismatch { current }),
    }
}

async fn upkeep(seed: Rc<Seed>, request: Upkeep) -> Result<UpkeepDone, ServiceError> {
    let mut done = UpkeepDone::default();
    let group = seed.group.clone();
    if !(seed.holds)(seed.shard) {
        return Ok(done);
    }
    // What cannot be swept must still be scrubbed: damage would stop the one, and be found by the other.
    let swept = sweep(&group, request.expired_before, request.expired_max as usize).await;
    let scrubbed = group
        .read(|machine| scrub_tree(machine.tree(), &request.scrub_from, request.scrub_max as usize))
        .map_err(unreadable)?;
    done.scrubbed = scrubbed.checked;
    done.damaged = scrubbed.damaged;
    done.scrub_next = scrubbed.next.unwrap_or_default();
    if let Err(error) = forget_left_behind(&seed.gone, &group, request.expired_before).await {
        tracing::warn!(%error, "journals of nodes that are gone were not forgotten");
    }
    match swept {
        Ok(expired) => done.expired = expired,
        Err(error) => tracing::warn!(%error, "expired links were not removed"),
    }
    Ok(done)
}

/// How long the positions of a node's journals are kept after the node has been taken out of the cluster: what its journals had may
/// be brought in by another node until then.
const LEFT_BEHIND_MS: u64 = 90 * 24 * 3_600_000;

/// Forgets positions of journals whose node cannot come back. `sure` is a time that has passed for certain: what the janitor removes links
/// by, and 0 while the clock is in doubt, since what is forgotten could be counted again.
async fn forget_left_behind(
    gone: &Arc<dyn Fn(NodeId) -> bool + Send + Sync>,
    group: &Group<ShardMachine>,
    sure: UnixMs,
) -> Result<(), ServiceError> {
    if !group.is_leader() {
        return Ok(());
    }
    let left = group.read(|machine| {
        let before = UnixMs(sure.0.saturating_sub(LEFT_BEHIND_MS));
        machine.journals_left_behind(|node| gone(node), before, EndJournals::MAX)
    });
    if left.is_empty() { Ok(()) } else { end_journals(group, left).await }
}

async fn sweep(group: &Group<ShardMachine>, before: UnixMs, max: usize) -> Result<u32, ServiceError> {
    // Every replica scrubs its own records; one of them sweeps.
    if !group.is_leader() {
        return Ok(0);
    }
    // A link that takes an expired one's slot meanwhile is harmless: its own end decides when the command is applied.
    let slots = group.read(|machine| machine.expired(before, max));
    let keys = slots.into_iter().filter_map(|slot| group.read(|machine| machine.key_at(slot)).transpose());
    let keys = keys.collect::<Result<Vec<_>, _>>().map_err(unreadable)?;
    if keys.is_empty() {
        return Ok(0);
    }
    let RemoveExpiredOutcome::Removed(removed) =
        group.propose(RemoveExpired { keys, before }).await.map_err(failed)?.outcome;
    Ok(removed)
}

impl Handler<Ask<CreateLink>> for LinkStoreActor {
    type Result = ResponseFuture<Answer<CreateLink>>;

    fn handle(&mut self, ask: Ask<CreateLink>, _: &mut Self::Context) -> Self::Result {
        let (request, responder) = ask.open();
        let (creatable, seed, keys) = (self.creatable(), self.seed.clone(), self.keys.clone());
        responder.later(async move {
            creatable?;
            create(seed, keys, request).await
        })
    }
}

/// Whether this node's replica may answer.
pub(crate) fn held_here(seed: &Seed) -> Result<(), ServiceError> {
    let group = &seed.group;
    if (seed.holds)(seed.shard) { Ok(()) } else { Err(elsewhere(group)) }
}

fn elsewhere(group: &Group<ShardMachine>) -> ServiceError {
    ServiceError::NotHere { leader: group.presumed_leader().filter(|leader| *leader != group.node()) }
}

/// Reads a link from this node's replica, if it is fresh, or if no leader can be reached. That there is no such link, only a leader that
/// is sure of itself may say: a follower may not have heard of the link yet. Unless there are too many such questions (`LeaderBudget`).
async fn get(seed: &Seed, request: GetLink) -> Result<Option<LinkView>, ServiceError> {
    let group = &seed.group;
    held_here(seed)?;
    let read = || {
        let (found, used) = group.read(|machine| (machine.get(&request.key), machine.used_visits(&request.key)));
        let found = found.map_err(unreadable)?;
        Ok(found.map(|(link, visits)| LinkView { link: (*link).clone(), counts: LinkCounts { visits, used } }))
    };
    if request.strong || request.leader {
        group.linearize(request.strong).await.map_err(failed)?;
        return read();
    }
    let standing = seed.fresh.sure(seed.shard).await;
    if matches!(standing, Standing::Lags | Standing::Unsure) {
        return Err(elsewhere(group));
    }
    if let Some(found) = read()? {
        return Ok(Some(found));
    }
    // A flood of unknown codes stays here.
    if matches!(standing, Standing::Fresh(_)) && !group.is_leader() && !seed.leader_budget.may_ask() {
        return Ok(None);
    }
    group.linearize(false).await.map_err(failed)?;
    read()
}

impl Handler<Ask<GetLink>> for LinkStoreActor {
    type Result = ResponseFuture<Answer<GetLink>>;

    fn handle(&mut self, ask: Ask<GetLink>, _: &mut Self::Context) -> Self::Result {
        let (request, responder) = ask.open();
        let seed = self.seed.clone();
        responder.later(async move { get(&seed, request).await })
    }
}

impl Handler<Ask<GetCrawlable>> for LinkStoreActor {
    type Result = Answer<GetCrawlable>;

    fn handle(&mut self, ask: Ask<GetCrawlable>, _: &mut Self::Context) -> Self::Result {
        let (request, responder) = ask.open();
        let GetCrawlable { shard: _, domain, bytes_max } = request;
        let codes = held_here(&self.seed).map(|()| {
            let (more, bytes_max) = (GetCrawlable::CODE_BYTES, bytes_max as usize);
            self.seed.group.read(|machine| machine.crawlable(domain, more, bytes_max))
        });
        responder.now(codes)
    }
}

impl Handler<Ask<EditLink>> for LinkStoreActor {
    type Result = ResponseFuture<Answer<EditLink>>;

    fn handle(&mut self, ask: Ask<EditLink>, _: &mut Self::Context) -> Self::Result {
        let (request, responder) = ask.open();
        let (writable, group) = (self.writable(), self.seed.group.clone());
        responder.later(async move {
            writable?;
            edit(&group, request).await
        })
    }
}

impl Handler<Ask<GetCreated>> for LinkStoreActor {
    type Result = ResponseFuture<Answer<GetCreated>>;

    fn handle(&mut self, ask: Ask<GetCreated>, _: &mut Self::Context) -> Self::Result {
        let (request, responder) = ask.open();
        let seed = self.seed.clone();
        responder.later(async move { created(&seed, request).await })
    }
}

impl Handler<Ask<GetHistory>> for LinkStoreActor {
    type Result = ResponseFuture<Answer<GetHistory>>;

    fn handle(&mut self, ask: Ask<GetHistory>, _: &mut Self::Context) -> Self::Result {
        let (request, responder) = ask.open();
        let seed = self.seed.clone();
        responder.later(async move { history(&seed, request).await })
    }
}

impl Handler<Ask<DeleteLink>> for LinkStoreActor {
    type Result = ResponseFuture<Answer<DeleteLink>>;

    fn handle(&mut self, ask: Ask<DeleteLink>, _: &mut Self::Context) -> Self::Result {
        let (request, responder) = ask.open();
        let (writable, group) = (self.writable(), self.seed.group.clone());
        responder.later(async move {
            writable?;
            delete(&group, request).await
        })
    }
}

impl Handler<Ask<Upkeep>> for LinkStoreActor {
    type Result = ResponseFuture<Answer<Upkeep>>;

    fn handle(&mut self, ask: Ask<Upkeep>, _: &mut Self::Context) -> Self::Result {
        let (request, responder) = ask.open();
        responder.later(upkeep(self.seed.clone(), request))
    }
}

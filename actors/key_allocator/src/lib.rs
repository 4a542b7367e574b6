//! KeyAllocator: generates codes that nobody else ever gets.
//!
//! Guarantee: a code that was answered is never answered again, by any node, whatever crashes. Numbers are leased from group
//! 0 in ranges; a keyed permutation makes a code of each. A crash loses the leased numbers, so their codes are skipped.

mod lease;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};
use waypost_consensus::Group;
use waypost_protocol::command::{LeaseKeys, LeaseKeysOutcome};
use waypost_protocol::messages::NextKeys;
use waypost_protocol::{Code, Domain, DomainTable, NodeId, ServiceError, ShardId};
use waypost_runtime::{Answer, Ask, OnExhausted, Spec};
use waypost_store::machine::ClusterMachine;
use waypost_tasks::{Task, fault};

pub use lease::{LEASE, Leases};

/// How long this node may take to hear of its own lease from group 0: some heartbeats.
const HEARD_MAX: Duration = Duration::from_secs(2);

/// How often it looks.
const LOOK: Duration = Duration::from_millis(5);

/// How long the leader of group 0 may take to grant a lease. If the answer is lost, the lease is wasted, but not granted twice.
const LEASE_MAX: Duration = Duration::from_secs(4);

/// What an allocator is built from, and rebuilt after a panic.
#[derive(Clone)]
pub struct Seed {
    /// Group 0, which grants leases.
    pub cluster: Arc<Group<ClusterMachine>>,
    /// The domains, with the formats of their codes.
    pub domains: Arc<DomainTable>,
    /// The id of this node.
    pub node: NodeId,
}

/// The actor.
pub struct KeyAllocatorActor {
    seed: Seed,
    shared: Rc<Shared>,
}

struct Shared {
    leases: RefCell<Leases>,
    leasing: RefCell<Leasing>,
    changed: Notify,
}

#[derive(PartialEq)]
enum Leasing {
    Idle,
    Running,
    Failed(ServiceError),
}

impl KeyAllocatorActor {
    /// An allocator without a lease; it fetches one when it starts.
    pub fn new(seed: Seed) -> Self {
        let bootstrap = seed.cluster.read(|machine| machine.state().bootstrap.clone());
        let bootstrap = bootstrap.expect("invariant: actors start after the cluster was bootstrapped");
        let leases = Leases::new(bootstrap.permutation_key, bootstrap.shards);
        let shared =
            Shared { leases: RefCell::new(leases), leasing: RefCell::new(Leasing::Idle), changed: Notify::new() };
        Self { seed, shared: Rc::new(shared) }
    }

    /// Fetches a lease unless a fetch is in progress.
    fn fetch_lease(&self, ctx: &mut Context<Self>) {
        if *self.shared.leasing.borrow() == Leasing::Running {
            return;
        }
        self.shared.leasing.replace(Leasing::Running);
        let (seed, shared) = (self.seed.clone(), self.shared.clone());
        // This future is part of the actor: a panic in it rebuilds the actor. The lease that is being fetched is lost, so its codes are skipped.
        let fetch = async move {
            fault(Task::LeaseFetch);
            let leased = seed.cluster.propose_anywhere(LeaseKeys { node: seed.node, count: LEASE }, LEASE_MAX).await;
            let state = match leased.map(|applied| applied.outcome) {
                Ok(LeaseKeysOutcome::Leased { start, count }) if heard(&seed.cluster, start + count).await => {
                    shared.leases.borrow_mut().add(start, count);
                    Leasing::Idle
                }
                Ok(LeaseKeysOutcome::Leased { .. }) => Leasing::Failed(ServiceError::Unavailable(
                    "this node does not hear of its lease of codes".to_owned(),
                )),
                Ok(LeaseKeysOutcome::KeysExhausted) => {
                    Leasing::Failed(ServiceError::Unavailable("all codes have been issued".to_owned()))
                }
                Err(error) => Leasing::Failed(ServiceError::Unavailable(format!("no lease of codes: {error}"))),
            };
            shared.leasing.replace(state);
            shared.changed.notify_waiters();
        };
        ctx.spawn(fetch.into_actor(self));
    }
}

/// Waits until this node's replica of group 0 has applied a lease that ends before `end`: it then knows every change of a format that was made before,
/// by which the codes of these numbers have to be made.
async fn heard(cluster: &Group<ClusterMachine>, end: u64) -> bool {
    let deadline = Instant::now() + HEARD_MAX;
    while cluster.read(|machine| machine.state().next_key) < end {
        if Instant::now() >= deadline {
            return false;
        }
        tokio::time::sleep(LOOK).await;
    }
    true
}

/// Takes codes in the format of their domain. `Err` if this node has not heard of the domain yet.
fn take(
    leases: &mut Leases,
    domains: &DomainTable,
    domain: Domain,
    shard: Option<ShardId>,
    count: usize,
) -> Result<Option<Vec<Code>>, ServiceError> {
    let domains = domains.load();
    leases.set_default(&domains.default_site().code_formats);
    if domain == Domain::default() {
        return Ok(leases.take(shard, count));
    }
    let unknown = || ServiceError::Unavailable("a node that makes codes has not heard of the domain yet".to_owned());
    let site = domains.site(domain).ok_or_else(unknown)?;
    Ok(leases.take_of(domain, &site.code_formats, shard, count))
}

impl Actor for KeyAllocatorActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.fetch_lease(ctx);
    }
}

waypost_runtime::rebuilt!(KeyAllocatorActor);

impl Handler<Ask<NextKeys>> for KeyAllocatorActor {
    type Result = ResponseFuture<Answer<NextKeys>>;

    fn handle(&mut self, ask: Ask<NextKeys>, ctx: &mut Self::Context) -> Self::Result {
        let (message, responder) = ask.open();
        let count = message.count.min(waypost_protocol::messages::key_allocator::KEYS_PER_CALL_MAX) as usize;
        let (shared, domains) = (self.shared.clone(), self.seed.domains.clone());
        if shared.leases.borrow().low() {
            self.fetch_lease(ctx);
        }
        let (own, deadline) = (ctx.address(), responder.deadline());
        responder.later(async move {
            loop {
                let changed = shared.changed.notified();
                let taken = take(&mut shared.leases.borrow_mut(), &domains, message.domain, message.shard, count)?;
                if let Some(codes) = taken {
                    return Ok(codes);
                }
                if let Leasing::Failed(error) = &*shared.leasing.borrow() {
                    let error = error.clone();
                    own.try_send(FetchLease).ok();
                    return Err(error);
                }
                if own.try_send(FetchLease).is_err() {
                    return Err(ServiceError::Unavailable("the allocator is busy".to_owned()));
                }
                // After a restart of the actor nobody reports the change; the caller does not wait longer either.
                if timeout_at(deadline, changed).await.is_err() {
                    return Err(ServiceError::Unavailable("no lease of codes in time".to_owned()));
                }
            }
        })
    }
}

/// A waiting request sends this to its own actor.
#[derive(Message)]
#[rtype(result = "()")]
struct FetchLease;

impl Handler<FetchLease> for KeyAllocatorActor {
    type Result = ();

    fn handle(&mut self, _: FetchLease, ctx: &mut Self::Context) {
        if self.shared.leases.borrow().low() {
            self.fetch_lease(ctx);
        }
    }
}

/// Bounds and restart policy: a restart is cheap, so the actor restarts often before it stays down.
pub fn spec() -> Spec {
    Spec {
        name: "key_allocator",
        inflight_max: 1024,
        slow_reads_max: 0,
        restarts_max: 10,
        restart_window: Duration::from_secs(60),
        backoff_first: Duration::from_millis(10),
        backoff_max: Duration::from_secs(1),
        on_exhausted: OnExhausted::Stop,
        needed: true,
    }
}

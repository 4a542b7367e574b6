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
use tokio::time::timeout_at;
use waypost_consensus::Group;
use waypost_protocol::command::{LeaseKeys, LeaseKeysOutcome};
use waypost_protocol::messages::NextKeys;
use waypost_protocol::permutation::Permutation;
use waypost_protocol::{NodeId, ServiceError};
use waypost_runtime::{Answer, Ask, OnExhausted, Spec};
use waypost_store::machine::ClusterMachine;
use waypost_tasks::{Task, fault};

pub use lease::{LEASE, Leases};

/// How long the leader of group 0 may take to grant a lease. If the answer is lost, the lease is wasted, but not granted twice.
const LEASE_MAX: Duration = Duration::from_secs(4);

/// What an allocator is built from, and rebuilt after a panic.
#[derive(Clone)]
pub struct Seed {
    /// Group 0, which grants leases.
    pub cluster: Arc<Group<ClusterMachine>>,
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
        let leases = Leases::new(Permutation::new(bootstrap.permutation_key), bootstrap.shards);
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
                Ok(LeaseKeysOutcome::Leased { start, count }) => {
                    shared.leases.borrow_mut().add(start, count);
                    Leasing::Idle
                }
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
        let shared = self.shared.clone();
        if shared.leases.borrow().low() {
            self.fetch_lease(ctx);
        }
        let (own, deadline) = (ctx.address(), responder.deadline());
        responder.later(async move {
            loop {
                let changed = shared.changed.notified();
                if let Some(codes) = shared.leases.borrow_mut().take(message.shard, count) {
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

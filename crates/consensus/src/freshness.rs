//! Asks the leaders of this node's shards for their log positions, so that a replica knows the age of its answers. If no leader answers,
//! the other members are asked how far they are: only the replica that has most may take itself for the best there is.
//!
//! Heartbeats are not enough: a delayed one looks like a new one. Here a replica asks, and counts from its own question: once it
//! has applied what the leader had committed when it answered, it shows everything that was acknowledged before the question.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::future::join;
use futures_util::stream::FuturesUnordered;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use waypost_protocol::peer::{BoxFuture, PeerError};
use waypost_protocol::{NodeId, ShardId};

use crate::age::{Age, Position, Standing};
use crate::groups::Groups;
use crate::limits::{ANSWER_MAX, ASK_EVERY, LEADERLESS_KEEP, SURE_MAX};

/// The pause between two rounds if an answer is waited for.
const ASK_AT_ONCE: Duration = Duration::from_millis(20);

/// The interval at which a replica is checked while somebody waits for it.
const LOOK: Duration = Duration::from_millis(5);

/// A replica without other members is always fresh.
const ALWAYS: Duration = Duration::from_secs(100 * 365 * 86_400);

/// Asks a node for its positions in the groups with these numbers.
pub type PositionQuery =
    Arc<dyn Fn(NodeId, Vec<u32>) -> BoxFuture<'static, Result<Vec<(u32, Position)>, PeerError>> + Send + Sync>;

/// Receives the moment until which a replica is fresh.
pub type Believe = Arc<dyn Fn(ShardId, Instant) + Send + Sync>;

/// Knows the age of the answers of this node's replicas.
pub struct Freshness {
    groups: Arc<Groups>,
    ages: Vec<Mutex<Age>>,
    ask: PositionQuery,
    believe: Believe,
    wanted: Notify,
    rounds: watch::Sender<u64>,
}

impl Freshness {
    /// Creates it for the groups of a node. [`Freshness::run`] has to run.
    pub fn new(groups: Arc<Groups>, ask: PositionQuery, believe: Believe) -> Self {
        let ages = groups.shards().iter().map(|_| Mutex::default()).collect();
        let freshness = Self { groups, ages, ask, believe, wanted: Notify::new(), rounds: watch::Sender::default() };
        for shard in 0..freshness.ages.len() {
            freshness.look(ShardId(shard as u32));
        }
        freshness
    }

    /// The groups of the node.
    pub fn groups(&self) -> &Arc<Groups> {
        &self.groups
    }

    /// Asks the leaders until the node stops.
    pub async fn run(self: Arc<Self>) {
        let mut last = Instant::now();
        loop {
            let asked = tokio::time::timeout(ASK_EVERY, self.wanted.notified()).await;
            if asked.is_ok() {
                tokio::time::sleep(ASK_AT_ONCE).await;
            }
            self.round(last.elapsed()).await;
            last = Instant::now();
            self.rounds.send_modify(|round| *round += 1);
        }
    }

    /// What this node's replica of a shard may answer. Waits until that is known.
    pub async fn sure(&self, shard: ShardId) -> Standing {
        let deadline = Instant::now() + SURE_MAX;
        let mut rounds = self.rounds.subscribe();
        loop {
            let standing = self.look(shard);
            if standing != Standing::Unsure || Instant::now() >= deadline {
                return standing;
            }
            self.wanted.notify_one();
            let _ = tokio::time::timeout(LOOK, rounds.changed()).await;
        }
    }

    /// Whether this node's replica of a shard is up to date, as far as that is known now.
    pub fn is_fresh(&self, shard: ShardId) -> bool {
        matches!(self.look(shard), Standing::Fresh(_))
    }

    /// Up to where everything is that was acknowledged of a shard before a moment; `None` = that is not known yet, and asked for.
    pub fn committed_since(&self, shard: ShardId, moment: Instant) -> Option<u64> {
        let group = self.groups.shard(shard)?;
        if group.is_alone() {
            return Some(group.status().last);
        }
        let committed = self.ages.get(shard.index())?.lock().committed_since(moment);
        if committed.is_none() {
            self.wanted.notify_one();
        }
        committed
    }

    /// The number of shards whose replica has not caught up since it became a member, or the node started.
    pub fn catching_up(&self) -> usize {
        let behind = |shard: &u32| self.groups.takes_part(ShardId(*shard)) && !self.groups.holds(ShardId(*shard));
        (0..self.ages.len() as u32).filter(behind).count()
    }

    /// The number of shards whose replica is not fresh, or is being replaced by a snapshot.
    pub fn stale(&self) -> usize {
        let installing = |shard| self.groups.shard(shard).is_some_and(|group| group.is_installing());
        let stale = |shard: &u32| {
            let shard = ShardId(*shard);
            installing(shard) || self.groups.takes_part(shard) && !self.is_fresh(shard)
        };
        (0..self.ages.len() as u32).filter(stale).count()
    }

    /// Checks a replica, and reports how long it is fresh.
    fn look(&self, shard: ShardId) -> Standing {
        let now = Instant::now();
        let (Some(group), Some(age)) = (self.groups.shard(shard), self.ages.get(shard.index())) else {
            return Standing::Lags;
        };
        let standing = if group.is_alone() {
            group.set_caught_up(true);
            Standing::Fresh(now + ALWAYS)
        } else if !self.groups.takes_part(shard) {
            age.lock().left();
            group.set_caught_up(false);
            Standing::Lags
        } else {
            let mut age = age.lock();
            age.applied(group.applied());
            group.set_caught_up(age.caught_up());
            age.standing(now)
        };
        (self.believe)(
            shard,
            match standing {
                Standing::Fresh(until) => until,
                Standing::Leaderless => now + LEADERLESS_KEEP,
                Standing::Lags | Standing::Unsure => now,
            },
        );
        standing
    }

    /// Asks all leaders once. `took` has passed since the last round.
    async fn round(&self, took: Duration) {
        let asked = Instant::now();
        let own = self.groups.node();
        let mut questions: BTreeMap<NodeId, Vec<u32>> = BTreeMap::new();
        let mut open = BTreeSet::new();
        let mut leads = Vec::new();
        for (index, group) in self.groups.shards().iter().enumerate() {
            if group.is_alone() || !self.groups.takes_part(ShardId(index as u32)) {
                continue;
            }
            open.insert(group.id());
            let leader = group.presumed_leader();
            if leader == Some(own) {
                leads.push(group);
            }
            // The presumed leader did not confirm that it leads: another member may have been elected.
            let asks_all = leader.is_none() || !self.ages[index].lock().is_answered();
            let asked = if asks_all { group.voters() } else { leader.into_iter().collect() };
            asked
                .into_iter()
                .filter(|node| *node != own)
                .for_each(|node| questions.entry(node).or_default().push(group.id()));
        }
        let open = Mutex::new(open);
        let heard = |group: u32, position: Position, own: bool| {
            let Some(index) = group.checked_sub(1).filter(|index| (*index as usize) < self.ages.len()) else { return };
            let (own_group, age) = (&self.groups.shards()[index as usize], &self.ages[index as usize]);
            match position {
                Position::Applied(applied) => age.lock().others_have(asked, applied),
                Position::Leads(committed) if open.lock().remove(&group) => {
                    age.lock().heard(asked, committed, own, own_group.applied());
                    self.look(ShardId(index));
                }
                Position::Leads(_) => {}
            }
        };
        let here = async {
            // All at once, because one group may be waiting for the disk.
            let asking = leads.into_iter().map(async |group| (group.id(), group.committed().await));
            let mut answers: FuturesUnordered<_> = asking.collect();
            while let Some((group, committed)) = answers.next().await {
                committed.into_iter().for_each(|committed| heard(group, Position::Leads(committed), true));
            }
        };
        let there = async {
            let asking = questions.into_iter().map(|(node, groups)| (self.ask)(node, groups));
            let mut answers: FuturesUnordered<_> = asking.collect();
            while let Some(answer) = answers.next().await {
                answer.into_iter().flatten().for_each(|(group, position)| heard(group, position, false));
            }
        };
        let _ = tokio::time::timeout(ANSWER_MAX, join(here, there)).await;
        let silent = open.into_inner();
        for (index, group) in self.groups.shards().iter().enumerate() {
            if silent.contains(&group.id()) {
                let now = Instant::now();
                let mut age = self.ages[index].lock();
                age.applied(group.applied());
                age.in_vain(now, took + now.duration_since(asked), group.leader().is_some());
                drop(age);
            }
            self.look(ShardId(index as u32));
        }
    }
}

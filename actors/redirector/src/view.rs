//! The link cache and its concurrent read view.
//!
//! A hit takes the shared lock of one of many parts of the table twice, which nobody holds longer than for an insertion, and
//! copies a reference to the entry, whose text becomes the `Location` unchanged. The table is bounded in bytes and evicts what is
//! seldom used.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use actix_http::header::HeaderValue;
use parking_lot::Mutex;
use waypost_protocol::properties::RedirectStatus;
use waypost_protocol::{Domain, Fields, KeyHash, LinkKey, LinkSpec, ShardId, Target, UnixMs};
use waypost_telemetry::{Counter, Gauge, Metrics};

use crate::behavior::{Asked, Behavior, Decision, decide};
use crate::choose::Visitor;
use crate::entry::{Entry, KeyRef, Trust};
use crate::fences::Fences;
use crate::table::{Hash, Table};

/// The result of a look-up.
#[derive(Debug, Clone)]
pub enum Lookup {
    /// Redirect the visitor there, and count a visit of this link.
    Redirect(Plain),
    /// The link has expired.
    Expired,
    /// A link that does more than leading to its target.
    Special(Special),
    /// It is not cached, or too old.
    Miss,
}

/// A cached link that does nothing but leading to its target, with a status that no browser keeps.
#[derive(Clone)]
pub struct Plain(Entry);

impl Plain {
    /// The name under which its visits are counted.
    pub fn link(&self) -> KeyHash {
        self.0.link()
    }

    /// The text of its target: visible ASCII.
    pub fn target(&self) -> &[u8] {
        self.0.target_bytes()
    }

    /// The status of the redirect; `default` is that of links of the domain that ask for none.
    pub fn status(&self, default: RedirectStatus) -> RedirectStatus {
        self.0.status().unwrap_or(default)
    }

    /// The `Location`. It shares the text of the cache.
    pub fn location(self) -> HeaderValue {
        self.0.location().expect("invariant: a target is visible ASCII")
    }
}

impl Lookup {
    /// What a look-up finds of a link that is not cached.
    pub fn of(key: &LinkKey, target: &Target, until: Option<UnixMs>, fields: &Fields, now: UnixMs) -> Self {
        Entry::new(key, target, until, Behavior::of(fields), Trust::Until(0)).at(now)
    }
}

impl Entry {
    /// What a look-up finds of it at a moment of the wall clock.
    fn at(self, now: UnixMs) -> Lookup {
        if self.behavior().is_some() {
            return Lookup::Special(Special(self));
        }
        if self.until() <= now {
            return Lookup::Expired;
        }
        Lookup::Redirect(Plain(self))
    }
}

impl fmt::Debug for Plain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Plain").field(&self.0.target()).finish()
    }
}

/// A cached link that does more than leading to its target.
#[derive(Clone)]
pub struct Special(Entry);

impl Special {
    /// What a visitor gets.
    pub fn decide(&self, asked: &Asked<'_>, visitor: &dyn Visitor) -> Decision<'_> {
        let until = Some(self.0.until()).filter(|until| until.0 < u64::MAX);
        decide(self.0.target(), until, self.0.behavior().map(|behavior| &**behavior), asked, visitor)
    }
}

impl fmt::Debug for Special {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Special").field(&self.0.target()).finish()
    }
}

/// A look-up whose place in the cache is being loaded.
#[derive(Clone, Copy)]
pub struct Expected(Hash);

/// The number of counters that tell whether a key was changed while it was looked up. If two keys share one, that costs a
/// look-up now and then, but never gives a wrong answer.
const EPOCHS: usize = 1024;

/// The source of an answer that is to be cached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// This node's replica of the shard: it reports every change to the view.
    Replica(ShardId),
    /// Another node: it reports no changes, so the link is asked for again after this moment.
    Elsewhere(Instant),
}

/// The cache, shared by all workers and by the state machines, which change links.
pub struct ReadView {
    table: Table,
    epochs: Box<[AtomicU64]>,
    /// The start of the view's clock, which counts nanoseconds.
    began: Instant,
    /// By shard: the moment until which entries of this node's replica are valid.
    believed: Box<[AtomicU64]>,
    fences: Mutex<Fences>,
    bound: Duration,
    bytes: Gauge,
    entries: Gauge,
    evicted: Counter,
}

/// A look-up in progress: proves that nothing changed between asking and caching the answer.
#[derive(Debug, Clone, Copy)]
pub struct Fill {
    stripe: usize,
    epoch: u64,
}

impl ReadView {
    /// An empty cache of at most about `bytes` bytes, for so many `shards`. After `bound`, every other node answers with a
    /// change.
    pub fn new(bytes: u64, shards: u32, bound: Duration, metrics: &Metrics) -> Self {
        Self {
            table: Table::new(bytes),
            epochs: (0..EPOCHS).map(|_| AtomicU64::new(0)).collect(),
            began: Instant::now(),
            believed: (0..shards).map(|_| AtomicU64::new(0)).collect(),
            fences: Mutex::default(),
            bound,
            bytes: metrics.gauge("waypost_cache_bytes", "Approximate size of the cached links"),
            entries: metrics.gauge("waypost_cache_entries", "Links in the cache"),
            evicted: metrics
                .counter("waypost_cache_invalidated_total", "Links dropped from the cache because they were changed"),
        }
    }

    /// Looks up a code. `now` is the wall clock, by which links expire; `at` is the same moment of the monotonic clock, which measures the
    /// age of an answer.
    pub fn lookup(&self, domain: Domain, code: &str, now: UnixMs, at: Instant) -> Lookup {
        self.lookup_expected(self.expect(domain, code), domain, code, now, at)
    }

    /// Begins a look-up before anything else is done with a request: memory takes as long to answer as a request takes to be read. It goes on with
    /// [`ReadView::approach`], some hundred instructions later, and ends with [`ReadView::lookup_expected`], again some hundred later.
    pub fn expect(&self, domain: Domain, code: &str) -> Expected {
        Expected(self.table.expect(&KeyRef { domain, code: code.as_bytes() }))
    }

    /// Goes on with a look-up. Returns whether the link seems to be cached, which is right nearly always.
    pub fn approach(&self, expected: Expected) -> bool {
        self.table.approach(expected.0)
    }

    /// Ends the look-up of a code, the one that was expected: see [`ReadView::lookup`].
    pub fn lookup_expected(&self, expected: Expected, domain: Domain, code: &str, now: UnixMs, at: Instant) -> Lookup {
        let entry = self.table.find(expected.0, &KeyRef { domain, code: code.as_bytes() });
        let Some(entry) = entry else { return Lookup::Miss };
        let until = match entry.trust() {
            Trust::Until(until) => until,
            Trust::Replica(shard) => self.believed.get(shard.index()).map_or(0, |until| until.load(Ordering::Acquire)),
        };
        if until <= self.nanos(at) {
            return Lookup::Miss;
        }
        entry.at(now)
    }

    /// Begins a look-up of a key in this node's own replica, whose answer is to be cached. `None` = only the leader of its shard may answer.
    pub(crate) fn begin_own_fill(&self, key: &LinkKey, at: Instant) -> Option<Fill> {
        // In this order: a change through this node that is told between the two is seen as a fence; one that is told later is not cached over.
        let fill = self.begin_fill(key);
        (!self.only_leader(key, at)).then_some(fill)
    }

    /// Begins a look-up of a key whose answer is to be cached.
    pub fn begin_fill(&self, key: &LinkKey) -> Fill {
        let stripe = stripe(key);
        Fill { stripe, epoch: self.epochs[stripe].load(Ordering::Acquire) }
    }

    /// Caches the answer, unless the key may have been changed since the look-up began.
    pub fn finish_fill(
        &self,
        fill: Fill,
        key: &LinkKey,
        target: &Target,
        until: Option<UnixMs>,
        behavior: Option<Arc<Behavior>>,
        source: Source,
    ) {
        self.fill(fill, key, target, until, behavior, source);
    }

    /// The same with a link of this node's own replica of a shard. Returns what a look-up finds of it at this moment of the wall clock, cached or not.
    pub(crate) fn fill_from_replica(
        &self,
        fill: Fill,
        key: &LinkKey,
        spec: &LinkSpec,
        shard: ShardId,
        now: UnixMs,
    ) -> Lookup {
        let behavior = Behavior::of(&spec.fields);
        self.fill(fill, key, &spec.target, spec.valid_until, behavior, Source::Replica(shard)).at(now)
    }

    fn fill(
        &self,
        fill: Fill,
        key: &LinkKey,
        target: &Target,
        until: Option<UnixMs>,
        behavior: Option<Arc<Behavior>>,
        source: Source,
    ) -> Entry {
        let trust = match source {
            Source::Replica(shard) => Trust::Replica(shard),
            Source::Elsewhere(until) => Trust::Until(self.nanos(until)),
        };
        let entry = Entry::new(key, target, until, behavior, trust);
        let unchanged = || self.epochs[fill.stripe].load(Ordering::Acquire) == fill.epoch;
        if unchanged() {
            self.table.insert(entry.clone());
            // A change between the look above and the insertion has removed nothing: remove it here.
            if !unchanged() {
                self.table.remove(&KeyRef::from(key));
            }
        }
        entry
    }

    /// Removes a key that was created, changed or deleted; everything, for `None`.
    pub fn invalidate(&self, key: Option<&LinkKey>) {
        match key {
            Some(key) => {
                self.epochs[stripe(key)].fetch_add(1, Ordering::AcqRel);
                if self.table.remove(&KeyRef::from(key)) {
                    self.evicted.inc();
                }
            }
            None => {
                for epoch in &self.epochs {
                    epoch.fetch_add(1, Ordering::AcqRel);
                }
                self.table.clear();
            }
        }
    }

    /// Sets the moment until which this node's replica of a shard is fresh; a past moment: it is not.
    pub fn believe(&self, shard: ShardId, until: Instant) {
        if let Some(believed) = self.believed.get(shard.index()) {
            believed.store(self.nanos(until), Ordering::Release);
        }
    }

    /// A change of this link through this node is applied, perhaps on another node. Until the bound has passed, this node's
    /// own replica, or one elsewhere, may have an older state of the link.
    pub fn changed_here(&self, key: &LinkKey, at: Instant) {
        // In this order: a look-up that begins in between sees the fence; one that began before is not cached.
        self.fences.lock().add(key.hash(), at, self.bound);
        self.invalidate(Some(key));
    }

    /// Whether only the leader of its shard may answer for a link.
    pub fn only_leader(&self, key: &LinkKey, at: Instant) -> bool {
        self.fences.lock().stands(key.hash(), at)
    }

    fn nanos(&self, at: Instant) -> u64 {
        at.saturating_duration_since(self.began).as_nanos() as u64
    }

    /// Sets the limit of the cache to about `bytes` bytes.
    pub fn limit(&self, bytes: u64) {
        self.table.set_limit(bytes);
    }

    /// The approximate size of the cached links, in bytes.
    pub fn bytes(&self) -> u64 {
        self.table.bytes()
    }

    /// Updates the metrics.
    pub fn observe(&self) {
        self.bytes.set(self.table.bytes() as i64);
        self.entries.set(self.table.len() as i64);
    }

    /// The number of cached links.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether the cache is empty.
    pub fn is_empty(&self) -> bool {
        self.table.len() == 0
    }
}

fn stripe(key: &LinkKey) -> usize {
    (key.hash().0 as usize) % EPOCHS
}

#[cfg(test)]
mod tests {
    use waypost_protocol::properties::REDIRECT_STATUS;
    use waypost_protocol::{Code, FieldChanges, Fields};

    use super::*;

    fn key(code: &str) -> LinkKey {
        LinkKey::new(Code::parse_slug(code).unwrap())
    }

    fn target(url: &str) -> Target {
        Target::parse(url, &[], 8192).unwrap()
    }

    const SHARD: ShardId = ShardId(1);
    const SECOND: Duration = Duration::from_secs(1);

    /// A view whose node's replica is fresh.
    fn view(bytes: u64) -> ReadView {
        let view = ReadView::new(bytes, 2, SECOND, &Metrics::new());
        view.believe(SHARD, Instant::now() + SECOND * 3600);
        view
    }

    fn fill_from(view: &ReadView, code: &str, url: &str, until: Option<UnixMs>, source: Source) {
        let fill = view.begin_fill(&key(code));
        view.finish_fill(fill, &key(code), &target(url), until, None, source);
    }

    fn fill(view: &ReadView, code: &str, url: &str, until: Option<UnixMs>) {
        fill_from(view, code, url, until, Source::Replica(SHARD));
    }

    fn lookup_at(view: &ReadView, code: &str, at: Instant) -> Lookup {
        view.lookup(Domain::default(), code, UnixMs(1000), at)
    }

    fn lookup(view: &ReadView, code: &str) -> Lookup {
        lookup_at(view, code, Instant::now())
    }

    #[test]
    fn a_cached_link_is_found_by_its_text_until_it_expires() {
        let view = view(1 << 20);
        fill(&view, "abc", "https://example.com/a", None);
        fill(&view, "old", "https://example.com/b", Some(UnixMs(1000)));
        assert!(matches!(lookup(&view, "abc"), Lookup::Redirect(to) if to.target() == b"https://example.com/a"));
        assert!(matches!(lookup(&view, "old"), Lookup::Expired));
        assert!(matches!(lookup(&view, "ab"), Lookup::Miss));
        assert!(matches!(lookup(&view, "ABC"), Lookup::Miss));
    }

    #[test]
    fn a_link_that_only_asks_for_a_temporary_status_is_plain() {
        let view = view(1 << 20);
        for (code, status) in [("a", 302), ("b", 307), ("c", 301), ("d", 308)] {
            let mut changes = FieldChanges::default();
            REDIRECT_STATUS.change(&mut changes, Some(&RedirectStatus::try_from(status).unwrap()));
            let mut fields = Fields::default();
            fields.change(&changes);
            let fill = view.begin_fill(&key(code));
            let to = target("https://example.com/a");
            view.finish_fill(fill, &key(code), &to, None, Behavior::of(&fields), Source::Replica(SHARD));
        }
        let status = |code: &str| match lookup(&view, code) {
            Lookup::Redirect(plain) => Some(plain.status(RedirectStatus::Found)),
            _ => None,
        };
        assert_eq!(["a", "b"].map(status), [Some(RedirectStatus::Found), Some(RedirectStatus::TemporaryRedirect)]);
        // Those that a browser may keep say for how long.
        assert_eq!(["c", "d"].map(status), [None, None]);
        fill(&view, "e", "https://example.com/e", None);
        let Lookup::Redirect(plain) = lookup(&view, "e") else { panic!("it is cached") };
        assert_eq!(plain.status(RedirectStatus::TemporaryRedirect), RedirectStatus::TemporaryRedirect);
    }

    #[test]
    fn what_nobody_tells_the_changes_of_is_asked_for_again_also_when_the_wall_clock_steps_back() {
        let (view, asked) = (view(1 << 20), Instant::now());
        fill_from(&view, "abc", "https://example.com/a", None, Source::Elsewhere(asked + SECOND));
        let hour = 3_600_000;
        let lookup = |wall: u64, at| view.lookup(Domain::default(), "abc", UnixMs(wall), at);
        assert!(matches!(lookup(2 * hour, asked + SECOND / 2), Lookup::Redirect(..)));
        assert!(matches!(lookup(hour, asked + SECOND), Lookup::Miss));
        // And forward: nothing is asked for more often than needed.
        assert!(matches!(lookup(9 * hour, asked + SECOND / 2), Lookup::Redirect(..)));
    }

    #[test]
    fn what_the_own_replica_said_is_answered_as_long_as_that_replica_is_believed() {
        let (view, now) = (view(1 << 20), Instant::now());
        fill(&view, "abc", "https://example.com/a", None);
        fill_from(&view, "other", "https://example.com/b", None, Source::Replica(ShardId(0)));
        view.believe(SHARD, now + SECOND);
        assert!(matches!(lookup_at(&view, "abc", now + SECOND / 2), Lookup::Redirect(..)));
        assert!(matches!(lookup_at(&view, "other", now), Lookup::Miss), "another shard");
        assert!(matches!(lookup_at(&view, "abc", now + SECOND), Lookup::Miss));
        view.believe(SHARD, now + SECOND * 3);
        assert!(matches!(lookup_at(&view, "abc", now + SECOND * 2), Lookup::Redirect(..)));
        view.believe(SHARD, now);
        assert!(matches!(lookup_at(&view, "abc", now + SECOND * 2), Lookup::Miss));
    }

    #[test]
    fn a_link_that_was_changed_through_this_node_is_left_to_its_leader() {
        let (view, now) = (view(1 << 20), Instant::now());
        let begun = view.begin_fill(&key("abc"));
        fill(&view, "abc", "https://example.com/old", None);
        view.changed_here(&key("abc"), now);
        assert!(matches!(lookup(&view, "abc"), Lookup::Miss));
        assert!(view.only_leader(&key("abc"), now) && !view.only_leader(&key("b"), now));
        view.finish_fill(begun, &key("abc"), &target("https://example.com/old"), None, None, Source::Replica(SHARD));
        assert!(matches!(lookup(&view, "abc"), Lookup::Miss));
        assert!(!view.only_leader(&key("abc"), now + SECOND));
    }

    #[test]
    fn an_answer_that_was_overtaken_by_a_change_is_not_cached() {
        let view = view(1 << 20);
        let begun = view.begin_fill(&key("abc"));
        view.invalidate(Some(&key("abc")));
        view.finish_fill(begun, &key("abc"), &target("https://example.com/old"), None, None, Source::Replica(SHARD));
        assert!(matches!(lookup(&view, "abc"), Lookup::Miss));
    }

    #[test]
    fn a_changed_key_is_forgotten_and_so_is_everything_when_asked() {
        let view = view(1 << 20);
        fill(&view, "a", "https://example.com/a", None);
        fill(&view, "b", "https://example.com/b", None);
        view.invalidate(Some(&key("a")));
        assert!(matches!(lookup(&view, "a"), Lookup::Miss));
        assert!(matches!(lookup(&view, "b"), Lookup::Redirect(..)));
        view.invalidate(None);
        assert!(view.is_empty());
    }

    #[test]
    fn the_cache_stays_within_its_bytes() {
        let view = view(100_000);
        for i in 0..10_000 {
            fill(&view, &format!("code{i}"), "https://example.com/some/long/path/to/fill/the/cache", None);
        }
        assert!(view.bytes() <= 100_000, "{} bytes", view.bytes());
        assert!(view.len() > 100);
    }

    #[test]
    fn a_cache_that_gets_a_lower_limit_keeps_to_it_and_fills_up_again_with_a_higher_one() {
        let view = view(4 << 20);
        let fill_up = || {
            for i in 0..30_000 {
                fill(&view, &format!("code{i}"), "https://example.com/some/long/path/to/fill/the/cache", None);
            }
        };
        fill_up();
        assert!(view.bytes() > 3 << 20);
        for limit in [1 << 20, 100_000] {
            view.limit(limit);
            assert!(view.bytes() <= limit);
            fill_up();
            assert!(view.bytes() <= limit && view.bytes() > limit / 2, "{} of {limit} bytes", view.bytes());
        }
        view.limit(4 << 20);
        fill_up();
        assert!(view.bytes() > 3 << 20);
    }
}

//! Links of this node's own replicas, read by the HTTP worker itself: a link that is not cached costs neither a message nor another thread.
//!
//! What is read here is as fresh as what LinkStore would read ([`ReadHere`]). If the replica may not answer, or does not know the link, the Redirector is
//! asked, and it asks LinkStore. A read may wait for the disk, and the worker with it, so after one that did the Redirector is asked for a while: LinkStore's
//! threads are for that.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use waypost_protocol::{Link, LinkKey, ShardId, UnixMs};
use waypost_tasks::panic_text;

use crate::view::{Lookup, ReadView};

/// A read that takes longer than this, and has waited, is slow. One of a page in memory takes some tens of microseconds, and more only where another thread had
/// the processor meanwhile.
const SLOW: Duration = Duration::from_millis(1);

/// After a slow read none follows for so many times as long as it took: a worker waits for slow reads a twentieth of its time at most.
const PAUSE_FACTOR: u32 = 20;

/// Reads a link from this node's replica of a shard. `None` if there is no such link, or the replica may not answer now: it is not held here, not fresh, or
/// being changed.
pub type ReadHere = Arc<dyn Fn(ShardId, &LinkKey) -> Option<Arc<Link>> + Send + Sync>;

/// The replicas of this node, for one HTTP worker.
pub struct Here {
    view: Arc<ReadView>,
    shards: u32,
    read: ReadHere,
    /// The end of the pause after a slow read.
    pause: Cell<Option<Instant>>,
    /// How often the thread has waited for something.
    waits: fn() -> i64,
}

impl Here {
    /// The replicas of a node with so many shards, which `read` reads.
    pub fn new(view: Arc<ReadView>, shards: u32, read: ReadHere) -> Self {
        Self { view, shards, read, pause: Cell::default(), waits: waits_of_thread }
    }

    /// Reads a link that is not cached, and caches it. `now` is the wall clock, by which links expire. `None` = the Redirector has to be asked.
    pub fn look_up(&self, key: &LinkKey, now: UnixMs) -> Option<Lookup> {
        self.look_up_at(key, now, Instant::now())
    }

    fn look_up_at(&self, key: &LinkKey, now: UnixMs, at: Instant) -> Option<Lookup> {
        if self.pause.get().is_some_and(|until| at < until) {
            return None;
        }
        let fill = self.view.begin_own_fill(key, at)?;
        let (shard, waits) = (key.shard(self.shards), (self.waits)());
        // Whoever is asked instead reads it again, under supervision.
        let found = catch_unwind(AssertUnwindSafe(|| (self.read)(shard, key))).unwrap_or_else(|panic| {
            tracing::error!(panic = panic_text(&*panic), "reading a link panicked");
            None
        });
        let took = at.elapsed();
        let slow = took > SLOW && (self.waits)() != waits;
        self.pause.set(slow.then(|| at + took * (PAUSE_FACTOR + 1)));
        Some(self.view.fill_from_replica(fill, key, &found?.spec, shard, now))
    }
}

/// How often the current thread has given up the processor by itself, because it had to wait.
fn waits_of_thread() -> i64 {
    getrusage(UsageWho::RUSAGE_THREAD).map_or(0, |usage| usage.voluntary_context_switches())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use waypost_protocol::properties::{FORWARD_QUERY, Set};
    use waypost_protocol::{Code, Domain, FieldChanges, LinkSpec, Target};
    use waypost_telemetry::Metrics;

    use super::*;

    const SHARDS: u32 = 16;
    const HOUR: Duration = Duration::from_secs(3600);

    fn key(code: &str) -> LinkKey {
        LinkKey::new(Code::parse_slug(code).unwrap())
    }

    fn link(key: &LinkKey) -> Link {
        Link {
            key: key.clone(),
            spec: LinkSpec::to(Target::parse("https://example.com/a", &[], 8192).unwrap()),
            created_at: UnixMs(1),
            version: 1,
            written_at: 1,
            created_by: 0,
            generated: false,
        }
    }

    /// The replicas of a node that are read by `read`, and all fresh.
    fn here(read: impl Fn(&LinkKey) -> Option<Link> + Send + Sync + 'static) -> Here {
        let view = Arc::new(ReadView::new(1 << 20, SHARDS, Duration::from_secs(1), &Metrics::new()));
        (0..SHARDS).for_each(|shard| view.believe(ShardId(shard), Instant::now() + HOUR));
        Here::new(view, SHARDS, Arc::new(move |_, key| read(key).map(Arc::new)))
    }

    fn look_up(here: &Here, code: &str, at: Instant) -> Option<Lookup> {
        here.look_up_at(&key(code), UnixMs(2), at)
    }

    fn is_cached(here: &Here, code: &str) -> bool {
        let found = here.view.lookup(Domain::default(), code, UnixMs(2), Instant::now());
        matches!(found, Lookup::Redirect(to) if to.target() == b"https://example.com/a")
    }

    #[test]
    fn a_link_of_the_own_replica_is_read_and_cached_and_an_unknown_one_is_left_to_the_store() {
        let here = here(|wanted| (*wanted == key("abc")).then(|| link(wanted)));
        let read = look_up(&here, "abc", Instant::now());
        assert!(matches!(read, Some(Lookup::Redirect(to)) if to.target() == b"https://example.com/a"));
        assert!(is_cached(&here, "abc"));
        assert!(look_up(&here, "other", Instant::now()).is_none());
        assert!(!is_cached(&here, "other"));
    }

    #[test]
    fn what_is_read_is_answered_as_from_the_cache() {
        let mut special = FieldChanges::default();
        FORWARD_QUERY.change(&mut special, Some(&Set));
        let here = here(move |wanted| {
            let mut read = link(wanted);
            match wanted.code.as_str() {
                "expired" => read.spec.valid_until = Some(UnixMs(2)),
                "special" => read.spec.fields.change(&special),
                _ => {}
            }
            Some(read)
        });
        let state = |found: Option<Lookup>| match found {
            Some(Lookup::Redirect(_)) => "redirect",
            Some(Lookup::Expired) => "expired",
            Some(Lookup::Special(_)) => "special",
            Some(Lookup::Miss) | None => "unknown",
        };
        for (code, expected) in [("abc", "redirect"), ("expired", "expired"), ("special", "special")] {
            let now = Instant::now();
            assert_eq!(state(look_up(&here, code, now)), expected);
            assert_eq!(state(Some(here.view.lookup(Domain::default(), code, UnixMs(2), now))), expected);
            let LinkSpec { target, valid_until, fields } = (here.read)(ShardId(0), &key(code)).unwrap().spec.clone();
            let elsewhere = Lookup::of(&key(code), &target, valid_until, &fields, UnixMs(2));
            assert_eq!(state(Some(elsewhere)), expected, "another node has said it");
        }
    }

    #[test]
    fn a_read_that_panics_is_left_to_the_store() {
        let here = here(|_| panic!("a damaged index"));
        assert!(look_up(&here, "abc", Instant::now()).is_none());
        assert!(!is_cached(&here, "abc"));
    }

    #[test]
    fn a_link_that_was_just_changed_through_this_node_is_left_to_the_store_which_asks_its_leader() {
        let here = here(|key| Some(link(key)));
        let now = Instant::now();
        here.view.changed_here(&key("abc"), now);
        assert!(look_up(&here, "abc", now).is_none());
        assert!(look_up(&here, "abc", now + HOUR).is_some());
    }

    #[test]
    fn a_link_that_changes_while_it_is_read_is_not_cached() {
        let view = Arc::new(ReadView::new(1 << 20, SHARDS, Duration::from_secs(1), &Metrics::new()));
        (0..SHARDS).for_each(|shard| view.believe(ShardId(shard), Instant::now() + HOUR));
        let changed = view.clone();
        let read: ReadHere = Arc::new(move |_, key| {
            let read = Arc::new(link(key));
            changed.invalidate(Some(key));
            Some(read)
        });
        let here = Here::new(view, SHARDS, read);
        assert!(look_up(&here, "abc", Instant::now()).is_some());
        assert!(!is_cached(&here, "abc"));
    }

    #[test]
    fn after_a_slow_read_the_store_is_asked_for_twenty_times_as_long() {
        let reads = Arc::new(AtomicUsize::new(0));
        let counted = reads.clone();
        let here = here(move |key| {
            // The first one waits for the disk.
            if counted.fetch_add(1, Ordering::Relaxed) == 0 {
                std::thread::sleep(SLOW * 2);
            }
            Some(link(key))
        });
        let now = Instant::now();
        assert!(look_up(&here, "abc", now).is_some());
        assert!(look_up(&here, "b", now + SLOW * 2 * PAUSE_FACTOR).is_none());
        assert_eq!(reads.load(Ordering::Relaxed), 1);
        let later = Instant::now() + HOUR;
        assert!(look_up(&here, "b", later).is_some());
        assert!(look_up(&here, "c", later).is_some());
    }

    #[test]
    fn a_read_that_took_long_but_waited_for_nothing_is_not_slow() {
        let mut here = here(|key| {
            let began = Instant::now();
            while began.elapsed() < SLOW * 2 {}
            Some(link(key))
        });
        here.waits = || 7;
        let now = Instant::now();
        assert!(look_up(&here, "abc", now).is_some());
        assert!(look_up(&here, "b", now).is_some());
    }
}

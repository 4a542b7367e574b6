//! The link cache and its concurrent read view.
//!
//! A hit takes one shared lock of one of many parts of the cache, which nobody holds for longer than an insertion, and
//! copies a reference to the entry, whose text becomes the `Location` as it lies there. Bounded in bytes; what is seldom
//! asked for goes first.

use std::sync::atomic::{AtomicU64, Ordering};

use actix_http::header::HeaderValue;
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use waypost_protocol::{Domain, KeyHash, LinkKey, Target, UnixMs};
use waypost_telemetry::{Counter, Gauge, Metrics};

use crate::entry::{ENTRY_BYTES, Entry, KeyRef};

/// What the view knows of a code.
#[derive(Debug, Clone)]
pub enum Lookup {
    /// Send the visitor there, and count a visit of this link.
    Redirect(HeaderValue, KeyHash),
    /// The link has expired.
    Expired,
    /// Ask the Redirector.
    Miss,
}

/// How many counters tell that a key was changed while it was being looked up. Two keys that share one cost a
/// look-up now and then, never a wrong answer.
const EPOCHS: usize = 1024;

/// The cache, shared by all workers and by whoever changes links.
pub struct ReadView {
    /// Key and value are the same entry.
    cache: Cache<Entry, Entry, Bytes>,
    epochs: Box<[AtomicU64]>,
    bytes: Gauge,
    entries: Gauge,
    evicted: Counter,
}

/// A look-up under way: proves that nothing changed between asking and caching the answer.
#[derive(Debug, Clone, Copy)]
pub struct Fill {
    stripe: usize,
    epoch: u64,
}

#[derive(Clone)]
struct Bytes;

impl Weighter<Entry, Entry> for Bytes {
    fn weight(&self, _: &Entry, entry: &Entry) -> u64 {
        entry.bytes()
    }
}

impl ReadView {
    /// An empty cache of at most about `bytes` bytes.
    pub fn new(bytes: u64, metrics: &Metrics) -> Self {
        let expected = (bytes / (ENTRY_BYTES + 64)).clamp(1024, 1 << 28) as usize;
        Self {
            cache: Cache::with_weighter(expected, bytes, Bytes),
            epochs: (0..EPOCHS).map(|_| AtomicU64::new(0)).collect(),
            bytes: metrics.gauge("waypost_cache_bytes", "Bytes that the cached links take, about"),
            entries: metrics.gauge("waypost_cache_entries", "Links in the cache"),
            evicted: metrics.counter("waypost_cache_invalidated_total", "Links dropped because they were changed"),
        }
    }

    /// What is known of a code, at `now`.
    pub fn lookup(&self, domain: Domain, code: &str, now: UnixMs) -> Lookup {
        let Some(entry) = self.cache.get(&KeyRef { domain, code: code.as_bytes() }) else { return Lookup::Miss };
        if entry.stale() <= now {
            return Lookup::Miss;
        }
        if entry.until() <= now {
            return Lookup::Expired;
        }
        let link = entry.link();
        entry.location().map_or(Lookup::Miss, |location| Lookup::Redirect(location, link))
    }

    /// Begins a look-up of a key whose answer is to be cached.
    pub fn begin_fill(&self, key: &LinkKey) -> Fill {
        let stripe = stripe(key);
        Fill { stripe, epoch: self.epochs[stripe].load(Ordering::Acquire) }
    }

    /// Caches the answer, unless the key may have been changed since the look-up began. `stale` is set where no replica
    /// on this node tells of changes: from then on it is asked for again.
    pub fn finish_fill(
        &self,
        fill: Fill,
        key: &LinkKey,
        target: &Target,
        until: Option<UnixMs>,
        stale: Option<UnixMs>,
    ) {
        let unchanged = || self.epochs[fill.stripe].load(Ordering::Acquire) == fill.epoch;
        if !unchanged() {
            return;
        }
        let entry = Entry::new(key, target, until, stale);
        self.cache.insert(entry.clone(), entry);
        // A change between the look above and the insertion has removed nothing: remove it here.
        if !unchanged() {
            self.cache.remove(&KeyRef::from(key));
        }
    }

    /// Forgets a key that was created, edited or removed; everything, for `None`.
    pub fn invalidate(&self, key: Option<&LinkKey>) {
        match key {
            Some(key) => {
                self.epochs[stripe(key)].fetch_add(1, Ordering::AcqRel);
                if self.cache.remove(&KeyRef::from(key)).is_some() {
                    self.evicted.inc();
                }
            }
            None => {
                for epoch in &self.epochs {
                    epoch.fetch_add(1, Ordering::AcqRel);
                }
                self.cache.clear();
            }
        }
    }

    /// Brings the metrics up to date.
    pub fn observe(&self) {
        self.bytes.set(self.cache.weight() as i64);
        self.entries.set(self.cache.len() as i64);
    }

    /// How many links are cached.
    pub fn len(&self) -> usize {
        self.cache.len()
    }

    /// Whether nothing is cached.
    pub fn is_empty(&self) -> bool {
        self.cache.len() == 0
    }
}

fn stripe(key: &LinkKey) -> usize {
    (key.hash().0 as usize) % EPOCHS
}

#[cfg(test)]
mod tests {
    use waypost_protocol::Code;

    use super::*;

    fn key(code: &str) -> LinkKey {
        LinkKey::new(Code::parse_slug(code).unwrap())
    }

    fn target(url: &str) -> Target {
        Target::parse(url, &[], 8192).unwrap()
    }

    fn fill(view: &ReadView, code: &str, url: &str, until: Option<UnixMs>) {
        let fill = view.begin_fill(&key(code));
        view.finish_fill(fill, &key(code), &target(url), until, None);
    }

    fn lookup(view: &ReadView, code: &str) -> Lookup {
        view.lookup(Domain::default(), code, UnixMs(1000))
    }

    #[test]
    fn a_cached_link_is_found_by_its_text_until_it_expires() {
        let view = ReadView::new(1 << 20, &Metrics::new());
        fill(&view, "abc", "https://example.com/a", None);
        fill(&view, "old", "https://example.com/b", Some(UnixMs(1000)));
        assert!(matches!(lookup(&view, "abc"), Lookup::Redirect(to, _) if to == "https://example.com/a"));
        assert!(matches!(lookup(&view, "old"), Lookup::Expired));
        assert!(matches!(lookup(&view, "ab"), Lookup::Miss));
        assert!(matches!(lookup(&view, "ABC"), Lookup::Miss));
    }

    #[test]
    fn what_nobody_tells_the_changes_of_is_asked_for_again() {
        let view = ReadView::new(1 << 20, &Metrics::new());
        let fill = view.begin_fill(&key("abc"));
        view.finish_fill(fill, &key("abc"), &target("https://example.com/a"), None, Some(UnixMs(1001)));
        assert!(matches!(lookup(&view, "abc"), Lookup::Redirect(..)));
        assert!(matches!(view.lookup(Domain::default(), "abc", UnixMs(1001)), Lookup::Miss));
    }

    #[test]
    fn an_answer_that_was_overtaken_by_a_change_is_not_cached() {
        let view = ReadView::new(1 << 20, &Metrics::new());
        let begun = view.begin_fill(&key("abc"));
        view.invalidate(Some(&key("abc")));
        view.finish_fill(begun, &key("abc"), &target("https://example.com/old"), None, None);
        assert!(matches!(lookup(&view, "abc"), Lookup::Miss));
    }

    #[test]
    fn a_changed_key_is_forgotten_and_so_is_everything_when_asked() {
        let view = ReadView::new(1 << 20, &Metrics::new());
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
        let view = ReadView::new(100_000, &Metrics::new());
        for i in 0..10_000 {
            fill(&view, &format!("code{i}"), "https://example.com/some/long/path/to/fill/the/cache", None);
        }
        assert!(view.cache.weight() <= 100_000, "{} bytes", view.cache.weight());
        assert!(view.len() > 100);
    }
}

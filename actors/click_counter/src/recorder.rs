//! The click journals of this node: HTTP workers append visits, and the ClickCounter reads them.
//!
//! A record cannot identify a person: it holds no address and no user agent, but their classes,
//! and a register of a sketch. Each worker remembers classes, so that most visits cost one hash for each header.

use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use siphasher::sip::SipHasher13;
use waypost_journal::{Journal, JournalError, TEXT_BYTES_MAX, Writer};
use waypost_protocol::clicks::HOUR_MS;
use waypost_protocol::sketch::Register;
use waypost_protocol::{KeyHash, UnixMs};
use waypost_telemetry::{Counter, Metrics};

use crate::agent::Agent;
use crate::geo::{Geo, Location};
use crate::spill::{self, Spill};
use crate::visit::Visit;

/// The number of user agents, and of addresses, whose classes a worker remembers.
const REMEMBERED_MAX: usize = 4096;

/// The number of orphan visits that a worker records with their path in a second; further ones are counted without it.
const ORPHANS_PER_SECOND_MAX: u32 = 50;

/// The longest path that is recorded, in bytes.
const PATH_BYTES_MAX: usize = 64;

/// How long one key of the visitors' hash is used: about a month. After that the same person counts as another one.
const VISITOR_KEY_MS: u64 = 30 * 24 * HOUR_MS;

/// What a request says about its visitor.
#[derive(Debug, Clone, Copy, Default)]
pub struct Visitor<'a> {
    /// Where the request came from.
    pub address: Option<IpAddr>,
    /// `User-Agent`.
    pub user_agent: &'a [u8],
    /// `Referer`.
    pub referrer: &'a [u8],
    /// `Accept-Language`.
    pub language: &'a [u8],
    /// Whether the browser loads the page in advance, or shows a preview.
    pub prefetch: bool,
    /// Whether only the fact of a visit may be recorded.
    pub anonymous: bool,
}

/// How visits are recorded.
#[derive(Clone)]
pub struct JournalOptions {
    /// The directory of the journals.
    pub directory: PathBuf,
    /// The number of slots of each journal: a visit takes one, and one more for each 24 bytes of referrer and city.
    pub slots: u64,
    /// The secret from which the keys of the visitors' hash are derived: the same on all nodes of a cluster.
    pub visitor_secret: [u8; 32],
    /// Whether visits are recorded at all.
    pub record: bool,
}

/// The journals of all workers.
#[derive(Clone)]
pub struct Journals {
    shared: Arc<Shared>,
}

struct Shared {
    options: JournalOptions,
    geo: Arc<Geo>,
    /// The journals of this process.
    journals: Mutex<Vec<Journal>>,
    /// The journals of earlier processes.
    left: Mutex<Vec<Journal>>,
    lives: Arc<Lives>,
    lost: Counter,
}

/// Estimates how many clicks in a directory of journals no shard has counted: those in spills, and slots of journals (a click
/// takes at least one). Unreadable files count nothing. Changes no file.
pub fn clicks_left(directory: &Path) -> u64 {
    let Ok(files) = std::fs::read_dir(directory) else { return 0 };
    let of = |path: PathBuf| match path.extension()?.to_str()? {
        "clicks" => Journal::open(&path).ok().map(|journal| journal.head() - journal.released()),
        spill::EXTENSION => Spill::clicks_in(&path).ok(),
        _ => None,
    };
    files.flatten().filter_map(|file| of(file.path())).sum()
}

/// Decides which counter may change files: the latest. After a panic, several counters follow each other in one process and on one thread,
/// and something that an earlier one has begun, such as a flush, may still be in progress.
#[derive(Default)]
pub(crate) struct Lives {
    latest: AtomicU64,
    /// Held while a spill is written.
    writing: Mutex<()>,
}

impl Lives {
    /// Begins a new life. A write that the former one has begun ends before this, or does not happen.
    pub(crate) fn begin(&self) -> u64 {
        let _writing = self.writing.lock();
        self.latest.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Whether no later life has begun.
    pub(crate) fn is_latest(&self, life: u64) -> bool {
        self.latest.load(Ordering::Relaxed) == life
    }

    /// Does a write that no later life may find half done. Returns `None` if this is not the latest life.
    pub(crate) fn write<T>(&self, life: u64, work: impl FnOnce() -> T) -> Option<T> {
        let _writing = self.writing.lock();
        self.is_latest(life).then(work)
    }
}

/// Records the visits of one worker.
pub struct Recorder {
    shared: Arc<Shared>,
    writer: Writer,
    memory: RefCell<Memory>,
}

#[derive(Default)]
struct Memory {
    agents: HashMap<u64, Agent>,
    places: HashMap<IpAddr, Location>,
    geo_version: u64,
    /// The period of the key of the visitors' hash, and the key.
    visitor_key: (u64, [u64; 2]),
    /// The present second, and the number of orphan visits in it.
    orphans: (u64, u32),
    text: Vec<u8>,
}

impl Journals {
    /// Opens the journals and spills that earlier processes left in the directory.
    ///
    /// # Errors
    /// If the directory cannot be created or read, or if spilled clicks cannot be read: a shard would then get later ones first, and
    /// treat the spilled ones as counted. A file that is not a journal is left alone, with a warning.
    pub fn open(options: JournalOptions, geo: Arc<Geo>, metrics: &Metrics) -> Result<Self, JournalError> {
        let directory = options.directory.clone();
        let failed = |error| JournalError::Io { path: directory.clone(), error };
        std::fs::create_dir_all(&directory).map_err(failed)?;
        let mut left = Vec::new();
        for entry in std::fs::read_dir(&directory).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if path.extension().is_none_or(|extension| extension != "clicks") {
                continue;
            }
            match Journal::open(&path) {
                Ok(journal) => left.push(journal),
                Err(JournalError::Unfinished { path }) => std::fs::remove_file(path).map_err(failed)?,
                Err(error) => tracing::warn!(%error, "a click journal cannot be read; it is left as it is"),
            }
        }
        let waiting: u64 = left.iter().map(|journal| journal.head() - journal.released()).sum();
        if waiting > 0 {
            tracing::info!(journals = left.len(), slots = waiting, "clicks of an earlier run are counted now");
        }
        let lost = metrics.counter(
            "waypost_clicks_lost_total",
            "Visits not counted: a journal was full, or the spill of their shard, or damaged",
        );
        // Spills are checked now, because later only the log would show an error.
        let (_, damaged) = Spill::open_all(&directory)?;
        lost.inc_by(damaged);
        let shared =
            Shared { options, geo, journals: Mutex::default(), left: Mutex::new(left), lives: Arc::default(), lost };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Creates a journal for one more worker.
    ///
    /// # Errors
    /// If the disk has no space for it.
    pub fn recorder(&self) -> Result<Recorder, JournalError> {
        let options = &self.shared.options;
        let slots = if options.record { options.slots } else { 1 };
        let (writer, journal) = Journal::create(&options.directory, rand::random(), slots)?;
        self.shared.journals.lock().push(journal);
        Ok(Recorder { shared: self.shared.clone(), writer, memory: RefCell::default() })
    }

    /// The geographic database.
    pub fn geo(&self) -> &Geo {
        &self.shared.geo
    }

    /// The directory of the journals.
    pub(crate) fn directory(&self) -> &Path {
        &self.shared.options.directory
    }

    /// Counts visits that were recorded but are lost.
    pub(crate) fn note_lost(&self, visits: u64) {
        self.shared.lost.inc_by(visits);
    }

    #[cfg(test)]
    pub(crate) fn lost(&self) -> Counter {
        self.shared.lost.clone()
    }

    /// The counters of this process, one after the other.
    pub(crate) fn lives(&self) -> Arc<Lives> {
        self.shared.lives.clone()
    }

    /// The journals of this process.
    pub fn current(&self) -> Vec<Journal> {
        self.shared.journals.lock().clone()
    }

    /// The journals of earlier processes that are not counted yet.
    pub(crate) fn left(&self) -> Vec<Journal> {
        self.shared.left.lock().clone()
    }

    /// Removes a journal that was counted to its end.
    pub(crate) fn finish(&self, id: u64) {
        for journals in [&self.shared.left, &self.shared.journals] {
            journals.lock().retain(|journal| journal.id() != id);
        }
    }

    /// Syncs everything that all workers have recorded.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn sync(&self) -> std::io::Result<()> {
        self.current().iter().try_for_each(Journal::sync)
    }
}

impl Recorder {
    /// Whether visits are recorded at all.
    pub fn is_on(&self) -> bool {
        self.shared.options.record
    }

    /// Records a visit of a link. If the journal is full, the visit is counted in `waypost_clicks_lost_total`: a redirect never waits.
    pub fn visit(&self, link: KeyHash, at: UnixMs, visitor: &Visitor<'_>) {
        if !self.is_on() {
            return;
        }
        let mut memory = self.memory.borrow_mut();
        let memory = &mut *memory;
        memory.text.clear();
        let mut visit =
            Visit { link: Some(link), at, agent: Agent::default(), country: [0; 2], language: [0; 2], visitor: None };
        let agent_hash = hash([0x5EED, 0xA9E7], &visitor.user_agent);
        visit.agent = memory.agent(agent_hash, visitor);
        if visitor.anonymous {
            // Bots do not express a tracking preference.
            visit.agent = if visit.agent.bot { visit.agent } else { Agent::default() };
        } else {
            visit.language = language(visitor.language);
            let host = referrer_host(visitor.referrer);
            memory.text.extend(host.iter().map(u8::to_ascii_lowercase));
            if let Some(address) = visitor.address {
                let key = memory.visitor_key(&self.shared.options.visitor_secret, at);
                visit.visitor = Some(Register::of(hash(key, &(address, agent_hash))));
                memory.locate(&self.shared.geo, address, &mut visit);
            }
        }
        self.append(&visit, &memory.text);
    }

    /// Records an orphan visit: a request for a path that is not a link.
    pub fn orphan(&self, path: &str, at: UnixMs) {
        if !self.is_on() {
            return;
        }
        let mut memory = self.memory.borrow_mut();
        let second = at.0 / 1000;
        let seen = if memory.orphans.0 == second { memory.orphans.1 } else { 0 };
        memory.orphans = (second, seen + 1);
        let plain = path.len() <= PATH_BYTES_MAX && path.bytes().all(|byte| byte.is_ascii_graphic());
        let path = if plain && seen < ORPHANS_PER_SECOND_MAX { path } else { "" };
        let visit = Visit { link: None, at, agent: Agent::default(), country: [0; 2], language: [0; 2], visitor: None };
        self.append(&visit, path.as_bytes());
    }

    fn append(&self, visit: &Visit, text: &[u8]) {
        if !self.writer.append(visit.words(), text) {
            self.shared.lost.inc();
        }
    }
}

impl Memory {
    fn agent(&mut self, hash: u64, visitor: &Visitor<'_>) -> Agent {
        if visitor.prefetch {
            return Agent::PREFETCH;
        }
        if visitor.user_agent.is_empty() {
            return Agent::UNNAMED;
        }
        if let Some(agent) = self.agents.get(&hash) {
            return *agent;
        }
        if self.agents.len() >= REMEMBERED_MAX {
            self.agents.clear();
        }
        let agent = Agent::of(&String::from_utf8_lossy(visitor.user_agent));
        self.agents.insert(hash, agent);
        agent
    }

    fn visitor_key(&mut self, secret: &[u8; 32], at: UnixMs) -> [u64; 2] {
        let period = at.0 / VISITOR_KEY_MS + 1;
        if self.visitor_key.0 != period {
            let digest = blake3::keyed_hash(secret, &period.to_le_bytes());
            let word = |i: usize| u64::from_le_bytes(std::array::from_fn(|byte| digest.as_bytes()[8 * i + byte]));
            self.visitor_key = (period, [word(0), word(1)]);
        }
        self.visitor_key.1
    }

    fn locate(&mut self, geo: &Geo, address: IpAddr, visit: &mut Visit) {
        let version = geo.version();
        if version == 0 {
            return;
        }
        if self.geo_version != version || self.places.len() >= REMEMBERED_MAX {
            self.places.clear();
            self.geo_version = version;
        }
        let location = self.places.entry(address).or_insert_with(|| geo.locate(address));
        visit.country = location.country;
        if !location.city.is_empty() && self.text.len() + 1 + location.city.len() <= TEXT_BYTES_MAX {
            self.text.push(b'\n');
            self.text.extend_from_slice(location.city.as_bytes());
        }
    }
}

fn hash(key: [u64; 2], what: &impl Hash) -> u64 {
    let mut hasher = SipHasher13::new_with_keys(key[0], key[1]);
    what.hash(&mut hasher);
    hasher.finish()
}

/// The host in a `Referer`, without `www.`; empty if there is none.
fn referrer_host(referrer: &[u8]) -> &[u8] {
    let Some(start) = referrer.windows(3).take(16).position(|three| three == b"://") else { return b"" };
    let rest = &referrer[start + 3..];
    let rest = &rest[..rest.len().min(512)];
    let end = rest.iter().position(|byte| b"/?#".contains(byte)).unwrap_or(rest.len());
    let host = &rest[..end];
    let host = host.iter().rposition(|byte| *byte == b'@').map_or(host, |at| &host[at + 1..]);
    let host = match host.iter().rposition(|byte| *byte == b':') {
        Some(colon) if host[colon + 1..].iter().all(u8::is_ascii_digit) => &host[..colon],
        _ => host,
    };
    let host = host.strip_prefix(b"www.").unwrap_or(host);
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b".-_[]:".contains(byte);
    if host.len() <= 72 && host.iter().all(plain) { host } else { b"" }
}

/// The first language of an `Accept-Language`, if it has two letters.
fn language(header: &[u8]) -> [u8; 2] {
    match header {
        [a, b] if a.is_ascii_alphabetic() && b.is_ascii_alphabetic() => {
            [a.to_ascii_lowercase(), b.to_ascii_lowercase()]
        }
        [a, b, next, ..] if a.is_ascii_alphabetic() && b.is_ascii_alphabetic() && b"-,; _".contains(next) => {
            [a.to_ascii_lowercase(), b.to_ascii_lowercase()]
        }
        _ => [0; 2],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_referrer_only_the_host_is_kept() {
        for (referrer, host) in [
            ("https://www.Example.com/a/page?q=1", "Example.com"),
            ("https://news.example.org", "news.example.org"),
            ("http://user:secret@example.com:8080/x", "example.com"),
            ("android-app://com.google.android.gm/", "com.google.android.gm"),
            ("https://[2001:db8::1]:443/", "[2001:db8::1]"),
            ("https://xn--bcher-kva.example/?x#y", "xn--bcher-kva.example"),
            ("about:blank", ""),
            ("", ""),
            ("https://<script>/", ""),
            ("https://bücher.example/", ""),
        ] {
            assert_eq!(referrer_host(referrer.as_bytes()), host.as_bytes(), "{referrer}");
        }
        assert_eq!(referrer_host(format!("https://{}/", "a".repeat(600)).as_bytes()), b"");
    }

    #[test]
    fn the_first_language_counts() {
        for (header, first) in [
            ("de-CH,de;q=0.9,en;q=0.8", "de"),
            ("EN", "en"),
            ("fr;q=0.5", "fr"),
            ("pt_BR", "pt"),
            ("*", ""),
            ("haw", ""),
        ] {
            let expected: [u8; 2] = first.as_bytes().try_into().unwrap_or([0; 2]);
            assert_eq!(language(header.as_bytes()), expected, "{header}");
        }
    }
}

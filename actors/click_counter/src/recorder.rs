//! The click journals of this node: HTTP workers append visits, and the ClickCounter reads them.
//!
//! A record cannot identify a person: it holds no address and no user agent, but their classes,
//! and a register of a sketch. Each worker remembers classes, so that most visits cost one hash for each header.

use std::borrow::Cow;
use std::cell::RefCell;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use waypost_journal::{Journal, JournalError, Writer};
use waypost_protocol::clicks::orphan_text;
use waypost_protocol::sketch::Register;
use waypost_protocol::{Domain, KeyHash, UnixMs};
use waypost_telemetry::{Counter, Metrics};

use crate::agent::Agent;
use crate::classes::{Memory, Visitor, hash, language, referrer_host};
use crate::geo::{Geo, Location};
use crate::lives::Lives;
use crate::spill::{self, Spill};
use crate::visit::Visit;

/// The number of orphan visits that a worker records with their path in a second; further ones are counted without it.
const ORPHANS_PER_SECOND_MAX: u32 = 50;

/// The longest path that is recorded, in bytes.
const PATH_BYTES_MAX: usize = 64;

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

/// The hash by which a worker remembers the class of a user agent.
fn agent_hash(user_agent: &[u8]) -> u64 {
    hash([0x5EED, 0xA9E7], &user_agent)
}

/// Records the visits of one worker.
pub struct Recorder {
    shared: Arc<Shared>,
    writer: Writer,
    memory: RefCell<Memory>,
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
                Err(error) => tracing::warn!(%error, "a click journal cannot be read; it is left unchanged"),
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
    pub fn geo(&self) -> &Arc<Geo> {
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
        self.visit_found(at, visitor, || Some(link));
    }

    /// Records a visit of the link that `find` finds, or nothing if it finds none. `find` must not record anything.
    ///
    /// The visitor is classified first, so that the link can come from memory meanwhile.
    pub fn visit_found(&self, at: UnixMs, visitor: &Visitor<'_>, find: impl FnOnce() -> Option<KeyHash>) {
        if !self.is_on() {
            find();
            return;
        }
        let mut memory = self.memory.borrow_mut();
        let memory = &mut *memory;
        memory.text.clear();
        let mut visit =
            Visit { link: None, at, agent: Agent::default(), country: [0; 2], language: [0; 2], visitor: None };
        let agent_hash = agent_hash(visitor.user_agent);
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
        visit.link = find();
        if visit.link.is_some() {
            self.append(&visit, &memory.text);
        }
    }

    /// The class of a user agent. Also if no visits are recorded.
    pub fn agent(&self, user_agent: &[u8]) -> Agent {
        self.memory.borrow_mut().agent_of(agent_hash(user_agent), user_agent)
    }

    /// The location of an address, as far as the geographic database knows it. Also if no visits are recorded.
    pub fn location(&self, address: IpAddr) -> Location {
        self.memory.borrow_mut().place_of(&self.shared.geo, address).cloned().unwrap_or_default()
    }

    /// Whether a visitor is one of the people for whom links are made: no bot, and no browser that loads the page in advance.
    pub fn is_person(&self, visitor: &Visitor<'_>) -> bool {
        !self.memory.borrow_mut().agent(agent_hash(visitor.user_agent), visitor).bot
    }

    /// Records an orphan visit: a request for a path of a domain that is not a link. See [`waypost_protocol::clicks::orphan_text`].
    pub fn orphan(&self, domain: Domain, path: &str, at: UnixMs) {
        if !self.is_on() {
            return;
        }
        let mut memory = self.memory.borrow_mut();
        let second = at.0 / 1000;
        let seen = if memory.orphans.0 == second { memory.orphans.1 } else { 0 };
        memory.orphans = (second, seen + 1);
        let plain = path.len() <= PATH_BYTES_MAX && path.bytes().all(|byte| byte.is_ascii_graphic());
        let text = if plain && seen < ORPHANS_PER_SECOND_MAX { orphan_text(domain, path) } else { Cow::Borrowed("") };
        let visit = Visit { link: None, at, agent: Agent::default(), country: [0; 2], language: [0; 2], visitor: None };
        self.append(&visit, text.as_bytes());
    }

    fn append(&self, visit: &Visit, text: &[u8]) {
        if !self.writer.append(visit.words(), text) {
            self.shared.lost.inc();
        }
    }
}

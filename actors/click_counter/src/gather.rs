//! A batch that is still being filled: visits by link and hour, with a table of their common strings.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use waypost_protocol::clicks::{ClickBatch, ClickDelta, Dimension, HOUR_MS, JournalSpan, OrphanDelta, Tally};
use waypost_protocol::{NodeId, UnixMs};

use crate::agent::Agent;
use crate::visit::Visit;

/// The approximate size at which a batch is closed, in the encoding of level 0: some below the largest command. Since level 3 a batch takes half of it or less.
const BATCH_BYTES: usize = 15 * 1024;

/// The size of a journal's range in a batch.
const SPAN_BYTES: usize = 30;

/// The most different strings of a batch; further ones are not distinguished.
const STRINGS_MAX: usize = 2000;

/// The places for links with an hour that are known in an open batch, so that further visits are counted there: for twice as many as a batch has.
/// Of more than two in the same place the last two are known. Another one gets a second entry in the batch, which costs some bytes and nothing else. A table
/// without such losses would be ten times as large, and each shard has one.
const KNOWN: usize = 512;

/// A hasher for keys that are hashes already.
#[derive(Default)]
pub(crate) struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = self.0.rotate_left(29) ^ number;
    }
}

/// A map with such keys.
pub(crate) type ByHash<K, V> = HashMap<K, V, BuildHasherDefault<AsItIs>>;

/// A batch that is still being filled. Its memory is used again for the next one.
#[derive(Default)]
pub(crate) struct Open {
    /// In the order of their journals' first visits.
    spans: Vec<JournalSpan>,
    numbers: HashMap<String, u16>,
    strings: Vec<String>,
    deltas: Vec<ClickDelta>,
    /// Of the last two links at each place, the last one first: 16 bits of its hash, and its index in `deltas`. It may be one of an earlier batch. Empty before the first visit.
    known: Vec<[(u16, u16); 2]>,
    orphans: HashMap<u16, (u32, UnixMs)>,
    /// The agent of the last visit, and the numbers of its browser, system and device: most visits have the same agent as the one before.
    agent: Option<(Agent, [u16; 3])>,
    bytes: usize,
    /// The number of visits.
    pub(crate) visits: u64,
}

impl Open {
    /// Extends the range of the journal to `position`; it begins at `next`, if the batch has nothing of the journal yet.
    pub(crate) fn span(&mut self, journal: u64, next: impl FnOnce() -> u64, position: u64) {
        // A journal is read in pieces, so most visits are of the same one as the visit before.
        let at = match self.spans.last() {
            Some(last) if last.journal == journal => Some(self.spans.len() - 1),
            _ => self.spans.iter().position(|span| span.journal == journal),
        };
        match at {
            Some(at) => self.spans[at].upto = position,
            None => {
                self.bytes += SPAN_BYTES;
                self.spans.push(JournalSpan { journal, from: next(), upto: position });
            }
        }
    }

    /// Whether the batch has something of a journal.
    pub(crate) fn has(&self, journal: u64) -> bool {
        self.spans.iter().any(|span| span.journal == journal)
    }

    /// Whether the batch has reached its size.
    pub(crate) fn is_full(&self) -> bool {
        self.bytes >= BATCH_BYTES
    }

    /// Closes the batch, to be sent, and begins the next one.
    pub(crate) fn close(&mut self, node: NodeId) -> ClickBatch {
        let mut spans = std::mem::take(&mut self.spans);
        spans.sort_unstable_by_key(|span| span.journal);
        let orphans = self.orphans.drain().map(|(path, (count, last))| OrphanDelta { path, count, last }).collect();
        let next = Vec::with_capacity(self.deltas.len());
        let deltas = std::mem::replace(&mut self.deltas, next);
        let strings = std::mem::take(&mut self.strings);
        self.numbers.clear();
        (self.agent, self.bytes, self.visits) = (None, 0, 0);
        ClickBatch { node, spans, strings, deltas, orphans }
    }

    fn string(&mut self, text: &str) -> u16 {
        if text.is_empty() {
            return 0;
        }
        if let Some(number) = self.numbers.get(text) {
            return *number;
        }
        if self.strings.len() >= STRINGS_MAX {
            return 0;
        }
        self.bytes += text.len() + 2;
        self.strings.push(text.to_owned());
        let number = self.strings.len() as u16;
        self.numbers.insert(text.to_owned(), number);
        number
    }

    fn agent(&mut self, agent: Agent) -> [u16; 3] {
        if let Some((last, numbers)) = self.agent
            && last == agent
        {
            return numbers;
        }
        let names = [agent.browser_name(), agent.os_name(), agent.device_name()];
        let numbers = names.map(|name| self.string(name));
        self.agent = Some((agent, numbers));
        numbers
    }

    /// Adds a visit with its text.
    pub(crate) fn add(&mut self, visit: &Visit, text: &[u8]) {
        self.visits += 1;
        // The journal pads a text with zeros.
        let end = text.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        let text = std::str::from_utf8(&text[..end]).unwrap_or_default();
        let Some(link) = visit.link else {
            let path = self.string(text);
            let (count, last) = self.orphans.entry(path).or_insert_with(|| {
                self.bytes += 12;
                Default::default()
            });
            *count += 1;
            *last = (*last).max(visit.at);
            return;
        };
        let (referrer, city) = text.split_once('\n').unwrap_or((text, ""));
        let letters = |two: &[u8; 2]| -> String { String::from_utf8_lossy(two).into_owned() };
        let mut values = [0; Dimension::COUNT];
        // Most visits have only these; absent values are not looked up.
        let mut set = |dimension: Dimension, text: &str| values[dimension as usize] = self.string(text);
        if visit.country[0] != 0 {
            set(Dimension::Country, &letters(&visit.country));
        }
        if visit.language[0] != 0 {
            set(Dimension::Language, &letters(&visit.language));
        }
        set(Dimension::City, city);
        set(Dimension::Referrer, referrer);
        let [browser, os, device] = self.agent(visit.agent);
        values[Dimension::Browser as usize] = browser;
        values[Dimension::Os as usize] = os;
        values[Dimension::Device as usize] = device;
        let hour = (visit.at.0 / HOUR_MS) as u32;
        let mut grown = 0;
        if self.known.is_empty() {
            self.known = vec![Default::default(); KNOWN];
        }
        let known = &mut self.known[link.0 as usize % KNOWN];
        let is_here = |delta: &ClickDelta| delta.link == link && delta.hour == hour;
        // Only if the bits are the same, which hardly happens by chance, a line of memory is looked at that may be far away.
        let own = (link.0 >> 16) as u16;
        let is_known = |of: &&(u16, u16)| of.0 == own && self.deltas.get(usize::from(of.1)).is_some_and(is_here);
        let at = known.iter().find(is_known).map_or(self.deltas.len(), |of| usize::from(of.1));
        if at == self.deltas.len() {
            grown += 24;
            let index = at.try_into().expect("invariant: a batch is full with less than 1,000 links");
            *known = [(own, index), known[0]];
            let (tallies, visitors) = Default::default();
            self.deltas.push(ClickDelta { link, hour, last: UnixMs(0), tallies, visitors });
        }
        let gathered = &mut self.deltas[at];
        let bot = visit.agent.bot;
        match gathered.tallies.iter_mut().find(|tally| tally.bot == bot && tally.values == values) {
            Some(tally) => tally.count += 1,
            None => {
                grown += 13;
                gathered.tallies.push(Tally { bot, values, count: 1 });
            }
        }
        if !bot {
            gathered.last = gathered.last.max(visit.at);
            if let Some(visitor) = visit.visitor
                && !gathered.visitors.contains(&visitor)
            {
                grown += 3;
                gathered.visitors.push(visitor);
            }
        }
        self.bytes += grown;
    }
}

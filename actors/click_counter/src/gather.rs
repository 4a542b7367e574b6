//! A batch that is still being filled: visits by link and hour, with a table of their common strings.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use waypost_protocol::clicks::{
    ClickBatch, ClickDelta, Dimension, HOUR_MS, JournalSpan, OrphanDelta, Tallies, Tally, Visitors,
};
use waypost_protocol::{KeyHash, NodeId, UnixMs};

use crate::agent::Agent;
use crate::visit::Visit;

/// The approximate size at which a batch is closed: well below the largest command.
const BATCH_BYTES: usize = 10 * 1024;

/// The size of a journal's range in a batch.
const SPAN_BYTES: usize = 30;

/// The most different strings of a batch; further ones are not distinguished.
const STRINGS_MAX: usize = 2000;

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

    fn write_u32(&mut self, number: u32) {
        self.write_u64(u64::from(number) << 32);
    }
}

/// A map with such keys.
pub(crate) type ByHash<K, V> = HashMap<K, V, BuildHasherDefault<AsItIs>>;

#[derive(Default)]
struct Gathered {
    last: UnixMs,
    tallies: Tallies,
    visitors: Visitors,
}

/// A batch that is still being filled.
#[derive(Default)]
pub(crate) struct Open {
    spans: ByHash<u64, (u64, u64)>,
    numbers: HashMap<String, u16>,
    strings: Vec<String>,
    links: ByHash<(KeyHash, u32), Gathered>,
    orphans: HashMap<u16, (u32, UnixMs)>,
    /// The agent of the last visit, and the numbers of its browser, system and device: most visits have the same agent as the one before.
    agent: Option<(Agent, [u16; 3])>,
    bytes: usize,
    /// The number of visits.
    pub(crate) visits: u64,
}

impl Open {
    /// Extends the range of the journal to `position`; it begins at `next`, if the batch has nothing of the journal yet.
    pub(crate) fn span(&mut self, journal: u64, next: u64, position: u64) {
        let (_, upto) = self.spans.entry(journal).or_insert_with(|| {
            self.bytes += SPAN_BYTES;
            (next, next)
        });
        *upto = position;
    }

    /// Whether the batch has something of a journal.
    pub(crate) fn has(&self, journal: u64) -> bool {
        self.spans.contains_key(&journal)
    }

    /// Whether the batch has reached its size.
    pub(crate) fn is_full(&self) -> bool {
        self.bytes >= BATCH_BYTES
    }

    /// Closes the batch, to be sent.
    pub(crate) fn close(self, node: NodeId) -> ClickBatch {
        let mut spans: Vec<JournalSpan> =
            self.spans.into_iter().map(|(journal, (from, upto))| JournalSpan { journal, from, upto }).collect();
        spans.sort_unstable_by_key(|span| span.journal);
        let deltas = self.links.into_iter().map(|((link, hour), Gathered { last, tallies, visitors })| ClickDelta {
            link,
            hour,
            last,
            tallies,
            visitors,
        });
        let orphans = self.orphans.into_iter().map(|(path, (count, last))| OrphanDelta { path, count, last });
        ClickBatch { node, spans, strings: self.strings, deltas: deltas.collect(), orphans: orphans.collect() }
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
        let gathered = self.links.entry((link, hour)).or_insert_with(|| {
            grown += 24;
            Gathered::default()
        });
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

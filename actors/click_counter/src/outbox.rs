//! Visits on their way to the shards: pure bookkeeping, no actor.
//!
//! What is read of the journals is gathered by shard into batches. A batch says from where to where it goes in each journal, and is
//! sent until it is answered; a shard that was reached by an earlier life of this node says how far, and then the rest is gathered
//! anew. A journal may be released up to where every shard has what is its own.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use waypost_protocol::clicks::{
    ClickBatch, ClickDelta, Dimension, HOUR_MS, JournalSpan, OrphanDelta, Tallies, Tally, Visitors,
};
use waypost_protocol::{KeyHash, NodeId, ShardId, UnixMs};

use crate::agent;
use crate::visit::Visit;

/// A batch is closed when about this long: well below what a command may be.
const BATCH_BYTES: usize = 10 * 1024;

/// What a part of a journal takes in a batch.
const SPAN_BYTES: usize = 30;

/// Batches that may wait for one shard. Beyond that the journals are not read on: they hold more than memory should.
const BATCHES_MAX: usize = 128;

/// Different strings of a batch; what comes after is not told apart.
const STRINGS_MAX: usize = 2000;

/// The keys are hashes already.
#[derive(Default)]
struct AsItIs(u64);

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

type ByHash<K, V> = HashMap<K, V, BuildHasherDefault<AsItIs>>;

#[derive(Default)]
struct Gathered {
    last: UnixMs,
    tallies: Tallies,
    visitors: Visitors,
}

/// A batch that is still being filled.
#[derive(Default)]
struct Open {
    spans: ByHash<u64, (u64, u64)>,
    numbers: HashMap<String, u16>,
    strings: Vec<String>,
    links: ByHash<(KeyHash, u32), Gathered>,
    orphans: HashMap<u16, (u32, UnixMs)>,
    bytes: usize,
    visits: u64,
}

impl Open {
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

    fn add(&mut self, visit: &Visit, text: &[u8]) {
        self.visits += 1;
        // The journal fills a text up with zeros.
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
        let letters =
            |two: &[u8; 2]| if two[0] == 0 { String::new() } else { String::from_utf8_lossy(two).into_owned() };
        let mut values = [0; Dimension::COUNT];
        // Most visits have no more than these; nothing is looked up for what is not there.
        let mut set = |dimension: Dimension, text: &str| values[dimension as usize] = self.string(text);
        if visit.country[0] != 0 {
            set(Dimension::Country, &letters(&visit.country));
        }
        if visit.language[0] != 0 {
            set(Dimension::Language, &letters(&visit.language));
        }
        set(Dimension::City, city);
        set(Dimension::Referrer, referrer);
        set(Dimension::Browser, agent::browser_name(visit.agent));
        set(Dimension::Os, agent::os_name(visit.agent));
        set(Dimension::Device, agent::device_name(visit.agent));
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

struct Batch {
    batch: Arc<ClickBatch>,
    visits: u64,
}

#[derive(Default)]
struct Shard {
    open: Open,
    closed: VecDeque<Batch>,
    /// Where the next batch begins in each journal.
    next: ByHash<u64, u64>,
    /// Up to where the shard has counted each journal.
    counted: ByHash<u64, u64>,
}

/// What is waiting for each shard.
pub struct Outbox {
    node: NodeId,
    shards: Vec<Shard>,
}

impl Outbox {
    /// Nothing waiting.
    pub fn new(node: NodeId, shards: u32) -> Self {
        Self { node, shards: (0..shards.max(1)).map(|_| Shard::default()).collect() }
    }

    fn shard_of(&self, visit: &Visit, text: &[u8]) -> usize {
        let hash = visit.link.unwrap_or_else(|| {
            let sum = text.iter().fold(0u64, |sum, byte| sum.wrapping_mul(0x100_0000_01B3) ^ u64::from(*byte));
            KeyHash(sum.wrapping_mul(0x9E37_79B9_7F4A_7C15))
        });
        hash.shard(self.shards.len() as u32).index()
    }

    /// A journal that was released up to `released` when this life began.
    pub fn begin(&mut self, journal: u64, released: u64) {
        for shard in &mut self.shards {
            shard.next.insert(journal, released);
            shard.counted.insert(journal, released);
        }
    }

    /// A journal that is gone.
    pub fn end(&mut self, journal: u64) {
        for shard in &mut self.shards {
            shard.next.remove(&journal);
            shard.counted.remove(&journal);
        }
    }

    /// Adds a visit, which ends at `position` in its journal. With `only`, if it is for that shard, and was not counted there.
    pub fn add(&mut self, journal: u64, position: u64, visit: &Visit, text: &[u8], only: Option<ShardId>) {
        let index = self.shard_of(visit, text);
        if only.is_some_and(|only| only.index() != index) {
            return;
        }
        let shard = &mut self.shards[index];
        let next = shard.next.get(&journal).copied().unwrap_or(0);
        if position <= next {
            return;
        }
        let open = &mut shard.open;
        let (_, upto) = open.spans.entry(journal).or_insert_with(|| {
            open.bytes += SPAN_BYTES;
            (next, next)
        });
        *upto = position;
        shard.open.add(visit, text);
        if shard.open.bytes >= BATCH_BYTES {
            shard.close(self.node);
        }
    }

    /// The batch to send to a shard now: the same as long as it was not answered.
    pub fn next(&mut self, shard: ShardId) -> Option<Arc<ClickBatch>> {
        let waiting = &mut self.shards[shard.index()];
        if waiting.closed.is_empty() {
            waiting.close(self.node);
        }
        waiting.closed.front().map(|batch| batch.batch.clone())
    }

    /// The shard has counted the first batch. Answers how many visits it carried.
    pub fn delivered(&mut self, shard: ShardId) -> u64 {
        let waiting = &mut self.shards[shard.index()];
        let Some(Batch { batch, visits }) = waiting.closed.pop_front() else { return 0 };
        for span in &batch.spans {
            waiting.counted.insert(span.journal, span.upto);
        }
        visits
    }

    /// The shard has counted these journals up to other positions: nothing is waiting for it any more, and what it has not
    /// counted has to be added again.
    pub fn start_again(&mut self, shard: ShardId, reached: &[(u64, u64)]) {
        let waiting = &mut self.shards[shard.index()];
        waiting.closed.clear();
        waiting.open = Open::default();
        for (journal, position) in reached {
            waiting.counted.insert(*journal, *position);
        }
        waiting.next = waiting.counted.clone();
    }

    /// Up to where a journal, which was read up to `read`, is needed no more.
    pub fn released(&self, journal: u64, read: u64) -> u64 {
        let of = |shard: &Shard| {
            let waits = shard.open.spans.contains_key(&journal)
                || shard.closed.iter().any(|batch| batch.batch.spans.iter().any(|span| span.journal == journal));
            if waits { shard.counted.get(&journal).copied().unwrap_or(0) } else { read }
        };
        self.shards.iter().map(of).min().unwrap_or(read)
    }

    /// Whether more should be read of the journals.
    pub fn has_room(&self) -> bool {
        self.shards.iter().all(|shard| shard.closed.len() < BATCHES_MAX)
    }

    /// Visits that no shard has answered yet.
    pub fn waiting(&self) -> u64 {
        let of = |shard: &Shard| shard.open.visits + shard.closed.iter().map(|batch| batch.visits).sum::<u64>();
        self.shards.iter().map(of).sum()
    }

    /// The shards that have something waiting.
    pub fn busy(&self) -> Vec<ShardId> {
        (0..self.shards.len() as u32).map(ShardId).filter(|shard| self.is_busy(*shard)).collect()
    }

    /// Whether a shard has something waiting.
    pub fn is_busy(&self, shard: ShardId) -> bool {
        let shard = &self.shards[shard.index()];
        shard.open.visits > 0 || !shard.closed.is_empty()
    }
}

impl Shard {
    fn close(&mut self, node: NodeId) {
        if self.open.visits == 0 {
            return;
        }
        let open = std::mem::take(&mut self.open);
        let mut spans: Vec<JournalSpan> =
            open.spans.into_iter().map(|(journal, (from, upto))| JournalSpan { journal, from, upto }).collect();
        spans.sort_unstable_by_key(|span| span.journal);
        for span in &spans {
            self.next.insert(span.journal, span.upto);
        }
        let deltas = open.links.into_iter().map(|((link, hour), Gathered { last, tallies, visitors })| ClickDelta {
            link,
            hour,
            last,
            tallies,
            visitors,
        });
        let orphans = open.orphans.into_iter().map(|(path, (count, last))| OrphanDelta { path, count, last });
        let batch =
            ClickBatch { node, spans, strings: open.strings, deltas: deltas.collect(), orphans: orphans.collect() };
        self.closed.push_back(Batch { batch: Arc::new(batch), visits: open.visits });
    }
}

#[cfg(test)]
mod tests {
    use waypost_protocol::sketch::Register;

    use super::*;
    use crate::agent::Agent;

    fn visit(link: u64, at: u64) -> Visit {
        Visit {
            link: Some(KeyHash(link)),
            at: UnixMs(at),
            agent: Agent::default(),
            country: [0; 2],
            language: [0; 2],
            visitor: Some(Register::of(link)),
        }
    }

    fn outbox() -> Outbox {
        let mut outbox = Outbox::new(NodeId(1), 1);
        outbox.begin(7, 0);
        outbox
    }

    const SHARD: ShardId = ShardId(0);

    fn visits(batch: &ClickBatch) -> u32 {
        batch.deltas.iter().flat_map(|delta| &delta.tallies).map(|tally| tally.count).sum()
    }

    #[test]
    fn visits_of_a_link_are_added_up_with_the_time_of_the_last() {
        let mut outbox = outbox();
        for (position, at) in [(1, 5), (2, 9), (3, 7)] {
            outbox.add(7, position, &visit(7, at), b"", None);
        }
        let batch = outbox.next(SHARD).unwrap();
        assert_eq!(batch.spans, [JournalSpan { journal: 7, from: 0, upto: 3 }]);
        assert_eq!((batch.deltas.len(), visits(&batch), batch.deltas[0].last), (1, 3, UnixMs(9)));
        assert_eq!(batch.deltas[0].visitors.len(), 1);
    }

    #[test]
    fn a_batch_keeps_its_content_until_it_is_delivered_and_the_next_begins_where_it_ends() {
        let mut outbox = outbox();
        outbox.add(7, 1, &visit(1, 1), b"", None);
        let first = outbox.next(SHARD).unwrap();
        outbox.add(7, 4, &visit(2, 2), b"", None);
        assert_eq!(outbox.next(SHARD).unwrap(), first);
        assert_eq!(outbox.released(7, 4), 0, "nothing was counted yet");
        assert_eq!(outbox.delivered(SHARD), 1);
        assert_eq!(outbox.released(7, 4), 1);
        let second = outbox.next(SHARD).unwrap();
        assert_eq!(second.spans, [JournalSpan { journal: 7, from: 1, upto: 4 }]);
        assert_eq!(outbox.delivered(SHARD), 1);
        assert_eq!((outbox.released(7, 9), outbox.waiting()), (9, 0));
    }

    #[test]
    fn a_shard_that_was_reached_before_gets_only_the_rest() {
        let mut outbox = outbox();
        for position in 1..=10 {
            outbox.add(7, position, &visit(position, 1), b"", None);
        }
        outbox.next(SHARD).unwrap();
        outbox.start_again(SHARD, &[(7, 6)]);
        assert_eq!(outbox.waiting(), 0);
        for position in 1..=10 {
            outbox.add(7, position, &visit(position, 1), b"", Some(SHARD));
        }
        let batch = outbox.next(SHARD).unwrap();
        assert_eq!((batch.spans[0].from, batch.spans[0].upto, visits(&batch)), (6, 10, 4));
    }

    #[test]
    fn everything_comes_out_in_batches_that_fit_a_command() {
        let mut outbox = outbox();
        for i in 0..5000 {
            outbox.add(7, i + 1, &visit(i, i), format!("host{i}.example\nBerlin").as_bytes(), None);
        }
        let mut reached = 0;
        while let Some(batch) = outbox.next(SHARD) {
            assert!(postcard::to_stdvec(&*batch).unwrap().len() < 20 * 1024);
            assert_eq!(batch.spans[0].from, reached);
            reached = batch.spans[0].upto;
            outbox.delivered(SHARD);
        }
        assert_eq!((reached, outbox.waiting()), (5000, 0));
    }
}

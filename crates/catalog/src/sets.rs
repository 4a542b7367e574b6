//! The sealed rows that a filter finds, as sets of bits by chunk.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};

use rusqlite::{Connection, OptionalExtension, params};
use waypost_protocol::UnixMs;
use waypost_protocol::listing::{ENDS_SOON_MS, StateFilter};

use crate::bits::{Bits, CHUNK};
use crate::error::CatalogError;
use crate::filter::Filter;
use crate::keys::{Key, Values};
use crate::words::Look;

/// The most grams of a word that are looked up in a chunk.
const GRAMS_MAX: usize = 8;
/// With so few rows left in a chunk, reading them costs less than looking up another gram.
const FEW: u64 = 4;

/// Rows by chunk. Invariant: no set is empty.
#[derive(Debug, Default)]
pub struct Sets(BTreeMap<i64, Bits>);

impl Sets {
    fn insert(&mut self, chunk: i64, bits: Bits) {
        if !bits.is_empty() {
            self.0.insert(chunk, bits);
        }
    }

    /// Whether a row is in them.
    pub fn has(&self, id: i64) -> bool {
        self.0.get(&(id / CHUNK)).is_some_and(|bits| bits.has((id % CHUNK) as u16))
    }

    /// How many rows they have.
    pub fn count(&self) -> u64 {
        self.0.values().map(Bits::count).sum()
    }

    /// Their rows, in order.
    pub fn ids(&self) -> impl Iterator<Item = i64> {
        self.0.iter().flat_map(|(chunk, bits)| bits.iter().map(move |doc| chunk * CHUNK + i64::from(doc)))
    }
}

/// A sealed chunk.
#[derive(Debug, Clone, Copy)]
pub struct Chunk {
    /// Its number.
    pub number: i64,
    /// Its rows.
    pub links: u64,
    /// The first creation of the rows that it was sealed with.
    pub created_min: u64,
    /// The last one.
    pub created_max: u64,
}

/// The sealed chunks that have rows.
pub fn chunks(conn: &Connection) -> Result<Vec<Chunk>, CatalogError> {
    let mut read = conn.prepare_cached("SELECT chunk, links, created_min, created_max FROM chunks WHERE links > 0")?;
    let mut rows = read.query([])?;
    let mut chunks = Vec::new();
    while let Some(row) = rows.next()? {
        let number = |at: usize| -> rusqlite::Result<u64> { Ok(row.get::<_, i64>(at)? as u64) };
        chunks.push(Chunk { number: row.get(0)?, links: number(1)?, created_min: number(2)?, created_max: number(3)? });
    }
    Ok(chunks)
}

/// The rows that a filter finds. If it needs a check, some of them may not fit.
pub fn matching(conn: &Connection, chunks: &[Chunk], filter: &Filter) -> Result<Sets, CatalogError> {
    let looks = looks(conn, chunks, filter)?;
    let mut sets = Sets::default();
    for chunk in chunks {
        sets.insert(chunk.number, in_chunk(&Postings { conn, chunk: chunk.number }, chunk, filter, &looks)?);
    }
    Ok(sets)
}

/// Those of some rows (`None` = of all) that are not in the set of a key.
pub fn outside(conn: &Connection, chunks: &[Chunk], rows: Option<&Sets>, key: Key<'_>) -> Result<Sets, CatalogError> {
    let mut sets = Sets::default();
    for chunk in chunks {
        let postings = Postings { conn, chunk: chunk.number };
        let mut bits = match rows {
            Some(rows) => match rows.0.get(&chunk.number) {
                Some(bits) => bits.clone(),
                None => continue,
            },
            None => postings.get(&Key::Live.bytes())?,
        };
        bits.without(&postings.get(&key.bytes())?);
        sets.insert(chunk.number, bits);
    }
    Ok(sets)
}

/// The same rows, of which one is asked for at a time: the set of the key is read only in chunks of such rows.
pub struct Outside<'a> {
    conn: &'a Connection,
    rows: Option<&'a Sets>,
    key: Vec<u8>,
    read: HashMap<i64, Bits>,
}

impl<'a> Outside<'a> {
    /// Nothing is read yet.
    pub fn of(conn: &'a Connection, rows: Option<&'a Sets>, key: Key<'_>) -> Self {
        Self { conn, rows, key: key.bytes(), read: HashMap::new() }
    }

    /// Whether a row, which exists, is in them.
    pub fn has(&mut self, id: i64) -> Result<bool, CatalogError> {
        if !self.rows.is_none_or(|rows| rows.has(id)) {
            return Ok(false);
        }
        let chunk = id / CHUNK;
        let with = match self.read.entry(chunk) {
            Entry::Occupied(read) => read.into_mut(),
            Entry::Vacant(place) => place.insert(Postings { conn: self.conn, chunk }.get(&self.key)?),
        };
        Ok(!with.has((id % CHUNK) as u16))
    }
}

/// How to find each word, with the grams in the order in which they are looked up: the rarest first, as the fullest chunk has them.
fn looks(conn: &Connection, chunks: &[Chunk], filter: &Filter) -> Result<Vec<Look>, CatalogError> {
    let Some(sample) = chunks.iter().max_by_key(|chunk| chunk.links) else { return Ok(Vec::new()) };
    let mut length = conn.prepare_cached("SELECT length(docs) FROM postings WHERE chunk = ?1 AND key = ?2")?;
    let ranked = |look| match look {
        Look::Grams(grams) => {
            let mut ranked = Vec::with_capacity(grams.len());
            for gram in grams {
                let bytes: Option<i64> = length.query_row(params![sample.number, gram], |row| row.get(0)).optional()?;
                ranked.push((bytes.unwrap_or(0), gram));
            }
            ranked.sort_unstable();
            Ok(Look::Grams(ranked.into_iter().take(GRAMS_MAX).map(|(_, gram)| gram).collect()))
        }
        look => Ok(look),
    };
    filter.words.iter().map(|word| word.look()).map(ranked).collect()
}

fn in_chunk(postings: &Postings<'_>, chunk: &Chunk, filter: &Filter, looks: &[Look]) -> Result<Bits, CatalogError> {
    if filter.from.is_some_and(|from| from > chunk.created_max) || filter.to.is_some_and(|to| to <= chunk.created_min) {
        return Ok(Bits::none());
    }
    let mut found = postings.get(&Key::Live.bytes())?;
    if let Some(shards) = &filter.shards {
        let mut some = Bits::none();
        shards.iter().try_for_each(|shard| postings.or(&Key::Shard(*shard).bytes(), &mut some))?;
        found.and(&some);
    }
    if let Some(domain) = filter.domain {
        found.and(&postings.get(&Key::Domain(domain).bytes())?);
    }
    for domain in &filter.exclude_domains {
        found.without(&postings.get(&Key::Domain(*domain).bytes())?);
    }
    tagged(postings, filter, &mut found)?;
    for look in looks {
        if found.is_empty() {
            return Ok(found);
        }
        with_word(postings, look, &mut found)?;
    }
    if filter.from.is_some_and(|from| from > chunk.created_min) || filter.to.is_some_and(|to| to <= chunk.created_max) {
        let (from, to) = (filter.from.unwrap_or(0), filter.to.unwrap_or(u64::MAX));
        found.and(&postings.valued(Key::Created, |created| created >= from && created < to)?);
    }
    if let Some(state) = filter.state {
        in_state(postings, state, filter.now, &mut found)?;
    }
    Ok(found)
}

fn tagged(postings: &Postings<'_>, filter: &Filter, found: &mut Bits) -> Result<(), CatalogError> {
    if filter.all_tags {
        for tag in &filter.tags {
            found.and(&postings.get(&Key::Tag(tag).bytes())?);
        }
    } else if !filter.tags.is_empty() {
        let mut some = Bits::none();
        filter.tags.iter().try_for_each(|tag| postings.or(&Key::Tag(tag).bytes(), &mut some))?;
        found.and(&some);
    }
    for tag in &filter.exclude_tags {
        found.without(&postings.get(&Key::Tag(tag).bytes())?);
    }
    Ok(())
}

fn with_word(postings: &Postings<'_>, look: &Look, found: &mut Bits) -> Result<(), CatalogError> {
    match look {
        Look::Key(key) => found.and(&postings.get(key)?),
        Look::Prefix(prefix) => found.and(&postings.beginning_with(prefix)?),
        Look::Grams(grams) => {
            for gram in grams {
                found.and(&postings.get(gram)?);
                if found.count() <= FEW {
                    break;
                }
            }
        }
    }
    Ok(())
}

/// Keeps the rows in a state, in the order in which `LinkState::of` and `Row::state` decide.
fn in_state(postings: &Postings<'_>, state: StateFilter, now: UnixMs, found: &mut Bits) -> Result<(), CatalogError> {
    let of = |key: Key<'_>| postings.get(&key.bytes());
    let ended = || postings.valued(Key::Until, |until| until <= now.0);
    let begins = || postings.valued(Key::Since, |since| since > now.0);
    match state {
        StateFilter::Protected => found.and(&of(Key::Protected)?),
        StateFilter::Disabled => found.and(&of(Key::Disabled)?),
        StateFilter::Expired => {
            found.and(&ended()?);
            found.without(&of(Key::Disabled)?);
        }
        StateFilter::NotYet => {
            found.and(&begins()?);
            found.without(&of(Key::Disabled)?);
            found.without(&ended()?);
        }
        StateFilter::Exhausted | StateFilter::Active | StateFilter::EndsSoon => {
            let exhausted = of(Key::Exhausted)?;
            if state == StateFilter::Exhausted {
                found.and(&exhausted)
            } else {
                found.without(&exhausted)
            }
            if state == StateFilter::EndsSoon {
                let soon = now.0.saturating_add(ENDS_SOON_MS);
                found.and(&postings.valued(Key::Until, |until| until <= soon)?);
            }
            found.without(&of(Key::Disabled)?);
            found.without(&ended()?);
            found.without(&begins()?);
        }
    }
    Ok(())
}

/// The postings of a chunk.
struct Postings<'a> {
    conn: &'a Connection,
    chunk: i64,
}

impl Postings<'_> {
    fn get(&self, key: &[u8]) -> Result<Bits, CatalogError> {
        let mut bits = Bits::none();
        self.or(key, &mut bits)?;
        Ok(bits)
    }

    fn read(&self, key: &[u8], mut use_it: impl FnMut(&[u8]) -> Result<(), CatalogError>) -> Result<(), CatalogError> {
        let mut read = self.conn.prepare_cached("SELECT docs FROM postings WHERE chunk = ?1 AND key = ?2")?;
        let mut rows = read.query(params![self.chunk, key])?;
        match rows.next()? {
            Some(row) => use_it(row.get_ref(0)?.as_blob().map_err(rusqlite::Error::from)?),
            None => Ok(()),
        }
    }

    fn or(&self, key: &[u8], bits: &mut Bits) -> Result<(), CatalogError> {
        self.read(key, |stored| bits.or_stored(stored))
    }

    /// The rows of all keys that begin so.
    fn beginning_with(&self, prefix: &[u8]) -> Result<Bits, CatalogError> {
        // No byte of a text is 0xff.
        let end = [prefix, &[0xff]].concat();
        let mut read =
            self.conn.prepare_cached("SELECT docs FROM postings WHERE chunk = ?1 AND key >= ?2 AND key < ?3")?;
        let mut rows = read.query(params![self.chunk, prefix, end])?;
        let mut bits = Bits::none();
        while let Some(row) = rows.next()? {
            bits.or_stored(row.get_ref(0)?.as_blob().map_err(rusqlite::Error::from)?)?;
        }
        Ok(bits)
    }

    /// The rows whose value fits.
    fn valued(&self, key: Key<'_>, fits: impl Fn(u64) -> bool) -> Result<Bits, CatalogError> {
        let mut bits = Bits::none();
        self.read(&key.bytes(), |stored| {
            Values::each_stored(stored, |doc, value| {
                if fits(value) {
                    bits.insert(doc);
                }
            })
        })?;
        Ok(bits)
    }
}

//! Finds the sealed rows of a page: by walking an order, or by reading all rows that fit and sorting them, whichever costs less.

use std::cmp::Ordering;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, Rows, params};
use waypost_protocol::listing::{COUNTED_MATCHES_MAX, ListPosition, Sort, SortKey, SortValue};
use waypost_protocol::{KeyHash, LinkKey};

use crate::error::CatalogError;
use crate::filter::Filter;
use crate::keys::Key;
use crate::orders::{self, Bound, hash_of, stored_hash};
use crate::row::{Row, Value};
use crate::sets::{Chunk, Outside, Sets, chunks, matching, outside};

/// What reading a row costs, in steps of a walk: both were measured (`benches/README.md`).
const ROW: u64 = 16;
/// Up to so many rows are read for a search by text that is counted: for the count, most of them are read anyway.
const READ_ANYWAY: u64 = COUNTED_MATCHES_MAX * 6 / 5;
/// Among the rows without a value, so many steps for each row of the page are walked before it is found out where they are: in most lists most rows have
/// none, and a page is full after a few.
const NEAR: u64 = 8;

/// What of the list is asked for.
#[derive(Debug, Clone)]
pub struct Wanted<'a> {
    /// The order.
    pub sort: Sort,
    /// It begins behind this place.
    pub after: Option<&'a ListPosition>,
    /// So many rows.
    pub limit: usize,
    /// Whether all rows that fit are counted.
    pub count: bool,
}

impl Wanted<'_> {
    /// The order of two places.
    fn compare(&self, one: &ListPosition, other: &ListPosition) -> Ordering {
        self.compare_value(Value::of(&one.value), one.hash.0, other)
    }

    fn compare_value(&self, value: Value<'_>, hash: u64, other: &ListPosition) -> Ordering {
        let order = (value, hash).cmp(&(Value::of(&other.value), other.hash.0));
        if self.sort.descending { order.reverse() } else { order }
    }
}

/// The first of some rows.
pub struct First<'a, T> {
    wanted: &'a Wanted<'a>,
    rows: Vec<(ListPosition, T)>,
    /// Rows at this place or behind it are not among the first.
    end: Option<ListPosition>,
}

impl<'a, T> First<'a, T> {
    /// None yet.
    pub fn of(wanted: &'a Wanted<'a>) -> Self {
        Self { wanted, rows: Vec::new(), end: None }
    }

    /// Adds a row if it may be one of the first.
    pub fn add(&mut self, value: Value<'_>, hash: u64, row: impl FnOnce() -> T) {
        let wanted = self.wanted;
        let is = |order, place: &Option<&ListPosition>| {
            place.is_none_or(|place| wanted.compare_value(value, hash, place) == order)
        };
        if is(Ordering::Greater, &wanted.after) && is(Ordering::Less, &self.end.as_ref()) {
            self.rows.push((ListPosition { value: value.kept(), hash: KeyHash(hash) }, row()));
            if self.rows.len() >= (wanted.limit + 1) * 2 {
                self.cut();
            }
        }
    }

    fn cut(&mut self) {
        self.rows.sort_by(|one, other| self.wanted.compare(&one.0, &other.0));
        if self.rows.len() > self.wanted.limit {
            self.end = Some(self.rows[self.wanted.limit].0.clone());
            self.rows.truncate(self.wanted.limit);
        }
    }

    /// The first rows, in order.
    pub fn rows(mut self) -> Vec<(ListPosition, T)> {
        self.cut();
        self.rows
    }
}

/// The sealed rows as they were at one moment.
pub struct View<'a> {
    /// An open transaction.
    pub conn: &'a Connection,
    /// Rows with this number and later ones are not sealed.
    pub sealed_end: i64,
    /// So many rows are read at most to count those that fit.
    pub count_rows: u64,
}

/// What was found.
#[derive(Debug, Default)]
pub struct Found {
    /// The links of the rows, in order. Not the rows: their texts may be long.
    pub rows: Vec<(ListPosition, LinkKey)>,
    /// How many fit, at least.
    pub total: u64,
    /// Whether there may be more.
    pub is_minimum: bool,
}

impl View<'_> {
    /// Finds the rows of a page, and counts those that fit.
    pub fn find(&self, filter: &Filter, wanted: &Wanted<'_>) -> Result<Found, CatalogError> {
        if let Some(hash) = filter.key {
            return self.find_one(hash, filter, wanted);
        }
        let chunks = chunks(self.conn)?;
        let links: u64 = chunks.iter().map(|chunk| chunk.links).sum();
        let sets = if filter.is_any() { None } else { Some(matching(self.conn, &chunks, filter)?) };
        let candidates = sets.as_ref().map_or(links, Sets::count);
        let check = filter.needs_check();
        let walk_costs = (wanted.limit as u64 * (links / candidates.max(1) + ROW)).max(1);
        let is_read =
            candidates * ROW <= walk_costs || check && wanted.count && candidates <= READ_ANYWAY.min(self.count_rows);
        if is_read {
            let all = match &sets {
                Some(sets) => sets,
                None => &matching(self.conn, &chunks, filter)?,
            };
            return self.read_all(all, filter, wanted);
        }
        let walk = Walk { view: self, filter, wanted, chunks: &chunks, sets: sets.as_ref(), left: candidates * ROW };
        let (total, is_minimum) = match &sets {
            Some(sets) if check && wanted.count => self.count_checked(sets, filter)?,
            _ => (candidates, check),
        };
        match walk.rows()? {
            Some(places) => {
                let rows = places.into_iter().map(|(position, id)| Ok((position, self.row(id)?.key())));
                Ok(Found { rows: rows.collect::<Result<_, CatalogError>>()?, total, is_minimum })
            }
            // The rows that fit are far from the beginning.
            None => match &sets {
                Some(sets) => self.read_all(sets, filter, wanted),
                None => self.read_all(&matching(self.conn, &chunks, filter)?, filter, wanted),
            },
        }
    }

    fn find_one(&self, hash: u64, filter: &Filter, wanted: &Wanted<'_>) -> Result<Found, CatalogError> {
        let mut find = self.conn.prepare_cached("SELECT id FROM by_hash WHERE hash = ?1")?;
        let id: Option<i64> = find.query_row([stored_hash(hash)], |row| row.get(0)).optional()?;
        let mut found = Found::default();
        if let Some(id) = id.filter(|id| *id < self.sealed_end) {
            let row = self.row(id)?;
            if filter.fits(&row) {
                found.total = 1;
                let mut first = First::of(wanted);
                first.add(row.value(wanted.sort.key), row.hash, || row.key());
                found.rows = first.rows();
            }
        }
        Ok(found)
    }

    /// Reads all rows of some sets.
    fn read_all(&self, sets: &Sets, filter: &Filter, wanted: &Wanted<'_>) -> Result<Found, CatalogError> {
        let (mut first, mut total) = (First::of(wanted), 0);
        for id in sets.ids() {
            let row = self.row(id)?;
            if filter.checks(&row) {
                total += 1;
                first.add(row.value(wanted.sort.key), row.hash, || row.key());
            }
        }
        Ok(Found { rows: first.rows(), total, is_minimum: false })
    }

    /// Counts the rows that fit by reading them, up to a number of each.
    fn count_checked(&self, sets: &Sets, filter: &Filter) -> Result<(u64, bool), CatalogError> {
        let mut total = 0;
        for (read, id) in sets.ids().enumerate() {
            if total == COUNTED_MATCHES_MAX || read as u64 == self.count_rows {
                return Ok((total, true));
            }
            total += u64::from(filter.checks(&self.row(id)?));
        }
        Ok((total, false))
    }

    fn row(&self, id: i64) -> Result<Row, CatalogError> {
        let mut read = self.conn.prepare_cached("SELECT data FROM links WHERE id = ?1")?;
        let mut rows = read.query([id])?;
        let row = rows.next()?.ok_or_else(|| CatalogError::damaged("a row is missing"))?;
        Row::decode(row.get_ref(0)?.as_blob().map_err(rusqlite::Error::from)?)
    }
}

/// A place, with the number of the row.
type Place = (ListPosition, i64);

/// Whether a row is in a set.
type Has<'a> = &'a mut dyn FnMut(i64) -> Result<bool, CatalogError>;

/// A walk through an order.
struct Walk<'a> {
    view: &'a View<'a>,
    filter: &'a Filter,
    wanted: &'a Wanted<'a>,
    chunks: &'a [Chunk],
    /// The rows that fit; `None` = all.
    sets: Option<&'a Sets>,
    /// How many more steps it may take. Reading all rows costs as much.
    left: u64,
}

impl Walk<'_> {
    /// The places of the rows; `None` if it took too many steps.
    fn rows(mut self) -> Result<Option<Vec<Place>>, CatalogError> {
        let key = self.wanted.sort.key;
        let without = match key {
            SortKey::CreatedAt | SortKey::Slug => return self.table(key),
            SortKey::EditedAt => Key::Edited,
            SortKey::Title => Key::Titled,
            SortKey::Visits => Key::Visited,
            SortKey::LastVisit => Key::Seen,
        };
        if key == SortKey::EditedAt {
            // Two orders by the same value: those that were edited, and the others by their creation.
            let Some(mut rows) = self.table(key)? else { return Ok(None) };
            let Some(others) = self.rest(without)? else { return Ok(None) };
            rows.extend(others);
            rows.sort_by(|one, other| self.wanted.compare(&one.0, &other.0));
            rows.truncate(self.wanted.limit);
            return Ok(Some(rows));
        }
        // The rows that have the lowest value, by their hashes, and the others.
        let is_behind_lowest = self.wanted.after.is_some_and(|after| !is_lowest(&after.value));
        let mut rows = Vec::new();
        for is_lowest_part in [!self.wanted.sort.descending, self.wanted.sort.descending] {
            let is_over = match (is_lowest_part, self.wanted.sort.descending) {
                (true, false) => is_behind_lowest,
                (false, true) => self.wanted.after.is_some() && !is_behind_lowest,
                _ => false,
            };
            if is_over || rows.len() >= self.wanted.limit {
                continue;
            }
            let more = if is_lowest_part { self.rest(without)? } else { self.table(key)? };
            let Some(more) = more else { return Ok(None) };
            rows.extend(more);
        }
        rows.truncate(self.wanted.limit);
        Ok(Some(rows))
    }

    /// The places of rows that stand in the table of an order.
    fn table(&mut self, key: SortKey) -> Result<Option<Vec<Place>>, CatalogError> {
        let sets = self.sets;
        self.walk(orders::table(key), &mut |id| Ok(sets.is_none_or(|sets| sets.has(id))))
    }

    /// The places of rows that do not stand in the table of the order that is asked for, as the set of the key `without` tells.
    fn rest(&mut self, without: Key<'_>) -> Result<Option<Vec<Place>>, CatalogError> {
        let edited = self.wanted.sort.key == SortKey::EditedAt;
        let table = if edited { orders::table(SortKey::CreatedAt) } else { "by_hash" };
        let step = if self.filter.needs_check() { NEAR + ROW } else { NEAR };
        let near = self.left.min(self.wanted.limit as u64 * step);
        let later = self.left - near;
        self.left = near;
        let mut nearby = Outside::of(self.view.conn, self.sets, without);
        let places = self.walk(table, &mut |id| nearby.has(id))?;
        self.left += later;
        if places.is_some() {
            return Ok(places);
        }
        let rest = outside(self.view.conn, self.chunks, self.sets, without)?;
        let (count, all) = (rest.count(), self.chunks.iter().map(|chunk| chunk.links).sum::<u64>());
        if count * ROW <= self.wanted.limit as u64 * (all / count.max(1)) {
            let mut first = First::of(self.wanted);
            for id in rest.ids() {
                let row = self.view.row(id)?;
                if self.filter.checks(&row) {
                    first.add(row.value(self.wanted.sort.key), row.hash, || id);
                }
            }
            return Ok(Some(first.rows()));
        }
        self.walk(table, &mut |id| Ok(rest.has(id)))
    }

    /// Walks a table, and takes the rows of a set that pass the check.
    fn walk(&mut self, table: &str, has: Has<'_>) -> Result<Option<Vec<Place>>, CatalogError> {
        let descending = self.wanted.sort.descending;
        let (sign, order) = if descending { ("<", " DESC") } else { (">", "") };
        let lowest = lowest(self.wanted.sort.key);
        let has_values = table != "by_hash";
        // Those in a table have higher values than the lowest one, those without a value have the lowest.
        let after = self.after().filter(|after| has_values || after.value == lowest);
        let (columns, behind, order_by) = match (has_values, &after) {
            (true, Some(_)) => (
                "value, hash, id",
                format!("WHERE (value, hash) {sign} (?1, ?2)"),
                format!("value{order}, hash{order}"),
            ),
            (true, None) => ("value, hash, id", String::new(), format!("value{order}, hash{order}")),
            (false, Some(_)) => ("0, hash, id", format!("WHERE hash {sign} ?1"), format!("hash{order}")),
            (false, None) => ("0, hash, id", String::new(), format!("hash{order}")),
        };
        let sql = format!("SELECT {columns} FROM {table} {behind} ORDER BY {order_by}");
        let mut read = self.view.conn.prepare_cached(&sql)?;
        let mut rows = match after {
            Some(after) if has_values => {
                read.query(params![Bound(Value::of(&after.value)), stored_hash(after.hash.0)])?
            }
            Some(after) => read.query([stored_hash(after.hash.0)])?,
            None => read.query([])?,
        };
        let check = self.filter.needs_check();
        self.places(&mut rows, has, check, (!has_values).then_some(lowest))
    }

    /// Where the walk begins: behind the place that is asked for, and where the times of creation begin that fit.
    fn after(&self) -> Option<ListPosition> {
        let (descending, asked) = (self.wanted.sort.descending, self.wanted.after.cloned());
        let place = |time: u64, hash| ListPosition { value: SortValue::Number(time), hash: KeyHash(hash) };
        let first = match (self.wanted.sort.key, descending) {
            (SortKey::CreatedAt, true) => self.filter.to.map(|to| place(to, 0)),
            (SortKey::CreatedAt, false) => {
                self.filter.from.and_then(|from| Some(place(from.checked_sub(1)?, u64::MAX)))
            }
            _ => None,
        };
        match (asked, first) {
            (Some(asked), Some(first)) if self.wanted.compare(&asked, &first) == Ordering::Less => Some(first),
            (asked, first) => asked.or(first),
        }
    }

    /// Whether no row from here on was created when those that fit were.
    fn is_over(&self, value: ValueRef<'_>) -> bool {
        let (ValueRef::Integer(created), SortKey::CreatedAt) = (value, self.wanted.sort.key) else { return false };
        let created = created as u64;
        match self.wanted.sort.descending {
            true => self.filter.from.is_some_and(|from| created < from),
            false => self.filter.to.is_some_and(|to| created >= to),
        }
    }

    fn places(
        &mut self,
        rows: &mut Rows<'_>,
        has: Has<'_>,
        check: bool,
        value: Option<SortValue>,
    ) -> Result<Option<Vec<Place>>, CatalogError> {
        let mut places = Vec::new();
        while places.len() < self.wanted.limit
            && let Some(row) = rows.next()?
        {
            let id: i64 = row.get(2)?;
            if self.left == 0 {
                return Ok(None);
            }
            self.left -= 1;
            if value.is_none() && self.is_over(row.get_ref(0)?) {
                break;
            }
            // What is being sealed stands here already, and is found in the tail.
            if id >= self.view.sealed_end || !has(id)? {
                continue;
            }
            if check {
                self.left = self.left.saturating_sub(ROW);
                if !self.filter.checks(&self.view.row(id)?) {
                    continue;
                }
            }
            let value = match (&value, row.get_ref(0)?) {
                (Some(value), _) => value.clone(),
                (None, ValueRef::Integer(number)) => SortValue::Number(number as u64),
                (None, value) => SortValue::Text(value.as_str().map_err(rusqlite::Error::from)?.to_owned()),
            };
            places.push((ListPosition { value, hash: KeyHash(hash_of(row.get(1)?)) }, id));
        }
        Ok(Some(places))
    }
}

/// The lowest value of an order: that of rows without one.
pub fn lowest(key: SortKey) -> SortValue {
    match key {
        SortKey::Title | SortKey::Slug => SortValue::Text(String::new()),
        SortKey::CreatedAt | SortKey::EditedAt | SortKey::Visits | SortKey::LastVisit => SortValue::Number(0),
    }
}

fn is_lowest(value: &SortValue) -> bool {
    match value {
        SortValue::Number(number) => *number == 0,
        SortValue::Text(text) => text.is_empty(),
    }
}

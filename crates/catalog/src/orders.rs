//! The orders of sealed rows: one table each, keyed by value and hash. A row with the value that most have (no title, no visits, not edited) stands in none:
//! its place follows from another order (`find.rs`), which keeps most new rows out of most tables.

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{CachedStatement, Connection, ToSql, params};
use waypost_protocol::listing::SortKey;

use crate::error::CatalogError;
use crate::row::{Row, Value};

/// All orders.
pub const ORDERS: [SortKey; 6] =
    [SortKey::CreatedAt, SortKey::EditedAt, SortKey::Title, SortKey::Slug, SortKey::Visits, SortKey::LastVisit];

/// The table of an order.
pub fn table(key: SortKey) -> &'static str {
    match key {
        SortKey::CreatedAt => "by_created",
        SortKey::EditedAt => "by_edited",
        SortKey::Title => "by_title",
        SortKey::Slug => "by_slug",
        SortKey::Visits => "by_visits",
        SortKey::LastVisit => "by_last",
    }
}

/// Whether a row stands in the table of an order.
pub fn stands_in(key: SortKey, row: &Row) -> bool {
    match key {
        SortKey::CreatedAt | SortKey::Slug => true,
        SortKey::EditedAt => row.edited().is_some(),
        SortKey::Title => !row.title().is_empty(),
        SortKey::Visits => row.visits > 0,
        SortKey::LastVisit => row.last > 0,
    }
}

/// A hash as it is stored: signed numbers in the same order.
pub fn stored_hash(hash: u64) -> i64 {
    (hash ^ 1 << 63) as i64
}

/// A hash that was stored.
pub fn hash_of(stored: i64) -> u64 {
    stored as u64 ^ 1 << 63
}

/// A value as a parameter.
pub struct Bound<'a>(pub Value<'a>);

impl ToSql for Bound<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self.0 {
            Value::Number(number) => ValueRef::Integer(i64::try_from(number).unwrap_or(i64::MAX)),
            Value::Text(text) => ValueRef::Text(text.as_bytes()),
        }))
    }
}

/// Puts rows into the table of an order.
pub struct Insert<'a>(CachedStatement<'a>);

impl<'a> Insert<'a> {
    /// Into the table of this order.
    pub fn into(conn: &'a Connection, key: SortKey) -> Result<Self, CatalogError> {
        let sql = format!("INSERT OR REPLACE INTO {}(value, hash, id) VALUES (?1, ?2, ?3)", table(key));
        Ok(Self(conn.prepare_cached(&sql)?))
    }

    /// Puts a row there.
    pub fn row(&mut self, value: Value<'_>, hash: i64, id: i64) -> Result<(), CatalogError> {
        self.0.execute(params![Bound(value), hash, id])?;
        Ok(())
    }
}

/// Takes a row out of the table of an order.
pub fn remove(conn: &Connection, key: SortKey, row: &Row) -> Result<(), CatalogError> {
    if stands_in(key, row) {
        let sql = format!("DELETE FROM {} WHERE value = ?1 AND hash = ?2", table(key));
        conn.prepare_cached(&sql)?.execute(params![Bound(row.value(key)), stored_hash(row.hash)])?;
    }
    Ok(())
}

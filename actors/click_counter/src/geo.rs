//! The location of an address, from a database in MaxMind's format that the operator provides. It is read again when the file changes.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use maxminddb::Reader;
use parking_lot::RwLock;
use serde::Deserialize;

/// The longest name of a city, in bytes.
const CITY_BYTES_MAX: usize = 64;

/// The location of an address, as far as the database knows it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Location {
    /// Two letters, or zeros.
    pub country: [u8; 2],
    /// Empty if unknown.
    pub city: Arc<str>,
}

type Database = Reader<Vec<u8>>;

/// The geographic database. Without a file, every location is unknown.
pub struct Geo {
    path: Option<PathBuf>,
    database: RwLock<Option<Arc<Database>>>,
    read_at: RwLock<Option<SystemTime>>,
    /// Increases when another database was read, so that cached locations are looked up again.
    version: AtomicU64,
}

/// Why the database cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("[clicks] geo_database: {}: {reason}", path.display())]
pub struct GeoError {
    path: PathBuf,
    reason: String,
}

impl GeoError {
    /// The file and the error, without the name of the configuration key.
    pub fn told(&self) -> String {
        format!("{}: {}", self.path.display(), self.reason)
    }
}

#[derive(Deserialize)]
struct Record<'a> {
    #[serde(borrow)]
    country: Option<Country<'a>>,
    #[serde(borrow)]
    city: Option<City<'a>>,
}

#[derive(Deserialize)]
struct Country<'a> {
    iso_code: Option<&'a str>,
}

#[derive(Deserialize)]
struct City<'a> {
    #[serde(borrow)]
    names: Option<Names<'a>>,
}

#[derive(Deserialize)]
struct Names<'a> {
    en: Option<&'a str>,
}

impl Geo {
    /// Reads the database, if one is configured.
    ///
    /// # Errors
    /// If the file cannot be read, or is not such a database.
    pub fn open(path: Option<PathBuf>) -> Result<Self, GeoError> {
        let geo = Self { path, database: RwLock::default(), read_at: RwLock::default(), version: AtomicU64::new(0) };
        geo.read()?;
        Ok(geo)
    }

    fn read(&self) -> Result<(), GeoError> {
        let Some(path) = &self.path else { return Ok(()) };
        let failed = |reason: String| GeoError { path: path.clone(), reason };
        let changed = std::fs::metadata(path).and_then(|found| found.modified()).map_err(|e| failed(e.to_string()))?;
        if *self.read_at.read() == Some(changed) {
            return Ok(());
        }
        let database = Reader::open_readfile(path).map_err(|error| failed(error.to_string()))?;
        *self.database.write() = Some(Arc::new(database));
        *self.read_at.write() = Some(changed);
        self.version.fetch_add(1, Ordering::Release);
        Ok(())
    }

    /// Reads the database again if the file has changed. The old one stays if that fails.
    pub fn refresh(&self) {
        if let Err(error) = self.read() {
            tracing::warn!(%error, "the geographic database could not be read again; the last one is used");
        }
    }

    /// The version of the database. Locations found with an earlier version may be out of date.
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Looks up the location of an address.
    pub fn locate(&self, address: IpAddr) -> Location {
        let Some(database) = self.database.read().clone() else { return Location::default() };
        let found =
            database.lookup(address.to_canonical()).ok().and_then(|found| found.decode::<Record>().ok().flatten());
        let Some(record) = found else { return Location::default() };
        let country = record.country.and_then(|country| country.iso_code).map(str::as_bytes);
        let country = match country {
            Some([a, b]) if a.is_ascii_uppercase() && b.is_ascii_uppercase() => [*a, *b],
            _ => [0; 2],
        };
        let city = record.city.and_then(|city| city.names).and_then(|names| names.en).unwrap_or_default();
        let plain = city.len() <= CITY_BYTES_MAX && !city.contains(char::is_control);
        Location { country, city: if plain { city.into() } else { "".into() } }
    }
}

//! Checks the files that the configuration names, as the node will use them: an error shows before anything is opened or changed.

use std::path::Path;

use waypost_click_counter::Geo;
use waypost_transport::TlsError;

use super::check::Checker;
use super::{Config, ConfigError};
use crate::pages::Pages;

/// Checks all of them.
pub(super) fn check(config: &Config, check: &Checker<'_>) -> Result<(), ConfigError> {
    if let Some(path) = &config.geo_database {
        Geo::open(Some(path.clone())).map_err(|error| {
            let right = "name a database in MaxMind's format, such as GeoLite2-City.mmdb, or leave it empty";
            check.invalid("[clicks] geo_database", format!("{}; {right}{}", error.told(), from_here(path)))
        })?;
    }
    if let Some(dir) = &config.pages_dir {
        Pages::load(Some(dir))
            .map_err(|error| check.invalid("[http] pages_dir", format!("{error}{}", from_here(dir))))?;
    }
    let Some(tls) = &config.tls else { return Ok(()) };
    let invalid = |error: TlsError| match error {
        TlsError::File { path, reason } => {
            let key = [("tls_ca", &tls.ca), ("tls_cert", &tls.cert), ("tls_key", &tls.key)];
            let key = key.iter().find(|(_, file)| **file == path).map_or("tls_ca, tls_cert, tls_key", |(key, _)| key);
            let right = if key == "tls_key" { "a private key" } else { "certificates" };
            let message =
                format!("{}: {reason}; it has to be a PEM file of {right}{}", path.display(), from_here(&path));
            check.invalid(&format!("[peer] {key}"), message)
        }
        error @ TlsError::Unusable(_) => check.invalid("[peer] tls_ca, tls_cert, tls_key", error.to_string()),
    };
    tls.load().map(|_| ()).map_err(invalid)
}

/// For a relative path: the directory in which it is looked for.
fn from_here(path: &Path) -> String {
    match std::env::current_dir() {
        Ok(here) if path.is_relative() => format!(" (looked for in {})", here.display()),
        _ => String::new(),
    }
}

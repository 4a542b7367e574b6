//! Secret texts: `Debug` does not show them, so neither do logs and panics.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::ConfigError;

/// The shortest secret that a user may set: 128 bits of base62.
const SECRET_CHARS_MIN: usize = 22;

/// The most bytes that are read from a file with a secret.
const FILE_BYTES_MAX: u64 = 4096;

/// A secret text.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct SecretText(String);

impl SecretText {
    /// The text itself.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Whether it is empty.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<String> for SecretText {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl std::fmt::Debug for SecretText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.is_empty() { "(none)" } else { "(secret)" })
    }
}

/// What is wrong with the text of a secret or a key.
pub(crate) fn flaw(text: &str) -> Option<&'static str> {
    if text.is_empty() {
        return Some("is empty");
    }
    if text.contains(['\n', '\r']) {
        return Some("has a line break in it; it has to hold one key and nothing else");
    }
    let plain = text.bytes().all(|byte| byte.is_ascii_graphic());
    (!plain).then_some("has characters that no key has: spaces, control characters, or characters beyond ASCII")
}

/// Reads a file that holds only a secret, without surrounding white space.
pub(crate) fn read_secret(path: &Path) -> std::io::Result<String> {
    read_secret_from(std::fs::File::open(path)?)
}

/// Like [`read_secret`], for an open file.
pub(crate) fn read_secret_from(file: std::fs::File) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).trim_start_matches('\u{feff}').trim().to_owned())
}

/// The file with the secret `name` from a service manager, if there is one: systemd's `LoadCredential=`, with `WAYPOST_ADMIN_KEY` as
/// `waypost.admin_key`.
fn credential(environment: &BTreeMap<String, String>, name: &str) -> Option<PathBuf> {
    let directory = environment.get("CREDENTIALS_DIRECTORY").filter(|directory| !directory.is_empty())?;
    let file = PathBuf::from(directory).join(name.to_ascii_lowercase().replacen('_', ".", 1));
    file.exists().then_some(file)
}

/// A secret from the variable `name`, from the file that `name` + `_FILE` names, or from the service manager.
pub(super) fn secret(environment: &BTreeMap<String, String>, name: &str) -> Result<Option<SecretText>, ConfigError> {
    let invalid = |place: &str, message: String| ConfigError::Invalid { place: place.to_owned(), message };
    let by_file = format!("{name}_FILE");
    let (place, what, text) = match (environment.get(name), environment.get(&by_file)) {
        (Some(_), Some(_)) => {
            return Err(invalid(name, format!("give it or {by_file}, not both")));
        }
        (Some(text), None) => (name, "it".to_owned(), text.trim().to_owned()),
        (None, Some(path)) => {
            let text = read_secret(path.as_ref()).map_err(|error| invalid(&by_file, format!("{path}: {error}")))?;
            (by_file.as_str(), path.clone(), text)
        }
        (None, None) => match credential(environment, name) {
            Some(file) => {
                let text = read_secret(&file)
                    .map_err(|error| invalid(&file.display().to_string(), format!("it cannot be read: {error}")))?;
                (name, file.display().to_string(), text)
            }
            None => return Ok(None),
        },
    };
    let right =
        format!("at least {SECRET_CHARS_MIN} visible ASCII characters, chosen at random (`openssl rand -hex 32`)");
    if let Some(flaw) = flaw(&text) {
        return Err(invalid(place, format!("{what} {flaw}; use {right}")));
    }
    if text.len() < SECRET_CHARS_MIN {
        return Err(invalid(place, format!("{what} is too short; use {right}")));
    }
    Ok(Some(SecretText(text)))
}

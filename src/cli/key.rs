//! The key that a command sends: from a variable or option, from a file, or the one that the server made for its own account.

use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use clap::Args;
use nix::fcntl::OFlag;
use reqwest::header::HeaderValue;
use serde_json::Value;
use url::Url;

use super::client::Failed;
use super::{exit, reach};
use crate::app::CLI_KEY_PREFIX;
use crate::config::{SecretText, flaw, read_secret, read_secret_from};
use crate::http::is_loopback;
use crate::node::CLI_KEY_FILE;

/// The data directory of a server without configuration.
const DATA_DIR_DEFAULT: &str = "waypost-data";

/// The options for the key.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct KeyArgs {
    /// The key, if the server requires one. Others on this machine can read command lines: use the variable, or a file
    #[arg(long, value_name = "KEY", env = "WAYPOST_API_KEY", hide_env_values = true)]
    pub(super) api_key: Option<SecretText>,
    /// A file with the key
    #[arg(long, value_name = "FILE", env = "WAYPOST_API_KEY_FILE")]
    pub(super) api_key_file: Option<PathBuf>,
    /// The data directory of the server, if it runs on this machine under this account. The command sends the key in its cli.key,
    /// and only to a loopback address. Without a key and this option, the command looks into the directory of
    /// WAYPOST_CONFIG, or waypost-data
    #[arg(long, value_name = "DIR", env = "WAYPOST_DATA_DIR")]
    pub(super) data_dir: Option<PathBuf>,
}

/// The source of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Source {
    Given,
    File(PathBuf),
    DataDir(PathBuf),
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Given => f.write_str("WAYPOST_API_KEY (or --api-key)"),
            Self::File(path) => write!(f, "the key file {} (WAYPOST_API_KEY_FILE or --api-key-file)", path.display()),
            Self::DataDir(path) => write!(f, "{}", path.display()),
        }
    }
}

/// The key to send, or why there is none.
#[derive(Debug, Clone)]
pub(super) enum Key {
    Sent { source: String, of_data_dir: bool },
    None { because: Option<String> },
}

fn usage(message: String) -> Failed {
    Failed::new(exit::USAGE, message)
}

fn header(text: &str, source: &Source) -> Result<HeaderValue, Failed> {
    if let Some(flaw) = flaw(text) {
        return Err(usage(format!("{source} {flaw}")));
    }
    let mut value = HeaderValue::from_str(text).map_err(|_| usage(format!("{source} is not a valid key")))?;
    value.set_sensitive(true);
    Ok(value)
}

/// Reads the key that a server has made. The directory may belong to somebody else, so no symbolic link is followed and no pipe is read.
fn read_own_file(path: &Path) -> std::io::Result<String> {
    let flags = (OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits();
    let file = std::fs::OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(std::io::Error::other("it is not a regular file"));
    }
    read_secret_from(file)
}

impl KeyArgs {
    /// Finds the key for the server at `base`.
    ///
    /// # Errors
    /// If a key was given that cannot be sent.
    pub(super) fn find(&self, base: &Url) -> Result<(Option<HeaderValue>, Key), Failed> {
        let (text, source) = match self.chosen()? {
            (Some(key), _) => (key.reveal().trim().to_owned(), Source::Given),
            (None, Some(path)) => {
                let source = Source::File(path.clone());
                let text = read_secret(path).map_err(|error| usage(format!("{source} cannot be read: {error}")))?;
                (text, source)
            }
            (None, None) => return Ok(self.of_data_dir(base)),
        };
        let value = header(&text, &source)?;
        if text.starts_with(CLI_KEY_PREFIX) && !is_loopback(base) {
            return Err(usage(format!(
                "{source} holds the key of a server's own account ({CLI_KEY_FILE}), which is sent to a loopback address only; {base} needs the \
                 admin key"
            )));
        }
        Ok((Some(value), Key::Sent { source: source.to_string(), of_data_dir: false }))
    }

    /// The key and its file, of which at most one is given: what stands on the command line counts more than a variable.
    fn chosen(&self) -> Result<(Option<&SecretText>, Option<&PathBuf>), Failed> {
        let (Some(key), Some(file)) = (&self.api_key, &self.api_key_file) else {
            return Ok((self.api_key.as_ref(), self.api_key_file.as_ref()));
        };
        let is_typed = |option: &str| {
            std::env::args_os().any(|argument| {
                let rest = argument.as_encoded_bytes().strip_prefix(option.as_bytes());
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"="))
            })
        };
        match (is_typed("--api-key"), is_typed("--api-key-file")) {
            (true, false) => Ok((Some(key), None)),
            (false, true) => Ok((None, Some(file))),
            (true, true) => Err(usage("--api-key and --api-key-file are two sources of the key; give one".to_owned())),
            (false, false) => {
                Err(usage("WAYPOST_API_KEY and WAYPOST_API_KEY_FILE are two sources of the key; unset one".to_owned()))
            }
        }
    }

    /// The key that the server made for its own account. That there is none matters only if the server requires one.
    fn of_data_dir(&self, base: &Url) -> (Option<HeaderValue>, Key) {
        let of_file = if self.data_dir.is_none() { reach::data_dir() } else { None };
        let dir = self.data_dir.as_deref().or(of_file.as_deref()).unwrap_or(Path::new(DATA_DIR_DEFAULT));
        let path = dir.join(CLI_KEY_FILE);
        let none = |because: String| (None, Key::None { because: Some(because) });
        if !is_loopback(base) {
            let told = || none(format!("the key in {} is sent to a loopback address only", path.display()));
            return if self.data_dir.is_some() { told() } else { (None, Key::None { because: None }) };
        }
        match read_own_file(&path) {
            // Any other content is never sent.
            Ok(text) if !text.starts_with(CLI_KEY_PREFIX) => {
                none(format!("{} does not hold a key that a server made for its own account", path.display()))
            }
            Ok(text) => match header(&text, &Source::DataDir(path.clone())) {
                Ok(value) => (Some(value), Key::Sent { source: path.display().to_string(), of_data_dir: true }),
                Err(failed) => none(failed.message),
            },
            Err(_) if self.data_dir.is_none() => (None, Key::None { because: None }),
            Err(error) => none(format!("{} cannot be read: {error}", path.display())),
        }
    }
}

impl Key {
    /// The message for a user whose request was answered `401`. `problem` is the server's answer.
    pub(super) fn refused(&self, base: &str, problem: &Value) -> String {
        let remedy = format!(
            "Set WAYPOST_API_KEY to the admin key, or WAYPOST_API_KEY_FILE to a file that holds it; on the server's machine and under its account, \
             --data-dir DIR sends the key in its DIR/{CLI_KEY_FILE}"
        );
        match self {
            Self::Sent { source, of_data_dir: true } => format!(
                "the server at {base} does not know the key in {source}: a server makes a new one at each start, for its own data directory. \
                 {remedy}"
            ),
            Self::Sent { source, .. } => {
                format!("the server at {base} does not know the key that {source} holds. {remedy}")
            }
            Self::None { because } => {
                let why = match problem["reason"].as_str() {
                    Some("always") => "backups, changes of the cluster and links to the dashboard always need a key",
                    Some("passed-on") => "the server is reached through a proxy, so it needs a key",
                    Some("other-account") => {
                        "the request comes from another account than the server's (that of this command, or of a proxy), so it needs a key"
                    }
                    Some("unknown-account") => {
                        "the server cannot tell under which account this command runs, so it needs a key"
                    }
                    _ => "the server requires a key",
                };
                let because = because.as_ref().map(|because| format!(" ({because})")).unwrap_or_default();
                // Only a server without an admin key asks where a request comes from.
                let first = match problem["reason"].as_str() {
                    Some("passed-on" | "other-account" | "unknown-account") => {
                        " It has none: start it with WAYPOST_ADMIN_KEY, or with [http] public_url, which prints a new one."
                    }
                    _ => "",
                };
                format!("{why}.{first} {remedy}{because}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADMIN: &str = "wp_admin_0123456789abcdefghijkl";
    const CLI: &str = "wp_cli_0123456789abcdefghijkl";

    fn key(args: &KeyArgs, base: &str) -> Result<Option<String>, String> {
        let found = args.find(&Url::parse(base).unwrap()).map_err(|failed| failed.message)?;
        Ok(found.0.map(|value| value.to_str().unwrap().to_owned()))
    }

    #[test]
    fn the_key_of_a_data_directory_goes_to_loopback_addresses_only() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join(CLI_KEY_FILE);
        std::fs::write(&file, format!("{CLI}\n")).unwrap();
        let of_dir = KeyArgs { data_dir: Some(dir.path().to_owned()), ..KeyArgs::default() };
        let of_file = KeyArgs { api_key_file: Some(file), ..KeyArgs::default() };
        let given = KeyArgs { api_key: Some(CLI.to_owned().into()), ..KeyArgs::default() };
        for near in ["http://127.0.0.1:8080", "http://127.9.9.9:1", "http://[::1]:8080", "http://localhost:8080"] {
            for args in [&of_dir, &of_file, &given] {
                assert_eq!(key(args, near), Ok(Some(CLI.to_owned())), "{near} {args:?}");
            }
        }
        for far in
            ["http://192.0.2.1:8080", "https://go.example", "http://127.0.0.1.example", "http://localhost.example"]
        {
            assert_eq!(key(&of_dir, far), Ok(None), "{far}");
            for args in [&of_file, &given] {
                assert!(key(args, far).unwrap_err().contains("loopback address only"), "{far} {args:?}");
            }
        }
        // The admin key may be sent to any address.
        let admin = KeyArgs { api_key: Some(ADMIN.to_owned().into()), ..KeyArgs::default() };
        assert_eq!(key(&admin, "https://go.example"), Ok(Some(ADMIN.to_owned())));
    }

    #[test]
    fn nothing_but_a_key_of_a_server_is_taken_out_of_a_data_directory() {
        let dir = tempfile::tempdir().unwrap();
        let (token, file) = (dir.path().join("token"), dir.path().join(CLI_KEY_FILE));
        let args = KeyArgs { data_dir: Some(dir.path().to_owned()), ..KeyArgs::default() };
        let found = || key(&args, "http://127.0.0.1:8080");
        std::fs::write(&file, "a-secret-of-something-else").unwrap();
        assert_eq!(found(), Ok(None));
        std::fs::remove_file(&file).unwrap();
        std::fs::write(&token, CLI).unwrap();
        std::os::unix::fs::symlink(&token, &file).unwrap();
        assert_eq!(found(), Ok(None), "no link is followed");
        std::fs::remove_file(&file).unwrap();
        nix::unistd::mkfifo(&file, nix::sys::stat::Mode::S_IRUSR).unwrap();
        assert_eq!(found(), Ok(None), "nobody writes to it");
    }

    #[test]
    fn a_key_that_is_given_wins_over_that_of_the_data_directory() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(CLI_KEY_FILE), CLI).unwrap();
        let mut args = KeyArgs { data_dir: Some(dir.path().to_owned()), ..KeyArgs::default() };
        args.api_key = Some(ADMIN.to_owned().into());
        assert_eq!(key(&args, "http://127.0.0.1:8080"), Ok(Some(ADMIN.to_owned())));
    }

    #[test]
    fn a_file_that_holds_no_key_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("key");
        for (content, part) in [
            ("", "is empty"),
            (" \n\n", "is empty"),
            ("one\ntwo", "has a line break"),
            ("one two", "characters that no key has"),
            ("schlüssel", "characters that no key has"),
            ("a\0b", "characters that no key has"),
        ] {
            std::fs::write(&file, content).unwrap();
            let args = KeyArgs { api_key_file: Some(file.clone()), ..KeyArgs::default() };
            let told = key(&args, "http://127.0.0.1:8080").unwrap_err();
            assert!(told.contains(part) && told.contains("WAYPOST_API_KEY_FILE") && told.contains("/key"), "{told}");
        }
        // Editors add these; they are not part of the key.
        for content in [format!("{ADMIN}\r\n"), format!("\u{feff}{ADMIN}\n")] {
            std::fs::write(&file, content).unwrap();
            let args = KeyArgs { api_key_file: Some(file.clone()), ..KeyArgs::default() };
            assert_eq!(key(&args, "http://127.0.0.1:8080"), Ok(Some(ADMIN.to_owned())));
        }
        let missing = KeyArgs { api_key_file: Some(dir.path().join("none")), ..KeyArgs::default() };
        assert!(key(&missing, "http://127.0.0.1:8080").unwrap_err().contains("cannot be read"));
        let empty = KeyArgs { api_key: Some(String::new().into()), ..KeyArgs::default() };
        assert!(key(&empty, "http://127.0.0.1:8080").unwrap_err().contains("WAYPOST_API_KEY"));
    }

    #[test]
    fn no_debug_output_shows_a_key() {
        let args = KeyArgs { api_key: Some(ADMIN.to_owned().into()), ..KeyArgs::default() };
        assert!(!format!("{args:?}").contains(ADMIN));
    }

    #[test]
    fn who_is_refused_by_a_server_without_a_key_is_told_how_it_gets_one() {
        let told = |reason: &str| {
            let none = Key::None { because: None };
            none.refused("http://127.0.0.1:8080", &serde_json::json!({ "reason": reason }))
        };
        for reason in ["passed-on", "other-account", "unknown-account"] {
            assert!(told(reason).contains("It has none: start it with WAYPOST_ADMIN_KEY"), "{}", told(reason));
        }
        for reason in ["always", "missing"] {
            assert!(!told(reason).contains("It has none"), "{}", told(reason));
        }
    }
}

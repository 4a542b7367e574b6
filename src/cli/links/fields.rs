//! The options of a link's fields. What is not given is not sent, so that a command works with a server that does not know a field yet.

use std::io::Read;
use std::path::{Path, PathBuf};

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use serde_json::{Map, Value};

use crate::cli::client::Failed;
use crate::cli::{dates, exit};

/// The fields that can be set when a link is created, and changed later.
#[derive(Debug, Default, Args)]
pub(super) struct FieldArgs {
    /// What people call the link
    #[arg(long)]
    title: Option<String>,
    /// A tag; repeat the option for several, or put commas between. In an edit they replace the present ones
    #[arg(long = "tag", value_name = "TAG", value_delimiter = ',')]
    tags: Vec<String>,
    /// A note for those who manage the link
    #[arg(long)]
    note: Option<String>,
    /// When the link begins, like --valid-until; a date is the begin of that day. Before it the link answers 404
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    valid_since: Option<String>,
    /// When the link ends: 2030-12-31 (the end of that day here), 2030-12-31T18:00, with an offset such
    /// as 2030-12-31T18:00:00+01:00, or +30d, +12h from now
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    valid_until: Option<String>,
    /// How many visitors are sent to the URL; then the link answers 410
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    max_visits: Option<u64>,
    /// A file with the password that visitors have to give, in its first line; - for standard input. (Others on this machine
    /// can read command lines)
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// Where visitors are sent while the link is expired, exhausted or disabled, instead of 410
    #[arg(long, value_name = "URL")]
    expired_url: Option<String>,
    /// The status of the redirect; browsers keep a permanent one (301, 308) for up to an hour
    #[arg(long, value_name = "STATUS", value_parser = PossibleValuesParser::new(["301", "302", "307", "308"]).try_map(|text| text.parse::<u16>()))]
    redirect_status: Option<u16>,
    /// Add the visitor's query to that of the URL
    #[arg(long)]
    forward_query: bool,
    /// Add the path after the code to that of the URL
    #[arg(long)]
    forward_path: bool,
    /// Let crawlers follow the link: robots.txt lists it
    #[arg(long)]
    crawlable: bool,
    /// The link answers 410 until it is enabled
    #[arg(long)]
    disable: bool,
    /// A file with the rules that lead visitors to different URLs: a JSON list, as `links show --json` has it in "rules"; - reads standard
    /// input. In an edit they replace the present ones
    #[arg(long, value_name = "FILE")]
    rules: Option<PathBuf>,
}

impl FieldArgs {
    /// The JSON of the fields that are given.
    pub(super) fn given(&self) -> Result<Map<String, Value>, Failed> {
        let mut given = Map::new();
        let mut set = |name: &str, value: Option<Value>| given.extend(value.map(|value| (name.to_owned(), value)));
        let text = |text: &Option<String>| text.clone().map(Value::from);
        let time = |option: &str, text: &Option<String>, of| {
            let read = |text: &String| dates::read(option, text, of, &dates::here()?).map(Value::from);
            text.as_ref().map(read).transpose()
        };
        let flag = |given: bool| given.then_some(Value::from(true));
        set("title", text(&self.title));
        set("tags", (!self.tags.is_empty()).then(|| self.tags.clone().into()));
        set("note", text(&self.note));
        set("validSince", time("--valid-since", &self.valid_since, dates::Of::Begin)?);
        set("validUntil", time("--valid-until", &self.valid_until, dates::Of::End)?);
        set("maxVisits", self.max_visits.map(Value::from));
        set("password", self.password_file.as_deref().map(password_in).transpose()?.map(Value::from));
        set("expiredUrl", text(&self.expired_url));
        set("redirectStatus", self.redirect_status.map(Value::from));
        set("forwardQuery", flag(self.forward_query));
        set("forwardPath", flag(self.forward_path));
        set("crawlable", flag(self.crawlable));
        set("disabled", flag(self.disable));
        set("rules", self.rules.as_deref().map(rules_in).transpose()?);
        Ok(given)
    }
}

/// The longest file of rules, in bytes: the server accepts no longer request by default.
const RULES_FILE_BYTES_MAX: u64 = 1 << 20;

/// The list of rules in a file. What is in the list is for the server to check.
fn rules_in(path: &Path) -> Result<Value, Failed> {
    let name = if path == Path::new("-") { "standard input".to_owned() } else { path.display().to_string() };
    let refused = |reason: String| Failed::new(exit::USAGE, format!("--rules: {name}: {reason}"));
    let input: Box<dyn Read> = match path == Path::new("-") {
        true => Box::new(std::io::stdin()),
        false => Box::new(std::fs::File::open(path).map_err(|error| refused(error.to_string()))?),
    };
    let mut text = String::new();
    let read = input.take(RULES_FILE_BYTES_MAX + 1).read_to_string(&mut text);
    match read.map_err(|error| refused(error.to_string()))? as u64 {
        bytes if bytes > RULES_FILE_BYTES_MAX => {
            Err(refused(format!("it is longer than {RULES_FILE_BYTES_MAX} bytes, which no rules are")))
        }
        _ => match serde_json::from_str(&text) {
            Ok(rules @ Value::Array(_)) => Ok(rules),
            Ok(_) => Err(refused(
                "it is not a JSON list; give one such as [{\"conditions\":[{\"type\":\"device\",\"value\":\"ios\"}],\"longUrl\":\"https://…\"}]".to_owned(),
            )),
            Err(error) => Err(refused(format!("it is not JSON: {error}"))),
        },
    }
}

/// The most bytes that are read from a file with a password.
const PASSWORD_BYTES_MAX: u64 = 4096;

/// The password in the first line of a file.
fn password_in(path: &Path) -> Result<String, Failed> {
    let failed = |error: std::io::Error| {
        Failed::new(exit::USAGE, format!("--password-file {}: {}", path.display(), crate::account::told(&error)))
    };
    let mut text = String::new();
    match path.as_os_str() == "-" {
        true => std::io::stdin().take(PASSWORD_BYTES_MAX).read_to_string(&mut text),
        false => std::fs::File::open(path).and_then(|file| file.take(PASSWORD_BYTES_MAX).read_to_string(&mut text)),
    }
    .map_err(failed)?;
    match text.lines().next() {
        Some(password) if !password.is_empty() => Ok(password.to_owned()),
        _ => Err(Failed::new(exit::USAGE, format!("--password-file {}: its first line is empty", path.display()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_rules_has_a_list() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("rules.json");
        let of = |text: &str| {
            std::fs::write(&path, text).unwrap();
            rules_in(&path).map_err(|failed| failed.message)
        };
        assert_eq!(of("[]"), Ok(Value::Array(vec![])));
        for (text, part) in [("{}", "not a JSON list"), ("[", "not JSON"), ("", "not JSON")] {
            let refused = of(text).unwrap_err();
            assert!(refused.contains("rules.json") && refused.contains(part), "{refused}");
        }
        assert!(of(&" ".repeat(RULES_FILE_BYTES_MAX as usize + 1)).unwrap_err().contains("longer than"));
        assert!(rules_in(Path::new("/nothing/here")).is_err());
    }
}

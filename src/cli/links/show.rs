//! `waypost links show`, and how the commands print a link.

use clap::Args;
use reqwest::Method;
use serde_json::Value;

use crate::cli::client::{Answer, Failed, Server, ServerArgs};
use crate::cli::domains::DomainArgs;
use crate::cli::{exit, table};
use crate::say;

#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// The code, or the whole short URL
    code: String,
    #[command(flatten)]
    domain: DomainArgs,
    /// Print the link as JSON, with its version in "etag"
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

/// The fields in the order in which they are shown, with their names for people. The others follow under the names that they have in JSON.
const KNOWN: &[(&str, &str)] = &[
    ("shortUrl", "short URL"),
    ("longUrl", "leads to"),
    ("state", "state"),
    ("title", "title"),
    ("tags", "tags"),
    ("note", "note"),
    ("createdAt", "created"),
    ("validSince", "valid since"),
    ("validUntil", "valid until"),
    ("maxVisits", "visits at most"),
    ("visitsLeft", "visits left"),
    ("protected", "password"),
    ("expiredUrl", "expired URL"),
    ("redirectStatus", "redirect status"),
    ("forwardQuery", "forward query"),
    ("forwardPath", "forward path"),
    ("crawlable", "crawlable"),
    ("rules", "rules"),
    ("visits", "visits"),
];

/// They repeat what the short URL and the state say.
const HIDDEN: &[&str] = &["id", "shortCode", "domain", "disabled"];

pub(super) async fn show(args: ShowArgs) -> Result<u8, Failed> {
    let server = Server::new(&args.server)?;
    let path = args.domain.link(&args.code, &server).await?.path("/api/v1/links", "");
    let answer = server.send(Method::GET, &path, None, None).await?;
    if !answer.status.is_success() {
        return Err(answer.refused());
    }
    print(&answer, args.json);
    Ok(exit::OK)
}

/// Prints the link of an answer.
pub(super) fn print(answer: &Answer, json: bool) {
    if json {
        let mut link = answer.body.clone();
        if let (Some(link), Some(etag)) = (link.as_object_mut(), &answer.etag) {
            link.insert("etag".to_owned(), etag.as_str().into());
        }
        return say!("{link}");
    }
    let mut rows = rows(&answer.body);
    rows.extend(answer.etag.clone().map(|etag| ("version".to_owned(), etag)));
    say!("{}", table::pairs(&rows, table::width()));
}

/// The fields that are set, with their names.
fn rows(link: &Value) -> Vec<(String, String)> {
    let link = link.as_object();
    let known = KNOWN.iter().filter_map(|(name, shown)| Some((*shown, link?.get(*name)?)));
    let known = known.map(|(shown, value)| (shown, told(shown, value)));
    let is_known = |name: &str| HIDDEN.contains(&name) || KNOWN.iter().any(|(known, _)| *known == name);
    let others = link.into_iter().flatten().filter(|(name, _)| !is_known(name));
    let all = known.chain(others.map(|(name, value)| (name.as_str(), cell(value))));
    all.filter_map(|(name, text)| Some((name, text?))).flat_map(|(name, text)| lines(name, &text)).collect()
}

/// The rows of a field: a note has one for each of its lines, and rules have one each.
fn lines(name: &str, text: &str) -> Vec<(String, String)> {
    if !matches!(name, "note" | "rules") {
        return vec![(name.to_owned(), text.to_owned())];
    }
    let names = std::iter::once(name).chain(std::iter::repeat(""));
    names.zip(text.lines()).map(|(name, line)| (name.to_owned(), line.to_owned())).collect()
}

/// The value of a known field as people read it; `None` if it is what a link has without it.
fn told(shown: &str, value: &Value) -> Option<String> {
    match shown {
        "redirect status" if *value == 302 => None,
        "state" if *value == "active" => None,
        "state" if *value == "notYet" => Some("not yet valid".to_owned()),
        "rules" => value.as_array().filter(|rules| !rules.is_empty()).map(|rules| {
            let rules = rules.iter().enumerate().map(|(at, told)| format!("{}. {}", at + 1, rule(told)));
            rules.collect::<Vec<_>>().join("\n")
        }),
        _ => cell(value),
    }
}

/// A rule in one line: what has to hold, and where it leads. What this version does not know is shown as it came.
fn rule(rule: &Value) -> String {
    let texts =
        |list: &Value, text: fn(&Value) -> String| list.as_array().map(|all| all.iter().map(text).collect::<Vec<_>>());
    let conditions = texts(&rule["conditions"], |condition| {
        let parts = ["type", "name", "value"].iter().filter_map(|part| condition[*part].as_str());
        parts.collect::<Vec<_>>().join(" ")
    });
    let when = conditions.filter(|all| !all.is_empty()).map_or_else(|| "all others".to_owned(), |all| all.join(", "));
    let split =
        texts(&rule["weights"], |one| format!("{} to {}", one["weight"], one["longUrl"].as_str().unwrap_or_default()));
    let leads = split.map(|all| all.join(", ")).or_else(|| rule["longUrl"].as_str().map(str::to_owned));
    format!("{when}: {}", leads.unwrap_or_else(|| rule.to_string()))
}

/// A value as people read it; `None` if it is not set.
fn cell(value: &Value) -> Option<String> {
    match value {
        Value::Null | Value::Bool(false) => None,
        Value::String(text) => Some(text.clone()),
        Value::Bool(true) => Some("yes".to_owned()),
        Value::Array(values) if values.iter().all(Value::is_string) => {
            let texts: Vec<&str> = values.iter().filter_map(Value::as_str).collect();
            (!texts.is_empty()).then(|| texts.join(", "))
        }
        Value::Object(parts) if parts.values().all(Value::is_number) => {
            let parts: Vec<String> = parts.iter().map(|(name, number)| format!("{name} {number}")).collect();
            Some(parts.join(", "))
        }
        other => Some(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_that_are_set_are_shown_also_those_of_a_later_version() {
        let link = json!({
            "id": "0-a", "shortCode": "a", "longUrl": "https://example.com/", "shortUrl": "https://go.example/a",
            "validUntil": null, "later": "x", "labels": ["one", "two"], "tags": [], "on": true, "off": false, "redirectStatus": 302,
            "forwardQuery": true, "forwardPath": false, "disabled": true, "visits": { "bots": 1, "total": 3 }, "parts": [{ "a": 1 }],
            "rules": [],
        });
        let rows = rows(&link);
        let rows: Vec<(&str, &str)> = rows.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
        assert_eq!(rows[..2], [("short URL", "https://go.example/a"), ("leads to", "https://example.com/")]);
        let mut others = rows[2..].to_vec();
        others.sort_unstable();
        let expected = [
            ("forward query", "yes"),
            ("labels", "one, two"),
            ("later", "x"),
            ("on", "yes"),
            ("parts", "[{\"a\":1}]"),
            ("visits", "bots 1, total 3"),
        ];
        assert_eq!(others, expected);
    }

    #[test]
    fn a_note_has_its_lines_and_no_other_text_has() {
        let rows = rows(&json!({ "title": "a\nb", "note": "first\r\n\nthird" }));
        let expected = [("title", "a\nb"), ("note", "first"), ("", ""), ("", "third")];
        assert_eq!(rows, expected.map(|(name, text)| (name.to_owned(), text.to_owned())));
    }

    #[test]
    fn rules_have_a_line_each() {
        let rows = rows(&json!({ "rules": [
            { "conditions": [{ "type": "device", "value": "ios" }, { "type": "query", "name": "ref", "value": "x" }], "longUrl": "https://a.b/" },
            { "conditions": [], "weights": [{ "longUrl": "https://c.d/", "weight": 70 }, { "longUrl": "https://e.f/", "weight": 30 }] },
            { "conditions": [], "later": 1 },
        ] }));
        let expected = [
            ("rules", "1. device ios, query ref x: https://a.b/"),
            ("", "2. all others: 70 to https://c.d/, 30 to https://e.f/"),
            ("", "3. all others: {\"conditions\":[],\"later\":1}"),
        ];
        assert_eq!(rows, expected.map(|(name, text)| (name.to_owned(), text.to_owned())));
    }

    #[test]
    fn the_state_is_shown_unless_visitors_get_the_target() {
        let shown = |state: &str| rows(&json!({ "state": state }));
        assert_eq!(shown("active"), []);
        for (state, text) in [
            ("notYet", "not yet valid"),
            ("expired", "expired"),
            ("exhausted", "exhausted"),
            ("disabled", "disabled"),
            ("x", "x"),
        ] {
            assert_eq!(shown(state), [("state".to_owned(), text.to_owned())]);
        }
    }
}

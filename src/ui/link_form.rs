//! The form of a link: its properties as texts, what somebody has changed of them, and both as they go back and forth.
//!
//! Names are those of the JSON of a link, so that a form becomes the same edit as a request of the API.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde_json::{Map, Value, json};
use waypost_protocol::properties::{
    CRAWLABLE, DISABLED, EXPIRED_URL, FORWARD_PATH, FORWARD_QUERY, MAX_VISITS, NOTE, REDIRECT_STATUS, TAGS, TITLE,
    VALID_SINCE,
};
use waypost_protocol::{Link, UnixMs};

use super::Form;
use crate::times::format_zoned;

/// How the text of a field becomes a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// As it is.
    Required,
    /// As it is; an empty one is none.
    Text,
    /// Separated by commas.
    Tags,
    /// A date and a time of day on the clock of the visitor.
    Time,
    /// A number.
    Number,
    /// `on`, or nothing.
    Flag,
}

/// The name of each field, the key of its label, and its kind.
const FIELDS: &[(&str, &str, Kind)] = &[
    ("longUrl", "link.field.target", Kind::Required),
    ("title", "link.field.title", Kind::Text),
    ("tags", "link.field.tags", Kind::Tags),
    ("note", "link.field.note", Kind::Text),
    ("validSince", "link.field.since", Kind::Time),
    ("validUntil", "link.field.until", Kind::Time),
    ("maxVisits", "link.field.limit", Kind::Number),
    ("redirectStatus", "link.field.status", Kind::Number),
    ("forwardQuery", "link.field.query", Kind::Flag),
    ("forwardPath", "link.field.path", Kind::Flag),
    ("expiredUrl", "link.field.expired-url", Kind::Text),
    ("crawlable", "link.field.crawlable", Kind::Flag),
    ("disabled", "link.field.disabled", Kind::Flag),
];

/// Characters of the print of a field: enough to see that a text is another one. Who makes one with the same print deceives himself only.
const PRINT: usize = 12;

/// A number that is none of those that a property can have.
const NO_NUMBER: u64 = 0;

/// The form of a link as it is. Times are those of a zone.
pub fn form_of(link: &Link, zone: &TimeZone) -> Form {
    let fields = &link.spec.fields;
    let flag = |set: bool| if set { "on".to_owned() } else { String::new() };
    let time = |at: Option<UnixMs>| at.map(|at| local(at, zone)).unwrap_or_default();
    let tags = TAGS.of(fields).map(|tags| tags.iter().collect::<Vec<_>>().join(", "));
    let values = [
        ("longUrl", link.spec.target.as_str().to_owned()),
        ("title", TITLE.of(fields).map(|title| title.as_str().to_owned()).unwrap_or_default()),
        ("tags", tags.unwrap_or_default()),
        ("note", NOTE.of(fields).map(|note| note.as_str().to_owned()).unwrap_or_default()),
        ("validSince", time(VALID_SINCE.of(fields))),
        ("validUntil", time(link.spec.valid_until)),
        ("maxVisits", MAX_VISITS.of(fields).map(|limit| limit.get().to_string()).unwrap_or_default()),
        ("redirectStatus", REDIRECT_STATUS.of(fields).map(|of| u16::from(of).to_string()).unwrap_or_default()),
        ("forwardQuery", flag(FORWARD_QUERY.is_in(fields))),
        ("forwardPath", flag(FORWARD_PATH.is_in(fields))),
        ("expiredUrl", EXPIRED_URL.of(fields).map(|url| url.as_str().to_owned()).unwrap_or_default()),
        ("crawlable", flag(CRAWLABLE.is_in(fields))),
        ("disabled", flag(DISABLED.is_in(fields))),
    ];
    Form::of(values.map(|(name, value)| (name.to_owned(), value)))
}

/// The prints of all fields: a form carries those with which it was made, and so tells what was changed since.
pub fn prints(form: &Form) -> String {
    let mut prints = String::with_capacity(FIELDS.len() * PRINT);
    for (name, ..) in FIELDS {
        prints.push_str(&blake3::hash(text_of(form, name).as_bytes()).to_hex()[..PRINT]);
    }
    prints
}

/// The fields that have other texts than those with these prints. Without prints, all.
pub fn changed_since(form: &Form, before: &str) -> Vec<&'static str> {
    let now = prints(form);
    let part = |of: &str, at: usize| of.get(at * PRINT..(at + 1) * PRINT).map(str::to_owned);
    let changed = |at: &usize| part(before, *at) != part(&now, *at);
    (0..FIELDS.len()).filter(changed).map(|at| FIELDS[at].0).collect()
}

/// Some fields of a form as the JSON of an edit. A text that is no value is given as it is, so that the edit is refused with its reason.
pub fn edit_of(form: &Form, names: &[&str], zone: &TimeZone) -> Map<String, Value> {
    let fields = FIELDS.iter().filter(|(name, ..)| names.contains(name));
    fields.map(|(name, _, kind)| ((*name).to_owned(), value(*kind, &text_of(form, name), zone))).collect()
}

/// The names of all fields.
pub fn field_names() -> impl Iterator<Item = &'static str> {
    FIELDS.iter().map(|field| field.0)
}

/// The text of a field. Browsers send the ends of lines in another form than they were shown.
fn text_of(form: &Form, name: &str) -> String {
    form.value(name).replace("\r\n", "\n")
}

/// The key of the label of a field.
pub fn field_label(name: &str) -> &'static str {
    FIELDS.iter().find(|field| field.0 == name).map_or("link.field.password", |field| field.1)
}

fn value(kind: Kind, text: &str, zone: &TimeZone) -> Value {
    let trimmed = text.trim();
    match kind {
        Kind::Required => json!(text),
        Kind::Flag => json!(!trimmed.is_empty()),
        _ if trimmed.is_empty() => Value::Null,
        Kind::Text => json!(text),
        Kind::Tags => json!(text.split(',').map(str::trim).filter(|tag| !tag.is_empty()).collect::<Vec<_>>()),
        Kind::Time => json!(instant(trimmed, zone).unwrap_or_else(|| trimmed.to_owned())),
        Kind::Number => json!(trimmed.parse().unwrap_or(NO_NUMBER)),
    }
}

/// A time as an input of the type `datetime-local` has it.
pub fn local(at: UnixMs, zone: &TimeZone) -> String {
    let stamp = i64::try_from(at.0).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    stamp.map_or_else(String::new, |stamp| {
        let zoned = stamp.to_zoned(zone.clone());
        let format = if zoned.second() == 0 { "%Y-%m-%dT%H:%M" } else { "%Y-%m-%dT%H:%M:%S" };
        zoned.strftime(format).to_string()
    })
}

/// The time of such an input, as RFC 3339.
pub fn instant(text: &str, zone: &TimeZone) -> Option<String> {
    let time: DateTime = text.parse().ok()?;
    Some(format_zoned(&time.to_zoned(zone.clone()).ok()?))
}

#[cfg(test)]
mod tests {
    use waypost_protocol::{Code, LinkKey, LinkSpec, Target};

    use super::*;

    fn berlin() -> TimeZone {
        TimeZone::get("Europe/Berlin").unwrap()
    }

    fn link() -> Link {
        let target = Target::parse("https://example.com/a", &[], 8192).unwrap();
        Link {
            key: LinkKey::new(Code::parse_slug("code").unwrap()),
            spec: LinkSpec { valid_until: Some(UnixMs(1_790_000_012_345)), ..LinkSpec::to(target) },
            created_at: UnixMs(1),
            version: 3,
            written_at: 9,
            created_by: 0,
            generated: false,
        }
    }

    #[test]
    fn what_nobody_touched_is_not_changed_and_so_keeps_its_milliseconds() {
        let form = form_of(&link(), &berlin());
        assert_eq!(form.value("validUntil"), "2026-09-21T16:13:32");
        // A browser sends no box that is not ticked.
        let sent = Form::of(
            field_names().filter(|name| *name != "disabled").map(|name| (name.to_owned(), form.value(name).to_owned())),
        );
        assert_eq!(changed_since(&sent, &prints(&form)), [""; 0]);
        let mut other = form.clone();
        other.set("title", "New");
        other.set("disabled", "on");
        assert_eq!(changed_since(&other, &prints(&form)), ["title", "disabled"]);
        assert_eq!(changed_since(&other, "").len(), FIELDS.len());
    }

    #[test]
    fn lines_of_a_note_are_the_same_as_a_browser_sends_them() {
        let note = |text: &str| Form::of([("note".to_owned(), text.to_owned())]);
        assert_eq!(changed_since(&note("a\r\nb"), &prints(&note("a\nb"))), [""; 0]);
    }

    #[test]
    fn a_form_becomes_the_json_of_an_edit() {
        let mut form = Form::default();
        for (name, text) in [
            ("longUrl", " https://a.example/ "),
            ("tags", "one,, two ,"),
            ("note", "a\r\nb"),
            ("validSince", "2026-12-24T18:00"),
            ("validUntil", "next year"),
            ("maxVisits", "5"),
            ("redirectStatus", "x"),
            ("forwardQuery", "on"),
            ("unknown", "x"),
        ] {
            form.set(name, text);
        }
        let names: Vec<&str> = field_names().collect();
        let expected = json!({
            "longUrl": " https://a.example/ ", "title": null, "tags": ["one", "two"], "note": "a\nb",
            "validSince": "2026-12-24T18:00:00+01:00", "validUntil": "next year", "maxVisits": 5, "redirectStatus": 0,
            "forwardQuery": true, "forwardPath": false, "expiredUrl": null, "crawlable": false, "disabled": false,
        });
        assert_eq!(Value::Object(edit_of(&form, &names, &berlin())), expected);
        assert_eq!(Value::Object(edit_of(&form, &["title"], &berlin())), json!({ "title": null }));
    }

    #[test]
    fn a_time_is_one_of_the_zone_also_when_its_clock_jumps() {
        for (text, expected) in [
            ("2026-07-01T00:00", Some("2026-07-01T00:00:00+02:00")),
            ("2026-07-01T00:00:30", Some("2026-07-01T00:00:30+02:00")),
            // This hour does not exist.
            ("2026-03-29T02:30", Some("2026-03-29T03:30:00+02:00")),
            ("tomorrow", None),
        ] {
            assert_eq!(instant(text, &berlin()).as_deref(), expected, "{text}");
        }
        assert_eq!(local(UnixMs(u64::MAX), &berlin()), "");
        assert_eq!(local(UnixMs(0), &TimeZone::UTC), "1970-01-01T00:00");
    }
}

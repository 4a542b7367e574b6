//! A link as a row of a table.

use std::borrow::Cow;

use crate::cells::harmless;
use crate::http::link_json::LinkJson;

/// The columns. `waypost import` reads the file: it knows their names, and takes the first one for the code.
pub(super) const COLUMNS: [&str; 25] = [
    "shortCode",
    "domain",
    "shortUrl",
    "longUrl",
    "title",
    "tags",
    "note",
    "state",
    "createdAt",
    "validSince",
    "validUntil",
    "maxVisits",
    "visitsLeft",
    "visits",
    "visitsOfPeople",
    "visitsOfBots",
    "protected",
    "redirectStatus",
    "forwardQuery",
    "forwardPath",
    "expiredUrl",
    "crawlable",
    "disabled",
    "rules",
    "id",
];

/// The cells of a link, in which a spreadsheet finds no formula. What the link does not have is empty.
pub(super) fn row(link: &LinkJson) -> Vec<String> {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let number = |number: Option<u64>| number.map(|number| number.to_string()).unwrap_or_default();
    let json = |value: &serde_json::Value| value.as_str().map(str::to_owned).unwrap_or_default();
    let rules = if link.rules.is_empty() { String::new() } else { serde_json::json!(link.rules).to_string() };
    let cells: [String; COLUMNS.len()] = [
        link.short_code.clone(),
        text(&link.domain),
        link.short_url.clone(),
        link.long_url.clone(),
        text(&link.title),
        link.tags.join(","),
        text(&link.note),
        json(&serde_json::json!(link.state)),
        link.created_at.clone(),
        text(&link.valid_since),
        text(&link.valid_until),
        number(link.max_visits),
        number(link.visits_left),
        number(link.visits.map(|visits| visits.total)),
        number(link.visits.map(|visits| visits.people)),
        number(link.visits.map(|visits| visits.bots)),
        link.protected.to_string(),
        link.redirect_status.to_string(),
        link.forward_query.to_string(),
        link.forward_path.to_string(),
        text(&link.expired_url),
        link.crawlable.to_string(),
        link.disabled.to_string(),
        rules,
        link.id.clone(),
    ];
    cells.into_iter().map(|cell| harmless(&cell).into_owned()).collect()
}

/// Rows as CSV.
pub(super) fn csv<'a>(rows: impl IntoIterator<Item = Vec<Cow<'a, str>>>) -> Vec<u8> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    for row in rows {
        writer
            .write_record(row.iter().map(|cell| cell.as_bytes()))
            .expect("invariant: rows have the same columns, and memory takes them");
    }
    writer.into_inner().expect("invariant: memory takes all bytes")
}

#[cfg(test)]
mod tests {
    use waypost_protocol::link::LinkCounts;
    use waypost_protocol::properties::{NOTE, Note, TAGS, TITLE, Tags, Title};
    use waypost_protocol::{Code, FieldChanges, Link, LinkKey, LinkSpec, Site, Target, UnixMs};

    use super::*;

    fn shown(title: &str, note: &str) -> LinkJson {
        let mut spec = LinkSpec::to(Target::parse("https://example.com/a?b=1,2", &[], 8192).unwrap());
        let mut changes = FieldChanges::default();
        TITLE.change(&mut changes, Title::parse(title).unwrap().as_ref());
        NOTE.change(&mut changes, Note::parse(note).unwrap().as_ref());
        TAGS.change(&mut changes, Tags::parse(&["-a", "b"]).unwrap().as_ref());
        spec.fields.change(&changes);
        let key = LinkKey::new(Code::parse_slug("abc").unwrap());
        let link =
            Link { key, spec, created_at: UnixMs(1), version: 1, written_at: 1, created_by: 0, generated: false };
        LinkJson::new(&link, Some(LinkCounts::default()), "https://go.example/abc", &Site::default(), UnixMs(2))
    }

    #[test]
    fn every_property_of_a_link_has_a_column() {
        let json = serde_json::to_value(shown("", "")).unwrap();
        let names: Vec<&String> = json.as_object().unwrap().keys().collect();
        for name in &names {
            assert!(COLUMNS.contains(&name.as_str()), "{name}");
        }
        // Visits are three.
        assert_eq!(names.len() + 2, COLUMNS.len());
    }

    #[test]
    fn a_row_is_read_as_it_was_and_no_cell_is_a_formula() {
        let row = row(&shown("=HYPERLINK(\"x\")", "one\n\"two\", @three"));
        let text = csv([COLUMNS.map(Cow::from).to_vec(), row.iter().map(|cell| Cow::from(cell.as_str())).collect()]);
        let mut reader = csv::Reader::from_reader(&text[..]);
        let record = reader.records().next().unwrap().unwrap();
        let cell = |name: &str| &record[COLUMNS.iter().position(|column| *column == name).unwrap()];
        assert_eq!(record.len(), COLUMNS.len());
        for (name, value) in [
            ("shortCode", "abc"),
            ("domain", ""),
            ("longUrl", "https://example.com/a?b=1,2"),
            ("title", "'=HYPERLINK(\"x\")"),
            ("note", "one\n\"two\", @three"),
            ("tags", "'-a,b"),
            ("state", "active"),
            ("visits", "0"),
            ("maxVisits", ""),
            ("protected", "false"),
            ("rules", ""),
            ("id", "0-abc"),
        ] {
            assert_eq!(cell(name), value, "{name}");
        }
    }
}

//! One record of an import file as a row: what its cells mean, and why a record is refused.

use csv::StringRecord;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::columns::{self, Column};
use crate::cells::as_it_was;

/// One row to import.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Row {
    /// Its line in the file, from 1.
    pub(super) line: u64,
    pub(super) url: String,
    /// The code, or a whole short URL.
    pub(super) slug: Option<String>,
    pub(super) domain: Option<String>,
    pub(super) valid_since: Option<String>,
    pub(super) valid_until: Option<String>,
    pub(super) max_visits: Option<String>,
    pub(super) title: Option<String>,
    pub(super) tags: Vec<String>,
    pub(super) note: Option<String>,
    pub(super) disabled: bool,
    /// Further fields, by their names in the API.
    pub(super) further: Vec<(&'static str, Value)>,
    /// Why it must not be imported: the link would be open to all, or lead some visitors elsewhere than it did, or the record is not what the header says.
    pub(super) refusal: Option<String>,
    /// The columns of the row that have a value and are not imported.
    pub(super) ignored: String,
}

/// The header of a file: its names, and what they mean.
pub(super) struct Header {
    pub(super) names: Vec<String>,
    pub(super) columns: Vec<Column>,
}

impl Header {
    /// The names of the columns that are not imported.
    pub(super) fn ignored(&self) -> Vec<String> {
        let named = self.names.iter().zip(&self.columns);
        named.filter(|(_, column)| **column == Column::Unknown).map(|(name, _)| name.clone()).collect()
    }

    /// The row of a record.
    pub(super) fn row(&self, line: u64, cells: &StringRecord) -> Row {
        let record = Record { header: self, cells };
        let text = |column| record.field(column).map(as_it_was);
        Row {
            line,
            refusal: record.refusal(),
            url: record.owned(Column::Url).unwrap_or_default(),
            slug: record.owned(Column::Slug),
            domain: record.owned(Column::Domain),
            valid_since: record.given(Column::ValidSince).map(moment),
            valid_until: record.given(Column::ValidUntil).map(moment),
            max_visits: record.given(Column::MaxVisits).map(str::to_owned),
            // A title is one line.
            title: text(Column::Title).map(|text| text.split_whitespace().collect::<Vec<_>>().join(" ")),
            tags: text(Column::Tags).map(columns::tags_of).unwrap_or_default(),
            note: text(Column::Note).map(str::to_owned),
            disabled: record.says(Column::Disabled) || record.states().any(columns::is_off),
            further: record.further(),
            ignored: record.not_imported().join(" "),
        }
    }
}

/// The cells of a record under a header.
struct Record<'a> {
    header: &'a Header,
    cells: &'a StringRecord,
}

impl<'a> Record<'a> {
    /// All cells with this meaning.
    fn all(&self, column: Column) -> impl Iterator<Item = &'a str> + use<'a> {
        let named = self.cells.iter().zip(&self.header.columns);
        named.filter(move |(_, meaning)| **meaning == column).map(|(cell, _)| cell)
    }

    /// The cell with this meaning, unless it is empty.
    fn field(&self, column: Column) -> Option<&'a str> {
        self.all(column).next().filter(|text| !text.is_empty())
    }

    fn owned(&self, column: Column) -> Option<String> {
        self.field(column).map(str::to_owned)
    }

    /// As [`field`](Self::field), unless it is a word for nothing.
    fn given(&self, column: Column) -> Option<&'a str> {
        self.field(column).filter(|text| !columns::is_nothing(text))
    }

    fn says(&self, column: Column) -> bool {
        self.all(column).any(columns::is_yes)
    }

    /// The words that say whether the link leads anywhere.
    fn states(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.all(Column::Enabled).chain(self.all(Column::State))
    }

    /// The rules: a list as JSON.
    fn rules(&self) -> Option<Value> {
        serde_json::from_str(self.field(Column::Rules)?).ok().filter(Value::is_array)
    }

    /// Why the record must not be imported.
    fn refusal(&self) -> Option<String> {
        let named = self.header.names.len();
        if self.cells.iter().skip(named).any(|cell| !cell.is_empty()) {
            return Some(format!(
                "this line has {} cells, and the header has {named}; put a cell that has the delimiter in it into double quotes",
                self.cells.len()
            ));
        }
        if let Some(word) = self.states().find(|word| !columns::is_on(word) && !columns::is_off(word)) {
            return Some(format!(
                "this link has the state \"{word}\", of which it is not known whether it leads anywhere; write active or disabled"
            ));
        }
        let has = if self.says(Column::Protected) {
            "a password"
        } else if self.says(Column::Duration) && self.given(Column::Duration).is_some() {
            "an end that is a duration"
        } else if self.says(Column::Rules) && self.rules().is_none() {
            "rules, which are not a list as JSON"
        } else {
            return None;
        };
        Some(format!(
            "this link has {has}, which an import cannot take over; make it with `waypost shorten` or the API, or empty the cell to import \
             it without"
        ))
    }

    /// The fields that only some links have, by their names in the API.
    fn further(&self) -> Vec<(&'static str, Value)> {
        let flags = [
            (Column::ForwardQuery, "forwardQuery"),
            (Column::ForwardPath, "forwardPath"),
            (Column::Crawlable, "crawlable"),
        ];
        let mut further: Vec<(&'static str, Value)> =
            flags.into_iter().filter(|(column, _)| self.says(*column)).map(|(_, name)| (name, true.into())).collect();
        further.extend(self.given(Column::ExpiredUrl).map(|url| ("expiredUrl", url.into())));
        // The server refuses what is not a number.
        let status = |text: &str| text.parse::<u16>().map_or_else(|_| text.into(), Value::from);
        further.extend(self.given(Column::RedirectStatus).map(|text| ("redirectStatus", status(text))));
        further.extend(self.rules().filter(|rules| *rules != json!([])).map(|rules| ("rules", rules)));
        further
    }

    /// The columns that have a value and are not imported.
    fn not_imported(&self) -> Vec<&'a str> {
        let is_unknown = |at: usize| matches!(self.header.columns.get(at), Some(Column::Unknown) | None);
        let lost = self.cells.iter().enumerate().filter(|(at, text)| is_unknown(*at) && columns::is_yes(text));
        lost.map(|(at, _)| self.header.names.get(at).map_or("(no name)", String::as_str)).collect()
    }
}

/// A time as the command line reads it. Some files have seconds, or milliseconds, since 1970.
fn moment(text: &str) -> String {
    let number = text.parse::<i64>().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()));
    let at = match text.len() {
        10 => number.and_then(|seconds| Timestamp::from_second(seconds).ok()),
        13 => number.and_then(|milliseconds| Timestamp::from_millisecond(milliseconds).ok()),
        _ => None,
    };
    at.map_or_else(|| text.to_owned(), |at| at.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rows of a table whose first line is the header.
    fn rows(text: &str) -> Vec<Row> {
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        let names: Vec<String> = reader.headers().unwrap().iter().map(str::to_owned).collect();
        let columns = columns::of_header(names.iter().map(String::as_str)).unwrap();
        let header = Header { names, columns };
        (2..).zip(reader.records()).map(|(line, record)| header.row(line, &record.unwrap())).collect()
    }

    fn row(line: u64, url: &str, slug: Option<&str>) -> Row {
        Row { line, url: url.to_owned(), slug: slug.map(str::to_owned), ..Row::default() }
    }

    #[test]
    fn what_else_a_link_has_is_read_and_an_apostrophe_that_made_a_cell_harmless_is_dropped() {
        let rules = "[{\"longUrl\":\"https://a.example/ios\",\"conditions\":[]}]";
        let text = format!(
            "longUrl,title,redirectStatus,forwardQuery,forwardPath,expiredUrl,crawlable,rules,visits,state\n\
             https://a.example/,'@home,307,true,false,https://a.example/end,true,\"{}\",0,active\n\
             https://a.example/,'tis,moved,false,true,,false,[],7,\n",
            rules.replace('"', "\"\"")
        );
        let rows = rows(&text);
        let further: [&[(&str, Value)]; 2] = [
            &[
                ("forwardQuery", true.into()),
                ("crawlable", true.into()),
                ("expiredUrl", "https://a.example/end".into()),
                ("redirectStatus", 307.into()),
                ("rules", serde_json::from_str(rules).unwrap()),
            ],
            &[("forwardPath", true.into()), ("redirectStatus", "moved".into())],
        ];
        assert_eq!([&rows[0].further[..], &rows[1].further], further);
        assert_eq!([&rows[0], &rows[1]].map(|row| row.title.as_deref()), [Some("@home"), Some("'tis")]);
        assert_eq!([&rows[0].ignored, &rows[1].ignored], ["", "visits"]);
        assert_eq!(rows[0].refusal, None);
    }

    #[test]
    fn titles_tags_notes_begins_limits_and_domains_are_read() {
        let text = "url,title,tags,note,validSince,maxVisits,Domain\nhttps://a.example/,\"Big\n sale\",spring|sale,\"a\nb\",2030-01-01,7,b.example\n";
        let sale = Row {
            domain: Some("b.example".to_owned()),
            valid_since: Some("2030-01-01".to_owned()),
            max_visits: Some("7".to_owned()),
            title: Some("Big sale".to_owned()),
            tags: vec!["spring".to_owned(), "sale".to_owned()],
            note: Some("a\nb".to_owned()),
            ..row(2, "https://a.example/", None)
        };
        assert_eq!(rows(text), [sale]);
    }

    #[test]
    fn a_link_that_would_be_open_without_what_cannot_be_imported_is_refused_and_a_disabled_one_stays_disabled() {
        let text = "shortCode,longUrl,password,protected,disabled,rules\n\
                    a,https://a.example/,,false,false,\nb,https://a.example/,,true,false,\nc,https://a.example/,no,false,true,\n\
                    d,https://a.example/,,,,iOS: elsewhere\ne,https://a.example/,secret,,,\n";
        let rows = rows(text);
        let url = "https://a.example/";
        assert_eq!(rows[0], row(2, url, Some("a")));
        assert_eq!(rows[2], Row { disabled: true, ..row(4, url, Some("c")) });
        for (at, what) in [(1, "a password"), (3, "rules, which are not a list as JSON"), (4, "a password")] {
            let refusal = rows[at].refusal.as_deref().unwrap_or_default();
            assert!(refusal.starts_with(&format!("this link has {what}, ")), "{refusal:?}");
        }
    }

    #[test]
    fn what_switches_a_link_off_in_another_shortener_does_so_here_and_a_word_for_no_limit_is_none() {
        let text = "url,enabled,status,Banned,max clicks,expires at,expires in\n\
                    https://a.example/,true,active,false,unlimited,never,\n\
                    https://a.example/,0,,,0,0,\nhttps://a.example/,,Inactive,,7,1893456000,0\nhttps://a.example/,,,true,,1893456000000,\n\
                    https://a.example/,,301,,,,3600\nhttps://a.example/,disabled,0,n/a,,,never\nhttps://a.example/,,archived,,,,\n";
        let rows = rows(text);
        assert_eq!(
            rows.iter().map(|row| row.disabled).collect::<Vec<_>>(),
            [false, true, true, true, false, true, false]
        );
        let limits: Vec<_> = rows.iter().map(|row| (row.max_visits.as_deref(), row.valid_until.as_deref())).collect();
        let end = Some("2030-01-01T00:00:00Z");
        let none = (None, None);
        assert_eq!(limits, [none, none, (Some("7"), end), (None, end), none, none, none]);
        assert!(rows[4].refusal.as_ref().unwrap().starts_with("this link has an end that is a duration"));
        assert_eq!(rows[5].refusal, None);
        assert!(rows[6].refusal.as_ref().unwrap().contains("the state \"archived\""));
    }
}

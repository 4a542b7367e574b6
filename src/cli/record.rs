//! One record of an import file as a row: what its cells mean, and why a record is refused.

use csv::StringRecord;
use jiff::Timestamp;
use serde_json::Value;

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
    pub(super) fn row(&self, line: u64, record: &StringRecord) -> Row {
        let field = |column| {
            let at = self.columns.iter().position(|known| *known == column)?;
            record.get(at).filter(|text| !text.is_empty()).map(str::to_owned)
        };
        let given = |column| field(column).filter(|text| !columns::is_nothing(text));
        let text = |column| field(column).map(|text| as_it_was(&text).to_owned());
        let cells = |of: Column| {
            record.iter().zip(&self.columns).filter(move |(_, column)| **column == of).map(|(cell, _)| cell)
        };
        let says = |column| cells(column).any(columns::is_yes);
        let is_off = says(Column::Disabled) || cells(Column::Enabled).chain(cells(Column::State)).any(columns::is_off);
        Row {
            line,
            refusal: self.refusal(record, says, field(Column::Rules)),
            url: field(Column::Url).unwrap_or_default(),
            slug: field(Column::Slug),
            domain: field(Column::Domain),
            valid_since: given(Column::ValidSince).map(moment),
            valid_until: given(Column::ValidUntil).map(moment),
            max_visits: given(Column::MaxVisits),
            // A title is one line.
            title: text(Column::Title).map(|text| text.split_whitespace().collect::<Vec<_>>().join(" ")),
            tags: text(Column::Tags).map(|text| columns::tags_of(&text)).unwrap_or_default(),
            note: text(Column::Note),
            disabled: is_off,
            further: further(says, given, field(Column::Rules)),
            ignored: self.not_imported(record).join(" "),
        }
    }

    /// Why a record must not be imported.
    fn refusal(&self, record: &StringRecord, says: impl Fn(Column) -> bool, rules: Option<String>) -> Option<String> {
        if record.iter().skip(self.names.len()).any(|cell| !cell.is_empty()) {
            return Some(format!(
                "this line has {} cells, and the header has {}; put a cell that has the delimiter in it into double quotes",
                record.len(),
                self.names.len()
            ));
        }
        let mut states =
            record.iter().zip(&self.columns).filter(|(_, column)| matches!(column, Column::State | Column::Enabled));
        if let Some((word, _)) = states.find(|(word, _)| !columns::is_on(word) && !columns::is_off(word)) {
            return Some(format!(
                "this link has the state \"{word}\", of which nobody knows whether it leads anywhere; write active or disabled"
            ));
        }
        let has = if says(Column::Protected) {
            "a password"
        } else if says(Column::Duration) {
            "an end that is a duration"
        } else if says(Column::Rules) && rules_of(rules).is_none() {
            "rules, which are not a list as JSON"
        } else {
            return None;
        };
        Some(format!(
            "this link has {has}, which an import cannot take over; make it with `waypost shorten` or the API, or empty the cell to import \
             it without"
        ))
    }

    /// The columns of a record that have a value and are not imported.
    fn not_imported<'a>(&'a self, record: &StringRecord) -> Vec<&'a str> {
        let is_lost = |at: usize, text: &str| match self.columns.get(at) {
            Some(Column::Unknown) | None => columns::is_yes(text),
            Some(_) => false,
        };
        let lost = record.iter().enumerate().filter(|(at, text)| is_lost(*at, text));
        lost.map(|(at, _)| self.names.get(at).map_or("(no name)", String::as_str)).collect()
    }
}

/// The fields that only some links have, by their names in the API.
fn further(
    says: impl Fn(Column) -> bool,
    given: impl Fn(Column) -> Option<String>,
    rules: Option<String>,
) -> Vec<(&'static str, Value)> {
    let flags = [
        (Column::ForwardQuery, "forwardQuery"),
        (Column::ForwardPath, "forwardPath"),
        (Column::Crawlable, "crawlable"),
    ];
    let mut further: Vec<(&'static str, Value)> =
        flags.into_iter().filter(|(column, _)| says(*column)).map(|(_, name)| (name, true.into())).collect();
    further.extend(given(Column::ExpiredUrl).map(|url| ("expiredUrl", url.into())));
    // What is no number is left to the server to refuse.
    let status = |text: String| text.parse::<u16>().map_or_else(|_| text.clone().into(), Value::from);
    further.extend(given(Column::RedirectStatus).map(|text| ("redirectStatus", status(text))));
    further
        .extend(Some(Column::Rules).filter(|column| says(*column)).and(rules_of(rules)).map(|rules| ("rules", rules)));
    further
}

/// The rules in a cell: a list as JSON.
fn rules_of(cell: Option<String>) -> Option<Value> {
    serde_json::from_str(&cell?).ok().filter(Value::is_array)
}

/// A time as the command line reads it. Some files have seconds, or milliseconds, since 1970.
fn moment(text: String) -> String {
    let number = text.parse::<i64>().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()));
    let at = match text.len() {
        10 => number.and_then(|seconds| Timestamp::from_second(seconds).ok()),
        13 => number.and_then(|milliseconds| Timestamp::from_millisecond(milliseconds).ok()),
        _ => None,
    };
    at.map_or(text, |at| at.to_string())
}

//! Tables that fit the terminal.

use std::fmt::Write;

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// In a terminal that is narrower, lines are as long as this all the same.
const VALUE_MIN: usize = 20;

/// The columns of the terminal; `None` if the output goes elsewhere, where nothing has to fit.
pub(super) fn width() -> Option<usize> {
    terminal_size::terminal_size_of(std::io::stdout()).map(|(width, _)| width.0.into())
}

/// Names and values in two columns. A value that is too long continues below itself.
pub(super) fn pairs(rows: &[(String, String)], width: Option<usize>) -> String {
    let names = rows.iter().map(|(name, _)| name.width()).max().unwrap_or(0);
    let room = width.map_or(usize::MAX, |width| width.saturating_sub(names + 2).max(VALUE_MIN));
    let mut text = String::new();
    for (name, value) in rows {
        for (at, line) in wrapped(&visible(value), room).iter().enumerate() {
            let name = if at == 0 { name.as_str() } else { "" };
            let blank = names - name.width() + 2;
            let _ = writeln!(text, "{name}{:blank$}{line}", "");
        }
    }
    text.truncate(text.trim_end_matches('\n').len());
    text
}

/// Rows below a head. The last column continues below itself where it is too long.
pub(super) fn columns(head: &[&str], rows: &[Vec<String>], width: Option<usize>) -> String {
    let head = head.iter().map(|name| (*name).to_owned()).collect();
    let rows: Vec<Vec<String>> =
        std::iter::once(&head).chain(rows).map(|row| row.iter().map(|cell| visible(cell)).collect()).collect();
    let wide = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.width()).max();
    let last = head.len().saturating_sub(1);
    let widths: Vec<usize> = (0..last).map(|column| wide(column).unwrap_or(0)).collect();
    let before: usize = widths.iter().map(|width| width + 2).sum();
    let room = width.map_or(usize::MAX, |width| width.saturating_sub(before).max(VALUE_MIN));
    let mut text = String::new();
    for row in &rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            let blank = width + 2 - cell.width();
            let _ = write!(line, "{cell}{:blank$}", "");
        }
        for (at, value) in wrapped(row.get(last).map_or("", String::as_str), room).iter().enumerate() {
            let line = if at == 0 { line.clone() } else { " ".repeat(before) };
            let _ = writeln!(text, "{}", format!("{line}{value}").trim_end());
        }
    }
    text.truncate(text.trim_end_matches('\n').len());
    text
}

/// Lines of at most `room` columns, broken after a blank where there is one.
fn wrapped(text: &str, room: usize) -> Vec<String> {
    let (mut lines, mut line, mut columns) = (Vec::new(), String::new(), 0);
    for c in text.chars() {
        let wide = c.width().unwrap_or(0);
        if columns + wide > room {
            let blank = line.rfind(' ').filter(|at| *at > 0);
            let rest = blank.map(|at| line.split_off(at + 1)).unwrap_or_default();
            lines.push(std::mem::replace(&mut line, rest).trim_end().to_owned());
            columns = line.width();
        }
        line.push(c);
        columns += wide;
    }
    lines.push(line);
    lines
}

/// A text from the server without characters that would move the cursor, change colours or turn the direction of writing: everybody who
/// creates links can put them into a title.
fn visible(text: &str) -> String {
    let turns = |c: char| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars().fold(String::with_capacity(text.len()), |mut shown, c| {
        if c.is_control() || turns(c) {
            shown.extend(c.escape_unicode())
        } else {
            shown.push(c)
        }
        shown
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(rows: &[(&str, &str)]) -> Vec<(String, String)> {
        rows.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_value_that_is_too_long_continues_below_itself() {
        let rows = rows(&[
            ("short", "one two three four five six"),
            ("longer", "https://example.com/0123456789/0123456789"),
            ("e", ""),
        ]);
        assert_eq!(
            pairs(&rows, Some(30)),
            "short   one two three four\n        five six\nlonger  https://example.com/01\n        23456789/0123456789\ne       "
        );
        assert_eq!(pairs(&rows, None).lines().count(), 3);
        assert_eq!(pairs(&rows[1..2], Some(3)).lines().next().unwrap().len(), "longer".len() + 2 + VALUE_MIN);
    }

    #[test]
    fn columns_are_as_wide_as_their_cells_and_the_last_continues_below_itself() {
        let cells = |cells: &[&str]| cells.iter().map(|cell| (*cell).to_owned()).collect::<Vec<_>>();
        let rows = [cells(&["1", "Ä\n", "https://example.com/0123456789/0123456789"]), cells(&["20", "-", "x"])];
        assert_eq!(
            columns(&["N", "BY", "URL"], &rows, Some(33)),
            "N   BY      URL\n1   Ä\\u{a}  https://example.com/0\n            123456789/0123456789\n20  -       x"
        );
        assert_eq!(columns(&["N", "BY", "URL"], &rows, None).lines().count(), 3);
        assert_eq!(columns(&["N"], &[], None), "N");
    }

    #[test]
    fn wide_characters_take_two_columns() {
        let shown = pairs(&rows(&[("t", &"漢".repeat(15))]), Some(23));
        assert_eq!(shown, format!("t  {}\n   {}", "漢".repeat(10), "漢".repeat(5)));
    }

    #[test]
    fn a_text_cannot_control_the_terminal() {
        let shown = pairs(&rows(&[("title", "a\u{1b}[31mred\u{7}\r\nb\u{202e}c")]), None);
        assert_eq!(shown, "title  a\\u{1b}[31mred\\u{7}\\u{d}\\u{a}b\\u{202e}c");
    }
}

//! Cells of the tables that the program writes, for spreadsheets.

use std::borrow::Cow;

/// What a spreadsheet takes for the begin of a formula, in a cell or behind blanks; also as wide characters, which some programs read alike.
const FORMULA: &[char] = &['=', '+', '-', '@', '\t', '\r', '\n', '|', '%', '＝', '＋', '－', '＠'];

/// A cell that a spreadsheet shows as it is, and does not run: one that could be a formula begins with an apostrophe.
pub(crate) fn harmless(text: &str) -> Cow<'_, str> {
    let formula = text.starts_with(FORMULA) || text.trim_start().starts_with(FORMULA);
    if formula { Cow::Owned(format!("'{text}")) } else { Cow::Borrowed(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_spreadsheet_would_run_is_text() {
        for formula in [
            "=1+1",
            "+1",
            "-1",
            "@SUM(A1)",
            "\t=1",
            "\r=1",
            "\n=1",
            "|x",
            "%x",
            " =1",
            "\u{a0}@x",
            "＝1",
            "=HYPERLINK(\"x\")",
        ] {
            assert_eq!(harmless(formula), format!("'{formula}"));
        }
        for text in ["example.com", "https://example.com/?a=1", "Berlin", "", " a", "2026-11-21", "'=1"] {
            assert_eq!(harmless(text), text);
        }
    }
}

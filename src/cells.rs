//! Cells of tables that a spreadsheet may open.

use std::borrow::Cow;

/// The characters with which a spreadsheet begins a formula, in a cell or after blanks; also as wide characters, which some programs treat alike.
const FORMULA: &[char] = &['=', '+', '-', '@', '\t', '\r', '\n', '|', '%', '＝', '＋', '－', '＠'];

/// A cell that a spreadsheet shows unchanged and does not run: an apostrophe precedes a possible formula.
pub(crate) fn harmless(text: &str) -> Cow<'_, str> {
    let is_formula = |text: &str| text.starts_with(FORMULA) || text.trim_start().starts_with(FORMULA);
    // A text that begins with apostrophes gets one more, so that `as_it_was` removes exactly what was added.
    if is_formula(text.trim_start_matches('\'')) { Cow::Owned(format!("'{text}")) } else { Cow::Borrowed(text) }
}

/// A cell without the apostrophe that [`harmless`] has put before it.
pub(crate) fn as_it_was(cell: &str) -> &str {
    cell.strip_prefix('\'').filter(|text| matches!(harmless(text), Cow::Owned(_))).unwrap_or(cell)
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
            "'=1",
            "''-1",
        ] {
            assert_eq!(harmless(formula), format!("'{formula}"));
            assert_eq!(as_it_was(&harmless(formula)), formula);
        }
        for text in ["example.com", "https://example.com/?a=1", "Berlin", "", " a", "2026-11-21", "'tis"] {
            assert_eq!(harmless(text), text);
        }
        for text in ["'tis", "'", "", "example.com"] {
            assert_eq!(as_it_was(text), text);
        }
    }
}

//! The modules of a code.

use qrcode::{EcLevel, QrCode};
use serde::Deserialize;

/// How much of a code may be covered or damaged before a scanner fails: about 7, 15, 25 and 30 %. A higher level needs more modules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
pub enum Level {
    /// 7 %
    #[serde(alias = "l")]
    L,
    /// 15 %
    #[default]
    #[serde(alias = "m")]
    M,
    /// 25 %
    #[serde(alias = "q")]
    Q,
    /// 30 %
    #[serde(alias = "h")]
    H,
}

impl std::str::FromStr for Level {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        match text {
            "L" | "l" => Ok(Self::L),
            "M" | "m" => Ok(Self::M),
            "Q" | "q" => Ok(Self::Q),
            "H" | "h" => Ok(Self::H),
            _ => Err("a level is L, M, Q or H"),
        }
    }
}

impl Level {
    fn of_crate(self) -> EcLevel {
        match self {
            Self::L => EcLevel::L,
            Self::M => EcLevel::M,
            Self::Q => EcLevel::Q,
            Self::H => EcLevel::H,
        }
    }
}

/// The text does not fit into the largest code: it has thousands of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the text is too long for a QR code")]
pub struct TooLong;

/// The modules of a code: a square of dark and light ones, without a margin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Modules {
    width: u32,
    /// Row by row.
    dark: Vec<bool>,
}

impl Modules {
    /// The smallest code of a text.
    ///
    /// # Errors
    /// If the text does not fit.
    pub fn of(text: &str, level: Level) -> Result<Self, TooLong> {
        // Any other error is about a version or characters that nobody asked for here.
        let code = QrCode::with_error_correction_level(text, level.of_crate()).map_err(|_| TooLong)?;
        let width = u32::try_from(code.width()).expect("invariant: a code has at most 177 modules in a row");
        let dark = code.into_colors().into_iter().map(|color| color == qrcode::Color::Dark).collect();
        Ok(Self { width, dark })
    }

    /// The number of modules in a row, and of rows.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// The rows from top to bottom; `true` = dark.
    pub(super) fn rows(&self) -> impl Iterator<Item = &[bool]> {
        self.dark.chunks(self.width as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_higher_level_needs_as_many_modules_or_more_and_a_text_may_be_too_long() {
        let text = "https://go.example/handbook";
        let widths = [Level::L, Level::M, Level::Q, Level::H].map(|level| Modules::of(text, level).unwrap().width());
        assert!(widths.is_sorted() && widths[0] < widths[3], "{widths:?}");
        assert_eq!(widths[0], 25, "27 bytes fit into version 2");
        let modules = Modules::of(text, Level::M).unwrap();
        assert_eq!(modules.rows().count(), modules.width() as usize);
        // The corner has a finder pattern.
        assert!(modules.rows().next().unwrap()[..7].iter().all(|dark| *dark));
        assert_eq!(Modules::of(&"x".repeat(2953), Level::L).map(|modules| modules.width()), Ok(177));
        assert_eq!(Modules::of(&"x".repeat(2954), Level::L), Err(TooLong));
    }
}

//! QR codes that cannot be drawn. A variant of an error identifies a parameter; here it gets its name.

use super::Problem;
use crate::qr::{BadColor, TooLong, Unusable};

impl Problem {
    /// A parameter of an image is not a colour.
    pub(in crate::http) fn of_color(field: &'static str, error: BadColor) -> Self {
        Self::invalid(field, error.to_string())
    }
}

impl From<TooLong> for Problem {
    fn from(_: TooLong) -> Self {
        Self::invalid("errorCorrection", "the short URL does not fit into a QR code at this level; use a lower one")
    }
}

impl From<Unusable> for Problem {
    fn from(error: Unusable) -> Self {
        let field = match error {
            Unusable::Size | Unusable::TooSmall { .. } => "size",
            Unusable::Margin => "margin",
            Unusable::Contrast { .. } => "color",
        };
        Self::invalid(field, error.to_string())
    }
}

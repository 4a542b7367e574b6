//! The QR code of a link.

use askama::Template;

use super::{Context, Form, LinkHead, Section, Theme};

/// The QR code of a link.
#[derive(Template)]
#[template(path = "link_qr.html")]
pub struct LinkQrView {
    /// What every view needs.
    pub cx: Context,
    /// What stands above.
    pub head: LinkHead,
    /// `size`, `margin`, `errorCorrection`, `color`, `background`.
    pub form: Form,
    /// The query of the image, with its domain; `None` if the form is refused.
    pub query: Option<String>,
}

impl LinkQrView {
    /// How much of the code may be damaged, and the keys of what that means.
    pub fn levels(&self) -> [(&'static str, &'static str); 4] {
        [("L", "qr.level.l"), ("M", "qr.level.m"), ("Q", "qr.level.q"), ("H", "qr.level.h")]
    }

    /// The address of the image in a format.
    pub fn image(&self, format: &str, query: &str) -> String {
        format!("{}/qr.{format}?{query}", self.head.path)
    }
}

//! Pages for visitors: their texts in several languages, and the templates that hold them. A site can replace both by files of its own.
//!
//! Nothing here knows HTTP or a problem document: a [`Message`] and the languages that a visitor reads go in, HTML comes out.
//!
//! ```text
//! language.rs   which of the languages a visitor reads, by Accept-Language
//! texts.rs      the texts of a language
//! template.rs   HTML with slots; what is put into a slot is escaped
//! site.rs       all of them: built in, and those of a site's directory
//! texts/        the texts, a file for each language
//! page.html, password.html, preview.html   the templates
//! ```

mod language;
mod site;
mod template;
mod texts;

pub use language::preferred;
pub use site::{Page, Pages, PagesError, Preview};
pub use texts::Message;

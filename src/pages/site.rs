//! All pages of a site: the built-in ones, and the files of a directory that replace them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::language::preferred;
use super::template::{Template, TemplateError};
use super::texts::{Message, Texts};

/// The language of visitors who read none of the others.
const DEFAULT: &str = "en";

/// The built-in texts.
const LANGUAGES: &[(&str, &str)] = &[
    ("de", include_str!("texts/de.toml")),
    (DEFAULT, include_str!("texts/en.toml")),
    ("es", include_str!("texts/es.toml")),
    ("fr", include_str!("texts/fr.toml")),
    ("it", include_str!("texts/it.toml")),
    ("pt", include_str!("texts/pt.toml")),
];

const PAGE: (&str, &str, &[&str]) = ("page.html", include_str!("page.html"), &["language", "title", "text"]);

const PASSWORD: (&str, &str, &[&str]) =
    ("password.html", include_str!("password.html"), &["language", "title", "text", "label", "wrong", "button"]);

const PREVIEW: (&str, &str, &[&str]) = (
    "preview.html",
    include_str!("preview.html"),
    &["language", "title", "text", "link-title", "target", "short-url", "created-label", "created"],
);

/// The longest file of a site's directory, in bytes: each page is sent whole, to everybody who mistypes a code.
const FILE_BYTES_MAX: u64 = 256 << 10;

/// The pages of a site. They are read once, at the start.
#[derive(Debug, Clone)]
pub struct Pages {
    page: Template,
    password: Template,
    preview: Template,
    /// By language; `en` is always there.
    texts: BTreeMap<String, Texts>,
}

/// Why the directory of a site cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PagesError {
    /// A file or the directory cannot be read.
    #[error("{}: {}", path.display(), crate::account::told(error))]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The reason.
        error: std::io::Error,
    },
    /// A file is too long.
    #[error("{}: it is longer than {FILE_BYTES_MAX} bytes", .0.display())]
    TooLong(PathBuf),
    /// A file has no use.
    #[error("{}: only page.html, password.html, preview.html and texts such as de.toml are read here", .0.display())]
    Unknown(PathBuf),
    /// A template cannot be used.
    #[error("{}: {error}", path.display())]
    Template {
        /// The file.
        path: PathBuf,
        /// The reason.
        error: TemplateError,
    },
    /// Texts cannot be used.
    #[error("{}: {reason}", path.display())]
    Texts {
        /// The file.
        path: PathBuf,
        /// The reason.
        reason: String,
    },
}

/// A page to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<'a> {
    /// The HTML.
    pub html: String,
    /// Its language.
    pub language: &'a str,
}

/// What a preview shows of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Preview<'a> {
    /// Where it leads.
    pub target: &'a str,
    /// Its title; empty if it has none.
    pub title: &'a str,
    /// Its short URL.
    pub short_url: &'a str,
    /// The day of its creation.
    pub created: &'a str,
    /// Whether it leads other visitors elsewhere.
    pub varies: bool,
}

impl Pages {
    /// The pages of a site, some of which are files in `dir`.
    ///
    /// # Errors
    /// If a file of the directory cannot be used.
    pub fn load(dir: Option<&Path>) -> Result<Self, PagesError> {
        let built_in = |(name, text, slots): (&str, &str, &[&'static str])| {
            Template::parse(text, slots).map_err(|error| PagesError::Template { path: name.into(), error })
        };
        let mut pages = Self {
            page: built_in(PAGE)?,
            password: built_in(PASSWORD)?,
            preview: built_in(PREVIEW)?,
            texts: BTreeMap::new(),
        };
        for (language, text) in LANGUAGES {
            let path = Path::new(language);
            pages.texts.insert((*language).to_owned(), texts(path, table(path, text)?)?);
        }
        let Some(dir) = dir else { return Ok(pages) };
        let unreadable = |error| PagesError::Unreadable { path: dir.to_owned(), error };
        for entry in std::fs::read_dir(dir).map_err(unreadable)? {
            pages.replace(&entry.map_err(unreadable)?.path())?;
        }
        Ok(pages)
    }

    /// Replaces a template, or texts of a language.
    fn replace(&mut self, path: &Path) -> Result<(), PagesError> {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let template = |slots| {
            Template::parse(&read(path)?, slots).map_err(|error| PagesError::Template { path: path.to_owned(), error })
        };
        // Editors and version control leave such files.
        if name.starts_with('.') || name.ends_with('~') {
            return Ok(());
        }
        match name.strip_suffix(".toml") {
            _ if name == PAGE.0 => self.page = template(PAGE.2)?,
            _ if name == PASSWORD.0 => self.password = template(PASSWORD.2)?,
            _ if name == PREVIEW.0 => self.preview = template(PREVIEW.2)?,
            Some(language) if is_language(language) => {
                // What a file does not have is as it is built in, in English for a new language.
                let base = LANGUAGES.iter().find(|(known, _)| *known == language);
                let base = base.or_else(|| LANGUAGES.iter().find(|(known, _)| *known == DEFAULT));
                let mut all = table(path, base.map_or("", |(_, text)| text))?;
                merge(&mut all, table(path, &read(path)?)?);
                self.texts.insert(language.to_owned(), texts(path, all)?);
            }
            _ => return Err(PagesError::Unknown(path.to_owned())),
        }
        Ok(())
    }

    fn language(&self, accept: &str) -> (&str, &Texts) {
        let language = preferred(accept, self.texts.keys().map(String::as_str)).unwrap_or(DEFAULT);
        let (language, texts) =
            self.texts.get_key_value(language).expect("invariant: English is built in, and a file only replaces it");
        (language, texts)
    }

    /// The page of a message, in the language that `accept` (an `Accept-Language`) prefers.
    pub fn message(&self, message: Message, accept: &str) -> Page<'_> {
        let (language, texts) = self.language(accept);
        let text = texts.of(message);
        let html = self.page.fill(|slot| match slot {
            "language" => language.to_owned(),
            "title" => text.title.clone(),
            _ => text.text.clone(),
        });
        Page { html, language }
    }

    /// The page that asks for the password of a link, in the language that `accept` prefers; `again`: the last one was wrong.
    pub fn password(&self, again: bool, accept: &str) -> Page<'_> {
        let (language, texts) = self.language(accept);
        let text = texts.of(Message::ProtectedLink);
        let html = self.password.fill(|slot| {
            match slot {
                "language" => language,
                "title" => &text.title,
                "text" => &text.text,
                "label" => &texts.password.label,
                "button" => &texts.password.button,
                _ if again => &texts.password.wrong,
                _ => "",
            }
            .to_owned()
        });
        Page { html, language }
    }

    /// The page that shows a link, in the language that `accept` prefers.
    pub fn preview(&self, link: &Preview<'_>, accept: &str) -> Page<'_> {
        let (language, texts) = self.language(accept);
        let words = &texts.preview;
        let text = if link.varies { format!("{} {}", words.text, words.varies) } else { words.text.clone() };
        let html = self.preview.fill(|slot| {
            match slot {
                "language" => language,
                "title" => &words.title,
                "text" => &text,
                "target" => link.target,
                "link-title" => link.title,
                "short-url" => link.short_url,
                "created-label" => &words.created,
                _ => link.created,
            }
            .to_owned()
        });
        Page { html, language }
    }
}

fn is_language(name: &str) -> bool {
    let mut parts = name.split('-');
    let first = parts.next().unwrap_or_default();
    (2..=3).contains(&first.len())
        && first.bytes().all(|b| b.is_ascii_lowercase())
        && parts.all(|part| (2..=8).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_alphanumeric()))
}

fn read(path: &Path) -> Result<String, PagesError> {
    let unreadable = |error| PagesError::Unreadable { path: path.to_owned(), error };
    if std::fs::metadata(path).map_err(unreadable)?.len() > FILE_BYTES_MAX {
        return Err(PagesError::TooLong(path.to_owned()));
    }
    std::fs::read_to_string(path).map_err(unreadable)
}

fn table(path: &Path, text: &str) -> Result<Table, PagesError> {
    text.parse()
        .map_err(|error: toml::de::Error| PagesError::Texts { path: path.to_owned(), reason: error.to_string() })
}

fn texts(path: &Path, table: Table) -> Result<Texts, PagesError> {
    table.try_into().map_err(|error| PagesError::Texts { path: path.to_owned(), reason: error.to_string() })
}

fn merge(all: &mut Table, other: Table) {
    for (name, value) in other {
        match (all.get_mut(&name), value) {
            (Some(Value::Table(all)), Value::Table(other)) => merge(all, other),
            (_, value) => {
                all.insert(name, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_in_the_language_of_its_visitor_and_english_for_all_others() {
        let pages = Pages::load(None).unwrap();
        let titles = ["en", "de", "fr", "es", "pt", "it"].map(|accept| {
            let page = pages.message(Message::UnknownLink, accept);
            assert_eq!(page.language, accept);
            assert!(page.html.contains(&format!("<html lang=\"{accept}\">")), "{}", page.html);
            page.html.split("<h1>").nth(1).unwrap().split("</h1>").next().unwrap().to_owned()
        });
        for (at, title) in titles.iter().enumerate() {
            assert!(!titles[at + 1..].contains(title), "{title}");
        }
        assert_eq!(pages.message(Message::NotNow, "tlh"), pages.message(Message::NotNow, "en"));
    }

    #[test]
    fn a_preview_has_no_markup_of_the_link() {
        let hostile = "https://example.com/\"><script>alert(1)</script>";
        let link = Preview {
            target: hostile,
            title: "<b>T</b>",
            short_url: "https://go.example/<b>",
            created: "2026-11-26",
            varies: false,
        };
        let page = Pages::load(None).unwrap().preview(&link, "de").html;
        assert!(!page.contains("<script>") && !page.contains("<b>") && !page.contains("com/\""), "{page}");
        assert!(page.contains("2026-11-26") && page.contains("&#60;script&#62;"), "{page}");
    }

    #[test]
    fn files_of_a_site_replace_templates_and_texts() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        file("page.html", "<p lang={{language}}>{{title}}: {{text}}</p>");
        file("de.toml", "[unknown-link]\ntitle = \"Weg\"");
        file("nl.toml", "[unknown-link]\ntitle = \"Deze link bestaat niet\"\ntext = \"Controleer het adres.\"");
        file(".gitignore", "*");
        let pages = Pages::load(Some(dir.path())).unwrap();
        let shown = |accept| pages.message(Message::UnknownLink, accept).html;
        let german = shown("de");
        assert!(german.starts_with("<p lang=de>Weg: Prüfen Sie"), "{german}");
        assert_eq!(shown("nl"), "<p lang=nl>Deze link bestaat niet: Controleer het adres.</p>");
        assert!(pages.message(Message::NotNow, "nl").html.contains("The server cannot"), "as in English");
        for (name, text, part) in [
            ("page.html", "{{title}}", "page.html: {{language}} is missing"),
            ("fr.toml", "[nothing]\ntitel = \"x\"", "titel"),
            ("fr.toml", "[nothing", "fr.toml"),
            ("logo.png", "", "only page.html"),
            ("preview.html", &"x".repeat(300_000), "longer than"),
        ] {
            let dir = tempfile::tempdir().unwrap();
            std::fs::write(dir.path().join(name), text).unwrap();
            let refused = Pages::load(Some(dir.path())).unwrap_err().to_string();
            assert!(refused.contains(part), "{refused}");
        }
        assert!(matches!(Pages::load(Some(Path::new("/nothing/here"))), Err(PagesError::Unreadable { .. })));
    }
}

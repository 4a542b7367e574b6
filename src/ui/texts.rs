//! The texts of the dashboard in several languages, by key: `t("home.title")` is `title` in the table `[home]` of `texts/en.toml`.

use std::collections::HashMap;
use std::sync::LazyLock;

use toml::{Table, Value};

use crate::pages::preferred;

/// The language of people who read none of the others.
const DEFAULT: &str = "en";

/// The languages, and their texts.
const FILES: &[(&str, &str)] = &[(DEFAULT, include_str!("texts/en.toml")), ("de", include_str!("texts/de.toml"))];

static LANGUAGES: LazyLock<Vec<Language>> = LazyLock::new(|| {
    FILES
        .iter()
        .map(|(tag, file)| Language { tag, texts: parse(file).expect("invariant: a test reads the texts") })
        .collect()
});

/// A language of the dashboard.
#[derive(Debug)]
pub struct Language {
    /// Its tag (BCP 47), such as `en`.
    pub tag: &'static str,
    texts: HashMap<String, String>,
}

impl Language {
    /// The text of a key. A key without a text, which a test excludes, stands for itself.
    pub fn text<'a>(&'a self, key: &'a str) -> &'a str {
        self.texts.get(key).map_or(key, String::as_str)
    }

    /// Whether there is a text with this key.
    pub fn has(&self, key: &str) -> bool {
        self.texts.contains_key(key)
    }

    /// The direction in which it is written.
    pub fn direction(&self) -> &'static str {
        if matches!(self.tag, "ar" | "fa" | "he" | "ur") { "rtl" } else { "ltr" }
    }

    /// All languages.
    pub fn all() -> &'static [Self] {
        &LANGUAGES
    }
}

/// The language for somebody who chose `chosen` before, if anything, and whose browser sends `accept` (`Accept-Language`).
pub fn language(chosen: Option<&str>, accept: &str) -> &'static Language {
    let all = Language::all();
    let of = |tag: &str| all.iter().find(|language| language.tag == tag);
    chosen
        .and_then(of)
        .or_else(|| preferred(accept, all.iter().map(|language| language.tag)).and_then(of))
        .unwrap_or(&all[0])
}

/// The texts of a file: tables of texts, to any depth.
fn parse(file: &str) -> Result<HashMap<String, String>, String> {
    fn add(texts: &mut HashMap<String, String>, table: Table, under: &str) -> Result<(), String> {
        for (name, value) in table {
            let key = if under.is_empty() { name } else { format!("{under}.{name}") };
            match value {
                Value::String(text) => drop(texts.insert(key, text)),
                Value::Table(table) => add(texts, table, &key)?,
                _ => return Err(format!("{key} is no text")),
            }
        }
        Ok(())
    }
    let mut texts = HashMap::new();
    add(&mut texts, file.parse().map_err(|error| format!("{error}"))?, "")?;
    Ok(texts)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::{Path, PathBuf};

    use super::*;

    /// The files that may name texts: templates and code.
    fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                sources(&path, found);
            } else if path.extension().is_some_and(|end| end == "rs" || end == "html") {
                found.push(path);
            }
        }
    }

    fn keys(language: &Language) -> BTreeSet<&str> {
        language.texts.keys().map(String::as_str).collect()
    }

    #[test]
    fn all_languages_have_the_same_texts() {
        for language in Language::all() {
            assert_eq!(keys(language), keys(&Language::all()[0]), "{}", language.tag);
            for (key, text) in &language.texts {
                assert!(!text.trim().is_empty(), "{key} in {}", language.tag);
            }
        }
    }

    #[test]
    fn every_text_is_used_and_every_used_text_exists() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut files = Vec::new();
        sources(&root.join("src/ui"), &mut files);
        sources(&root.join("src/http/ui"), &mut files);
        let known = keys(&Language::all()[0]);
        let mut used = BTreeSet::new();
        for file in files.iter().filter(|file| !file.ends_with("ui/texts.rs")) {
            let source = std::fs::read_to_string(file).unwrap();
            for part in source.split('"') {
                if let Some(key) = known.get(part) {
                    used.insert(*key);
                }
                // Texts with a number have two forms.
                for form in ["one", "other"] {
                    if let Some(key) = known.get(format!("{part}.{form}").as_str()) {
                        used.insert(*key);
                    }
                }
            }
            for call in ["cx.t(\"", "cx.with(\"", "cx.count(\"", ".t(\""] {
                for rest in source.split(call).skip(1) {
                    let key = rest.split('"').next().unwrap_or_default();
                    // The end of a key that is put together.
                    let exists =
                        key.ends_with('.') || known.contains(key) || known.contains(format!("{key}.other").as_str());
                    assert!(exists, "{} names {key}, which has no text", file.display());
                    if key.ends_with('.') {
                        used.extend(known.iter().filter(|known| known.starts_with(key)));
                    }
                }
            }
        }
        let unused: Vec<_> = known.difference(&used).collect();
        assert!(unused.is_empty(), "nothing shows these texts: {unused:?}");
    }

    #[test]
    fn a_choice_counts_before_the_language_of_the_browser() {
        assert_eq!(language(None, "de-AT,de;q=0.9").tag, "de");
        assert_eq!(language(None, "nl").tag, "en");
        assert_eq!(language(Some("en"), "de").tag, "en");
        assert_eq!(language(Some("xx"), "de").tag, "de");
    }
}

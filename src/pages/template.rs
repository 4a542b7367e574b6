//! HTML with slots, written `{{name}}`. What is put into a slot is escaped, so nothing that a visitor or the maker of a link writes is markup.

use std::fmt::Write;

/// A template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Template {
    /// Pieces of HTML, each with the slot behind it.
    pieces: Vec<(String, &'static str)>,
    end: String,
}

/// Why a text is not a template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// A slot is not closed.
    #[error("line {line}: {{{{ without }}}}")]
    Open {
        /// Where it begins.
        line: usize,
    },
    /// There is no such slot.
    #[error("line {line}: there is no {{{{{name}}}}}; the slots are {known}")]
    Unknown {
        /// Where it is.
        line: usize,
        /// Its name.
        name: String,
        /// The names of those that there are.
        known: String,
    },
    /// A slot is missing without which the page would not say what it is for.
    #[error("{{{{{0}}}}} is missing")]
    Missing(&'static str),
}

impl Template {
    /// Reads a template in which each of `slots` occurs, and no other.
    pub(super) fn parse(text: &str, slots: &[&'static str]) -> Result<Self, TemplateError> {
        let (mut pieces, mut rest) = (Vec::new(), text);
        while let Some((before, behind)) = rest.split_once("{{") {
            let line = text[..text.len() - behind.len()].matches('\n').count() + 1;
            let (name, after) = behind.split_once("}}").ok_or(TemplateError::Open { line })?;
            let slot = slots.iter().find(|slot| **slot == name.trim());
            let unknown = || TemplateError::Unknown { line, name: name.trim().to_owned(), known: slots.join(", ") };
            pieces.push((before.to_owned(), *slot.ok_or_else(unknown)?));
            rest = after;
        }
        if let Some(missing) = slots.iter().find(|slot| !pieces.iter().any(|(_, used)| used == *slot)) {
            return Err(TemplateError::Missing(missing));
        }
        Ok(Self { pieces, end: rest.to_owned() })
    }

    /// Puts values into the slots.
    pub(super) fn fill(&self, value: impl Fn(&'static str) -> String) -> String {
        let mut page = String::new();
        for (before, slot) in &self.pieces {
            page.push_str(before);
            escape(&value(slot), &mut page);
        }
        page.push_str(&self.end);
        page
    }
}

/// Writes a text so that it stays one, between tags and in a quoted attribute.
fn escape(text: &str, page: &mut String) {
    for c in text.chars() {
        match c {
            '&' | '<' | '>' | '"' | '\'' => {
                let _ = write!(page, "&#{};", u32::from(c));
            }
            // A bidirectional control: it would reverse the text after it.
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}' => {}
            c if c.is_control() => page.push(' '),
            c => page.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_never_markup() {
        let template = Template::parse("<p title=\"{{a}}\">{{ b }}</p>", &["a", "b"]).unwrap();
        let hostile = "\"><script>alert('1')</script>&amp;\u{202e}\0";
        let page = template.fill(|slot| if slot == "a" { hostile.to_owned() } else { "{{a}} ok".to_owned() });
        assert_eq!(
            page,
            "<p title=\"&#34;&#62;&#60;script&#62;alert(&#39;1&#39;)&#60;/script&#62;&#38;amp; \">{{a}} ok</p>"
        );
    }

    #[test]
    fn a_template_has_all_slots_and_no_others() {
        let parse = |text| Template::parse(text, &["a", "b"]).map(|_| ());
        assert_eq!(parse("{{b}}{{a}}{{a}}"), Ok(()));
        assert_eq!(parse("{{a}}"), Err(TemplateError::Missing("b")));
        assert_eq!(parse("{{a}}\n{{b"), Err(TemplateError::Open { line: 2 }));
        let unknown = parse("{{a}}\n\n{{c}}").unwrap_err();
        assert_eq!(unknown.to_string(), "line 3: there is no {{c}}; the slots are a, b");
    }
}

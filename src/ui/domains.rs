//! The domains: hosts with links of their own, and their settings.

use askama::Template;
use waypost_protocol::Site;

use super::{Context, Form, Section, Theme};

/// All domains.
#[derive(Template)]
#[template(path = "domains.html")]
pub struct DomainsPage {
    /// What every view needs.
    pub cx: Context,
    /// The domains, the default one first.
    pub domains: Vec<DomainRow>,
}

/// A domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DomainRow {
    /// Its host; empty = the default domain.
    pub host: String,
    /// Its name in queries.
    pub name: String,
    /// The status of redirects of links that ask for none.
    pub status: u16,
    /// Where visitors of `/` are sent; empty = nowhere.
    pub base_url: String,
    /// Whether codes are compared without case.
    pub case_insensitive: bool,
    /// Whether slugs may have several segments.
    pub multi_segment: bool,
    /// An example of a generated code.
    pub length: u64,
    /// Whether generated codes have a check character.
    pub check: bool,
}

impl From<&Site> for DomainRow {
    fn from(site: &Site) -> Self {
        let format = site.code_formats.current();
        let host = site.host.as_ref().map(ToString::to_string).unwrap_or_default();
        Self {
            name: if host.is_empty() { waypost_protocol::domain::DEFAULT_NAME.to_owned() } else { host.clone() },
            host,
            status: site.default_status.into(),
            base_url: site.base_url.as_ref().map(|url| url.as_str().to_owned()).unwrap_or_default(),
            case_insensitive: site.case_insensitive,
            multi_segment: site.multi_segment,
            length: u64::from(format.length()),
            check: format.has_check(),
        }
    }
}

/// A domain that is made or changed.
#[derive(Template)]
#[template(path = "domain.html")]
pub struct DomainPage {
    /// What every view needs.
    pub cx: Context,
    /// Its settings, with the reasons why they were refused.
    pub form: Form,
    /// Its name in queries; empty = it is new.
    pub name: String,
    /// Whether it is the default domain.
    pub is_default: bool,
}

/// Says what removing a domain does.
#[derive(Template)]
#[template(path = "domain_remove.html")]
pub struct DomainRemoval {
    /// What every view needs.
    pub cx: Context,
    /// Its host.
    pub host: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_that_is_refused_says_why_beside_what_was_typed() {
        let hostile = "\"><script>alert(1)</script>";
        let mut form = Form::of([
            ("host".to_owned(), hostile.to_owned()),
            ("baseUrl".to_owned(), hostile.to_owned()),
            ("alphabet".to_owned(), "unambiguous".to_owned()),
            ("checkCharacter".to_owned(), "on".to_owned()),
        ]);
        form.refuse("host", "it is no host");
        let page = DomainPage { cx: Context::example("en"), form, name: String::new(), is_default: false };
        let html = page.render().unwrap();
        assert!(html.contains("it is no host") && !html.contains("<script>alert"), "{html}");
        assert!(
            html.contains("value=\"unambiguous\" selected")
                && html.contains("name=\"checkCharacter\" value=\"on\" checked")
        );
        assert!(!html.contains("Remove the domain"), "there is none yet");
    }

    #[test]
    fn the_default_domain_has_no_host_and_cannot_be_removed() {
        let row = DomainRow {
            host: String::new(),
            name: "DEFAULT".to_owned(),
            status: 302,
            base_url: String::new(),
            case_insensitive: false,
            multi_segment: false,
            length: 7,
            check: false,
        };
        let html = DomainsPage { cx: Context::example("de"), domains: vec![row] }.render().unwrap();
        assert!(html.contains("Standard-Domain") && html.contains("7 Zeichen"), "{html}");
        let form = Form::of([("unknownHost".to_owned(), "notFound".to_owned())]);
        let page = DomainPage { cx: Context::example("en"), form, name: "DEFAULT".to_owned(), is_default: true };
        let html = page.render().unwrap();
        assert!(html.contains("value=\"notFound\" selected") && !html.contains("domains/remove"), "{html}");
    }
}

//! The tags: list, rename, merge and remove them.

use askama::Template;

use super::{Context, Form, Section, Theme};

/// All tags.
#[derive(Template)]
#[template(path = "tags.html")]
pub struct TagsPage {
    /// What every view needs.
    pub cx: Context,
    /// What is looked for.
    pub part: String,
    /// The tags, those of the most links first.
    pub tags: Vec<TagRow>,
    /// How many tags there are beyond these.
    pub more: u64,
    /// How many shards are missing, whose links are not counted.
    pub missing: u64,
}

/// A tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagRow {
    /// The tag, as one of its links writes it.
    pub tag: String,
    /// How many links have it.
    pub links: u64,
    /// The query of a list of these links, or of a form for the tag.
    pub query: String,
}

impl TagRow {
    /// A tag with the number of its links.
    pub fn new(tag: String, links: u64) -> Self {
        let encode = |name: &str| form_urlencoded::Serializer::new(String::new()).append_pair(name, &tag).finish();
        let query = encode("tag");
        Self { query, tag, links }
    }

    /// The query of the list of its links. A comma separates tags there.
    pub fn list(&self) -> String {
        form_urlencoded::Serializer::new(String::new()).append_pair("tags", &self.tag).finish()
    }
}

/// A tag that is to be renamed or removed.
#[derive(Template)]
#[template(path = "tag.html")]
pub struct TagPage {
    /// What every view needs.
    pub cx: Context,
    /// The tag.
    pub tag: TagRow,
    /// The new tag, with the reason why it was refused.
    pub form: Form,
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOSTILE: &str = "a&b=\"><script>alert(1)</script>";

    #[test]
    fn a_tag_leads_to_its_links_and_to_its_form_whatever_its_characters() {
        let row = TagRow::new("a&b=c d".to_owned(), 1);
        assert_eq!((row.list(), row.query.as_str()), ("tags=a%26b%3Dc+d".to_owned(), "tag=a%26b%3Dc+d"));
        let cx = Context::example("de");
        let tags = vec![TagRow::new(HOSTILE.to_owned(), 1234)];
        let html = TagsPage { cx, part: HOSTILE.to_owned(), tags, more: 2, missing: 1 }.render().unwrap();
        assert!(html.contains("1.234") && html.contains("2 weitere Tags") && !html.contains("<script>alert"), "{html}");
    }

    #[test]
    fn a_tag_that_cannot_be_renamed_says_why_beside_what_was_typed() {
        let mut form = Form::of([("with".to_owned(), HOSTILE.to_owned())]);
        form.refuse("with", "it is too long");
        let html =
            TagPage { cx: Context::example("en"), tag: TagRow::new(HOSTILE.to_owned(), 3), form }.render().unwrap();
        assert!(html.contains("it is too long") && html.contains("3 links have it"), "{html}");
        assert!(html.contains("aria-invalid=\"true\"") && !html.contains("<script>alert"), "{html}");
    }
}

//! A form: what was typed, and why it was refused.

/// A reason, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// The text.
    pub text: String,
    /// Whether it is in English whatever the language of the page: a rare one that the API words.
    pub english: bool,
}

impl Reason {
    /// A reason as the API words it.
    pub fn in_english(text: impl Into<String>) -> Self {
        Self { text: text.into(), english: true }
    }
}

impl<T: Into<String>> From<T> for Reason {
    fn from(text: T) -> Self {
        Self { text: text.into(), english: false }
    }
}

/// Why a form was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FormError {
    /// The name of the field; empty = it concerns the whole form.
    pub field: String,
    /// The reason.
    pub reason: Reason,
}

/// The values of a form, with the reasons why it was refused.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Form {
    values: Vec<(String, String)>,
    errors: Vec<FormError>,
}

impl Form {
    /// A form with these values.
    pub fn of(values: impl IntoIterator<Item = (String, String)>) -> Self {
        Self { values: values.into_iter().collect(), errors: Vec::new() }
    }

    /// The values that a browser has sent: the body of a form, or a query.
    pub fn read(body: &[u8]) -> Self {
        Self::of(form_urlencoded::parse(body).into_owned())
    }

    /// Sets a value.
    pub fn set(&mut self, name: &str, value: impl Into<String>) {
        self.values.retain(|(other, _)| other != name);
        self.values.push((name.to_owned(), value.into()));
    }

    /// The first value of a field; empty if there is none.
    pub fn value(&self, name: &str) -> &str {
        self.values.iter().find(|(other, _)| other == name).map_or("", |(_, value)| value)
    }

    /// The first value of a field without white space around it, if that is not empty.
    pub fn given(&self, name: &str) -> Option<&str> {
        Some(self.value(name).trim()).filter(|value| !value.is_empty())
    }

    /// All values of a field.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.values.iter().filter(move |(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// The values as a query, without those that are empty.
    pub fn query(&self) -> String {
        let given = self.values.iter().filter(|(_, value)| !value.trim().is_empty());
        form_urlencoded::Serializer::new(String::new()).extend_pairs(given).finish()
    }

    /// The same form with another value of a field; without one the field is left out.
    #[must_use]
    pub fn with(&self, name: &str, value: Option<&str>) -> Self {
        let mut form = self.clone();
        form.values.retain(|(other, _)| other != name);
        if let Some(value) = value {
            form.values.push((name.to_owned(), value.to_owned()));
        }
        form
    }

    /// All fields with their values.
    pub fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.values.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Whether a box is ticked.
    pub fn is_on(&self, name: &str) -> bool {
        self.value(name) == "on"
    }

    /// Refuses a field, or the whole form.
    pub fn refuse(&mut self, field: impl Into<String>, reason: impl Into<Reason>) {
        self.errors.push(FormError { field: field.into(), reason: reason.into() });
    }

    /// Why a field was refused.
    pub fn error(&self, name: &str) -> Option<&Reason> {
        self.errors.iter().find(|error| error.field == name).map(|error| &error.reason)
    }

    /// All reasons.
    pub fn errors(&self) -> &[FormError] {
        &self.errors
    }

    /// Whether it was refused.
    pub fn is_refused(&self) -> bool {
        !self.errors.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_has_what_was_typed_and_each_field_its_reason() {
        let mut form = Form::read(b"longUrl=+https%3A%2F%2Fexample.com+&tags=a&tags=b&on=on&empty=+");
        assert_eq!(form.value("longUrl"), " https://example.com ");
        assert_eq!((form.given("longUrl"), form.given("empty")), (Some("https://example.com"), None));
        assert_eq!(form.all("tags").collect::<Vec<_>>(), ["a", "b"]);
        assert!(form.is_on("on") && !form.is_on("tags") && !form.is_refused());
        form.refuse("tags", "too many");
        form.set("tags", "c");
        assert_eq!((form.error("tags"), form.error("on")), (Some(&"too many".into()), None));
        assert_eq!(form.value("tags"), "c");
        assert!(form.is_refused());
        assert_eq!(Form::read(b"q=a+b&state=&sort=-visits").with("q", Some("&")).query(), "sort=-visits&q=%26");
        assert_eq!(Form::read(b"q=a&cursor=x").with("cursor", None).query(), "q=a");
    }
}

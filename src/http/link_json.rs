//! The JSON of a link: what is read when one is created or edited, and what is shown of it. The one place with the JSON names of its
//! properties.

use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;
use waypost_protocol::{FieldChanges, Fields, Link, OwnHost, UnixMs};

use super::problem::Problem;
use crate::app::{LinkEdit, NewLink};
use crate::times::{ReadTime, format_time, read_time};

/// A link to create.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = NewLink)]
pub(super) struct GivenLink {
    /// Where the link leads: an `http` or `https` URL. The name `url` is accepted too.
    #[serde(alias = "url")]
    #[schema(format = "uri", max_length = 8192, example = "https://example.com/a/long/address")]
    long_url: String,
    /// The code; without it one is generated.
    #[schema(min_length = 1, max_length = 64, example = "handbook")]
    custom_slug: Option<String>,
    /// From then on the link answers `410`; without it the link has no end.
    #[schema(format = DateTime)]
    valid_until: Option<String>,
    /// If a link with a generated code and the same properties exists, answer that one.
    #[serde(default)]
    find_if_exists: bool,
}

impl GivenLink {
    /// A link with a generated code and nothing but a target.
    pub(super) fn to(long_url: String) -> Self {
        Self { long_url, custom_slug: None, valid_until: None, find_if_exists: false }
    }

    /// The link to put at a code, which is named by the path alone.
    pub(super) fn put_at<'a>(&'a self, code: &str, own_hosts: &'a [OwnHost]) -> Result<NewLink<'a>, Problem> {
        if self.custom_slug.as_deref().is_some_and(|slug| slug != code) {
            return Err(Problem::invalid(
                "customSlug",
                "the path names the code; leave customSlug out, or give the same",
            ));
        }
        if self.find_if_exists {
            return Err(Problem::invalid("findIfExists", "the path names the link; leave findIfExists out"));
        }
        self.new_link(own_hosts)
    }

    /// The link to create, without an idempotency key.
    pub(super) fn new_link<'a>(&'a self, own_hosts: &'a [OwnHost]) -> Result<NewLink<'a>, Problem> {
        Ok(NewLink {
            url: &self.long_url,
            slug: self.custom_slug.as_deref(),
            valid_until: self.valid_until.as_deref().map(parse_time).transpose()?,
            fields: Fields::default(),
            find_existing: self.find_if_exists,
            idempotency_key: None,
            own_hosts,
        })
    }
}

/// What to change of a link. Absent = as it is; `null` = removed.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = LinkEdit)]
pub(super) struct GivenEdit {
    /// A new target.
    #[schema(format = "uri", max_length = 8192)]
    long_url: Option<String>,
    /// A new end; `null` removes it.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>, format = DateTime)]
    valid_until: Option<Option<String>>,
}

impl GivenEdit {
    /// The changes.
    pub(super) fn edit<'a>(&'a self, own_hosts: &'a [OwnHost]) -> Result<LinkEdit<'a>, Problem> {
        let valid_until = self.valid_until.as_ref().map(|until| until.as_deref().map(parse_time).transpose());
        Ok(LinkEdit {
            url: self.long_url.as_deref(),
            valid_until: valid_until.transpose()?,
            fields: FieldChanges::default(),
            own_hosts,
        })
    }
}

/// Tells `null` from an absent value.
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<Option<T>>, D::Error> {
    Option::<T>::deserialize(deserializer).map(Some)
}

/// A link in the API.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Link)]
pub(super) struct LinkJson {
    /// Opaque and stable.
    pub(super) id: String,
    /// The code.
    #[schema(example = "handbook")]
    pub(super) short_code: String,
    /// The URL for visitors.
    #[schema(format = "uri")]
    pub(super) short_url: String,
    /// Where the link leads.
    #[schema(format = "uri")]
    pub(super) long_url: String,
    /// When it was created.
    #[schema(format = DateTime)]
    pub(super) created_at: String,
    /// From when on it answers `410`; `null` = never.
    #[schema(format = DateTime)]
    pub(super) valid_until: Option<String>,
}

impl LinkJson {
    pub(super) fn new(link: &Link, short_url: &str) -> Self {
        Self {
            id: format!("{}-{}", link.key.domain.0, link.key.code),
            short_code: link.key.code.to_string(),
            short_url: short_url.to_owned(),
            long_url: link.spec.target.as_str().to_owned(),
            created_at: format_time(link.created_at),
            valid_until: link.spec.valid_until.map(format_time),
        }
    }
}

/// Reads the end of a link. Whether it lies in the future is not for its text to say.
pub(super) fn parse_time(text: &str) -> Result<UnixMs, Problem> {
    let ms = read_time(text).and_then(ReadTime::unix_ms).ok_or_else(|| {
        Problem::invalid(
            "validUntil",
            "validUntil has to be a time like 2030-12-31T23:59:59Z or 2030-12-31T23:59:59+01:00 (RFC 3339)",
        )
    })?;
    // What lies before 1970 has passed, like its beginning.
    Ok(UnixMs(u64::try_from(ms).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_comes_back_as_it_went() {
        let time = parse_time("2030-12-31T23:59:59.5+01:00").unwrap();
        assert_eq!(format_time(time), "2030-12-31T22:59:59.500Z");
        assert_eq!(parse_time(&format_time(time)).unwrap(), time);
        let last = parse_time("9999-12-31T23:59:59Z").unwrap();
        assert_eq!(format_time(last), "9999-12-31T23:59:59.000Z");
        assert_eq!(parse_time("1960-01-01T00:00:00Z").unwrap(), UnixMs(0));
    }

    #[test]
    fn ends_that_are_no_times_are_refused() {
        for text in ["", "tomorrow", "2030-12-31", "2030-12-31T23:59:59", "9e9"] {
            assert!(parse_time(text).is_err(), "{text}");
        }
    }
}

//! The JSON of a link: what is read when one is created or edited, and what is shown of it. The one place with the JSON names of its
//! properties.

use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;
use waypost_protocol::domain::HostName;
use waypost_protocol::fields::Tag;
use waypost_protocol::history;
use waypost_protocol::link::{LinkCounts, Visits};
use waypost_protocol::properties::{
    CRAWLABLE, DISABLED, EXPIRED_URL, FORWARD_PATH, FORWARD_QUERY, MAX_VISITS, MaxVisits, NOTE, Note, PASSWORD,
    Property, PropertyError, REDIRECT_STATUS, RULES, RedirectStatus, Set, TAGS, TITLE, Tags, Title, VALID_SINCE,
};
use waypost_protocol::{FieldChanges, Fields, Link, LinkState, OwnHost, Password, Site, UnixMs};

use super::problem::Problem;
use super::rules_json::{self, RuleJson};
use crate::app::{LinkEdit, LinkName, NewLink};
use crate::times::{ReadTime, format_time, read_time};

/// A link to create.
#[derive(Debug, Default, Deserialize, ToSchema)]
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
    /// The host of its domain; without it the default domain.
    #[schema(max_length = 253, example = "go.example")]
    domain: Option<String>,
    /// From then on the link answers `410`; without it the link has no end.
    #[schema(format = DateTime)]
    valid_until: Option<String>,
    /// What people call the link.
    #[schema(max_length = 512)]
    title: Option<String>,
    /// Groups of links, compared without case.
    #[schema(max_items = 32)]
    tags: Option<Vec<String>>,
    /// A note for those who manage the link.
    #[schema(max_length = 4096)]
    note: Option<String>,
    /// Before that the link answers `404`.
    #[schema(format = DateTime)]
    valid_since: Option<String>,
    /// How many visitors are sent to the target, in the whole cluster; then the link answers `410`. Not together with a permanent redirect.
    #[schema(minimum = 1, maximum = 1_000_000_000)]
    max_visits: Option<u64>,
    /// The status of the redirect: 301, 302, 307 or 308. A browser keeps a permanent one (301, 308) for an hour.
    #[schema(default = 302)]
    redirect_status: Option<u16>,
    /// Whether the visitor's query is added to the target's.
    forward_query: Option<bool>,
    /// Whether the path after the code is added to the target's.
    forward_path: Option<bool>,
    /// The password that visitors have to give. Only a hash of it is kept. Not together with a permanent redirect.
    #[schema(value_type = Option<String>, write_only, format = Password, min_length = 4, max_length = 256)]
    password: Option<Hidden>,
    /// Where visitors are sent while the link is expired, exhausted or disabled.
    #[schema(format = "uri", max_length = 8192)]
    expired_url: Option<String>,
    /// Whether `robots.txt` lets crawlers follow the link.
    crawlable: Option<bool>,
    /// Whether the link answers `410` for the time being.
    disabled: Option<bool>,
    /// Where visitors are led, depending on who they are: the first rule whose conditions all hold decides. If none does, the visitor is led to `longUrl`.
    #[schema(max_items = 64)]
    rules: Option<Vec<RuleJson>>,
    /// If a link with a generated code and the same properties exists, answer that one.
    #[serde(default)]
    find_if_exists: bool,
}

impl GivenLink {
    /// A link with a generated code and nothing but a target.
    pub(super) fn to(long_url: String) -> Self {
        Self { long_url, ..Self::default() }
    }

    /// The link to put at a code, which is named by the path. The domain may stand in the query, or in the body.
    pub(super) fn put_at<'a>(&'a self, name: LinkName<'a>, own_hosts: &'a [OwnHost]) -> Result<NewLink<'a>, Problem> {
        if self.custom_slug.as_deref().is_some_and(|slug| slug != name.code) {
            return Err(Problem::invalid(
                "customSlug",
                "the path names the code; leave customSlug out, or give the same",
            ));
        }
        if self.find_if_exists {
            return Err(Problem::invalid("findIfExists", "the path names the link; leave findIfExists out"));
        }
        let domain = match (name.domain, self.domain.as_deref()) {
            (Some(one), Some(other)) if !one.eq_ignore_ascii_case(other) => {
                return Err(Problem::invalid("domain", "the link is in one domain; give it once, or the same twice"));
            }
            (one, other) => one.or(other),
        };
        Ok(NewLink { domain, ..self.new_link(own_hosts)? })
    }

    /// The link to create, without an idempotency key.
    pub(super) fn new_link<'a>(&'a self, own_hosts: &'a [OwnHost]) -> Result<NewLink<'a>, Problem> {
        Ok(NewLink {
            domain: self.domain.as_deref(),
            url: &self.long_url,
            slug: self.custom_slug.as_deref(),
            valid_until: self.valid_until.as_deref().map(|text| parse_time("validUntil", text)).transpose()?,
            expired_url: self.expired_url.as_deref(),
            password: self.password.as_ref().map(Hidden::parse).transpose()?,
            rules: rules_json::given(self.rules.as_deref().unwrap_or_default())?,
            fields: self.fields()?,
            find_existing: self.find_if_exists,
            idempotency_key: None,
            own_hosts,
        })
    }
}

impl GivenLink {
    /// The optional properties. What is `null` is as if it were absent.
    fn fields(&self) -> Result<Fields, Problem> {
        let given = GivenEdit {
            title: self.title.clone().map(Some),
            tags: self.tags.clone().map(Some),
            note: self.note.clone().map(Some),
            valid_since: self.valid_since.clone().map(Some),
            max_visits: self.max_visits.map(Some),
            redirect_status: self.redirect_status.map(Some),
            forward_query: self.forward_query.map(Some),
            forward_path: self.forward_path.map(Some),
            crawlable: self.crawlable.map(Some),
            disabled: self.disabled.map(Some),
            ..GivenEdit::default()
        };
        let mut fields = Fields::default();
        fields.change(&given.changes()?);
        Ok(fields)
    }
}

/// What to change of a link. Absent = as it is; `null` = removed.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = LinkEdit)]
pub(super) struct GivenEdit {
    /// A new target.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = String, required = false, format = "uri", max_length = 8192)]
    long_url: Option<Option<String>>,
    /// A new end; `null` removes it.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>, format = DateTime)]
    valid_until: Option<Option<String>>,
    /// A new title.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>, max_length = 512)]
    title: Option<Option<String>>,
    /// The new tags, instead of the present ones.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<Vec<String>>, max_items = 32)]
    tags: Option<Option<Vec<String>>>,
    /// A new note.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>, max_length = 4096)]
    note: Option<Option<String>>,
    /// A new begin.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>, format = DateTime)]
    valid_since: Option<Option<String>>,
    /// A new limit of visits; `null` removes it, and forgets how many are used.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<u64>, minimum = 1, maximum = 1_000_000_000)]
    max_visits: Option<Option<u64>>,
    /// A new password; `null` removes it.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>, write_only, format = Password, min_length = 4, max_length = 256)]
    password: Option<Option<Hidden>>,
    /// A new status: 301, 302, 307 or 308; `null` means 302.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<u16>)]
    redirect_status: Option<Option<u16>>,
    /// Whether the visitor's query is added to the target's.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<bool>)]
    forward_query: Option<Option<bool>>,
    /// Whether the path after the code is added to the target's.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<bool>)]
    forward_path: Option<Option<bool>>,
    /// Where visitors are sent while the link is expired, exhausted or disabled.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>, format = "uri", max_length = 8192)]
    expired_url: Option<Option<String>>,
    /// Whether `robots.txt` lets crawlers follow the link.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<bool>)]
    crawlable: Option<Option<bool>>,
    /// Whether the link answers `410` for the time being.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<bool>)]
    disabled: Option<Option<bool>>,
    /// The new rules, instead of the present ones.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<Vec<RuleJson>>, max_items = 64)]
    rules: Option<Option<Vec<RuleJson>>>,
}

impl GivenEdit {
    /// The changes.
    pub(super) fn edit<'a>(&'a self, own_hosts: &'a [OwnHost]) -> Result<LinkEdit<'a>, Problem> {
        if self.long_url == Some(None) {
            return Err(Problem::invalid("longUrl", "longUrl cannot be null: a link has a target"));
        }
        let parse = |text| parse_time("validUntil", text);
        let valid_until = self.valid_until.as_ref().map(|until| until.as_deref().map(parse).transpose());
        Ok(LinkEdit {
            url: self.long_url.as_ref().and_then(Option::as_deref),
            valid_until: valid_until.transpose()?,
            expired_url: self.expired_url.as_ref().map(Option::as_deref),
            password: self.password.as_ref().map(|given| given.as_ref().map(Hidden::parse).transpose()).transpose()?,
            rules: self
                .rules
                .as_ref()
                .map(|rules| rules_json::given(rules.as_deref().unwrap_or_default()))
                .transpose()?,
            fields: self.changes()?,
            own_hosts,
        })
    }

    /// The changes of optional properties, except for those with URLs, which are parsed like the target.
    fn changes(&self) -> Result<FieldChanges, Problem> {
        let mut changes = FieldChanges::default();
        let refused = |name| move |error: PropertyError| Problem::invalid(name, format!("{name}: {error}"));
        if let Some(title) = &self.title {
            let title = Title::parse(title.as_deref().unwrap_or_default()).map_err(refused("title"))?;
            TITLE.change(&mut changes, title.as_ref());
        }
        if let Some(tags) = &self.tags {
            let tags = Tags::parse(tags.as_deref().unwrap_or_default()).map_err(refused("tags"))?;
            TAGS.change(&mut changes, tags.as_ref());
        }
        if let Some(note) = &self.note {
            let note = Note::parse(note.as_deref().unwrap_or_default()).map_err(refused("note"))?;
            NOTE.change(&mut changes, note.as_ref());
        }
        if let Some(since) = &self.valid_since {
            let since = since.as_deref().map(|text| parse_time("validSince", text)).transpose()?;
            VALID_SINCE.change(&mut changes, since.as_ref());
        }
        if let Some(limit) = self.max_visits {
            let limit = limit.map(MaxVisits::try_from).transpose().map_err(refused("maxVisits"))?;
            MAX_VISITS.change(&mut changes, limit.as_ref());
        }
        if let Some(status) = self.redirect_status {
            let status = status.map(RedirectStatus::try_from).transpose().map_err(refused("redirectStatus"))?;
            REDIRECT_STATUS.change(&mut changes, status.as_ref());
        }
        let mut flag = |property: Property<Set>, given: Option<Option<bool>>| {
            if let Some(given) = given {
                property.change(&mut changes, given.unwrap_or_default().then_some(&Set));
            }
        };
        flag(FORWARD_QUERY, self.forward_query);
        flag(FORWARD_PATH, self.forward_path);
        flag(CRAWLABLE, self.crawlable);
        flag(DISABLED, self.disabled);
        Ok(changes)
    }
}

/// The names of the optional properties, by their tags. A test compares them with the tags that may be set.
const FIELD_NAMES: &[(Tag, &str)] = &[
    (history::VALID_UNTIL, "validUntil"),
    (TITLE.tag(), "title"),
    (TAGS.tag(), "tags"),
    (NOTE.tag(), "note"),
    (VALID_SINCE.tag(), "validSince"),
    (REDIRECT_STATUS.tag(), "redirectStatus"),
    (FORWARD_QUERY.tag(), "forwardQuery"),
    (FORWARD_PATH.tag(), "forwardPath"),
    (EXPIRED_URL.tag(), "expiredUrl"),
    (CRAWLABLE.tag(), "crawlable"),
    (DISABLED.tag(), "disabled"),
    (MAX_VISITS.tag(), "maxVisits"),
    (PASSWORD.tag(), "password"),
    (RULES.tag(), "rules"),
];

/// The name of the property with a tag, if this version knows it.
pub(in crate::http) fn field_name(tag: Tag) -> Option<&'static str> {
    FIELD_NAMES.iter().find(|(known, _)| *known == tag).map(|(_, name)| *name)
}

/// A password in a request. `Debug` does not show it.
#[derive(Deserialize)]
#[serde(transparent)]
struct Hidden(String);

impl Hidden {
    fn parse(&self) -> Result<Password, Problem> {
        Password::parse(&self.0).map_err(|error| Problem::invalid("password", format!("password: {error}")))
    }
}

impl std::fmt::Debug for Hidden {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(hidden)")
    }
}

/// Tells `null` from an absent value.
pub(super) fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<Option<T>>, D::Error> {
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
    /// The host of its domain; `null` for the default domain.
    pub(super) domain: Option<String>,
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
    /// What people call the link.
    pub(super) title: Option<String>,
    /// Groups of links.
    pub(super) tags: Vec<String>,
    /// A note for those who manage the link.
    pub(super) note: Option<String>,
    /// Before that it answers `404`.
    #[schema(format = DateTime)]
    pub(super) valid_since: Option<String>,
    /// How many visitors are sent to the target; `null` = any number.
    pub(super) max_visits: Option<u64>,
    /// How many of them are left; `null` without `maxVisits`, or if it cannot be told now.
    pub(super) visits_left: Option<u64>,
    /// Whether visitors have to give a password.
    pub(super) protected: bool,
    /// The status of the redirect.
    #[schema(minimum = 301, maximum = 308)]
    pub(super) redirect_status: u16,
    /// Whether the visitor's query is added to the target's.
    pub(super) forward_query: bool,
    /// Whether the path after the code is added to the target's.
    pub(super) forward_path: bool,
    /// Where visitors are sent while the link is expired, exhausted or disabled.
    #[schema(format = "uri")]
    pub(super) expired_url: Option<String>,
    /// Whether `robots.txt` lets crawlers follow it.
    pub(super) crawlable: bool,
    /// Whether it answers `410` for the time being.
    pub(super) disabled: bool,
    /// Where visitors are led, depending on who they are.
    pub(super) rules: Vec<RuleJson>,
    /// What visitors get now.
    pub(super) state: StateJson,
    /// Its visits; `null` if they cannot be told now, or if it was created with an `Idempotency-Key`, perhaps before.
    pub(super) visits: Option<VisitsJson>,
}

/// What visitors of a link get.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = LinkState)]
pub(super) enum StateJson {
    /// Its target.
    Active,
    /// `404`: it begins later.
    NotYet,
    /// `410`, or its `expiredUrl`: its end has passed.
    Expired,
    /// `410`, or its `expiredUrl`: all of its `maxVisits` are used.
    Exhausted,
    /// `410`, or its `expiredUrl`: its owner has disabled it.
    Disabled,
}

impl From<LinkState> for StateJson {
    fn from(state: LinkState) -> Self {
        match state {
            LinkState::Active => Self::Active,
            LinkState::NotYet => Self::NotYet,
            LinkState::Expired => Self::Expired,
            LinkState::Exhausted => Self::Exhausted,
            LinkState::Disabled => Self::Disabled,
        }
    }
}

/// The visits of a link.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[schema(as = LinkVisits)]
pub(super) struct VisitsJson {
    /// All.
    pub(super) total: u64,
    /// Those of people.
    pub(super) people: u64,
    /// Those of bots.
    pub(super) bots: u64,
}

impl From<Visits> for VisitsJson {
    fn from(visits: Visits) -> Self {
        Self { total: visits.total + visits.bots, people: visits.total, bots: visits.bots }
    }
}

impl LinkJson {
    pub(super) fn new(link: &Link, counts: Option<LinkCounts>, short_url: &str, site: &Site, now: UnixMs) -> Self {
        let fields = &link.spec.fields;
        Self {
            id: format!("{}-{}", link.key.domain.0, link.key.code),
            short_code: link.key.code.to_string(),
            domain: host_text(site.host.as_ref()),
            short_url: short_url.to_owned(),
            long_url: link.spec.target.as_str().to_owned(),
            created_at: format_time(link.created_at),
            valid_until: link.spec.valid_until.map(format_time),
            title: TITLE.of(fields).map(|title| title.as_str().to_owned()),
            tags: TAGS.of(fields).map(|tags| tags.iter().map(str::to_owned).collect()).unwrap_or_default(),
            note: NOTE.of(fields).map(|note| note.as_str().to_owned()),
            valid_since: VALID_SINCE.of(fields).map(format_time),
            max_visits: MAX_VISITS.of(fields).map(MaxVisits::get),
            visits_left: counts.and_then(|counts| link.spec.visits_left(counts.used)),
            protected: PASSWORD.is_in(fields),
            redirect_status: REDIRECT_STATUS.of(fields).unwrap_or(site.default_status).into(),
            forward_query: FORWARD_QUERY.is_in(fields),
            forward_path: FORWARD_PATH.is_in(fields),
            expired_url: EXPIRED_URL.of(fields).map(|url| url.as_str().to_owned()),
            crawlable: CRAWLABLE.is_in(fields),
            disabled: DISABLED.is_in(fields),
            rules: RULES.of(fields).as_ref().map(rules_json::shown).unwrap_or_default(),
            state: link.spec.state(counts.map_or(0, |counts| counts.used), now).into(),
            visits: counts.map(|counts| counts.visits.into()),
        }
    }
}

/// The host of a domain in JSON: `null` for the default one.
pub(super) fn host_text(host: Option<&HostName>) -> Option<String> {
    host.map(ToString::to_string)
}

/// Reads the begin or the end of a link. Whether it lies in the future is not for its text to say.
pub(super) fn parse_time(name: &'static str, text: &str) -> Result<UnixMs, Problem> {
    let ms = read_time(text).and_then(ReadTime::unix_ms).ok_or_else(|| {
        Problem::invalid(
            name,
            format!("{name} has to be a time like 2030-12-31T23:59:59Z or 2030-12-31T23:59:59+01:00 (RFC 3339)"),
        )
    })?;
    // What lies before 1970 has passed, like its beginning.
    Ok(UnixMs(u64::try_from(ms).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use waypost_protocol::Level;

    use super::*;

    #[test]
    fn an_end_comes_back_as_it_went() {
        let time = parse_time("validUntil", "2030-12-31T23:59:59.5+01:00").unwrap();
        assert_eq!(format_time(time), "2030-12-31T22:59:59.500Z");
        assert_eq!(parse_time("validUntil", &format_time(time)).unwrap(), time);
        let last = parse_time("validUntil", "9999-12-31T23:59:59Z").unwrap();
        assert_eq!(format_time(last), "9999-12-31T23:59:59.000Z");
        assert_eq!(parse_time("validUntil", "1960-01-01T00:00:00Z").unwrap(), UnixMs(0));
    }

    #[test]
    fn every_property_that_may_be_set_has_a_name_in_histories() {
        for tag in 16..=Tag::MAX {
            let mut fields = Fields::default();
            fields.set(tag, Some(Vec::new()));
            assert_eq!(field_name(tag).is_some(), fields.level() <= Level::CURRENT, "{tag}");
        }
    }

    #[test]
    fn ends_that_are_no_times_are_refused() {
        for text in ["", "tomorrow", "2030-12-31", "2030-12-31T23:59:59", "9e9"] {
            assert!(parse_time("validUntil", text).is_err(), "{text}");
        }
    }
}

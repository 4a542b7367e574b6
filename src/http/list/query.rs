//! Which links a request means, and in which order: the query parameters of lists and of sweeps.

use std::str::FromStr;

use serde::Deserialize;
use serde::de::value::{Error, StrDeserializer};
use serde::de::{DeserializeOwned, IntoDeserializer};
use utoipa::{IntoParams, ToSchema};
use waypost_catalog::Fits;
use waypost_protocol::digest::fingerprint;
use waypost_protocol::listing::{LinkFilter, PAGE_LINKS_MAX, Sort, SortKey, StateFilter};
use waypost_protocol::properties::Tags;
use waypost_protocol::{Code, Domain, LinkKey, LinkVersion};

use super::cursor::Cursor;
use crate::app::Principal;
use crate::http::link_json::parse_time;
use crate::http::problem::Problem;
use crate::http::state::NodeState;

/// The links of a page, unless the request says otherwise.
const PAGE_LINKS: usize = 100;

/// Whether all tags are needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum TagsMode {
    Any,
    All,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
enum StateName {
    Active,
    NotYet,
    Expired,
    Exhausted,
    Disabled,
    Protected,
    EndsSoon,
}

impl From<StateName> for StateFilter {
    fn from(name: StateName) -> Self {
        match name {
            StateName::Active => Self::Active,
            StateName::NotYet => Self::NotYet,
            StateName::Expired => Self::Expired,
            StateName::Exhausted => Self::Exhausted,
            StateName::Disabled => Self::Disabled,
            StateName::Protected => Self::Protected,
            StateName::EndsSoon => Self::EndsSoon,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
enum SortName {
    CreatedAt,
    EditedAt,
    Title,
    Slug,
    Visits,
    LastVisit,
}

impl From<SortName> for SortKey {
    fn from(name: SortName) -> Self {
        match name {
            SortName::CreatedAt => Self::CreatedAt,
            SortName::EditedAt => Self::EditedAt,
            SortName::Title => Self::Title,
            SortName::Slug => Self::Slug,
            SortName::Visits => Self::Visits,
            SortName::LastVisit => Self::LastVisit,
        }
    }
}

/// The form of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::http) enum Format {
    /// A page.
    Json,
    /// All links as a table.
    Csv,
    /// All links, one a line.
    Ndjson,
}

/// A struct of query parameters that begin with those of a filter.
macro_rules! with_filter {
    ($(#[$of:meta])* struct $name:ident { $($(#[$field:meta])* $key:ident: $kind:ty,)* }) => {
        $(#[$of])*
        #[derive(Debug, Default, Deserialize, IntoParams)]
        #[serde(rename_all = "camelCase", deny_unknown_fields)]
        #[into_params(parameter_in = Query, rename_all = "camelCase")]
        pub(in crate::http) struct $name {
            /// Words that the slug, the URL, the title or the note have to have: parts of words are enough, in any case, with or without accents.
            /// A whole short URL of this server means its link.
            #[param(example = "spring sale", max_length = 8192)]
            q: Option<String>,
            /// Tags, separated by commas, compared without case.
            #[param(example = "sale,2027")]
            tags: Option<String>,
            /// Whether a link needs `any` of `tags`, or `all`.
            #[param(inline, value_type = Option<TagsMode>, default = "any")]
            tags_mode: Option<String>,
            /// Tags of which a link may have none, separated by commas.
            #[param(example = "old")]
            exclude_tags: Option<String>,
            /// The host of a domain, or `DEFAULT`; without it links of all domains.
            #[param(example = "go.example")]
            domain: Option<String>,
            /// The state of the links now; `protected` are those with a password, whatever their state is, and `endsSoon` those that are active and end within a week.
            #[param(inline, value_type = Option<StateName>)]
            state: Option<String>,
            /// The time (RFC 3339) at or after which they were created.
            #[param(value_type = Option<String>, format = DateTime)]
            created_from: Option<String>,
            /// The time (RFC 3339) before which they were created.
            #[param(value_type = Option<String>, format = DateTime)]
            created_to: Option<String>,
            $($(#[$field])* $key: $kind,)*
        }

        impl $name {
            /// The parameters of the filter, with their names.
            fn given(&self) -> Given<'_> {
                Given {
                    q: self.q.as_deref(),
                    tags: self.tags.as_deref(),
                    tags_mode: self.tags_mode.as_deref(),
                    exclude_tags: self.exclude_tags.as_deref(),
                    domain: self.domain.as_deref(),
                    state: self.state.as_deref(),
                    created_from: self.created_from.as_deref(),
                    created_to: self.created_to.as_deref(),
                }
            }
        }
    };
}

with_filter! {
    /// The links of a sweep.
    struct SweepQuery {}
}

with_filter! {
    /// The links of a list, their order, and the page.
    struct ListQuery {
        /// The order: `createdAt`, `editedAt`, `title`, `slug`, `visits` or `lastVisit`, with `-` before it for the largest first.
        #[param(pattern = "^-?(createdAt|editedAt|title|slug|visits|lastVisit)$", default = "-createdAt")]
        sort: Option<String>,
        /// How many links at most: up to 1,000 in a page, without it 100. CSV and NDJSON have all links, unless this says otherwise.
        #[param(value_type = Option<u64>, minimum = 1)]
        limit: Option<String>,
        /// `nextCursor` of the page before, with the same filter and order.
        cursor: Option<String>,
        /// A state of a link that the list has to know: the `id` of the link and its `ETag`, with `:` between. The answer waits for it for up to 2 s, unless there cannot have been such a state.
        #[param(example = "0-handbook:1-2a")]
        seen: Option<String>,
        /// The form of the answer; without it, `Accept` decides.
        #[param(inline, value_type = Option<Format>, default = "json")]
        format: Option<String>,
    }
}

/// The parameters of a filter as they came.
struct Given<'a> {
    q: Option<&'a str>,
    tags: Option<&'a str>,
    tags_mode: Option<&'a str>,
    exclude_tags: Option<&'a str>,
    domain: Option<&'a str>,
    state: Option<&'a str>,
    created_from: Option<&'a str>,
    created_to: Option<&'a str>,
}

impl Given<'_> {
    /// `link_of` finds the link of a short URL.
    fn filter(&self, domain: Option<Domain>, link_of: impl Fn(&str) -> Option<LinkKey>) -> Result<LinkFilter, Problem> {
        let mode = self.tags_mode.map(|text| named("tagsMode", text)).transpose()?;
        let mut filter = LinkFilter {
            tags: tags_in("tags", self.tags)?,
            all_tags: mode == Some(TagsMode::All),
            exclude_tags: tags_in("excludeTags", self.exclude_tags)?,
            domain,
            state: self.state.map(|text| named::<StateName>("state", text)).transpose()?.map(Into::into),
            created_from: self.created_from.map(|text| parse_time("createdFrom", text)).transpose()?,
            created_to: self.created_to.map(|text| parse_time("createdTo", text)).transpose()?,
            ..LinkFilter::default()
        };
        let mut words = Vec::new();
        for word in self.q.unwrap_or_default().split_whitespace() {
            match link_of(word).filter(|_| filter.key.is_none()) {
                Some(key) => filter.key = Some(key.hash()),
                None => words.push(word),
            }
        }
        filter.text = words.join(" ");
        match Fits::of(&filter) {
            Ok(_) => Ok(filter),
            Err(error) => Err(Problem::invalid("q", format!("q: {error}"))),
        }
    }

    /// Identifies the filter with an order. Parameters of later versions do not change it as long as they are not given.
    fn fingerprint(&self, sort: Sort) -> u64 {
        let Self { q, tags, tags_mode, exclude_tags, domain, state, created_from, created_to } = self;
        let order = format!("{:?} {}", sort.key, sort.descending);
        let mut parts = vec![order.as_bytes()];
        for (name, given) in [
            ("q", q),
            ("tags", tags),
            ("tagsMode", tags_mode),
            ("excludeTags", exclude_tags),
            ("domain", domain),
            ("state", state),
            ("createdFrom", created_from),
            ("createdTo", created_to),
        ] {
            if let Some(given) = given {
                parts.extend([name.as_bytes(), given.as_bytes()]);
            }
        }
        fingerprint(&parts)
    }
}

/// What a list asks for.
#[derive(Debug)]
pub(in crate::http) struct Asked {
    pub(in crate::http) filter: LinkFilter,
    pub(in crate::http) sort: Sort,
    /// Identifies both.
    pub(in crate::http) print: u64,
    pub(in crate::http) cursor: Option<Cursor>,
    pub(in crate::http) seen: Option<(LinkKey, LinkVersion)>,
    pub(in crate::http) limit: Option<u64>,
}

impl Asked {
    /// The links of a page.
    pub(super) fn page_links(&self) -> Result<usize, Problem> {
        match self.limit {
            None => Ok(PAGE_LINKS),
            Some(limit) => usize::try_from(limit).ok().filter(|limit| *limit <= PAGE_LINKS_MAX).ok_or_else(|| {
                Problem::invalid(
                    "limit",
                    format!("limit can be {PAGE_LINKS_MAX} at most; follow nextCursor, or ask for format=ndjson, for more links"),
                )
            }),
        }
    }
}

impl ListQuery {
    /// The form that the request names.
    pub(super) fn format(&self) -> Result<Option<Format>, Problem> {
        self.format.as_deref().map(|text| named("format", text)).transpose()
    }

    /// What the request asks for. `link_of` finds the link of a short URL.
    pub(in crate::http) fn asked(
        &self,
        node: &NodeState,
        principal: &Principal,
        link_of: impl Fn(&str) -> Option<LinkKey>,
    ) -> Result<Asked, Problem> {
        let given = self.given();
        let sort = self.sort.as_deref().map(sort_in).transpose()?.unwrap_or_default();
        let print = given.fingerprint(sort);
        let limit = self.limit.as_deref().map(|text| positive("limit", text)).transpose()?;
        Ok(Asked {
            filter: given.filter(domain_of(node, principal, given.domain)?, link_of)?,
            sort,
            print,
            cursor: self.cursor.as_deref().map(|text| Cursor::read(text, sort, print)).transpose()?,
            seen: self.seen.as_deref().map(seen_in).transpose()?,
            limit,
        })
    }
}

impl SweepQuery {
    /// The links that are meant. `link_of` finds the link of a short URL.
    pub(in crate::http) fn filter(
        &self,
        node: &NodeState,
        principal: &Principal,
        link_of: impl Fn(&str) -> Option<LinkKey>,
    ) -> Result<LinkFilter, Problem> {
        let given = self.given();
        given.filter(domain_of(node, principal, given.domain)?, link_of)
    }
}

/// The number of a domain that a request names.
pub(in crate::http) fn domain_of(
    node: &NodeState,
    principal: &Principal,
    name: Option<&str>,
) -> Result<Option<Domain>, Problem> {
    Ok(name.map(|name| node.app.domain(principal, name)).transpose()?.map(|site| site.domain))
}

/// A positive number.
pub(in crate::http) fn positive(field: &'static str, text: &str) -> Result<u64, Problem> {
    let number = text.parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| Problem::invalid(field, format!("{field} has to be a whole number from 1 on")))
}

/// One of the names of an enum.
fn named<T: DeserializeOwned>(field: &'static str, text: &str) -> Result<T, Problem> {
    let text: StrDeserializer<'_, Error> = text.into_deserializer();
    T::deserialize(text).map_err(|error| Problem::invalid(field, format!("{field}: {error}")))
}

fn sort_in(text: &str) -> Result<Sort, Problem> {
    let (name, descending) = text.strip_prefix('-').map_or((text, false), |name| (name, true));
    Ok(Sort { key: named::<SortName>("sort", name)?.into(), descending })
}

/// Tags with commas between.
fn tags_in(field: &'static str, text: Option<&str>) -> Result<Vec<String>, Problem> {
    let texts: Vec<&str> =
        text.into_iter().flat_map(|text| text.split(',')).filter(|tag| !tag.trim().is_empty()).collect();
    let tags = Tags::parse(&texts).map_err(|error| Problem::invalid(field, format!("{field}: {error}")))?;
    Ok(tags.iter().flat_map(Tags::iter).map(str::to_owned).collect())
}

/// A link and its version, as `id` and `ETag` of an answer have them.
fn seen_in(text: &str) -> Result<(LinkKey, LinkVersion), Problem> {
    let read = || {
        let (id, version) = text.rsplit_once(':')?;
        let (domain, code) = id.split_once('-')?;
        let key = LinkKey { domain: Domain(u32::from_str(domain).ok()?), code: Code::from_segments(code)? };
        let version = version.strip_prefix("W/").unwrap_or(version);
        Some((key, version.trim_matches('"').parse().ok()?))
    };
    read().ok_or_else(|| {
        Problem::invalid(
            "seen",
            "seen has to be the id of a link and its ETag with a colon between, such as 0-handbook:1-2a",
        )
    })
}

#[cfg(test)]
mod tests {
    use waypost_protocol::UnixMs;
    use waypost_protocol::listing::{TEXT_BYTES_MAX, WORDS_MAX};

    use super::*;

    fn given() -> Given<'static> {
        Given {
            q: None,
            tags: None,
            tags_mode: None,
            exclude_tags: None,
            domain: None,
            state: None,
            created_from: None,
            created_to: None,
        }
    }

    fn key(code: &str) -> LinkKey {
        LinkKey::new(Code::parse_slug(code).unwrap())
    }

    fn filter(given: &Given<'_>) -> Result<LinkFilter, Problem> {
        given.filter(None, |word| word.strip_prefix("https://go.example/").map(key))
    }

    #[test]
    fn a_filter_has_what_is_given_and_nothing_else() {
        assert_eq!(filter(&given()).unwrap(), LinkFilter::default());
        let read = filter(&Given {
            q: Some(" Spring\t SALE "),
            tags: Some("Sale, 2027,,sale"),
            tags_mode: Some("all"),
            exclude_tags: Some("old"),
            state: Some("notYet"),
            created_from: Some("2026-01-01T00:00:00Z"),
            created_to: Some("2026-01-01T00:00:01+01:00"),
            ..given()
        });
        let expected = LinkFilter {
            text: "Spring SALE".to_owned(),
            tags: vec!["Sale".to_owned(), "2027".to_owned()],
            all_tags: true,
            exclude_tags: vec!["old".to_owned()],
            state: Some(StateFilter::NotYet),
            created_from: Some(UnixMs(1_767_225_600_000)),
            created_to: Some(UnixMs(1_767_222_001_000)),
            ..LinkFilter::default()
        };
        assert_eq!(read.unwrap(), expected);
    }

    #[test]
    fn a_short_url_means_its_link_and_a_second_one_no_link() {
        let read = |q| {
            let read = filter(&Given { q: Some(q), ..given() }).unwrap();
            (read.key, read.text)
        };
        let abc = Some(key("abc").hash());
        assert_eq!(read("https://go.example/abc"), (abc, String::new()));
        assert_eq!(read("a https://go.example/abc b"), (abc, "a b".to_owned()));
        assert_eq!(read("https://go.example/abc https://go.example/x"), (abc, "https://go.example/x".to_owned()));
        assert_eq!(read("https://other.example/abc"), (None, "https://other.example/abc".to_owned()));
    }

    #[test]
    fn what_cannot_be_read_is_refused_with_the_name_of_its_parameter() {
        let long = "x".repeat(TEXT_BYTES_MAX + 1);
        let words: String = (0..=WORDS_MAX).map(|n| format!("w{n} ")).collect();
        let (tag, many) = ("x".repeat(65), (0..33).map(|n| n.to_string()).collect::<Vec<_>>().join(","));
        for (field, given) in [
            ("q", Given { q: Some(&long), ..given() }),
            ("q", Given { q: Some(&words), ..given() }),
            ("tags", Given { tags: Some(&tag), ..given() }),
            ("tags", Given { tags: Some(&many), ..given() }),
            ("tags", Given { tags: Some("a\nb"), ..given() }),
            ("excludeTags", Given { exclude_tags: Some(&tag), ..given() }),
            ("tagsMode", Given { tags_mode: Some("some"), ..given() }),
            ("tagsMode", Given { tags_mode: Some(""), ..given() }),
            ("state", Given { state: Some("Active"), ..given() }),
            ("createdFrom", Given { created_from: Some("yesterday"), ..given() }),
            ("createdTo", Given { created_to: Some("2026-01-01"), ..given() }),
        ] {
            let refused = filter(&given).unwrap_err();
            assert_eq!((refused.status().as_u16(), refused.field()), (422, Some(field)), "{refused}");
        }
        for sort in ["", "-", "created", "--title", "Title", "+title"] {
            assert_eq!(sort_in(sort).unwrap_err().field(), Some("sort"), "{sort}");
        }
        for limit in ["", "0", "-1", "1.5", "ten", "99999999999999999999999"] {
            assert_eq!(positive("limit", limit).unwrap_err().field(), Some("limit"), "{limit}");
        }
        for seen in
            ["", "0-abc", "abc:1-2a", "0-abc:", "0-abc:x", "x-abc:1-2a", "0-a//b:1-2a", ":1-2a", "99999999999-a:1-2"]
        {
            assert_eq!(seen_in(seen).unwrap_err().field(), Some("seen"), "{seen}");
        }
    }

    #[test]
    fn a_version_that_was_seen_is_named_as_answers_have_it() {
        let version = LinkVersion { version: 1, written_at: 0x2a };
        for text in ["0-a-b:1-2a", "0-a-b:\"1-2a\"", "0-a-b:W/\"1-2a\""] {
            assert_eq!(seen_in(text).unwrap(), (key("a-b"), version), "{text}");
        }
        assert_eq!(seen_in("7-münchen:1-2a").unwrap().0.domain, Domain(7));
    }

    #[test]
    fn every_order_has_its_name() {
        for (text, key, descending) in [
            ("createdAt", SortKey::CreatedAt, false),
            ("-editedAt", SortKey::EditedAt, true),
            ("title", SortKey::Title, false),
            ("-slug", SortKey::Slug, true),
            ("visits", SortKey::Visits, false),
            ("-lastVisit", SortKey::LastVisit, true),
        ] {
            assert_eq!(sort_in(text).unwrap(), Sort { key, descending });
        }
    }

    #[test]
    fn a_fingerprint_differs_where_the_filter_or_the_order_does() {
        let sort = Sort::default();
        let prints = [
            given().fingerprint(sort),
            given().fingerprint(Sort { descending: false, ..sort }),
            given().fingerprint(Sort { key: SortKey::Title, ..sort }),
            Given { q: Some("a"), ..given() }.fingerprint(sort),
            Given { tags: Some("a"), ..given() }.fingerprint(sort),
            Given { exclude_tags: Some("a"), ..given() }.fingerprint(sort),
            Given { q: Some(""), ..given() }.fingerprint(sort),
        ];
        for (at, print) in prints.iter().enumerate() {
            assert!(!prints[..at].contains(print), "{at}");
        }
        assert_eq!(given().fingerprint(sort), given().fingerprint(sort));
    }
}

//! The columns of an import file: the names that Waypost and other shorteners use for them.

/// A column of an import file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Column {
    /// The target of the link.
    Url,
    /// The code of the link, or its whole short URL.
    Slug,
    /// The host of the link's domain.
    Domain,
    /// The begin of the link.
    ValidSince,
    /// The end of the link.
    ValidUntil,
    /// How many visitors are sent to the target.
    MaxVisits,
    /// The title of the link.
    Title,
    /// The tags of the link, in one cell.
    Tags,
    /// The note of the link.
    Note,
    /// Whether the link is disabled.
    Disabled,
    /// Whether the link is not disabled.
    Enabled,
    /// A word for the state of the link.
    State,
    /// The end of the link as a duration, which cannot be imported.
    Duration,
    /// Whether the link has a password, which cannot be imported.
    Protected,
    /// The rules of the link: a list as JSON.
    Rules,
    /// The status of the redirect.
    RedirectStatus,
    /// Whether the query of visitors is added to the target.
    ForwardQuery,
    /// Whether the path after the code is added to the target.
    ForwardPath,
    /// Where visitors are sent while the link leads nowhere.
    ExpiredUrl,
    /// Whether crawlers may follow the link.
    Crawlable,
    /// A column that cannot be imported.
    Unknown,
}

/// Names of the column with the URL, in lower case, without spaces, `_` and `-`.
const URL: &[&str] = &[
    "url",
    "longurl",
    "target",
    "targeturl",
    "destination",
    "destinationurl",
    "original",
    "originalurl",
    "longlink",
    "redirecturl",
];

const SLUG: &[&str] = &[
    "slug",
    "customslug",
    "shortcode",
    "code",
    "keyword",
    "key",
    "alias",
    "slashtag",
    "address",
    "shortlink",
    "shorturl",
    "backhalf",
    "backhalves",
    "custombackhalf",
    "custombackhalves",
    "bitlink",
    "custombitlink",
    "custombitlinks",
    "path",
    "shortened",
    "shortenedurl",
    "tinyurl",
];

const DOMAIN: &[&str] = &["domain", "domainname", "host", "hostname"];

const VALID_UNTIL: &[&str] =
    &["validuntil", "expires", "expiresat", "expireat", "expiry", "expiration", "expirationdate", "expirydate"];

const VALID_SINCE: &[&str] = &["validsince", "validfrom", "startdate", "startsat", "startat"];

const MAX_VISITS: &[&str] = &["maxvisits", "visitlimit", "maxclicks", "clicklimit", "limit"];

const TITLE: &[&str] = &["title", "linktitle"];

const TAGS: &[&str] = &["tags", "tag"];

const DISABLED: &[&str] =
    &["disabled", "isdisabled", "banned", "isbanned", "blocked", "isblocked", "paused", "ispaused", "inactive"];

const ENABLED: &[&str] = &["enabled", "isenabled", "active", "isactive"];

const STATE: &[&str] = &["state", "status", "linkstatus"];

const DURATION: &[&str] = &["expiresin", "expirein", "expiresafter", "expireafter", "ttl"];

const PROTECTED: &[&str] = &["protected", "password", "haspassword", "passwordprotected"];

const NOTE: &[&str] = &["note", "notes", "comment", "comments", "description"];

/// The meaning of each column; `None` if none of them is the URL, so that the line is not a header.
pub(super) fn of_header<'a>(names: impl IntoIterator<Item = &'a str>) -> Option<Vec<Column>> {
    let names: Vec<String> = names.into_iter().map(bare).collect();
    let mut columns: Vec<Column> = names.iter().map(|name| meaning(name)).collect();
    // If there is a column for the long URL, `link` is the short one.
    let link = names.iter().position(|name| name == "link");
    if let Some(at) = link {
        let has = |columns: &[Column], column| columns.contains(&column);
        columns[at] = match (has(&columns, Column::Url), has(&columns, Column::Slug)) {
            (false, _) => Column::Url,
            (true, false) => Column::Slug,
            (true, true) => Column::Unknown,
        };
    }
    // Of two columns with the same meaning the first counts; those that restrict a link all do.
    let restricts = |column| {
        use Column::{Disabled, Duration, Enabled, Protected, Rules, State};
        matches!(column, Disabled | Enabled | State | Duration | Protected | Rules)
    };
    for at in 1..columns.len() {
        if columns[..at].contains(&columns[at]) && !restricts(columns[at]) {
            columns[at] = Column::Unknown;
        }
    }
    columns.contains(&Column::Url).then_some(columns)
}

fn meaning(name: &str) -> Column {
    match name {
        name if URL.contains(&name) => Column::Url,
        name if SLUG.contains(&name) => Column::Slug,
        name if DOMAIN.contains(&name) => Column::Domain,
        name if VALID_SINCE.contains(&name) => Column::ValidSince,
        name if VALID_UNTIL.contains(&name) => Column::ValidUntil,
        name if MAX_VISITS.contains(&name) => Column::MaxVisits,
        name if TITLE.contains(&name) => Column::Title,
        name if TAGS.contains(&name) => Column::Tags,
        name if NOTE.contains(&name) => Column::Note,
        name if DISABLED.contains(&name) => Column::Disabled,
        name if ENABLED.contains(&name) => Column::Enabled,
        name if STATE.contains(&name) => Column::State,
        name if DURATION.contains(&name) => Column::Duration,
        name if PROTECTED.contains(&name) => Column::Protected,
        "rules" => Column::Rules,
        "redirectstatus" => Column::RedirectStatus,
        "forwardquery" => Column::ForwardQuery,
        "forwardpath" => Column::ForwardPath,
        "expiredurl" => Column::ExpiredUrl,
        "crawlable" => Column::Crawlable,
        _ => Column::Unknown,
    }
}

fn bare(name: &str) -> String {
    name.chars().filter(|c| !matches!(c, ' ' | '_' | '-' | '"')).flat_map(char::to_lowercase).collect()
}

fn is_one_of(text: &str, words: &[&str]) -> bool {
    words.iter().any(|word| text.trim().eq_ignore_ascii_case(word))
}

/// Whether a cell says yes: everything but nothing and the usual words for no.
pub(super) fn is_yes(text: &str) -> bool {
    !is_no(text) && !is_one_of(text, &["", "-", "null", "none", "nil", "n/a", "na", "[]", "{}"])
}

/// Whether a cell says no.
pub(super) fn is_no(text: &str) -> bool {
    is_one_of(text, &["false", "no", "off", "0", "f", "n"])
}

/// Whether a word is a state in which a link leads nowhere.
pub(super) fn is_off(text: &str) -> bool {
    let words =
        ["disabled", "inactive", "paused", "banned", "blocked", "suspended", "deactivated", "deleted", "removed"];
    is_no(text) || is_one_of(text, &words)
}

/// Whether a word is a state in which a link leads somewhere, or would without its limits.
pub(super) fn is_on(text: &str) -> bool {
    let words = [
        "active",
        "enabled",
        "on",
        "live",
        "notYet",
        "expired",
        "exhausted",
        "protected",
        "ok",
        "true",
        "yes",
        "1",
        "published",
    ];
    // Some files have the status of the redirect there.
    is_one_of(text, &words)
        || is_nothing(text)
        || matches!(text.trim(), "" | "200" | "301" | "302" | "303" | "307" | "308")
}

/// Whether a cell stands for no limit, no time and no address.
pub(super) fn is_nothing(text: &str) -> bool {
    let words = [
        "0",
        "-",
        "null",
        "none",
        "nil",
        "never",
        "unlimited",
        "no limit",
        "n/a",
        "na",
        "0000-00-00",
        "0000-00-00 00:00:00",
    ];
    is_one_of(text, &words)
}

/// The tags in a cell: a list as JSON, or with commas between, or without any, with `|` or `;`, as the files of other shorteners have them.
pub(super) fn tags_of(text: &str) -> Vec<String> {
    if let Ok(tags) = serde_json::from_str::<Vec<String>>(text) {
        return tags;
    }
    let delimiter = [',', '|'].into_iter().find(|delimiter| text.contains(*delimiter)).unwrap_or(';');
    text.split(delimiter).map(str::trim).filter(|tag| !tag.is_empty()).map(str::to_owned).collect()
}

/// The code in a column that holds a code or a whole short URL. `multi_segment`: whether slugs of its domain may have several segments, so that all of the path
/// is the code.
pub(super) fn slug_of(text: &str, multi_segment: bool) -> &str {
    let text = text.split(['?', '#']).next().unwrap_or(text).trim_matches('/');
    if !text.contains("://") && !text.contains('.') {
        return text;
    }
    match multi_segment {
        true => text.split_once("://").map_or(text, |(_, rest)| rest).split_once('/').map_or(text, |(_, path)| path),
        false => text.rsplit('/').next().unwrap_or(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_headers_of_other_shorteners_are_known() {
        use Column::{
            Disabled, Domain, Duration, Enabled, MaxVisits, Note, Slug, State, Tags, Title, Unknown, Url, ValidSince,
            ValidUntil,
        };
        for (header, expected) in [
            ("url,slug,validUntil", vec![Url, Slug, ValidUntil]),
            ("keyword,url,title,timestamp,ip,clicks", vec![Slug, Url, Title, Unknown, Unknown, Unknown]),
            ("Short Code,Long URL", vec![Slug, Url]),
            ("address,target,expire_at", vec![Slug, Url, ValidUntil]),
            ("slashtag,destination", vec![Slug, Url]),
            ("title,long_url,link", vec![Title, Url, Slug]),
            ("Long URL;Short code;Domain;Title;Tags", vec![Url, Slug, Domain, Title, Tags]),
            ("url,slug,comment,valid_since", vec![Url, Slug, Note, ValidSince]),
            ("short_url,long_url,hits,expiry_time,notes", vec![Slug, Url, Unknown, Unknown, Note]),
            ("short_code,long_url,max_visits", vec![Slug, Url, MaxVisits]),
            ("link", vec![Url]),
            ("link,custom_bitlinks,long_url", vec![Unknown, Slug, Url]),
            ("originalURL,path,title", vec![Url, Slug, Title]),
            ("Tiny URL,Long URL", vec![Slug, Url]),
            ("url,enabled,Status,Expire in,Banned", vec![Url, Enabled, State, Duration, Disabled]),
            ("Link,URL,Slug", vec![Unknown, Url, Slug]),
            ("url,URL", vec![Url, Unknown]),
        ] {
            assert_eq!(of_header(header.split([',', ';'])), Some(expected), "{header}");
        }
        assert_eq!(of_header(["name", "clicks"]), None);
        assert_eq!(of_header(["https://example.com/", "code"]), None);
    }

    #[test]
    fn tags_have_commas_between_or_else_bars() {
        for (text, tags) in [
            ("spring", &["spring"][..]),
            ("spring, sale|now ,", &["spring", "sale|now"]),
            ("spring|big sale", &["spring", "big sale"]),
            (" | ", &[]),
            ("spring;big sale", &["spring", "big sale"]),
            ("[\"spring\", \"big sale\"]", &["spring", "big sale"]),
            ("[]", &[]),
        ] {
            assert_eq!(tags_of(text), tags, "{text}");
        }
    }

    #[test]
    fn a_short_url_in_the_column_of_codes_is_its_code() {
        for (text, code) in [
            ("sale", "sale"),
            ("https://s.example/sale", "sale"),
            ("s.example/sale/", "sale"),
            ("https://s.example/sale?utm=1", "sale"),
            ("https://s.example/sale/?utm=1", "sale"),
            ("nested/slug", "nested/slug"),
            ("/sale", "sale"),
            ("/sale/", "sale"),
        ] {
            assert_eq!(slug_of(text, false), code);
        }
        for (text, code) in [
            ("sale", "sale"),
            ("docs/setup", "docs/setup"),
            ("https://s.example/docs/setup/?utm=1", "docs/setup"),
            ("s.example/docs/setup", "docs/setup"),
            ("https://s.example/sale", "sale"),
        ] {
            assert_eq!(slug_of(text, true), code);
        }
    }
}

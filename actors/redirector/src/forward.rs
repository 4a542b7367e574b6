//! What a visitor adds to the target of a link: the rest of the path, and the query.

use std::borrow::Cow;
use std::collections::HashSet;

/// The longest `Location`, in bytes: browsers and proxies refuse longer ones. If the visitor's path and query would make it longer, they are left out.
const LOCATION_BYTES_MAX: usize = 8192;

/// The target with a visitor's path and query. Scheme and host stay: the path begins with a slash, and the target has one after its host.
pub(crate) fn forwarded<'a>(target: &'a str, query: Option<&str>, rest: Option<&str>) -> Cow<'a, str> {
    let query = query.filter(|query| !query.is_empty());
    let added = query.map_or(0, str::len) + rest.map_or(0, str::len);
    if added == 0 || target.len() + added > LOCATION_BYTES_MAX {
        return Cow::Borrowed(target);
    }
    let (before_fragment, fragment) = target.split_at(target.find('#').unwrap_or(target.len()));
    let (path, own_query) = match before_fragment.split_once('?') {
        Some((path, own_query)) => (path, Some(own_query)),
        None => (before_fragment, None),
    };
    let mut location = match rest {
        Some(rest) => format!("{}{rest}", path.strip_suffix('/').unwrap_or(path)),
        None => path.to_owned(),
    };
    if let Some(merged) = merged(own_query, query) {
        location.push('?');
        location.push_str(&merged);
    }
    location.push_str(fragment);
    Cow::Owned(location)
}

/// Both queries: parameters of the target that the visitor gives too are the visitor's.
fn merged(own: Option<&str>, given: Option<&str>) -> Option<String> {
    let Some(given) = given else { return own.map(str::to_owned) };
    let name = |parameter: &str| form_urlencoded::parse(parameter.as_bytes()).next().map(|(name, _)| name.into_owned());
    let names: HashSet<_> = given.split('&').filter_map(name).collect();
    let kept = own.unwrap_or_default().split('&').filter(|own| !own.is_empty());
    let kept = kept.filter(|own| name(own).is_none_or(|name| !names.contains(&name)));
    Some(kept.chain([given]).collect::<Vec<_>>().join("&"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use url::Url;

    use super::*;

    #[test]
    fn query_and_path_are_added_to_the_target() {
        let url = |target: &str, query: Option<&str>, rest: Option<&str>| forwarded(target, query, rest).into_owned();
        for (target, query, rest, location) in [
            ("https://a.b/", None, Some("/x/y"), "https://a.b/x/y"),
            ("https://a.b/c", None, Some("/x/"), "https://a.b/c/x/"),
            ("https://a.b/c/?p=1#f", None, Some("/x"), "https://a.b/c/x?p=1#f"),
            ("https://a.b/c", Some("q=2"), None, "https://a.b/c?q=2"),
            ("https://a.b/c#f", Some("q=2&r"), Some("/x"), "https://a.b/c/x?q=2&r#f"),
            ("https://a.b/c?p=1&q=1", Some("q=2"), None, "https://a.b/c?p=1&q=2"),
            ("https://a.b/c?%71=1&p", Some("q=2"), None, "https://a.b/c?p&q=2"),
            ("https://a.b/c?p=1", Some(""), None, "https://a.b/c?p=1"),
            // What is escaped stays as it is.
            ("https://a.b/c", Some("q=%26%2541"), Some("/%2e%2e/x"), "https://a.b/c/%2e%2e/x?q=%26%2541"),
        ] {
            assert_eq!(url(target, query, rest), location, "{target} {query:?} {rest:?}");
        }
    }

    #[test]
    fn what_is_longer_than_a_browser_takes_is_not_added() {
        let long = "x".repeat(LOCATION_BYTES_MAX - "https://a.b/".len());
        assert_eq!(forwarded("https://a.b/", Some(&long), None).len(), "https://a.b/?".len() + long.len());
        assert_eq!(forwarded("https://a.b/", Some(&long), Some("/")), "https://a.b/");
    }

    proptest! {
        #[test]
        fn nothing_that_a_visitor_adds_changes_scheme_or_host(
            target in prop::sample::select(vec!["https://a.b/", "http://a.b:81/c?d=e#f", "https://[::1]/x/", "https://a.b/?q"]),
            query in prop::option::of("[!-~]{0,20}"),
            rest in prop::option::of("/[!-~]{0,20}"),
        ) {
            let origin = |url: &str| url.splitn(4, '/').take(3).collect::<Vec<_>>().join("/");
            prop_assert_eq!(origin(target), origin(&forwarded(target, query.as_deref(), rest.as_deref())));
            let (before, location) = (Url::parse(target).unwrap(), forwarded(target, query.as_deref(), rest.as_deref()));
            let after = Url::parse(&location).unwrap();
            prop_assert_eq!((before.scheme(), before.host(), before.port()), (after.scheme(), after.host(), after.port()));
            prop_assert_eq!((after.username(), after.password()), ("", None));
        }
    }
}

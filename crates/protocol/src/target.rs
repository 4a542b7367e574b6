//! Targets: the URLs to which links lead.
//!
//! A target is parsed by the WHATWG rules, as the visitor's browser does, and stored in its normal form.
//! The stored form is sent to the visitor byte for byte.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};
use url::{Host, Url};

use crate::own_host::OwnHost;

/// The longest target, in bytes, whatever the configuration says: the limit of the store and of every browser.
pub const TARGET_BYTES_MAX: usize = 8192;

/// The normal form of an accepted URL. Invariant: visible ASCII only, so it is a valid HTTP header value.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct Target(Box<str>);

/// The longest label of a host, in bytes (RFC 1035).
const LABEL_BYTES_MAX: usize = 63;

/// The longest name of a host, in bytes, without the dot that may end it.
const HOST_BYTES_MAX: usize = 253;

/// Whether a character is copied together with a URL, and is not visible: white space of every kind, and invisible characters that
/// join, break or turn text. Not variation selectors and tags, which may end an emoji at the end of a URL.
fn is_invisible(c: char) -> bool {
    c.is_whitespace()
        || matches!(
            c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{2800}' | '\u{3164}' | '\u{ffa0}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
                | '\u{feff}' | '\u{fff9}'..='\u{fffc}'
        )
}

/// Signs that stand around a URL in a text, none of which a URL can begin with (RFC 3986, appendix C).
const AROUND: [(char, char); 11] = [
    ('<', '>'),
    ('[', ']'),
    ('"', '"'),
    ('\'', '\''),
    ('`', '`'),
    ('(', ')'),
    ('“', '”'),
    ('„', '“'),
    ('‘', '’'),
    ('«', '»'),
    ('‹', '›'),
];

/// Signs around a URL that stand in none, so that one of a pair may be missing.
const NEVER_IN_URLS: [char; 3] = ['<', '>', '"'];

/// A text without what is copied together with a URL: invisible characters, and signs around it.
fn bare(text: &str) -> &str {
    let around = |c: char| is_invisible(c) || NEVER_IN_URLS.contains(&c);
    let mut text = text.trim_matches(around);
    let within = |text: &str| {
        AROUND.iter().find_map(|(open, close)| {
            let inner = text.strip_prefix(*open)?.strip_suffix(*close)?;
            // The last bracket belongs to the URL if it closes one in it.
            (inner.matches(*open).count() == inner.matches(*close).count()).then_some(inner.len())
        })
    };
    while let Some(length) = within(text) {
        let open = text.chars().next().map_or(0, char::len_utf8);
        text = text[open..open + length].trim_matches(around);
    }
    text
}

/// Why a text cannot be a target, and what to change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// The text is empty.
    #[error("the URL is empty; give one that begins with http:// or https://")]
    Empty,
    /// Too many bytes.
    #[error("the URL has {length} bytes; at most {max} are possible")]
    TooLong {
        /// Its length, or that of its normal form if that is longer.
        length: usize,
        /// The largest length.
        max: usize,
    },
    /// A control character, which browsers drop or misread.
    #[error(
        "the URL has a control character (U+{code:04X}) at byte {position}; remove it, or write it as a percent-escape"
    )]
    ControlCharacter {
        /// Its code point.
        code: u32,
        /// The offset of its byte.
        position: usize,
    },
    /// No scheme.
    #[error("the URL has no scheme; put https:// before it")]
    NoScheme,
    /// A scheme other than http and https.
    #[error("{scheme}: URLs are not allowed; use http or https")]
    Scheme {
        /// The scheme.
        scheme: String,
    },
    /// Not a URL by the WHATWG rules.
    #[error("the URL cannot be parsed: {reason}")]
    Unparsable {
        /// Why not.
        reason: String,
    },
    /// The host is a scheme: two URLs were put together.
    #[error("the URL has a scheme twice; remove one")]
    SchemeTwice,
    /// It has a user name or a password.
    #[error("the URL has a user name or password; remove the part before the @")]
    Credentials,
    /// A part of the host's name between dots is missing.
    #[error("the host of the URL begins with a dot, or has two in a row; remove the extra dot")]
    EmptyLabel,
    /// A part of the host's name between dots is too long.
    #[error(
        "the host of the URL has {length} bytes between two dots; at most {LABEL_BYTES_MAX} are possible, so no such host exists"
    )]
    LabelTooLong {
        /// Its length in ASCII form.
        length: usize,
    },
    /// The host is too long.
    #[error("the host of the URL has {length} bytes; at most {HOST_BYTES_MAX} are possible, so no such host exists")]
    HostTooLong {
        /// Its length in ASCII form.
        length: usize,
    },
    /// It leads back to this server.
    #[error("the URL leads to this server itself, which would be a loop; give the final address")]
    OwnHost,
}

impl TargetError {
    /// A stable word for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::TooLong { .. } => "too-long",
            Self::ControlCharacter { .. } => "control-character",
            Self::NoScheme => "no-scheme",
            Self::Scheme { .. } => "scheme",
            Self::Unparsable { .. } => "unparsable",
            Self::SchemeTwice => "scheme-twice",
            Self::Credentials => "credentials",
            Self::EmptyLabel => "empty-label",
            Self::LabelTooLong { .. } => "label-too-long",
            Self::HostTooLong { .. } => "host-too-long",
            Self::OwnHost => "own-host",
        }
    }
}

impl Target {
    /// Parses an `http` or `https` URL that does not lead to one of `own`, of at most `max` bytes (and never more than
    /// [`TARGET_BYTES_MAX`]). White space, invisible characters, and quotes or brackets around it are dropped.
    ///
    /// # Errors
    /// [`TargetError`] says what to change.
    pub fn parse(input: &str, own: &[OwnHost], max: usize) -> Result<Self, TargetError> {
        let input = bare(input);
        let max = max.min(TARGET_BYTES_MAX);
        if input.is_empty() {
            return Err(TargetError::Empty);
        }
        if input.len() > max {
            return Err(TargetError::TooLong { length: input.len(), max });
        }
        // WHATWG parsers silently drop tabs and line ends, so they have to be found before parsing.
        if let Some((position, c)) = input.char_indices().find(|(_, c)| c.is_control()) {
            return Err(TargetError::ControlCharacter { code: c.into(), position });
        }
        let url = Url::parse(input).map_err(|error| match error {
            url::ParseError::RelativeUrlWithoutBase => TargetError::NoScheme,
            other => TargetError::Unparsable { reason: other.to_string() },
        })?;
        if !matches!(url.scheme(), "http" | "https") {
            // "example.com:8080/x" parses as the scheme "example.com".
            return Err(match url.scheme().contains('.') || url.scheme() == "localhost" {
                true => TargetError::NoScheme,
                false => TargetError::Scheme { scheme: url.scheme().to_owned() },
            });
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(TargetError::Credentials);
        }
        if let Some(Host::Domain(name)) = url.host() {
            if matches!(name, "http" | "https") {
                return Err(TargetError::SchemeTwice);
            }
            check_name(name)?;
        }
        if own.iter().any(|host| host.is(&url)) {
            return Err(TargetError::OwnHost);
        }
        let text = String::from(url);
        if text.len() > max {
            return Err(TargetError::TooLong { length: text.len(), max });
        }
        if !visible_ascii(&text) {
            return Err(TargetError::Unparsable { reason: "its normal form is not ASCII".to_owned() });
        }
        Ok(Self(text.into()))
    }

    /// The URL.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Checks what WHATWG parsers leave to the resolver: names that no host can have. One dot at the end is the root, and is valid.
fn check_name(name: &str) -> Result<(), TargetError> {
    let name = name.strip_suffix('.').unwrap_or(name);
    for label in name.split('.') {
        match label.len() {
            0 => return Err(TargetError::EmptyLabel),
            length if length > LABEL_BYTES_MAX => return Err(TargetError::LabelTooLong { length }),
            _ => {}
        }
    }
    if name.len() > HOST_BYTES_MAX {
        return Err(TargetError::HostTooLong { length: name.len() });
    }
    Ok(())
}

fn visible_ascii(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_graphic())
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Target {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Box::<str>::deserialize(deserializer)?;
        if !visible_ascii(&text) {
            return Err(serde::de::Error::custom("a target has to be visible ASCII"));
        }
        Ok(Self(text))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(input: &str) -> Result<Target, TargetError> {
        let own = OwnHost::of_url(&Url::parse("http://s.example:8080/").unwrap()).unwrap();
        Target::parse(input, &[own], TARGET_BYTES_MAX)
    }

    #[test]
    fn urls_are_stored_in_their_normal_form() {
        for (input, stored) in [
            ("https://example.com", "https://example.com/"),
            ("HTTP://EXAMPLE.com:80/a b?q=ü#x", "http://example.com/a%20b?q=%C3%BC#x"),
            ("  https://example.com/  ", "https://example.com/"),
            ("https://bücher.example/straße", "https://xn--bcher-kva.example/stra%C3%9Fe"),
            ("https://例え.テスト/", "https://xn--r8jz45g.xn--zckzah/"),
            ("https://example.com/a/../b", "https://example.com/b"),
            ("https://example.com/%zz", "https://example.com/%zz"),
            ("http://[::1]:3000/x", "http://[::1]:3000/x"),
            ("<https://example.com/>", "https://example.com/"),
            ("\"https://example.com/a\"", "https://example.com/a"),
            ("“ https://example.com/a ”", "https://example.com/a"),
            ("«https://example.com/a»", "https://example.com/a"),
            ("‹https://example.com/a›", "https://example.com/a"),
            ("`'https://example.com/a'`", "https://example.com/a"),
            ("(https://example.com/X_(y))", "https://example.com/X_(y)"),
            ("https://example.com/X_(y)", "https://example.com/X_(y)"),
            ("[https://example.com/a]", "https://example.com/a"),
            ("\"https://example.com/a", "https://example.com/a"),
            ("https://example.com/a\">", "https://example.com/a"),
            ("https://example.com/«a»", "https://example.com/%C2%ABa%C2%BB"),
            ("„https://example.com/a“", "https://example.com/a"),
            ("https://example.com/a\u{2800}\u{3164}", "https://example.com/a"),
        ] {
            assert_eq!(parse(input).map(|target| target.to_string()), Ok(stored.to_owned()));
        }
    }

    #[test]
    fn bad_urls_are_refused_for_the_right_reason() {
        for (input, code) in [
            ("", "empty"),
            ("<>", "empty"),
            ("\"", "empty"),
            ("(https://example.com/", "no-scheme"),
            ("(https://example.com/X_(y)", "no-scheme"),
            ("   ", "empty"),
            ("example.com", "no-scheme"),
            ("https://https://example.com/", "scheme-twice"),
            ("http://http//example.com/", "scheme-twice"),
            ("https://http:/example.com", "scheme-twice"),
            ("example.com:8080/x", "no-scheme"),
            ("//example.com/", "no-scheme"),
            ("javascript:alert(1)", "scheme"),
            ("JaVaScRiPt:alert(1)", "scheme"),
            ("data:text/html,x", "scheme"),
            ("file:///etc/passwd", "scheme"),
            ("ftp://example.com/", "scheme"),
            ("java\nscript:alert(1)", "control-character"),
            ("https://example.com/\r\nSet-Cookie: a=b", "control-character"),
            ("https://example.com/\0", "control-character"),
            ("https://exa\tmple.com/", "control-character"),
            ("https://example.com/\u{85}x", "control-character"),
            ("\0https://example.com/", "control-character"),
            ("https://.example.com/", "empty-label"),
            ("https://example..com/", "empty-label"),
            ("https://example.com../", "empty-label"),
            ("https://./", "empty-label"),
            ("https://../", "empty-label"),
            ("https://example%2e.com/", "empty-label"),
            ("https://example。。com/", "empty-label"),
            ("https://user@example.com/", "credentials"),
            ("https://user:pw@example.com/", "credentials"),
            ("https://:pw@example.com/", "credentials"),
            ("http://", "unparsable"),
            ("https://exa mple.com/", "unparsable"),
            ("http://256.256.256.256/", "unparsable"),
            ("http://example.com:99999/", "unparsable"),
            ("http://s.example:8080/abc", "own-host"),
            ("http://S.EXAMPLE:8080/abc", "own-host"),
            ("http://s.example./abc", "own-host"),
            ("https://s.example/abc", "own-host"),
        ] {
            assert_eq!(parse(input).map_err(|error| error.code()), Err(code), "{input:?}");
        }
    }

    #[test]
    fn white_space_and_invisible_characters_around_a_url_are_dropped() {
        for around in [
            " ",
            "\t",
            "\n",
            "\r\n",
            "\u{b}",
            "\u{c}",
            "\u{85}",
            "\u{a0}",
            "\u{ad}",
            "\u{1680}",
            "\u{180e}",
            "\u{2003}",
            "\u{2007}",
            "\u{200b}",
            "\u{200c}",
            "\u{200d}",
            "\u{200e}",
            "\u{200f}",
            "\u{2028}",
            "\u{2029}",
            "\u{202a}",
            "\u{202e}",
            "\u{202f}",
            "\u{205f}",
            "\u{2060}",
            "\u{2066}",
            "\u{2069}",
            "\u{3000}",
            "\u{61c}",
            "\u{feff}",
            "\u{fffc}",
            "\u{feff} \u{200b}\n",
        ] {
            for input in [format!("{around}https://example.com/a"), format!("https://example.com/a{around}")] {
                let target = parse(&input).map(|target| target.to_string());
                assert_eq!(target.as_deref(), Ok("https://example.com/a"), "{input:?}");
            }
            assert_eq!(parse(around).map_err(|error| error.code()), Err("empty"), "{around:?}");
        }
        // Within a URL they are part of it; so is what ends an emoji.
        assert_eq!(parse("https://example.com/a\u{200b}b").unwrap().as_str(), "https://example.com/a%E2%80%8Bb");
        assert_eq!(
            parse("https://example.com/\u{2764}\u{fe0f}").unwrap().as_str(),
            "https://example.com/%E2%9D%A4%EF%B8%8F"
        );
    }

    #[test]
    fn a_host_has_labels_of_63_bytes_and_a_name_of_253_at_most() {
        let label = |length| "a".repeat(length);
        let code = |host: &str| parse(&format!("https://{host}/")).map(|_| ()).map_err(|error| error.code());
        assert_eq!(code(&format!("{}.example", label(63))), Ok(()));
        assert_eq!(code(&format!("{}.example", label(64))), Err("label-too-long"));
        assert_eq!(code(&format!("www.{}", label(64))), Err("label-too-long"));
        // In the form that is sent to the resolver: longer than it is written.
        assert_eq!(code(&format!("{}.example", "ü".repeat(60))), Err("label-too-long"));
        let name = |last: usize| [label(63), label(63), label(63), label(last)].join(".");
        assert_eq!(code(&name(61)), Ok(()), "253 bytes");
        assert_eq!(code(&format!("{}.", name(61))), Ok(()), "and the dot of the root");
        assert_eq!(code(&name(62)), Err("host-too-long"));
        assert_eq!(code("example.com."), Ok(()));
        assert_eq!(code("[2001:db8::1]"), Ok(()));
    }

    #[test]
    fn the_length_counts_before_and_after_normalising() {
        let long = format!("https://example.com/{}", "a".repeat(TARGET_BYTES_MAX));
        assert!(matches!(parse(&long), Err(TargetError::TooLong { .. })));
        let grows = format!("https://example.com/{}", "ü".repeat(TARGET_BYTES_MAX / 3));
        assert!(matches!(parse(&grows), Err(TargetError::TooLong { .. })));
        let fits = format!("https://example.com/{}", "a".repeat(TARGET_BYTES_MAX - 20));
        assert_eq!(parse(&fits).unwrap().as_str().len(), TARGET_BYTES_MAX);
    }

    proptest! {
        #[test]
        fn whatever_is_accepted_is_a_header_value_and_its_own_normal_form(
            input in prop_oneof![".*", "https?://[a-zäß0-9.@:/\\\\?#%\u{0}-\u{20}-]{0,60}"]
        ) {
            if let Ok(target) = parse(&input) {
                prop_assert!(visible_ascii(target.as_str()));
                prop_assert_eq!(parse(target.as_str()), Ok(target));
            }
        }
    }
}

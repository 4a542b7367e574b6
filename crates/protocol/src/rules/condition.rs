//! What a rule may ask about a visitor.
//!
//! Conditions are stored: the order of the variants and of their fields never changes. A further variant needs a level of its own (`level.rs`), and an
//! older version cannot read rules that have it.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::UnixMs;
use crate::text::normal;

/// The longest language range, in bytes. Registered tags have at most 35.
pub const LANGUAGE_BYTES_MAX: usize = 64;
/// The longest name of a city, in bytes: longer ones are not read from a geographic database.
pub const CITY_BYTES_MAX: usize = 64;
/// The longest name and the longest value of a query parameter, in bytes.
pub const PARAMETER_BYTES_MAX: usize = 256;

/// What has to hold of a visitor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Condition {
    /// The kind of device.
    Device(Device),
    /// The browser, by the name that it has in statistics, in lower case.
    Browser(String),
    /// The operating system, by the name that it has in statistics, in lower case.
    Os(String),
    /// A language that the visitor prefers.
    Language(LanguageRange),
    /// The country of the visitor's address: two capital letters (ISO 3166).
    Country(Country),
    /// The city of the visitor's address.
    City(City),
    /// A parameter of the query.
    Query(Parameter),
    /// The network of the visitor's address.
    Address(Network),
    /// It is earlier than this.
    Before(UnixMs),
    /// It is this time, or later.
    After(UnixMs),
}

/// Why a text is not a condition, and what to give.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConditionError {
    /// No such device.
    #[error("\"{0}\" is not a device; give one of {names}", names = Device::NAMES.map(|(name, _)| name).join(", "))]
    Device(String),
    /// Not a language range.
    #[error("\"{0}\" is not a language range (BCP 47); give one such as de or pt-BR")]
    Language(String),
    /// Not a country.
    #[error("\"{0}\" is not a country; give two letters (ISO 3166) such as CH")]
    Country(String),
    /// Not a city.
    #[error(
        "a city is a name of 1 to {CITY_BYTES_MAX} bytes without control characters, as the geographic database has it in English"
    )]
    City,
    /// Not a parameter.
    #[error(
        "a query parameter has a name of 1 to {PARAMETER_BYTES_MAX} bytes, and a value of at most {PARAMETER_BYTES_MAX}"
    )]
    Parameter,
    /// Not a network.
    #[error("\"{0}\" is not a network; give an address, or a network such as 192.0.2.0/24 or 2001:db8::/32")]
    Network(String),
}

/// A kind of device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Device {
    /// iPhone and iPad.
    Ios,
    /// Android.
    Android,
    /// Windows.
    Windows,
    /// macOS.
    MacOs,
    /// Linux, except for Android and ChromeOS.
    Linux,
    /// ChromeOS.
    ChromeOs,
    /// A phone or a tablet.
    Mobile,
    /// A desktop computer or a laptop.
    Desktop,
}

impl Device {
    /// All, with their names.
    pub const NAMES: [(&'static str, Self); 8] = [
        ("ios", Self::Ios),
        ("android", Self::Android),
        ("windows", Self::Windows),
        ("macos", Self::MacOs),
        ("linux", Self::Linux),
        ("chromeos", Self::ChromeOs),
        ("mobile", Self::Mobile),
        ("desktop", Self::Desktop),
    ];

    /// The device of a name, in any case.
    ///
    /// # Errors
    /// If there is none.
    pub fn parse(text: &str) -> Result<Self, ConditionError> {
        let found = Self::NAMES.iter().find(|(name, _)| name.eq_ignore_ascii_case(text.trim()));
        found.map(|(_, device)| *device).ok_or_else(|| ConditionError::Device(text.to_owned()))
    }

    /// Its name.
    pub fn as_str(self) -> &'static str {
        Self::NAMES.iter().find(|(_, device)| *device == self).map_or("", |(name, _)| name)
    }
}

/// A basic language range (RFC 4647): a language tag, or the beginning of one, or `*`. Invariant: letters, digits and `-`, or `*`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LanguageRange(String);

impl LanguageRange {
    /// The range in a text.
    ///
    /// # Errors
    /// If it is none.
    pub fn parse(text: &str) -> Result<Self, ConditionError> {
        let range = text.trim();
        let subtag = |(at, subtag): (usize, &str)| {
            (1..=8).contains(&subtag.len())
                && subtag
                    .bytes()
                    .all(|byte| if at == 0 { byte.is_ascii_alphabetic() } else { byte.is_ascii_alphanumeric() })
        };
        let is_range = range == "*" || range.len() <= LANGUAGE_BYTES_MAX && range.split('-').enumerate().all(subtag);
        if is_range { Ok(Self(range.to_owned())) } else { Err(ConditionError::Language(text.to_owned())) }
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a language tag is in the range, by basic filtering: it is the range, or begins with the range and a `-`, in any case.
    pub fn contains(&self, tag: &str) -> bool {
        let (range, tag) = (self.0.as_bytes(), tag.as_bytes());
        if range == b"*" {
            return !tag.is_empty() && tag != b"*";
        }
        let begins = tag.get(..range.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(range));
        begins && matches!(tag.get(range.len()), None | Some(b'-'))
    }
}

/// A country: two capital letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Country(pub [u8; 2]);

impl Country {
    /// The country of two letters, in any case.
    ///
    /// # Errors
    /// If the text is something else.
    pub fn parse(text: &str) -> Result<Self, ConditionError> {
        match text.trim().as_bytes() {
            [a, b] if a.is_ascii_alphabetic() && b.is_ascii_alphabetic() => {
                Ok(Self([a.to_ascii_uppercase(), b.to_ascii_uppercase()]))
            }
            _ => Err(ConditionError::Country(text.to_owned())),
        }
    }
}

impl fmt::Display for Country {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b] = self.0.map(char::from);
        write!(f, "{a}{b}")
    }
}

/// The name of a city. Invariant: not empty, composed characters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct City(String);

impl City {
    /// The name in a text.
    ///
    /// # Errors
    /// If it is empty, too long, or has control characters.
    pub fn parse(text: &str) -> Result<Self, ConditionError> {
        let name = normal(text);
        let fits = (1..=CITY_BYTES_MAX).contains(&name.len()) && !name.contains(char::is_control);
        if fits { Ok(Self(name)) } else { Err(ConditionError::City) }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a name is this one, in any case.
    pub fn is(&self, name: &str) -> bool {
        self.0.chars().flat_map(char::to_lowercase).eq(name.chars().flat_map(char::to_lowercase))
    }
}

/// A parameter of a query, unescaped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parameter {
    name: String,
    value: Option<String>,
}

impl Parameter {
    /// The parameter of this name, with this value; `None` = with any value, or without one.
    ///
    /// # Errors
    /// If the name is empty, or one of them is too long.
    pub fn new(name: &str, value: Option<&str>) -> Result<Self, ConditionError> {
        let fits = (1..=PARAMETER_BYTES_MAX).contains(&name.len())
            && value.is_none_or(|value| value.len() <= PARAMETER_BYTES_MAX);
        let parameter = || Self { name: name.to_owned(), value: value.map(str::to_owned) };
        fits.then(parameter).ok_or(ConditionError::Parameter)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its value, if not any.
    pub fn value(&self) -> Option<&str> {
        self.value.as_deref()
    }

    /// Whether a parameter of a visitor's query is meant.
    pub fn is(&self, name: &str, value: &str) -> bool {
        self.name == name && self.value.as_deref().is_none_or(|own| own == value)
    }
}

/// A network of addresses. Invariant: the bits behind the prefix are zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "(IpAddr, u8)", into = "(IpAddr, u8)")]
pub struct Network(IpNet);

impl Network {
    /// The network in a text such as `192.0.2.0/24`; an address alone is a network of one.
    ///
    /// # Errors
    /// If it is none.
    pub fn parse(text: &str) -> Result<Self, ConditionError> {
        let trimmed = text.trim();
        let net = match trimmed.parse::<IpAddr>() {
            Ok(address) => Some(IpNet::from(address.to_canonical())),
            Err(_) => trimmed.parse::<IpNet>().ok(),
        };
        net.map(|net| Self(net.trunc())).ok_or_else(|| ConditionError::Network(text.to_owned()))
    }

    /// Whether an address is in it.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address.to_canonical())
    }
}

impl TryFrom<(IpAddr, u8)> for Network {
    type Error = ipnet::PrefixLenError;

    fn try_from((address, prefix): (IpAddr, u8)) -> Result<Self, Self::Error> {
        Ok(Self(IpNet::new(address, prefix)?.trunc()))
    }
}

impl From<Network> for (IpAddr, u8) {
    fn from(Network(net): Network) -> Self {
        (net.addr(), net.prefix_len())
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.prefix_len() == self.0.max_prefix_len() { self.0.addr().fmt(f) } else { self.0.fmt(f) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_language_range_contains_its_tag_and_those_that_go_on_after_a_hyphen() {
        let range = |text: &str| LanguageRange::parse(text).unwrap();
        for (of, tag, contains) in [
            ("de", "de", true),
            ("DE", "de-CH", true),
            ("de-CH", "de-ch", true),
            ("de-CH", "de", false),
            ("de", "den", false),
            ("zh-Hant", "zh-Hant-TW", true),
            ("zh-TW", "zh-Hant-TW", false),
            ("*", "fr", true),
            ("*", "*", false),
            ("*", "", false),
            ("de", "*", false),
            ("de", "", false),
        ] {
            assert_eq!(range(of).contains(tag), contains, "{of} {tag}");
        }
        let longest = format!("de-{}aaaaaaa", "aaaaaaaa-".repeat(6));
        assert_eq!(longest.len(), LANGUAGE_BYTES_MAX);
        assert_eq!(range(&longest).as_str(), longest);
        assert!(LanguageRange::parse(&format!("{longest}a")).is_err());
        for text in ["", "-", "de-", "d3", "de_CH", "toolongtag", "de-*", "ü", &"de-aaaaaaaa".repeat(9)] {
            assert!(LanguageRange::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_network_is_an_address_or_has_a_prefix() {
        let network = |text: &str| Network::parse(text).unwrap();
        assert_eq!(network(" 192.0.2.77/24 ").to_string(), "192.0.2.0/24");
        assert_eq!(network("192.0.2.1").to_string(), "192.0.2.1");
        assert_eq!(network("2001:DB8::1/32").to_string(), "2001:db8::/32");
        assert_eq!(network("::ffff:192.0.2.1").to_string(), "192.0.2.1");
        let inside = |text: &str, address: &str| network(text).contains(address.parse().unwrap());
        assert!(inside("192.0.2.0/24", "192.0.2.255") && inside("192.0.2.0/24", "::ffff:192.0.2.1"));
        assert!(!inside("192.0.2.0/24", "192.0.3.0") && !inside("192.0.2.0/24", "2001:db8::1"));
        assert!(inside("2001:db8::/32", "2001:db8:ffff::") && inside("0.0.0.0/0", "203.0.113.1"));
        for text in ["", "x", "192.0.2.0/33", "192.0.2/24", "2001:db8::/129", "192.0.2.0/", "192.0.2.0-192.0.2.9"] {
            assert_eq!(Network::parse(text), Err(ConditionError::Network(text.to_owned())));
        }
    }

    #[test]
    fn devices_countries_cities_and_parameters_are_read_however_they_are_written() {
        assert_eq!(Device::parse(" iOS "), Ok(Device::Ios));
        for (name, device) in Device::NAMES {
            assert_eq!((Device::parse(name), device.as_str()), (Ok(device), name));
        }
        assert!(Device::parse("iphone").unwrap_err().to_string().ends_with("macos, linux, chromeos, mobile, desktop"));
        assert_eq!(Country::parse("ch").unwrap().to_string(), "CH");
        for text in ["", "C", "CHE", "C1", "日"] {
            assert!(Country::parse(text).is_err(), "{text}");
        }
        let zurich = City::parse(" Zu\u{308}rich ").unwrap();
        assert!(zurich.is("zÜrich") && !zurich.is("Zurich"));
        assert_eq!(zurich.as_str(), "Zürich");
        assert!(City::parse(" ").is_err() && City::parse("a\nb").is_err() && City::parse(&"x".repeat(65)).is_err());
        let any = Parameter::new("ref", None).unwrap();
        assert!(any.is("ref", "") && any.is("ref", "x") && !any.is("Ref", "x"));
        let one = Parameter::new("ref", Some("a b")).unwrap();
        assert!(one.is("ref", "a b") && !one.is("ref", ""));
        let long = |bytes: usize| "x".repeat(bytes);
        assert!(City::parse(&long(64)).is_ok() && City::parse("b").is_ok());
        assert!(Parameter::new(&long(256), Some(&long(256))).is_ok() && Parameter::new(&long(257), None).is_err());
        let whole = Parameter::new("a", Some("b")).unwrap();
        assert_eq!((whole.name(), whole.value(), any.value()), ("a", Some("b"), None));
        assert!(Parameter::new("", None).is_err() && Parameter::new("a", Some(&"x".repeat(257))).is_err());
    }
}

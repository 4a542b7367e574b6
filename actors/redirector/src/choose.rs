//! Where a link with rules leads a visitor: a pure decision. Nothing of the visitor is looked at before a rule asks for it.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::net::IpAddr;
use std::sync::Arc;

use waypost_protocol::rules::{Condition, Device, Leads, Rule, Rules, Share};
use waypost_protocol::{Target, UnixMs};

/// A language counts if the visitor gives it at least this quality: those that they prefer, and not those that they understand, too. Browsers send
/// `de-CH, de;q=0.9, en;q=0.7`.
const QUALITY_MIN: f32 = 0.9;

/// The visitor of a link, as its rules see one. An implementation does no work before it is asked, and none twice.
pub trait Visitor {
    /// The browser by the name that it has in statistics; empty if it is not known, or no browser.
    fn browser(&self) -> &str;
    /// The operating system by the name that it has in statistics; empty if it is not known.
    fn os(&self) -> &str;
    /// The kind of device by the name that it has in statistics; empty if it is not known.
    fn device(&self) -> &str;
    /// All values of `Accept-Language`.
    fn languages(&self) -> Cow<'_, str>;
    /// The address.
    fn address(&self) -> Option<IpAddr>;
    /// The country of the address: two capital letters, or zeros if it is not known.
    fn country(&self) -> [u8; 2];
    /// The city of the address; empty if it is not known.
    fn city(&self) -> Arc<str>;
    /// A number that the same visitor of the link always has, and that is spread evenly over those of different visitors.
    fn lot(&self) -> u64;
}

/// The target of the first rule that matches; `None` if none does. `now` and `query` are those of the visit.
pub fn choose<'a>(rules: &'a Rules, now: UnixMs, query: Option<&str>, visitor: &dyn Visitor) -> Option<&'a Target> {
    let visit = Visit::new(now, query, visitor);
    let rule = rules.iter().find(|rule| rule.conditions.iter().all(|condition| visit.is(condition)))?;
    match &rule.leads {
        Leads::To(target) => Some(target),
        Leads::Split(shares) => drawn(shares, visitor.lot()),
    }
}

/// Which conditions of each rule hold, in their order: the first rule of which all hold is the one that [`choose`] follows. For people who want to know
/// why; a redirect looks at no rule behind that one.
pub fn explain(rules: &Rules, now: UnixMs, query: Option<&str>, visitor: &dyn Visitor) -> Vec<Vec<bool>> {
    let visit = Visit::new(now, query, visitor);
    rules.iter().map(|rule| rule.conditions.iter().map(|condition| visit.is(condition)).collect()).collect()
}

/// The approximate size of rules in memory, in bytes.
pub(crate) fn bytes_of(rules: &Rules) -> u64 {
    let share = |share: &Share| size_of::<Share>() + share.target.as_str().len();
    let rule = |Rule { conditions, leads }: &Rule| {
        let texts = conditions.iter().map(|condition| match condition {
            Condition::Browser(text) | Condition::Os(text) => text.len(),
            Condition::Language(range) => range.as_str().len(),
            Condition::City(city) => city.as_str().len(),
            Condition::Query(parameter) => parameter.name().len() + parameter.value().map_or(0, str::len),
            Condition::Device(_)
            | Condition::Country(_)
            | Condition::Address(_)
            | Condition::Before(_)
            | Condition::After(_) => 0,
        });
        let leads = match leads {
            Leads::To(target) => target.as_str().len(),
            Leads::Split(shares) => shares.iter().map(share).sum(),
        };
        size_of::<Rule>() + conditions.len() * size_of::<Condition>() + texts.sum::<usize>() + leads
    };
    rules.iter().map(rule).sum::<usize>() as u64
}

/// The share on which a lot falls: each has a part of all lots that is as large as its weight.
fn drawn(shares: &[Share], lot: u64) -> Option<&Target> {
    let sum: u64 = shares.iter().map(|share| u64::from(share.weight)).sum();
    let mut place = ((u128::from(lot) * u128::from(sum)) >> 64) as u64;
    let found = shares.iter().find(|share| match place.checked_sub(share.weight.into()) {
        Some(rest) => {
            place = rest;
            false
        }
        None => true,
    });
    found.map(|share| &share.target)
}

/// A visit, with what was read of it for the rules so far.
struct Visit<'a> {
    now: UnixMs,
    query: Option<&'a str>,
    visitor: &'a dyn Visitor,
    languages: OnceCell<Vec<String>>,
    parameters: OnceCell<Vec<(Cow<'a, str>, Cow<'a, str>)>>,
}

impl<'a> Visit<'a> {
    fn new(now: UnixMs, query: Option<&'a str>, visitor: &'a dyn Visitor) -> Self {
        Self { now, query, visitor, languages: OnceCell::new(), parameters: OnceCell::new() }
    }

    /// Whether a condition holds. What is not known is nothing.
    fn is(&self, condition: &Condition) -> bool {
        match condition {
            Condition::Device(device) => self.is_on(*device),
            Condition::Browser(name) => self.visitor.browser().eq_ignore_ascii_case(name),
            Condition::Os(name) => self.visitor.os().eq_ignore_ascii_case(name),
            Condition::Language(range) => self.languages().iter().any(|tag| range.contains(tag)),
            Condition::Country(country) => self.visitor.country() == country.0,
            Condition::City(city) => city.is(&self.visitor.city()),
            Condition::Query(parameter) => self.parameters().iter().any(|(name, value)| parameter.is(name, value)),
            Condition::Address(network) => self.visitor.address().is_some_and(|address| network.contains(address)),
            Condition::Before(time) => self.now < *time,
            Condition::After(time) => self.now >= *time,
        }
    }

    fn is_on(&self, device: Device) -> bool {
        match device {
            Device::Ios => self.visitor.os() == "iOS",
            Device::Android => self.visitor.os() == "Android",
            Device::Windows => self.visitor.os() == "Windows",
            Device::MacOs => self.visitor.os() == "macOS",
            Device::Linux => self.visitor.os() == "Linux",
            Device::ChromeOs => self.visitor.os() == "ChromeOS",
            Device::Mobile => matches!(self.visitor.device(), "Mobile" | "Tablet"),
            Device::Desktop => self.visitor.device() == "Desktop",
        }
    }

    /// The languages that the visitor prefers.
    fn languages(&self) -> &[String] {
        self.languages.get_or_init(|| {
            let accepted = self.visitor.languages();
            let wanted = accepted.split(',').filter_map(|range| {
                let mut parts = range.split(';').map(str::trim);
                let tag = parts.next().unwrap_or_default();
                let quality = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
                let quality = quality.map_or(1.0, |quality| quality.trim().parse().unwrap_or(0.0));
                (quality >= QUALITY_MIN).then(|| tag.to_owned())
            });
            wanted.collect()
        })
    }

    /// The parameters of the query, unescaped.
    fn parameters(&self) -> &[(Cow<'_, str>, Cow<'_, str>)] {
        self.parameters.get_or_init(|| form_urlencoded::parse(self.query.unwrap_or_default().as_bytes()).collect())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use waypost_protocol::rules::{City, Country, LanguageRange, Network, Parameter};

    use super::*;

    /// A visitor of whom nothing is known, except for what a test says.
    #[derive(Debug, Clone, Default)]
    struct Person {
        browser: &'static str,
        os: &'static str,
        device: &'static str,
        languages: String,
        address: Option<IpAddr>,
        country: [u8; 2],
        city: &'static str,
        lot: u64,
    }

    impl Visitor for Person {
        fn browser(&self) -> &str {
            self.browser
        }

        fn os(&self) -> &str {
            self.os
        }

        fn device(&self) -> &str {
            self.device
        }

        fn languages(&self) -> Cow<'_, str> {
            self.languages.as_str().into()
        }

        fn address(&self) -> Option<IpAddr> {
            self.address
        }

        fn country(&self) -> [u8; 2] {
            self.country
        }

        fn city(&self) -> Arc<str> {
            self.city.into()
        }

        fn lot(&self) -> u64 {
            self.lot
        }
    }

    fn target(url: &str) -> Target {
        Target::parse(url, &[], 8192).unwrap()
    }

    fn to(url: &str, conditions: Vec<Condition>) -> Rule {
        Rule { conditions, leads: Leads::To(target(url)) }
    }

    fn rules(rules: Vec<Rule>) -> Rules {
        Rules::new(rules).unwrap().unwrap()
    }

    fn holds_at(condition: Condition, now: u64, query: Option<&str>, person: &Person) -> bool {
        choose(&rules(vec![to("https://a.b/", vec![condition])]), UnixMs(now), query, person).is_some()
    }

    fn holds(condition: Condition, person: &Person) -> bool {
        holds_at(condition, 0, None, person)
    }

    #[test]
    fn the_first_rule_whose_conditions_all_hold_leads() {
        let rules = rules(vec![
            to("https://both.example/", vec![Condition::Device(Device::Ios), Condition::After(UnixMs(100))]),
            to("https://ios.example/", vec![Condition::Device(Device::Ios)]),
            to("https://late.example/", vec![Condition::After(UnixMs(100))]),
        ]);
        let (ios, other) = (Person { os: "iOS", ..Person::default() }, Person::default());
        let chosen = |now, person| choose(&rules, UnixMs(now), None, person).map(Target::as_str);
        assert_eq!(chosen(100, &ios), Some("https://both.example/"));
        assert_eq!(chosen(99, &ios), Some("https://ios.example/"));
        assert_eq!(chosen(100, &other), Some("https://late.example/"));
        assert_eq!(chosen(99, &other), None);
    }

    #[test]
    fn a_rule_without_conditions_always_matches() {
        let rules = rules(vec![to("https://all.example/", vec![])]);
        assert_eq!(choose(&rules, UnixMs(0), None, &Person::default()), Some(&target("https://all.example/")));
    }

    #[test]
    fn devices_browsers_and_systems_are_those_of_statistics() {
        for (device, os, kind) in [
            (Device::Ios, "iOS", "Mobile"),
            (Device::Android, "Android", "Tablet"),
            (Device::Windows, "Windows", "Desktop"),
            (Device::MacOs, "macOS", "Desktop"),
            (Device::Linux, "Linux", "Desktop"),
            (Device::ChromeOs, "ChromeOS", "Desktop"),
        ] {
            let person = Person { os, device: kind, ..Person::default() };
            for (_, other) in Device::NAMES {
                let is_mobile = kind != "Desktop";
                let expected = match other {
                    Device::Mobile => is_mobile,
                    Device::Desktop => !is_mobile,
                    other => other == device,
                };
                assert_eq!(holds(Condition::Device(other), &person), expected, "{other:?} on {os}");
            }
            assert!(!holds(Condition::Device(device), &Person::default()));
        }
        let person = Person { browser: "Samsung Internet", os: "Android", ..Person::default() };
        assert!(holds(Condition::Browser("samsung internet".to_owned()), &person));
        assert!(!holds(Condition::Browser("chrome".to_owned()), &person));
        assert!(holds(Condition::Os("android".to_owned()), &person));
        assert!(!holds(Condition::Os("linux".to_owned()), &person));
    }

    #[test]
    fn a_language_is_one_that_the_visitor_prefers() {
        for (accepted, range, expected) in [
            ("de-CH, de;q=0.9, en;q=0.7", "de", true),
            ("de-CH, de;q=0.9, en;q=0.7", "de-CH", true),
            ("de-CH, de;q=0.9, en;q=0.7", "de-AT", false),
            ("de-CH, de;q=0.9, en;q=0.7", "en", false),
            ("en;q=0.9,DE", "de", true),
            ("de;q=0", "de", false),
            ("de;q=x", "de", false),
            ("de;q=NaN", "de", false),
            ("de ; Q=1.0", "de", true),
            ("*", "de", false),
            ("*", "*", false),
            ("", "*", false),
            ("fr", "*", true),
            (",;,=,--", "de", false),
        ] {
            let person = Person { languages: accepted.to_owned(), ..Person::default() };
            let condition = Condition::Language(LanguageRange::parse(range).unwrap());
            assert_eq!(holds(condition, &person), expected, "{accepted} {range}");
        }
    }

    #[test]
    fn places_and_networks_are_those_of_the_address() {
        let person = Person {
            address: Some("192.0.2.7".parse().unwrap()),
            country: *b"CH",
            city: "Zürich",
            ..Person::default()
        };
        let country = |text: &str| Condition::Country(Country::parse(text).unwrap());
        let city = |text: &str| Condition::City(City::parse(text).unwrap());
        let network = |text: &str| Condition::Address(Network::parse(text).unwrap());
        assert!(holds(country("ch"), &person) && !holds(country("DE"), &person));
        assert!(holds(city("ZÜRICH"), &person) && !holds(city("Zug"), &person));
        assert!(holds(network("192.0.2.0/24"), &person) && !holds(network("198.51.100.0/24"), &person));
        let nobody = Person::default();
        assert!(!holds(country("CH"), &nobody) && !holds(city("Zürich"), &nobody) && !holds(network("::/0"), &nobody));
    }

    #[test]
    fn a_parameter_is_compared_unescaped() {
        for (query, name, value, expected) in [
            (Some("ref=news"), "ref", Some("news"), true),
            (Some("ref=news"), "ref", None, true),
            (Some("ref=news"), "ref", Some("mail"), false),
            (Some("ref=mail&ref=news"), "ref", Some("news"), true),
            (Some("ref"), "ref", None, true),
            (Some("ref"), "ref", Some(""), true),
            (Some("ref=a%20b+c"), "ref", Some("a b c"), true),
            (Some("r%65f=x"), "ref", Some("x"), true),
            (Some("refs=x"), "ref", None, false),
            (Some("%FF=%ZZ&&="), "ref", None, false),
            (None, "ref", None, false),
        ] {
            let condition = Condition::Query(Parameter::new(name, value).unwrap());
            assert_eq!(holds_at(condition, 0, query, &Person::default()), expected, "{query:?} {name} {value:?}");
        }
    }

    #[test]
    fn before_ends_where_after_begins() {
        for (now, before) in [(99, true), (100, false), (101, false)] {
            let at = |condition| holds_at(condition, now, None, &Person::default());
            assert_eq!((at(Condition::Before(UnixMs(100))), at(Condition::After(UnixMs(100)))), (before, !before));
        }
    }

    #[test]
    fn each_target_of_a_split_has_the_part_of_all_lots_that_its_weight_is() {
        let shares: Vec<Share> = [("https://a.b/", 70), ("https://b.b/", 20), ("https://c.b/", 10)]
            .map(|(url, weight)| Share { target: target(url), weight })
            .to_vec();
        let rules = rules(vec![Rule { conditions: vec![], leads: Leads::Split(shares.clone()) }]);
        let at = |lot| choose(&rules, UnixMs(0), None, &Person { lot, ..Person::default() }).unwrap().as_str();
        let tenth = u64::MAX / 10 + 1;
        assert_eq!([0, 7 * tenth - 10].map(at), ["https://a.b/"; 2]);
        assert_eq!([7 * tenth, 9 * tenth - 10].map(at), ["https://b.b/"; 2]);
        assert_eq!([9 * tenth, u64::MAX].map(at), ["https://c.b/"; 2]);
        assert_eq!(drawn(&[], 7), None);
        assert_eq!(drawn(&[Share { weight: 0, ..shares[0].clone() }], 7), None);
    }

    #[test]
    fn what_no_rule_asks_for_is_not_looked_at() {
        struct Shy;
        impl Visitor for Shy {
            fn browser(&self) -> &str {
                panic!("nobody asked")
            }
            fn os(&self) -> &str {
                "iOS"
            }
            fn device(&self) -> &str {
                panic!("nobody asked")
            }
            fn languages(&self) -> Cow<'_, str> {
                panic!("nobody asked")
            }
            fn address(&self) -> Option<IpAddr> {
                panic!("nobody asked")
            }
            fn country(&self) -> [u8; 2] {
                panic!("nobody asked")
            }
            fn city(&self) -> Arc<str> {
                panic!("nobody asked")
            }
            fn lot(&self) -> u64 {
                panic!("nobody asked")
            }
        }
        let language = Condition::Language(LanguageRange::parse("de").unwrap());
        let rules = rules(vec![
            to("https://android.example/", vec![Condition::Device(Device::Android), language.clone()]),
            to("https://ios.example/", vec![Condition::Device(Device::Ios)]),
            to("https://de.example/", vec![language]),
        ]);
        assert_eq!(choose(&rules, UnixMs(0), None, &Shy), Some(&target("https://ios.example/")));
    }

    proptest! {
        #[test]
        fn no_visitor_makes_it_panic(
            languages in "[ -~]{0,40}",
            query in prop::option::of("[ -~]{0,40}"),
            lot in any::<u64>(),
            weights in prop::collection::vec(1u16..=1000, 2..=16),
        ) {
            let shares = weights.iter().map(|weight| Share { target: target("https://a.b/"), weight: *weight }).collect();
            let conditions = vec![
                Condition::Language(LanguageRange::parse("a-1").unwrap()),
                Condition::Query(Parameter::new("a", Some("b")).unwrap()),
            ];
            let rules = rules(vec![to("https://b.b/", conditions), Rule { conditions: vec![], leads: Leads::Split(shares) }]);
            let person = Person { languages, lot, ..Person::default() };
            prop_assert!(choose(&rules, UnixMs(0), query.as_deref(), &person).is_some());
        }
    }
}

//! The rules of a link: an ordered list of conditions and targets. The first rule whose conditions all hold decides where a visitor is led; if
//! none does, the visitor is led to the link's own target.
//!
//! ```text
//! condition.rs   what a rule may ask about a visitor
//! mod.rs         the list, its targets and its limits
//! ```
//!
//! `actors/redirector/src/choose.rs` evaluates them.

pub mod condition;

use serde::{Deserialize, Serialize};

pub use condition::{City, Condition, ConditionError, Country, Device, LanguageRange, Network, Parameter};

use crate::Target;
use crate::codec::encode;

/// The most rules of a link: they are tried one after the other at each redirect.
pub const RULES_MAX: usize = 64;
/// The most conditions of a rule: more than one of each type is seldom useful.
pub const CONDITIONS_MAX: usize = 16;
/// The most targets of a split.
pub const SHARES_MAX: usize = 16;
/// The largest weight: tenths of a percent can be told.
pub const WEIGHT_MAX: u16 = 1000;
/// The longest encoded rules, in bytes: a stored link has room for 20 KiB, and its target and its other fields need some of it.
pub const RULES_BYTES_MAX: usize = 8192;

/// The rules of a link. Invariant: not empty, within the limits above.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Rules(Vec<Rule>);

/// A rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// All of them have to hold; without any the rule always matches.
    pub conditions: Vec<Condition>,
    /// Where it leads.
    pub leads: Leads,
}

/// Where a rule leads. Stored: the order of the variants never changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Leads {
    /// To one target.
    To(Target),
    /// To one of several, by their weights.
    Split(Vec<Share>),
}

/// A target of a split.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// The target.
    pub target: Target,
    /// Its part of the sum of all weights: 1 to [`WEIGHT_MAX`].
    pub weight: u16,
}

/// Why rules cannot be given for a link, and what to change. Numbers count from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RulesError {
    /// There are too many rules.
    #[error("there are {0} rules; at most {RULES_MAX} are possible")]
    TooMany(usize),
    /// A rule has too many conditions.
    #[error("rule {rule} has {count} conditions; at most {CONDITIONS_MAX} are possible")]
    TooManyConditions {
        /// The rule.
        rule: usize,
        /// How many it has.
        count: usize,
    },
    /// A split has too few or too many targets.
    #[error("rule {rule} has {count} weights; 2 to {SHARES_MAX} are possible")]
    Shares {
        /// The rule.
        rule: usize,
        /// How many it has.
        count: usize,
    },
    /// A weight is out of its limits.
    #[error(
        "rule {rule}, weight {share}: a weight is a whole number from 1 to {WEIGHT_MAX}; leave out a target that nobody is to get"
    )]
    Weight {
        /// The rule.
        rule: usize,
        /// The target of its split.
        share: usize,
    },
    /// All rules together are too long.
    #[error("the rules take {0} bytes as they are stored; at most {RULES_BYTES_MAX} are possible")]
    TooLong(usize),
}

impl Rules {
    /// The rules in a list; `None` if it is empty.
    ///
    /// # Errors
    /// If they are not within their limits.
    pub fn new(rules: Vec<Rule>) -> Result<Option<Self>, RulesError> {
        if rules.len() > RULES_MAX {
            return Err(RulesError::TooMany(rules.len()));
        }
        for (at, Rule { conditions, leads }) in rules.iter().enumerate() {
            let (rule, count) = (at + 1, conditions.len());
            if count > CONDITIONS_MAX {
                return Err(RulesError::TooManyConditions { rule, count });
            }
            let Leads::Split(shares) = leads else { continue };
            if !(2..=SHARES_MAX).contains(&shares.len()) {
                return Err(RulesError::Shares { rule, count: shares.len() });
            }
            if let Some(share) = shares.iter().position(|share| !(1..=WEIGHT_MAX).contains(&share.weight)) {
                return Err(RulesError::Weight { rule, share: share + 1 });
            }
        }
        let rules = Self(rules);
        match encode(&rules).len() {
            bytes if bytes > RULES_BYTES_MAX => Err(RulesError::TooLong(bytes)),
            _ => Ok((!rules.0.is_empty()).then_some(rules)),
        }
    }

    /// The rules, in the order in which they are tried.
    pub fn iter(&self) -> impl Iterator<Item = &Rule> {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::UnixMs;
    use crate::codec::decode_exact;

    fn target(url: &str) -> Target {
        Target::parse(url, &[], 8192).unwrap()
    }

    fn to(url: &str) -> Leads {
        Leads::To(target(url))
    }

    fn share(weight: u16) -> Share {
        Share { target: target("http://a.b/"), weight }
    }

    #[test]
    fn rules_have_golden_bytes() {
        let conditions = vec![
            Condition::Device(Device::Ios),
            Condition::Device(Device::Desktop),
            Condition::Browser("firefox".to_owned()),
            Condition::Os("macos".to_owned()),
            Condition::Language(LanguageRange::parse("de-CH").unwrap()),
            Condition::Country(Country::parse("CH").unwrap()),
            Condition::City(City::parse("Bern").unwrap()),
            Condition::Query(Parameter::new("a", None).unwrap()),
            Condition::Query(Parameter::new("a", Some("b")).unwrap()),
            Condition::Address(Network::parse("192.0.2.0/24").unwrap()),
            Condition::Address(Network::parse("2001:db8::/32").unwrap()),
            Condition::Before(UnixMs(300)),
            Condition::After(UnixMs(1)),
        ];
        let split = Leads::Split(vec![share(1), share(300)]);
        let rules = vec![Rule { conditions, leads: to("http://a.b/") }, Rule { conditions: vec![], leads: split }];
        let rules = Rules::new(rules).unwrap().unwrap();
        let mut bytes = vec![2, 13];
        bytes.extend([0, 0]);
        bytes.extend([0, 7]);
        bytes.extend(b"\x01\x07firefox");
        bytes.extend(b"\x02\x05macos");
        bytes.extend(b"\x03\x05de-CH");
        bytes.extend(b"\x04CH");
        bytes.extend(b"\x05\x04Bern");
        bytes.extend(b"\x06\x01a\x00");
        bytes.extend(b"\x06\x01a\x01\x01b");
        bytes.extend([7, 0, 192, 0, 2, 0, 24]);
        bytes.extend([7, 1, 0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32]);
        bytes.extend([8, 0xac, 2]);
        bytes.extend([9, 1]);
        bytes.extend(b"\x00\x0bhttp://a.b/");
        bytes.extend(b"\x00\x01\x02\x0bhttp://a.b/\x01\x0bhttp://a.b/\xac\x02");
        assert_eq!(encode(&rules), bytes);
        assert_eq!(decode_exact::<Rules>(&bytes), Ok(rules));
    }

    #[test]
    fn rules_of_a_later_version_are_not_read_as_others() {
        // A condition, a kind of target and a device that this version does not know.
        for bytes in [
            &b"\x01\x01\x0a\x00\x00\x0bhttp://a.b/"[..],
            b"\x01\x00\x02\x0bhttp://a.b/",
            b"\x01\x01\x00\x08\x00\x0bhttp://a.b/",
        ] {
            assert!(decode_exact::<Rules>(bytes).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn rules_out_of_their_limits_are_refused_by_number() {
        let rule = |conditions, leads| Rule { conditions: vec![Condition::After(UnixMs(0)); conditions], leads };
        let new = |rules: Vec<Rule>| Rules::new(rules).map(|rules| rules.map(|rules| rules.iter().count()));
        let plain = || rule(1, to("http://a.b/"));
        assert_eq!(new(vec![]), Ok(None));
        assert_eq!(new(vec![plain(); RULES_MAX]), Ok(Some(RULES_MAX)));
        assert_eq!(new(vec![plain(); RULES_MAX + 1]), Err(RulesError::TooMany(RULES_MAX + 1)));
        assert_eq!(
            new(vec![plain(), rule(CONDITIONS_MAX + 1, to("http://a.b/"))]),
            Err(RulesError::TooManyConditions { rule: 2, count: CONDITIONS_MAX + 1 })
        );
        let split = |weights: &[u16]| rule(0, Leads::Split(weights.iter().map(|weight| share(*weight)).collect()));
        assert_eq!(new(vec![split(&[1, WEIGHT_MAX])]), Ok(Some(1)));
        for count in [0, 1, SHARES_MAX + 1] {
            assert_eq!(new(vec![split(&vec![1; count])]), Err(RulesError::Shares { rule: 1, count }));
        }
        for weight in [0, WEIGHT_MAX + 1] {
            assert_eq!(new(vec![plain(), split(&[1, weight])]), Err(RulesError::Weight { rule: 2, share: 2 }));
        }
        let long = format!("https://a.b/{}", "x".repeat(RULES_BYTES_MAX / 2));
        assert_eq!(new(vec![rule(0, to(&long))]), Ok(Some(1)));
        assert!(matches!(new(vec![rule(0, to(&long)); 2]), Err(RulesError::TooLong(_))));
    }

    proptest! {
        #[test]
        fn rules_come_back_as_they_were_stored_and_no_bytes_make_the_reader_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..60),
        ) {
            if let Ok(rules) = decode_exact::<Rules>(&bytes) {
                prop_assert_eq!(decode_exact::<Rules>(&encode(&rules)), Ok(rules));
            }
        }
    }
}

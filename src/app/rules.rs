//! The rules of a link as they are given: their URLs are parsed and checked like any target.

use waypost_protocol::rules::{Condition, Leads, Rule, Rules, RulesError, Share};
use waypost_protocol::{OwnHost, Target, TargetError};

use super::App;

/// A rule as it is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRule<'a> {
    /// All of them have to hold.
    pub conditions: Vec<Condition>,
    /// Where it leads.
    pub leads: NewLeads<'a>,
}

/// Where a rule leads, as it is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NewLeads<'a> {
    /// To this URL.
    To(&'a str),
    /// To one of these URLs, by their weights.
    Split(Vec<(&'a str, u16)>),
}

/// Why rules cannot be given for a link. Numbers count from 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RulesFault {
    /// A URL is not a valid target.
    #[error("rule {rule}{}: {error} ({})", share.map(|share| format!(", weight {share}")).unwrap_or_default(), error.code())]
    Url {
        /// The rule.
        rule: usize,
        /// Which target of its split.
        share: Option<usize>,
        /// Why not.
        error: TargetError,
    },
    /// They are not within their limits.
    #[error(transparent)]
    Limits(#[from] RulesError),
}

impl App {
    /// The rules that are given, checked as an edit checks them, and not saved; `None` if there are none.
    ///
    /// # Errors
    /// See [`RulesFault`].
    pub fn rules_given(&self, given: &[NewRule<'_>], own_hosts: &[OwnHost]) -> Result<Option<Rules>, RulesFault> {
        rules_of(given, own_hosts, self.parts.url_max_bytes)
    }
}

/// The rules that are given; `None` if there are none.
pub(super) fn rules_of(
    given: &[NewRule<'_>],
    own_hosts: &[OwnHost],
    url_max_bytes: usize,
) -> Result<Option<Rules>, RulesFault> {
    let mut rules = Vec::with_capacity(given.len());
    for (at, NewRule { conditions, leads }) in given.iter().enumerate() {
        let target = |share: Option<usize>, url: &str| {
            let parsed = Target::parse(url, own_hosts, url_max_bytes);
            parsed.map_err(|error| RulesFault::Url { rule: at + 1, share, error })
        };
        let leads = match leads {
            NewLeads::To(url) => Leads::To(target(None, url)?),
            NewLeads::Split(shares) => {
                let share = |(at, (url, weight)): (usize, &(&str, u16))| {
                    Ok(Share { target: target(Some(at + 1), url)?, weight: *weight })
                };
                Leads::Split(shares.iter().enumerate().map(share).collect::<Result<_, RulesFault>>()?)
            }
        };
        rules.push(Rule { conditions: conditions.clone(), leads });
    }
    Ok(Rules::new(rules)?)
}

#[cfg(test)]
mod tests {
    use url::Url;

    use super::*;

    #[test]
    fn a_bad_url_is_named_by_its_rule_and_its_weight() {
        let own = [OwnHost::of_url(&Url::parse("https://go.example/").unwrap()).unwrap()];
        let rule = |leads| NewRule { conditions: Vec::new(), leads };
        let to = |url| rule(NewLeads::To(url));
        let of = |rules: &[NewRule<'_>]| rules_of(rules, &own, 100);
        assert_eq!(of(&[]), Ok(None));
        assert_eq!(of(&[to("https://a.example")]).unwrap().unwrap().iter().count(), 1);
        let refused = |rules: &[NewRule<'_>]| of(rules).unwrap_err().to_string();
        let looped = refused(&[to("https://a.example"), to("https://go.example/x")]);
        assert!(looped.starts_with("rule 2: ") && looped.ends_with("(own-host)"), "{looped}");
        let split = rule(NewLeads::Split(vec![("https://a.example", 1), ("mailto:x", 1)]));
        assert!(refused(&[split]).starts_with("rule 1, weight 2: mailto"));
        let one = rule(NewLeads::Split(vec![("https://a.example", 1)]));
        assert_eq!(of(&[one]), Err(RulesError::Shares { rule: 1, count: 1 }.into()));
    }
}

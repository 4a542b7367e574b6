//! The JSON of the rules of a link: the same when they are given and when they are shown.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa::openapi::schema::{Object, ObjectBuilder};
use waypost_click_counter::Agent;
use waypost_protocol::UnixMs;
use waypost_protocol::rules::{
    CONDITIONS_MAX, City, Condition, ConditionError, Country, Device, LanguageRange, Leads, Network, Parameter,
    RULES_MAX, Rule, Rules, SHARES_MAX, WEIGHT_MAX,
};

use super::problem::Problem;
use crate::app::{NewLeads, NewRule};
use crate::times::{ReadTime, format_time, read_time};

/// The types of conditions.
const TYPES: &[&str] =
    &["device", "browser", "os", "language", "country", "city", "query", "address", "before", "after"];

/// A rule: where visitors are led of whom all its conditions hold. It has `longUrl` or `weights`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = Rule)]
pub(super) struct RuleJson {
    /// What has to hold of the visitor; without conditions the rule matches everybody.
    #[serde(default)]
    #[schema(max_items = 16)]
    conditions: Vec<ConditionJson>,
    /// Where it leads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = "uri", max_length = 8192)]
    long_url: Option<String>,
    /// Several targets, of which each visitor gets always the same one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_items = 2, max_items = 16)]
    weights: Option<Vec<WeightJson>>,
}

/// What has to hold of a visitor.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = Condition)]
struct ConditionJson {
    /// What is compared.
    #[schema(schema_with = types)]
    r#type: String,
    /// With which value: a `device` (`ios`, `android`, `windows`, `macos`, `linux`, `chromeos`, `mobile`, `desktop`); a `browser` or an `os` by the name
    /// that it has in statistics; a `language` range (BCP 47) such as `de` or `pt-BR`; a `country` (two letters) or a `city` (its English name) of the
    /// visitor's address; a `query` parameter's value; an `address` or a network such as `192.0.2.0/24`; `before` a time or `after` it (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    /// The name of the `query` parameter. Without a value any value fits, or none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
}

/// One of several targets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = Weight)]
struct WeightJson {
    /// The target.
    #[schema(format = "uri", max_length = 8192)]
    long_url: String,
    /// Its part of the sum of all weights.
    #[schema(minimum = 1, maximum = 1000)]
    weight: i64,
}

const _: () =
    assert!(RULES_MAX == 64 && CONDITIONS_MAX == 16 && SHARES_MAX == 16 && WEIGHT_MAX == 1000, "as the schemas say");

fn types() -> Object {
    ObjectBuilder::new().schema_type(utoipa::openapi::Type::String).enum_values(Some(TYPES.iter().copied())).build()
}

/// The rules that a request gives.
pub(super) fn given(rules: &[RuleJson]) -> Result<Vec<NewRule<'_>>, Problem> {
    rules.iter().enumerate().map(|(at, rule)| rule.given(at + 1)).collect()
}

/// A rule that a form gives; otherwise the places of its conditions that are none, from 0.
pub(super) fn given_alone(rule: &RuleJson) -> Result<NewRule<'_>, Vec<usize>> {
    let wrong = |(at, condition): (usize, &ConditionJson)| condition.parse().is_err().then_some(at);
    rule.given(1).map_err(|_| rule.conditions.iter().enumerate().filter_map(wrong).collect())
}

impl RuleJson {
    /// The rule; it is the one of this number.
    fn given(&self, number: usize) -> Result<NewRule<'_>, Problem> {
        let conditions = self.conditions.iter().enumerate().map(|(at, condition)| {
            let parsed = condition.parse();
            parsed.map_err(|what| refused(format!("rule {number}, condition {}: {what}", at + 1)))
        });
        let conditions = conditions.collect::<Result<_, _>>()?;
        let leads = match (&self.long_url, &self.weights) {
            (Some(url), None) => NewLeads::To(url),
            // What is beyond the numbers of the type is beyond the limits, too.
            (None, Some(weights)) => NewLeads::Split(
                weights.iter().map(|one| (one.long_url.as_str(), u16::try_from(one.weight).unwrap_or(0))).collect(),
            ),
            (Some(_), Some(_)) => {
                return Err(refused(format!("rule {number} has longUrl and weights; leave one of them out")));
            }
            (None, None) => {
                return Err(refused(format!("rule {number} leads nowhere; give it a longUrl, or weights")));
            }
        };
        Ok(NewRule { conditions, leads })
    }
}

fn refused(detail: String) -> Problem {
    Problem::invalid("rules", detail)
}

impl ConditionJson {
    /// The condition; otherwise why it is none.
    fn parse(&self) -> Result<Condition, String> {
        let Self { r#type, value, name } = self;
        if !TYPES.contains(&r#type.as_str()) {
            return Err(format!("the type \"{type}\" is not known; give one of {}", TYPES.join(", ")));
        }
        let told = |error: ConditionError| error.to_string();
        if r#type == "query" {
            let name =
                name.as_deref().ok_or("a condition of the type query has the name of a parameter, as \"name\"")?;
            return Parameter::new(name, value.as_deref()).map(Condition::Query).map_err(told);
        }
        if name.is_some() {
            return Err(format!("a condition of the type {type} has no name; give what is compared as \"value\""));
        }
        let value = value.as_deref().ok_or_else(|| format!("a condition of the type {type} has a \"value\""))?;
        let time = || {
            let ms = read_time(value).and_then(ReadTime::unix_ms).ok_or_else(|| {
                format!("\"{value}\" is not a time; give one such as 2030-12-31T23:59:59Z (RFC 3339)")
            })?;
            Ok::<_, String>(UnixMs(u64::try_from(ms).unwrap_or_default()).min(UnixMs::LAST))
        };
        match r#type.as_str() {
            "device" => Device::parse(value).map(Condition::Device).map_err(told),
            "browser" => one_of(value, "browser", Agent::browsers()).map(Condition::Browser),
            "os" => one_of(value, "operating system", Agent::systems()).map(Condition::Os),
            "language" => LanguageRange::parse(value).map(Condition::Language).map_err(told),
            "country" => Country::parse(value).map(Condition::Country).map_err(told),
            "city" => City::parse(value).map(Condition::City).map_err(told),
            "address" => Network::parse(value).map(Condition::Address).map_err(told),
            "before" => time().map(Condition::Before),
            _ => time().map(Condition::After),
        }
    }

    fn of(condition: &Condition) -> Self {
        let (r#type, value) = match condition {
            Condition::Device(device) => ("device", device.as_str().to_owned()),
            Condition::Browser(name) => ("browser", name.clone()),
            Condition::Os(name) => ("os", name.clone()),
            Condition::Language(range) => ("language", range.as_str().to_owned()),
            Condition::Country(country) => ("country", country.to_string()),
            Condition::City(city) => ("city", city.as_str().to_owned()),
            Condition::Query(parameter) => {
                let (name, value) = (Some(parameter.name().to_owned()), parameter.value().map(str::to_owned));
                return Self { r#type: "query".to_owned(), value, name };
            }
            Condition::Address(network) => ("address", network.to_string()),
            Condition::Before(time) => ("before", format_time(*time)),
            Condition::After(time) => ("after", format_time(*time)),
        };
        Self { r#type: r#type.to_owned(), value: Some(value), name: None }
    }
}

/// A name that statistics have, in lower case.
fn one_of(value: &str, what: &str, mut names: impl Iterator<Item = &'static str> + Clone) -> Result<String, String> {
    let all = names.clone();
    match names.find(|name| name.eq_ignore_ascii_case(value.trim())) {
        Some(name) => Ok(name.to_lowercase()),
        None => {
            let all = all.map(str::to_lowercase).collect::<Vec<_>>().join(", ");
            Err(format!("the {what} \"{value}\" is not told apart; give one of {all}"))
        }
    }
}

/// The rules of a link, as they are shown.
pub(super) fn shown(rules: &Rules) -> Vec<RuleJson> {
    let rule = |Rule { conditions, leads }: &Rule| {
        let (long_url, weights) = match leads {
            Leads::To(target) => (Some(target.as_str().to_owned()), None),
            Leads::Split(shares) => {
                let weight = shares.iter().map(|share| WeightJson {
                    long_url: share.target.as_str().to_owned(),
                    weight: share.weight.into(),
                });
                (None, Some(weight.collect()))
            }
        };
        RuleJson { conditions: conditions.iter().map(ConditionJson::of).collect(), long_url, weights }
    };
    rules.iter().map(rule).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use waypost_protocol::Target;

    use super::*;

    fn parsed(condition: serde_json::Value) -> Result<Condition, String> {
        serde_json::from_value::<ConditionJson>(condition).unwrap().parse()
    }

    #[test]
    fn each_condition_is_shown_as_it_is_given() {
        for condition in [
            json!({ "type": "device", "value": "ios" }),
            json!({ "type": "browser", "value": "samsung internet" }),
            json!({ "type": "os", "value": "macos" }),
            json!({ "type": "language", "value": "pt-BR" }),
            json!({ "type": "country", "value": "CH" }),
            json!({ "type": "city", "value": "Zürich" }),
            json!({ "type": "query", "name": "ref" }),
            json!({ "type": "query", "value": "a b", "name": "ref" }),
            json!({ "type": "address", "value": "192.0.2.0/24" }),
            json!({ "type": "address", "value": "2001:db8::1" }),
            json!({ "type": "before", "value": "2030-12-31T23:59:59.000Z" }),
            json!({ "type": "after", "value": "2030-12-31T23:59:59.000Z" }),
        ] {
            let parsed = parsed(condition.clone()).unwrap();
            assert_eq!(serde_json::to_value(ConditionJson::of(&parsed)).unwrap(), condition);
        }
        for kind in TYPES {
            assert!(parsed(json!({ "type": kind })).is_err(), "{kind} needs a value or a name");
        }
    }

    #[test]
    fn a_condition_that_is_none_says_what_to_give() {
        for (condition, part) in [
            (json!({ "type": "devices", "value": "ios" }), "one of device, browser, os"),
            (json!({ "type": "device", "value": "iphone" }), "one of ios, android"),
            (json!({ "type": "browser", "value": "lynx" }), "chrome, firefox"),
            (json!({ "type": "os", "value": "" }), "windows, macos, ios"),
            (json!({ "type": "language", "value": "german!" }), "language range"),
            (json!({ "type": "country", "value": "Schweiz" }), "two letters"),
            (json!({ "type": "city", "value": "" }), "a city is a name"),
            (json!({ "type": "query", "value": "x" }), "as \"name\""),
            (json!({ "type": "query", "name": "" }), "has a name"),
            (json!({ "type": "device", "value": "ios", "name": "x" }), "has no name"),
            (json!({ "type": "device" }), "has a \"value\""),
            (json!({ "type": "address", "value": "192.0.2.0/40" }), "network"),
            (json!({ "type": "before", "value": "tomorrow" }), "RFC 3339"),
            (json!({ "type": "after", "value": "2030-12-31" }), "RFC 3339"),
        ] {
            let refused = parsed(condition.clone()).unwrap_err();
            assert!(refused.contains(part), "{condition}: {refused}");
        }
    }

    #[test]
    fn a_rule_has_one_way_to_lead_and_is_named_by_its_number() {
        let of = |rules: serde_json::Value| {
            let rules: Vec<RuleJson> = serde_json::from_value(rules).unwrap();
            given(&rules).map(|rules| rules.len()).map_err(|problem| problem.to_string())
        };
        let leads = json!({ "longUrl": "https://a.example/" });
        assert_eq!(of(json!([leads, { "weights": [], "conditions": [] }])), Ok(2));
        let refused = |rule: serde_json::Value| of(json!([leads, rule])).unwrap_err();
        assert!(refused(json!({})).contains("rule 2 leads nowhere"));
        assert!(refused(json!({ "longUrl": "x", "weights": [] })).contains("rule 2 has longUrl and weights"));
        let condition = json!({ "longUrl": "x", "conditions": [{ "type": "query", "name": "a" }, { "type": "os" }] });
        assert!(refused(condition).contains("rule 2, condition 2: "));
    }

    #[test]
    fn rules_are_shown_as_they_were_given() {
        let rules = json!([
            { "conditions": [{ "type": "device", "value": "ios" }], "longUrl": "https://a.example/" },
            { "conditions": [], "weights": [
                { "longUrl": "https://b.example/", "weight": 70 },
                { "longUrl": "https://c.example/", "weight": 30 },
            ] },
        ]);
        let json: Vec<RuleJson> = serde_json::from_value(rules.clone()).unwrap();
        let target = |url: &str| Target::parse(url, &[], 100).unwrap();
        let rules_of = given(&json).unwrap().into_iter().map(|NewRule { conditions, leads }| Rule {
            conditions,
            leads: match leads {
                NewLeads::To(url) => Leads::To(target(url)),
                NewLeads::Split(shares) => Leads::Split(
                    shares
                        .into_iter()
                        .map(|(url, weight)| waypost_protocol::rules::Share { target: target(url), weight })
                        .collect(),
                ),
            },
        });
        let stored = Rules::new(rules_of.collect()).unwrap().unwrap();
        assert_eq!(serde_json::to_value(shown(&stored)).unwrap(), rules);
    }
}

//! The form of a link's rules: the whole list as texts, as it goes back and forth until it is saved.

use std::collections::HashMap;

use jiff::tz::TimeZone;
use serde_json::{Value, json};
use waypost_protocol::UnixMs;
use waypost_protocol::rules::{CONDITIONS_MAX, Condition, Leads, RULES_MAX, Rules, SHARES_MAX};

use super::link_form::{instant, local};
use crate::times::format_time;

/// The types of conditions, with the keys of their names and of what their values are.
pub const TYPES: [(&str, &str, &str); 10] = [
    ("device", "rules.type.device", "rules.value.device"),
    ("browser", "rules.type.browser", "rules.value.browser"),
    ("os", "rules.type.os", "rules.value.os"),
    ("language", "rules.type.language", "rules.value.language"),
    ("country", "rules.type.country", "rules.value.country"),
    ("city", "rules.type.city", "rules.value.city"),
    ("query", "rules.type.query", "rules.value.query"),
    ("address", "rules.type.address", "rules.value.address"),
    ("before", "rules.type.before", "rules.value.time"),
    ("after", "rules.type.after", "rules.value.time"),
];

/// A condition, as it is typed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConditionForm {
    /// Its type, one of `TYPES`.
    pub kind: String,
    /// What is compared.
    pub value: String,
    /// The name of the parameter of the query.
    pub name: String,
    /// The time that `value` was made of, in milliseconds since 1970: the text has neither milliseconds nor an offset.
    pub at: String,
    /// Why it is none.
    pub error: Option<String>,
}

impl ConditionForm {
    fn row(&self) -> Option<&'static (&'static str, &'static str, &'static str)> {
        TYPES.iter().find(|(kind, ..)| *kind == self.kind)
    }

    /// The key of the name of its type.
    pub fn title(&self) -> &'static str {
        self.row().map_or("rules.type.unknown", |row| row.1)
    }

    /// The key of what its value is.
    pub fn hint(&self) -> &'static str {
        self.row().map_or("rules.type.unknown", |row| row.2)
    }

    /// Whether its value is a time.
    pub fn is_time(&self) -> bool {
        matches!(self.kind.as_str(), "before" | "after")
    }

    /// Whether it has the name of a parameter.
    pub fn is_query(&self) -> bool {
        self.kind == "query"
    }

    /// Its value as a text to read.
    pub fn shown(&self) -> String {
        match self.is_query() {
            true if self.value.is_empty() => self.name.clone(),
            true => format!("{}={}", self.name, self.value),
            false => self.value.replace('T', if self.is_time() { " " } else { "T" }),
        }
    }

    fn json(&self, zone: &TimeZone) -> Value {
        match self.is_query() {
            true if self.value.is_empty() => json!({ "type": self.kind, "name": self.name }),
            true => json!({ "type": self.kind, "name": self.name, "value": self.value }),
            false if self.is_time() => {
                let untouched = || {
                    let at = self.at.parse().ok().map(UnixMs)?;
                    (local(at, zone) == self.value.trim()).then(|| format_time(at))
                };
                let time = untouched().or_else(|| instant(self.value.trim(), zone));
                json!({ "type": self.kind, "value": time.unwrap_or_else(|| self.value.clone()) })
            }
            false => json!({ "type": self.kind, "value": self.value }),
        }
    }

    fn of(condition: &Condition, zone: &TimeZone) -> Self {
        let (kind, value, name) = match condition {
            Condition::Device(device) => ("device", device.as_str().to_owned(), ""),
            Condition::Browser(name) => ("browser", name.clone(), ""),
            Condition::Os(name) => ("os", name.clone(), ""),
            Condition::Language(range) => ("language", range.as_str().to_owned(), ""),
            Condition::Country(country) => ("country", country.to_string(), ""),
            Condition::City(city) => ("city", city.as_str().to_owned(), ""),
            Condition::Query(parameter) => {
                ("query", parameter.value().unwrap_or_default().to_owned(), parameter.name())
            }
            Condition::Address(network) => ("address", network.to_string(), ""),
            Condition::Before(time) => ("before", local(*time, zone), ""),
            Condition::After(time) => ("after", local(*time, zone), ""),
        };
        let at = match condition {
            Condition::Before(time) | Condition::After(time) => time.0.to_string(),
            _ => String::new(),
        };
        Self { kind: kind.to_owned(), value, name: name.to_owned(), at, error: None }
    }
}

/// A target of a rule, as it is typed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TargetForm {
    /// The URL.
    pub url: String,
    /// Its weight, if there are several.
    pub weight: String,
    /// Why it is none.
    pub error: Option<String>,
}

/// A rule, as it is typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleForm {
    /// Its conditions.
    pub conditions: Vec<ConditionForm>,
    /// Its targets: one, or those of a split.
    pub targets: Vec<TargetForm>,
    /// What is wrong with the whole.
    pub error: Option<String>,
}

impl Default for RuleForm {
    fn default() -> Self {
        Self { conditions: Vec::new(), targets: vec![TargetForm::default()], error: None }
    }
}

impl RuleForm {
    /// Whether its visitors are spread over several targets.
    pub fn is_split(&self) -> bool {
        self.targets.len() > 1
    }

    /// Whether something is wrong with it.
    pub fn is_refused(&self) -> bool {
        self.error.is_some()
            || self.conditions.iter().any(|condition| condition.error.is_some())
            || self.targets.iter().any(|target| target.error.is_some())
    }

    fn json(&self, zone: &TimeZone) -> Value {
        let conditions: Vec<Value> = self.conditions.iter().map(|condition| condition.json(zone)).collect();
        match &self.targets[..] {
            [one] => json!({ "conditions": conditions, "longUrl": one.url }),
            several => {
                // What is no number is no weight either.
                let weight = |target: &TargetForm| target.weight.trim().parse::<i64>().unwrap_or(0);
                let weights = several.iter().map(|target| json!({ "longUrl": target.url, "weight": weight(target) }));
                json!({ "conditions": conditions, "weights": weights.collect::<Vec<_>>() })
            }
        }
    }
}

/// The rules of a link, as they are typed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RulesForm {
    /// In the order in which they are tried.
    pub rules: Vec<RuleForm>,
    /// What is wrong with all of them.
    pub error: Option<String>,
}

impl RulesForm {
    /// The form of rules as they are.
    pub fn of(rules: Option<&Rules>, zone: &TimeZone) -> Self {
        let target = |url: &str, weight: String| TargetForm { url: url.to_owned(), weight, error: None };
        let rule = |rule: &waypost_protocol::rules::Rule| RuleForm {
            conditions: rule.conditions.iter().map(|condition| ConditionForm::of(condition, zone)).collect(),
            targets: match &rule.leads {
                Leads::To(one) => vec![target(one.as_str(), String::new())],
                Leads::Split(shares) => {
                    shares.iter().map(|share| target(share.target.as_str(), share.weight.to_string())).collect()
                }
            },
            error: None,
        };
        Self { rules: rules.into_iter().flat_map(Rules::iter).map(rule).collect(), error: None }
    }

    /// What somebody has sent.
    pub fn read(sent: &HashMap<String, String>) -> Self {
        let text = |name: String| sent.get(&name).cloned().unwrap_or_default();
        // One more than there may be, so that the reason is told.
        let count = |name: String, max: usize| text(name).parse().unwrap_or(0).min(max + 1);
        let rule = |at: usize| RuleForm {
            conditions: (0..count(format!("r{at}.conditions"), CONDITIONS_MAX))
                .map(|of| ConditionForm {
                    kind: text(format!("r{at}.c{of}.type")),
                    value: text(format!("r{at}.c{of}.value")),
                    name: text(format!("r{at}.c{of}.name")),
                    at: text(format!("r{at}.c{of}.at")),
                    error: None,
                })
                .collect(),
            targets: (0..count(format!("r{at}.targets"), SHARES_MAX).max(1))
                .map(|of| TargetForm {
                    url: text(format!("r{at}.t{of}.url")),
                    weight: text(format!("r{at}.t{of}.weight")),
                    error: None,
                })
                .collect(),
            error: None,
        };
        Self { rules: (0..count("rules".to_owned(), RULES_MAX)).map(rule).collect(), error: None }
    }

    /// Does what a button says, such as `up.2` or `remove-condition.0.1`. What there is not stays undone.
    pub fn apply(&mut self, button: &str, sent: &HashMap<String, String>) {
        let mut parts = button.split('.');
        let what = parts.next().unwrap_or_default();
        let mut number = || parts.next().and_then(|part| part.parse::<usize>().ok());
        let (at, of) = (number().unwrap_or(usize::MAX), number().unwrap_or(usize::MAX));
        let rules = &mut self.rules;
        match what {
            "add" if rules.len() < RULES_MAX => rules.push(RuleForm::default()),
            "remove" if at < rules.len() => drop(rules.remove(at)),
            "up" if (1..rules.len()).contains(&at) => rules.swap(at, at - 1),
            "down" if at < rules.len().saturating_sub(1) => rules.swap(at, at + 1),
            _ => {}
        }
        let Some(rule) = rules.get_mut(at) else { return };
        match what {
            "add-condition" if rule.conditions.len() < CONDITIONS_MAX => {
                let kind = sent.get(&format!("r{at}.new")).cloned().unwrap_or_default();
                if TYPES.iter().any(|(known, ..)| *known == kind) {
                    rule.conditions.push(ConditionForm { kind, ..ConditionForm::default() });
                }
            }
            "remove-condition" if of < rule.conditions.len() => drop(rule.conditions.remove(of)),
            "add-target" if rule.targets.len() < SHARES_MAX => {
                for target in rule.targets.iter_mut().filter(|target| target.weight.trim().is_empty()) {
                    "50".clone_into(&mut target.weight);
                }
                rule.targets.push(TargetForm { weight: "50".to_owned(), ..TargetForm::default() });
            }
            "remove-target" if of < rule.targets.len() && rule.targets.len() > 1 => drop(rule.targets.remove(of)),
            _ => {}
        }
    }

    /// The rules as the JSON of an edit. A text that is no value is given as it is, so that it is refused with its reason.
    pub fn json(&self, zone: &TimeZone) -> Value {
        self.rules.iter().map(|rule| rule.json(zone)).collect()
    }

    /// Whether something is wrong.
    pub fn is_refused(&self) -> bool {
        self.error.is_some() || self.rules.iter().any(RuleForm::is_refused)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(pairs: &[(&str, &str)]) -> HashMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn two() -> HashMap<String, String> {
        sent(&[
            ("rules", "2"),
            ("r0.conditions", "2"),
            ("r0.c0.type", "query"),
            ("r0.c0.name", "ref"),
            ("r0.c1.type", "before"),
            ("r0.c1.value", "2026-12-24T18:00"),
            ("r0.targets", "1"),
            ("r0.t0.url", "https://a.example/"),
            ("r1.conditions", "0"),
            ("r1.targets", "2"),
            ("r1.t0.url", "https://b.example/"),
            ("r1.t0.weight", "70"),
            ("r1.t1.url", "https://c.example/"),
            ("r1.t1.weight", "x"),
            ("r1.new", "country"),
        ])
    }

    #[test]
    fn a_form_becomes_the_json_of_the_rules() {
        let zone = TimeZone::get("Europe/Berlin").unwrap();
        let expected = json!([
            {
                "conditions": [
                    { "type": "query", "name": "ref" },
                    { "type": "before", "value": "2026-12-24T18:00:00+01:00" },
                ],
                "longUrl": "https://a.example/",
            },
            {
                "conditions": [],
                "weights": [
                    { "longUrl": "https://b.example/", "weight": 70 }, { "longUrl": "https://c.example/", "weight": 0 },
                ],
            },
        ]);
        assert_eq!(RulesForm::read(&two()).json(&zone), expected);
        assert_eq!(RulesForm::read(&sent(&[])).json(&zone), json!([]));
    }

    #[test]
    fn a_time_that_nobody_has_touched_stays_to_the_millisecond_and_in_its_hour() {
        let zone = TimeZone::get("Europe/Berlin").unwrap();
        // The second 02:30 of the night in which summer time ends; and a time with milliseconds.
        for (at, text, exact) in [
            (1_792_891_800_000_u64, "2026-10-25T02:30", "2026-10-25T01:30:00.000Z"),
            (1_795_255_200_123, "2026-11-21T11:00", "2026-11-21T10:00:00.123Z"),
        ] {
            let rules = Rules::new(vec![waypost_protocol::rules::Rule {
                conditions: vec![Condition::Before(UnixMs(at))],
                leads: Leads::To(waypost_protocol::Target::parse("https://a.example/", &[], 100).unwrap()),
            }]);
            let mut form = RulesForm::of(rules.unwrap().as_ref(), &zone);
            assert_eq!(form.rules[0].conditions[0].value, text);
            let value = |form: &RulesForm| form.json(&zone)[0]["conditions"][0]["value"].clone();
            assert_eq!(value(&form), exact);
            form.rules[0].conditions[0].value = "2026-12-24T18:00".to_owned();
            assert_eq!(value(&form), "2026-12-24T18:00:00+01:00");
        }
    }

    #[test]
    fn buttons_move_add_and_remove() {
        let targets = |form: &RulesForm| {
            form.rules.iter().map(|rule| rule.targets[0].url.chars().nth(8).unwrap_or('-')).collect::<String>()
        };
        let of = |button: &str| {
            let mut form = RulesForm::read(&two());
            form.apply(button, &two());
            form
        };
        for (button, order) in [
            ("up.1", "ba"),
            ("down.0", "ba"),
            ("up.0", "ab"),
            ("down.1", "ab"),
            ("remove.0", "b"),
            ("add", "ab-"),
            ("remove.9", "ab"),
            ("up.x", "ab"),
            ("", "ab"),
            ("check", "ab"),
        ] {
            assert_eq!(targets(&of(button)), order, "{button}");
        }
        assert_eq!(of("add-condition.1").rules[1].conditions[0].kind, "country");
        // Without a type that exists there is none.
        assert_eq!(of("add-condition.0").rules[0].conditions.len(), 2);
        assert_eq!(of("remove-condition.0.0").rules[0].conditions[0].kind, "before");
        let split = of("add-target.0");
        let weights: Vec<&str> = split.rules[0].targets.iter().map(|target| target.weight.as_str()).collect();
        assert_eq!((split.rules[0].is_split(), weights), (true, vec!["50", "50"]));
        assert!(!of("remove-target.1.0").rules[1].is_split());
        assert_eq!(of("remove-target.0.0").rules[0].targets.len(), 1);
    }

    #[test]
    fn a_form_has_no_more_than_one_rule_too_many() {
        let form = RulesForm::read(&sent(&[("rules", "1000000000"), ("r0.conditions", "99999"), ("r0.targets", "-1")]));
        assert_eq!((form.rules.len(), form.rules[0].conditions.len(), form.rules[0].targets.len()), (65, 17, 1));
        let mut full = RulesForm { rules: vec![RuleForm::default(); RULES_MAX], error: None };
        full.apply("add", &sent(&[]));
        assert_eq!(full.rules.len(), RULES_MAX);
    }
}

//! The rules of a link: an editor that works without a script, and what a visitor would get.

use askama::Template;

use super::rules_form::{RulesForm, TYPES};
use super::{Context, Form, LinkHead, Section, Theme};

/// How a rule was tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tried {
    /// Its number, from 1.
    pub number: u64,
    /// Its conditions: the key of their types, their values, and whether they hold.
    pub conditions: Vec<(&'static str, String, bool)>,
    /// Whether it decides.
    pub decides: bool,
    /// Whether an earlier one has decided already.
    pub is_late: bool,
}

/// What a visitor would get.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// What it is: the key of a text.
    pub text: &'static str,
    /// Where the visitor would be sent.
    pub location: Option<String>,
    /// The rule that decides, from 1.
    pub rule: Option<u64>,
    /// The rules, in their order.
    pub tried: Vec<Tried>,
    /// How the visitor is seen: the keys of names, and values.
    pub seen: Vec<(&'static str, String)>,
    /// The targets of a split, with their parts in percent, and which one this visitor would get.
    pub split: Vec<(String, u64, bool)>,
}

/// The rules of a link.
#[derive(Template)]
#[template(path = "link_rules.html")]
pub struct LinkRulesView {
    /// What every view needs.
    pub cx: Context,
    /// What stands above.
    pub head: LinkHead,
    /// What stands in the editor.
    pub rules: RulesForm,
    /// Whether the editor has something that is not saved.
    pub is_changed: bool,
    /// The visitor who is asked about.
    pub visitor: Form,
    /// What that visitor would get.
    pub verdict: Option<Verdict>,
    /// The name of the zone of times.
    pub zone: String,
    /// The names of kinds of devices, of browsers and of systems, as conditions have them.
    pub names: Names,
    /// What is wrong with the whole.
    pub refusal: Option<String>,
}

/// Names that conditions can have.
#[derive(Debug, Clone, Default)]
pub struct Names {
    /// Kinds of devices in conditions.
    pub devices: Vec<String>,
    /// Browsers.
    pub browsers: Vec<String>,
    /// Systems.
    pub systems: Vec<String>,
}

impl Names {
    /// The names for conditions of a type; empty if any value is possible.
    pub fn of(&self, kind: &str) -> &[String] {
        match kind {
            "device" => &self.devices,
            "browser" => &self.browsers,
            "os" => &self.systems,
            _ => &[],
        }
    }
}

impl LinkRulesView {
    /// The types of conditions, with the keys of their names.
    pub fn types(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        TYPES.iter().map(|(kind, name, _)| (*kind, *name))
    }

    /// Kinds of devices that a visitor can have, with the keys of their names.
    pub fn devices(&self) -> [(&'static str, &'static str); 3] {
        [("Desktop", "rules.device.desktop"), ("Mobile", "rules.device.mobile"), ("Tablet", "rules.device.tablet")]
    }
}

#[cfg(test)]
mod tests {
    use super::super::rules_form::{ConditionForm, RuleForm, TargetForm};
    use super::*;

    #[test]
    fn hostile_values_of_rules_are_texts_and_reasons_stand_beside_them() {
        const HOSTILE: &str = "\"><script>alert(1)</script>\u{202e}";
        let text = || HOSTILE.to_owned();
        let condition = |kind: &str| ConditionForm {
            kind: kind.to_owned(),
            value: text(),
            name: text(),
            at: text(),
            error: Some(text()),
        };
        let kinds = ["device", "query", "before", "city", HOSTILE];
        let rule = RuleForm {
            conditions: kinds.map(condition).to_vec(),
            targets: vec![TargetForm { url: text(), weight: text(), error: Some(text()) }; 2],
            error: Some(text()),
        };
        let mut visitor = Form::default();
        for name in ["v.agent", "v.language", "v.city", "v.query", "v.address", "v.time"] {
            visitor.set(name, HOSTILE);
        }
        let verdict = Verdict {
            text: "rules.verdict.target",
            location: Some(text()),
            rule: Some(1),
            tried: vec![Tried {
                number: 1,
                conditions: vec![("rules.type.city", text(), false)],
                decides: false,
                is_late: false,
            }],
            seen: vec![("stats.by.browser", text())],
            split: vec![(text(), 50, true)],
        };
        let view = LinkRulesView {
            cx: Context::example("de"),
            head: crate::ui::link::tests::head(),
            rules: RulesForm { rules: vec![rule; 2], error: Some(text()) },
            is_changed: true,
            visitor,
            verdict: Some(verdict),
            zone: "Europe/Berlin".to_owned(),
            names: Names::default(),
            refusal: Some(text()),
        };
        let html = view.render().unwrap();
        assert!(!html.contains("<script>alert") && !html.contains("\"><script"), "{html}");
        assert!(html.contains("name=\"r1.c0.value\"") && html.contains("aria-invalid=\"true\""));
    }
}

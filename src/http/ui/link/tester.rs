//! What a visitor of a link would get: the redirector's own decision, for a visitor who is described by a form.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

use waypost_click_counter::{Agent, Geo, Location};
use waypost_protocol::link::LinkCounts;
use waypost_protocol::properties::{RULES, RedirectStatus};
use waypost_protocol::rules::{Leads, Rules};
use waypost_protocol::{FieldChanges, Link, UnixMs};
use waypost_redirector::{Asked, Behavior, Decision, Limit, Visitor, choose, decide, explain};

use crate::http::split_key::SplitKey;
use crate::http::wire::client_of;
use crate::times::{ReadTime, read_time};
use crate::ui::{Context, Form, RulesForm, Tried, Verdict, instant};

/// A visitor who is described by a form. What it leaves open is not known, unless the user agent or the address tells it.
pub(super) struct Described {
    agent_text: String,
    agent: Agent,
    browser: Option<String>,
    os: Option<String>,
    device: Option<String>,
    languages: String,
    address: Option<IpAddr>,
    location: Location,
    lot: u64,
}

impl Described {
    /// The visitor of a form.
    ///
    /// # Errors
    /// The field that is not possible, and the key of the reason.
    pub(super) fn of(
        form: &Form,
        link: &Link,
        geo: &Geo,
        key: &SplitKey,
    ) -> Result<Self, (&'static str, &'static str)> {
        let text = |name: &str| form.given(name).map(str::to_owned);
        let agent_text = text("v.agent").unwrap_or_default();
        let address = match form.given("v.address") {
            None => None,
            Some(address) => Some(address.parse().map_err(|_| ("v.address", "rules.refused.address"))?),
        };
        let mut location = address.map(|address| geo.locate(address)).unwrap_or_default();
        if let Some(country) = form.given("v.country") {
            let [a, b] = country.as_bytes() else { return Err(("v.country", "rules.refused.country")) };
            location.country = [a.to_ascii_uppercase(), b.to_ascii_uppercase()];
        }
        if let Some(city) = form.given("v.city") {
            location.city = Arc::from(city);
        }
        let lot = key.lot(link.key.hash(), address.map(client_of), agent_text.as_bytes());
        Ok(Self {
            agent: Agent::of(&agent_text),
            agent_text,
            browser: named(form.given("v.browser"), Agent::browsers()),
            os: named(form.given("v.os"), Agent::systems()),
            device: text("v.device"),
            languages: text("v.language").unwrap_or_default(),
            address,
            location,
            lot,
        })
    }

    /// Whether this is one visitor, so that it can be said which target of a split they would get.
    fn is_one(&self) -> bool {
        self.address.is_some() || !self.agent_text.is_empty()
    }

    /// How the visitor is seen, where the form leaves that to the user agent or the address.
    fn seen(&self) -> Vec<(&'static str, String)> {
        let country = String::from_utf8_lossy(&self.country()).trim_matches('\0').to_owned();
        let all = [
            ("stats.by.browser", self.browser().to_owned()),
            ("stats.by.os", self.os().to_owned()),
            ("stats.by.device", self.device().to_owned()),
            ("stats.by.country", country),
            ("stats.by.city", self.city().to_string()),
        ];
        all.into_iter().filter(|(_, value)| !value.is_empty()).collect()
    }
}

impl Visitor for Described {
    fn browser(&self) -> &str {
        let seen = if self.agent.bot { "" } else { self.agent.browser_name() };
        self.browser.as_deref().unwrap_or(seen)
    }

    fn os(&self) -> &str {
        self.os.as_deref().unwrap_or(self.agent.os_name())
    }

    fn device(&self) -> &str {
        self.device.as_deref().unwrap_or(self.agent.device_name())
    }

    fn languages(&self) -> Cow<'_, str> {
        self.languages.as_str().into()
    }

    fn address(&self) -> Option<IpAddr> {
        self.address
    }

    fn country(&self) -> [u8; 2] {
        self.location.country
    }

    fn city(&self) -> Arc<str> {
        self.location.city.clone()
    }

    fn lot(&self) -> u64 {
        self.lot
    }
}

/// A name as statistics have it: a form has it in lower case, as conditions do.
fn named(given: Option<&str>, mut all: impl Iterator<Item = &'static str>) -> Option<String> {
    let given = given?;
    Some(all.find(|known| known.eq_ignore_ascii_case(given)).unwrap_or(given).to_owned())
}

/// What the visitor gets from a link with these rules. `typed` are the same rules, for their texts.
pub(super) fn verdict(
    link: &Link,
    counts: LinkCounts,
    rules: Option<&Rules>,
    typed: &RulesForm,
    visitor: &Described,
    (form, cx, default_status): (&Form, &Context, RedirectStatus),
) -> Verdict {
    let mut fields = link.spec.fields.clone();
    let mut changes = FieldChanges::default();
    RULES.change(&mut changes, rules);
    fields.change(&changes);
    let behavior = Behavior::of(&fields);
    let at = form.given("v.time").and_then(|text| instant(text, &cx.zone)).and_then(|text| time_of(&text));
    let query = form.given("v.query").map(|query| query.trim_start_matches('?'));
    let limit = match link.spec.visits_left(counts.used) {
        Some(0) => Limit::Exhausted,
        _ => Limit::Left,
    };
    let asked = Asked {
        now: at.unwrap_or(cx.now),
        query,
        rest: None,
        needs_rest: false,
        limit: Some(limit),
        default_status,
        unlocked: true,
    };
    let decision = decide(link.spec.target.as_str(), link.spec.valid_until, behavior.as_deref(), &asked, visitor);
    let leads = matches!(decision, Decision::Redirect { .. });
    let (text, location) = match decision {
        Decision::Redirect { location, .. } => ("rules.verdict.target", Some(location.into_owned())),
        Decision::Instead(url) => ("rules.verdict.instead", Some(url.to_owned())),
        Decision::NotYet => ("rules.verdict.not-yet", None),
        Decision::Expired => ("rules.verdict.expired", None),
        Decision::Exhausted => ("rules.verdict.exhausted", None),
        Decision::Disabled => ("rules.verdict.disabled", None),
        Decision::AskLimit | Decision::AskPassword(_) | Decision::NothingBelow | Decision::Unreadable => {
            ("rules.verdict.unreadable", None)
        }
    };
    let holds = rules.map(|rules| explain(rules, asked.now, query, visitor)).unwrap_or_default();
    let decides = holds.iter().position(|rule| rule.iter().all(|holds| *holds)).filter(|_| leads);
    let tried = holds.iter().zip(&typed.rules).enumerate().map(|(at, (holds, rule))| Tried {
        number: at as u64 + 1,
        conditions: rule
            .conditions
            .iter()
            .zip(holds)
            .map(|(condition, holds)| (condition.title(), condition.shown(), *holds))
            .collect(),
        decides: decides == Some(at),
        is_late: decides.is_some_and(|decides| at > decides),
    });
    let split = decides.and_then(|at| rules.and_then(|rules| rules.iter().nth(at))).map(|rule| &rule.leads);
    let drawn = rules.filter(|_| visitor.is_one()).and_then(|rules| choose(rules, asked.now, query, visitor));
    let split = match split {
        Some(Leads::Split(shares)) => {
            let sum: u64 = shares.iter().map(|share| u64::from(share.weight)).sum();
            let share = |share: &waypost_protocol::rules::Share| {
                let percent = (u64::from(share.weight) * 100 + sum / 2) / sum.max(1);
                (share.target.as_str().to_owned(), percent, drawn == Some(&share.target))
            };
            shares.iter().map(share).collect()
        }
        _ => Vec::new(),
    };
    Verdict {
        text,
        // Of a split, nobody in particular gets one target.
        location: location.filter(|_| split.is_empty() || visitor.is_one()),
        rule: decides.map(|at| at as u64 + 1),
        tried: tried.collect(),
        seen: visitor.seen(),
        split,
    }
}

fn time_of(text: &str) -> Option<UnixMs> {
    let ms = read_time(text).and_then(ReadTime::unix_ms)?;
    Some(UnixMs(u64::try_from(ms).ok()?))
}

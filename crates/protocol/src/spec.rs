//! What can be given for a link, and what can be changed of it: the one place that names these properties.
//!
//! [`LinkSpec`] stands in the message and the command that create a link, and in the stored link; [`LinkPatch`] in those that edit it.
//! Everything that follows from them is here: the limits, the fingerprint of a request, and what an edit makes of a link.
//!
//! A further property is an optional field (`fields.rs`): it has a tag, and needs no new version of a message, a command or a record.

use serde::{Deserialize, Serialize};

use crate::digest::fingerprint;
use crate::properties::{DISABLED, MAX_VISITS, PASSWORD, REDIRECT_STATUS, RULES, RedirectStatus, VALID_SINCE};
use crate::{Code, Domain, FieldChanges, Fields, Level, Target, UnixMs};

/// What can be given for a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkSpec {
    /// Where the visitor is sent, byte for byte.
    pub target: Target,
    /// From when on it answers `410`; `None` = never.
    pub valid_until: Option<UnixMs>,
    /// Optional fields, also those that this version does not know.
    pub fields: Fields,
}

/// What can be changed of a link. What is absent stays as it is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct LinkPatch {
    /// A new target.
    pub target: Option<Target>,
    /// A new end: `Some(None)` removes it.
    pub valid_until: Option<Option<UnixMs>>,
    /// Changes of optional fields.
    pub fields: FieldChanges,
}

/// What visitors of a link get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkState {
    /// Its target.
    Active,
    /// Nothing yet: it begins later.
    NotYet,
    /// Nothing any more: its end has passed.
    Expired,
    /// Nothing any more: as many visitors as it has for were sent to its target.
    Exhausted,
    /// Nothing, until its owner changes that.
    Disabled,
}

impl LinkState {
    /// The state at `now` of a link with this begin and this end.
    pub fn of(since: Option<UnixMs>, until: Option<UnixMs>, disabled: bool, now: UnixMs) -> Self {
        match () {
            () if disabled => Self::Disabled,
            () if until.is_some_and(|until| until <= now) => Self::Expired,
            () if since.is_some_and(|since| since > now) => Self::NotYet,
            () => Self::Active,
        }
    }
}

/// Why a property cannot be given for a link. Sent between nodes: a variant is only added, at the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum SpecError {
    /// The end has passed.
    #[error("the end has to lie in the future")]
    EndPast,
    /// It would end before it begins.
    #[error("the begin has to lie before the end")]
    BeginAfterEnd,
    /// The begin is later than a time can be written.
    #[error("the begin lies after the year 9999")]
    BeginTooLate,
    /// The end is later than a time can be written.
    #[error("the end lies after the year 9999")]
    EndTooLate,
    /// Browsers would keep one of the targets for visits that the rules lead elsewhere.
    #[error("a link with rules cannot have a permanent status")]
    PermanentWithRules,
    /// Browsers keep a permanent redirect, so that visits are not seen.
    #[error("a permanent redirect and a limit of visits exclude each other")]
    PermanentLimited,
    /// Browsers keep a permanent redirect, so that nobody is asked for the password again.
    #[error("a permanent redirect and a password exclude each other")]
    PermanentProtected,
}

impl LinkSpec {
    /// A link without an end and without optional fields.
    pub fn to(target: Target) -> Self {
        Self { target, valid_until: None, fields: Fields::default() }
    }

    /// Checks the properties against their limits. A target was checked when it was parsed.
    ///
    /// # Errors
    /// The first property that is not within its limits.
    pub fn check(&self, now: UnixMs) -> Result<(), SpecError> {
        check_end(self.valid_until, now)?;
        self.consistent()
    }

    /// Checks that the properties fit each other. It reads no clock, so a state machine can check what an edit would make of a link.
    ///
    /// # Errors
    /// The first property that does not fit another one.
    pub fn consistent(&self) -> Result<(), SpecError> {
        fit(&self.fields, self.valid_until)
    }

    /// What visitors get at `now`, if `used` of the visits of its limit are used.
    pub fn state(&self, used: u64, now: UnixMs) -> LinkState {
        match LinkState::of(VALID_SINCE.of(&self.fields), self.valid_until, DISABLED.is_in(&self.fields), now) {
            LinkState::Active if self.visits_left(used) == Some(0) => LinkState::Exhausted,
            state => state,
        }
    }

    /// How many visitors are still sent to its target, if `used` of the visits of its limit are used; `None` = it has no limit.
    pub fn visits_left(&self, used: u64) -> Option<u64> {
        MAX_VISITS.of(&self.fields).map(|limit| limit.get().saturating_sub(used))
    }

    /// The lowest level at which a link may have these properties.
    pub fn level(&self) -> Level {
        self.fields.level()
    }

    /// A hash of the request that creates this link. It detects an idempotency key that is used again for a different request. It is stored,
    /// so the same request must always have the same hash.
    pub fn fingerprint(&self, domain: Domain, slug: Option<&Code>, find_existing: bool) -> u64 {
        let Self { target, valid_until, fields } = self;
        let end = valid_until.map_or(0, |until| until.0).to_le_bytes();
        let find_existing = [u8::from(find_existing)];
        let mut parts =
            vec![target.as_str().as_bytes(), slug.map_or(b"", |slug| slug.as_bytes()), &end, &find_existing];
        let tags: Vec<[u8; 1]> = fields.iter().map(|(tag, _)| [tag]).collect();
        for (tag, (_, value)) in tags.iter().zip(fields.iter()) {
            parts.extend([&tag[..], value]);
        }
        let number = domain.0.to_le_bytes();
        if domain != Domain::default() {
            parts.extend([&b"domain"[..], &number]);
        }
        fingerprint(&parts)
    }
}

impl LinkPatch {
    /// The changes that turn one specification into another: optional fields that the new one does not have are cleared.
    pub fn between(old: &LinkSpec, new: &LinkSpec) -> Self {
        let mut fields = FieldChanges::default();
        for (tag, _) in old.fields.iter().filter(|(tag, _)| new.fields.get(*tag).is_none()) {
            fields.set(tag, None);
        }
        for (tag, value) in new.fields.iter().filter(|(tag, value)| old.fields.get(*tag) != Some(*value)) {
            fields.set(tag, Some(value.to_vec()));
        }
        Self {
            target: (old.target != new.target).then(|| new.target.clone()),
            valid_until: (old.valid_until != new.valid_until).then_some(new.valid_until),
            fields,
        }
    }

    /// Checks the changes against the same limits as [`LinkSpec::check`]. What stays is not known here: the state machine checks whether
    /// the changed properties fit it ([`LinkSpec::consistent`]).
    ///
    /// # Errors
    /// The first property that is not within its limits.
    pub fn check(&self, now: UnixMs) -> Result<(), SpecError> {
        check_end(self.valid_until.flatten(), now)?;
        let mut fields = Fields::default();
        fields.change(&self.fields);
        fit(&fields, self.valid_until.flatten())
    }

    /// The lowest level at which these changes may be made.
    pub fn level(&self) -> Level {
        self.fields.level()
    }

    /// Whether nothing is changed.
    pub fn is_empty(&self) -> bool {
        let Self { target, valid_until, fields } = self;
        target.is_none() && valid_until.is_none() && fields.is_empty()
    }

    /// Makes the changes.
    pub fn apply(&self, spec: &mut LinkSpec) {
        let Self { target, valid_until, fields } = self;
        if let Some(target) = target {
            spec.target = target.clone();
        }
        if let Some(until) = valid_until {
            spec.valid_until = *until;
        }
        spec.fields.change(fields);
    }
}

/// Checks that properties fit each other.
fn fit(fields: &Fields, until: Option<UnixMs>) -> Result<(), SpecError> {
    check_begin(VALID_SINCE.of(fields), until)?;
    match REDIRECT_STATUS.of(fields).is_some_and(RedirectStatus::is_permanent) {
        true if RULES.is_in(fields) => Err(SpecError::PermanentWithRules),
        true if MAX_VISITS.is_in(fields) => Err(SpecError::PermanentLimited),
        true if PASSWORD.is_in(fields) => Err(SpecError::PermanentProtected),
        _ => Ok(()),
    }
}

fn check_begin(since: Option<UnixMs>, until: Option<UnixMs>) -> Result<(), SpecError> {
    match (since, until) {
        (Some(since), _) if since > UnixMs::LAST => Err(SpecError::BeginTooLate),
        (Some(since), Some(until)) if since >= until => Err(SpecError::BeginAfterEnd),
        _ => Ok(()),
    }
}

fn check_end(until: Option<UnixMs>, now: UnixMs) -> Result<(), SpecError> {
    match until {
        Some(until) if until > UnixMs::LAST => Err(SpecError::EndTooLate),
        Some(until) if until <= now => Err(SpecError::EndPast),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::{Leads, Rule, Rules};

    fn spec(until: Option<u64>, fields: &[(u8, &str)]) -> LinkSpec {
        let target = Target::parse("https://example.com/a", &[], 8192).unwrap();
        let mut spec = LinkSpec { valid_until: until.map(UnixMs), ..LinkSpec::to(target) };
        fields.iter().for_each(|(tag, value)| spec.fields.set(*tag, Some(value.as_bytes().to_vec())));
        spec
    }

    #[test]
    fn an_end_lies_in_the_future_and_can_be_written() {
        let now = UnixMs(1_700_000_000_000);
        let check = |until| {
            let patch = LinkPatch { valid_until: Some(Some(UnixMs(until))), ..LinkPatch::default() };
            assert_eq!(patch.check(now), spec(Some(until), &[]).check(now));
            patch.check(now)
        };
        assert_eq!(check(now.0 + 1), Ok(()));
        assert_eq!(check(UnixMs::LAST.0), Ok(()));
        assert_eq!([0, now.0].map(check), [Err(SpecError::EndPast); 2]);
        assert_eq!(check(UnixMs::LAST.0 + 1), Err(SpecError::EndTooLate));
        assert_eq!(spec(None, &[]).check(now), Ok(()));
    }

    #[test]
    fn a_begin_lies_before_the_end_in_a_new_link_and_in_an_edit_of_both() {
        let now = UnixMs(1_700_000_000_000);
        let check = |since: u64, until: Option<u64>| {
            let mut patch = LinkPatch { valid_until: until.map(|until| Some(UnixMs(until))), ..LinkPatch::default() };
            VALID_SINCE.change(&mut patch.fields, Some(&UnixMs(since)));
            let mut spec = spec(None, &[]);
            patch.apply(&mut spec);
            assert_eq!(patch.check(now), spec.check(now));
            patch.check(now)
        };
        assert_eq!(check(now.0, None), Ok(()));
        assert_eq!(check(now.0 + 1, Some(now.0 + 2)), Ok(()));
        assert_eq!(check(now.0 + 2, Some(now.0 + 2)), Err(SpecError::BeginAfterEnd));
        assert_eq!(check(UnixMs::LAST.0 + 1, None), Err(SpecError::BeginTooLate));
    }

    #[test]
    fn a_link_is_active_from_its_begin_on_and_up_to_its_end() {
        let at = |now: u64| LinkState::of(Some(UnixMs(100)), Some(UnixMs(200)), false, UnixMs(now));
        let states = [LinkState::NotYet, LinkState::Active, LinkState::Active, LinkState::Expired];
        assert_eq!([99, 100, 199, 200].map(at), states);
        assert_eq!(LinkState::of(Some(UnixMs(100)), None, true, UnixMs(1)), LinkState::Disabled);
    }

    #[test]
    fn rules_and_a_permanent_status_exclude_each_other() {
        let now = UnixMs(1_700_000_000_000);
        let rule = Rule { conditions: Vec::new(), leads: Leads::To(spec(None, &[]).target) };
        let rules = Rules::new(vec![rule]).unwrap();
        for (number, refused) in [(301, true), (302, false), (307, false), (308, true)] {
            let mut patch = LinkPatch::default();
            RULES.change(&mut patch.fields, rules.as_ref());
            assert_eq!(patch.check(now), Ok(()));
            REDIRECT_STATUS.change(&mut patch.fields, RedirectStatus::try_from(number).ok().as_ref());
            let mut spec = spec(None, &[]);
            patch.apply(&mut spec);
            let expected = if refused { Err(SpecError::PermanentWithRules) } else { Ok(()) };
            assert_eq!((patch.check(now), spec.check(now)), (expected, expected), "{number}");
        }
    }

    #[test]
    fn a_permanent_redirect_has_no_limit_of_visits() {
        let spec = |status: Option<u16>, limit: Option<u64>| {
            let mut changes = FieldChanges::default();
            REDIRECT_STATUS.change(&mut changes, status.map(|status| status.try_into().unwrap()).as_ref());
            MAX_VISITS.change(&mut changes, limit.map(|limit| limit.try_into().unwrap()).as_ref());
            let patch = LinkPatch { fields: changes, ..LinkPatch::default() };
            let mut spec = self::spec(None, &[]);
            patch.apply(&mut spec);
            assert_eq!(spec.check(UnixMs(0)), patch.check(UnixMs(0)));
            spec
        };
        assert_eq!(spec(Some(308), Some(1)).consistent(), Err(SpecError::PermanentLimited));
        for (status, limit) in [(Some(301), None), (Some(307), Some(1)), (None, Some(1))] {
            assert_eq!(spec(status, limit).consistent(), Ok(()));
        }
        let limited = spec(None, Some(3));
        assert_eq!([0, 2, 3, 9].map(|used| limited.visits_left(used)), [Some(3), Some(1), Some(0), Some(0)]);
        assert_eq!([2, 3].map(|used| limited.state(used, UnixMs(0))), [LinkState::Active, LinkState::Exhausted]);
        assert_eq!(spec(None, None).state(9, UnixMs(0)), LinkState::Active);
        let over = LinkSpec { valid_until: Some(UnixMs(1)), ..limited };
        assert_eq!(over.state(3, UnixMs(1)), LinkState::Expired);
    }

    #[test]
    fn a_fingerprint_tells_requests_apart_and_is_that_of_version_0_1_without_fields() {
        let slug = Code::parse_slug("one").unwrap();
        // As version 0.1 has computed it.
        let base = |until: u64, slug: &[u8], find| {
            fingerprint(&[b"https://example.com/a", slug, &until.to_le_bytes(), &[find]])
        };
        let of = |spec: LinkSpec, slug, find| spec.fingerprint(Domain::default(), slug, find);
        assert_eq!(of(spec(None, &[]), None, true), base(0, b"", 1));
        assert_eq!(of(spec(Some(9), &[]), Some(&slug), false), base(9, b"one", 0));
        let elsewhere = [1, 2].map(|domain| spec(None, &[]).fingerprint(Domain(domain), None, true));
        assert!(!elsewhere.contains(&base(0, b"", 1)) && elsewhere[0] != elsewhere[1]);
        let prints: Vec<u64> = [&[][..], &[(1, "a")], &[(1, "b")], &[(2, "a")], &[(1, "a"), (2, "a")], &[(1, "")]]
            .map(|fields| of(spec(None, fields), None, false))
            .to_vec();
        for (at, print) in prints.iter().enumerate() {
            assert!(!prints[at + 1..].contains(print), "{at}");
        }
    }

    #[test]
    fn the_patch_between_two_specifications_turns_one_into_the_other() {
        let specs = [
            spec(None, &[]),
            spec(Some(5), &[(1, "one"), (9, "of a later version")]),
            spec(Some(6), &[(1, "eins"), (2, "two")]),
            LinkSpec::to(Target::parse("https://example.com/b", &[], 8192).unwrap()),
        ];
        for old in &specs {
            for new in &specs {
                let patch = LinkPatch::between(old, new);
                assert_eq!(patch.is_empty(), old == new);
                let mut changed = old.clone();
                patch.apply(&mut changed);
                assert_eq!(&changed, new);
            }
        }
    }

    #[test]
    fn a_patch_changes_what_it_names_and_nothing_else() {
        let before = spec(Some(5), &[(1, "one"), (9, "of a later version")]);
        let mut after = before.clone();
        assert!(LinkPatch::default().is_empty());
        LinkPatch::default().apply(&mut after);
        assert_eq!(after, before);
        let mut patch = LinkPatch { valid_until: Some(None), ..LinkPatch::default() };
        patch.fields.set(1, None);
        assert!(!patch.is_empty());
        patch.apply(&mut after);
        assert_eq!(after, spec(None, &[(9, "of a later version")]));
        let target = Target::parse("https://example.com/b", &[], 8192).unwrap();
        LinkPatch { target: Some(target.clone()), ..LinkPatch::default() }.apply(&mut after);
        assert_eq!(after.target, target);
    }
}
